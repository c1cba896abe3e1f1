"""A page of every method, and their overview: the registry's record, the rules, and what audits found."""

from __future__ import annotations

import json
from functools import cache

from docs.pages import audits, rules
from docs.pages.words import linked, shortened, table
from wel.methods.registry import BOTTLENECK, CITATIONS, CONTROL, CONVOLUTION, METHODS, POOLED, Method

NAMES = tuple(METHODS)
REDUCTIONS = {"sum": "their sum", "mean": "their mean: a place has one value in all of them", "max_abs": "the largest absolute value"}
HEADS = {"logit": "the class's logit", "one": "1 at the class's logit"}
LAYERS = {
    CONVOLUTION: "the end of the last convolutional block, unless given",
    BOTTLENECK: "the end of the last convolutional block, unless given; nothing may lead past it",
    POOLED: "the one below the global average pooling",
}


def families() -> dict[str, list[str]]:
    """Names of methods by family."""
    found: dict[str, list[str]] = {}
    for method in METHODS.values():
        found.setdefault(method.family[0].upper() + method.family[1:], []).append(method.name)
    return found


@cache
def rows() -> list[dict]:
    """Kinds of layers that all methods treat alike, with their rules (`docs.pages.rules`)."""
    return json.loads(rules.FILE.read_text(encoding="utf-8"))


@cache
def audited() -> list[dict]:
    """What the audits found, by network (`docs.pages.audits`)."""
    return json.loads(audits.FILE.read_text(encoding="utf-8"))


def overview() -> str:
    """A table of all methods."""
    cells = [
        (f"[{m.label}]({m.name}.md)", f"`{m.name}`", f"`{m.formula}`", *(_verdicts(m, record) for record in audited()))
        for m in METHODS.values()
    ]
    return table(("method", "name", "what it does", *(f"`{record['network']}`" for record in audited())), cells)


def _verdicts(method: Method, record: dict) -> str:
    found = [entry["verdict"] for entry in record["methods"] if entry["method"] == method.name]
    return " / ".join(_verdict(verdict) for verdict in dict.fromkeys(found)) or "–"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict}">{verdict}</span>'


def page(name: str, words: str) -> str:
    """A method's page; `words` is what somebody wrote about it."""
    method = METHODS[name]
    parts = [
        f"# {method.label}",
        f"`{name}`",
        f"```text\n{method.formula}\n```",
        words.strip(),
        _facts(method),
        _rules(method),
        _found(method),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(method: Method) -> str:
    same = "the same" if method.same_semantics else "not always the same, see below"
    facts = {
        "family": method.family,
        "source": CITATIONS[method.source],
        "made of": f"[{METHODS[method.made_of].label}]({method.made_of}.md)" if method.made_of else "",
        "CSC": "yes" if method.csc else "no: it has maps of the input only",
        "of the paper's, `--methods all`": "yes" if method.paper and method.csc else "no",
        "networks": _networks(method),
        "layer": LAYERS.get(method.layer, ""),
        "options": "; ".join(_option(name, option) for name, option in method.options.items()) or "none",
        "a map begins with": HEADS[method.head] if method.family != CONTROL else "",
        "channels become one by": REDUCTIONS[method.reduction],
        "time, gradient 1": method.cost if method.csc else "",
        "also computed by": f"`{method.wrapped}`, `original`" if method.wrapped else "",
        "`paper` and `corrected`": same,
    }
    return "## Facts\n\n" + table(("", ""), ((key, value) for key, value in facts.items() if value != ""))


def _networks(method: Method) -> str:
    if not method.has_rules:
        return "any"
    return "with ReLUs only" if method.relu_only else "any that it has rules for"


def _option(name: str, option) -> str:
    if option.needed:
        return f"`{name}`, which has to be given"
    return f"`{name}`, {option.derived} unless given" if option.default is None else f"`{name}` = {option.default}"


def _rules(method: Method) -> str:
    if not method.csc:
        behind = method.options["base"].default if "base" in method.options else method.made_of
        return f"## Rules\n\nThose of [{METHODS[behind].label}]({behind}.md)." if behind else ""
    by_rule: dict[tuple, list[str]] = {}
    for row in rows():
        by_rule.setdefault(tuple(row["rules"].get(method.name, (None, None))), []).extend(row["kinds"])
    without = by_rule.pop((None, None), [])
    differ = any(paper != corrected for paper, corrected in by_rule)
    lines = [(shortened(kinds), *map(_rule, pair if differ else pair[:1])) for pair, kinds in by_rule.items()]
    text = "## Rules\n\n" + table(("layer", "`paper`", "`corrected`") if differ else ("layer", "rule"), lines)
    if differ:
        changed = ", ".join(shortened(kinds) for (paper, corrected), kinds in by_rule.items() if paper != corrected)
        text += f"\nThe two semantics differ at {changed}.\n"
    if without:
        text += f"\nNo rule for {shortened(without)}, unless you [register one](../rule.md).\n"
    return text + "\n`wel methods " + method.name + " --model MODEL` shows the rule of every layer of a network.\n"


def _rule(rule: str | None) -> str:
    return linked(rule) if rule else "none"


def _found(method: Method) -> str:
    lines = [
        (f"`{record['network']}`", entry["semantics"], _verdict(entry["verdict"]), entry["sentence"], _rank(entry), _cosine(entry))
        for record in audited()
        for entry in record["methods"]
        if entry["method"] == method.name
    ]
    if not lines:
        return "## What its audit says\n\nNothing: the audits of the bundled networks that these pages are made of left it out."
    version, images = (audited()[0][key] for key in ("version", "images"))
    text = f"## What its audit says\n\n`wel audit NETWORK --full` with wel {version}, {images} bundled images:\n\n"
    return text + table(("network", "semantics", "verdict", "because", "directions left", "|cos| at the input"), lines)


def _rank(entry: dict) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*entry["rank"]) if entry["rank"] else "–"


def _cosine(entry: dict) -> str:
    if entry["cosine"] is None:
        return "–"
    return f"{entry['cosine']:.3f}" if entry["cosine"] < 0.999 else f"1 − {1 - entry['cosine']:.1e}"
