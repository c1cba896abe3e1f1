"""wel.modelfiles.configuration: what JSON is read, whose layer an object is, and which calls come to an end."""

from __future__ import annotations

import json

import pytest

from wel.errors import WelError
from wel.modelfiles.configuration import DEEPEST, LONGEST, check_model, children, for_inference, objects, parsed


def configuration(model) -> dict:
    return json.loads(model.to_json())


@pytest.mark.parametrize("text", ['{"a": [1, {"b": null}]}', b'{"a": [1, {"b": null}]}'])
def test_parsed(text):
    assert parsed(text) == {"a": [1, {"b": None}]}


def nested(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


def test_depth_is_bounded_exactly():
    # the innermost dictionary is at level `levels`, the number in it one below
    assert parsed(nested(DEEPEST - 1))
    with pytest.raises(WelError, match=f"nested more than {DEEPEST} levels deep"):
        parsed(nested(DEEPEST))


def test_length_is_bounded_exactly():
    text = '{"a": "%s"}'
    room = LONGEST - len(text) + 2
    assert len(parsed(text % ("x" * room))["a"]) == room
    with pytest.raises(WelError, match="longer than 16 MiB"):
        parsed(text % ("x" * (room + 1)))


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('{"a": 1, "a": 2}', "the same key twice"),
        ('{"b": {"a": 1, "a": 1}}', "the same key twice"),
        ('{"a": NaN}', "holds NaN"),
        ("[1]", "is a list. Expected a JSON object"),
        ("{", r"is no JSON \(Expecting property name .*, line 1\)"),
        (b"\xff", "is no UTF-8 text"),
        ('{"a": %s}' % ("1" * 5000), "a number of thousands of digits"),
    ],
)
def test_what_is_refused(text, sentence):
    with pytest.raises(WelError, match=sentence):
        parsed(text)


def test_infinity_is_a_number():
    assert parsed('{"a": [Infinity, -Infinity]}') == {"a": [float("inf"), float("-inf")]}


def test_children():
    assert children({"a": 1, "b": [2]}) == [1, [2]] and children([3, "x"]) == [3, "x"] and children("ab") == []


def test_objects_know_their_layer():
    inner = {"class_name": "Dense", "config": {"name": "inner", "kernel_initializer": {"class_name": "Zeros", "config": {}}}}
    outer = {"class_name": "TimeDistributed", "config": {"name": "outer", "layer": inner}}
    owners = [(part.get("class_name"), owner) for part, owner in objects({"class_name": "Sequential", "config": [outer, {"x": {}}]})]
    assert owners == [
        ("Sequential", ""), ("TimeDistributed", "outer"), (None, "outer"), ("Dense", "inner"), (None, "inner"), ("Zeros", "inner"),
        (None, "inner"), (None, ""), (None, ""),
    ]  # fmt: skip


def test_for_inference():
    given = {"compile_config": {"loss": "x"}, "layers": [{"config": {"unroll": True, "units": 3}, "compile_config": 1}, {"unroll": False}]}
    assert for_inference(given) == {"layers": [{"config": {"unroll": False, "units": 3}}, {"unroll": False}]}
    assert given["layers"][0]["config"]["unroll"] is True


@pytest.mark.parametrize("name", ["sequential", "functional", "nested", "shared_layer", "residual"])
def test_models_that_keras_writes_are_accepted(name, request):
    check_model(configuration(request.getfixturevalue(name)))


def test_operations_are_accepted():
    from tensorflow.keras import Model, layers

    source = layers.Input((4, 4, 3))
    x = layers.Conv2D(3, 1)(source)
    check_model(configuration(Model(source, 1.0 - (2.0 * x + source)[:, :2])))


def functional(*layers: dict) -> dict:
    return {"class_name": "Functional", "config": {"name": "m", "layers": list(layers), "input_layers": [], "output_layers": []}}


def layer(name: str, *calls, kind: str = "ReLU", **config) -> dict:
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": [[[*call, 0, {}]] for call in calls]}


IMAGE = layer("image", kind="InputLayer")
SEQUENTIAL = dict(kind="Sequential", layers=[{"class_name": "ReLU", "config": {"name": "r"}}])


@pytest.mark.parametrize(
    "layers",
    [
        [IMAGE, layer("a", ("image", 0))],
        [IMAGE, layer("a", ("image", 3))],  # Keras takes any number for an input
        [layer("b", ("a", 0)), layer("a", ("image", 0)), IMAGE],
        [IMAGE, layer("a", ("image", 0), ("b", 0)), layer("b", ("a", 0), ("a", 1))],  # a, b, a, b
        [IMAGE, layer("s", ("image", 0), ("s", 1), **SEQUENTIAL), layer("a", ("s", 2))],  # a model's calls count from 1
    ],
)
def test_calls_that_come_to_an_end(layers):
    check_model(functional(*layers))


@pytest.mark.parametrize(
    "layers, sentence",
    [
        ([IMAGE, layer("a", ("a", 0))], "'a' is called on its own output"),
        ([IMAGE, layer("a", ("b", 0)), layer("b", ("a", 0))], "is called on its own output"),
        # the second call of a comes before its first in the order of its calls
        ([IMAGE, layer("a", ("b", 0), ("image", 0)), layer("b", ("a", 1))], "is called on its own output"),
        ([IMAGE, layer("a", ("nothing", 0))], "'a' is called on an output of 'nothing' that is not there"),
        ([IMAGE, layer("a", ("image", 0)), layer("b", ("a", 1))], "'b' is called on an output of 'a' that is not there"),
        ([IMAGE, layer("s", ("image", 0), **SEQUENTIAL), layer("a", ("s", 0))], "on an output of 's' that is not there"),
        ([IMAGE, layer("a", ("image", 0)), layer("a", ("image", 0))], "Two of its layers are called 'a'"),
    ],
)
def test_calls_that_keras_would_try_for_ever(layers, sentence):
    with pytest.raises(WelError, match=sentence):
        check_model(functional(*layers))
    inside = {"class_name": "Sequential", "config": {"name": "outer", "layers": [functional(*layers)]}}
    with pytest.raises(WelError, match=sentence):
        check_model(inside)


def test_sequential_of_keras_2_0():
    old = {"class_name": "Sequential", "config": [{"class_name": "ReLU", "config": {"name": "r"}}]}
    check_model(old)
    check_model(functional(IMAGE, {**old, "name": "s", "inbound_nodes": [[["image", 0, 0]]]}, layer("a", ("s", 1))))


def test_class_of_the_users_own():
    own = {"class_name": "Mine", "config": {}}
    with pytest.raises(WelError, match="It is of the class 'Mine'. Expected a Sequential or functional model"):
        check_model(own)
    check_model(own, {"Mine": object})
