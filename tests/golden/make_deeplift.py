"""Makes deeplift.npz and the models deeplift_*.h5: scores of deeplift itself on small networks with random biases.

Written with deeplift 0.6.9.3, Keras 2.2.4 and TensorFlow 1.13.1, the 2020 stack: .venv-original/bin/python tests/golden/make_deeplift.py
"""

import os
from multiprocessing import Pool

import numpy as np
from deeplift.conversion import kerasapi_conversion
from deeplift.layers import NonlinearMxtsMode
from deeplift.util import get_hypothetical_contribs_func_onehot, get_integrated_gradients_function
from keras import Model, Sequential, layers

# deeplift opens files to write to them
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
FOLDER = os.path.dirname(os.path.abspath(__file__))
MODES = (
    "Gradient",
    "Rescale",
    "DeconvNet",
    "GuidedBackprop",
    "GuidedBackpropRescale",
    "RevealCancel",
    "PassThrough",
    "DeepLIFT_GenomicsDefault",
)
LENGTH, TASK = 20, 1


def dna():
    """Convolutions over one-hot DNA, as people in genomics have them."""
    stack = [
        layers.Conv1D(6, 5, activation="relu", input_shape=(LENGTH, 4)),
        layers.Conv1D(5, 3, padding="same"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dropout(0.3),
        layers.MaxPooling1D(2, padding="same"),
        layers.Flatten(),
        layers.Dense(6, activation="relu"),
        layers.Dense(3, activation="sigmoid"),
    ]
    return Sequential(stack)


def dense():
    """Dense layers with several activation functions; it ends in logits."""
    stack = [
        layers.Dense(8, activation="relu", input_shape=(6,)),
        layers.Dense(7),
        layers.PReLU(),
        layers.Dense(6, activation="sigmoid"),
        layers.Dense(3),
    ]
    return Sequential(stack)


def plane():
    """Convolutions over pictures, functional, with two branches."""
    image = layers.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="first")(image)
    one = layers.AveragePooling2D(2, name="mean")(x)
    other = layers.Conv2D(3, 2, strides=2, activation="relu", name="second")(x)
    x = layers.Flatten(name="flat")(layers.Concatenate(axis=3, name="both")([one, other]))
    x = layers.Dense(5, activation="relu", name="hidden")(x)
    return Model(image, layers.Dense(3, activation="softmax", name="top")(x))


def pooled():
    """A motif detector: the largest and the mean value over a sequence."""
    x = layers.Input((LENGTH, 4), name="sequence")
    y = layers.Conv1D(5, 4, activation="relu", name="motifs")(x)
    largest, average = layers.GlobalMaxPooling1D(name="largest")(y), layers.GlobalAveragePooling1D(name="average")(y)
    both = layers.Concatenate(axis=1, name="both")([largest, average])
    return Model(x, layers.Dense(2, activation="softmax", name="top")(layers.Dense(4, activation="relu", name="hidden")(both)))


NETWORKS = {"dna": dna, "dense": dense, "plane": plane, "pooled": pooled}


def file_of(network):
    return os.path.join(FOLDER, "deeplift_%s.h5" % network)


def drawn(network, shape, rng):
    """Inputs and a reference for each: one-hot DNA and its frequencies, or numbers."""
    if network in ("dna", "pooled"):
        return np.eye(4)[rng.randint(4, size=(4, LENGTH))], np.broadcast_to([0.3, 0.2, 0.2, 0.3], (4, LENGTH, 4))
    return rng.standard_normal((4,) + shape), 0.3 * rng.standard_normal((4,) + shape)


def scores(network, model, mode, x, reference):
    """Name -> scores: of every layer, and of multipliers at the input."""
    given = {"task_idx": TASK, "input_data_list": [x], "input_references_list": [reference], "batch_size": 3, "progress_update": None}
    if network in ("dna", "dense"):
        target = -1 if network == "dense" else -2
        places = range(len(model.get_layers()) + target)
        keys = {"find_scores_layer_idx": list(places), "target_layer_idx": target}
        at_input = {"find_scores_layer_idx": 0, "target_layer_idx": target}
    else:
        places = [name for name in sorted(model.get_name_to_layer()) if "top" not in name]
        keys = {"find_scores_layer_name": places, "pre_activation_target_layer_name": "preact_top_0"}
        at_input = dict(keys, find_scores_layer_name=[name for name in places if name in ("image_0", "sequence_0")][0])
    contributions = model.get_target_contribs_func(**keys)(**given)
    multipliers = model.get_target_multipliers_func(**at_input)
    found = {"contribs/%s" % place: np.array(several) for place, several in zip(places, contributions)}
    found["multipliers"] = np.array(multipliers(**given))
    if network == "dna":
        found["hypothetical"] = get_hypothetical_contribs_func_onehot(multipliers)(**given)
    if mode == "Gradient":
        found["integrated"] = get_integrated_gradients_function(multipliers, 5)(**given)
    return found


def build(network):
    """Writes a network's file; gives its inputs and references."""
    rng, built = np.random.RandomState(sorted(NETWORKS).index(network)), NETWORKS[network]()
    for layer in built.layers:
        shapes = [(weight.name, array.shape) for weight, array in zip(layer.weights, layer.get_weights())]
        layer.set_weights([rng.uniform(0.5, 1.5, one) if "var" in name else 0.5 * rng.standard_normal(one) for name, one in shapes])
    built.save(file_of(network))
    return drawn(network, built.input_shape[1:], rng)


def score(asked):
    network, mode, x, reference = asked
    settings = {"nonlinear_mxts_mode": getattr(NonlinearMxtsMode, mode), "verbose": False}
    found = scores(network, kerasapi_conversion.convert_model_from_saved_files(file_of(network), **settings), mode, x, reference)
    return {"%s/%s/%s" % (network, mode, name): array for name, array in found.items()}


def main():
    arrays, names = {}, sorted(NETWORKS)
    # a process for each: deeplift's graphs are never let go of
    with Pool(2, maxtasksperchild=1) as pool:
        inputs = dict(zip(names, pool.map(build, names, chunksize=1)))
        for network, (x, reference) in inputs.items():
            arrays.update({"%s/x" % network: x, "%s/reference" % network: reference})
        for found in pool.imap(score, [(network, mode) + inputs[network] for network in names for mode in MODES]):
            arrays.update(found)
    np.savez_compressed(os.path.join(FOLDER, "deeplift.npz"), **{key: array.astype("float32") for key, array in arrays.items()})


if __name__ == "__main__":
    main()
