"""Analyzers as methods of wel's studies, by one string: "lrp.epsilon:epsilon=0.1,input_layer_rule=Flat".

A study keeps to its own ways beside the rules: maps begin at the logit, whatever its sign, of the class that it asks for. Deep Taylor's
do too, where `analyze` has a map of zeros for a negative logit.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any, Iterable, Iterator

import numpy as np

from wel.errors import WelError, invalid
from wel.innvestigate.analyzer.base import like_images
from wel.innvestigate.analyzers import Asked, asked_for
from wel.methods.composites import BySemantics
from wel.methods.options import Rules
from wel.methods.registry import GIVEN, LRP, METHODS, SEMANTICS, SKY, TAYLOR, Method
from wel.networks.network import Network

# what innvestigate's analyzers are without being told, where it is not what wel's methods of that kind are
SETTINGS = {"integrated_gradients": {"begin": "reference"}, "smoothgrad": {"noise_unit": "one"}}


def methods_of(texts: str | Iterable[str], net: Network) -> list[Method]:
    """The methods that analyzers stand for, for a network, each once; in tables they are called as they were given.

    One that is called like a method of wel's, such as "gradient", has "(innvestigate)" behind it there, for its numbers may be others.

    Args:
        texts: one or several: of each its name in `wel.innvestigate.analyzers` and, behind a colon, its keywords with values, and commas
            between them. A value is a number, None, True or False, a word, a path, or several in brackets.
        net: from `wel.load`.

    Raises:
        WelError: for an unknown name or keyword, a value that cannot be, or an analyzer that is no method.
    """
    several = [texts] if isinstance(texts, str) else texts
    if not isinstance(several, Iterable):
        raise invalid("analyzer", texts, "a word such as 'lrp.epsilon:epsilon=0.1', or several")
    return [method_of(text, net, f"${number}$") for number, text in enumerate(dict.fromkeys(several), 1)]


def method_of(text: str, net: Network, mark: str = "+") -> Method:
    """The method that one analyzer stands for, as `methods_of`; `mark` is what figures draw it with."""
    name, keywords = parsed(text)
    paper, corrected = (asked_for(name, net.model, semantics, keywords, net.graph) for semantics in SEMANTICS)
    called = f"{text} (innvestigate)" if text in METHODS else text
    facts = {"name": called, "label": called, "mark": mark, "color": SKY, "wrapped": None, "paper": False, "audit_rank": None}
    if paper.method is None:
        raise invalid("analyzer", text, "an analyzer that asks the network; what does not stands beside all methods, as controls")
    if paper.postprocess is not None:
        raise invalid("analyzer", text, "no `postprocess`; studies make one value of a place by themselves")
    if paper.method is GIVEN:
        rules = Rules(BySemantics(paper.options["rules"], corrected.options["rules"]))
        family = TAYLOR if rules.default.paper.taylor else LRP
        formula = f"{name} of innvestigate, {text.partition(':')[2] or 'as it is'}"
        return replace(GIVEN, **facts, computed_as=GIVEN.name, options={"rules": rules}, family=family, formula=formula, cost=2)
    return replace(paper.method, **facts, computed_as=paper.method.name, options=_options(paper, net))


def _options(asked: Asked, net: Network) -> dict[str, Any]:
    method = asked.method
    given = {**asked.options, **SETTINGS.get(method.name, {})}
    if "reference" in given:
        given["reference"] = like_images(given["reference"], np.empty((1, *net.input_shape)))
    given.pop("rule", None)  # which semantics say
    return {key: replace(option, default=given.get(key, option.default)) for key, option in method.options.items()}


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """An analyzer's name and keywords, not checked yet.

    Raises:
        WelError: for something else than NAME or NAME:KEYWORD=VALUE,KEYWORD=VALUE.
    """
    if not isinstance(text, str):
        raise invalid("analyzer", text, "a word such as 'lrp.epsilon:epsilon=0.1'")
    name, _, rest = text.partition(":")
    pairs = [item.partition("=") for item in _items(rest)]
    if any(not sign or not value for _, sign, value in pairs):
        raise invalid("analyzer", text, "NAME or NAME:KEYWORD=VALUE,KEYWORD=VALUE, such as 'lrp.epsilon:epsilon=0.1'")
    return name, {key.strip(): _value(value.strip()) for key, _, value in pairs}


def _items(text: str) -> Iterator[str]:
    """What stands between commas that are not within brackets."""
    item, depth = "", 0
    for sign in text:
        depth += (sign in "[(") - (sign in ")]")
        if sign == "," and depth == 0:
            yield item
            item = ""
        else:
            item += sign
    if item:
        yield item


def _value(text: str) -> Any:
    if text[0] + text[-1] in ("[]", "()"):
        several = [_value(item.strip()) for item in _items(text[1:-1]) if item.strip()]
        return several if text[0] == "[" else tuple(several)
    try:
        return ast.literal_eval(text) if re.match(r"[-+]?\.?\d|None$|True$|False$", text) else text
    except (SyntaxError, ValueError) as error:
        raise WelError(f"Invalid value for `analyzer`: {text!r} is no number. Expected a number, None, True, False or a word.") from error
