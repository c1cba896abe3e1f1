"""How many layers relevance has passed, and by which factor 1 − |cos| shrinks with each of them."""

from __future__ import annotations

from typing import Iterable

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

from wel.methods.registry import SEMANTICS
from wel.networks.network import Network
from wel.rules.parts import parts_of

LEVEL = 0.99
ROUNDED = 1e-6  # 1 − |cos| below which single precision hides the rate
FEWEST = 5  # points that a rate is fitted to


def depths(net: Network, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a CSC table with `layers`: those with weights that relevance has passed, on the longest way down from the start layer."""
    passed = {start: _passed(net, net.find(start)) for start in table["start"].unique()}
    layers = [passed[start][net.graph.nodes[index].name] for start, index in zip(table["start"], table["layer_index"])]
    return table[["model", "method", "semantics", "start", "layer", "layer_index", "median", "images"]].assign(layers=layers)


def _passed(net: Network, start: str) -> dict[str, int]:
    parts, passed = parts_of(net.graph), {start: 0}
    for node in reversed(net.graph.nodes):
        if node.name in passed:
            below = passed[node.name] + any(part.has_kernel for part in parts.get(node.name, ()))
            for name in node.inputs:
                passed[name] = max(passed.get(name, 0), below)
    return passed


def most_images(tables: Iterable[pd.DataFrame]) -> list[pd.DataFrame]:
    """Of each network the table with the most images, as far as it is of the original stack's semantics."""
    ordered = sorted(tables, key=lambda table: table["images"].max())
    kept = {table["model"].iloc[0]: table for table in ordered}
    return [table[table["semantics"] == SEMANTICS[0]] for table in kept.values()]


def at_inputs(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows at the input of several networks."""
    table = pd.concat(tables, ignore_index=True)
    return table[table["layer"] == "input"]


def rates(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """By which factor 1 − median |cos| shrinks per layer, for each network and method, with its 99 % interval.

    The slope of log₁₀(1 − median |cos|) by layers passed, by Theil and Sen, over the layers between all start layers and the input, each
    start layer's points less their mean; without the input itself, where there are three channels only, and without what rounding hides.
    """
    table = pd.concat(tables, ignore_index=True)
    kept = table[(table["layer"] != "input") & (1 - table["median"] > ROUNDED)]
    rows = []
    for (model, method), group in kept.groupby(["model", "method"], sort=False):
        logs = np.log10(1 - group["median"])
        centred = [values - values.groupby(group["start"]).transform("mean") for values in (logs, group["layers"])]
        if len(group) >= FEWEST and centred[1].any():
            slope, _, low, high = theilslopes(*centred, alpha=LEVEL)
            factors = dict(zip(("factor", "low", "high"), 10.0 ** np.array([slope, low, high])))
            rows.append({"model": model, "method": method, **factors, "points": len(group)})
    return pd.DataFrame(rows)
