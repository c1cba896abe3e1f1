"""wel.modelfiles.operators: TensorFlowOpLayer of TensorFlow 2.0 to 2.3 is read as data, or refused by its operator's name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from legacy_files import broken, built, opened

from wel.errors import WelError
from wel.modelfiles import operators
from wel.modelfiles.building import Building, Rules

FLOAT = {"T": {"type": "DT_FLOAT"}}


def model(op: str, attributes: dict, constants: dict, count: int = 2, shape=(4,), inputs: int = 1) -> dict:
    """An input, `inputs` times in an operator, as TensorFlow 2.3 writes it."""
    image = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "name": "x"}, "name": "x", "inbound_nodes": []}
    node = {"name": "It", "op": op, "input": [f"in{i}" for i in range(count)], "attr": {**FLOAT, **attributes}}
    layer = {
        "class_name": "TensorFlowOpLayer",
        "config": {"name": "It", "trainable": True, "dtype": "float32", "node_def": node, "constants": constants},
        "name": "tf_op_layer_It",
        "inbound_nodes": [[["x", 0, 0, {}]] * inputs],
    }
    config = {"name": "m", "layers": [image, layer], "input_layers": [["x", 0, 0]], "output_layers": [["tf_op_layer_It", 0, 0]]}
    return {"class_name": "Functional", "config": config}


def computed(configuration: dict, x) -> np.ndarray:
    found, _ = operators.converted(configuration)
    assert found["config"]["layers"][1]["class_name"] == "TFOpLambda"
    return built(found).predict(np.asarray(x, "float32"), verbose=0)


X = np.array([[1.0, -2.0, 3.0, 4.0]])
IMAGE = np.arange(24, dtype="float32").reshape(1, 2, 3, 4)
TEXT = {"SAME": "U0FNRQ==", "VALID": "VkFMSUQ=", "NHWC": "TkhXQw==", "REFLECT": "UkVGTEVDVA=="}


@pytest.mark.parametrize(
    "op, constants, expected",
    [
        ("AddV2", {"1": 0.5}, [1.5, -1.5, 3.5, 4.5]),
        ("Sub", {"1": [1.0, 2.0, 3.0, 4.0]}, [0, -4, 0, 0]),
        ("Sub", {"0": 1.0}, [0, 3, -2, -3]),
        ("Mul", {"0": 2.0}, [2, -4, 6, 8]),
        ("RealDiv", {"1": 4.0}, [0.25, -0.5, 0.75, 1]),
        ("RealDiv", {"0": 12.0}, [12, -6, 4, 3]),
        ("Pow", {"1": 2.0}, [1, 4, 9, 16]),
        ("Maximum", {"1": 2.0}, [2, 2, 3, 4]),
        ("Minimum", {"1": 2.0}, [1, -2, 2, 2]),
        ("SquaredDifference", {"1": 1.0}, [0, 9, 4, 9]),
    ],
)
def test_arithmetic(op, constants, expected):
    np.testing.assert_allclose(computed(model(op, {}, constants), X), [expected], rtol=1e-6)


@pytest.mark.parametrize(
    "op, attributes, expected",
    [
        ("Relu", {}, [1, 0, 3, 4]),
        ("LeakyRelu", {"alpha": {"f": 0.5}}, [1, -1, 3, 4]),
        ("Neg", {}, [-1, 2, -3, -4]),
        ("Square", {}, [1, 4, 9, 16]),
        ("Abs", {}, [1, 2, 3, 4]),
        ("Cast", {"SrcT": {"type": "DT_FLOAT"}, "DstT": {"type": "DT_HALF"}}, [1, -2, 3, 4]),
        ("Softmax", {}, (np.exp(X[0]) / np.exp(X[0]).sum()).tolist()),
    ],
)
def test_functions(op, attributes, expected):
    np.testing.assert_allclose(computed(model(op, attributes, {}, count=1), X), [expected], rtol=1e-6)


SLICE = {f"{name}_mask": {"i": "0"} for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}


@pytest.mark.parametrize(
    "op, attributes, constants, expected",
    [
        # the mean of 0, 4, 8, 12, 16, 20 is 10
        ("Mean", {"keep_dims": {"b": False}}, {"1": [1, 2]}, [[10, 11, 12, 13]]),
        ("Sum", {"keep_dims": {"b": True}}, {"1": -1}, IMAGE.sum(-1, keepdims=True).tolist()),
        ("Reshape", {}, {"1": [-1, 6, 4]}, IMAGE.reshape(1, 6, 4).tolist()),
        ("ExpandDims", {}, {"1": 1}, IMAGE[:, None].tolist()),
        ("Transpose", {}, {"1": [0, 3, 1, 2]}, IMAGE.transpose(0, 3, 1, 2).tolist()),
        ("Tile", {}, {"1": [1, 2, 1, 1]}, np.tile(IMAGE, (1, 2, 1, 1)).tolist()),
        ("ReverseV2", {}, {"1": [3]}, IMAGE[..., ::-1].tolist()),
        ("Pad", {}, {"1": [[0, 0], [1, 0], [0, 2], [0, 0]]}, np.pad(IMAGE, [[0, 0], [1, 0], [0, 2], [0, 0]]).tolist()),
        ("MirrorPad", {"mode": {"s": TEXT["REFLECT"]}}, {"1": [[0, 0], [1, 1], [0, 0], [0, 0]]}, IMAGE[:, [1, 0, 1, 0]].tolist()),
        # x[..., 1:3]: begin 1 and end 3 of the last axis, all before it by the ellipsis, which is bit 0
        ("StridedSlice", {**SLICE, "ellipsis_mask": {"i": "1"}}, {"1": [0, 1], "2": [0, 3], "3": [1, 1]}, IMAGE[..., 1:3].tolist()),
        # x[:, 1]: begin and end of the first axis are open, bit 0; the second axis goes, bit 1
        (
            "StridedSlice",
            {**SLICE, "begin_mask": {"i": "1"}, "end_mask": {"i": "1"}, "shrink_axis_mask": {"i": "2"}},
            {"1": [0, 1], "2": [0, 2], "3": [1, 1]},
            IMAGE[:, 1].tolist(),
        ),
        (
            "MaxPool",
            {
                "ksize": {"list": {"i": ["1", "2", "2", "1"]}},
                "strides": {"list": {"i": ["1", "1", "1", "1"]}},
                "padding": {"s": TEXT["VALID"]},
                "data_format": {"s": TEXT["NHWC"]},
            },
            {},
            IMAGE[:, 1:, 1:].tolist(),
        ),
    ],
)
def test_shapes(op, attributes, constants, expected):
    given = model(op, attributes, constants, count=1 + len(constants), shape=(2, 3, 4))
    np.testing.assert_array_equal(computed(given, IMAGE), expected)


def test_lists():
    np.testing.assert_array_equal(computed(model("ConcatV2", {}, {"2": -1}, count=3, inputs=2), X), np.concatenate([X, X], -1))
    np.testing.assert_array_equal(computed(model("Pack", {"axis": {"i": "1"}}, {}, count=2, inputs=2), X), np.stack([X, X], 1))
    np.testing.assert_array_equal(computed(model("AddN", {}, {}, count=2, inputs=2), X), 2 * X)


def test_names_and_notes():
    found, notes = operators.converted(model("Relu", {}, {}, count=1))
    layer = found["config"]["layers"][1]
    assert layer["name"] == layer["config"]["name"] == "tf_op_layer_It"
    assert notes == ("Its operators of TensorFlow (Relu) were read as functions.",)


def test_the_given_configuration_stays():
    configuration = opened("operators_tensorflow2.3_shapes.h5")[0]
    before = copy.deepcopy(configuration)
    operators.converted(configuration)
    assert configuration == before


def refusal(configuration: dict, allow_code: bool = False) -> str:
    with pytest.raises(WelError) as caught:
        Building(configuration, "2.4.0", 1000, Rules({}, allow_code))
    return str(caught.value)


@pytest.mark.parametrize("op", ["Split", "ReadFile", "PyFunc", "WriteFile", "RandomStandardNormal", "FusedBatchNormV3"])
def test_other_operators_are_refused_by_name(op):
    found = refusal(model(op, {}, {}, count=1))
    assert f"layer 'It': the TensorFlow operator {op}" in found and "`--allow-code`" in found


def test_other_operators_with_their_code_allowed():
    """Keras builds them then."""
    given = model("Asinh", {}, {}, count=1)
    assert "the TensorFlow operator Asinh" in refusal(given)
    built_model = Building(given, "2.4.0", 1000, Rules({}, allow_code=True))._model
    np.testing.assert_allclose(built_model.predict(X, verbose=0), np.arcsinh(X), rtol=1e-6)


def test_malformed_operators():
    assert "another name in its own configuration" in refusal({**(given := model("Relu", {}, {}, count=1)), "config": renamed(given)})
    assert "has 3 inputs and says where 2 come from" in refusal(model("AddV2", {}, {"1": 1.0}, count=3))
    assert "has 2 inputs. Expected 1" in refusal(model("Relu", {}, {"1": 1.0}))
    assert "numbers of the type DT_COMPLEX64" in refusal(model("Cast", {"DstT": {"type": "DT_COMPLEX64"}}, {}, count=1))


def renamed(configuration: dict) -> dict:
    config = copy.deepcopy(configuration["config"])
    config["layers"][1]["config"]["name"] = "Other"
    return config


@pytest.mark.parametrize("seed", range(3))
def test_broken_configurations(seed):
    """Whatever is broken in it, a configuration is converted or refused in a sentence."""
    for mutant in broken(opened("operators_tensorflow2.3_shapes.h5")[0], seed, 60):
        try:
            operators.converted(mutant)
        except WelError:
            pass
