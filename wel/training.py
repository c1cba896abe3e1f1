"""Training of the bundled networks: recipe, augmentation, checkpoints, resume, model card."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Iterator

import numpy as np

from wel import __version__
from wel.errors import check_whole, invalid, one_of
from wel.images.cifar10 import Cifar10, Split, load_cifar10
from wel.images.preprocessing import parse_preprocessing
from wel.keras.two import keras2
from wel.networks.zoo import architecture
from wel.system.files import file_sha256, written_whole
from wel.system.progress import progress
from wel.system.runs import Run


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: one-cycle cosine schedule, weight decay, label smoothing, flip and shift."""

    optimizer: str
    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    batch_size: int = 128
    warmup_epochs: int = 2
    shift: int = 4


RECIPES = {
    "cifar10": Recipe(optimizer="adamw", epochs=40, learning_rate=1e-3, weight_decay=0.05, label_smoothing=0.05),
    # Keras subtracts rate · decay · w beside the momentum; with momentum 0.9 that is an L2 term of decay · (1 - 0.9) = 5e-4 in the gradient
    "resnet20": Recipe(optimizer="sgd", epochs=30, learning_rate=0.1, weight_decay=5e-3, label_smoothing=0.0),
}


def train(name: str, out: Path, seed: int = 0, epochs: int | None = None) -> dict:
    """Trains a network of the zoo on CIFAR-10 and writes `<name>.h5` (half precision) and `card.json` to `out`.

    A run that was interrupted goes on after the last epoch that was finished: every epoch's order, shifts,
    and flips depend on (seed, epoch) only; dropout's generator starts anew. A run that is finished is not repeated.

    Args:
        name: a network with a recipe.
        out: run directory, for checkpoints and results.
        seed: the seed of everything random.
        epochs: length of the schedule; the recipe's by default.

    Returns:
        The model card: recipe, test accuracy, time, data, sha256.

    Raises:
        WelError: when `name` has no recipe, CIFAR-10 cannot be had, or `out` cannot be written or holds another run.
    """
    if name not in RECIPES:
        raise invalid("model", name, one_of(RECIPES))
    if epochs is not None:
        check_whole("epochs", epochs, 1)
    check_whole("seed", seed, 0)
    recipe = replace(RECIPES[name], epochs=epochs or RECIPES[name].epochs)
    run = Run(out, {"study": "train", "network": name, "recipe": asdict(recipe), "seed": seed}, {})
    if not run.finished:
        data = load_cifar10()
        training = _fit(name, recipe, data.train, seed, run.parts / "checkpoints")
        run.finish(card=_write_results(name, recipe, training, data, seed, out))
    return run.record["context"]["card"]


def _fit(name: str, recipe: Recipe, data: Split, seed: int, folder: Path) -> _Training:
    training = _Training(name, recipe, len(data.images) // recipe.batch_size, seed, folder)
    arch = architecture(name)
    with progress() as bar:
        task = bar.add_task(f"train {name}", total=recipe.epochs * training.steps, completed=int(training.done) * training.steps)
        for epoch in range(int(training.done), recipe.epochs):
            started = time.monotonic()
            rng = np.random.default_rng([seed, epoch])
            for x, y in batches(data, arch.classes, recipe, rng):
                loss, accuracy = training.model.train_on_batch(x, y, reset_metrics=False)
                bar.update(task, advance=1, description=f"epoch {epoch + 1}/{recipe.epochs} accuracy {accuracy:.3f}")
            seconds = time.monotonic() - started
            training.save(accuracy, seconds)
            bar.console.print(f"epoch {epoch + 1}/{recipe.epochs}: loss {loss:.4f}, accuracy {accuracy:.4f}, {seconds:.0f} s")
    return training


class _Training:
    """A network being trained in mixed precision, and the checkpoint that lets it go on."""

    def __init__(self, name: str, recipe: Recipe, steps: int, seed: int, folder: Path):
        import tensorflow as tf

        keras = keras2()
        keras.utils.set_random_seed(seed)
        self.steps = steps
        self.network = _mixed_precision(name)
        logits = keras.layers.Activation("linear", dtype="float32")(self.network.output)
        self.model = keras.Model(self.network.input, logits)
        self.model.compile(
            optimizer=_optimizer(recipe, steps),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.done = tf.Variable(0, dtype=tf.int64)
        self.seconds = tf.Variable(0.0)
        self.accuracy = tf.Variable(0.0)
        state = tf.train.Checkpoint(
            model=self.model, optimizer=self.model.optimizer, done=self.done, seconds=self.seconds, accuracy=self.accuracy
        )
        self.manager = tf.train.CheckpointManager(state, str(folder), max_to_keep=1)
        state.restore(self.manager.latest_checkpoint)

    def save(self, accuracy: float, seconds: float) -> None:
        """Ends an epoch: what was reached goes into the checkpoint."""
        self.model.reset_metrics()
        self.done.assign_add(1)
        self.seconds.assign_add(seconds)
        self.accuracy.assign(accuracy)
        self.manager.save()


def _mixed_precision(name: str):
    keras = keras2()
    arch = architecture(name)
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        return arch.build(arch.input_shape, arch.classes)
    finally:
        keras.mixed_precision.set_global_policy(before)


def _optimizer(recipe: Recipe, steps: int):
    keras = keras2()
    warmup = recipe.warmup_epochs * steps
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=recipe.epochs * steps - warmup,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay)


def batches(data: Split, classes: int, recipe: Recipe, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of shuffled, flipped and shifted batches: x (b, 32, 32, 3) float32 in [0, 1], y (b, classes) one-hot."""
    order = rng.permutation(len(data.images))
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        index = order[start : start + recipe.batch_size]
        x = _augment(data.images[index], recipe.shift, rng)
        yield parse_preprocessing("0-1")(x), np.eye(classes, dtype="float32")[data.labels[index]]


def _augment(images: np.ndarray, shift: int, rng: np.random.Generator) -> np.ndarray:
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    top, left = rng.integers(0, 2 * shift + 1, size=(2, n))
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    flip = rng.random(n) < 0.5
    columns[flip] = columns[flip, ::-1]
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _write_results(name: str, recipe: Recipe, training: _Training, data: Cifar10, seed: int, out: Path) -> dict:
    weights = out / f"{name}.h5"
    save_half_precision(training.network, weights)
    card = {
        "network": name,
        "data": f"CIFAR-10 ({data.source}), {len(data.train.images)} training images",
        "command": f"wel train {name} --seed {seed} --epochs {recipe.epochs}",
        "wel": __version__,
        "recipe": asdict(recipe),
        "seed": seed,
        "train_accuracy_augmented": round(float(training.accuracy), 4),
        "test_accuracy": accuracy(name, weights, data.test),
        "test_images": len(data.test.images),
        "training_minutes": round(float(training.seconds) / 60, 1),
        "sha256": file_sha256(weights),
    }
    with written_whole(out / "card.json") as path:
        path.write_text(json.dumps(card, indent=2) + "\n")
    return card


def save_half_precision(model, path: Path) -> None:
    """Writes a model's weights in Keras's HDF5 layout as compressed float16; `model.load_weights` reads them."""
    import h5py

    with tempfile.TemporaryDirectory() as folder, written_whole(path) as target:
        full = Path(folder) / "full.h5"
        model.save_weights(full)
        with h5py.File(full) as source, h5py.File(target, "w") as half:
            half.attrs.update(source.attrs)
            source.visititems(lambda key, item: _copy_half(half, key, item))


def _copy_half(half, key: str, item) -> None:
    if hasattr(item, "shape"):
        copy = half.create_dataset(key, data=item[...].astype("float16"), compression="gzip", compression_opts=9, shuffle=True)
    else:
        copy = half.require_group(key)
    copy.attrs.update(item.attrs)


def accuracy(name: str, weights: Path, test: Split) -> float:
    """Share of test images whose largest logit is the true class, in float32, with the weights as they lie in the file."""
    arch = architecture(name)
    model = arch.build(arch.input_shape, arch.classes)
    model.load_weights(weights)
    logits = model.predict(parse_preprocessing(arch.preprocessing)(test.images), batch_size=500, verbose=0)
    return round(float((logits.argmax(1) == test.labels).mean()), 4)
