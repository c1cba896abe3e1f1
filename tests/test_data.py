"""wel.data: pixels by hand, labels by folder and by file, and pictures that are none."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import randomized
from PIL import Image

from wel.data import load_images, preprocess
from wel.errors import WelError
from wel.network import Network
from wel.paths import models_folder
from wel.zoo import ZOO

RED, GREEN, BLUE, WHITE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


def network(shape=(2, 2, 3), classes: int = 10, architecture=None) -> Network:
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input(shape), layers.GlobalAveragePooling2D(), layers.Dense(classes)])
    return Network(randomized(model), "tiny", architecture)


@pytest.fixture(scope="module")
def net():
    """Takes 2×2 pixels in [0, 1]; ten classes."""
    return network()


def picture(*rows, mode: str = "RGB") -> Image.Image:
    """A picture of the given pixels, a list of rows of colours."""
    image = Image.new(mode, (len(rows[0]), len(rows)))
    for y, row in enumerate(rows):
        for x, colour in enumerate(row):
            image.putpixel((x, y), colour)
    return image


def plain(colour, size=(2, 2), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def pixels_of(net, folder, **kwargs) -> list:
    return load_images(net, folder, **kwargs).pixels.tolist()


def refused(match: str, *args, **kwargs) -> None:
    with pytest.raises(WelError, match=match) as caught:
        load_images(*args, **kwargs)
    assert "\n" not in str(caught.value)


# --- preprocessing ----------------------------------------------------------------------------------------------------


def test_zero_to_one():
    pixels = np.array([[[[0, 51, 255]]]], dtype="uint8")
    inputs = preprocess(pixels, "0-1")
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, [[[[0, 51 / 255, 1]]]], rtol=1e-7)


def test_caffe():
    # red 10, green 20, blue 30: blue first, 30 - 103.939, 20 - 116.779, 10 - 123.68
    inputs = preprocess(np.array([[[[10, 20, 30]]]], dtype="uint8"), "caffe")
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, [[[[-73.939, -96.779, -113.68]]]], rtol=1e-6)


def test_network_of_the_zoo_brings_its_preprocessing(tmp_path):
    plain((10, 20, 30)).save(tmp_path / "a.png")
    images = load_images(network(architecture=replace(ZOO["cifar10"], preprocessing="caffe")), tmp_path)
    np.testing.assert_allclose(images.inputs[0, 0, 0], [-73.939, -96.779, -113.68], rtol=1e-6)
    assert images.source == f"directory {tmp_path}, preprocessing caffe"


# --- directories ------------------------------------------------------------------------------------------------------


def test_flat_directory(net, tmp_path):
    for name, colour in (("b.png", GREEN), ("a.png", RED), ("c.BMP", BLUE)):
        plain(colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    images = load_images(net, tmp_path)
    assert images.names == ["a.png", "b.png", "c.BMP"]
    assert images.labels == [None] * 3
    assert images.pixels.dtype == np.uint8 and images.pixels.shape == images.inputs.shape == (3, 2, 2, 3)
    assert images.pixels[:, 0, 0].tolist() == [list(RED), list(GREEN), list(BLUE)]
    np.testing.assert_array_equal(images.inputs, images.pixels / np.float32(255))
    assert images.source == f"directory {tmp_path}, preprocessing 0-1"


@pytest.fixture
def folders(tmp_path):
    """ape: 1 picture, bee: none, cat: 2 pictures; a hidden folder with one more, and what an archive from a Mac leaves."""
    for name in ("cat/2.png", "cat/1.png", "ape/9.png", ".trash/0.png", "cat/._1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        plain(RED).save(path)
    (tmp_path / "bee").mkdir()
    return tmp_path


def test_class_named_folders(net, folders):
    images = load_images(net, folders)
    assert images.names == ["ape/9.png", "cat/1.png", "cat/2.png"]
    assert images.labels == [0, 2, 2]


def test_folders_of_folders_are_no_classes(net, folders):
    (folders / "cat" / "old").mkdir()
    plain(RED).save(folders / "cat" / "old" / "3.png")
    assert load_images(net, folders).labels == [None] * 4
    # the same whatever the limit
    assert load_images(net, folders, limit=1).labels == [None]


@pytest.mark.parametrize("limit, count", [(1, 1), (2, 2), (99, 3), (None, 3)])
def test_limit(net, folders, limit, count):
    images = load_images(net, folders, limit=limit)
    assert len(images.names) == len(images.pixels) == len(images.inputs) == len(images.labels) == count
    assert images.names == ["ape/9.png", "cat/1.png", "cat/2.png"][:count]


def test_files_behind_the_limit_are_not_read(net, folders):
    (folders / "cat" / "2.png").write_text("no picture")
    assert len(load_images(net, folders, limit=2).names) == 2


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2"])
def test_limit_that_does_not_do(net, folders, limit):
    refused(f"^Invalid value for `limit`: {limit!r}. Expected a whole number from 1 on", net, folders, limit=limit)


def test_folder_that_is_called_like_a_picture(net, tmp_path):
    (tmp_path / "folder.png").mkdir()
    plain(RED).save(tmp_path / "folder.png" / "a.png")
    images = load_images(net, tmp_path)
    assert images.names == ["folder.png/a.png"] and images.labels == [0]


@pytest.mark.parametrize("name", ["missing", "file.png"])
def test_missing_directory(net, tmp_path, name):
    plain(RED).save(tmp_path / "file.png")
    refused("^Invalid value for `images`: '.*'. Expected an existing directory", net, tmp_path / name)


def test_empty_directory(net, tmp_path):
    (tmp_path / "notes.txt").touch()
    refused(r"^Invalid value for `images`: '.*'. Expected a directory with images \(\.jpg, ", net, tmp_path)


# --- what pictures look like ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation, expected", [
    (1, [[RED, GREEN], [BLUE, WHITE]]),
    (2, [[GREEN, RED], [WHITE, BLUE]]),
    (3, [[WHITE, BLUE], [GREEN, RED]]),
    (6, [[BLUE, RED], [WHITE, GREEN]]),  # stored lying on its left side: turned by 90° clockwise
    (8, [[GREEN, WHITE], [RED, BLUE]]),
])  # fmt: skip
def test_exif_orientation(net, tmp_path, orientation, expected):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture([RED, GREEN], [BLUE, WHITE]).save(tmp_path / "a.png", exif=exif)
    assert pixels_of(net, tmp_path) == [[[list(colour) for colour in row] for row in expected]]


def test_greyscale(net, tmp_path):
    plain(128, mode="L").save(tmp_path / "grey.png")
    plain(1, mode="1").save(tmp_path / "white.png")
    assert pixels_of(net, tmp_path) == [[[list(GREY)] * 2] * 2, [[list(WHITE)] * 2] * 2]


def test_palette(net, tmp_path):
    picture([RED, GREEN], [BLUE, WHITE]).quantize(4).save(tmp_path / "a.gif")
    assert pixels_of(net, tmp_path) == [[[list(RED), list(GREEN)], [list(BLUE), list(WHITE)]]]


def test_transparent_pixels_lie_on_white(net, tmp_path):
    # half transparent red on white: green and blue 255·(1 - 128/255) = 127
    corner = [(*RED, 0), (*RED, 255)], [(*RED, 128), (0, 0, 0, 0)]
    picture(*corner, mode="RGBA").save(tmp_path / "a.png")
    assert pixels_of(net, tmp_path) == [[[list(WHITE), list(RED)], [[255, 127, 127], list(WHITE)]]]


def test_transparent_palette_and_greyscale_lie_on_white(net, tmp_path):
    paletted = Image.new("P", (2, 2), 0)
    paletted.putpalette([0, 0, 0, 255, 0, 0])
    paletted.putpixel((1, 0), 1)
    paletted.save(tmp_path / "a.png", transparency=0)
    picture([(0, 0), (128, 255)], [(0, 255), (77, 0)], mode="LA").save(tmp_path / "b.png")
    assert pixels_of(net, tmp_path) == [
        [[list(WHITE), list(RED)], [list(WHITE), list(WHITE)]],
        [[list(WHITE), list(GREY)], [[0, 0, 0], list(WHITE)]],
    ]


def test_cut_to_the_aspect_ratio_around_the_centre(net, tmp_path):
    # six columns, two rows: the two columns in the middle stay
    picture([RED, RED, GREEN, BLUE, RED, RED], [RED, RED, BLUE, GREEN, RED, RED]).save(tmp_path / "wide.png")
    picture([RED, RED], [WHITE, GREEN], [BLUE, GREY], [RED, RED]).save(tmp_path / "high.png")
    assert pixels_of(net, tmp_path) == [
        [[list(WHITE), list(GREEN)], [list(BLUE), list(GREY)]],
        [[list(GREEN), list(BLUE)], [list(BLUE), list(GREEN)]],
    ]


def test_rectangular_network(tmp_path):
    # input of two rows and four columns: a 4×4 picture loses its first and last row
    image = plain(RED, (4, 4))
    image.paste(GREEN, (0, 1, 4, 3))
    image.save(tmp_path / "a.png")
    assert pixels_of(network((2, 4, 3)), tmp_path) == [[[list(GREEN)] * 4] * 2]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (7, 5), (64, 48)])
def test_any_size_is_resized(net, tmp_path, size):
    plain((9, 90, 200), size).save(tmp_path / "a.png")
    assert pixels_of(net, tmp_path) == [[[[9, 90, 200]] * 2] * 2]


def test_resized_by_bicubic_interpolation(tmp_path):
    ramp = np.repeat(np.arange(0, 240, 15, dtype="uint8")[None, :, None], 16, axis=0).repeat(3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    (image,) = load_images(network((8, 8, 3)), tmp_path).pixels
    # away from the edges a ramp stays a ramp: output column i lies between input columns 2i and 2i + 1
    np.testing.assert_allclose(image[:, 2:6, 0], np.tile(15 * (2 * np.arange(2, 6) + 0.5), (8, 1)), atol=1)


# --- pictures that are none -------------------------------------------------------------------------------------------


def truncated(path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-800])


@pytest.mark.parametrize("name", ["broken.jpg", "broken.png", "broken.gif", "broken.tif", "broken.webp", "broken.bmp"])
def test_truncated_picture_is_named(net, tmp_path, name):
    plain(RED).save(tmp_path / "a.png")
    truncated(tmp_path / name)
    refused(rf"^Invalid image '.*{name}': it cannot be read \(.*\)\.$", net, tmp_path)


@pytest.mark.parametrize("content", [b"", b"this is text\n", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(40)])
def test_file_that_is_no_picture_is_named(net, tmp_path, content):
    (tmp_path / "text.png").write_bytes(content)
    refused(r"^Invalid image '.*text\.png': it cannot be read \(.*\)\.$", net, tmp_path)


def test_link_to_nothing_is_named(net, tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    refused(r"^Invalid image '.*link\.png': it cannot be read", net, tmp_path)


def test_decompression_bomb_is_named(net, tmp_path, monkeypatch):
    plain(RED, (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    refused(r"^Invalid image '.*bomb\.png': it cannot be read \(Image size \(10000 pixels\) exceeds limit", net, tmp_path)


@pytest.mark.parametrize("mode, colour", [("I;16", 40_000), ("I", 40_000), ("F", 0.5)])
def test_more_than_eight_bits_are_refused(net, tmp_path, mode, colour):
    """Pillow would clip them to 255 without a word."""
    name = "deep.png" if mode == "I;16" else "deep.tif"
    plain(colour, mode=mode).save(tmp_path / name)
    refused(rf"^Invalid image '.*{name}': it cannot be read \(it has more than 8 bits per channel, expected 8\)\.$", net, tmp_path)


# --- labels from a file -----------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(folders):
    def write(text: str):
        (folders / "labels.csv").write_text(text)
        return folders, folders / "labels.csv"

    return write


@pytest.mark.parametrize(
    "text",
    [
        "file,label\ncat/1.png,7\nape/9.png,0\nother.png,3\n",
        "label,author,file\n7,me,cat/1.png\n0,you,ape/9.png\n",
        "\ufefffile,label\r\ncat/1.png,7.0\r\nape/9.png,0\r\n",
    ],
)
def test_labels_from_csv(net, labelled, text):
    folder, labels = labelled(text)
    images = load_images(net, folder, labels)
    assert images.labels == [0, 7, None]
    assert all(label is None or type(label) is int for label in images.labels)
    assert load_images(net, folder, labels, limit=2).labels == [0, 7]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "name,label\ncat/1.png,7\n",
        "file,class\ncat/1.png,7\n",
        "file;label\ncat/1.png;7\n",
        "file,label\ncat/1.png,cat\n",
        "file,label\ncat/1.png,\n",
        "file,label\ncat/1.png,1.5\n",
        "file,label\ncat/1.png,99999999999999999999\n",
        "file,label\ncat/1.png,1\nape/9.png,1,2,3\n",
    ],
)
def test_labels_csv_without_its_columns(net, labelled, text):
    refused(r"^Invalid file '.*labels\.csv'\. Expected the columns file and label, label a whole number\.$", net, *labelled(text))


def test_binary_labels(net, folders):
    (folders / "labels.csv").write_bytes(b"file,label\n\xff\xfe,1\n")
    refused(r"^Invalid file '.*labels\.csv'", net, folders, folders / "labels.csv")


@pytest.mark.parametrize("label", [10, -1])
def test_labels_that_are_no_class(net, labelled, label):
    text = f"file,label\ncat/1.png,3\nape/9.png,{label}\n"
    refused(r"^Invalid file '.*labels\.csv'\. Expected labels from 0 to 9\. Received -?\d+ to \d+\.$", net, *labelled(text))


def test_labels_of_other_images(net, labelled):
    refused(r"^Invalid file '.*labels\.csv'\. Expected labels of the images", net, *labelled("file,label\n1.png,7\n"))


@pytest.mark.parametrize("name", ["missing.csv", "cat"])
def test_missing_labels(net, folders, name):
    refused("^Invalid value for `labels`: '.*'. Expected an existing CSV file", net, folders, folders / name)


# --- bundled sets -----------------------------------------------------------------------------------------------------


def test_bundled_cifar10():
    net = network((32, 32, 3), architecture=ZOO["cifar10"])
    with np.load(models_folder() / "data" / "cifar10" / "images.npz") as data:
        pixels, labels, index = data["images"], data["labels"], data["index"]
    images = load_images(net)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.inputs, pixels / np.float32(255))
    assert images.labels == labels.tolist() and images.names[:2] == [f"cifar10-test-{i:05d}" for i in index[:2]]
    assert images.source == "bundled CIFAR-10 test images, preprocessing 0-1"
    assert load_images(net, limit=7).names == images.names[:7]


def test_bundled_cifar10_for_an_unknown_small_network():
    images = load_images(network((8, 8, 3), classes=4), limit=5)
    assert images.pixels.shape == (5, 8, 8, 3)
    # the network's four classes are not CIFAR-10's
    assert images.labels == [None] * 5


@pytest.mark.parametrize("architecture, first", [(None, 0), (ZOO["vgg16"], -103.939)])
def test_bundled_pictures_for_a_large_network(architecture, first):
    images = load_images(network((224, 224, 3), classes=1000, architecture=architecture), limit=4)
    assert images.names == ["astronaut_224.jpg", "cat_224.jpg", "cat_dog_224.jpg", "chelsea_224.jpg"]
    assert images.labels == [None, 283, 283, None]
    with Image.open(models_folder() / "data" / "imagenet" / "cat_224.jpg") as image:
        pixels = np.asarray(image)
    np.testing.assert_array_equal(images.pixels[1], pixels)
    # blue first under Caffe's preprocessing, red first under 0-1
    value = pixels[0, 0, 2] + first if architecture else pixels[0, 0, 0] / 255
    np.testing.assert_allclose(images.inputs[1, 0, 0, 0], value, rtol=1e-5)


def test_bundled_pictures_are_labelled_for_imagenet_classes_only():
    assert set(load_images(network((224, 224, 3), classes=10)).labels) == {None}


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 4)])
def test_network_that_takes_no_colours(shape, folders):
    refused(r"^Invalid value for `model`: 'tiny' takes inputs of shape \(8, 8, \d\)\. Expected \(height, w", network(shape), folders)


def test_network_that_takes_no_pictures(folders):
    from tensorflow.keras import Sequential, layers

    net = Network(Sequential([layers.Input((5,)), layers.Dense(2)]), "flat")
    refused(r"takes inputs of shape \(5,\)\. Expected \(height, width, 3\)", net, folders)
