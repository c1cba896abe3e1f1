"""Makes innvestigate.npz: what innvestigate 2.1.2 (on TensorFlow 2.14) finds on small networks with random weights and biases.

Run it in an environment with that package: TF_ENABLE_ONEDNN_OPTS=0 python make_innvestigate.py

With oneDNN MaxPooling3D hands relevance to one of several equal inputs, without it, and eagerly, to each of them.

Tests build the same networks with the Keras that they have, so nothing but numpy is imported before it is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("innvestigate.npz")
SHAPES = {
    "plain": (8, 8, 3),
    "residual": (7, 7, 2),
    "kernels": (8, 8, 3),
    "sequence": (10, 4),
    "tanh": (6,),
    "squashed": (6,),
    "volume": (6, 6, 6, 2),
    "solid": (6, 6, 6, 2),
    "branches": (8, 8, 2),
}
NEURONS = [2, 0]
LRP = [
    ("lrp.z", {}),
    ("lrp.epsilon", {}),
    ("lrp.epsilon", {"epsilon": 0.3}),
    ("lrp.epsilon", {"epsilon": 0.1, "bias": False}),
    ("lrp.epsilon", {"epsilon": 0.1, "input_layer_rule": (-2.0, 2.5)}),
    ("lrp.w_square", {}),
    ("lrp.flat", {}),
    ("lrp.alpha_beta", {"alpha": 3, "beta": 2}),
    ("lrp.alpha_beta", {"beta": 0.5, "bias": False}),
    ("lrp.alpha_2_beta_1", {}),
    ("lrp.alpha_2_beta_1_IB", {}),
    ("lrp.alpha_1_beta_0", {}),
    ("lrp.alpha_1_beta_0", {"input_layer_rule": "Flat"}),
    ("lrp.alpha_1_beta_0_IB", {}),
    ("lrp.z_plus", {}),
    ("lrp.z_plus_fast", {}),
    ("lrp.sequential_preset_a", {}),
    ("lrp.sequential_preset_b", {"epsilon": 0.2}),
    ("lrp.sequential_preset_a_flat", {}),
    ("lrp.sequential_preset_b_flat", {}),
    ("lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": 1}),
    ("lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": 3}),
    ("lrp.z", {"until_layer_idx": 2, "until_layer_rule": "Alpha2Beta1"}),
    ("lrp.alpha_beta", {"alpha": 1.5, "input_layer_rule": (-2.0, 2.5), "until_layer_idx": 3, "until_layer_rule": "WSquare"}),
    ("lrp.epsilon", {"epsilon": 0.1, "bn_layer_fuse_mode": "two_linear"}),
    ("lrp.alpha_2_beta_1", {"bn_layer_fuse_mode": "two_linear"}),
    ("lrp.flat", {"bn_layer_fuse_mode": "two_linear"}),
    ("lrp.sequential_preset_a", {"bn_layer_rule": "Alpha1Beta0", "until_layer_idx": 1, "until_layer_rule": "ZPlus"}),
    ("lrp.sequential_preset_b", {"bn_layer_fuse_mode": "two_linear", "input_layer_rule": "WSquare"}),
    ("lrp", {"rule": "Alpha1Beta0"}),
    ("lrp", {"rule": "AlphaBetaX2m100", "bn_layer_rule": "Z"}),
    ("lrp", {"rule": [("Dense", "Epsilon"), ("Conv", "Alpha2Beta1")], "bn_layer_rule": "Z"}),
    ("lrp", {"rule": [("Dense", "Z"), ("", "ZPlus")], "bn_layer_rule": "Flat", "input_layer_rule": "Bounded"}),
    ("lrp", {"rule": ["Flat", "WSquare", "Epsilon", "Alpha1Beta0", "Z"], "bn_layer_rule": "Z"}),
    ("lrp", {"rule": ["Flat", "WSquare", "Epsilon", "Alpha1Beta0", "Z"], "bn_layer_rule": "Z", "input_layer_rule": "Flat"}),
    ("lrp", {"rule": ["WSquare", "Epsilon", "Alpha1Beta0", "Z"], "kernels": -1, "bn_layer_rule": "Z", "input_layer_rule": "Flat"}),
    ("lrp", {"rule": "Z", "bn_layer_rule": "Alpha2Beta1"}),
]
GRADIENTS = [
    ("input", {}),
    ("gradient", {}),
    ("gradient", {"postprocess": "abs"}),
    ("gradient.baseline", {"postprocess": "square"}),
    ("input_t_gradient", {}),
    ("input_t_gradient", {"postprocess": "abs"}),
    ("integrated_gradients", {"steps": 7}),
    ("integrated_gradients", {"steps": 5, "reference_inputs": 0.5, "postprocess": "square"}),
]
RELU = [
    ("deconvnet", {}),
    ("guided_backprop", {}),
    ("deep_taylor", {}),
    ("deep_taylor.bounded", {"low": -3.0, "high": 3.5}),
]


def outputs(network: str, layers, x):
    """The output of a network, in the Keras whose `layers` these are."""
    if network == "plain":
        x = layers.Conv2D(5, 3, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.AveragePooling2D(2)(layers.Conv2D(4, 3, activation="relu", padding="same")(x))
        return layers.Dense(4)(layers.Dense(6, activation="relu")(layers.Flatten()(x)))
    if network == "residual":
        first = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
        x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(first))
        return layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Activation("relu")(layers.Add()([x, first]))))
    if network == "kernels":
        x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(layers.ZeroPadding2D(1)(x))
        x = layers.SeparableConv2D(4, 3, strides=2, activation="relu")(x)
        return layers.Dense(3)(layers.Flatten()(x))
    if network == "sequence":
        x = layers.Conv1D(5, 3, dilation_rate=2, activation="relu")(x)
        return layers.Dense(3)(layers.GlobalMaxPooling1D()(layers.Conv1D(6, 3, activation="relu")(x)))
    if network == "volume":
        x = layers.MaxPooling3D(2)(layers.Conv3D(4, 3, activation="relu", padding="same")(x))
        return layers.Dense(3)(layers.GlobalAveragePooling3D()(layers.Conv3D(5, 2, activation="relu")(x)))
    if network == "solid":
        first = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv3D(3, 3, padding="same")(x)))
        x = layers.Activation("relu")(layers.Add()([layers.Conv3D(3, 3, padding="same", use_bias=False)(first), first]))
        return layers.Dense(3)(layers.Flatten()(layers.AveragePooling3D(3)(x)))
    if network == "branches":
        first, second = layers.Conv2D(3, 3, padding="same", activation="relu")(x), layers.Conv2D(3, 1, activation="relu")(x)
        x = layers.Cropping2D(1)(layers.Maximum()([first, second]))
        x = layers.Permute((2, 1, 3))(layers.Concatenate()([x, layers.AveragePooling2D(3, strides=1)(second)]))
        return layers.Dense(3)(layers.Dense(5, activation="relu")(layers.Flatten()(x)))
    x = layers.Dense(5, activation="tanh")(x)
    return layers.Dense(3, activation="sigmoid" if network == "squashed" else "linear")(x)


def cases() -> list[tuple[str, str, dict, str]]:
    """(network, analyzer, keywords, mode); innvestigate fails at some, and the file is without these."""
    settings = {name: [*GRADIENTS, *LRP, *(RELU if name not in ("tanh", "squashed") else [])] for name in SHAPES}
    found = [(network, name, kwargs, "max_activation") for network, several in settings.items() for name, kwargs in several]
    for name in ("gradient", "integrated_gradients", "lrp.epsilon", "deep_taylor", "guided_backprop"):
        found += [("plain", name, {}, mode) for mode in ("index", "all")]
    return found


KERNELS = {"plain": 4, "residual": 3, "kernels": 3, "sequence": 3, "tanh": 2, "squashed": 2, "volume": 3, "solid": 3, "branches": 4}


def keywords(network: str, kwargs: dict, rule=lambda name: name) -> dict:
    """An analyzer's keywords: of a list of rules as many as the network has kernels, or, with `kernels` −1, one fewer; of pairs (class
    name's part, rule) conditions.

    `rule` makes a rule of a name that innvestigate has for a class only.
    """
    found = {name: value for name, value in kwargs.items() if name != "kernels"}
    if isinstance(found.get("rule"), list):
        if isinstance(found["rule"][0], tuple):
            found["rule"] = [((lambda layer, part=part: part in type(layer).__name__), rule(one)) for part, one in found["rule"]]
        else:
            found["rule"] = found["rule"][-(KERNELS[network] + kwargs.get("kernels", 0)) :]
    elif "rule" in found:
        found["rule"] = rule(found["rule"])
    return found


def key(case: tuple[str, str, dict, str]) -> str:
    """The name of a case in the file."""
    network, name, kwargs, mode = case
    return " ".join([network, name, *(f"{option}={value}" for option, value in kwargs.items()), mode])


def main() -> None:
    import innvestigate
    import tensorflow as tf
    from innvestigate.analyzer.relevance_based.relevance_rule import AlphaBetaX2m100Rule

    ONLY_CLASSES = {"AlphaBetaX2m100": AlphaBetaX2m100Rule}
    tf.compat.v1.disable_eager_execution()
    tf.compat.v1.disable_resource_variables()  # integrated gradients fail with them
    rng = np.random.default_rng(0)
    arrays = {}
    for network, shape in SHAPES.items():
        weights = [_drawn(rng, one.name, tuple(one.shape)) for one in _model(tf, network).weights]
        arrays.update({f"{network}/weights/{i:02d}": array for i, array in enumerate(weights)})
        arrays[f"{network}/images"] = rng.standard_normal((2, *shape)).astype("float32")
    for case in cases():
        network, name, kwargs, mode = case
        tf.keras.backend.clear_session()  # a graph that grows gets slow
        model = _model(tf, network)
        model.set_weights([arrays[one] for one in sorted(arrays) if one.startswith(f"{network}/weights/")])
        selected = {"neuron_selection": NEURONS} if mode == "index" else {}
        try:
            given = keywords(network, kwargs, lambda one: ONLY_CLASSES.get(one, one))
            analyzer = innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, disable_model_checks=True, **given)
            arrays[key(case)] = np.asarray(analyzer.analyze(arrays[f"{network}/images"], **selected))
        except Exception as error:  # whatever it raises
            print(f"{key(case)} fails: {error}")
            continue
        print(key(case), float(np.abs(arrays[key(case)]).sum()), flush=True)
    np.savez_compressed(FILE, **arrays)


def _model(tf, network: str):
    x = tf.keras.Input(SHAPES[network])
    return tf.keras.Model(x, outputs(network, tf.keras.layers, x))


def _drawn(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights whose every layer's output is about as large as its input; variances are positive."""
    if "variance" in name or "gamma" in name:
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    scale = np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.3
    return (scale * rng.standard_normal(shape)).astype("float32")


if __name__ == "__main__":
    main()
