"""wel.images.load: pixels by hand, labels by folder and by file, pictures that are none, arrays and lists."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from conftest import randomized
from PIL import Image, ImageCms

import wel
from wel.errors import WelError
from wel.images.load import load_images
from wel.images.preprocessing import guess_preprocessing, parse_preprocessing
from wel.networks.network import Network
from wel.networks.zoo import ZOO
from wel.system.files import models_folder

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
    inputs = parse_preprocessing("0-1")(pixels)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, [[[[0, 51 / 255, 1]]]], rtol=1e-7)


def test_caffe():
    # red 10, green 20, blue 30: blue first, 30 - 103.939, 20 - 116.779, 10 - 123.68
    inputs = parse_preprocessing("caffe")(np.array([[[[10, 20, 30]]]], dtype="uint8"))
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
    assert images.source == f"directory {tmp_path}, preprocessing scale:0-1"
    assert images.preprocessing == guess_preprocessing(net) and "mere default" in images.preprocessing.guess
    assert images.left_out == {"notes.txt": "by its name it is no picture"}
    assert images.sha256 == [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in images.names]


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
    images = load_images(network(classes=3), folders)
    assert images.names == ["ape/9.png", "cat/1.png", "cat/2.png"]
    assert images.labels == [0, 2, 2]
    # three folders of ten classes: which three nobody knows
    assert load_images(net, folders).labels == [None] * 3


@pytest.mark.parametrize("renamed, classes, labels", [
    (dict(ape="7", bee="3", cat="0"), 10, {"7": 7, "0": 0}),
    (dict(ape="00007", bee="00003", cat="00010"), 43, {"00007": 7, "00010": 10}),
    (dict(ape="2", bee="3", cat="1"), 3, {"2": 1, "1": 0}),  # 3 is no class: in alphabetical order
    (dict(ape="2", bee="3", cat="10"), 3, {"2": 1, "10": 0}),
    (dict(ape="2021", bee="2020", cat="2022"), 10, None),
    (dict(ape="1", bee="b", cat="0"), 3, {"1": 1, "0": 0}),
])  # fmt: skip
def test_folders_with_numbers(folders, renamed, classes, labels):
    for old, new in renamed.items():
        (folders / old).rename(folders / new)
    images = load_images(network(classes=classes), folders)
    expected = [labels[name.partition("/")[0]] for name in images.names] if labels else [None] * 3
    assert images.labels == expected


@pytest.mark.parametrize("renamed, labels", [
    (dict(ape="ape", cat="cat"), [0, 1, 1]),
    (dict(ape="1", cat="0"), [0, 0, 1]),
    (dict(ape="1", cat="2"), [0, 1, 1]),  # 2 is no class: in alphabetical order
])  # fmt: skip
def test_two_folders_for_one_logit(folders, renamed, labels):
    one = network(classes=1)
    assert load_images(one, folders).labels == [None] * 3  # three folders
    (folders / "bee").rmdir()
    for old, new in renamed.items():
        (folders / old).rename(folders / new)
    assert load_images(one, folders).labels == labels


def test_folders_of_folders_are_no_classes(net, folders):
    (folders / "cat" / "old").mkdir()
    plain(RED).save(folders / "cat" / "old" / "3.png")
    three = network(classes=3)
    assert load_images(three, folders).labels == [None] * 4
    # the same whatever the limit
    assert load_images(three, folders, limit=1).labels == [None]


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


def test_folder_that_is_called_like_a_picture(tmp_path):
    (tmp_path / "folder.png").mkdir()
    plain(RED).save(tmp_path / "folder.png" / "a.png")
    (tmp_path / "other").mkdir()
    images = load_images(network(classes=2), tmp_path)
    assert images.names == ["folder.png/a.png"] and images.labels == [0]


def test_missing_directory(net, tmp_path):
    refused("^Invalid value for `images`: '.*'. Expected an existing directory or file", net, tmp_path / "missing")


def test_links_to_directories_are_followed_once(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for path in (photos / "ape" / "1.png", elsewhere / "2.png"):
        path.parent.mkdir(parents=True)
        plain(RED).save(path)
    (photos / "bee").symlink_to(elsewhere)
    (photos / "ape" / "loop").symlink_to(photos / "ape")
    (photos / "up").symlink_to(tmp_path)
    (elsewhere / "back").symlink_to(photos)
    assert load_images(network(), photos).names == ["ape/1.png", "bee/2.png"]


@pytest.mark.parametrize("name", ["Größe ß 図.png", "a b\tc.png", "a\nb.png", "%s{0}.png", "-x.png"])
def test_odd_names(net, tmp_path, name):
    plain(RED).save(tmp_path / name)
    assert load_images(net, tmp_path).names == [name]


def test_name_that_is_no_utf8(net, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        plain(RED).save(file, "png")
    assert load_images(net, tmp_path).names == ["caf\\xe9.png"]


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


@pytest.mark.parametrize("name, mode, colour", [("deep.tif", "I", 40_000), ("deep.tif", "F", 0.5)])
def test_more_than_sixteen_bits_are_refused(net, tmp_path, name, mode, colour):
    """Pillow would clip them to 255 without a word."""
    plain(colour, mode=mode).save(tmp_path / name)
    refused(rf"^Invalid image '.*{name}': it cannot be read \(it has more than 8 bits per channel, expected 8, or 16", net, tmp_path)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bits_of_grey_become_eight(net, tmp_path, name):
    # v / 257: 65535 -> 255, 40000 -> 155.6, 128 -> 0.498, 129 -> 0.502
    Image.fromarray(np.array([[65535, 40000], [128, 129]], "uint16")).save(tmp_path / name)
    assert pixels_of(net, tmp_path) == [[[[255] * 3, [156] * 3], [[0] * 3, [1] * 3]]]


def test_twelve_bits_in_sixteen(net, tmp_path):
    """By the standard a PNG file uses all of its bits; TIFF files from cameras and scanners may not."""
    dark = Image.fromarray(np.full((2, 2), 4095, "uint16"))
    dark.save(tmp_path / "dark.png")
    assert pixels_of(net, tmp_path) == [[[[16] * 3] * 2] * 2]  # 4095 / 257 = 15.93
    dark.save(tmp_path / "dark.tif")
    refused(r"dark\.tif': it cannot be read \(its 16-bit values end at 4095", net, tmp_path)


def test_inverted_sixteen_bits(net, tmp_path):
    Image.fromarray(np.full((2, 2), 60000, "uint16")).save(tmp_path / "negative.tif", tiffinfo={262: 0})
    refused(r"negative\.tif': it cannot be read", net, tmp_path)


def test_cmyk_and_first_frame_and_colour_profile(net, tmp_path):
    plain((0, 255, 255, 0), mode="CMYK").save(tmp_path / "print.tif")
    plain(GREEN).save(tmp_path / "film.gif", save_all=True, append_images=[plain(RED), plain(BLUE)])
    plain((10, 20, 30)).save(tmp_path / "profile.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    assert [image[0][0] for image in pixels_of(net, tmp_path)] == [list(GREEN), list(RED), [10, 20, 30]]


def test_broken_exif_does_not_matter(net, tmp_path):
    plain(WHITE).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*broken")
    assert pixels_of(net, tmp_path) == [[[list(WHITE)] * 2] * 2]


def test_only_formats_that_pillow_reads_itself(net, tmp_path):
    """For PostScript it would start another program."""
    plain(RED, (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    refused(r"a\.jpg': it cannot be read \(no known image format\)", net, tmp_path)


def test_pipe_is_not_waited_for(net, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refused(r"pipe\.png': it cannot be read \(it is no regular file\)", net, tmp_path)


# --- going on ---------------------------------------------------------------------------------------------------------


def test_keep_going(net, tmp_path):
    for name in ("b.png", "d.png", "f.png"):
        plain(RED).save(tmp_path / name)
    truncated(tmp_path / "a.jpg")
    (tmp_path / "c.png").write_text("text")
    (tmp_path / "e.png").write_bytes(b"")
    (tmp_path / "g.png").symlink_to(tmp_path / "g.png")
    (tmp_path / "labels.csv").write_text("file,label\nb.png,1\nd.png,2\na.jpg,3\n")
    images = load_images(net, tmp_path, tmp_path / "labels.csv", keep_going=True)
    assert (images.names, images.labels) == (["b.png", "d.png", "f.png"], [1, 2, None])
    assert len(images.pixels) == len(images.inputs) == len(images.sha256) == 3
    assert images.left_out == {
        "a.jpg": "it cannot be read (image file is truncated (128 bytes not processed))",
        "c.png": "it cannot be read (no known image format)",
        "e.png": "it cannot be read (it is empty)",
        "g.png": "it cannot be read (Too many levels of symbolic links)",
    }
    # as many as asked for, broken ones not counted
    assert load_images(net, tmp_path, limit=2, keep_going=True).names == ["b.png", "d.png"]


def test_keep_going_without_a_single_picture(net, tmp_path):
    (tmp_path / "a.png").write_text("text")
    (tmp_path / "b.png").write_text("text")
    refused(r"Expected a picture that can be read among 2; of 'a\.png': it cannot be read", net, tmp_path, keep_going=True)


def test_large_picture_below_pillows_limit_is_read_without_a_warning(net, tmp_path, monkeypatch, recwarn):
    plain(RED, (100, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)  # Pillow warns from here on, refuses from twice as many
    assert pixels_of(net, tmp_path) == [[[list(RED)] * 2] * 2]
    assert not recwarn.list


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


def test_one_logit_has_two_labels(folders, tmp_path, pixels):
    one = network(classes=1)
    (folders / "labels.csv").write_text("file,label\ncat/1.png,1\nape/9.png,0\n")
    assert load_images(one, folders, folders / "labels.csv").labels == [0, 1, None]
    assert load_images(one, folders / "labels.csv").labels == [1, 0]
    np.savez(tmp_path / "some.npz", images=pixels, labels=np.array([0, 1, 1, 0, 1]))
    assert load_images(one, tmp_path / "some.npz").labels == [0, 1, 1, 0, 1]
    (folders / "labels.csv").write_text("file,label\ncat/1.png,2\n")
    refused(r"Expected labels from 0 to 1\. Received 2 to 2\.$", one, folders, folders / "labels.csv")


def test_labels_of_other_images(net, labelled):
    refused(r"^Invalid file '.*labels\.csv'\. Expected labels of the images", net, *labelled("file,label\n1.png,7\n"))


@pytest.mark.parametrize("name", ["missing.csv", "cat"])
def test_missing_labels(net, folders, name):
    refused("^Invalid value for `labels`: '.*'. Expected an existing CSV file", net, folders, folders / name)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pixels() -> np.ndarray:
    """Five pictures of 2×2 pixels."""
    return np.random.default_rng(3).integers(0, 256, (5, 2, 2, 3), dtype="uint8")


@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_in_an_array(net, tmp_path, pixels, order):
    np.save(tmp_path / "some.npy", np.asarray(pixels, order=order))
    images = load_images(net, tmp_path / "some.npy")
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.inputs, pixels / np.float32(255))
    assert images.names == [f"some-{i:05d}" for i in range(5)] and images.labels == [None] * 5
    assert images.sha256 == [hashlib.sha256(row.tobytes()).hexdigest() for row in pixels]
    assert images.source == f"array {tmp_path / 'some.npy'}, preprocessing scale:0-1" and not images.left_out
    np.testing.assert_array_equal(load_images(net, tmp_path / "some.npy", limit=2, preprocessing="none").inputs, pixels[:2])


@pytest.mark.parametrize("key, save", [("images", np.savez), ("inputs", np.savez_compressed), ("x", np.savez), ("x_test", np.savez)])
def test_named_arrays(net, tmp_path, pixels, key, save):
    names = ["a", "b", "c", "d", "ü"]
    label = "y_test" if key == "x_test" else "labels"
    save(tmp_path / "some.npz", **{key: pixels, label: np.array([[3], [1], [4], [1], [9]]), "names": np.array(names), "other": pixels[:2]})
    images = load_images(net, tmp_path / "some.npz", limit=4)
    np.testing.assert_array_equal(images.pixels, pixels[:4])
    assert (images.names, images.labels) == (names[:4], [3, 1, 4, 1]) and type(images.labels[0]) is int
    (tmp_path / "labels.csv").write_text("file,label\nb,0\n")
    assert load_images(net, tmp_path / "some.npz", tmp_path / "labels.csv").labels == [None, 0, None, None, None]


def test_single_array_in_npz(net, tmp_path, pixels):
    np.savez(tmp_path / "some.npz", pixels, y=np.arange(5, dtype="uint8"))
    assert load_images(net, tmp_path / "some.npz").labels == [0, 1, 2, 3, 4]


def test_pixels_of_other_sizes_and_channels(tmp_path, net):
    # as pictures: six columns lose two on either side; opacity is laid on white; grey becomes colour
    wide = np.zeros((1, 2, 6, 3), "uint8")
    wide[..., 2:4, :] = GREEN
    np.save(tmp_path / "wide.npy", wide)
    assert load_images(net, tmp_path / "wide.npy").pixels.tolist() == [[[list(GREEN)] * 2] * 2]
    np.save(tmp_path / "clear.npy", np.full((1, 2, 2, 4), (255, 0, 0, 0), "uint8"))
    assert load_images(net, tmp_path / "clear.npy").pixels.tolist() == [[[list(WHITE)] * 2] * 2]
    for shape in ((1, 5, 5), (1, 5, 5, 1)):
        np.save(tmp_path / "grey.npy", np.full(shape, 77, "uint8"))
        assert load_images(net, tmp_path / "grey.npy").pixels.tolist() == [[[[77] * 3] * 2] * 2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f4"])
def test_inputs_in_an_array(net, tmp_path, pixels, dtype):
    inputs = (pixels / 64 - 2).astype(dtype)  # multiples of 1/64, exact in all of them
    np.save(tmp_path / "some.npy", inputs)
    images = load_images(net, tmp_path / "some.npy")
    assert images.inputs.dtype == np.float32
    np.testing.assert_array_equal(images.inputs, inputs.astype("float32"))
    assert (images.preprocessing.spec, images.preprocessing.formula) == ("none", "none (given as inputs)")
    assert images.preprocessing.guess is None
    assert load_images(net, tmp_path / "some.npy", preprocessing="none").preprocessing == images.preprocessing
    refused("^Invalid value for `preprocess`: 'tf'. Expected none: an array of floats", net, tmp_path / "some.npy", preprocessing="tf")


def test_inputs_are_shown_stretched(net, tmp_path):
    inputs = np.array([[[[-1, 0, 1]] * 2] * 2, [[[5, 5, 5]] * 2] * 2], "float32")
    np.save(tmp_path / "some.npy", inputs)
    # (x + 1) / 2 · 255; one that is the same everywhere becomes black
    assert load_images(net, tmp_path / "some.npy").pixels[:, 0, 0].tolist() == [[0, 127, 255], [0, 0, 0]]


@pytest.mark.parametrize("taken, stored", [
    ((2, 2, 1), (2, 2)), ((2, 2), (2, 2, 1)), ((4,), (2, 2)), ((4,), (2, 2, 1)), ((3, 5), (3, 5)), ((8, 8, 4), (8, 8, 4)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_arrays_for_any_input(tmp_path, taken, stored, dtype):
    values = (np.arange(2 * np.prod(stored)) % 250).reshape(2, *stored).astype(dtype)
    np.save(tmp_path / "some.npy", values)
    images = load_images(flat(taken), tmp_path / "some.npy")
    scale = np.float32(255 if dtype == "uint8" else 1)
    np.testing.assert_array_equal(images.inputs, values.reshape(2, *taken).astype("float32") / scale)
    assert images.pixels.shape == (2, *(taken[:2] if len(taken) == 2 or taken[-1] == 1 else (0, 0)), 3)


@pytest.mark.parametrize("taken, values", [
    ((2, 2, 3), np.zeros((5, 2, 2, 3), "int64")),
    ((2, 2, 3), np.zeros((5, 2, 2, 3), bool)),
    ((2, 2, 3), np.zeros((5, 2, 2, 3), complex)),
    ((2, 2, 3), np.zeros((5, 4, 4, 3))),
    ((2, 2, 3), np.zeros((2, 2, 3), "uint8")),  # one picture, or two of 2×3 grey pixels
    ((2, 2, 3), np.zeros((5, 2, 2, 2), "uint8")),
    ((2, 2, 3), np.zeros((5, 0, 2, 3), "uint8")),
    ((2, 2, 3), np.zeros(5, "uint8")),
    ((2, 2, 3), np.array(["a", "b"])),
    ((4,), np.zeros((5, 5), "uint8")),
    ((4,), np.zeros((5, 5))),
])  # fmt: skip
def test_arrays_that_do_not_fit(tmp_path, taken, values):
    np.save(tmp_path / "some.npy", values)
    words = r"^Invalid file '.*some\.npy': it holds .* of shape .*Expected uint8 pixels.*, or floats as the network takes them"
    refused(words, flat(taken), tmp_path / "some.npy")


def test_picture_as_large_as_a_bomb(net, tmp_path):
    with open(tmp_path / "bomb.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1, 10**6, 10**6, 3)})
    refused("bomb.npy': it holds uint8 of shape", net, tmp_path / "bomb.npy")


def test_more_images_than_memory(net, tmp_path):
    path = tmp_path / "many.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2, 2, 3)})
        file.write(np.arange(24, dtype="float32").tobytes())
    refused(r"^Invalid value for `images`: '1000000000000 images of shape .*say so with `limit`", net, path)
    # no more is read than asked for
    np.testing.assert_array_equal(load_images(net, path, limit=2).inputs.ravel(), np.arange(24))
    refused(r"many\.npy': it cannot be read as \.npy \(it ends too early\)", net, path, limit=3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_inputs_that_are_not_finite(net, tmp_path, value):
    values = np.zeros((2, 2, 2, 3))
    values[1, 0, 0, 0] = value
    np.save(tmp_path / "some.npy", values)
    refused(r"some\.npy': its inputs hold NaN or infinite values", net, tmp_path / "some.npy")
    assert len(load_images(net, tmp_path / "some.npy", limit=1).names) == 1


@pytest.mark.parametrize("others, words", [
    (dict(labels=np.arange(4)), r"5 images and 4 labels\. Expected one each"),
    (dict(labels=np.arange(5.0)), r"Expected labels as one whole number per image\. Received float64"),
    (dict(labels=np.eye(5, dtype=int)), r"Expected labels as one whole number per image"),
    (dict(labels=np.arange(6, 11)), r"Expected labels from 0 to 9\. Received 6 to 10"),
    (dict(labels=np.array(list("abcde"))), r"Expected labels as one whole number"),
    (dict(labels=np.array(3)), r"labels is a single number"),
    (dict(names=np.array(list("abcda"))), r"Expected names as text, a different one for each image"),
    (dict(names=np.arange(5)), r"Expected names as text"),
])  # fmt: skip
def test_what_lies_beside_images(net, tmp_path, pixels, others, words):
    np.savez(tmp_path / "some.npz", images=pixels, **others)
    refused(rf"^Invalid file '.*some\.npz'.*{words}", net, tmp_path / "some.npz")


def test_arrays_without_images(net, tmp_path, pixels):
    np.savez(tmp_path / "two.npz", a=pixels, b=pixels)
    refused(r"two\.npz': it holds \['a', 'b'\]\. Expected one of images, inputs, x, x_test, or a single array", net, tmp_path / "two.npz")
    np.savez(tmp_path / "empty.npz")
    refused(r"empty\.npz': it holds \[\]\. Expected", net, tmp_path / "empty.npz")
    np.save(tmp_path / "none.npy", pixels[:0])
    refused(r"none\.npy': it holds no images", net, tmp_path / "none.npy")


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


@pytest.mark.parametrize("shape", [(8, 8, 2), (8, 8, 4)])
def test_network_that_takes_no_colours(shape, folders):
    refused(r"^Invalid value for `model`: 'tiny' takes inputs of shape \(8, 8, \d\)\. Expected \(height, w", network(shape), folders)
    refused(r"^Invalid value for `model`: 'tiny' takes inputs of shape \(8, 8, \d\)\. Expected \(height, w", network(shape))


def test_network_that_takes_no_pictures(folders):
    from tensorflow.keras import Sequential, layers

    net = Network(Sequential([layers.Input((5,)), layers.Dense(2)]), "flat")
    refused(r"takes inputs of shape \(5,\)\. Expected \(height, width, 3\).*\.npy or \.npz", net, folders)


# --- networks with one channel ----------------------------------------------------------------------------------------


def flat(shape) -> Network:
    from tensorflow.keras import Sequential, layers

    return Network(Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(10)]), "flat")


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 2)])
def test_luminance(tmp_path, shape):
    # 0.299 R + 0.587 G + 0.114 B: 76.2, 149.7, 29.1, and 128 of grey itself
    picture([RED, GREEN], [BLUE, GREY]).save(tmp_path / "a.png")
    images = load_images(flat(shape), tmp_path)
    assert images.pixels.tolist() == [[[[76] * 3, [150] * 3], [[29] * 3, [128] * 3]]]
    assert images.inputs.shape == (1, *shape) and images.inputs.dtype == np.float32
    np.testing.assert_array_equal(images.inputs.ravel(), np.array([76, 150, 29, 128], "float32") / np.float32(255))


def test_bundled_images_for_one_channel():
    images = load_images(network((28, 28, 1), classes=10), limit=2)
    assert images.inputs.shape == (2, 28, 28, 1) and images.labels == [None, None]
    refused("takes inputs of shape", flat((28, 28)))


# --- preprocessing that is given --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preprocessing", ["tf", parse_preprocessing("tf")])
def test_preprocessing_that_is_given(net, tmp_path, preprocessing):
    plain((0, 51, 255)).save(tmp_path / "a.png")
    images = load_images(net, tmp_path, preprocessing=preprocessing)
    np.testing.assert_allclose(images.inputs[0, 0, 0], [-1, -0.6, 1], rtol=1e-6)
    assert images.preprocessing == parse_preprocessing("tf") and images.source.endswith("preprocessing tf")


def test_preprocessing_that_does_not_do(net, folders):
    refused("^Invalid value for `preprocess`: 'imagenet'", net, folders, preprocessing="imagenet")
    refused("^Invalid value for `preprocess`: 'caffe' for pixels of shape", network((8, 8, 1)), folders, preprocessing="caffe")


# --- files and lists --------------------------------------------------------------------------------------------------


def test_one_file(net, folders):
    images = load_images(net, folders / "cat" / "1.png")
    assert (images.names, images.labels) == (["1.png"], [None])
    assert images.source == f"file {folders / 'cat' / '1.png'}, preprocessing scale:0-1"
    assert load_images(net, str(folders / "cat" / "1.png")).names == ["1.png"]


def test_sequence_of_files(net, folders):
    files = [folders / "cat" / "2.png", str(folders / "ape" / "9.png"), folders / "cat" / "1.png"]
    images = load_images(net, files)
    assert (images.names, images.source) == (["cat/2.png", "ape/9.png", "cat/1.png"], "3 files, preprocessing scale:0-1")
    assert load_images(net, files, limit=1).names == ["cat/2.png"]
    assert load_images(net, [*files, folders / "cat"], keep_going=True).left_out == {"cat": "it cannot be read (it is no regular file)"}
    refused(r"^Invalid value for `images`: \[\]\. Expected one file or more", net, [])


def test_file_without_an_ending(net, tmp_path):
    plain(GREEN).save(tmp_path / "photo", "png")
    assert load_images(net, tmp_path / "photo").pixels[0, 0, 0].tolist() == list(GREEN)


def test_list(net, folders):
    path = folders / "list.csv"
    path.write_text("label,file,who\n7,cat/2.png,me\n,ape/9.png,you\n2.0,cat/1.png,\n")
    images = load_images(net, path)
    assert images.names == ["cat/2.png", "ape/9.png", "cat/1.png"]
    assert images.labels == [7, None, 2] and {type(label) for label in images.labels} == {int, type(None)}
    path.write_text(f"file\ncat/2.png\n{folders / 'ape' / '9.png'}\nmissing.png\n")
    images = load_images(net, path, keep_going=True)
    assert images.labels == [None, None] and images.names[0] == "cat/2.png" and images.source.startswith(f"list {path}, ")
    assert images.left_out == {"missing.png": "it cannot be read (No such file or directory)"}
    refused(r"missing\.png': it cannot be read \(No such file", net, path)


@pytest.mark.parametrize("text", ["", "name\na.png\n", "file\n", "file,label\ncat/1.png,cat\n", "file\na.png\na.png\n", "file,label\n,1\n"])
def test_list_that_is_none(net, folders, text):
    (folders / "list.csv").write_text(text)
    refused(r"^Invalid file '.*list\.csv'\. Expected the column file, different files in it", net, folders / "list.csv")


def test_a_list_is_none_for_a_network_that_takes_no_pictures(tmp_path):
    from tensorflow.keras import Sequential, layers

    (tmp_path / "table.csv").write_text("a,b\n1,2\n")  # whose columns are none of a list's, but that is not why
    net = wel.load(Sequential([layers.Input((2,)), layers.Dense(3)]))
    refused(r"takes inputs of shape \(2,\)\. Expected .* others take a \.npy or \.npz file", net, tmp_path / "table.csv")


def test_list_with_labels_that_are_no_class(net, folders):
    (folders / "list.csv").write_text("file,label\ncat/1.png,10\n")
    refused(r"list\.csv'\. Expected labels from 0 to 9\. Received 10 to 10", net, folders / "list.csv")


def test_labels_match_however_letters_are_stored(net, tmp_path):
    plain(RED).save(tmp_path / unicodedata.normalize("NFD", "café.png"))
    (tmp_path / "labels.csv").write_text(unicodedata.normalize("NFC", "file,label\ncafé.png,4\n"), "utf-8")
    assert load_images(net, tmp_path, tmp_path / "labels.csv").labels == [4]


@pytest.mark.parametrize("limit", [1, 3, None])
def test_bundled_pictures_of_which_the_first_has_no_label(limit):
    net = wel.load("resnet50", weights="random")
    found = wel.load_images(net, limit=limit)
    known = {"cat_224.jpg": 283, "cat_dog_224.jpg": 283, "dog_224.jpg": 156, "elephant_224.jpg": 386, "zebra_224.jpg": 340}
    known["zebra_elephant_224.jpg"] = 340
    assert found.names[0] == "astronaut_224.jpg" and found.labels == [known.get(name) for name in found.names]
