"""IBA: against the authors' own software on the same noise, by hand, and what its maps depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import loaded, of_methods

import wel
from wel.errors import UnsupportedError, WelError
from wel.studies import bottleneck
from wel.studies.maps import attribution

CASES = {
    "default": {},
    "rough": {"smoothing": 0, "beta": 1, "steps": 3, "learning_rate": 0.5},
    "wide": {"smoothing": 1.7, "beta": 0.2},
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "iba.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def authors(golden):
    """The network of tests/golden/make_iba.py."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")]
    stack += [layers.Conv2D(5, 3, activation="relu", name="conv2"), layers.GlobalAveragePooling2D(), layers.Dense(3, name="dense")]
    model = Sequential(stack)
    model.set_weights([golden[f"{name}/{part}"] for name in ("conv1", "conv2", "dense") for part in ("kernel", "bias")])
    return wel.load(model)


@pytest.mark.parametrize("case", CASES)
def test_the_authors_software_finds_the_same(golden, authors, monkeypatch, case):
    monkeypatch.setattr(bottleneck, "_noise", lambda query, index, step, shape: golden["noise"][index, step])
    capacity, seen = bottleneck.capacity, []
    monkeypatch.setattr(bottleneck, "capacity", lambda *asked: seen.append(capacity(*asked)) or seen[-1])
    settings = {"layer": "conv1", "samples": 4, "sample": golden["sample"], **CASES[case]}
    maps = attribution(authors, "iba", golden["images"], golden["classes"], **settings)
    expected = golden[f"capacity/{case}"].astype("float64")
    np.testing.assert_allclose(np.stack(seen) / np.log(2), expected, rtol=0, atol=1e-4 * expected.max())
    # the layer has the input's places: a place's bits, in every channel
    np.testing.assert_allclose(maps[..., 1], expected.sum(axis=-1), rtol=0, atol=1e-4 * expected.max())


def test_the_first_pass_by_hand():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((3, 2, 1)), layers.Conv2D(1, 1, use_bias=False, name="same"), layers.Flatten(), layers.Dense(2)])
    model.get_layer("same").set_weights([np.ones((1, 1, 1, 1))])
    sample = np.stack([np.zeros((3, 2, 1)), np.full((3, 2, 1), 2.0)])
    sample[:, 0, 0] = 0
    image = np.full((1, 3, 2, 1), 3.0)
    image[0, 2, 1] = 1
    found = attribution(wel.load(model), "iba", image, layer="same", steps=1, sample=sample)[0, ..., 0]
    # mean 1, standard deviation √(1 + 1): 3 is √2 of them away, 1 none. 1 − λ = 1/(1 + e⁵), whatever is smoothed.
    hidden = 1 / (1 + np.exp(5))
    bits = [-(1 + 2 * np.log(hidden) - (1 - hidden) ** 2 * square - hidden**2) / 2 / np.log(2) for square in (0, 2)]
    expected = np.full((3, 2), bits[1])
    expected[2, 1] = bits[0]
    expected[0, 0] = 0  # 0 in all images
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.7])
def test_smoothing_is_a_convolution_of_what_is_mirrored(size, sigma):
    reach = round(2 * sigma)
    kernel = np.array([np.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)])
    values = np.random.default_rng(0).random(size)
    expected = np.convolve(np.pad(values, reach, mode="reflect"), kernel / kernel.sum(), mode="valid")
    np.testing.assert_allclose(bottleneck._smoothing(size, sigma) @ values, expected, rtol=1e-6)


def test_only_what_the_network_reads_has_bits():
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 1)), layers.Conv2D(1, 1, use_bias=False, name="same"), layers.Cropping2D(((0, 4), (0, 4)))]
    model = Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(2, use_bias=False)])
    model.set_weights([np.ones((1, 1, 1, 1)), np.array([[20.0, -20.0]])])
    sample = np.random.default_rng(0).standard_normal((50, 8, 8, 1))
    # an image whose class is as clear as can be, and whose values are as far from the mean everywhere
    found = attribution(wel.load(model), "iba", np.full((1, 8, 8, 1), 0.3), 0, sample=sample, beta=1, smoothing=0.5)[0, ..., 0]
    read = np.zeros((8, 8), bool)
    read[:4, :4] = True
    assert found[read].min() > found[~read].max() and found[read].mean() > 5 * found[~read].mean()


def test_noise_depends_on_the_seed(authors, golden):
    settings = {"net": authors, "method": "iba", "images": golden["images"], "sample": golden["sample"], "layer": "conv1"}
    one, again, other = (attribution(**settings, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_statistics_are_estimated_once_for_the_weights(authors, golden, monkeypatch):
    estimate, estimated = bottleneck._estimate, []
    monkeypatch.setattr(bottleneck, "_estimate", lambda *asked: estimated.append(asked) or estimate(*asked))
    settings = {"net": authors, "method": "iba", "images": golden["images"], "sample": golden["sample"][:7], "steps": 1}
    for chosen in (0, 1):
        attribution(classes=chosen, **settings)
    assert len(estimated) == 1
    weights = authors.model.get_weights()
    authors.model.set_weights([2 * array for array in weights])
    attribution(classes=0, **settings)
    authors.model.set_weights(weights)
    assert len(estimated) == 2


def test_statistics_by_numpy(authors, golden, monkeypatch):
    monkeypatch.setattr(bottleneck, "PREDICTED_AT_ONCE", 6)
    mean, deviation, active = bottleneck._estimate(authors, "conv1", golden["sample"])
    values = authors.values(golden["sample"], "conv1").astype("float64")
    np.testing.assert_allclose(mean[0], values.mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(deviation[0], np.maximum(0.01, values.std(axis=0, ddof=1)), rtol=1e-5)
    assert active[0].tolist() == (values != 0).any(axis=0).tolist() and not active[..., 3].any()


def test_the_images_are_the_sample_by_default(authors, golden):
    settings = {"steps": 1, "layer": "conv1"}
    found = attribution(authors, "iba", golden["images"], **settings)
    np.testing.assert_array_equal(attribution(authors, "iba", golden["images"], sample=golden["images"], **settings), found)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"sample": np.ones((1, 8, 8, 3))},
            r"^Invalid value for `sample`: 'an array of shape \(1, 8, 8, 3\)'. Expected two images or more, of",
        ),
        ({"sample": np.ones((5, 8, 8, 1))}, r"^Invalid value for `sample`: .* Expected two images or more, of shape \(8, 8, 3\).$"),
        (
            {"layer": "conv2"},
            "^Invalid value for `layer`: 'conv2'. Expected a layer below the output, past which nothing leads, with places .*",
        ),
        ({"steps": 0}, "^Invalid value for `steps`: 0. Expected a whole number from 1 on.$"),
        ({"beta": -1}, "^Invalid value for `beta`: -1. Expected a number from 0 on.$"),
        ({"learning_rate": 0}, "^Invalid value for `learning_rate`: 0. Expected a number above 0.$"),
    ],
)
def test_a_mistake_is_one_sentence(residual, images, options, sentence):
    with pytest.raises(WelError, match=sentence):
        attribution(loaded(residual), "iba", images, **options)


def test_networks_that_have_no_bottleneck(images):
    from tensorflow.keras import Model, Sequential, layers

    one = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1)]))
    with pytest.raises(UnsupportedError, match="^Method 'iba' needs two classes or more. Received a network with one logit.$"):
        attribution(one, "iba", images)
    image = layers.Input((8, 8, 3))
    pooled = [layers.GlobalAveragePooling2D()(x) for x in (layers.Conv2D(2, 3)(image), image)]
    past = wel.load(Model(image, layers.Dense(2)(layers.Concatenate()(pooled))))
    with pytest.raises(UnsupportedError, match="^Method 'iba' needs a convolution with more than one place, past which nothing leads.$"):
        attribution(past, "iba", images)


def test_studies_and_keras_3(images):
    pytest.importorskip("keras", minversion="3")
    from keras3_models import built

    net = wel.load(built("functional"))
    result = wel.cascading_randomization(net, images, ["iba"], layers="all", options={"iba": {"samples": 2}})
    table = of_methods(result.table)
    assert table["values"].tolist() == [3] * 4 and (table["median"] < 1).all()
