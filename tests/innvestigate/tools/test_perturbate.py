"""Pixel flipping: as innvestigate 2.1.2 does it, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from golden.make_perturbations import CASES, FILE, drawn

import wel.innvestigate as innvestigate
from wel.errors import WelError
from wel.innvestigate.tools.perturbate import Perturbation, PerturbationAnalysis
from wel.innvestigate.utils import BatchSequence, TargetAugmentedSequence
from wel.keras.two import keras2

GOLDEN = np.load(FILE)


@pytest.mark.parametrize("name", CASES)
def test_innvestigates_pictures_to_the_last_bit(name):
    size, kwargs = CASES[name]
    pictures, maps = drawn(size)
    before = pictures.copy()
    found = Perturbation(**kwargs).perturbate_on_batch(pictures, maps)
    np.testing.assert_array_equal(found, GOLDEN[name])
    np.testing.assert_array_equal(pictures, before)


def test_pictures_may_be_changed_themselves():
    pictures, maps = drawn((4, 4))
    found = Perturbation("zeros", 1, (2, 2), in_place=True).perturbate_on_batch(pictures, maps)
    assert np.shares_memory(found, pictures) and (pictures == 0).sum() == 2 * 2 * 2 * 3


def test_one_axis_that_needs_padding():
    # of a picture of 2 × 3 pixels in regions 2 × 2, one column of copies is put behind; the first region's mean is (0 + 1 + 3 + 4) / 4
    picture = np.arange(6.0).reshape(1, 2, 3, 1)
    maps = np.array([1.0, 1, 0, 1, 1, 0]).reshape(1, 2, 3, 1)
    found = Perturbation("mean", 1, (2, 2), pad_mode="edge").perturbate_on_batch(picture, maps)
    np.testing.assert_array_equal(found[0, :, :, 0], [[2, 2, 2], [2, 2, 5]])


def test_noise_follows_its_seed():
    pictures, maps = drawn((9, 9))
    found = [Perturbation("gaussian", 9, (3, 3), seed=seed).perturbate_on_batch(pictures, maps) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not (found[0] == found[2]).any()
    assert abs(found[0].std() - 0.3) < 0.03  # of 486 numbers, whose standard deviation varies by 0.3 / √972


def test_what_is_refused():
    with pytest.raises(
        WelError, match=r"^Invalid value for `perturbation_function`: 'blur'\. Expected a function, or one of zeros, mean, inv"
    ):
        Perturbation("blur")
    with pytest.raises(WelError, match=r"^Invalid value for `analysis`: 'maps of shape \(1, 4, 4\)'\. Expected the shape of the pictures"):
        Perturbation("zeros").perturbate_on_batch(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4)))


@pytest.fixture
def model():
    """Logit: the sum of 2 × 2 pixels."""
    layers = keras2().layers
    model = keras2().Sequential([layers.Input((2, 2, 1)), layers.Flatten(), layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(loss="mean_squared_error")
    return model


@pytest.mark.parametrize("recompute", [False, True])
def test_a_models_loss_by_hand(model, recompute):
    pictures = np.array([[1, 2, 3, 4], [0, 0, 0, 5], [2, 2, 0, 1]], "float32").reshape(3, 2, 2, 1)
    batches = BatchSequence([pictures, np.zeros((3, 1))], batch_size=2)
    analyzer = innvestigate.create_analyzer("input_t_gradient", model)  # x · 1
    perturbation = Perturbation("zeros", region_shape=(1, 1))
    found = PerturbationAnalysis(analyzer, model, batches, perturbation, steps=2, regions_per_step=2, recompute_analysis=recompute)
    # squares of sums, their mean: (10² + 5² + 5²) / 3; without the largest (6² + 0 + 3²) / 3; without the three largest (1 + 0 + 0) / 3
    np.testing.assert_allclose(found.compute_perturbation_analysis(), [50, 15, 1 / 3], rtol=1e-6)
    assert perturbation.num_perturbed_regions == 1


def test_a_models_metrics_stand_beside_its_loss(model):
    model.compile(loss="mean_squared_error", metrics=["mae"])
    batches = BatchSequence([np.ones((2, 2, 2, 1), "float32"), np.zeros((2, 1))], batch_size=1)
    analyzer = innvestigate.create_analyzer("gradient", model)
    scores = PerturbationAnalysis(analyzer, model, batches, Perturbation("zeros", region_shape=(2, 1))).compute_perturbation_analysis()
    assert scores == [[16, 4], [4, 2]]  # 4², 4; with one of two columns 2², 2


def test_arrays_come_in_batches():
    one, two = np.arange(5), np.arange(5) * 10
    assert [batch.tolist() for batch in BatchSequence(one, batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [[array.tolist() for array in batch] for batch in BatchSequence([one, two], batch_size=3)] == [
        [[0, 1, 2], [0, 10, 20]],
        [[3, 4], [30, 40]],
    ]
    several = TargetAugmentedSequence(BatchSequence([one], batch_size=3), lambda arrays: [-arrays[0]])
    assert len(several) == 2 and several[1][0].tolist() == [3, 4] and several[1][1][0].tolist() == [-3, -4]
    with pytest.raises(
        WelError, match=r"^Invalid value for `Xs`: 'arrays of lengths \[5, 4\]'\. Expected one array or more, of one length\.$"
    ):
        BatchSequence([one, two[:4]])
