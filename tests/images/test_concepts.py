"""Concepts that wel makes: by hand, and the same for the same seed, whatever other pictures there are."""

from __future__ import annotations

import numpy as np
import pytest

from wel.images.concepts import COLOURS, MADE, PATTERNS, more_pictures, with_concept

GREY = np.full((30, 32, 32, 3), 128, "uint8")


@pytest.mark.parametrize("name", MADE)
def test_they_depend_on_seed_name_and_index_only(name):
    found = with_concept(name, GREY, 5)
    assert found.dtype == np.uint8 and found.shape == GREY.shape
    np.testing.assert_array_equal(found, with_concept(name, GREY, 5))
    np.testing.assert_array_equal(found[:4], with_concept(name, GREY[:4], 5))
    assert (found != with_concept(name, GREY, 6)).any() and (found[0] != found[1]).any()


@pytest.mark.parametrize(("name", "light"), [("stripes", 0.5), ("checks", 0.5), ("dots", np.pi * 0.3**2)])
def test_a_pattern_makes_light_and_dark_parts_128_apart(name, light):
    found = with_concept(name, GREY, 0).astype(int)
    shares = []
    for one in found:
        dark, bright = np.unique(one)
        assert bright - dark in (127, 128, 129) and one.mean() == pytest.approx(128, abs=0.5)
        shares.append((one == bright).mean())
    assert np.mean(shares) == pytest.approx(light, abs=0.05)


def test_stripes_are_stripes():
    """Along one direction nothing changes: the energy of the picture lies on a line through the origin of its spectrum."""
    for stripes, checks in zip(with_concept("stripes", GREY[:5], 1), with_concept("checks", GREY[:5], 1)):
        energy = [
            np.abs(np.fft.fft2((one[..., 0] - one[..., 0].mean()) * np.outer(*[np.hanning(32)] * 2))) ** 2 for one in (stripes, checks)
        ]
        y, x = np.meshgrid(*[np.fft.fftfreq(32)] * 2, indexing="ij")
        spreads = [np.linalg.eigvalsh([[(e * a * b).sum() for a in (x, y)] for b in (x, y)]) for e in energy]
        assert spreads[0][0] / spreads[0][1] < 0.5 * spreads[1][0] / spreads[1][1]


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_by_hand(name):
    picture = np.array([[[100, 50, 200]]], "uint8")
    (found,) = with_concept(name, np.tile(picture, (1, 4, 4, 1)), 2)
    channel = list(COLOURS).index(name)
    # (1 − s) x + s c: the two other channels say s, between 0.4 and 0.7
    for other in {0, 1, 2} - {channel}:
        assert 0.3 * picture[0, 0, other] - 0.5 <= found[0, 0, other] <= 0.6 * picture[0, 0, other] + 0.5
    weakest = 0.6 * picture[0, 0, channel] + 0.4 * 255
    assert weakest - 0.5 <= found[0, 0, channel] <= 255


def test_more_pictures_are_crops():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    found = more_pictures(pictures, 8, 4)
    assert found.shape == (8, 16, 16, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[:3], pictures)
    np.testing.assert_array_equal(found[:6], more_pictures(pictures, 6, 4))
    plain = np.full((1, 16, 16, 3), 77, "uint8")
    assert (more_pictures(plain, 5, 0) == 77).all()
    assert more_pictures(pictures, 2, 0) is pictures
    # a crop of a slope is a flatter slope, or that mirrored
    slope = np.tile(np.arange(0, 160, 10, dtype="uint8")[None, :, None], (1, 16, 1, 3))
    for crop in more_pictures(slope, 6, 0)[1:].astype(int):
        steps = np.diff(crop[8, 3:-3, 0])
        assert 0 < abs(steps.mean()) < 10 and (np.sign(steps[steps != 0]) == np.sign(steps.mean())).all()


def test_every_concept_has_one_name():
    assert MADE == (*PATTERNS, *COLOURS) and len(set(MADE)) == 6
