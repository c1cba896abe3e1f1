"""The words of the code: sets of layer classes, and what a method's record says."""

from __future__ import annotations

import re
from inspect import cleandoc
from pathlib import Path

from docs.pages.words import shortened, table
from wel.methods.registry import METHODS, Method
from wel.networks import kinds


def layer_kinds() -> str:
    """The sets of `wel.networks.kinds` with the comment that stands above each, or its name in words."""
    text = Path(kinds.__file__).read_text(encoding="utf-8")
    found = re.findall(r"^((?:# .*\n)*)([A-Z_]+) = ", text, re.MULTILINE)
    sets = [(comment, name) for comment, name in found if isinstance(getattr(kinds, name), frozenset)]
    return table(("set", "what it holds", "members"), [_kinds(*one) for one in sets])


def _kinds(comment: str, name: str) -> tuple[str, str, str]:
    said = " ".join(line.removeprefix("# ") for line in comment.splitlines())
    return f"`{name}`", said or name.lower().replace("_", " "), shortened(sorted(getattr(kinds, name)))


def method_facts() -> str:
    """The fields of a method's record, and the records."""
    fields = dict(re.findall(r"^ {4}(\w+): (.+)", cleandoc(Method.__doc__ or ""), re.MULTILINE))
    listed = ("family", "relu_only", "two_kernels", "same_semantics", "cost", "audit_rank", "head", "reduction", "map_percentile")
    lines = [(f"[{name}](../methods/{name}.md)", *(_fact(getattr(method, field)) for field in listed)) for name, method in METHODS.items()]
    meaning = table(("field", "what it says"), [(f"`{name}`", said) for name, said in fields.items()])
    headings = ("method", *(f"`{field}`" for field in listed))
    return f'{meaning}\n<div class="narrow" markdown>\n\n{table(headings, lines)}\n</div>'


def _fact(value: object) -> object:
    return {True: "yes", False: "", None: ""}.get(value, value) if value is None or isinstance(value, bool) else value
