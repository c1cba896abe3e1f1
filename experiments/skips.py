"""What becomes of |cos| where the branch of a residual network and its shortcut meet."""

from __future__ import annotations

import pandas as pd
from judges import from_output

from wel.networks.graph import Graph
from wel.networks.network import Network


def skips(net: Network, table: pd.DataFrame) -> pd.DataFrame:
    """Median |cos| where a branch and its shortcut have joined, beside the highest in the branch; of CSC from the top start layer."""
    rows, graph = from_output(table), net.graph
    found = []
    for key, of_method in rows.groupby(["method", "semantics"]):
        medians = of_method.set_index("layer_index")["median"]
        for fork, branch in _branches(graph):
            inside = medians[medians.index.isin([graph.index(name) for name in branch])]
            if graph.index(fork) in medians.index and len(inside):
                place = {"method": key[0], "semantics": key[1], "joined_at": net.shown(fork), "images": of_method["images"].iloc[0]}
                found.append({**place, "joined": medians[graph.index(fork)], "branch": inside.max()})
    return pd.DataFrame(found)


def _branches(graph: Graph) -> list[tuple[str, list[str]]]:
    """For each sum of two, the node where its inputs part, and the nodes of the longer way from there to the sum."""
    found = []
    for node in graph.nodes:
        if node.kind == "Add" and len(node.inputs) == 2:
            ways = [{name, *graph.below(name)} for name in node.inputs]
            fork = max(ways[0] & ways[1], key=graph.index)
            found.append((fork, max((sorted(way - {fork, *graph.below(fork)}) for way in ways), key=len)))
    return found
