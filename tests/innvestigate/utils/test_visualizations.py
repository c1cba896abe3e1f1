"""Maps as arrays for the eye: by hand, and as innvestigate 2.1.2 has them."""

from __future__ import annotations

import numpy as np
import pytest
from golden.make_visualizations import FILE, cases
from matplotlib import colormaps

import wel.innvestigate.utils.visualizations as ivis
from wel.errors import WelError

GOLDEN = np.load(FILE)


@pytest.mark.parametrize("name", cases(ivis))
def test_innvestigates_arrays_to_the_last_bit(name):
    function, arguments, kwargs = cases(ivis)[name]
    np.testing.assert_array_equal(function(*arguments, **kwargs), GOLDEN[name])


def test_every_map_is_divided_by_its_own_largest_value():
    # ±2 and 4 of 4 are −½, ½ and 1 → ¼, ¾, 1; all 0 is ½
    found = ivis.project(np.array([[-2.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(found, [[0.25, 0.75, 1], [0.5, 0.5, 0.5]])


def test_nothing_is_changed_in_place():
    X = np.array([[-2, 2, 4]])
    for function in (ivis.project, ivis.gamma, ivis.clip_quantile):
        function(X)
    np.testing.assert_array_equal(X, [[-2, 2, 4]])


def test_colours_stand_where_the_channels_were():
    X = np.array([-1.0, 1.0, 0.0, 1.0]).reshape(1, 2, 2, 1)  # two channels at two places: sums −1 and 2
    found = ivis.heatmap(X, reduce_axis=1)
    # −1 / 2 is −½ → ¼ · 255 = 63, and 2 / 2 → 255
    colours = colormaps["seismic"]([63, 255])[:, :3]
    np.testing.assert_allclose(np.moveaxis(found[0, ..., 0], 0, -1), colours, rtol=1e-6)


def test_gamma_by_hand():
    # about 1, largest 4: 4 √(0/4) + 1, −4 √(1/4) + 1, 4 √(4/4) + 1
    np.testing.assert_array_equal(ivis.gamma(np.array([1.0, 0.0, 5.0]), minamp=1), [1, -1, 5])
    np.testing.assert_array_equal(ivis.gamma(np.zeros(2)), [0, 0])


def test_another_reduction_is_refused():
    with pytest.raises(WelError, match="Invalid value for `reduce_op`: 'mean'. Expected 'sum' or 'absmax'"):
        ivis.heatmap(np.ones((1, 2, 2, 3)), reduce_op="mean")


def test_an_unknown_colour_map_is_refused():
    with pytest.raises(WelError, match="Invalid value for `cmap_type`: 'hot air'"):
        ivis.heatmap(np.ones((1, 2, 2, 3)), cmap_type="hot air")
