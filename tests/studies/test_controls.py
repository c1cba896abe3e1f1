"""The controls: `random` depends on what a good map depends on and says nothing, `edges` does not look at the network."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded, randomized

import wel
from wel.studies.maps import attribution


@pytest.fixture(scope="module")
def own():
    """A network whose weights may be changed."""
    from tensorflow.keras import Sequential, layers

    # fresh weights depend on the names
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(3, 3, activation="relu", name="conv"), layers.Flatten(), layers.Dense(4, name="dense")]
    return wel.load(randomized(Sequential(stack)))


def test_random_is_normal_and_its_own_for_every_image(own, images):
    found = attribution(own, "random", images, 0)
    # 576 values: the standard error of their mean is 1/24, that of their deviation 1/34
    assert abs(found.mean()) < 4 / 24 and abs(found.std() - 1) < 4 / 34
    assert np.abs(np.corrcoef(found.reshape(3, -1)) - np.eye(3)).max() < 4 / np.sqrt(192)


def test_random_does_not_depend_on_batch_or_order(own, images):
    found = attribution(own, "random", images, [0, 1, 2])
    np.testing.assert_array_equal(attribution(own, "random", images[::-1], [2, 1, 0])[::-1], found)
    np.testing.assert_array_equal(attribution(own, "random", images[1:2], 1), found[1:2])


def test_random_changes_with_seed_class_image_and_weights(own, images):
    found = attribution(own, "random", images, 0)
    moved = images + np.float32(1e-3)
    others = [attribution(own, "random", images, 0, seed=1), attribution(own, "random", images, 1), attribution(own, "random", moved, 0)]
    weights = own.model.get_weights()
    own.model.set_weights([*weights[:-1], weights[-1] + 1])
    others.append(attribution(own, "random", images, 0))
    own.model.set_weights(weights)
    for other in others:
        assert abs(np.corrcoef(found.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(found.size)
    np.testing.assert_array_equal(attribution(own, "random", images, 0), found)


def test_edges_by_hand(own):
    image = np.zeros((1, 8, 8, 3), "float32")
    image[:, :, 4:, 0] = 1  # a step in the first channel
    image[:, 2, 3, 1] = 1  # a point in the second
    found = attribution(own, "edges", image)[0]
    # Sobel's derivative along the row is (1 + 2 + 1)(x_right − x_left), beside the step 4; along the column 0
    assert found[..., 0].tolist() == [[0, 0, 0, 4, 4, 0, 0, 0]] * 8
    # beside the point ±2 in one direction, at its corners ±1 in both, √2
    ring = np.array([[np.sqrt(2), 2, np.sqrt(2)], [2, 0, 2], [np.sqrt(2), 2, np.sqrt(2)]])
    np.testing.assert_allclose(found[1:4, 2:5, 1], ring, rtol=1e-6)
    assert found[..., 1].sum() == pytest.approx(ring.sum()) and not found[..., 2].any()


def test_edges_do_not_depend_on_the_network(own, functional, images):
    np.testing.assert_array_equal(attribution(own, "edges", images, 0), attribution(loaded(functional), "edges", images, 3))


def test_of_other_inputs_there_are_controls_too():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((4,)), layers.Dense(2)]))
    # x_(i + 1) − x_(i − 1), the ends being continued
    assert attribution(net, "edges", np.array([[0.0, 1.0, 3.0, 3.0]])).tolist() == [[1, 3, 2, 0]]
    assert attribution(net, "random", np.ones((2, 4))).shape == (2, 4)


def test_randomisation_passes_random_and_fails_edges(own, images):
    result = wel.cascading_randomization(own, images, ["random", "edges", "grad_cam"], layers="all")
    found = result.table.set_index(["method", "stage_index"])["median"]
    # SSIM of `paper` has constants for data of range 2, so that maps with nothing in common have more than 0
    assert found["edges"].tolist() == [1, 1] and (found["random"] < 0.3).all() and (found["grad_cam"] < 1).all()
    result = wel.random_logit(own, images, ["random", "edges"])
    found = result.table.set_index("method")["median"]
    assert found["edges"] == 1 and found["random"] < 0.3
