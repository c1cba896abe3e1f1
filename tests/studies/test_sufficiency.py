"""Sufficiency: on a network whose classes read a quarter of a picture each, against a plain loop, and how it is asked for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import loaded
from interruption import Interrupting

import wel
from wel.errors import UnsupportedError, WelError
from wel.studies.maps import attribution
from wel.studies.sufficiency import likely_classes


@pytest.fixture(scope="module")
def quarters():
    """A linear network of three classes, of which each sums another quarter of an 8 × 8 picture; the fourth quarter is nobody's."""
    from tensorflow.keras import Sequential, layers

    weights = np.zeros((3, 8, 8))
    for chosen, (row, column) in enumerate(((0, 0), (0, 4), (4, 0))):
        weights[chosen, row : row + 4, column : column + 4] = 1
    model = Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, use_bias=False)])
    model.set_weights([weights.reshape(3, 64).T])
    return wel.load(model)


@pytest.fixture(scope="module")
def pictures():
    """Quarters of 3, 2, 1 and −6, in the order of the classes, and a little noise: the mean of a picture is 0."""
    levels = np.kron(np.array([[3.0, 2.0], [1.0, -6.0]]), np.ones((4, 4)))
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (12, 8, 8))
    images = levels + noise - noise.mean(axis=(1, 2), keepdims=True)
    return images[..., None].astype("float32")


def predicted(found: pd.DataFrame, method: str) -> list[list[float]]:
    """class_rank, then the share kept from all to nothing."""
    rows = found[found["method"] == method]
    return [group["predicted"].tolist() for _, group in rows.groupby("class_rank")]


def test_what_every_class_reads_is_enough_for_it(quarters, pictures):
    """Squares of 4 are the quarters. Kept alone, a class's own one has the largest sum: the others are hidden by the mean, which is 0."""
    found = wel.faithfulness(quarters, pictures, "input_x_gradient", 4, parts=4, sufficiency=3).sufficiency
    assert found["kept"].unique().tolist() == [1, 0.75, 0.5, 0.25, 0]
    whole, *_, quarter, nothing = zip(*predicted(found, "input_x_gradient"))
    assert whole == (1, 0, 0) and quarter == (1, 1, 1)  # of the whole picture class 0 is predicted
    rows = found[(found["method"] == "input_x_gradient") & (found["kept"] == 0.25)]
    # the sums of 16 places of 3, 2 and 1
    assert rows["median"].tolist() == pytest.approx([48, 32, 16], abs=2) and rows["values"].tolist() == [12] * 3
    # edges and random values do not tell classes apart: a quarter drawn at random is a class's own in one of four cases
    assert predicted(found, "edges")[1][3] == 0 and predicted(found, "random")[2][3] < 0.75


def test_maps_that_do_not_depend_on_the_class_leave_one_class(quarters, pictures):
    found = wel.faithfulness(quarters, pictures, "edges", 1, parts=8, sufficiency=2).sufficiency
    for kept in found["kept"].unique():
        first, second = found[(found["method"] == "edges") & (found["kept"] == kept)].sort_values("class_rank")["predicted"]
        assert first + second <= 1


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_a_plain_loop_finds_the_same(functional, images, baseline):
    from scipy import ndimage

    net, classes = loaded(functional), [1, 0, 3]
    found = wel.faithfulness(net, images, "lrp_z", 2, parts=5, baseline=baseline, classes=classes, sufficiency=2).sufficiency
    logits = functional.predict(images, verbose=0)
    regions = (4 * (np.arange(8)[:, None] // 2) + np.arange(8) // 2).ravel()
    counts = [0, 3, 6, 10, 13, 16]  # 16/5 = 3.2, 6.4, 9.6, 12.8
    for rank in (1, 2):
        expected = []
        for image, one, chosen in zip(images, logits, classes):
            others = [index for index in np.argsort(-one) if index != chosen]
            wanted = chosen if rank == 1 else others[0]
            heat = attribution(net, "lrp_z", image[None], int(wanted))[0].sum(-1).ravel()
            order = np.argsort([heat[regions == region].mean() for region in range(16)])  # the least relevant first
            filled = image.mean(axis=(0, 1)) if baseline == "mean" else ndimage.gaussian_filter(image, (2, 2, 0))
            left = [np.where(np.isin(regions, order[:count]).reshape(8, 8, 1), filled, image) for count in counts]
            scored = functional.predict(np.array(left), verbose=0)
            expected.append((scored[:, wanted], scored.argmax(axis=1) == wanted))
        rows = found[(found["method"] == "lrp_z") & (found["class_rank"] == rank)]
        np.testing.assert_allclose(rows["kept"], 1 - np.array(counts) / 16)
        np.testing.assert_allclose(rows["median"], np.median([score for score, _ in expected], axis=0), rtol=0, atol=1e-5)
        np.testing.assert_allclose(rows["predicted"], np.mean([hit for _, hit in expected], axis=0))


def test_of_the_images_class_it_is_the_curve_of_insertion(functional, images):
    found = wel.faithfulness(loaded(functional), images, ["gradient", "grad_cam"], parts=4, sufficiency=1)
    for method in ("gradient", "grad_cam", "random", "edges"):
        curve = found.curves.query("method == @method and order == 'least'")
        rows = found.sufficiency.query("method == @method")
        np.testing.assert_allclose(rows["kept"], 1 - curve["share"])
        np.testing.assert_allclose(rows["median"], curve["median"], rtol=0, atol=1e-5)


def test_classes_by_likelihood(functional, images):
    logits = functional.predict(images, verbose=0)
    found = likely_classes(loaded(functional), images, np.array([0, 1, 2]), 4)
    for row, true, one in zip(found, (0, 1, 2), logits):
        assert row.tolist() == [true, *(index for index in np.argsort(-one) if index != true)]


def test_other_numbers_stay_and_the_table_is_written(functional, images, tmp_path):
    settings = {"net": loaded(functional), "images": images, "methods": ["gradient", "lrp_z"], "parts": 4}
    plain = wel.faithfulness(**settings, out=tmp_path / "plain")
    found = wel.faithfulness(**settings, sufficiency=2, out=tmp_path / "run")
    assert plain.sufficiency.empty and not (tmp_path / "plain" / "faithfulness_sufficiency.csv").exists()
    for one, other in ((plain.table, found.table), (plain.curves, found.curves), (plain.images, found.images)):
        pd.testing.assert_frame_equal(one, other)
    assert len(found.sufficiency) == 4 * 2 * 5 and json.loads((tmp_path / "run" / "run.json").read_text())["request"]["sufficiency"] == 2
    again = wel.faithfulness(**settings, sufficiency=2, out=tmp_path / "run", steps=Interrupting(after=0))
    pd.testing.assert_frame_equal(again.sufficiency, found.sufficiency)
    with pytest.raises(WelError, match=r"a run with other settings \(sufficiency\)"):
        wel.faithfulness(**settings, out=tmp_path / "run")


def test_an_interrupted_run_goes_on(functional, images, tmp_path):
    settings = {"net": loaded(functional), "images": images, "methods": "gradient", "parts": 4, "sufficiency": 2}
    whole = Interrupting()
    expected = wel.faithfulness(**settings, steps=whole)
    assert (whole.total, whole.done) == (9, 9)  # the method and two controls, three images each
    with pytest.raises(KeyboardInterrupt):
        wel.faithfulness(**settings, out=tmp_path / "run", steps=Interrupting(3))
    again = wel.faithfulness(**settings, out=tmp_path / "run")
    pd.testing.assert_frame_equal(again.sufficiency, expected.sufficiency)
    pd.testing.assert_frame_equal(again.table, expected.table)


def test_maps_that_are_not_finite_have_no_value(functional, images, monkeypatch):
    from wel.studies import map_study

    def broken(self, work, classes):
        maps = [attribution(work.net, work.request.method.name, work.images, chosen) for chosen in classes]
        if work.request.method.name == "gradient":
            maps[1][2] = np.nan
        return maps

    monkeypatch.setattr(map_study.Block, "maps", broken)
    found = wel.faithfulness(loaded(functional), images, "gradient", parts=4, sufficiency=2).sufficiency
    assert found.query("method == 'gradient'")["values"].tolist() == [3] * 5 + [2] * 5
    assert found["median"].notna().all() and set(found.query("method == 'random'")["values"]) == {3}


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (0, "^Invalid value for `sufficiency`: 0. Expected a whole number from 1 on.$"),
        (1.5, "^Invalid value for `sufficiency`: 1.5. Expected a whole number from 1 on.$"),
        (5, "^Invalid value for `sufficiency`: 5. Expected at most 4, the classes of the network.$"),
    ],
)
def test_a_mistake_is_one_sentence(functional, images, tmp_path, count, sentence):
    with pytest.raises(WelError, match=sentence):
        wel.faithfulness(loaded(functional), images, "gradient", sufficiency=count, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_logit_has_no_other():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, activation="sigmoid")]))
    with pytest.raises(UnsupportedError, match="^Sufficiency needs two classes or more. Received a network with one logit.$"):
        wel.faithfulness(net, np.ones((1, 8, 8, 3)), "gradient", sufficiency=1)
