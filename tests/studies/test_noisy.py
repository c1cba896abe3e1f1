"""Maps of noisy images: against a plain loop and Quantus, the noise, and that a batch changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import loaded, of_methods

import wel
from wel.errors import WelError
from wel.measures.similarity import rank_correlations, similarity
from wel.studies.maps import attribution
from wel.studies.noisy import Noise, noise


def gradient(net, images, classes):
    return attribution(net, "gradient", images.astype("float32"), np.asarray(classes))


def test_noise_has_the_deviation_that_was_asked_for():
    image = np.linspace(-1, 3, 3000, dtype="float32").reshape(50, 60, 1)
    found = Noise(4, 0.2, 0).of(3, image)
    # the range is 4, so σ = 0.8; of 12,000 values its standard error is 0.8/√24000
    assert found.shape == (4, 50, 60, 1) and abs(found.std() - 0.8) < 4 * 0.8 / np.sqrt(24000)
    assert abs(found.mean()) < 4 * 0.8 / np.sqrt(12000)
    assert np.abs(np.corrcoef(found.reshape(4, -1)) - np.eye(4)).max() < 4 / np.sqrt(3000)


def test_noise_depends_on_seed_image_and_sample_only():
    image = np.random.default_rng(0).random((6, 6, 3), dtype="float32")
    found = Noise(3, 0.1, 5).of(2, image)
    np.testing.assert_array_equal(Noise(9, 0.1, 5).of(2, image)[:3], found)
    np.testing.assert_allclose(Noise(3, 0.3, 5).of(2, image), 3 * found, rtol=1e-6)
    for other in (Noise(3, 0.1, 6).of(2, image), Noise(3, 0.1, 5).of(1, image)):
        assert (other != found).all()


def test_without_noise_the_mean_is_the_map(functional, images):
    net = loaded(functional)
    found = Noise(3, 0.0, 0).averaged(gradient)(net, images, np.array([0, 1, 2]))
    np.testing.assert_allclose(found, gradient(net, images, [0, 1, 2]), rtol=0, atol=1e-6)


def test_quantus_finds_the_same():
    """Quantus's last sample is without noise; its correlations have signs, and here both networks have the same noise."""
    from tensorflow.keras import Sequential, layers

    with np.load(Path(__file__).parents[1] / "golden" / "mprt.npz") as file:
        golden = dict(file)
    convolution = layers.Conv2D(4, 3, activation="softplus", name="conv")
    flat = [layers.Permute((3, 1, 2)), layers.Flatten()]  # as PyTorch orders values
    dense = [layers.Dense(6, activation="softplus", name="hidden"), layers.Dense(3, name="dense")]
    model = Sequential([layers.Input((8, 8, 2)), convolution, *flat, *dense])

    class Given(Noise):
        def of(self, index, image):
            spread = self.scale * np.ptp(image)
            return np.concatenate([spread * golden["noise"][:, index], np.zeros((1, *image.shape))])

    def smoothed(state: str) -> np.ndarray:
        for name in ("conv", "hidden", "dense"):
            model.get_layer(name).set_weights([golden[f"{state}/{name}/{part}"] for part in ("kernel", "bias")])
        return Given(5, 0.2, 0).averaged(gradient)(wel.load(model), golden["images"], golden["classes"])

    trained = smoothed("trained")
    assert np.linalg.norm(trained - golden["maps/trained"]) > 1e-3 * np.linalg.norm(trained)  # noise does something
    for layer in ("dense", "hidden", "conv"):
        np.testing.assert_allclose(rank_correlations(smoothed(layer), trained), np.abs(golden[f"smprt/{layer}"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["gradient", "lrp_alpha1_beta0", "grad_cam"])
def test_the_study_is_a_plain_loop(functional, images, method):
    from wel.studies.cascading import Fresh, randomized

    net, classes, seed = loaded(functional), [0, 1, 3], 2
    found = wel.cascading_randomization(net, images, method, "conv2", classes, seed, samples=4, noise_scale=0.3)
    fresh, drawn = Fresh(net, seed), [Noise(4, 0.3, seed).of(index, image) for index, image in enumerate(images)]

    def means() -> np.ndarray:
        several = [[attribution(net, method, (x + e)[None], c)[0] for e in noise] for x, noise, c in zip(images, drawn, classes)]
        return np.array(several, "float64").mean(axis=1).astype("float32")

    untouched = means()
    with randomized(net, "conv2", fresh):
        now = means()
    reduction = {"gradient": "max_abs"}.get(method, "sum")
    expected = similarity(now, untouched, reduction, 99.5, "paper")
    np.testing.assert_allclose(of_methods(found.images)["ssim"], expected, rtol=0, atol=1e-4)
    assert set(found.table["samples"]) == {4} and set(found.table["noise_scale"]) == {0.3}


def test_an_image_does_not_depend_on_the_others(functional, images):
    net, settings = loaded(functional), {"methods": ["gradient", "lrp_z"], "layers": "conv2", "samples": 3}
    whole = wel.cascading_randomization(net, images, classes=[0, 1, 2], **settings).images
    part = wel.cascading_randomization(net, images[:2], classes=[0, 1], **settings).images
    np.testing.assert_allclose(whole[whole["image"] < 2]["ssim"], part["ssim"], rtol=1e-6)


def test_noise_that_is_given_for_each_image_is_refused(functional, images):
    options = {"smoothgrad": {"noise": np.zeros((3, 2, 8, 8, 3))}}
    with pytest.raises(
        WelError, match="^Invalid value for `samples`: 2. Expected none where the option `noise` gives noise for each image.$"
    ):
        wel.cascading_randomization(loaded(functional), images, "smoothgrad", options=options, samples=2)


def test_settings():
    assert noise(None, None, 3) is None and noise(7, None, 3) == Noise(7, 0.1, 3)
    for samples, scale, sentence in (
        (0, None, "^Invalid value for `samples`: 0. Expected a whole number from 1 on.$"),
        (2.5, None, "^Invalid value for `samples`: 2.5. "),
        (3, -0.1, "^Invalid value for `noise_scale`: -0.1. Expected a number from 0 on.$"),
        (3, np.nan, "^Invalid value for `noise_scale`: nan. "),
        (None, 0.1, "^Invalid value for `noise_scale`: 0.1. Expected none without `samples`.$"),
    ):
        with pytest.raises(WelError, match=sentence):
            noise(samples, scale, 0)
