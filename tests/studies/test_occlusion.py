"""Occlusion: against a plain loop, by hand, and what it does not depend on."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from conftest import loaded

import wel
from wel.errors import WelError
from wel.studies.maps import attribution
from wel.studies.occlusion import patches_of


def plain(model, image: np.ndarray, chosen: int, patch: int, stride: int, baseline: np.ndarray) -> np.ndarray:
    """One image, one patch after the other, (height, width) float64."""
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    ends = [sorted({*range(patch, size, stride), size}) for size in image.shape[:2]]
    score = float(model(image[None])[0, chosen])
    for bottom, right in product(*ends):
        hidden = image.copy()
        hidden[bottom - patch : bottom, right - patch : right] = baseline[bottom - patch : bottom, right - patch : right]
        total[bottom - patch : bottom, right - patch : right] += score - float(model(hidden[None])[0, chosen])
        count[bottom - patch : bottom, right - patch : right] += 1
    return total / count


@pytest.mark.parametrize("model", ["functional", "residual"])
@pytest.mark.parametrize(("patch", "stride"), [(2, 1), (3, 2), (8, 8)])
def test_a_plain_loop_finds_the_same(request, images, model, patch, stride):
    model = request.getfixturevalue(model)
    found = attribution(loaded(model), "occlusion", images[:2], [1, 3], patch=patch, stride=stride, baseline=[0.2, 0.5, 0.9])
    baseline = np.broadcast_to(np.array([0.2, 0.5, 0.9], "float32"), images[0].shape)
    for chosen, image, one in zip([1, 3], images, found):
        expected = plain(model, image, chosen, patch, stride, baseline)
        scale = np.abs(model(images)).max()  # differences of logits are as exact as these
        np.testing.assert_allclose(one, np.repeat(expected[..., None], 3, axis=-1), rtol=0, atol=2e-6 * scale)


def test_of_a_linear_network_by_hand():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((3, 1)), layers.Flatten(), layers.Dense(1)])
    model.set_weights([np.array([[1.0], [10.0], [100.0]]), np.array([5.0])])
    # x = (1, 2, 3), patches (0, 1) and (1, 2) hide 1 + 20 and 20 + 300; the one in the middle lies in both: (21 + 320) / 2
    found = attribution(wel.load(model), "occlusion", np.array([[[1.0], [2.0], [3.0]]]), patch=2, stride=1)
    assert found[0, :, 0].tolist() == pytest.approx([21, 170.5, 320], rel=1e-6)
    # baseline 1 takes 0 + 10 and 10 + 200
    found = attribution(wel.load(model), "occlusion", np.array([[[1.0], [2.0], [3.0]]]), patch=2, stride=1, baseline=[1.0])
    assert found[0, :, 0].tolist() == pytest.approx([10, 110, 210], rel=1e-6)


def test_of_a_vector_every_value_is_hidden():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((3,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
    # x w = (1, −2, 6)
    assert attribution(wel.load(model), "occlusion", np.array([[1.0, 2.0, 3.0]])).tolist() == [pytest.approx([1, -2, 6], rel=1e-6)]


def test_patches_reach_every_place():
    # 224 and 16 by 8: (224 − 16) / 8 + 1 = 27 along each axis
    assert len(patches_of((224, 224), 16, 8)) == 27**2
    # 7 and 3 by 3: at 0 and 3, and the last one at 4, where it ends with the image
    assert [patch[0] for patch in patches_of((7,), 3, 3)] == [slice(0, 3), slice(3, 6), slice(4, 7)]


def test_a_map_does_not_depend_on_the_other_images(functional, images):
    found = attribution(loaded(functional), "occlusion", images, 0, patch=2)
    np.testing.assert_array_equal(attribution(loaded(functional), "occlusion", images[::-1], 0, patch=2)[::-1], found)
    np.testing.assert_array_equal(attribution(loaded(functional), "occlusion", images[1:2], 0, patch=2), found[1:2])


def test_sides_are_shares_of_the_image(functional, residual):
    from wel.methods.registry import METHODS
    from wel.studies.study import settled_options

    def sides(shape, **given):
        options = settled_options(None, METHODS["occlusion"], given, np.zeros((1, *shape), "float32"))
        return options["patch"], options["stride"]

    assert [sides(shape) for shape in ((224, 224, 3), (32, 48, 3), (8, 8, 3), (2,))] == [(28, 14), (4, 2), (1, 1), (1, 1)]
    assert sides((224, 224, 3), patch=16) == (16, 8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch": 9}, "^Invalid value for `patch`: 9. Expected at most 8, the shortest side of an image.$"),
        ({"patch": 0}, "^Invalid value for `patch`: 0. Expected a whole number from 1 on.$"),
        ({"patch": 2.5}, "^Invalid value for `patch`: 2.5. Expected a whole number from 1 on.$"),
        ({"patch": 2, "stride": 3}, "^Invalid value for `stride`: 3. Expected at most `patch`, 2.$"),
        ({"stride": 0}, "^Invalid value for `stride`: 0. Expected a whole number from 1 on.$"),
        ({"baseline": [1.0, 2.0]}, "^Invalid value for `baseline`: 'an array of shape "),
    ],
)
def test_a_mistake_is_one_sentence(functional, images, options, sentence):
    with pytest.raises(WelError, match=sentence):
        attribution(loaded(functional), "occlusion", images, **options)


def test_only_the_native_backend_has_it(functional, images):
    with pytest.raises(
        WelError, match="^Invalid value for `backend`: '(wrapped|original)' does not compute occlusion. Expected 'native'.$"
    ):
        attribution(loaded(functional), "occlusion", images, backend="wrapped")
