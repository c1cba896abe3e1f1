"""wel.modelfiles.conversion: who is called with whose output, in each way that Keras 1 and 2 write it."""

from __future__ import annotations

import pytest

from wel.errors import WelError
from wel.modelfiles.conversion import first_node, sources_of, triples, with_sources

IMAGE = {"class_name": "InputLayer", "config": {}}
DENSE = {"class_name": "Dense", "config": {}}


@pytest.mark.parametrize("layers, expected", [([IMAGE], 1), ([DENSE], 0), ([{**DENSE, "config": {"batch_input_shape": [None, 3]}}], 1),
                                              ([{"class_name": "Sequential", "config": [IMAGE]}], 1)])  # fmt: skip
def test_first_node_of_a_nested_model(layers, expected):
    assert first_node({"class_name": "Sequential", "config": layers}) == expected


def test_first_node_of_a_layer():
    assert first_node(DENSE) == 0


def test_sources_are_read_and_replaced():
    keras1, keras2, single = [["a", 0, 0], ["b", 1, 0]], [["a", 0, 0, {"training": None}]], ["a", 0, 0, {}]
    assert sources_of(keras1) == [("a", 0, 0), ("b", 1, 0)]
    assert sources_of(keras2) == sources_of(single) == [("a", 0, 0)]
    assert with_sources(keras1, [["c", 0, 0], ["d", 0, 0]]) == [["c", 0, 0], ["d", 0, 0]]
    assert with_sources(keras2, [["c", 0, 0]]) == [["c", 0, 0, {"training": None}]]
    assert with_sources(single, [["c", 2, 0]]) == ["c", 2, 0, {}]


def test_tensors_as_keyword_arguments_are_refused():
    with pytest.raises(WelError, match="keyword arguments"):
        sources_of([["a", 0, 0, {"y": ["b", 0, 0]}]])


def test_ends_of_a_model():
    assert triples(["a", 0, 0]) == triples([["a", 0, 0]]) == [("a", 0, 0)]
    with pytest.raises(WelError, match="names of their own"):
        triples({"a": ["a", 0, 0]})
