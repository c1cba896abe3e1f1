"""Makes broken and hostile model files, each from one small network: what is wrong with it, and a part of the sentence that says so."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np

from wel.keras.two import private

MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


class Files:
    """Makes one hostile file in a folder, from the small network.

    Attributes:
        trap: a path that code in a file would make.
    """

    def __init__(self, base: Path, folder: Path):
        self.base, self.folder, self.trap = base, folder, folder / "the code ran"

    def raw(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def bytes_of(self, suffix: str) -> bytes:
        return (self.base / f"net{suffix}").read_bytes()

    def configured(self, suffix: str, change) -> Path:
        """The network with its configuration changed, in place or by what `change` returns."""
        path = self.raw(f"net{suffix}", self.bytes_of(suffix))
        if suffix == ".keras":
            configuration = json.loads(zipfile.ZipFile(path).read("config.json"))
            return self.archive({"config.json": self.text(configuration, change)})
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = self.text(json.loads(file.attrs["model_config"]), change)
        return path

    @staticmethod
    def text(configuration: dict, change) -> str:
        return json.dumps(change(configuration) or configuration)

    def archive(self, members: dict, *, without=(), more=()) -> Path:
        """The network as an archive with some members replaced, left out or added."""
        with zipfile.ZipFile(self.base / "net.keras") as archive:
            contents = {name: archive.read(name) for name in MEMBERS}
        path = self.folder / "net.keras"
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore")  # two members of one name
            for name, content in [*{**contents, **members}.items(), *more]:
                if name not in without:
                    archive.writestr(name, content)
        return path

    def hdf5(self, change) -> Path:
        path = self.raw("net.h5", self.bytes_of(".h5"))
        with h5py.File(path, "r+") as file:
            change(file)
        return path


def layers_of(configuration: dict) -> list[dict]:
    return configuration["config"]["layers"]


def layer(configuration: dict, name: str) -> dict:
    return next(part for part in layers_of(configuration) if part["config"]["name"] == name)


def setting(name: str, /, **values):
    """A change of one layer's configuration."""

    def change(configuration: dict) -> None:
        layer(configuration, name)["config"].update(values)

    return change


def inner(**values):
    """A change of the layer inside TimeDistributed."""

    def change(configuration: dict) -> None:
        layer(configuration, "steps")["config"]["layer"].update(values)

    return change


def inner_setting(**values):
    """A change of the configuration of the layer inside TimeDistributed."""

    def change(configuration: dict) -> None:
        layer(configuration, "steps")["config"]["layer"]["config"].update(values)

    return change


def entry(name: str, /, **values):
    """A change of what stands beside a layer's configuration."""

    def change(configuration: dict) -> None:
        layer(configuration, name).update(values)

    return change


def top(**values):
    def change(configuration: dict) -> None:
        configuration["config"].update(values)

    return change


def marshalled(trap: Path) -> list:
    """A Python function as Keras writes it, which makes a file when it is called."""
    generic_utils = sys.modules[private("populate_dict_with_module_objects").__module__]

    return list(generic_utils.func_dump(lambda x, trap=str(trap): (open(trap, "w").close(), x)[1]))


def lambda_config(files: Files) -> dict:
    return {"name": "evil", "function": marshalled(files.trap), "function_type": "lambda", "module": "os", "output_shape": None} | {
        "output_shape_type": "raw", "output_shape_module": None, "arguments": {}
    }  # fmt: skip


# --- configurations: what each does to the network's, and a part of the sentence --------------------------------------

FOREIGN = {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}, "registered_name": "Popen"}
SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
# what is never built, as it matters in training only
LEFT_OUT = {
    "initialiser of subprocess": (setting("conv", kernel_initializer=FOREIGN), "the initialiser Popen"),
    "regulariser of subprocess": (setting("conv", kernel_regularizer=FOREIGN), "the regulariser Popen"),
    "constraint of os": (setting("dense", bias_constraint={**FOREIGN, "module": "os"}), "the constraint Popen"),
    "initialiser by function": (setting("conv", kernel_initializer={"class_name": "get", "config": {}}), "the initialiser get"),
    "lambda as regulariser": (
        setting("conv", activity_regularizer={"class_name": "__lambda__", "config": {}}),
        "the regulariser __lambda__",
    ),
    "inside a wrapper": (inner_setting(kernel_initializer=SYSTEM), "the initialiser system"),
}
CONFIGURATIONS = {
    "activation of os": (setting("dense", activation=SYSTEM), "the function system of the module os"),
    "activation without a module": (setting("dense", activation={"class_name": "function", "config": "eval"}), "the function eval"),
    "activation of builtins": (setting("dense", activation={**SYSTEM, "module": "builtins", "config": "eval"}), "the function eval"),
    "activation of keras.utils": (setting("dense", activation={**SYSTEM, "module": "keras.utils", "config": "get_file"}), "get_file"),
    "activation that loads": (setting("dense", activation="deserialize"), "the activation deserialize"),
    "activation nobody knows": (setting("dense", activation="sharp_swish"), "layer 'dense': the activation sharp_swish"),
    "activation by class": (setting("dense", activation={"class_name": "get", "config": {}}), "the class get"),
    "recurrent activation": (setting("conv", recurrent_activation="__import__"), "the activation __import__"),
    "inside a wrapper": (inner(module="os", class_name="system"), "layer 'inner': the class .* of the module os"),
    "lambda inside a wrapper": (inner(class_name="Lambda"), "layer 'inner': a layer of the class Lambda"),
    "registered as Lambda": (entry("conv", registered_name="keras>Lambda"), "a layer of the class Lambda"),
    "unknown class": (entry("conv", class_name="Mystery"), "layer 'conv': the class Mystery, which is not Keras's"),
    "two unknown classes": (
        lambda c: (entry("conv", class_name="Mystery")(c), entry("dense", class_name="Riddle")(c))[0],
        "Mystery.*; layer 'dense': the class Riddle",
    ),
    "class of another case": (entry("conv", class_name="conv2D"), "the class conv2D"),
    "class that is a list": (entry("conv", class_name=["Conv2D"]), "a class without a name|malformed"),
    "class that is a number": (entry("conv", class_name=3), "a class without a name|malformed"),
    "module that is a list": (entry("conv", module=["os"]), "a class without a name"),
    "vocabulary": (entry("flatten", class_name="StringLookup", config={"name": "flatten", "vocabulary": "/etc/passwd"}), "StringLookup"),
    "text vectorisation": (entry("flatten", class_name="TextVectorization", config={"name": "flatten"}), "TextVectorization"),
    "residual wrapper": (entry("flatten", class_name="ResidualWrapper"), "a layer of the class ResidualWrapper"),
    "locally connected": (entry("conv", class_name="LocallyConnected2D"), "position by position"),
    "type specification": (setting("image", type_spec={"class_name": "TypeSpec", "type_spec": "tf.TensorSpec"}), "TypeSpec"),
    "composite tensor": (setting("image", tensor={"class_name": "CompositeTensor", "spec": {}, "tensors": []}), "CompositeTensor"),
    "subclassed model": (lambda c: {**c, "class_name": "MyModel"}, "It is of the class 'MyModel'"),
    "model of a module": (lambda c: {**c, "module": "os", "class_name": "MyModel"}, "of the module os|class 'MyModel'"),
    "layer as model": (lambda c: layer(c, "conv"), "It is of the class 'Conv2D'"),
    "layer on itself": (entry("conv", inbound_nodes=[[["conv", 0, 0, {}]]]), "'conv' is called on its own output"),
    "circle": (entry("conv", inbound_nodes=[[["flatten", 0, 0, {}]]]), "is called on its own output"),
    "layer from nowhere": (entry("conv", inbound_nodes=[[["nowhere", 0, 0, {}]]]), "on an output of 'nowhere' that is not there"),
    "call that is not there": (entry("dense", inbound_nodes=[[["flatten", 7, 0, {}]]]), "on an output of 'flatten' that is not there"),
    "negative call": (entry("dense", inbound_nodes=[[["flatten", -1, 0, {}]]]), "on an output of 'flatten' that is not there"),
    "argument from nowhere": (entry("dense", inbound_nodes=[[["flatten", 0, 0, {"a": ["nowhere", 0, 0]}]]]), "'nowhere' that is not there"),
    "output that is not there": (entry("dense", inbound_nodes=[[["flatten", 0, 9, {}]]]), "is not a Keras model file"),
    "call on constants": (entry("dense", inbound_nodes=[[["_CONSTANT_VALUE", -1, [[1.0]], {}]]]), "called on constants alone"),
    "call without inputs": (entry("dense", inbound_nodes=[[]]), "called on constants alone"),
    "call that is text": (entry("dense", inbound_nodes=[[["flatten", "0", 0, {}]]]), "A call in it is malformed"),
    "calls that are text": (entry("dense", inbound_nodes="flatten"), "has no list of calls"),
    "calls that are missing": (lambda c: layer(c, "dense").pop("inbound_nodes") and None, "has no list of calls|malformed"),
    "two layers of one name": (lambda c: layers_of(c).append(copy.deepcopy(layer(c, "conv"))), "Two of its layers are called 'conv'"),
    "layer of two names": (setting("conv", name="other"), "has another name in its own configuration"),
    "name that is a number": (entry("conv", name=3), "has no name"),
    "layers that are an object": (top(layers={"conv": 1}), "no list of layers|not that of a Sequential"),
    "layers that are numbers": (top(layers=[1, 2]), "no list of objects|not that of a Sequential"),
    "layers that are missing": (lambda c: c["config"].pop("layers") and None, "no list of layers|not that of a Sequential"),
    "layer without configuration": (entry("conv", config=None), "."),
    "configuration that is text": (lambda c: {**c, "config": "conv"}, "no list of layers|not that of a Sequential"),
    "no inputs": (top(input_layers=[]), "."),
    "input from nowhere": (top(input_layers=[["nowhere", 0, 0]]), "."),
    "output from nowhere": (top(output_layers=[["nowhere", 0, 0]]), "."),
    "outputs that are numbers": (top(output_layers=[1, 2, 3]), "."),
    "filters that are text": (setting("conv", filters="many"), "."),
    "filters below zero": (setting("conv", filters=-4), "."),
    "no filters": (setting("conv", filters=0), "."),
    "filters that are a list": (setting("conv", filters=[4]), "."),
    "kernel of no size": (setting("conv", kernel_size=[0, 0]), "."),
    "kernel above the image": (setting("conv", kernel_size=[99, 99]), "."),
    "shape that is text": (setting("image", batch_input_shape="8x8"), "."),
    "shape below zero": (setting("image", batch_input_shape=[None, -8, 8, 3]), "."),
    "shape of nothing": (setting("image", batch_input_shape=[]), "."),
    "type nobody knows": (setting("conv", dtype="float33"), "."),
    "type of texts": (setting("image", dtype="string"), "."),
    "argument nobody knows": (setting("conv", filterz=3), "."),
    "other widths": (setting("conv", filters=5), "."),
    "many units": (setting("dense", units=10**9), "more than .* weights and its file stores"),
    "units beyond 64 bits": (setting("dense", units=10**30), "."),
    "many filters": (setting("conv", filters=10**8), "more than .* weights and its file stores"),
    "large kernel": (setting("image", batch_input_shape=[None, 10**5, 10**5, 3]), "more than .* weights and its file stores"),
    "large images": (lambda c: large_images(c, 10**6), "take 14.6 TiB for one image, most of it those of 'wide', of shape"),
    "images beyond 64 bits": (lambda c: large_images(c, 10**12), "."),
    "deep models": (lambda c: deep_models(c, 80), "nested more than 200 levels"),
    "many layers": (lambda c: layers_of(c).extend([{"class_name": "ReLU", "config": {}}] * 10_001), "more than 10,000 layers|malformed"),
}  # fmt: skip


def large_images(configuration: dict, size: int) -> None:
    """Between two layers, the image is made so much wider and cut down again; the weights stay the same."""
    before = ["conv", 0, 0, {}]
    for name, kind, argument in (("wide", "ZeroPadding2D", "padding"), ("cut", "Cropping2D", "cropping")):
        config = {"name": name, "trainable": True, "dtype": "float32", argument: [[0, size], [0, size]], "data_format": "channels_last"}
        part = {"class_name": kind, "config": config, "name": name, "inbound_nodes": [[before]]}
        layers_of(configuration).append({"module": "keras.layers", **part, "registered_name": None})
        before = [name, 0, 0, {}]
    layer(configuration, "steps")["inbound_nodes"] = [[before]]


def replaced(configuration: dict, owner: str, kind: str, **config) -> None:
    layer(configuration, owner).update(class_name=kind, config={"name": owner, "trainable": True, "dtype": "float32", **config})


def deep_models(configuration: dict, depth: int) -> dict:
    for _ in range(depth):
        configuration = {"class_name": "Sequential", "config": {"name": "s", "layers": [configuration]}}
    return configuration


def configuration_case(name: str, suffix: str):
    change, sentence = CONFIGURATIONS[name]
    return lambda files: files.configured(suffix, change), sentence


# --- texts in place of a configuration --------------------------------------------------------------------------------

TEXTS = {
    "no JSON": (b"{'class_name': 1}", "is no JSON"),
    "not closed": (b'{"class_name": "Model", ', "is no JSON"),
    "nothing": (b"", "is no JSON"),
    "null": (b"null", "is a NoneType"),
    "a list": (b"[]", "is a list"),
    "no UTF-8": (b'{"class_name": "\xff\xfe"}', "no UTF-8|no Keras"),
    "NaN": (b'{"class_name": "Sequential", "config": {"name": "a", "layers": [], "x": NaN}}', "holds NaN"),
    "the same key twice": (b'{"class_name": "Sequential", "class_name": "Lambda", "config": {}}', "the same key twice"),
    "deep lists": (b"[" * 100_000, "levels deep"),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "levels deep"),
    "300 levels": (b'{"a":' * 300 + b"1" + b"}" * 300, "levels deep"),
    "a long number": (b'{"a": ' + b"1" * 5000 + b"}", "."),
    "long": (b'{"a": "' + b"x" * (16 << 20) + b'"}', "longer than 16 MiB"),
}


def text_case(name: str, suffix: str):
    text, sentence = TEXTS[name]

    def make(files: Files) -> Path:
        if suffix == ".json":
            return files.raw("net.json", text)
        return files.archive({"config.json": text})

    return make, sentence


# --- containers -------------------------------------------------------------------------------------------------------


def lambda_in(suffix: str):
    def make(files: Files) -> Path:
        return files.configured(suffix, lambda c: replaced(c, "flatten", "Lambda", **{**lambda_config(files), "name": "flatten"}))

    return make


def activation_with_code(files: Files) -> Path:
    function = {"class_name": "__lambda__", "config": {"value": marshalled(files.trap)}}
    return files.configured(".keras", setting("dense", activation=function))


class Touch:
    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def pickled(name: str):
    return lambda files: files.raw(name, pickle.dumps(Touch(files.trap)))


def pickled_weights(files: Files) -> Path:
    content = io.BytesIO()
    np.savez(content, a=np.array([Touch(files.trap)], dtype=object))
    return files.archive({}, without=("model.weights.h5",), more=[("model.weights.npz", content.getvalue())])


def truncated(suffix: str, part: float):
    return lambda files: files.raw(f"net{suffix}", files.bytes_of(suffix)[: int(part * len(files.bytes_of(suffix)))])


def beginning(name: str, content: bytes):
    return lambda files: files.raw(name, content)


def directory(files: Files) -> Path:
    (files.folder / "net.h5").mkdir()
    return files.folder / "net.h5"


def pipe(files: Files) -> Path:
    os.mkfifo(files.folder / "net.h5")
    return files.folder / "net.h5"


def link(target: str):
    def make(files: Files) -> Path:
        (files.folder / "net.h5").symlink_to(target)
        return files.folder / "net.h5"

    return make


def saved_model(files: Files) -> Path:
    (files.folder / "net").mkdir()
    (files.folder / "net" / "saved_model.pb").write_bytes(b"\x08\x01")
    return files.folder / "net"


def flipped(suffix: str, start: int):
    """Every hundredth byte from `start` on turned over."""

    def make(files: Files) -> Path:
        content = bytearray(files.bytes_of(suffix))
        for at in range(start, len(content), 100):
            content[at] ^= 0xFF
        return files.raw(f"net{suffix}", bytes(content))

    return make


def in_hdf5(change):
    return lambda files: files.hdf5(change)


def kernel(file: h5py.File) -> str:
    return "model_weights/conv/conv/kernel:0"


def in_place_of_kernel(make):
    def change(file: h5py.File) -> None:
        path = kernel(file)
        shape = file[path].shape
        del file[path]
        make(file, path, shape)

    return in_hdf5(change)


def external_link(file, path, shape) -> None:
    file[path] = h5py.ExternalLink("/etc/hostname", "/kernel")


def soft_link(file, path, shape) -> None:
    file[path] = h5py.SoftLink("/nowhere")


def soft_link_in_circle(file, path, shape) -> None:
    file[path] = h5py.SoftLink(f"/{path}")


def external_storage(file, path, shape) -> None:
    file.create_dataset(path, shape, "float32", external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def virtual(file, path, shape) -> None:
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset(path, layout)


def references(file, path, shape) -> None:
    file.create_dataset(path, data=np.array([file["model_weights"].ref], dtype=h5py.ref_dtype))


def texts(file, path, shape) -> None:
    file.create_dataset(path, data=["many"] * 3, dtype=h5py.string_dtype())


def compounds(file, path, shape) -> None:
    file.create_dataset(path, data=np.zeros(3, dtype=[("a", "f4"), ("b", "i4")]))


def never_stored(file, path, shape) -> None:
    file.create_dataset(path, (10**5, 10**5), "float32", chunks=(1000, 1000))


def compressed(file, path, shape) -> None:
    zeros = file.create_dataset(path, (400, 1 << 20), "float32", chunks=(1, 1 << 20), compression="gzip")
    chunk = zlib.compress(bytes(4 << 20))
    for row in range(400):
        zeros.id.write_direct_chunk((row, 0), chunk)


def not_finite(file, path, shape) -> None:
    file.create_dataset(path, data=np.full(shape, np.nan, dtype="float32"))


def other_shape(file, path, shape) -> None:
    file.create_dataset(path, data=np.zeros((2, 2), dtype="float32"))


def inflating(file, path, shape) -> None:
    """A part of a dataset that unpacks to 800 MiB where 400 kB belong; later versions of HDF5 write no such part of a smaller one."""
    few = file.create_dataset(path, (10,), "float32", maxshape=(None,), chunks=(100_000,), compression="gzip")
    packer = zlib.compressobj(1)
    few.id.write_direct_chunk((0,), b"".join(packer.compress(bytes(1 << 20)) for _ in range(800)) + packer.flush())


def large_chunk(file, path, shape) -> None:
    few = file.create_dataset(path, (10,), "float32", maxshape=(None,), chunks=(900_000_000,), compression="gzip")
    few.id.write_direct_chunk((0,), zlib.compress(bytes(40)))


def no_shape(file, path, shape) -> None:
    file.create_dataset(path, data=h5py.Empty("float32"))


def attribute(name: str, value, where: str = "/"):
    def change(file: h5py.File) -> None:
        file[where].attrs[name] = value

    return in_hdf5(change)


def long_text(files: Files) -> tuple[bytearray, int]:
    """The network's bytes with a text of 8 MiB beside its weights, and where the file says so: length (4 bytes) and place (12 bytes)."""
    path = files.hdf5(lambda file: file["model_weights"].attrs.create("long", b"x" * (8 << 20), dtype=h5py.string_dtype()))
    content = bytearray(path.read_bytes())
    return content, content.find(struct.pack("<I", 8 << 20))


def many_names(files: Files) -> Path:
    """One text of 8 MiB under four thousand names: 8 MiB in the file, 31 GiB in memory."""
    names, count = np.array([b"a"] * 4000, dtype=object), 4000
    content, at = long_text(Files(files.hdf5(lambda file: file["model_weights"].attrs.create("names", names)).parent, files.folder))
    reference, length = bytes(content[at : at + 16]), struct.pack("<I", 1)
    first = content.find(length)
    while not all(content[first + 16 * i : first + 16 * i + 4] == length for i in range(count)):
        first = content.find(length, first + 1)
    content[first : first + 16 * count] = reference * count
    return files.raw("net.h5", bytes(content))


def endless_text(files: Files) -> Path:
    """A text that says that it is 4 GiB long."""
    content, at = long_text(files)
    content[at : at + 4] = b"\xff\xff\xff\xff"
    return files.raw("net.h5", bytes(content))


def reference_as_configuration(file: h5py.File) -> None:
    file.attrs.create("model_config", file["model_weights"].ref, dtype=h5py.ref_dtype)


def no_weights(file: h5py.File) -> None:
    del file["model_weights"]


def no_layers(file: h5py.File) -> None:
    del file["model_weights"].attrs["layer_names"]


def missing_kernel(file: h5py.File) -> None:
    del file[kernel(file)]


def group_in_circle(file: h5py.File) -> None:
    del file[kernel(file)]
    file[kernel(file)] = file["model_weights"]


def encrypted(files: Files) -> Path:
    path = files.archive({})
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 4)
    return files.raw("net.keras", bytes(content))


def bomb(member: str, length: int):
    """A member of zeros that says what it holds, and takes a thousandth of it."""

    def make(files: Files) -> Path:
        path = files.archive({}, without=(member,))
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(member, "w", force_zip64=True) as file:
            for _ in range(length >> 20):
                file.write(bytes(1 << 20))
        return path

    return make


def packed(method: int):
    def make(files: Files) -> Path:
        path = files.archive({}, without=("config.json",))
        with zipfile.ZipFile(path, "a", method) as archive:
            archive.writestr("config.json", b"{}")
        return path

    return make


def bomb_in_archive(files: Files) -> Path:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("layers/dense/vars/0", (10**5, 10**5), "float32", chunks=(1000, 1000))
    return files.archive({"model.weights.h5": content.getvalue()})


PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
CONTAINERS = {
    "lambda, .h5": (lambda_in(".h5"), "layer 'flatten': a layer of the class Lambda"),
    "lambda, .keras": (lambda_in(".keras"), "layer 'flatten': a layer of the class Lambda"),
    "lambda as activation": (activation_with_code, "layer 'dense': a layer of the class __lambda__"),
    "pickle called .h5": (pickled("net.h5"), "is no HDF5 file"),
    "pickle called .keras": (pickled("net.keras"), "is no Keras archive"),
    "pickle called .json": (pickled("net.json"), "no JSON|no UTF-8"),
    "pickled weights": (pickled_weights, "keeps its weights as pickles"),
    "SavedModel": (saved_model, "is a SavedModel, a program that TensorFlow runs"),
    "directory": (directory, "Expected a file that ends in"),
    "pipe": (pipe, "Expected a file that ends in"),
    "device": (link("/dev/zero"), "Expected a file that ends in"),
    "link to itself": (link("net.h5"), "or an existing file"),
    "link to nowhere": (link("nowhere.h5"), "or an existing file"),
    "empty .h5": (beginning("net.h5", b""), "is no HDF5 file"),
    "empty .keras": (beginning("net.keras", b""), "is no Keras archive"),
    "text .hdf5": (beginning("net.hdf5", b"a model\n" * 100), "is no HDF5 file"),
    "picture": (beginning("net.h5", PNG), "is no HDF5 file"),
    "signature only": (beginning("net.h5", b"\x89HDF\r\n\x1a\n"), "is no HDF5 file"),
    "signature and zeros": (beginning("net.h5", b"\x89HDF\r\n\x1a\n" + bytes(4096)), "is no HDF5 file"),
    "zip signature only": (beginning("net.keras", b"PK\x03\x04" + bytes(100)), "is no Keras archive"),
    **{f".h5, {part:.0%} of it": (truncated(".h5", part), "is no HDF5 file") for part in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)},
    **{f".keras, {part:.0%} of it": (truncated(".keras", part), "is no Keras archive") for part in (0.01, 0.3, 0.6, 0.9, 0.999)},
    **{f".h5, bytes turned from {start}": (flipped(".h5", start), ".") for start in (9, 60, 600, 6000)},
    **{f".keras, bytes turned from {start}": (flipped(".keras", start), ".") for start in (5, 40, 4000)},
    "external link": (in_place_of_kernel(external_link), "is a link to somewhere else"),
    "soft link": (in_place_of_kernel(soft_link), "is a link to somewhere else"),
    "soft link in a circle": (in_place_of_kernel(soft_link_in_circle), "is a link to somewhere else"),
    "external storage": (in_place_of_kernel(external_storage), "lies in other files"),
    "virtual dataset": (in_place_of_kernel(virtual), "lies in other files"),
    "references": (in_place_of_kernel(references), "Expected numbers"),
    "texts": (in_place_of_kernel(texts), "Expected numbers"),
    "compounds": (in_place_of_kernel(compounds), "Expected numbers"),
    "never stored": (in_place_of_kernel(never_stored), "It declares 37.3 GiB and stores"),
    "compressed": (in_place_of_kernel(compressed), "It declares 1.56 GiB and stores 1.5"),
    "NaN weights": (in_place_of_kernel(not_finite), "Invalid weights: layer 'conv' holds NaN"),
    "weights of another shape": (in_place_of_kernel(other_shape), "weights that do not fit"),
    "weights without a shape": (in_place_of_kernel(no_shape), "Expected numbers"),
    "weights that are missing": (in_hdf5(missing_kernel), "weights that do not fit"),
    "group as weights": (in_hdf5(group_in_circle), "weights that do not fit"),
    "no weights": (in_hdf5(no_weights), "holds no weights"),
    "no layer names": (in_hdf5(no_layers), "weights that do not fit"),
    "many long names": (many_names, "Its attribute 'names' is broken, or too large to be read"),
    "endless text": (endless_text, "Its attribute 'long' is broken, or too large to be read"),
    "inflating": (in_place_of_kernel(inflating), "kernel:0' is broken, or too large to be read"),
    "large chunk": (in_place_of_kernel(large_chunk), "weights that do not fit|too large"),
    "configuration that is a number": (attribute("model_config", 3), "model_config is no text"),
    "configuration that is an array": (attribute("model_config", [b"{", b"}"]), "model_config is no text"),
    "configuration that is a reference": (in_hdf5(reference_as_configuration), "'model_config' is neither text"),
    "version that is a number": (attribute("keras_version", 2.2), "keras_version is no text"),
    "names that are numbers": (attribute("layer_names", [1, 2], "model_weights"), "weights that do not fit"),
    "names from nowhere": (attribute("layer_names", [b"/etc/passwd", b"../x"], "model_weights"), "weights that do not fit"),
    "encrypted": (encrypted, "is encrypted"),
    "two members of one name": (lambda files: files.archive({}, more=[("config.json", b"{}")]), "two members of one name"),
    "member outside": (lambda files: files.archive({}, more=[("../../outside", b"x")]), "Expected nothing but"),
    "absolute member": (lambda files: files.archive({}, more=[("/tmp/outside", b"x")]), "Expected nothing but"),
    "assets": (lambda files: files.archive({}, more=[("assets/vocabulary.txt", b"x")]), "files of its own"),
    "zip in it": (lambda files: files.archive({}, more=[("inner.keras", b"PK")]), "Expected nothing but"),
    "no configuration": (lambda files: files.archive({}, without=("config.json",)), "holds no config.json"),
    "no weights in it": (lambda files: files.archive({}, without=("model.weights.h5",)), "holds no model.weights.h5"),
    "weights that are text": (lambda files: files.archive({"model.weights.h5": b"many weights"}), "is no HDF5 file"),
    "metadata that is a list": (lambda files: files.archive({"metadata.json": b"[]"}), "is a list"),
    "version that is a list": (lambda files: files.archive({"metadata.json": b'{"keras_version": [3]}'}), "keras_version is no text"),
    "version nobody knows": (lambda files: files.archive({"metadata.json": b'{"keras_version": "9.9"}'}), "."),
    "bomb as configuration": (bomb("config.json", 64 << 20), "longer than 16 MiB"),
    "bomb as metadata": (bomb("metadata.json", 64 << 20), "longer than 16 MiB"),
    "bomb as weights": (bomb("model.weights.h5", 64 << 20), "It declares 64 MiB and stores"),
    "bomb in the weights": (bomb_in_archive, "It declares 37.3 GiB and stores"),
    "packed with bzip2": (packed(zipfile.ZIP_BZIP2), "compressed in an unusual way"),
    "packed with lzma": (packed(zipfile.ZIP_LZMA), "compressed in an unusual way"),
}  # fmt: skip

CASES = {
    **{f"{name}, {suffix}": configuration_case(name, suffix) for name in CONFIGURATIONS for suffix in (".h5", ".keras")},
    **{f"{name} as text, {suffix}": text_case(name, suffix) for name in TEXTS for suffix in (".keras", ".json")},
    **CONTAINERS,
}
