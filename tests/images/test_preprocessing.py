"""wel.images.preprocessing: numbers by hand and against keras.applications, what is refused, and what is guessed from which network."""

from __future__ import annotations

import pkgutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import randomized

from wel.errors import WelError
from wel.images.preprocessing import APPLICATIONS, PREPROCESSINGS, guess_preprocessing, parse_preprocessing
from wel.keras.two import private
from wel.networks.architectures import build_resnet50
from wel.networks.network import Network
from wel.networks.zoo import ZOO

PIXEL = np.array([[[[10, 20, 255]]]], dtype="uint8")  # red, green, blue


def inputs(spec: str, pixels=PIXEL) -> list:
    found = parse_preprocessing(spec)(pixels)
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    return found[0, 0, 0].tolist()


# --- specs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec, expected, formula", [
    ("none", [10, 20, 255], "pixels of 0 to 255 as they are"),
    ("scale:0-255", [10, 20, 255], "pixels of 0 to 255 as they are"),
    ("0-1", [10 / 255, 20 / 255, 1], "pixels of 0 to 255 divided by 255"),
    ("scale:0-1", [10 / 255, 20 / 255, 1], "pixels of 0 to 255 divided by 255"),
    ("tf", [10 / 127.5 - 1, 20 / 127.5 - 1, 1], "pixels of 0 to 255 divided by 127.5, minus 1"),
    ("scale:-1-1", [10 / 127.5 - 1, 20 / 127.5 - 1, 1], "pixels of 0 to 255 divided by 127.5, minus 1"),
    ("scale:-.5-0.5", [10 / 255 - 0.5, 20 / 255 - 0.5, 0.5], "pixels of 0 to 255 divided by 255, minus 0.5"),
    # 255 / (-1 - -3) = 127.5: 0 becomes -3, 255 becomes -1
    ("scale:-3--1", [10 / 127.5 - 3, 20 / 127.5 - 3, -1], "pixels of 0 to 255 divided by 127.5, minus 3"),
    ("scale:0-1e2", [1000 / 255, 2000 / 255, 100], "pixels of 0 to 255 divided by 2.55"),
    # blue first: 255 - 103.939, 20 - 116.779, 10 - 123.68
    ("caffe", [151.061, -96.779, -113.68], "BGR minus (103.939, 116.779, 123.68)"),
    ("torch", [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225],
     "pixels of 0 to 255 divided by 255, minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)"),
    ("mean-std:100:50", [-1.8, -1.6, 3.1], "pixels of 0 to 255 minus 100, divided by 50"),
    ("mean-std: 10, 20, 30 : 2, 4, 5 ", [0, 0, 45], "pixels of 0 to 255 minus (10, 20, 30), divided by (2, 4, 5)"),
    ("mean-std:0,0,0:1", [10, 20, 255], "pixels of 0 to 255 as they are"),
    ("keras-applications:resnet50", [151.061, -96.779, -113.68], "BGR minus (103.939, 116.779, 123.68)"),
    ("keras-applications:MobileNetV2", [10 / 127.5 - 1, 20 / 127.5 - 1, 1], "pixels of 0 to 255 divided by 127.5, minus 1"),
    ("keras-applications:efficientnet-v2", [10, 20, 255], "pixels of 0 to 255 as they are"),
])  # fmt: skip
def test_spec(spec, expected, formula):
    found = parse_preprocessing(f" {spec} ")
    assert (found.spec, found.formula, found.guess) == (spec.strip(), formula, None)
    np.testing.assert_allclose(inputs(spec), expected, rtol=2e-6, atol=1e-6)


def test_same_bits_as_plain_arithmetic():
    """The numbers of earlier runs, whose inputs these were."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype="uint8")
    plain = pixels.astype("float32")
    for spec in ("0-1", "scale:0-1"):
        np.testing.assert_array_equal(parse_preprocessing(spec)(pixels), plain / np.float32(255))
    mean = np.asarray((103.939, 116.779, 123.68), "float32")
    np.testing.assert_array_equal(parse_preprocessing("caffe")(pixels), plain[..., ::-1] - mean)
    np.testing.assert_array_equal(PREPROCESSINGS["0-1"](plain), PREPROCESSINGS["0-1"](pixels))
    assert pixels.dtype == np.uint8 and plain.max() > 1  # what is given stays as it is


def test_every_module_of_keras_applications():
    from tensorflow.keras import applications

    modules = {module.name for module in pkgutil.iter_modules([str(Path(private("resnet").__file__).parent)])}
    modules = {name for name in modules if hasattr(applications, name)} - {"imagenet_utils"} | {"resnet50"}
    assert set(APPLICATIONS) == modules | {"resnext"}
    pixels = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), dtype="uint8")
    for name in modules:
        expected = getattr(applications, name).preprocess_input(pixels.astype("float32"))
        np.testing.assert_array_equal(parse_preprocessing(f"keras-applications:{name}")(pixels), expected, err_msg=name)


@pytest.mark.parametrize("spec", ["", "imagenet", "Torch", "0-255", "torch:", "1", None])
def test_no_spec(spec):
    with pytest.raises(WelError, match=r"^Invalid value for `preprocess`: '.*'\. Expected keras-applications:.*mean-std:M1,M2,M3"):
        parse_preprocessing(spec)


@pytest.mark.parametrize("spec, expected", [
    ("keras-applications:alexnet", "keras-applications: with one of convnext, densenet"),
    ("keras-applications:", "keras-applications: with one of convnext, densenet"),
    ("keras-applications", "keras-applications: with one of convnext, densenet"),
    ("scale", "scale:A-B with A less than B"),
    *((f"scale:{range_}", "scale:A-B with A less than B")
      for range_ in ("", "1", "1-1", "1-0", "1--1", "a-b", "0-inf", "0:1", "0-1-2", "0-1e999")),
    *((f"mean-std:{numbers}", "mean-std:M1,M2,M3:S1,S2,S3 or mean-std:M:S, in units of pixels of 0 to 255, S above 0")
      for numbers in ("", "1", "1:", "1:0", "1:-1", "1,2:3", "1,2,3,4:5", "nan:1", "1:inf", "1,,2:3", "1:2:3", "0x1:1")),
    ("mean-std:0.485,0.456,0.406:0.229,0.224,0.225", ".*these look like units of 0 to 1"),
])  # fmt: skip
def test_bad_numbers(spec, expected):
    with pytest.raises(WelError, match=f"^Invalid value for `preprocess`: '{spec}'. Expected {expected}"):
        parse_preprocessing(spec)


@pytest.mark.parametrize("spec", ["caffe", "torch", "mean-std:1,2,3:4", "mean-std:1:2,3,4", "keras-applications:vgg16"])
@pytest.mark.parametrize("shape", [(2, 4, 4, 1), (2, 4, 4, 4), (2, 3, 4, 4)])
def test_three_channels_only(spec, shape):
    assert parse_preprocessing(spec).channels == 3
    with pytest.raises(WelError, match=rf"^Invalid value for `preprocess`: '{spec}' for pixels of shape .*Expected pixels with 3 channels"):
        parse_preprocessing(spec)(np.zeros(shape, "uint8"))


@pytest.mark.parametrize("spec", ["none", "tf", "scale:0-1", "mean-std:33:78"])
def test_any_channels(spec):
    assert parse_preprocessing(spec).channels is None
    pixels = np.arange(24, dtype="uint8")
    for shape in ((24,), (2, 3, 4, 1), (1, 2, 3, 4)):
        np.testing.assert_array_equal(parse_preprocessing(spec)(pixels.reshape(shape)).ravel(), parse_preprocessing(spec)(pixels))


# --- guesses ----------------------------------------------------------------------------------------------------------


def network(*stack, shape=(8, 8, 3), classes: int = 4) -> Network:
    """The layers, pooled and followed by a dense layer; weights as Keras initialises them."""
    from tensorflow.keras import Sequential, layers

    head = [layers.GlobalAveragePooling2D(), layers.Dense(classes)] if len(shape) == 3 else [layers.Flatten(), layers.Dense(classes)]
    return Network(Sequential([layers.Input(shape), *stack, *head]), "some")


def conv(filters: int = 5, **kwargs):
    from tensorflow.keras import layers

    return layers.Conv2D(filters, 3, padding="same", **kwargs)


def guessed(net: Network, spec: str, *words: str) -> str:
    found = guess_preprocessing(net)
    assert found.spec == spec and all(word in found.guess for word in words), found
    assert found.guess[0].isupper() and found.guess.endswith(".")
    assert replace(found, guess=None) == parse_preprocessing(spec)
    return found.guess


def test_zoo_is_no_guess():
    net = network(conv())
    net.architecture = ZOO["vgg16"]
    assert guess_preprocessing(net) == parse_preprocessing("caffe")


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28), (784,), (32, 32, 3), (224, 224, 3), (8, 8, 4)])
def test_nothing_known_is_said(shape):
    stack = [conv()] if len(shape) == 3 else []
    guessed(network(*stack, shape=shape), "scale:0-1", "Nothing in the model says", "a mere default")


def ops(change):
    """A model whose arithmetic Keras wraps in layers, as when a preprocess_input is called on its input."""
    from tensorflow.keras import Model, layers

    x = layers.Input((8, 8, 3))
    return Network(Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(conv()(change(x))))), "some")


@pytest.mark.parametrize("module, reached", [
    ("mobilenet_v2", "-1 to 1"),
    ("vgg16", "-124 to 151"),  # 0 - 123.68 and 255 - 103.939
    ("densenet", "-2.12 to 2.64"),  # (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225
])  # fmt: skip
def test_preprocess_input_inside_the_model(module, reached):
    from tensorflow.keras import applications

    guessed(
        ops(getattr(applications, module).preprocess_input),
        "none",
        "begins with tf.",  # the model's own operators, by the names that it has for them
        f"makes {reached} of pixels",
        "nearly certain",
    )


@pytest.mark.parametrize("change, spec, word", [
    (lambda x: x / 255, "none", "0 to 1 of"),
    (lambda x: x - 127.5, "none", "-128 to 128 of"),
    (lambda x: x * 2 - 1, "scale:0-1", "-1 to 509 of"),
    (lambda x: x - 0.5, "scale:0-1", "-0.5 to 254 of"),
    (lambda x: x * 255, "scale:0-1", "0 to 6.5e+04 of"),
    (lambda x: x * 1, "scale:0-1", "Nothing in the model"),
    (lambda x: x * 1e9, "scale:0-1", "Nothing in the model"),
    (lambda x: 1 / x, "scale:0-1", "Nothing in the model"),
])  # fmt: skip
def test_arithmetic_at_the_start(change, spec, word):
    guessed(ops(change), spec, word)


def test_keras_layers_at_the_start():
    from tensorflow.keras import Sequential, layers

    augmentation = Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)])
    guessed(network(augmentation, layers.Rescaling(1 / 127.5, offset=-1), conv()), "none", "begins with Rescaling, which makes -1 to 1 of")
    guessed(network(layers.Rescaling(255), conv()), "scale:0-1")
    normalization = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.229**2, 0.224**2, 0.225**2])
    guessed(network(layers.Rescaling(1 / 255), normalization, conv()), "none", "Rescaling, Normalization, which makes -2.12 to 2.64")
    guessed(network(layers.Normalization(mean=0.5, variance=0.08), conv()), "scale:0-1", "so that inputs of 0 to 1 are likely")
    # behind a layer of the network's own it says nothing of the input
    guessed(network(conv(), layers.Rescaling(1 / 255)), "scale:0-1", "mere default")


def test_rescaling_of_one_branch_says_nothing():
    from tensorflow.keras import Model, layers

    x = layers.Input((8, 8, 3))
    both = layers.Add()([layers.Rescaling(1 / 255)(x), conv(3)(x)])
    guessed(Network(Model(x, layers.Dense(4)(layers.Flatten()(both))), "some"), "scale:0-1", "mere default")


def test_grey_made_colour_before_rescaling():
    from tensorflow.keras import Model, layers

    x = layers.Input((8, 8, 1))
    y = layers.Rescaling(1 / 127.5, -1)(layers.Concatenate()([x, x, x]))
    guessed(Network(Model(x, layers.Dense(4)(layers.Flatten()(y))), "some"), "none", "-1 to 1")


@pytest.mark.parametrize("mean, std, spec, words", [
    (120.7, 64.2, "none", "a mean of 121 and a standard deviation of 64.2: pixels of 0 to 255, nearly certain"),
    (33.3, 78.6, "none", "nearly certain"),
    (0.45, 0.25, "scale:0-1", "0 to 1 is likely"),
    (0.13, 0.31, "scale:0-1", "0 to 1 is likely"),
    (-0.1, 0.5, "tf", "−1 to 1 is plausible"),
    (-0.74, 0.62, "tf", "−1 to 1 is plausible"),
    (0.0, 1.0, "scale:0-1", "whose statistics tell nothing"),
    (5000.0, 900.0, "scale:0-1", "whose statistics tell nothing"),
])  # fmt: skip
def test_batch_normalization_on_the_input(mean, std, spec, words):
    from tensorflow.keras import layers

    normalization = layers.BatchNormalization()
    net = network(normalization, conv())
    normalization.set_weights([np.ones(3), np.zeros(3), np.full(3, mean), np.full(3, std**2)])
    guessed(net, spec, "goes into a BatchNormalization", words)


def backbone(name: str, size: int, **kwargs):
    from tensorflow.keras import applications

    return getattr(applications, name)(weights=None, include_top=False, input_shape=(size, size, 3), **kwargs)


@pytest.mark.parametrize("name, size, spec", [
    ("VGG16", 32, "keras-applications:vgg16"),
    ("ResNet50", 32, "keras-applications:resnet"),
    ("ResNet50V2", 32, "keras-applications:resnet_v2"),
    pytest.param("InceptionV3", 75, "keras-applications:inception_v3", marks=pytest.mark.slow),
    ("Xception", 71, "keras-applications:xception"),
    ("MobileNet", 32, "keras-applications:mobilenet"),
    ("MobileNetV2", 32, "keras-applications:mobilenet_v2"),
    pytest.param("DenseNet121", 32, "keras-applications:densenet", marks=pytest.mark.slow),
])  # fmt: skip
def test_backbone_inside_a_users_model(name, size, spec):
    from tensorflow.keras import applications

    inner = backbone(name, size)
    known_as = name.replace("50", "").replace("121", "")
    guessed(network(inner, shape=(size, size, 3)), spec, f"as in {known_as} of", "likely, if it started")
    module = getattr(applications, spec.partition(":")[2])
    pixels = np.random.default_rng(2).integers(0, 256, (1, 4, 4, 3), dtype="uint8")
    np.testing.assert_array_equal(parse_preprocessing(spec)(pixels), module.preprocess_input(pixels.astype("float32")))
    inner.trainable = False
    guessed(network(inner, shape=(size, size, 3)), spec, "they are frozen", "very likely")


@pytest.mark.slow
def test_backbone_with_its_own_rescaling_or_without():
    guessed(network(backbone("EfficientNetB0", 32), shape=(32, 32, 3)), "none", "begins with Rescaling, Normalization")
    guessed(network(backbone("MobileNetV3Small", 32), shape=(32, 32, 3)), "none", "begins with Rescaling, which makes -1 to 1")
    bare = backbone("MobileNetV3Small", 32, include_preprocessing=False)
    guessed(network(bare, shape=(32, 32, 3)), "tf", "MobileNetV3 of keras.applications without its own rescaling")


def test_users_rescaling_comes_before_the_backbone():
    from tensorflow.keras import layers

    net = network(layers.Rescaling(1 / 255), backbone("MobileNetV2", 32), shape=(32, 32, 3))
    guessed(net, "none", "begins with Rescaling, which makes 0 to 1 of pixels")


def test_names_of_2018_and_a_thousand_classes():
    net = Network(build_resnet50((32, 32, 3), 1000), "mine")
    guessed(net, "keras-applications:resnet50", "as in ResNet50", "1000 classes", "very likely")


def test_shapes_under_other_names():
    from tensorflow.keras import Model, layers, models

    vgg = backbone("VGG16", 32)

    def other_name(layer):
        return type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_x"})

    renamed = models.clone_model(vgg, clone_function=other_name)
    assert not {layer.name for layer in renamed.layers[1:]} & {layer.name for layer in vgg.layers}
    x = renamed.output
    net = Network(Model(renamed.input, layers.Dense(3)(layers.Flatten()(x))), "mine")
    guessed(net, "caffe", "the shapes of VGG16, under other names", "plausible at best")


def test_vgg_of_a_classroom_is_no_vgg16():
    """The same names, fewer filters."""
    from tensorflow.keras import layers

    stack = []
    for block, filters in enumerate((32, 64, 128), start=1):
        stack += [conv(filters, name=f"block{block}_conv1"), conv(filters, name=f"block{block}_conv2"), layers.MaxPooling2D()]
    guessed(network(*stack), "scale:0-1", "mere default")


def test_three_channel_preprocessing_is_not_guessed_for_one_channel():
    from tensorflow.keras import Model, layers

    x = layers.Input((32, 32, 1))
    y = layers.GlobalAveragePooling2D()(backbone("VGG16", 32)(layers.Concatenate()([x, x, x])))
    guessed(Network(Model(x, layers.Dense(3)(y)), "grey"), "scale:0-1", "mere default")


def test_guess_works_as_the_same_function():
    net = Network(randomized(network(conv()).model), "some")
    pixels = np.arange(192, dtype="uint8").reshape(1, 8, 8, 3)
    np.testing.assert_array_equal(guess_preprocessing(net)(pixels), pixels / np.float32(255))
