"""wel.faithfulness: against Quantus, on a network of which the best curve is known, and that the controls are at chance."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conftest import loaded
from interruption import Interrupting
from scipy.integrate import trapezoid

import wel
from wel.errors import WelError
from wel.methods.registry import METHODS
from wel.studies.faithfulness import LEAST, MOST, Hidden, Hiding, _ranks, _superpixels
from wel.studies.maps import attribution


def hiding(sizes, parts: int, way: str = "mean", seed: int = 0) -> Hiding:
    """Regions of one place."""
    return Hiding(lambda image: np.arange(np.prod(sizes)).reshape(sizes), 1, parts, way, seed)


def test_quantus_finds_the_same():
    from tensorflow.keras import Sequential, layers

    with np.load(Path(__file__).parents[1] / "golden" / "quantus.npz") as file:
        golden = dict(file)
    stack = [layers.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = Sequential(stack)
    model.set_weights([golden[f"{name}/{part}"] for name in ("conv", "dense") for part in ("kernel", "bias")])
    net = wel.load(model)
    classes = golden["classes"]
    curves = Hidden(net, golden["images"], classes, hiding((8, 8), 16)).curves(golden["maps"][..., 0])
    for order in (MOST, LEAST):
        np.testing.assert_allclose(curves[order][:, 0], net.logits(golden["images"])[range(len(classes)), classes], rtol=1e-6)
        # Quantus begins when the first part is hidden
        np.testing.assert_allclose(curves[order][:, 1:], golden[f"scores/{order}"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def quadrant():
    """A linear network that reads the upper left quarter of a picture only, with positive and negative weights; two classes, ±y."""
    from tensorflow.keras import Sequential, layers

    weights = np.zeros((8, 8, 1))
    weights[:4, :4, 0] = np.random.default_rng(1).standard_normal((4, 4))
    model = Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    model.set_weights([np.stack([weights.ravel(), -weights.ravel()], axis=1)])
    return wel.load(model)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).standard_normal((40, 8, 8, 1)).astype("float32")


def test_an_ideal_map_has_the_best_possible_curve(quadrant, pictures):
    image = pictures[0]
    weights = quadrant.model.get_weights()[0][:, 0]
    # by how much the score falls when a place is hidden by the mean
    shares = (weights * (image - image.mean()).ravel()).astype("float64")
    score = float(weights @ image.ravel())

    def areas(order: np.ndarray) -> np.ndarray:
        return trapezoid(score - np.concatenate([[0], np.cumsum(shares[order])]), dx=1 / 64)

    best, worst = areas(np.argsort(-shares)), areas(np.argsort(shares))
    found = wel.faithfulness(quadrant, pictures[:1], ["occlusion"], 1, parts=64, classes=[0], options=of_means(image))
    rows = found.images[found.images["method"] == "occlusion"].iloc[0]
    assert rows["deletion"] == pytest.approx(best, abs=1e-5) and rows["insertion"] == pytest.approx(worst, abs=1e-5)
    others = [areas(np.random.default_rng(seed).permutation(64)) for seed in range(500)]
    assert best < min(others) and worst > max(others)
    assert rows["gain"] == pytest.approx(worst - best, abs=1e-5)


def of_means(image: np.ndarray) -> dict:
    """Options of occlusion that hide one place after the other by the image's mean."""
    return {"occlusion": {"patch": 1, "stride": 1, "baseline": np.full(image.shape, image.mean())}}


def test_random_is_at_chance_and_edges_are_no_better(quadrant, pictures):
    found = wel.faithfulness(quadrant, pictures, ["input_x_gradient"], 1).images.groupby("method")["gain"]
    error = found.std() / np.sqrt(len(pictures))
    # of these pictures nothing can be told without the network
    for control in ("random", "edges"):
        assert abs(found.mean()[control]) < 4 * error[control]
    assert found.min()["input_x_gradient"] > 0 and found.mean()["input_x_gradient"] > 10 * error["input_x_gradient"]


def test_regions_are_hidden_whole(functional, images, monkeypatch):
    seen = []
    net = wel.load(functional)
    monkeypatch.setattr("wel.backends.native.scores.fast_logits", lambda net, batch: seen.append(batch) or np.zeros((len(batch), 4)))
    wel.faithfulness(net, images[:1], ["gradient"], 3, parts=4, classes=[0])
    ends, batch = islice((one for one in seen if len(one) > 1), 2)
    # 8 places in regions of 3, 3 and 2 along each axis: 9 regions, of which 2, 4 (of 4.5) and 7 (of 6.75) are hidden, and 9
    assert [len(ends), len(batch)] == [2, 2 * 4 - 2]
    changed = (np.concatenate([ends[:1], batch, ends[1:]]) != images[:1]).any(axis=-1)
    numbers = np.arange(8) // 3
    regions = 3 * numbers[:, None] + numbers
    counts = []
    for one in changed:
        for region in range(9):
            assert one[regions == region].all() or not one[regions == region].any()
        counts.append(len(set(regions[one])))
    assert counts == [0, 2, 4, 7, 2, 4, 7, 9]
    # what is hidden first of all is left to the last when the least relevant are first
    assert not (set(regions[changed[1]]) & set(regions[changed[4]]))


def test_ties_come_in_random_order():
    orders = [_ranks(np.zeros((6, 6)), np.arange(36).reshape(6, 6), np.random.default_rng(seed)) for seed in range(200)]
    # the mean rank of a place is 17.5, with a standard error of √((36² − 1)/12/200) = 0.73
    assert np.abs(np.mean(orders, axis=0) - 17.5).max() < 4 * 0.74


def test_ranks_by_hand():
    regions = np.array([[0, 0, 1], [2, 2, 1]])
    # means 3, 5 and 4: none before region 1, one before region 2, two before region 0
    assert _ranks(np.array([[1.0, 5.0, 9.0], [4.0, 4.0, 1.0]]), regions, np.random.default_rng(0)).tolist() == [2, 0, 1]


def test_superpixels_follow_the_picture():
    picture = np.zeros((16, 16, 3), "float32")
    picture[:, 6:] = 7  # a step beside the grid of squares of 4
    found = _superpixels(16, picture)
    assert sorted(set(found.ravel())) == list(range(found.max() + 1)) and 8 <= found.max() + 1 <= 24
    assert not set(found[:, :6].ravel()) & set(found[:, 6:].ravel())
    assert _superpixels(4, np.ones((8, 8, 3), "float32")).shape == (8, 8)


def test_signals_and_vectors_have_regions_too():
    from tensorflow.keras import Sequential, layers

    signal = wel.load(Sequential([layers.Input((12, 2)), layers.Conv1D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]))
    assert len(wel.faithfulness(signal, np.random.default_rng(0).random((2, 12, 2)), ["layer_cam"]).curves["share"].unique()) == 13
    # x w = (3, 1, −2, 0) with mean 0: hidden from the most relevant on, the score 2 falls to −1, −2, 0 and 0
    net = wel.load(Sequential([layers.Input((4,)), layers.Dense(1, use_bias=False)]))
    net.model.set_weights([np.array([[1.0], [1.0], [1.0], [0.0]])])
    found = wel.faithfulness(net, np.array([[3.0, 1.0, -2.0, -2.0]]), ["input_x_gradient"], classes=[0])
    curves = found.curves.query("method == 'input_x_gradient'").set_index("order")["median"]
    assert curves["most"].tolist() == pytest.approx([2, -1, -2, -2, 0], abs=1e-6)
    assert curves["least"].tolist() == pytest.approx([2, 4, 4, 3, 0], abs=1e-6)
    with pytest.raises(WelError, match="^Invalid value for `regions`: 'superpixels'. Expected 'squares' for inputs that are no pictures.$"):
        wel.faithfulness(signal, np.ones((2, 12, 2)), ["layer_cam"], regions="superpixels")


def test_superpixels_of_a_study(functional, images):
    net = loaded(functional)
    found = wel.faithfulness(net, images, ["gradient"], 2, "superpixels", parts=4)
    assert found.table["values"].tolist() == [3] * 9 and found.curves["share"].iloc[[0, 4]].tolist() == [0, 1]
    other = wel.faithfulness(net, images, ["gradient"], 2, parts=4)
    assert (found.images["gain"] != other.images["gain"]).any()
    # nothing and everything hidden is the same, however the picture is cut
    ends = [result.curves.query("share == 0 or share == 1")["median"].to_numpy() for result in (found, other)]
    np.testing.assert_allclose(*ends, rtol=1e-5)


def test_scores_are_probabilities_where_the_network_gives_them(images):
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(4, activation="softmax")]
    model = Sequential(stack)
    found = wel.faithfulness(wel.load(model), images, ["gradient"], classes=[0, 1, 2]).curves
    whole = model.predict(images, verbose=0)[range(3), [0, 1, 2]]
    assert found[(found["share"] == 0)]["median"].to_numpy() == pytest.approx(np.median(whole), rel=1e-5)


def test_the_result_and_what_is_written(functional, images, tmp_path):
    net = loaded(functional)
    found = wel.faithfulness(net, images, ["gradient", "lrp_z"], parts=4, semantics="both", out=tmp_path / "run")
    assert found.table["method"].unique().tolist() == ["gradient", "lrp_z", "random", "edges"]
    assert len(found.table) == 4 * 2 * 3 and len(found.curves) == 4 * 2 * 2 * 5 and len(found.images) == 4 * 2 * 3
    assert found.curves["share"].unique().tolist() == [0, 0.25, 0.5, 0.75, 1]
    gains = found.images.query("method == 'gradient' and semantics == 'paper'")["gain"]
    row = found.table.query("method == 'gradient' and semantics == 'paper' and measure == 'gain'").iloc[0]
    assert row["median"] == pytest.approx(np.median(gains)) and row["images"] == 3
    assert json.loads((tmp_path / "run" / "run.json").read_text())["request"]["baseline"] == "mean"
    again = wel.faithfulness(net, images, ["gradient", "lrp_z"], parts=4, semantics="both", out=tmp_path / "run")
    for one, other in zip((found.table, found.curves, found.images), (again.table, again.curves, again.images)):
        assert one.columns.tolist() == other.columns.tolist()
        np.testing.assert_allclose(one.select_dtypes("number"), other.select_dtypes("number"))


def test_maps_that_are_not_finite_have_no_value(functional, images, monkeypatch):
    from wel.studies import map_study

    def broken(net, request, images, *settings):
        maps = attribution(net, request.method.name, images)
        if request.method.name == "gradient":
            maps[1] = np.nan
        return maps

    monkeypatch.setattr(map_study, "maps_of", broken)
    found = wel.faithfulness(loaded(functional), images, ["gradient"], parts=4)
    assert found.table.query("method == 'gradient'")["values"].tolist() == [2, 2, 2]
    assert found.table.query("method == 'random'")["values"].tolist() == [3, 3, 3]
    assert np.isfinite(found.curves["median"]).all()


def test_an_interrupted_run_goes_on(functional, images, tmp_path):
    settings = {"net": loaded(functional), "images": images, "methods": ["gradient", "grad_cam"], "parts": 4}
    whole = wel.faithfulness(**settings)
    with pytest.raises(KeyboardInterrupt):
        wel.faithfulness(**settings, out=tmp_path / "run", steps=Interrupting(2))
    again = wel.faithfulness(**settings, out=tmp_path / "run")
    np.testing.assert_array_equal(whole.table["median"], again.table["median"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch": 9}, "^Invalid value for `patch`: 9. Expected at most 8, the shortest side of an image.$"),
        ({"patch": 4, "parts": 5}, "^Invalid value for `parts`: 5. Expected at most 4, the regions of an image.$"),
        ({"patch": 8}, "^Invalid value for `patch`: 8. Expected fewer than 8 places, so that there are two regions or more.$"),
        ({"parts": 1}, "^Invalid value for `parts`: 1. Expected a whole number from 2 on.$"),
        ({"baseline": "grey"}, "^Invalid value for `baseline`: 'grey'. Expected one of mean, blur, linear.$"),
        ({"regions": "hexagons"}, "^Invalid value for `regions`: 'hexagons'. Expected one of squares, superpixels.$"),
        ({"methods": "nope"}, "^Invalid value for `method`: 'nope'. Expected one of gradient, "),
        ({"classes": [0, 1]}, "^Invalid value for `classes`: "),
    ],
)
def test_a_mistake_is_one_sentence(functional, images, settings, sentence, tmp_path):
    with pytest.raises(WelError, match=sentence):
        wel.faithfulness(loaded(functional), images, **{"methods": ["gradient"], **settings}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_methods_of_all_that_do_not_apply_are_left_out(functional, images):
    found = wel.faithfulness(loaded(functional), images[:2], parts=4)
    assert {"pattern_net"} <= set(found.skipped) and {"random", "edges"} <= set(found.table["method"])
    assert set(found.table["method"]) <= set(METHODS)
