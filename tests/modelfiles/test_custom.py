"""wel.modelfiles.custom: classes and functions that the user gives by name."""

from __future__ import annotations

import sys

import pytest

from wel.errors import WelError
from wel.modelfiles.custom import custom_objects_of


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current directory, which is not on the path."""
    (tmp_path / "wel_test_mine.py").write_text("class Mine: pass\ndef double(x): return 2 * x\nNUMBER = 3\n")
    (tmp_path / "wel_test_broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield "wel_test_mine"
    sys.modules.pop("wel_test_mine", None)


def test_nothing():
    assert custom_objects_of(None) == {} and custom_objects_of({}) == {}


def test_dictionary():
    given = {"A": dict, "f": len}
    assert custom_objects_of(given) == given


@pytest.mark.parametrize("text", ["wel_test_mine:Mine,double", " wel_test_mine : Mine , double, "])
def test_text(text, module):
    path = list(sys.path)
    found = custom_objects_of(text)
    assert list(found) == ["Mine", "double"] and found["double"](4) == 8
    assert sys.path == path


@pytest.mark.parametrize("text", ["", "json", "json:", ":Mine", "json: ,", 3, ["json:loads"]])
def test_other_forms(text):
    with pytest.raises(WelError, match="^Invalid value for `custom_objects`: .*. Expected 'module:Name,Other'"):
        custom_objects_of(text)


def test_missing_module(module):
    with pytest.raises(WelError, match=r"The module 'wel_no_such' cannot be imported \(No module named 'wel_no_such'\)"):
        custom_objects_of("wel_no_such:Mine")


def test_broken_module(module):
    with pytest.raises(WelError, match=r"The module 'wel_test_broken' cannot be imported \(division by zero\)"):
        custom_objects_of("wel_test_broken:Mine")


def test_missing_names(module):
    with pytest.raises(WelError, match="The module 'wel_test_mine' has no Other, third. Expected"):
        custom_objects_of("wel_test_mine:Mine,Other,third")


@pytest.mark.parametrize("given", ["wel_test_mine:NUMBER", {"NUMBER": 3}])
def test_what_is_neither_class_nor_function(given, module):
    with pytest.raises(WelError, match="'NUMBER' is a int. Expected names of classes or functions"):
        custom_objects_of(given)
