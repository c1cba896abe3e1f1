"""wel.singular_values: by hand on small matrices, the identity behind "between layers", networks without patterns or a single path."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.errors import UnsupportedError, WelError
from wel.networks.kernels import kernel_layers
from wel.studies.simulation import LARGEST_RATIO
from wel.studies.taps import array_taps, pattern_taps, weight_taps

COLUMNS = "model quantity matrix place layer below inputs outputs sigma1 sigma2 ratio product".split()


def dense(*kernels):
    """x -> x W0 W1 …, without ReLUs."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Dense(np.shape(kernel)[1], use_bias=False, name=f"w{i}") for i, kernel in enumerate(kernels)]
    model = Sequential([layers.Input(len(kernels[0]), name="x"), *stack], name="dense")
    model.set_weights([np.array(kernel, "float32") for kernel in kernels])
    return wel.load(model)


def some_patterns(net) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(layer.kernel.shape).astype("float32") for layer in kernel_layers(net.graph)]


def rows(table, **wanted):
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def test_small_matrices_by_hand():
    net = dense(np.diag([6, 2]), [[0, 5], [4, 0]])
    found = wel.singular_values(net, [np.ones((2, 2)), np.array([[0, 2], [1, 0]])])
    assert found.missing == {} and list(found.table.columns) == COLUMNS
    for matrix in ("tap", "full"):
        weights = rows(found.table, quantity="weights", matrix=matrix, place="layer")
        assert weights["layer"].tolist() == ["w1", "w0"] and weights["sigma1"].tolist() == pytest.approx([5, 6])
        assert weights["ratio"].tolist() == pytest.approx([5 / 4, 3]) and weights["product"].tolist() == pytest.approx([5 / 4, 15 / 4])
        products = rows(found.table, quantity="pattern_weights", matrix=matrix, place="layer")
        # A ⊙ W = [[0, 10], [4, 0]] and diag(6, 2)
        assert products["ratio"].tolist() == pytest.approx([10 / 4, 3])
        patterns = rows(found.table, quantity="patterns", matrix=matrix, place="layer")
        assert patterns["ratio"].iloc[0] == pytest.approx(2)
        # all ones: rank 1, whose second singular value is rounding
        assert LARGEST_RATIO / 100 < patterns["ratio"].iloc[1] <= LARGEST_RATIO
    (between,) = rows(found.table, quantity="weights", place="between").to_dict("records")
    # w1 = [[0, 5], [4, 0]] has u1 = e1 with 5, u2 = e2 with 4; w0 has v1 = e1 with 6, v2 = e2 with 2: √6·√5 and √2·√4
    assert (between["layer"], between["below"]) == ("w1", "w0")
    assert (between["sigma1"], between["sigma2"]) == (pytest.approx(np.sqrt(30)), pytest.approx(np.sqrt(8)))


def test_directions_that_do_not_meet_have_a_smaller_ratio_than_their_layers():
    # the first direction of each goes on to the second of the other: √(6·4) and √(2·5), instead of √30 and √8
    net = dense(np.diag([6, 2]), [[4, 0], [0, 5]])
    (between,) = rows(wel.singular_values(net).table, place="between").to_dict("records")
    assert (between["sigma1"], between["sigma2"]) == (pytest.approx(np.sqrt(24)), pytest.approx(np.sqrt(10)))


def test_the_layers_and_what_is_between_them_make_up_the_product(functional):
    """|det| of square ones: ∏ σ(√S V U √S) ∏ √σ at the two ends = ∏ of all singular values of the product."""
    kernels = np.random.default_rng(0).standard_normal((3, 2, 2)).astype("float32")
    table = wel.singular_values(dense(*kernels)).table
    between = rows(table, place="between")
    ends = [np.sqrt(abs(np.linalg.det(kernel.astype("float64")))) for kernel in (kernels[0], kernels[2])]
    product = np.prod(between["sigma1"] * between["sigma2"]) * np.prod(ends)
    assert product == pytest.approx(abs(np.linalg.det(kernels[0].astype("float64") @ kernels[1] @ kernels[2])), rel=1e-6)


def test_a_networks_rows(functional):
    net = loaded(functional)
    patterns = some_patterns(net)
    table = wel.singular_values(net, patterns).table
    taps = {"weights": weight_taps(net), "pattern_weights": pattern_taps(net, patterns), "patterns": array_taps(net.graph, patterns)}
    for quantity, several in taps.items():
        group = rows(table, quantity=quantity, matrix="tap", place="layer")
        assert group["layer"].tolist() == ["dense", "hidden", "conv2", "conv1"]
        expected = [np.linalg.svd(tap.matrix, compute_uv=False)[:2] for tap in several]
        np.testing.assert_allclose(group[["sigma1", "sigma2"]], expected, rtol=1e-6)
    full = rows(table, quantity="patterns", matrix="full")
    assert full[["inputs", "outputs"]].to_numpy().tolist() == [[7, 4], [54, 7], [36, 6], [27, 4]]
    np.testing.assert_allclose(full["sigma1"].iloc[-1], np.linalg.norm(patterns[0].reshape(27, 4), 2), rtol=1e-6)
    assert rows(table, place="between", quantity="patterns")["below"].tolist() == ["hidden", "conv2", "conv1"]


def test_a_single_singular_value_has_no_ratio():
    table = wel.singular_values(dense([[3, 4]])).table
    assert table["sigma1"].tolist() == pytest.approx([5, 5]) and table[["sigma2", "ratio", "product"]].isna().all(axis=None)
    assert set(table["place"]) == {"layer"}


def test_branched_networks_have_layers_but_nothing_between_them(residual):
    found = wel.singular_values(loaded(residual))
    assert found.missing == {
        "patterns": "There are no patterns for the weights of residual.",
        "between": "No chain of matrices: layer 'add' (Add) has 2 inputs.",
    }
    assert rows(found.table, matrix="tap")["layer"].tolist() == ["dense", "conv3", "skip", "conv2", "conv1"]
    assert set(found.table["place"]) == {"layer"} and found.table["product"].isna().all()
    # BatchNormalization is folded in
    conv1, norm = residual.get_layer("conv1").kernel.numpy()[1, 1].astype("float64"), residual.get_layer("bn1")
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy().astype("float64") + norm.epsilon)
    np.testing.assert_allclose(rows(found.table, matrix="tap")["sigma1"].iloc[-1], np.linalg.norm(conv1 * scale, 2), rtol=1e-6)


def test_what_has_no_matrix_or_other_patterns_is_refused(functional):
    from tensorflow.keras import Sequential, layers

    each = [layers.Input((4, 4, 2)), layers.DepthwiseConv2D(3, name="each"), layers.Flatten(), layers.Dense(2, name="out")]
    with pytest.raises(UnsupportedError, match=r"'each' \(DepthwiseConv2D\) has no matrix"):
        wel.singular_values(wel.load(Sequential(each)))
    with pytest.raises(WelError, match="`patterns`: 1 arrays"):
        wel.singular_values(loaded(functional), [np.ones((2, 2))])
