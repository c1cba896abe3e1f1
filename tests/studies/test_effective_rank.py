"""wel.effective_rank: chains of known rank, every layer against numpy on wel.relevance, next to wel.csc, interrupted and repeated runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import loaded
from interruption import Interrupting
from replicas import ratio

import wel
from wel.cli.app import main
from wel.errors import UnsupportedError, WelError
from wel.measures.vectors import random_vectors
from wel.studies.effective_rank import jackknife
from wel.studies.effective_rank import median as median_of_columns
from wel.system.runs import read_exactly

COLUMNS = (
    "model method semantics backend start layer layer_index channels images vectors linear "
    "rank_location rank_location_error rank_layer rank_layer_error bound_location bound_layer undefined"
).split()


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


def chain(*kernels):
    """1 × 1 convolutions on 4 × 5 images, without ReLUs, layers named first, second, third."""
    from tensorflow.keras import Sequential, layers

    named = zip(("first", "second", "third"), kernels)
    stack = [layers.Conv2D(np.shape(kernel)[1], 1, use_bias=False, name=name) for name, kernel in named]
    model = Sequential([layers.Input((4, 5, len(kernels[0])), name="x"), *stack], name="chain")
    model.set_weights([np.array(kernel, "float32")[None, None] for kernel in kernels])
    return wel.load(model)


def inputs(net, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, *net.input_shape), dtype="float32")


def median(numbers) -> float:
    defined = [number for number in numbers if not np.isnan(number)]
    return float(np.median(defined)) if defined else np.nan


def by_layer(result) -> pd.DataFrame:
    return result.table.set_index("layer")


# --- chains whose rank is known


def test_a_chain_with_a_rank_one_link_has_rank_one_below_it():
    rng = np.random.default_rng(1)
    net = chain(rng.standard_normal((3, 6)), np.outer(rng.standard_normal(6), rng.standard_normal(7)), rng.standard_normal((7, 7)))
    found = by_layer(wel.effective_rank(net, inputs(net), "gradient", start="third", dtype="float64"))
    assert found["rank_location"]["second"] > 3
    np.testing.assert_allclose(found.loc[["first", "input"], "rank_location"], 1, atol=1e-12)
    np.testing.assert_allclose(found.loc[["first", "input"], "rank_location_error"], 0, atol=1e-12)
    # every location has a scalar of its own, so that 4 × 5 dimensions are left in the whole layer
    row = found.loc["input"]
    assert abs(row["rank_layer"] - 20) < 3 * row["rank_layer_error"] < 15


def test_an_identity_chain_keeps_all_channels():
    net = chain(np.eye(6), np.eye(6), np.eye(6))
    found = by_layer(wel.effective_rank(net, inputs(net, 8), "gradient", vectors=24))
    row = found.loc["input"]
    assert abs(row["rank_layer"] - 120) < 3 * row["rank_layer_error"] and row["rank_layer_error"] < 0.1 * 120
    assert abs(row["rank_location"] - 6) < 3 * row["rank_location_error"] + 4 / 24**2 * 6 and row["rank_location_error"] < 0.1 * 6
    assert (row["bound_location"], row["bound_layer"], row["undefined"]) == (6, 120, 0) and row["linear"]


def test_a_narrow_start_layer_bounds_the_rank():
    net = chain(np.random.default_rng(2).standard_normal((9, 9)), np.eye(9)[:, :2])
    found = by_layer(wel.effective_rank(net, inputs(net), "gradient"))
    assert found.loc["first", ["bound_location", "bound_layer"]].tolist() == [9, 40]  # the start layer has 4 · 5 · 2
    assert found.loc["first", "rank_location"] < 2.2


def test_vectors_given_by_hand():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input(2, name="x"), layers.Dense(2, use_bias=False, name="dense")])
    model.set_weights([np.array([[1, 1], [0, 1]], "float32")])
    net = wel.load(model)
    # R = W v: (1, 0), (1, 1), (0, 2) of tests/test_participation.py for v = (1, 0), (0, 1), (−2, 2)
    vectors = np.array([[[1, 0], [0, 1], [-2, 2]]], "float32")
    found = wel.effective_rank(net, np.ones((1, 2), "float32"), "gradient", vectors={"dense": vectors}).table
    assert found["rank_location"].tolist() == found["rank_layer"].tolist() == pytest.approx([2.8])


# --- against numpy


@pytest.mark.parametrize(
    "fixture, starts",
    [("functional", ["dense", "hidden", "conv2"]), ("residual", ["dense", "add", "relu2"]), ("shared_layer", ["dense", "relu"])],
)
@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "lrp_alpha2_beta1", "deeplift_rescale"])
def test_every_layer_is_what_numpy_makes_of_the_relevance(fixture, starts, method, request, images):
    net = loaded(request.getfixturevalue(fixture))
    table = wel.effective_rank(net, images, method, start=starts, vectors=4, seed=3).table
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["start", "layer"])
    for start in starts:
        vectors = random_vectors(3, start, range(3), 4, net.graph[start].shape)
        relevance = wel.relevance(net, method, images, start, vectors)
        assert set(relevance) == set(rows.loc[start].index)
        for layer, maps in relevance.items():
            row = rows.loc[start, layer]
            assert row["rank_layer"] == pytest.approx(median([ratio(one) for one in maps]), rel=1e-5, nan_ok=True)
            located = [[ratio(one) for one in np.moveaxis(several.reshape(4, -1, several.shape[-1]), 1, 0)] for several in maps]
            assert row["undefined"] == pytest.approx(np.isnan(located).mean())
            assert row["rank_location"] == pytest.approx(median([median(one) for one in located]), rel=1e-4, nan_ok=True)


def test_rank_one_and_cosine_one_are_the_same_statement(net, images):
    # 1/p̂ is a weighted mean of cos²: where cosines are alike it is about their square
    ranks, cosines = (
        study(net, images, "lrp_alpha1_beta0", vectors=5, seed=1).table.set_index("layer") for study in (wel.effective_rank, wel.csc)
    )
    near = cosines["p1"] > 0.9
    assert near.any() and (1 / ranks.loc[near, "rank_location"] >= cosines.loc[near, "p1"] ** 2).all()
    assert (1 / ranks.loc[near, "rank_location"] <= cosines.loc[near, "p99"] ** 2 + 1e-12).all()


def test_linearity_and_bounds(net, residual, images):
    def linear(net, method, semantics="corrected"):
        found = by_layer(wel.effective_rank(net, images, method, semantics=semantics, vectors=3))
        return found.index[found["linear"]].tolist(), found

    everything = ["hidden", "flatten", "pool", "conv2", "conv1", "input"]
    assert linear(net, "gradient")[0] == linear(net, "lrp_z")[0] == everything
    # the ReLU of `hidden` bends what goes on to `flatten`
    names, found = linear(net, "guided_backprop")
    assert names == ["hidden"]
    assert found["bound_layer"][["hidden", "flatten"]].tolist() == [4, 54] and found["bound_location"]["input"] == 3
    # only `paper` clips at Add
    assert "input" in linear(loaded(residual), "lrp_alpha1_beta0")[0]
    paper = linear(loaded(residual), "lrp_alpha1_beta0", "paper")[0]
    assert "add" in paper and "bn3" not in paper


# --- medians and errors


def test_medians_drop_what_is_undefined():
    values = np.array([[1, np.nan, np.nan], [3, np.nan, np.inf], [7, 5, np.inf], [9, 6, 2.0]])
    np.testing.assert_array_equal(median_of_columns(values), [5, 5.5, np.inf])
    assert np.isnan(median_of_columns(np.full((2, 1), np.nan))).all()


def test_the_jackknife_by_hand():
    # medians over images 4; 3, 5, 4: √((3 − 1)/3 · ((3−4)² + (5−4)² + 0)) = √(4/3)
    estimate, error = jackknife(np.array([[4, 3, 5, 4], [4, 3, 5, 4], [9, 9, 9, 9.0]]))
    assert estimate == 4 and error == pytest.approx(np.sqrt(4 / 3))


def test_errors_fall_with_the_number_of_vectors(net, images):
    few, many = (wel.effective_rank(net, images, "gradient", vectors=count).table["rank_layer_error"].iloc[0] for count in (4, 32))
    assert many < few / 2


# --- the same numbers every way


def test_an_interrupted_run_goes_on_and_ends_in_the_same_table(net, images, tmp_path):
    settings = {"methods": ["gradient", "lrp_z"], "start": ["dense", "conv2"], "vectors": 4, "semantics": "both", "batch_size": 1}
    whole = wel.effective_rank(net, images, **settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        wel.effective_rank(net, images, **settings, out=tmp_path / "run", steps=Interrupting(after=8))
    steps = Interrupting()
    resumed = wel.effective_rank(net, images, **settings, out=tmp_path / "run", steps=steps)
    assert steps.done == steps.total == 2 * 2 * 2 * 3
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    again = wel.effective_rank(net, images, **settings, out=tmp_path / "run")
    pd.testing.assert_frame_equal(again.table, whole.table)
    assert (tmp_path / "run" / "effective_rank.csv").read_bytes() == (tmp_path / "whole" / "effective_rank.csv").read_bytes()
    with pytest.raises(WelError, match=r"other settings \(seed\)"):
        wel.effective_rank(net, images, **settings, seed=5, out=tmp_path / "run")


def test_batches_do_not_change_the_numbers_and_seeds_do(net, images):
    one, all_at_once, other = (
        wel.effective_rank(net, images, "lrp_alpha1_beta0", vectors=4, **more).table for more in ({"batch_size": 1}, {}, {"seed": 1})
    )
    pd.testing.assert_frame_equal(one, all_at_once, rtol=1e-4)
    assert (one["rank_layer"] != other["rank_layer"]).all()


def test_what_cannot_be_used_is_refused(net, images):
    with pytest.raises(WelError, match="`backend`: 'wrapped'. Expected 'native'"):
        wel.effective_rank(net, images, "gradient", backend="wrapped")
    with pytest.raises(WelError, match="`vectors`: 2. Expected a whole number from 3 on"):
        wel.effective_rank(net, images, "gradient", vectors=2)
    with pytest.raises(UnsupportedError, match="needs patterns"):
        wel.effective_rank(net, images, "pattern_net")
    skipped = wel.effective_rank(chain(np.eye(2)), np.ones((1, 4, 5, 2), "float32"), vectors=3).skipped
    assert set(skipped) == {"pattern_net", "pattern_attribution"}


# --- the command


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["singular-values", *map(str, arguments)])
    return ended.value.code or 0


def test_the_command(tmp_path, capsys):
    out = tmp_path / "run"
    options = ("--limit", 2, "--methods", "gradient,pattern_attribution", "--start-layers", "fc6,conv2", "--vectors", 3, "--out", out)
    assert run(*options) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"run.json", "effective_rank.csv", "singular_values.csv", "figures"}
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("singular_values", "effective_rank_fc6", "effective_rank_conv2") for kind in ("png", "svg")
    }
    net = wel.load("cifar10")
    images = wel.load_images(net, limit=2).inputs
    library = wel.effective_rank(net, images, ["gradient", "pattern_attribution"], start=["fc6", "conv2"], vectors=3).table
    read = read_exactly(out / "effective_rank.csv")
    pd.testing.assert_frame_equal(read, library, rtol=1e-4)
    ratios = read_exactly(out / "singular_values.csv")
    weights = ratios.query("quantity == 'weights' and place == 'layer' and matrix == 'tap'")
    assert f"{weights['product'].iloc[-1]:.3g}" in printed and "Effective rank at the input" in printed
    # the bundled patterns have a dominant direction where the weights have none
    products = ratios.groupby(["quantity", "matrix", "place"])["product"].last()
    for place in ("layer", "between"):
        assert products["pattern_weights", "tap", place] > 5 * products["weights", "tap", place]


def test_the_command_without_patterns_or_a_single_path(residual, images, tmp_path, capsys):
    residual.save(tmp_path / "residual.h5")
    np.save(tmp_path / "images.npy", images)
    options = ("--model", tmp_path / "residual.h5", "--images", tmp_path / "images.npy", "--preprocess", "none", "--limit", 1)
    command = (*options, "--methods", "gradient", "--start-layers", "dense", "--vectors", 3, "--out", tmp_path / "run")
    assert run(*command) == 0
    printed = capsys.readouterr().out
    assert "Left out: patterns. There are no patterns for the weights of residual." in printed
    assert "Left out: between. No chain of matrices: layer 'add' (Add) has 2 inputs." in printed
    written = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.csv")}
    assert run(*command) == 0  # again: what is there is read
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.csv")} == written


def test_the_command_refuses_before_it_begins(tmp_path, capsys):
    for options, said in (
        (("--methods", "gradiant"), "gradiant"),
        (("--semantics", "old"), "old"),
        (("--patterns", tmp_path / "none.npz"), "none.npz"),
        (("--vectors", 2), "--vectors"),
        (("--start-layers", "input"), "above the input"),
    ):
        assert run(*options, "--out", tmp_path / "run") == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error and not (tmp_path / "run").exists()
