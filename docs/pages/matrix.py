"""Which method has which rule for which kind of layer, on one page."""

from __future__ import annotations

from docs.pages.methods import rows
from docs.pages.words import linked, rule_classes, shortened, table
from wel.methods.registry import CSC_METHODS, METHODS

# short enough for a column; a rule that is not here stands with its name
SIGNS = {
    "Gradient": "∇", "Transposed": "Wᵀ", "Derivative": "f′", "Unchanged": "=", "Z": "z", "Epsilon": "ε", "AlphaBeta": "αβ",
    "Clipped": "[αβ]", "Bounded": "zᴮ", "PaperBatchNorm": "BN", "Guided": "G", "Deconvolved": "V", "Rectified": "%", "Pattern": "A",
    "LinearDifference": "Δw", "PositiveDifference": "Δ", "ScaledDifference": "Δs", "PooledDifference": "Δmax", "Rescale": "Δy/Δx",
    "RevealCancel": "Δ±", "Gamma": "γ", "Gated": "×", "Centred": "−μ", "Summed": "Σ",
}  # fmt: skip
NONE = "·"


def _sign(rule: str | None) -> str:
    if rule is None:
        return NONE
    name = rule.split("(")[0].split()[0]
    return SIGNS.get(name, name)


def _cell(pair: list[str | None]) -> str:
    paper, corrected = pair
    if paper is None and corrected is None:
        return NONE
    title = paper if paper == corrected else f"paper: {paper or 'none'}; corrected: {corrected or 'none'}"
    mark = "" if paper == corrected else "*"
    return f'<span title="{title}">{_sign(paper or corrected)}{mark}</span>'


def matrix() -> str:
    """The table; what differs in `corrected` has an asterisk."""
    headings = ["layer", *(f"[{METHODS[name].label}]({name}.md)" for name in CSC_METHODS)]
    lines = [(shortened(row["kinds"]), *(_cell(row["rules"].get(name, [None, None])) for name in CSC_METHODS)) for row in rows()]
    return f'<div class="narrow" markdown>\n\n{table(headings, lines)}\n</div>'


def signs() -> str:
    """What the signs stand for."""
    shown = {paper or corrected for row in rows() for paper, corrected in row["rules"].values()} - {None}
    used = {rule.split("(")[0].split()[0] for rule in shown}
    lines = [
        (SIGNS.get(name, name), linked(name), rule_classes()[name][1]) for name in (*SIGNS, *sorted(used - SIGNS.keys())) if name in used
    ]
    return table(("sign", "rule", "what it does"), [*lines, (NONE, "", "none: the method does not apply to a network with such a layer")])
