"""wel.methods.registry and wel.methods.options: the registry, choosing from it, and what a method's options may be."""

from __future__ import annotations

import numpy as np
import pytest

from wel.errors import WelError
from wel.methods.options import settle_options
from wel.methods.registry import CITATIONS, METHODS, choose_methods, find_method

IMAGES = np.linspace(-0.5, 2, 24, dtype="float32").reshape(2, 2, 2, 3)


def test_names_are_keys_and_labels_are_their_own():
    assert all(name == method.name for name, method in METHODS.items())
    assert len({method.label for method in METHODS.values()}) == len(METHODS)
    assert {method.source for method in METHODS.values()} <= set(CITATIONS)


def test_the_papers_marks():
    # figure 3 of the paper: letters, and c0 … c4 of seaborn's "colorblind" palette
    expected = {
        "guided_backprop": ("G", "#0173b2"),
        "deep_taylor": ("T", "#d55e00"),
        "lrp_z": ("Z", "#029e73"),
        "lrp_cmp_alpha1_beta0": ("^", "#de8f05"),
    }
    assert {name: (METHODS[name].mark, METHODS[name].color) for name in expected} == expected


def test_no_two_methods_look_the_same():
    assert len({(method.mark, method.color) for method in METHODS.values()}) == len(METHODS)


def test_methods_are_chosen_in_the_order_asked_for_each_once():
    names = ["lrp_z", "gradient", "lrp_z"]
    assert [method.name for method in choose_methods(names)] == ["lrp_z", "gradient"]
    assert choose_methods("gradient") == [METHODS["gradient"]]
    assert choose_methods(name for name in names) == choose_methods(names)


def test_all_holds_the_methods_of_the_paper():
    names = {method.name for method in choose_methods("all")}
    assert {"gradient", "guided_backprop", "deconvnet", "rectgrad", "deep_taylor", "lrp_z"} <= names
    assert {f"lrp_{kind}" for kind in ("alpha1_beta0", "alpha2_beta1", "alpha5_beta4", "cmp_alpha1_beta0", "cmp_alpha2_beta1")} <= names


@pytest.mark.parametrize("names", [["gradient", "nope"], "nope", ["all", "gradient"]])
def test_an_unknown_method_is_named(names):
    with pytest.raises(WelError, match="^Invalid value for `method`: '(nope|all)'. Expected one of gradient, guided_backprop, "):
        choose_methods(names)


def test_no_method_is_refused():
    with pytest.raises(WelError, match=r"^Invalid value for `methods`: \[\]. Expected 'all' or one or more methods.$"):
        choose_methods([])


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        ("gradient", {"low": 0}, "^Invalid value for `options`: 'low'. Expected for gradient: none.$"),
        ("deep_taylor", {"lo": 0}, "^Invalid value for `options`: 'lo'. Expected for deep_taylor: one of low, high, stabilizer.$"),
        ("deep_taylor", {"low": np.nan}, "^Invalid value for `low`: nan. Expected a finite number.$"),
        ("deep_taylor", {"high": "1"}, "^Invalid value for `high`: '1'. Expected a finite number.$"),
        ("deep_taylor", {"low": 3}, "^Invalid value for `low`: 3.0. Expected at most `high`, 2.0.$"),
        ("rectgrad", {"percentile": 101}, "^Invalid value for `percentile`: 101. Expected a number from 0 to 100.$"),
        ("rectgrad", {"percentile": -1}, "^Invalid value for `percentile`: -1. Expected a number from 0 to 100.$"),
        ("lrp_epsilon", {"epsilon": 0}, "^Invalid value for `epsilon`: 0. Expected a number above 0.$"),
        ("lrp_epsilon", {"epsilon": [1]}, r"^Invalid value for `epsilon`: \[1\]. Expected a number above 0.$"),
    ],
)
def test_options_that_a_method_cannot_take(method, given, sentence):
    with pytest.raises(WelError, match=sentence):
        settle_options(find_method(method), given, IMAGES)
