"""Linear classifiers by inner products: against scikit-learn on the values themselves, and where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest

from wel.measures.separation import inner_products, separated


def plain(values: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, float]:
    """Direction of length 1, and accuracy, of scikit-learn's classifier on standardised values; the last third of each set held out."""
    from sklearn.linear_model import LogisticRegression

    seen = len(positive) - len(positive) // 3
    values = values.astype("float64")
    learned = np.concatenate([values[positive[:seen]], values[negative[:seen]]])
    held = np.concatenate([values[positive[seen:]], values[negative[seen:]]])
    mean = learned.mean(axis=0)
    scale = np.sqrt(((learned - mean) ** 2).mean())
    model = LogisticRegression(tol=1e-9, max_iter=10_000).fit((learned - mean) / scale, [1] * seen + [0] * seen)
    right = model.predict((held - mean) / scale) == np.repeat([1, 0], len(held) // 2)
    return model.coef_[0] / np.linalg.norm(model.coef_), right.mean()


@pytest.mark.parametrize(("size", "values", "shift"), [(12, 5, 1.0), (10, 300, 0.5), (30, 40, 0.0)])
def test_it_is_scikit_learns_on_the_values(size, values, shift):
    rng = np.random.default_rng(3)
    examples = (3 + 10 * rng.standard_normal((80, values))).astype("float32")
    positive, negative = rng.permutation(80)[: 2 * size].reshape(2, size)
    examples[positive] += 10 * shift
    found = separated(inner_products(examples, examples), values, positive, negative)
    direction, accuracy = plain(examples, positive, negative)
    np.testing.assert_allclose(found.weights @ examples[found.rows].astype("float64"), direction, atol=2e-4)
    assert found.accuracy == accuracy


def test_a_single_value_by_hand():
    # 9 ones and 9 zeros, 6 of each seen: v is the only direction there is, of length 1, towards the ones, and all 6 others are told right
    examples = np.repeat([[1.0], [0.0]], 9, axis=0)
    found = separated(inner_products(examples, examples), 1, np.arange(9), np.arange(9, 18))
    assert found.rows.tolist() == [*range(6), *range(9, 15)] and found.accuracy == 1
    assert found.weights @ examples[found.rows, 0] == pytest.approx(1)


def test_examples_that_are_the_same_have_no_direction():
    for examples in (np.full((20, 7), 3.0), np.zeros((20, 7))):
        found = separated(inner_products(examples, examples), 7, np.arange(10), np.arange(10, 20))
        assert (found.weights == 0).all() and found.accuracy == 0.5


def test_inner_products_in_blocks_of_values():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((3, 9000)), rng.standard_normal((4, 9000))
    np.testing.assert_allclose(inner_products(one, other), one @ other.T, rtol=1e-10)
    np.testing.assert_allclose(inner_products(one, one), one @ one.T, rtol=1e-10)
