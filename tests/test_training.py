"""wel.training: batches by hand, half precision, and a training that is killed and goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from wel import __version__
from wel import training as train
from wel.errors import WelError
from wel.images.cifar10 import Cifar10, Split
from wel.keras.two import private
from wel.networks.zoo import ZOO
from wel.system.files import file_sha256
from wel.training import Recipe, batches, save_half_precision

# Keras's, on the generator that keras.utils.set_random_seed makes
pytestmark = pytest.mark.filterwarnings("ignore:non-integer arguments to randrange:DeprecationWarning")

RECIPE = Recipe("adamw", epochs=3, learning_rate=0.02, weight_decay=0.01, label_smoothing=0.05, batch_size=8, warmup_epochs=1, shift=1)


def numbered(count: int, size: int = 3) -> Split:
    """Images that carry their number in red, their row in green and their column in blue; the label is the number modulo 10."""
    images = np.empty((count, size, size, 3), "uint8")
    images[..., 0] = np.arange(count)[:, None, None]
    images[..., 1] = np.arange(size)[:, None]
    images[..., 2] = np.arange(size)
    return Split(images, np.arange(count) % 10)


def one_epoch(data: Split, seed=(0, 0), **changes) -> tuple[np.ndarray, np.ndarray]:
    """All batches of an epoch as pixels (batches, b, h, w, 3) and one-hot labels."""
    x, y = zip(*batches(data, 10, replace(RECIPE, **changes), np.random.default_rng(seed)))
    assert all(part.dtype == np.float32 for part in (*x, *y))
    return np.rint(255 * np.stack(x)).astype(int), np.stack(y)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_shapes_and_range():
    x, y = next(batches(numbered(20, size=32), 10, replace(RECIPE, shift=4), np.random.default_rng(0)))
    assert x.shape == (8, 32, 32, 3) and y.shape == (8, 10)
    assert 0 <= x.min() and x.max() == np.float32(31 / 255)


def test_every_image_at_most_once_with_its_label():
    x, y = one_epoch(numbered(45))
    assert x.shape == (5, 8, 3, 3, 3)  # 45 = 5·8 + 5, the rest is left out
    numbers = x[..., 0].reshape(40, 9)
    assert (numbers == numbers[:, :1]).all()
    assert len(set(numbers[:, 0])) == 40
    np.testing.assert_array_equal(y.reshape(40, 10), np.eye(10)[numbers[:, 0] % 10])


def test_what_is_left_out_changes_with_the_epoch():
    left = [frozenset(range(45)) - set(one_epoch(numbered(45), seed=(0, epoch))[0][..., 0].ravel()) for epoch in range(4)]
    assert all(len(out) == 5 for out in left) and len(set(left)) == 4


def test_seed_and_epoch_decide():
    data = numbered(40)
    first, again = one_epoch(data, seed=(3, 1)), one_epoch(data, seed=(3, 1))
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one, other)
    for seed in ((3, 2), (4, 1)):
        assert (one_epoch(data, seed=seed)[0][..., 0] != first[0][..., 0]).mean() > 0.8


# rows (or columns) of a 3×3 image that is moved by -1, 0 or 1 and filled up by reflection: 1 0 1 2 1 with one row more at each end
MOVED = {(1, 0, 1), (0, 1, 2), (1, 2, 1)}


def test_shift_and_flip_by_hand():
    x = one_epoch(numbered(240))[0].reshape(240, 3, 3, 3)
    rows, columns = x[..., 1], x[..., 2]
    # one row for all columns, one column for all rows
    assert (rows == rows[:, :, :1]).all() and (columns == columns[:, :1]).all()
    seen_rows = {tuple(row) for row in rows[:, :, 0]}
    seen_columns = {tuple(column) for column in columns[:, 0]}
    assert seen_rows == MOVED
    # flipped: the other way round; moved by ±1 the row 1 0 1 is its own mirror
    assert seen_columns == MOVED | {column[::-1] for column in MOVED} == MOVED | {(2, 1, 0)}
    # where nothing is moved aside, which is 1/3, half are flipped: 40 of 240, standard deviation √(240/6·5/6) = 5.8
    assert abs((columns[:, 0] == (2, 1, 0)).all(1).sum() - 40) < 4 * 5.8
    assert abs((rows[:, :, 0] == (0, 1, 2)).all(1).sum() - 80) < 4 * 7.3  # √(240·1/3·2/3) = 7.3


def test_without_shift_images_are_flipped_only():
    x = one_epoch(numbered(40), shift=0)[0].reshape(40, 3, 3, 3)
    assert (x[..., 1] == np.arange(3)[:, None]).all()
    assert {tuple(column) for column in x[:, 0, :, 2]} == {(0, 1, 2), (2, 1, 0)}


def test_images_themselves_are_untouched():
    data = numbered(40)
    before = data.images.copy()
    one_epoch(data)
    np.testing.assert_array_equal(data.images, before)


# --- half precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sequential", "nested", "residual"])
def test_half_precision_round_trip(name, request, tmp_path):
    from tensorflow import keras

    model = request.getfixturevalue(name)
    save_half_precision(model, tmp_path / "half.h5")
    loaded = keras.models.clone_model(model)
    loaded.load_weights(tmp_path / "half.h5")
    weights = list(zip(model.get_weights(), loaded.get_weights()))
    for original, read in weights:
        np.testing.assert_array_equal(read, original.astype("float16").astype("float32"))
    assert any((original != read).any() for original, read in weights)
    assert [path.name for path in tmp_path.iterdir()] == ["half.h5"]


def test_half_precision_file(sequential, tmp_path):
    save_half_precision(sequential, tmp_path / "half.h5")
    found = {}
    with h5py.File(tmp_path / "half.h5") as file:
        file.visititems(lambda key, item: found.update({key: (item.dtype, item.compression)} if hasattr(item, "shape") else {}))
        assert list(file.attrs["layer_names"]) == [layer.name for layer in sequential.layers]
    assert len(found) == len(sequential.weights) and set(found.values()) == {(np.dtype("float16"), "gzip")}


# --- training ---------------------------------------------------------------------------------------------------------


def build_tiny(input_shape, classes):
    from tensorflow.keras import Sequential, layers

    features = [layers.Conv2D(4, 3, strides=4, name="conv"), layers.BatchNormalization(name="bn"), layers.ReLU(name="relu")]
    head = [layers.Flatten(name="flatten"), layers.Dense(classes, name="dense")]
    return Sequential([layers.Input(input_shape), *features, *head], name="tiny")


def bright(count: int, seed: int) -> Split:
    """Images whose class is their brightness, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    noise = rng.integers(0, 12, (count, 32, 32, 3))
    return Split((24 * labels[:, None, None, None] + noise).astype("uint8"), labels)


@pytest.fixture
def data():
    return Cifar10(bright(85, 1), bright(30, 2), "drawn")


@pytest.fixture
def epochs_begun(data, monkeypatch):
    """Trains a tiny network on few images; holds the seeds of the epochs that were begun."""
    begun = []

    def watched(split, classes, recipe, rng):
        begun.append(rng.bit_generator.seed_seq.entropy)
        return batches(split, classes, recipe, rng)

    for recipe in ("adamw", "sgd"):
        monkeypatch.setitem(train.RECIPES, recipe, replace(RECIPE, optimizer=recipe))
    monkeypatch.setattr(train, "architecture", lambda name: replace(ZOO["cifar10"], name=name, build=build_tiny))
    monkeypatch.setattr(train, "load_cifar10", lambda: data)
    monkeypatch.setattr(train, "batches", watched)
    yield begun
    private("_SEED_GENERATOR").generator = None  # what keras.utils.set_random_seed has set for the whole process


class Killed(BaseException):
    pass


def kill_in_epoch(monkeypatch, epoch: int, batch: int) -> None:
    """Training ends like a process that is killed, after some batches of an epoch (both from 0)."""
    whole = train.batches

    def cut(split, classes, recipe, rng):
        for number, pair in enumerate(whole(split, classes, recipe, rng)):
            if rng.bit_generator.seed_seq.entropy[1] == epoch and number == batch:
                raise Killed
            yield pair

    monkeypatch.setattr(train, "batches", cut)


def weights_in(path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda key, item: found.update({key: item[...]} if hasattr(item, "shape") else {}))
    return found


@pytest.mark.parametrize("recipe", ["adamw", "sgd"])
def test_interrupted_training_goes_on_to_the_same_weights(recipe, epochs_begun, tmp_path, monkeypatch):
    whole = train.train(recipe, tmp_path / "whole", seed=5)
    assert epochs_begun == [[5, 0], [5, 1], [5, 2]]
    with monkeypatch.context() as patched:
        kill_in_epoch(patched, epoch=1, batch=3)
        with pytest.raises(Killed):
            train.train(recipe, tmp_path / "parts", seed=5)
    assert not (tmp_path / "parts" / f"{recipe}.h5").exists()
    epochs_begun.clear()
    card = train.train(recipe, tmp_path / "parts", seed=5)
    assert epochs_begun == [[5, 1], [5, 2]]

    expected, found = (weights_in(tmp_path / folder / f"{recipe}.h5") for folder in ("whole", "parts"))
    assert expected.keys() == found.keys() and len(expected) == 8
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)
    volatile = {"training_minutes", "sha256"}
    assert {key: card[key] for key in card.keys() - volatile} == {key: whole[key] for key in whole.keys() - volatile}


def test_card_and_what_is_left(epochs_begun, data, tmp_path):
    card = train.train("adamw", tmp_path / "out", seed=1, epochs=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["adamw.h5", "card.json", "run.json"]
    assert json.loads((tmp_path / "out" / "card.json").read_text()) == card
    assert card["sha256"] == file_sha256(tmp_path / "out" / "adamw.h5")
    assert (card["network"], card["seed"], card["wel"], card["test_images"]) == ("adamw", 1, __version__, 30)
    assert card["data"] == "CIFAR-10 (drawn), 85 training images"
    assert card["command"] == "wel train adamw --seed 1 --epochs 2" and card["recipe"]["epochs"] == 2
    assert 0 < card["train_accuracy_augmented"] <= 1

    # the accuracy by hand: the share of images whose largest logit is the label
    model = build_tiny((32, 32, 3), 10)
    model.load_weights(tmp_path / "out" / "adamw.h5")
    right = model.predict(data.test.images / np.float32(255), verbose=0).argmax(1) == data.test.labels
    assert card["test_accuracy"] == train.accuracy("adamw", tmp_path / "out" / "adamw.h5", data.test) == round(right.mean(), 4)


def test_finished_training_is_not_repeated(epochs_begun, tmp_path):
    card = train.train("adamw", tmp_path, seed=1, epochs=1)
    epochs_begun.clear()
    before = (tmp_path / "adamw.h5").read_bytes()
    assert train.train("adamw", tmp_path, seed=1, epochs=1) == card
    assert epochs_begun == [] and (tmp_path / "adamw.h5").read_bytes() == before


@pytest.mark.parametrize("other, differs", [({"seed": 2}, "seed"), ({"epochs": 2}, "recipe")])
def test_directory_of_another_training_is_refused(other, differs, epochs_begun, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        kill_in_epoch(patched, epoch=0, batch=1)
        with pytest.raises(Killed):
            train.train("adamw", tmp_path, seed=1, epochs=1)
    with pytest.raises(WelError, match=rf"this one holds a run with other settings \({differs}\)"):
        train.train("adamw", tmp_path, **{"seed": 1, "epochs": 1, **other})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "nope"}, r"^Invalid value for `model`: 'nope'\. Expected one of cifar10, resnet20"),
        ({"epochs": 0}, r"^Invalid value for `epochs`: 0\. Expected a whole number from 1 on\.$"),
        ({"epochs": -3}, r"^Invalid value for `epochs`: -3"),
        ({"epochs": 1.5}, r"^Invalid value for `epochs`: 1\.5"),
        ({"seed": -1}, r"^Invalid value for `seed`: -1\. Expected a whole number from 0 on\.$"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_cifar10", lambda: pytest.fail("data are not needed to see this"))
    with pytest.raises(WelError, match=message):
        train.train(**{"name": "cifar10", "out": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_directory_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_cifar10", lambda: pytest.fail("data are not needed to see this"))
    (tmp_path / "file").touch()
    with pytest.raises(WelError, match=r"^Invalid value for `out`: '.*file'\. Expected a directory that can be written"):
        train.train("cifar10", tmp_path / "file")


def test_schedule(monkeypatch):
    """Linear to the recipe's rate over the warm-up, then half a cosine to zero."""
    rate = train._optimizer(replace(RECIPE, epochs=5), steps=10)._learning_rate
    # warm-up of 10 steps to 0.02; then 40 steps: 0.02·(1 + cos(π·t/40))/2
    expected = {0: 0.0, 5: 0.01, 10: 0.02, 30: 0.01, 50: 0.0}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-8)
