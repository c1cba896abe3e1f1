"""wel.csc: by hand, against itself in other batches and orders, interrupted and repeated, and on networks that do or do not converge."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import loaded
from interruption import Interrupting
from replicas import METHODS

import wel
from wel.errors import UnsupportedError, WelError
from wel.measures.cosine import chance_level
from wel.measures.vectors import random_vectors

COLUMNS = (
    "model method semantics backend start layer layer_index channels images vectors values nan_fraction "
    "median mean p0 p1 p5 p10 p20 p50 p80 p95 p99 p100 ci_low ci_high baseline"
).split()
NOISY = ("lrp_z", "lrp_epsilon", "rectgrad")  # they divide by sums near zero, or compare with a threshold


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


def linear(*kernels):
    """x -> x W1 W2 …, layers named first, second, …"""
    from tensorflow.keras import Sequential, layers

    names = ("first", "second", "third")
    stack = [layers.Dense(np.shape(kernel)[1], use_bias=False, name=name) for name, kernel in zip(names, kernels)]
    model = Sequential([layers.Input(len(kernels[0]), name="x"), *stack], name="linear")
    model.set_weights([np.array(kernel, "float32") for kernel in kernels])
    return wel.load(model)


# --- the table


@pytest.mark.parametrize(("backend", "computed_by"), [("native", "native"), ("wrapped", "innvestigate")])
def test_the_table_has_the_columns_of_the_design_in_its_order(net, images, backend, computed_by):
    result = wel.csc(net, images, methods=["gradient"], start="pool", vectors=3, backend=backend)
    assert list(result.table.columns) == COLUMNS
    first = result.table.iloc[0]
    assert first[:6].tolist() == ["functional", "gradient", "paper", computed_by, "pool", "conv2"]
    assert first[["layer_index", "channels", "images", "vectors"]].tolist() == [2, 6, 3, 3]
    assert first["values"] == 3 * 36 * 3 * (1 - first["nan_fraction"])  # images × locations × pairs, what is not a number left out


def test_rows_go_from_the_start_down_to_the_input_per_method_and_start_layer(net, images):
    table = wel.csc(net, images, methods=["lrp_z", "gradient"], start=["output", "conv2"], vectors=2).table
    order = table[["method", "start"]].drop_duplicates().to_numpy().tolist()
    assert order == [["lrp_z", "dense"], ["lrp_z", "conv2"], ["gradient", "dense"], ["gradient", "conv2"]]
    curves = {key: group["layer"].tolist() for key, group in table.groupby(["method", "start"])}
    assert curves["gradient", "dense"] == ["hidden", "flatten", "pool", "conv2", "conv1", "input"]
    assert curves["lrp_z", "conv2"] == ["conv1", "input"]


def test_the_baseline_is_the_chance_level_of_the_layers_width(net, images):
    table = wel.csc(net, images, methods="gradient", vectors=2).table
    widths = {"hidden": 7, "flatten": 54, "pool": 6, "conv2": 6, "conv1": 4, "input": 3}
    assert dict(zip(table["layer"], table["channels"])) == widths
    np.testing.assert_array_equal(table["baseline"], [chance_level(widths[layer]) for layer in table["layer"]])
    assert table["baseline"].iloc[-1] == pytest.approx(0.5, abs=1e-12)


def test_histograms_count_all_values(net, images):
    result = wel.csc(net, images, methods="gradient", vectors=3)
    rows = result.table.set_index(["method", "semantics", "start", "layer"])["values"]
    assert {key: int(counts.sum()) for key, counts in result.histograms.items()} == rows.to_dict()


# --- by hand


def test_cosines_of_a_linear_network_by_hand():
    # gradients at `first` for v: v W2ᵀ with W2 = [[1, 0], [2, 1]]; at the input that times W1ᵀ with W1 = [[1, 1], [0, 1]]
    # v = (1, 0) -> (1, 2) -> (1 + 2, 2) = (3, 2);  v = (0, 1) -> (0, 1) -> (1, 1);  v = (1, 1) -> (1, 3) -> (4, 3)
    # first: cos = 2/√5, 7/(√5 √10), 3/√10; input: 5/(√13 √2), 18/(√13 · 5), 7/(√2 · 5)
    net = linear([[1, 1], [0, 1]], [[1, 0], [2, 1]])
    table = wel.csc(net, np.ones((1, 2)), "gradient", vectors={"second": np.array([[[1, 0], [0, 1], [1, 1]]])}).table
    cosines = {"first": [2 / 5**0.5, 7 / 50**0.5, 3 / 10**0.5], "input": [5 / 26**0.5, 18 / (5 * 13**0.5), 7 / (5 * 2**0.5)]}
    assert table["layer"].tolist() == list(cosines)
    for row, expected in zip(table.to_dict("records"), cosines.values()):
        np.testing.assert_allclose([row["p0"], row["p100"], row["mean"]], [min(expected), max(expected), np.mean(expected)], rtol=1e-7)
        # the median is a bin's centre: within 1e-4, and within 1 % of 1 - |cos|
        np.testing.assert_allclose(row["median"], np.median(expected), rtol=0, atol=min(1e-4, 0.01 * (1 - np.median(expected))))


def test_a_layer_of_rank_one_makes_everything_parallel():
    # W2 = a bᵀ: whatever comes from above arrives as (v · b) a; a's entries are powers of two, so float32 scales it exactly
    net = linear(np.random.default_rng(0).standard_normal((3, 4)), np.outer([1, 2, -4, 0.5], [1, -3, 2]))
    table = wel.csc(net, np.ones((2, 3)), "gradient", vectors=5).table.set_index("layer")
    assert (table.loc["first", ["p0", "median", "p100", "mean"]] == 1).all()
    assert table.loc["input", "p0"] > 1 - 1e-12


def test_results_without_a_direction_are_dropped():
    # a dead branch: nothing arrives below, there is no cosine
    net = linear(np.ones((3, 4)), np.zeros((4, 2)))
    table = wel.csc(net, np.ones((2, 3)), "gradient", vectors=4).table
    assert (table["values"] == 0).all() and (table["nan_fraction"] == 1).all() and table["median"].isna().all()


# --- the same numbers every way


def test_given_vectors_are_as_good_as_drawn_ones(net, images):
    drawn = wel.csc(net, images, "lrp_alpha1_beta0", start=["dense", "conv2"], vectors=3, seed=4).table
    given = {name: random_vectors(4, net.find(name), range(3), 3, net.graph[net.find(name)].shape) for name in ("output", "conv2")}
    pd.testing.assert_frame_equal(wel.csc(net, images, "lrp_alpha1_beta0", vectors=given, seed=4).table, drawn)


def test_the_seed_decides(net, images):
    one, same, other = (wel.csc(net, images, "gradient", vectors=2, seed=seed).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert (one["mean"] != other["mean"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_medians_do_not_depend_on_the_batch_size(net, images, method):
    whole, ones, threes = (wel.csc(net, images, method, start=["dense", "pool"], batch_size=size).table for size in (None, 1, 3))
    # one |cos| per image, place and pair of the five vectors, 5 · 4 / 2, is counted or dropped
    places = [np.prod(net.graph[net.find(layer)].shape[:-1]) for layer in whole["layer"]]
    for table in (whole, ones, threes):
        np.testing.assert_allclose(table["median"], whole["median"], rtol=0, atol=1e-2 if method in NOISY else 1e-5)
        np.testing.assert_allclose(table["values"], (1 - table["nan_fraction"]) * np.multiply(places, len(images) * 10), rtol=1e-12)


@pytest.mark.wrapped
@pytest.mark.parametrize("method", ["gradient", "lrp_alpha2_beta1", "deeplift_rescale"])
def test_both_backends_find_the_same(net, images, method):
    found, known = (wel.csc(net, images, method, start=["dense", "pool"], backend=backend) for backend in ("native", "wrapped"))
    np.testing.assert_allclose(found.table["median"], known.table["median"], rtol=0, atol=1e-5)
    assert found.table["values"].tolist() == known.table["values"].tolist()


def test_float64_tells_more_nines(images):
    net = linear(np.ones((3, 4)) + 1e-9 * np.random.default_rng(0).standard_normal((3, 4)))  # cosines of 1 - 1e-18, beyond float64
    low, high = (wel.csc(net, np.ones((1, 3)), "gradient", dtype=dtype, vectors=8).table.iloc[0] for dtype in ("float32", "float64"))
    assert 1 - high["median"] <= 1 - low["median"] < 1e-12


def test_the_first_layer_whose_relevance_is_not_finite_is_named(net, images):
    huge = np.full((3, 2, 4), 3e38, "float32")
    huge[:, 1] *= np.array([1, -1, 1, -1], "float32")
    result = wel.csc(net, images, "lrp_alpha5_beta4", vectors={"dense": huge})
    assert result.non_finite == {("lrp_alpha5_beta4", "paper", "dense"): "hidden"}


def test_the_order_of_start_layers_does_not_matter(net, images):
    one, other = (wel.csc(net, images, "gradient", start=start).table for start in (["dense", "pool"], ["pool", "dense"]))
    keys = ["start", "layer"]
    pd.testing.assert_frame_equal(one.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True))


# --- runs


ARGUMENTS = {"methods": ["gradient", "lrp_alpha1_beta0"], "start": ["dense", "pool"], "vectors": 3, "seed": 1, "batch_size": 2}


def test_twice_the_same_is_the_same_file(net, images, tmp_path):
    for name in ("one", "two"):
        wel.csc(net, images, **ARGUMENTS, out=tmp_path / name)
    for file in ("csc.csv", "histograms.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_interrupted_run_goes_on_and_ends_in_the_same_file(net, images, tmp_path):
    whole = Interrupting()
    wel.csc(net, images, **ARGUMENTS, out=tmp_path / "whole", steps=whole)
    assert (whole.total, whole.done) == (12, 12)  # 2 methods × 2 start layers × 3 images
    for after in (2, 5, 8, 12):
        with pytest.raises(KeyboardInterrupt):
            wel.csc(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=Interrupting(after))
        assert not (tmp_path / "parts" / "csc.csv").exists()
    steps = Interrupting()
    wel.csc(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=steps)
    assert steps.done == 12
    for file in ("csc.csv", "histograms.csv"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["csc.csv", "histograms.csv", "run.json"]


def test_a_finished_run_is_read_again(net, images, tmp_path):
    first = wel.csc(net, images, **ARGUMENTS, out=tmp_path / "run")
    steps = Interrupting(after=0)  # nothing is computed
    again = wel.csc(net, images, **ARGUMENTS, out=tmp_path / "run", steps=steps)
    pd.testing.assert_frame_equal(again.table, first.table, check_exact=True)
    assert {key: counts.tolist() for key, counts in again.histograms.items()} == {k: c.tolist() for k, c in first.histograms.items()}


@pytest.mark.parametrize("change", [{"seed": 2}, {"vectors": 4}, {"methods": ["gradient"]}, {"semantics": "corrected"}, {"images": None}])
def test_a_run_with_other_settings_is_kept(net, images, tmp_path, change):
    wel.csc(net, images, **ARGUMENTS, out=tmp_path / "run")
    kept = (tmp_path / "run" / "csc.csv").read_bytes()
    other = {**ARGUMENTS, **change, "images": images[::-1] if "images" in change else images}
    with pytest.raises(WelError, match="^Invalid value for `out`: .*a run with other settings"):
        wel.csc(net, **other, out=tmp_path / "run")
    assert (tmp_path / "run" / "csc.csv").read_bytes() == kept


# --- methods and semantics


def test_both_semantics_side_by_side(residual, images):
    net = loaded(residual)
    both = wel.csc(net, images, ["gradient", "lrp_alpha1_beta0"], semantics="both", vectors=3).table
    order = both[["method", "semantics"]].drop_duplicates().to_numpy().tolist()
    assert order == [[method, one] for method in ("gradient", "lrp_alpha1_beta0") for one in ("paper", "corrected")]
    for semantics in ("paper", "corrected"):
        alone = wel.csc(net, images, ["gradient", "lrp_alpha1_beta0"], semantics=semantics, vectors=3).table
        pd.testing.assert_frame_equal(both[both["semantics"] == semantics].reset_index(drop=True), alone)
    means = both[both["layer"] == "input"].set_index(["method", "semantics"])["mean"]
    assert means["gradient", "paper"] == means["gradient", "corrected"]
    assert means["lrp_alpha1_beta0", "paper"] != means["lrp_alpha1_beta0", "corrected"]


def test_only_places_where_nothing_arrives_are_dropped(residual, images):
    from tensorflow.keras import Model

    table = wel.csc(loaded(residual), images, "gradient", vectors=3).table.set_index("layer")
    relu1 = Model(residual.input, residual.get_layer("relu1").output)(images).numpy()
    silent = (relu1 == 0).all(axis=-1).mean()  # where all channels are off no gradient passes
    assert 0 < silent < 1 and table.loc["bn1", "nan_fraction"] == pytest.approx(silent, abs=1e-12)
    assert (table.loc[["avgpool", "relu3", "add", "bn3", "skip", "conv2", "relu1"], "nan_fraction"] == 0).all()


def test_of_all_methods_those_that_do_not_apply_are_left_out():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(3), layers.Dense(4, activation="tanh", name="soft"), layers.Dense(3)]))
    result = wel.csc(net, np.ones((1, 3)), vectors=2)
    assert set(result.table["method"]).isdisjoint(result.skipped)
    assert {"guided_backprop", "deconvnet", "rectgrad", "deep_taylor"} <= set(result.skipped)
    assert result.skipped["rectgrad"] == "Method 'rectgrad' has no rule for layer 'soft' (tanh)."
    assert {"gradient", "lrp_z", "lrp_alpha1_beta0"} <= set(result.table["method"])


def test_a_method_that_was_asked_for_and_does_not_apply_is_refused_before_anything_is_written(tmp_path):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input(3), layers.Dense(4, activation="tanh", name="soft"), layers.Dense(3)]))
    with pytest.raises(UnsupportedError, match=r"^Method 'deconvnet' has no rule for layer 'soft' \(tanh\)\. "):
        wel.csc(net, np.ones((1, 3)), methods=["gradient", "deconvnet"], out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_alpha1_beta0_converges_and_the_gradient_does_not():
    from tensorflow.keras import Sequential, layers

    convolutions = [layers.Conv2D(16, 3, padding="same", activation="relu", name=f"conv{i}") for i in range(1, 8)]
    model = Sequential([layers.Input((6, 6, 3)), *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(8, name="logits")])
    rng = np.random.default_rng(3)
    model.set_weights([rng.standard_normal(w.shape) * np.sqrt(2 / np.prod(w.shape[:-1])) if w.ndim > 1 else w for w in model.get_weights()])
    table = wel.csc(wel.load(model), rng.random((2, 6, 6, 3)), ["lrp_alpha1_beta0", "gradient"], semantics="corrected").table
    at_conv1 = table[table["layer"] == "conv1"].set_index("method")
    assert at_conv1.loc["lrp_alpha1_beta0", "median"] > 0.999
    assert at_conv1.loc["gradient", "median"] < 0.6
    curve = table[table["method"] == "lrp_alpha1_beta0"].set_index("layer")["median"]
    assert curve["conv6"] < curve["conv4"] < curve["conv2"]


# --- what cannot be used


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"methods": "nope"}, "Invalid value for `method`: 'nope'. Expected one of gradient, "),
        ({"methods": []}, r"Invalid value for `methods`: \[\]. Expected 'all' or one or more methods."),
        ({"start": "nope"}, "Invalid value for `start`: 'nope'. Expected one of input, output, conv1, "),
        ({"start": "input"}, "Invalid value for `start`: .*Expected one or more layers above the input."),
        ({"start": []}, r"Invalid value for `start`: \[\]. Expected one or more layers above the input."),
        ({"vectors": 1}, "Invalid value for `vectors`: 1. Expected a whole number from 2 on: similarity needs pairs."),
        ({"vectors": 2.5}, "Invalid value for `vectors`: 2.5. Expected a whole number from 2 on"),
        ({"vectors": "5"}, "Invalid value for `vectors`: '5'. Expected a whole number from 2 on"),
        ({"vectors": {"nope": np.ones((3, 2, 4))}}, "Invalid value for `vectors`: 'nope'. Expected one of input, "),
        ({"vectors": {}}, "Invalid value for `start`: "),
        ({"vectors": {"dense": np.ones((3, 2, 4))}, "start": "pool"}, "Expected vectors for the start layer 'pool' too."),
        ({"vectors": {"dense": np.ones((3, 1, 4))}}, "Invalid value for `vectors`: '1 per image'. Expected 2 or more"),
        ({"vectors": {"dense": np.ones((2, 2, 4))}}, r"Invalid value for `vectors`: .*\(2, 2, 4\). Expected shape \(3, n, 4\)."),
        ({"seed": -1}, "Invalid value for `seed`: -1. Expected a whole number from 0 on."),
        ({"seed": 0.5}, "Invalid value for `seed`: 0.5. Expected a whole number from 0 on."),
        ({"batch_size": 0}, "Invalid value for `batch_size`: 0. Expected a whole number from 1 on."),
        ({"batch_size": 1.5}, "Invalid value for `batch_size`: 1.5. Expected a whole number from 1 on."),
        ({"semantics": "nope"}, "Invalid value for `semantics`: 'nope'. Expected one of paper, corrected, both."),
        ({"memory": 0}, "Invalid value for `memory`: 0. Expected a whole number from 1 on."),
        ({"dtype": "float16"}, "Invalid value for `dtype`: 'float16'. Expected one of float32, float64."),
        ({"dtype": "float64", "backend": "wrapped"}, "Invalid value for `dtype`: 'float64'. Expected 'float32', the only one"),
        ({"backend": "nope"}, "Invalid value for `backend`: 'nope'. Expected one of native, wrapped, "),
        ({"options": {"nope": {}}}, "Invalid value for `method`: 'nope'."),
        ({"options": {"gradient": {"low": 1}}}, "Invalid value for `options`: 'low'. Expected for gradient: none."),
        ({"images": np.ones((2, 8, 8, 4))}, r"Invalid value for `images`: .*\(2, 8, 8, 4\). Expected shape \(n, 8, 8, 3\)."),
        ({"images": np.full((1, 8, 8, 3), np.nan)}, "Invalid value for `images`: .*not finite."),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_nothing_is_written(net, images, tmp_path, arguments, sentence):
    with pytest.raises(WelError, match=sentence) as caught:
        wel.csc(**{"net": net, "images": images, "methods": "gradient", "out": tmp_path / "run", **arguments})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/run", "full"])
def test_a_place_that_cannot_be_written_is_one_sentence(net, images, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(WelError, match="^Invalid value for `out`: "):
        wel.csc(net, images, "gradient", out=tmp_path / place)
    assert (tmp_path / "file").read_text() == (tmp_path / "full" / "thesis.txt").read_text() == "mine"
