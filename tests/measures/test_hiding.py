"""wel.measures.hiding: against Quantus's imputation, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wel.measures import hiding
from wel.measures.hiding import WAYS, hidden, neighbours


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_quantus_imputes_the_same(rng, monkeypatch):
    monkeypatch.setattr(hiding, "NOISE", 0.0)
    with np.load(Path(__file__).parents[1] / "golden" / "quantus.npz") as golden:
        for image, mask, expected in zip(golden["images"], golden["mask"], golden["imputed"]):
            np.testing.assert_allclose(hidden(image, mask[None], "linear", 1, rng)[0], expected, rtol=0, atol=1e-6)


def test_a_place_is_the_mean_of_its_neighbours():
    weights = neighbours((3, 3)).toarray()
    # in the middle 4/6 + 4/12 = 1; at a corner two beside and one across, 2/6 + 1/12 = 5/12: 2/5, 2/5 and 1/5
    assert weights[4].tolist() == pytest.approx([1 / 12, 1 / 6, 1 / 12, 1 / 6, 0, 1 / 6, 1 / 12, 1 / 6, 1 / 12])
    assert weights[0, [1, 3, 4]].tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert weights.sum(axis=1) == pytest.approx(np.ones(9))


def test_noise_is_a_share_of_the_images_spread(rng):
    image = np.zeros((40, 40, 1), "float32")
    image[:, 20:] = 2  # standard deviation 1
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :, :18] = True  # of places that all have 0 around them
    found = hidden(image, mask, "linear", 1, rng)[0, :, :18]
    assert found.std() == pytest.approx(0.01, rel=4 / np.sqrt(2 * 720))


def test_the_mean_by_hand(rng):
    image = np.array([[[1.0, 10.0]], [[2.0, 20.0]], [[6.0, 60.0]]], "float32")
    found = hidden(image, np.array([[[True], [False], [False]]]), "mean", 1, rng)
    assert found[0].tolist() == [[[3, 30]], [[2, 20]], [[6, 60]]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(8, 6, 3), (9, 2), (5,)])
def test_what_is_not_hidden_stays(rng, way, shape):
    image = rng.standard_normal(shape).astype("float32")
    sizes = shape[:-1] or shape
    masks = np.stack([np.zeros(sizes, bool), rng.random(sizes) < 0.5, np.ones(sizes, bool)])
    found = hidden(image, masks, way, 2, rng)
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1][~masks[1]], image[~masks[1]])
    assert (found[1][masks[1]] != image[masks[1]]).all() and np.isfinite(found).all()


def test_a_constant_image_stays_as_it_is(rng):
    image = np.full((6, 6, 1), 3.0, "float32")
    masks = np.arange(36).reshape(1, 6, 6) % 3 == 0
    for way in WAYS:
        np.testing.assert_allclose(hidden(image, masks, way, 2, rng)[0], image, rtol=1e-6)
