"""wel.modelfiles.precision: half-precision dtypes in a configuration by hand, and files of such models against what they predicted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from conftest import INPUT_SHAPE, randomized

import wel
from wel.modelfiles.precision import in_single


def half(dtype: str, last: str | None = None):
    """conv, batch normalisation, a product outside any layer, dense; the last layer perhaps of another dtype."""
    from tensorflow.keras import Input, Model, layers

    image = Input(INPUT_SHAPE)
    x = layers.Conv2D(4, 3, activation="relu", dtype=dtype)(image)
    x = layers.BatchNormalization(dtype=dtype)(x)
    x = layers.Flatten(dtype=dtype)(x) * 2.0
    return randomized(Model(image, layers.Dense(3, activation="softmax", dtype=last or dtype)(x)))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("dtype, last", [("float16", None), ("mixed_float16", "float32"), ("mixed_bfloat16", None)])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_files_compute_in_single_precision(dtype, last, suffix, images, tmp_path):
    model = half(dtype, last)
    model.save(tmp_path / f"net{suffix}")
    net = wel.load(tmp_path / f"net{suffix}")
    assert {layer.compute_dtype for layer in net.model.layers} == {"float32"}
    assert {weight.dtype.name for weight in net.model.weights} == {"float32"}
    assert f"Its {dtype} layers were read as float32." in net.origin.notes
    # half precision keeps 11 bits (bfloat16: 8) of a number
    logits = net.model.predict(images, verbose=0)
    np.testing.assert_allclose(net.probabilities(logits), model.predict(images, verbose=0).astype("float32"), atol=1e-2)
    for mine, stored in zip(net.model.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(mine, stored.astype("float32"))
    values = {net.graph.input: images}
    for node in net.graph.nodes[1:]:
        values[node.name] = node.apply([values[name] for name in node.inputs])
    np.testing.assert_allclose(values[net.graph.output], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["Policy", "PolicyV1", "DTypePolicy"])
def test_every_form_of_a_dtype(policy):
    def layers(*dtypes) -> dict:
        return {"layers": [{"class_name": "Dense", "config": {"name": "float16", "dtype": dtype}} for dtype in dtypes]}

    mixed = {"class_name": policy, "config": {"name": "mixed_float16"}}
    given = layers("float16", mixed, "float64", None, "int32", {"class_name": policy, "config": {"name": "float32"}})
    before = copy.deepcopy(given)
    found = in_single(given)
    assert given == before
    assert found.configuration == layers("float32", "float32", *(layer["config"]["dtype"] for layer in given["layers"][2:]))
    assert found.notes == ("Its float16 and mixed_float16 layers were read as float32.",)
    assert in_single(found.configuration) == (found.configuration, ())


@pytest.mark.parametrize("dtype", [{}, [], 3, {"class_name": []}, {"class_name": "Policy"}, {"class_name": "Policy", "config": ["float16"]},
                                   {"class_name": "Other", "config": {"name": "float16"}}])  # fmt: skip
def test_what_is_no_dtype_stays(dtype):
    assert in_single({"config": {"dtype": dtype}}) == ({"config": {"dtype": dtype}}, ())
