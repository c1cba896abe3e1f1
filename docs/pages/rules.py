"""Which rule each kind of layer gets under every method: `rules.json`, of which the pages are made.

To find the rules takes TensorFlow, which the documentation does without: `make facts` writes the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

FILE = Path(__file__).with_name("rules.json")
SEMANTICS = ("paper", "corrected")
# what other networks hold, beside the classes that `wel.networks.kinds` names
OTHERS = {"BatchNormalization", "Softmax", "Masking", "LayerNormalization", "Subtract", "Dot", "Embedding", "LSTM"}
MERGING = {"Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply"}
OF_TWO = MERGING | {"Subtract", "Dot"}
# a function of any kind, or the identity, but for its arguments
WITHOUT_A_ROW = {"Activation", "InputLayer"}
# what a layer cannot be made without, by its class's name or the end of it
ARGUMENTS: dict[str, tuple] = {
    "Conv1D": (2, 3), "Conv2D": (2, 3), "Conv3D": (2, 3), "Transpose": (2, 3), "DepthwiseConv1D": (3,), "DepthwiseConv2D": (3,),
    "LocallyConnected1D": (2, 3), "LocallyConnected2D": (2, 3),
    "ActivityRegularization": (0.1,), "Brightness": (0.1,), "Contrast": (0.1,), "Dense": (2,), "Dot": (-1,), "Dropout": (0.1,),
    "Embedding": (5, 2), "GaussianNoise": (0.1,), "LSTM": (2,), "Permute": ((3, 1, 2),), "Rotation": (0.1,), "Translation": (0.1, 0.1),
    "Zoom": (0.1,), "RepeatVector": (2,), "Rescaling": (0.1,), "Reshape": ((-1,),), "SpatialDropout1D": (0.1,),
    "SpatialDropout2D": (0.1,), "SpatialDropout3D": (0.1,),
}  # fmt: skip
SHAPES = {1: (8,), 2: (8, 4), 3: (8, 8, 4), 4: (4, 4, 4, 4)}  # of an input, by the number of its axes
AXES = {"Embedding": 1, "RepeatVector": 1, "LSTM": 2}


def kinds() -> list[str]:
    """The layer classes that wel knows by name, and some that it has no rules for."""
    from wel.networks import kinds

    known = kinds.KERNELS | kinds.ACTIVATION_LAYERS | kinds.POOLINGS | kinds.SHAPES | kinds.RESCALINGS
    return sorted((known | MERGING | OTHERS) - WITHOUT_A_ROW)


def layer_of(kind: str) -> Any:
    """A layer of a class of Keras's, or what the layer graph calls so."""
    from wel.keras.two import keras2
    from wel.networks.kinds import SELECTION

    if kind == SELECTION:
        return lambda x: x[..., :2]
    ending = max((name for name in ARGUMENTS if kind.endswith(name)), key=len, default=None)
    return getattr(keras2().layers, kind)(*ARGUMENTS.get(ending, ()))


def graph_of(layer: Any, behind: Any = None, axes: int = 3) -> Any:
    """The layer graph of an input, the layer `behind` which it stands if there is one, and the layer."""
    from wel.keras.two import keras2
    from wel.networks.graph import build_graph

    image = keras2().layers.Input(SHAPES[axes])
    x = behind(image) if behind else image
    return build_graph(keras2().Model(image, layer([x, keras2().layers.ReLU()(x)] if type(layer).__name__ in OF_TWO else x)))


def axes_of(kind: str) -> int:
    """How many axes a layer's input has."""
    rank = [int(digit) for digit in kind if digit.isdigit()]
    return AXES.get(kind, rank[-1] + 1 if rank else 3)


def samples() -> Iterator[tuple[str, Any]]:
    """What a row of the table is called, and a graph that ends in it."""
    from wel.keras.two import keras2
    from wel.networks.kinds import ELEMENTWISE

    layers = keras2().layers
    for kind in kinds():
        yield kind, graph_of(layer_of(kind), layers.ReLU(), axes_of(kind))
    yield "Conv2D at the input", graph_of(layer_of("Conv2D"))
    yield "BatchNormalization behind a kernel", graph_of(layers.BatchNormalization(), layer_of("Conv2D"))
    for name in sorted(name for name in ELEMENTWISE if name.islower()):
        yield f"{name}()", graph_of(layers.Activation(name))


def rules_of(graph: Any, method: str) -> list[str | None]:
    """The rule of a graph's last layer under both semantics, in words; None where there is none."""
    from wel.errors import UnsupportedError
    from wel.methods.composites import described, rules_for
    from wel.methods.registry import METHODS

    found = []
    for semantics in SEMANTICS:
        try:
            rules = rules_for(graph, method, semantics, METHODS[method].defaults)
        except UnsupportedError:
            found.append(None)
        else:
            found.append(described(rules[graph.output]))
    return found


def table() -> list[dict]:
    """Rows of kinds that all methods treat alike: `kinds`, and `rules`, the two semantics' rule by method."""
    from wel.methods.registry import CSC_METHODS

    rows: dict[str, dict] = {}
    for kind, graph in samples():
        rules = {method: rules_of(graph, method) for method in CSC_METHODS}
        row = rows.setdefault(json.dumps(rules), {"kinds": [], "rules": rules})
        row["kinds"].append(kind)
    return list(rows.values())


def written(rows: list[dict]) -> str:
    """The table as the file holds it, a method a line."""
    lines = []
    for row in rows:
        rules = [f"    {json.dumps(name)}: {json.dumps(pair, ensure_ascii=False)}" for name, pair in row["rules"].items()]
        lines.append(f'  {{"kinds": {json.dumps(row["kinds"])},\n   "rules": {{\n' + ",\n".join(rules) + "\n  }}")
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(written(table()), encoding="utf-8")
