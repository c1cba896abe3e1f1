"""wel.saliency and `wel saliency`: maps for the eye by hand, maps against naive replicas, files, figures, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import loaded, of_methods
from conftest import randomized as randomly_weighted
from interruption import Interrupting
from PIL import Image

import wel
from wel.cli.app import main
from wel.errors import UnsupportedError, WelError
from wel.figures import saliency as figures
from wel.figures.saliency import Pictures
from wel.measures.similarity import absolute, class_distance, normalised
from wel.methods.registry import METHODS
from wel.studies.cascading import Fresh, randomized
from wel.studies.maps import attribution, maps_of
from wel.studies.saliency import SaliencyResult, check_compared, saliency


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype="uint8")


# --- maps for the eye, by hand


def ramp() -> np.ndarray:
    """201 values, −100 … 100 in steps of 1, of which the k-th percentile is 2k − 100: P99.5 = 99, P0.5 = −99."""
    return np.arange(-100.0, 101).reshape(1, 201)


def test_a_map_is_divided_by_the_percentile_and_cut():
    found = normalised(ramp())
    # 99 and −99 are the ends; 33/99 = 1/3; 100 lies beyond
    assert found.dtype == np.float32 and found[0, [0, 1, 67, 100, 133, 199, 200]] == pytest.approx([-1, -1, -1 / 3, 0, 1 / 3, 1, 1])


def test_the_larger_end_scales_both_signs():
    # negative half doubled: −200 … −2, 0, 1 … 100: P0.5 = −198, P99.5 = 99, so 198 it is: 99/198 = 1/2, −100/198
    heatmap = np.where(ramp() < 0, 2 * ramp(), ramp())
    assert normalised(heatmap)[0, [0, 50, 199]] == pytest.approx([-1, -100 / 198, 0.5])
    np.testing.assert_array_equal(normalised(-heatmap), -normalised(heatmap))


def test_each_sign_has_its_own_scale_in_the_absolute_map():
    # as above: positive values / 99, negative ones / 198, so −100 gives 100/198 and 50 gives 50/99
    heatmap = np.where(ramp() < 0, 2 * ramp(), ramp())
    found = absolute(heatmap)
    assert found.dtype == np.float32 and found[0, [0, 50, 100, 150, 200]] == pytest.approx([1, 100 / 198, 0, 50 / 99, 1])


def test_rectgrad_is_scaled_by_its_largest_value():
    # percentile 100: the largest is 100, so 99/100
    assert normalised(ramp(), 100)[0, [0, 199, 200]] == pytest.approx([-1, 0.99, 1])
    assert METHODS["rectgrad"].map_percentile == 100


def test_a_map_of_one_sign_uses_that_sign_only():
    # 100 … 300: P99.5 = 299, P0.5 = 101; 150/299
    heatmap = ramp() + 200
    assert normalised(heatmap)[0, [50, 200]] == pytest.approx([150 / 299, 1])
    np.testing.assert_array_equal(absolute(heatmap), normalised(heatmap))
    np.testing.assert_array_equal(absolute(-heatmap), normalised(heatmap))


def test_what_lies_beyond_percentiles_of_zero_is_one():
    heatmap = np.zeros((20, 20))
    assert not normalised(heatmap).any() and not absolute(heatmap).any()
    heatmap[0, 0], heatmap[1, 1] = 1e-9, -5  # one value of 400 on either side lies beyond the last half per cent
    assert [normalised(heatmap)[i, i] for i in range(3)] == [1, -1, 0]
    assert [absolute(heatmap)[i, i] for i in range(3)] == [1, 1, 0]


def test_undefined_values_stay_and_do_not_count():
    heatmap = np.concatenate([ramp(), [[np.nan, np.inf]]], axis=1)
    np.testing.assert_array_equal(normalised(heatmap)[:, :201], normalised(ramp()))
    assert np.isnan(normalised(heatmap)[0, 201]) and np.isnan(absolute(heatmap)[0, 201]) and normalised(heatmap)[0, 202] == 1
    assert np.isnan(normalised(np.full((2, 2), np.nan))).all()


def test_the_distance_of_two_classes():
    # percentile 100: a = (4, −2, 0, 1)/(4 | 2) -> 1, 1, 0, 1/4; b = (1, 2, −8, 0)/(2 | 8) -> 1/2, 1, 1, 0
    # |a − b| = 1/2, 0, 1, 1/4; mean 1.75/4 = 0.4375
    one, other = np.array([[4.0, -2], [0, 1]]), np.array([[1.0, 2], [-8, 0]])
    assert class_distance(one, other, 100) == pytest.approx(0.4375)
    assert class_distance(one, one, 100) == 0 and class_distance(one, 7 * one, 100) == 0 and class_distance(one, -one, 100) == 0
    assert np.isnan(class_distance(one, np.array([[np.nan, 1], [2, 3]])))
    assert np.isnan(class_distance(0 * one, 0 * one)) and np.isnan(class_distance(one, 0 * one))


# --- the study


REDUCTIONS = {"gradient": lambda m: np.abs(m).max(-1), "lrp_alpha2_beta1": lambda m: m.sum(-1), "smoothgrad": lambda m: np.abs(m).max(-1)}
OPTIONS = {"smoothgrad": {"samples": 3}}


@pytest.mark.parametrize(("semantics", "backend"), [("paper", "native"), ("corrected", "native"), ("paper", "wrapped")])
def test_a_naive_replica_gives_the_same(net, images, semantics, backend):
    settings = {"semantics": semantics, "backend": backend, "seed": 4}
    computed_by = {"native": {"native"}, "wrapped": {"innvestigate", "native"}}[backend]  # the controls natively
    given = {"compare": (3, 1), "stages": ["dense", "conv2"], "options": OPTIONS}
    result = saliency(net, images, list(REDUCTIONS), [0, None, 3], **given, **settings)
    true, fresh = [0, int(net.model.predict(images, verbose=0)[1].argmax()), 3], Fresh(net, 4)
    keys = []
    for name, reduce in REDUCTIONS.items():

        def make(classes):
            return reduce(attribution(net, name, images, classes, **settings, **OPTIONS.get(name, {})))

        expected = {"original": make(true), "class_3": make(3), "class_1": make(1)}
        for stage in ("dense", "conv2"):
            with randomized(net, stage, fresh):
                expected[f"stage_{stage}"] = make(true)
        for view, maps in expected.items():
            keys.append((name, semantics, view))
            np.testing.assert_array_equal(result.maps[keys[-1]], maps)
            assert maps.dtype == np.float32 and maps.shape == (3, 8, 8)
        distances = result.table.query("method == @name")["l1"]
        np.testing.assert_allclose(distances, [class_distance(*pair) for pair in zip(expected["class_3"], expected["class_1"])])
    assert list(result.maps)[: len(keys)] == keys and {key[0] for key in list(result.maps)[len(keys) :]} == {"random", "edges"}
    assert result.images["true_class"].tolist() == true and result.images["class_from"].tolist() == ["label", "prediction", "label"]
    order = [" ".join(map(str, np.argsort(-row))) for row in net.model.predict(images, verbose=0)]
    assert result.images["top5"].tolist() == order
    assert set(result.table["class_a"]) == {3} and set(result.table["class_b"]) == {1} and set(result.table["backend"]) == computed_by


def class_blind(logits: int = 4):
    """A network whose first two logits are the same function of its last hidden layer."""
    from tensorflow.keras import Model, layers

    image = layers.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    model = randomly_weighted(Model(image, layers.Dense(logits, name="dense")(x), name="blind"), seed=6)
    kernel, bias = model.get_layer("dense").get_weights()
    kernel[:, 1], bias[1] = kernel[:, 0], bias[0]
    model.get_layer("dense").set_weights([kernel, bias])
    return model


def test_maps_that_cannot_depend_on_the_class_have_distance_zero(images):
    net = wel.load(class_blind())
    table = of_methods(saliency(net, images, ["gradient", "lrp_z", "deep_taylor"], compare=(0, 1)).table)
    assert len(table) == 9 and (table["l1"] == 0).all()
    assert (of_methods(saliency(net, images, ["gradient", "lrp_z"], compare=(0, 2)).table)["l1"] > 0.01).all()


METHOD = "lrp_cmp_alpha1_beta0"


def test_maps_that_negative_logits_leave_empty_have_no_distance(residual, images):
    # what comes into `dense` is 0 or more, so negative weights make negative logits, and α1β0 a relevance that is negative
    # throughout; `paper` cuts that off at Add, `corrected` does not
    model = randomly_weighted(type(residual).from_config(residual.get_config()), seed=5)
    kernel, bias = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([-np.abs(kernel), -np.abs(bias)])
    result = saliency(wel.load(model), images, METHOD, compare=(0, 1), semantics="both")
    empty = {semantics: not maps.any() for (name, semantics, view), maps in result.maps.items() if (name, view) == (METHOD, "class_0")}
    assert empty == {"paper": True, "corrected": False}
    table = of_methods(result.table)
    undefined = table["l1"].isna().groupby(table["semantics"]).mean()
    assert undefined.to_dict() == {"paper": 1, "corrected": 0}


def test_the_network_is_its_own_again(net, images):
    before = net.weights_hash()
    found = saliency(net, images, "gradient", stages="all").maps
    maps = {key: several for key, several in found.items() if key[0] == "gradient"}
    assert net.weights_hash() == before
    assert [view for _, _, view in maps] == ["original", *(f"stage_{name}" for name in ("dense", "hidden", "conv2", "conv1"))]
    original, *stages = maps.values()
    assert all(np.abs(original - other).max() > 1e-3 for other in stages)


def test_paper_stages_are_the_zoos():
    net = wel.load("cifar10")
    image = np.random.default_rng(0).random((1, 32, 32, 3), dtype="float32")
    maps = saliency(net, image, "gradient", stages="paper").maps
    assert [view for name, _, view in maps if name == "gradient"] == [
        "original",
        *(f"stage_{name}" for name in "fc6 fc5 conv4 conv3 conv2 conv1".split()),
    ]


def test_all_leaves_out_what_does_not_apply(net, images):
    result = saliency(net, images[:1])
    made = {name for name, _, _ in result.maps}
    assert "pattern_net" in result.skipped and "smoothgrad" in made and not made & set(result.skipped)
    assert len(made) + len(result.skipped) == 17 + 2
    with pytest.raises(UnsupportedError, match="pattern"):
        saliency(net, images[:1], "pattern_net")


# --- files


def test_maps_in_files_are_those_of_the_result(net, images, tmp_path):
    settings = {"compare": (0, 2), "stages": "dense", "semantics": "both"}
    result = saliency(net, images, ["gradient", "rectgrad"], **settings, out=tmp_path / "run")
    files = sorted(path.name for path in (tmp_path / "run" / "maps").iterdir())
    assert files == [
        f"{name}_{semantics}.npz" for name in ("edges", "gradient", "random", "rectgrad") for semantics in ("corrected", "paper")
    ]
    views = ["original", "class_0", "class_2", "stage_dense"]
    for (method, semantics, view), maps in result.maps.items():
        with np.load(tmp_path / "run" / "maps" / f"{method}_{semantics}.npz") as arrays:
            twice = {f"{kind}/{one}" for kind in ("raw", "normalised") for one in views}
            assert set(arrays) == twice | {"absolute/class_0", "absolute/class_2"}
            assert all(arrays[key].dtype == np.float32 and arrays[key].shape == (3, 8, 8) for key in arrays)
            np.testing.assert_array_equal(arrays[f"raw/{view}"], maps)
            percentile = METHODS[method].map_percentile
            np.testing.assert_array_equal(arrays[f"normalised/{view}"][1], normalised(maps[1], percentile))
            if view.startswith("class"):
                np.testing.assert_array_equal(arrays[f"absolute/{view}"][1], absolute(maps[1], percentile))
    assert not (tmp_path / "run" / "parts").exists()
    assert_same(saliency(net, images, ["gradient", "rectgrad"], **settings, out=tmp_path / "run"), result)


def assert_same(one: SaliencyResult, other: SaliencyResult) -> None:
    assert list(one.maps) == list(other.maps) and one.skipped == other.skipped
    for key in one.maps:
        np.testing.assert_array_equal(one.maps[key], other.maps[key])
    pd.testing.assert_frame_equal(one.images, other.images, check_exact=True)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


def test_an_interrupted_run_goes_on(net, images, tmp_path, monkeypatch):
    settings = {"methods": ["gradient", "input_x_gradient"], "compare": (0, 2), "stages": "dense", "seed": 2}
    with pytest.raises(KeyboardInterrupt):
        saliency(net, images, **settings, out=tmp_path / "run", steps=Interrupting(1))
    parts = list((tmp_path / "run" / "parts").iterdir())
    assert len(parts) == 1 and not (tmp_path / "run" / "maps").exists()
    asked, real = [], maps_of
    monkeypatch.setattr("wel.studies.map_study.maps_of", lambda *given: asked.append(given[1].method.name) or real(*given))
    steps = Interrupting()
    result = saliency(net, images, **settings, out=tmp_path / "run", steps=steps)
    assert asked == ["input_x_gradient"] * 4 + ["random"] * 4 + ["edges"] * 4 and steps.done == steps.total == 4 * len(images)
    assert_same(result, saliency(net, images, **settings))


def test_a_run_that_lacks_a_file_is_one_sentence(net, images, tmp_path):
    saliency(net, images, "gradient", out=tmp_path / "run")
    (tmp_path / "run" / "maps" / "gradient_paper.npz").write_bytes(b"junk")
    with pytest.raises(WelError, match="^Invalid value for `out`: .*lacks results of its own run"):
        saliency(net, images, "gradient", out=tmp_path / "run")


@pytest.mark.parametrize("compare", [(0, 4), (1, 1), (0,), (0, 1, 2), (-1, 0), (0.0, 1), 3, "01"])
def test_classes_that_the_network_does_not_have_are_refused(net, images, tmp_path, compare):
    with pytest.raises(WelError, match="^Invalid value for `compare`: .*Expected two different classes, whole numbers from 0 to 3.$"):
        saliency(net, images, "gradient", compare=compare, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_classes_may_be_numpys():
    assert check_compared(np.array([2, 0]), 4) == (2, 0)


# --- figures


THREE = ("gradient", "rectgrad", "lrp_z")


def made(count=3, methods=THREE, stages=("fc2", "a/b$#2"), semantics=("paper",), shape=(8, 8)) -> SaliencyResult:
    """A result with random maps, in which the two classes' maps of lrp_z are the same."""
    rng = np.random.default_rng(0)
    views = ["original", "class_2", "class_0", *(f"stage_{stage}" for stage in stages)]
    keys = [(name, one, view) for name in methods for one in semantics for view in views]
    maps = {key: rng.standard_normal((count, *shape)).astype("float32") for key in keys}
    for one in semantics:
        maps[("lrp_z", one, "class_0")] = maps[("lrp_z", one, "class_2")]
    images = {"model": "small", "image": range(count), "true_class": 2, "class_from": "label", "top5": "2 0 1"}
    rows = [
        {"method": name, "semantics": one, "image": i, "class_a": 2, "class_b": 0, "l1": 0.0 if name == "lrp_z" else 0.25}
        for name in methods
        for one in semantics
        for i in range(count)
    ]
    return SaliencyResult(maps, pd.DataFrame(images), pd.DataFrame(rows))


def pictures(count: int = 3, names=None, shape=(8, 8), class_names=("ant", "bee", "cat")) -> Pictures:
    shown = np.random.default_rng(2).integers(0, 256, (count, *shape, 3), dtype="uint8")
    return Pictures(names or [f"{i}.png" for i in range(count)], shown, class_names)


def panels(figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.get_label() != "colour bar"]


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def test_the_grid_has_one_row_per_image_with_the_picture_first():
    result, shown = made(), pictures()
    figure = figures.maps_figure(result, METHODS, shown, "paper", [0, 2])
    found = panels(figure)
    assert len(found) == 2 * (1 + 3)
    np.testing.assert_array_equal(found[0], shown.pixels[0])
    np.testing.assert_array_equal(found[4], shown.pixels[2])
    np.testing.assert_array_equal(found[5], normalised(result.maps[("gradient", "paper", "original")][2]))
    np.testing.assert_array_equal(found[6], normalised(result.maps[("rectgrad", "paper", "original")][2], 100))  # the registry's order
    described = "class: cat (label)\ntop 3: cat ant bee"
    assert texts(figure) == [f"0.png\n{described}", "Gradient", "RectGrad", "LRP-z", f"2.png\n{described}"]
    first = [axes.get_position() for axes in figure.axes[:8]]
    assert len({round(place.y0, 9) for place in first}) == 2 and len({round(place.x0, 9) for place in first}) == 4
    assert {axes.images[0].get_clim() for axes in figure.axes[1:4]} == {(-1, 1)}


def test_stages_have_one_row_per_method_and_one_column_per_stage():
    result = made()
    figure = figures.stages_figure(result, METHODS, pictures(), "paper", 1)
    found = panels(figure)
    assert len(found) == 1 + 3 * 3
    np.testing.assert_array_equal(found[3], normalised(result.maps[("gradient", "paper", "stage_a/b$#2")][1]))
    assert texts(figure)[:5] == ["1.png\nclass: cat (label)\ntop 3: cat ant bee", "original", "Gradient", "fc2", r"a/b\$#2"]


def test_two_classes_have_their_difference_and_distance():
    result = made()
    figure = figures.classes_figure(result, METHODS, pictures(), "paper", 1)
    found = panels(figure)
    assert len(found) == 1 + 3 * 3
    one, other = (absolute(result.maps[("gradient", "paper", f"class_{index}")][1]) for index in (2, 0))
    for panel, expected in zip(found[1:], (one, other, one - other)):
        np.testing.assert_array_equal(panel, expected)
    assert not found[9].any()
    assert texts(figure)[1:6] == ["a: cat", "Gradient", "b: ant", "a − b", "L1 = 0.25"] and texts(figure)[-2:] == ["all 0", "L1 = 0"]


def test_a_map_of_zeros_says_so_and_has_no_distance():
    result = made()
    result.maps[("gradient", "paper", "class_2")][1] = result.maps[("gradient", "paper", "original")][1] = 0
    result.table.loc[(result.table["method"] == "gradient") & (result.table["image"] == 1), "l1"] = np.nan
    for draw, empty in ((figures.classes_figure, 2), (figures.stages_figure, 1)):  # lrp_z's difference is 0 too
        assert texts(draw(result, METHODS, pictures(), "paper", 1)).count("all 0") == empty
        assert texts(draw(result, METHODS, pictures(), "paper", 0)).count("all 0") == empty - 1
    assert "L1 undefined" in texts(figures.classes_figure(result, METHODS, pictures(), "paper", 1))


def test_the_caption_says_how_maps_were_made():
    def caption(draw, *names):
        figure = draw(made(methods=(*names, "lrp_z")), METHODS, pictures(), "paper", *([[0]] if draw is figures.maps_figure else [0]))
        return " ".join(figure.texts[-1].get_text().split())

    found = caption(figures.maps_figure, "gradient", "rectgrad")
    assert "Channels: sum; largest absolute value for Gradient, RectGrad." in found and "(100th and 0th for RectGrad)" in found
    assert "99.5th percentile" in found and "larger of P and |Q|" in found and "seismic" in found
    assert "RectGrad" not in caption(figures.maps_figure) and caption(figures.maps_figure).startswith("Channels: sum. P is")
    assert "positive values divided by P, negative ones by Q" in caption(figures.classes_figure)
    assert "that layer and all later ones randomised" in caption(figures.stages_figure)


ALL = tuple(name for name in METHODS)
LONG = tuple(f"block{number}/a_very_long_name_of_a_layer#2" for number in range(9))
DRAWN = {
    "maps": lambda: figures.maps_figure(made(), METHODS, pictures(), "paper", range(3)),
    "maps, all": lambda: figures.maps_figure(made(8, ALL), METHODS, pictures(8, ["ä" * 200 + str(i) for i in range(8)]), "paper", range(8)),
    "maps, wide": lambda: figures.maps_figure(made(shape=(4, 16)), METHODS, pictures(shape=(4, 16)), "paper", range(3)),
    "stages, all": lambda: figures.stages_figure(made(1, ALL, LONG), METHODS, pictures(1), "paper", 0),
    "stages, high": lambda: figures.stages_figure(made(1, shape=(16, 4)), METHODS, pictures(1, shape=(16, 4)), "paper", 0),
    "classes": lambda: figures.classes_figure(made(1, ("lrp_z",)), METHODS, pictures(1), "paper", 0),
    "classes, all": lambda: figures.classes_figure(made(1, ALL), METHODS, pictures(1, class_names=["c" * 99] * 3), "paper", 0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_nothing_overlaps_or_is_cut_off(draw):
    figure = draw()
    figure.canvas.draw()
    found = [axes.get_window_extent() for axes in figure.axes]
    # "all 0" stands inside its panel
    found += [text.get_window_extent() for axes in figure.axes for text in axes.texts if text.get_text() not in ("", figures.EMPTY)]
    found += [text.get_window_extent() for text in (*figure.texts, *figure.axes[-1].get_xticklabels())]
    assert not [(one, other) for number, one in enumerate(found) for other in found[:number] if one.overlaps(other)]
    for box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_odd_names_become_plain_file_names(tmp_path):
    names = ["a/b c.png", "a_b?c.png", "$x^2$ <&>.png", "猫.png", "../../etc", "A/B C.PNG"]
    result = made(6, ("lrp_z",), ("block/conv#2",))
    written = figures.write_saliency_figures(result, METHODS, pictures(6, names), tmp_path / "out" / "figures")
    assert all(path.is_file() and path.parent == tmp_path / "out" / "figures" for path in written)
    assert len(set(written)) == len(written) == 2 * (1 + 6 + 6)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"] and list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "figures"]
    folder = tmp_path / "out" / "figures" / "maps" / "lrp_z_paper"
    assert sorted(path.name for path in folder.iterdir()) == ["class_0", "class_2", "original", "stage_block_conv_2"]
    assert {path.name for path in (folder / "original").iterdir()} == {
        "a_b_c.png.png",
        "a_b_c.png_2.png",
        "_x_2_____.png.png",
        "_.png.png",
        ".._.._etc.png",
        "A_B_C.PNG_3.png",
    }


def test_each_map_is_a_picture_of_its_own_size_in_seismic(tmp_path):
    result = made(1, ("lrp_z",), ())
    result.maps[("lrp_z", "paper", "original")][0, 0, :4] = [100, -100, np.nan, 0]
    figures.write_saliency_figures(result, METHODS, pictures(1), tmp_path)
    found = np.asarray(Image.open(tmp_path / "maps" / "lrp_z_paper" / "original" / "0.png.png"))
    assert found.shape == (8, 8, 3)
    # seismic ends in dark red and dark blue; what is undefined is grey, and 0 is white but for rounding
    assert found[0, :3].tolist() == [[127, 0, 0], [0, 0, 76], [154, 154, 154]] and (found[0, 3] >= 253).all()
    expected = matplotlib.colormaps["seismic"]((normalised(result.maps[("lrp_z", "paper", "original")][0])[1:] + 1) / 2, bytes=True)
    np.testing.assert_array_equal(found[1:], expected[..., :3])


def test_more_than_eight_images_go_on_another_page_and_semantics_have_their_own(tmp_path):
    result = made(9, ("lrp_z",), (), ("paper", "corrected"))
    result = SaliencyResult({key: maps for key, maps in result.maps.items() if key[2] == "original"}, result.images, result.table[:0])
    written = figures.write_saliency_figures(result, METHODS, pictures(9), tmp_path)
    names = [f"maps_{semantics}{page}.{kind}" for semantics in ("paper", "corrected") for page in ("", "_2") for kind in ("png", "svg")]
    assert [path.name for path in written] == names


def test_the_same_maps_give_the_same_bytes_whatever_the_callers_style(tmp_path):
    first = figures.write_saliency_figures(made(1), METHODS, pictures(1), tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "image.cmap": "gray", "image.interpolation": "nearest"}):
        second = figures.write_saliency_figures(made(1), METHODS, pictures(1), tmp_path / "second")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (pictures(2), "^Invalid value for `names`: .*Expected 3 different names, one per image"),
        (pictures(3, ["a", "a", "b"]), "^Invalid value for `names`: .*Expected 3 different names, one per image"),
        (pictures(3, shape=(4, 4)), r"^Invalid value for `pixels`: .*\(3, 4, 4, 3\)'. Expected uint8 of shape \(3, 8, 8, 3\)"),
    ],
)
def test_pictures_that_are_not_those_of_the_result_are_refused(tmp_path, shown, sentence):
    with pytest.raises(WelError, match=sentence):
        figures.write_saliency_figures(made(), METHODS, shown, tmp_path / "figures")
    assert list(tmp_path.iterdir()) == []


# --- the command


@pytest.fixture
def model(functional, tmp_path) -> Path:
    functional.save(tmp_path / "tiny.h5")
    return tmp_path / "tiny.h5"


@pytest.fixture
def folder(pixels, tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name, one in zip(("a b.png", "ü$.png", "z.png"), pixels):
        Image.fromarray(one).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def run(*arguments: object) -> int:
    """Runs the command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


def test_the_command_gives_the_librarys_maps(model, folder, pixels, tmp_path, capsys):
    out = tmp_path / "run"
    (tmp_path / "labels.csv").write_text("file,label\nz.png,0\n")
    options = ["--methods", "gradient,lrp_z", "--classes", "3,1", "--stages", "dense,conv1", "--labels", tmp_path / "labels.csv"]
    arguments = ["saliency", "--model", model, "--images", folder, *options, "--seed", 3, "--out", out]
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    assert "tiny: 3 images" in printed and "class: the true label of 1, the top-1 prediction of 2" in printed
    settings = {"compare": (3, 1), "stages": ["dense", "conv1"], "seed": 3}
    inputs = pixels[[0, 2, 1]].astype("float32") / 255  # in the order of names: ü comes after z
    library = wel.saliency(wel.load(model), inputs, ["gradient", "lrp_z"], [None, 0, None], **settings)
    for (method, semantics, view), maps in library.maps.items():
        with np.load(out / "maps" / f"{method}_{semantics}.npz") as arrays:
            np.testing.assert_array_equal(arrays[f"raw/{view}"], maps)
    for mean in library.table.groupby("method")["l1"].mean():
        assert f"{mean:.3g}" in printed
    assert f"Maps: {out / 'maps'} (.npz), {out / 'figures' / 'maps'} (.png)" in printed
    assert f"Figure: {out / 'figures' / 'maps_paper.png'} (and 13 more)" in printed
    assert sorted(path.name for path in (out / "figures").glob("*.png")) == sorted(
        ["maps_paper.png"] + [f"{kind}_paper_{name}.png" for kind in ("classes", "stages") for name in ("a_b.png", "__.png", "z.png")]
    )
    record = json.loads((out / "run.json").read_text())
    assert record["finished"] and record["request"]["views"] == ["original", "class_3", "class_1", "stage_dense", "stage_conv1"]
    assert record["context"]["images"] == ["a b.png", "z.png", "ü$.png"]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert run(*arguments) == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_methods_that_do_not_apply_are_named(model, folder, tmp_path, capsys):
    assert run("saliency", "--model", model, "--images", folder, "--limit", 1, "--out", tmp_path / "run") == 0
    assert "Left out: pattern_net, pattern_attribution. Each needs patterns of this network." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--classes", "0,9"], "Invalid value for `classes`: (0, 9). Expected two different classes, whole numbers from 0 to 3."),
        (["--classes", "cat,dog"], "Invalid value for `classes`: ['cat', 'dog']. Expected two different classes"),
        (["--classes", "2,2"], "Invalid value for `classes`: [2, 2]. Expected two different classes"),
        (["--classes", "2"], "Invalid value for `classes`: [2]. Expected two different classes"),
        (["--stages", "nope"], "Invalid value for `stages`: 'nope'. Expected one of input, output, conv1, "),
        (["--methods", "nope"], "Invalid value for `method`: 'nope'. Expected one of gradient, "),
        (["--backend", "nope"], "Invalid value for `backend`: 'nope'. Expected one of "),
        (["--semantics", "nope"], "Invalid value for `semantics`: 'nope'. Expected one of paper, corrected, both."),
    ],
)
def test_a_mistake_is_one_sentence_exit_code_2_and_nothing_written(model, folder, tmp_path, capsys, arguments, sentence):
    before = sorted(tmp_path.rglob("*"))
    assert run("saliency", "--model", model, "--images", folder, "--out", tmp_path / "run", *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("wel: ") and sentence in said, said
    assert sorted(tmp_path.rglob("*")) == before
