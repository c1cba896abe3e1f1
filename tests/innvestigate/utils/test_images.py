"""Pictures in the order of axes and colours that somebody has them in."""

from __future__ import annotations

import numpy as np
import pytest

import wel.innvestigate as innvestigate
from wel.errors import WelError

# colour c at (y, x) is 100 c + 10 y + x
LAST = np.array([[[[100 * c + 10 * y + x for c in range(3)] for x in range(5)] for y in range(4)]])
FIRST = np.moveaxis(LAST, -1, 1)


def test_colours_come_last():
    for images in (LAST, FIRST):
        found = innvestigate.utils.preprocess_images(images)
        np.testing.assert_array_equal(found, LAST)
        assert found[0, 2, 4].tolist() == [24, 124, 224]


@pytest.mark.parametrize("coding", ["RGBtoBGR", "BGRtoRGB"])
def test_colours_are_turned_round_and_back(coding):
    found = innvestigate.utils.preprocess_images(FIRST, color_coding=coding)
    assert found[0, 2, 4].tolist() == [224, 124, 24]
    np.testing.assert_array_equal(innvestigate.utils.postprocess_images(found, coding), LAST)
    np.testing.assert_array_equal(innvestigate.utils.postprocess_images(found, coding, channels_first=True), FIRST)


def test_what_is_refused():
    with pytest.raises(WelError, match=r"^Invalid value for `images`: 'an array of shape \(4, 5, 3\)'\. Expected four axes\.$"):
        innvestigate.utils.preprocess_images(LAST[0])
    with pytest.raises(WelError, match=r"^Invalid value for `color_coding`: 'BGR'\."):
        innvestigate.utils.postprocess_images(LAST, "BGR")
