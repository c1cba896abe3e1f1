"""wel.auditing.verdicts: outcomes at the thresholds, and every way in which tests can agree or not."""

from __future__ import annotations

from itertools import product

import pytest

from wel.auditing.verdicts import (
    CONVERGED,
    DIFFERS,
    INCONCLUSIVE,
    INSENSITIVE,
    NOT_CONVERGED,
    SAME,
    SENSITIVE,
    UNCLEAR,
    UNDEFINED,
    Measurement,
    Thresholds,
    alike,
    converged,
    judge,
    lowest_cut,
)

NAN = float("nan")


def other_class(outcome, value=0.5):
    return Measurement("other_class", "ssim", value, value - 0.1, value + 0.1, 12, outcome)


def random_above(layer, outcome, value=0.5):
    return Measurement("randomised", "ssim", value, value - 0.1, value + 0.1, 12, outcome, above=layer)


def rank(outcome, value=2.0):
    return Measurement("convergence", "effective_rank", value, value, value, 2, outcome, start="output")


@pytest.mark.parametrize(
    "low, high, outcome",
    [(0.8, 0.9, SAME), (0.79, 0.9, UNCLEAR), (0.1, 0.79, DIFFERS), (0.1, 0.8, UNCLEAR), (NAN, NAN, UNCLEAR), (1.0, 1.0, SAME)],
)
def test_maps_are_the_same_from_the_threshold_on(low, high, outcome):
    assert alike(low, high, 0.9, 12, Thresholds()) == outcome


def test_maps_that_are_alike_in_ssim_alone_are_not_the_same():
    assert [alike(0.9, 1.0, cosine, 12, Thresholds()) for cosine in (0.8, 0.79, NAN)] == [SAME, UNCLEAR, UNCLEAR]
    assert alike(0.1, 0.2, 0.1, 12, Thresholds()) == DIFFERS


def test_three_images_are_too_few():
    assert [alike(0.9, 1.0, 0.9, images, Thresholds()) for images in (3, 4)] == [UNCLEAR, SAME]
    assert [alike(0.1, 0.2, 0.9, images, Thresholds()) for images in (3, 4)] == [UNCLEAR, DIFFERS]


@pytest.mark.parametrize(
    "low, high, outcome",
    [(1.0, 1.49, CONVERGED), (1.0, 1.5, UNCLEAR), (1.51, 4, NOT_CONVERGED), (1.5, 4, UNCLEAR), (NAN, NAN, UNDEFINED)],
)
def test_relevance_has_converged_below_the_threshold(low, high, outcome):
    assert converged(low, high, Thresholds()) == outcome


def expected(asked, arrived):
    """The definition in other words: all tests say the same, and the rank not the opposite."""
    if all(outcome == SAME for outcome in asked) and arrived != NOT_CONVERGED:
        return INSENSITIVE
    if all(outcome == DIFFERS for outcome in asked) and arrived != CONVERGED:
        return SENSITIVE
    return INCONCLUSIVE


@pytest.mark.parametrize("asked", list(product((SAME, DIFFERS, UNCLEAR, UNDEFINED), repeat=2)))
@pytest.mark.parametrize("arrived", [CONVERGED, NOT_CONVERGED, UNCLEAR, UNDEFINED])
def test_every_combination_of_outcomes(asked, arrived):
    found = judge([other_class(asked[0]), random_above("fc", asked[1]), rank(arrived)], Thresholds())
    assert found.verdict == expected(asked, arrived)
    assert found.sentence.endswith(".") and "nan" not in found.sentence
    assert bool(found.reasons) == (found.verdict == INCONCLUSIVE)
    assert (found.above is not None) == (found.verdict == INSENSITIVE and asked[1] == SAME)


def test_sentences():
    cuts = [random_above("fc2", SAME, 0.98), random_above("pool4", SAME, 0.97), random_above("pool3", UNCLEAR, 0.8)]
    tests = [other_class(SAME, 0.99), *cuts]
    assert judge(tests, Thresholds()).sentence == (
        "Insensitive to everything above pool4: the map stays the same when another class is asked for (SSIM 0.99) "
        "and when everything above pool4 is random (SSIM 0.97)."
    )
    tests = [other_class(DIFFERS, 0.31), random_above("fc2", DIFFERS, 0.28), rank(NOT_CONVERGED)]
    assert judge(tests, Thresholds()).sentence == (
        "The map changes when another class is asked for (SSIM 0.31) and when everything above fc2 is random (SSIM 0.28)."
    )
    tests = [other_class(UNCLEAR, 0.8), random_above("fc2", SAME, 0.9)]
    assert judge(tests, Thresholds()).reasons == [
        "Whether the map changes when another class is asked for cannot be told: SSIM 0.80 over 12 images, somewhere from 0.70 to 0.90."
    ]
    empty = Measurement("other_class", "ssim", 0.98, 0.95, 0.99, 12, UNCLEAR, cosine=0.3)
    assert judge([empty], Thresholds()).reasons == [
        "Whether the map changes when another class is asked for cannot be told: SSIM 0.98 over 12 images, but |cos| 0.30 of the maps "
        "as a whole."
    ]
    undefined = Measurement("randomised", "ssim", NAN, NAN, NAN, 0, UNDEFINED, above="fc")
    assert judge([other_class(SAME), undefined], Thresholds()).reasons == [
        "Whether the map changes when everything above fc is random cannot be told: there is nothing to compare, or it cannot be done."
    ]
    tests = [other_class(SAME, 0.9), random_above("fc2", DIFFERS, 0.3)]
    assert judge(tests, Thresholds()).reasons == [
        "The tests disagree: SSIM 0.90 when another class is asked for, SSIM 0.30 when everything above fc2 is random."
    ]


def test_a_single_image_has_no_interval_and_no_verdict():
    one = Measurement("other_class", "ssim", 0.99, NAN, NAN, 1, alike(NAN, NAN, 1.0, 1, Thresholds()))
    found = judge([one], Thresholds())
    assert found.verdict == INCONCLUSIVE
    assert found.sentence == ("Whether the map changes when another class is asked for cannot be told: one image is too few.")


@pytest.mark.parametrize(
    "outcomes, layer",
    [((SAME, SAME, SAME), "c"), ((SAME, SAME, DIFFERS), "b"), ((SAME, UNCLEAR, SAME), "a"), ((DIFFERS, SAME, SAME), None), ((), None)],
)
def test_the_lowest_cut_is_reached_without_a_gap(outcomes, layer):
    assert lowest_cut([random_above(name, outcome) for name, outcome in zip("abc", outcomes)]) == layer
