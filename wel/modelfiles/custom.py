"""Classes and functions of the user's own, which model files refer to by name."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

from wel.errors import WelError, invalid

FORM = "'module:Name,Other', where the module can be imported and has the names"


def custom_objects_of(given: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """What a user gives for the names in a model file.

    Args:
        given: name -> class or function; or "module:Name,Other", of a module on the path or in the current directory, which is imported.

    Raises:
        WelError: when there is no such module, it has no such name, or importing it fails.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return _checked(dict(given))
    if not isinstance(given, str):
        raise invalid("custom_objects", given, FORM)
    module, _, listed = given.partition(":")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if not module.strip() or not names:
        raise invalid("custom_objects", given, FORM)
    found = _imported(module.strip(), given)
    missing = [name for name in names if not hasattr(found, name)]
    if missing:
        message = f"Invalid value for `custom_objects`: {given!r}. The module {module.strip()!r} has no {', '.join(missing)}"
        raise WelError(f"{message}. Expected {FORM}.")
    return _checked({name: getattr(found, name) for name in names})


def _checked(objects: dict[str, Any]) -> dict[str, Any]:
    for name, value in objects.items():
        if not isinstance(name, str) or not callable(value):
            message = f"Invalid value for `custom_objects`: {name!r} is a {type(value).__name__}"
            raise WelError(f"{message}. Expected names of classes or functions.")
    return objects


def _imported(module: str, given: str) -> Any:
    with _current_directory_on_path():
        try:
            return importlib.import_module(module)
        except Exception as error:  # a user's module may raise anything
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            message = f"Invalid value for `custom_objects`: {given!r}. The module {module!r} cannot be imported ({reason[0][:200]})."
            raise WelError(f"{message} Expected {FORM}.") from error


@contextmanager
def _current_directory_on_path() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
