"""wel.measures.places: against TensorFlow's bilinear resizing, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wel.measures.places import enlarged, places, spread


def test_places_are_all_axes_but_the_channels():
    assert [places(shape) for shape in ((8, 6, 3), (12, 3), (5,))] == [(8, 6), (12,), (5,)]


def test_interpolation_by_hand():
    # the centres of 4 parts lie at −0.25, 0.25, 0.75, 1.25 of those of 2 parts: beyond the outermost, then a quarter and three quarters
    assert enlarged(np.array([[0.0, 4.0]]), (4,)).tolist() == [[0, 1, 3, 4]]
    assert enlarged(np.array([[0.0, 4.0]]), (2,)).tolist() == [[0, 4]]
    # one value is that value everywhere
    assert enlarged(np.array([[7.0]]), (3,)).tolist() == [[7, 7, 7]]


@pytest.mark.parametrize(("size", "to"), [((3, 4), (7, 8)), ((7, 7), (224, 224)), ((5, 5), (5, 9)), ((8, 8), (4, 4))])
def test_interpolation_is_tensorflows_bilinear_one(size, to):
    import tensorflow as tf

    maps = np.random.default_rng(0).standard_normal((2, *size))
    expected = tf.image.resize(maps[..., None], to, "bilinear").numpy()[..., 0]
    np.testing.assert_allclose(enlarged(maps, to), expected, rtol=0, atol=1e-5)


def test_a_place_has_its_value_in_every_channel():
    assert spread(np.array([[1.0, 2.0]]), (2, 3)).tolist() == [[[1, 1, 1], [2, 2, 2]]]
    assert spread(np.array([[1.0, 2.0]]), (2,)).tolist() == [[1, 2]]
