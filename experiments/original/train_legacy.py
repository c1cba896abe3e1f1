"""Trains the tutorial's legacy file with Keras 2.2.4: a small network for CIFAR-10 whose inputs are pixels / 127.5 - 1.

    python train_legacy.py --data cifar10.npz --out docs/legacy

Runs under the interpreter of the original stack. The data file has uint8 pixels and labels: `x_train` (n, 32, 32, 3), `y_train`
(n,), `x_test`, `y_test`; `wel.images.cifar10.load_cifar10` gives them. Written are

    cifar10_cnn.h5       what model.save() wrote, without the optimizer's state
    images/              test images as PNG files, and labels.csv with their classes
    expected.npz         `inputs` (n, 32, 32, 3), these images as the network takes them, and `predictions` (n, 10) of Keras 2.2.4
    card.json            accuracy, settings, versions

The test images are the first two of every class from position 9000 on, then a third one of the first four
classes. The same seed gives about the same accuracy, not the same weights: sums are taken by several threads.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import time

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FIRST_PICTURE, PICTURES = 9000, 24
MODEL = "cifar10_cnn.h5"
FORMULA = "pixels / 127.5 - 1"


def preprocessed(pixels):
    """Pixels of 0 to 255 as inputs of -1 to 1."""
    return (pixels / 127.5 - 1).astype("float32")


def network():
    """Two blocks of two convolutions, two dense layers; the softmax is the last layer's own activation."""
    model = keras.models.Sequential()
    model.add(Conv2D(16, (3, 3), padding="same", input_shape=(32, 32, 3)))
    model.add(Activation("relu"))
    model.add(Conv2D(16, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Conv2D(32, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(32, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(64))
    model.add(Activation("relu"))
    model.add(Dropout(0.3))
    model.add(Dense(len(CLASSES), activation="softmax"))
    return model


def trained(data, epochs, batch_size, random):
    """The network after `epochs` over the training images; of each epoch's images a random half is mirrored."""
    model = network()
    model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    inputs, labels = preprocessed(data["x_train"]), data["y_train"]
    for epoch in range(epochs):
        keras.backend.set_value(model.optimizer.lr, 1e-3 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)))
        mirrored = random.uniform(size=len(inputs)) < 0.5
        inputs[mirrored] = inputs[mirrored, :, ::-1]
        model.fit(inputs, labels, batch_size=batch_size, epochs=epoch + 1, initial_epoch=epoch, verbose=2)
    return model


def picked(labels):
    """Positions of the test images that are kept: the classes take turns."""
    later = range(FIRST_PICTURE, len(labels))
    of_class = [[position for position in later if labels[position] == k] for k in range(len(CLASSES))]
    return sorted([position for turn in zip(*of_class) for position in turn][:PICTURES])


def write_pictures(folder, pixels, labels, positions):
    """PNG files named by class and position in the test set, and `labels.csv` with the columns file and label."""
    os.makedirs(folder, exist_ok=True)
    names = ["{}_{}.png".format(CLASSES[label], position) for label, position in zip(labels, positions)]
    for name, picture in zip(names, pixels):
        Image.fromarray(picture).save(os.path.join(folder, name), optimize=True)
    with open(os.path.join(folder, "labels.csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "label"])
        writer.writerows(sorted(zip(names, labels)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="an .npz file with x_train, y_train, x_test, y_test")
    parser.add_argument("--out", required=True, help="the directory to write to")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and mirroring")
    arguments = parser.parse_args()
    np.random.seed(arguments.seed)
    tf.set_random_seed(arguments.seed)
    with np.load(arguments.data) as arrays:
        data = dict(arrays)
    os.makedirs(arguments.out, exist_ok=True)

    begun = time.time()
    model = trained(data, arguments.epochs, arguments.batch_size, np.random.RandomState(arguments.seed))
    seconds = time.time() - begun
    accuracy = model.evaluate(preprocessed(data["x_test"]), data["y_test"], verbose=0)[1]
    path = os.path.join(arguments.out, MODEL)
    model.save(path, include_optimizer=False)

    positions = picked(data["y_test"])
    pixels = data["x_test"][positions]
    write_pictures(os.path.join(arguments.out, "images"), pixels, data["y_test"][positions], positions)
    inputs = preprocessed(pixels)
    np.savez_compressed(os.path.join(arguments.out, "expected.npz"), inputs=inputs, predictions=model.predict(inputs))
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    card = {
        "file": MODEL,
        "sha256": digest,
        "data": "CIFAR-10, {} training images".format(len(data["x_train"])),
        "preprocessing": FORMULA,
        "command": "python experiments/original/train_legacy.py --epochs {} --batch-size {} --seed {}".format(
            arguments.epochs, arguments.batch_size, arguments.seed
        ),
        "seconds": round(seconds),
        "test_accuracy": round(float(accuracy), 4),
        "test_images": len(data["x_test"]),
        "classes": " ".join(CLASSES),
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__, "h5py": h5py.__version__},
    }
    with open(os.path.join(arguments.out, "card.json"), "w") as file:
        json.dump(card, file, indent=1)
        file.write("\n")
    print("test accuracy {:.4f}, {:.0f} s".format(accuracy, seconds))


if __name__ == "__main__":
    main()
