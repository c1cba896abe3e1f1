"""Singular values of a network's weights and patterns (Sixt et al. 2020, appendix): is there one direction that dominates?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError
from wel.methods.patterns import Patterns, with_patterns
from wel.methods.registry import find_method
from wel.networks.kernels import kernel_layers
from wel.networks.network import Network
from wel.studies.simulation import LARGEST_RATIO
from wel.studies.taps import Tap, array_taps, check_chain


@dataclass(frozen=True)
class SingularValuesResult:
    """What the study found.

    Attributes:
        table: from the output down, one row per `quantity` ("weights" W, "patterns" A, "pattern_weights" A ⊙ W), `matrix` ("tap" or
            "full") and `place`: "layer", or "between" a `layer` and the next one `below`. `inputs` and `outputs` are the matrix's size,
            `sigma1` and `sigma2` its largest singular values, `ratio` σ₁/σ₂ (NaN for a single one), `product` that of the ratios so
            far (NaN where the layers are no single path).
        missing: what could not be computed, "patterns" or "between", and why.
    """

    table: pd.DataFrame
    missing: dict[str, str] = field(default_factory=dict)


def singular_values(net: Network, patterns: Patterns | Path | str | Sequence[np.ndarray] | None = None) -> SingularValuesResult:
    """Measures σ₁/σ₂ of the matrices that relevance passes: of W (gradient), A (PatternNet) and A ⊙ W (PatternAttribution).

    Per layer: of its 1×1 tap (`wel.studies.taps`), inputs × outputs, and of the full matrix, (h · w · inputs) × outputs. Between a layer
    l and the one above it, of their taps W_l = U S Vᵀ: of √S_l V_lᵀ U_{l+1} √S_{l+1}, which says how far the first direction of one
    is passed on to the first of the other. BatchNormalization is folded into W. Branched networks have layers, but nothing between
    them.

    Args:
        net: from `wel.load`.
        patterns: of `net`, as `wel.methods.patterns.patterns_for` takes them; the bundled ones by default.

    Raises:
        WelError: for patterns that do not fit the network.
        UnsupportedError: when a layer of the network has no such matrix.
    """
    quantities = _quantities(net, patterns)
    missing = {} if "patterns" in quantities else {"patterns": f"There are no patterns for the weights of {net.name}."}
    taps = {quantity: array_taps(net.graph, arrays) for quantity, arrays in quantities.items()}
    rows = [row for quantity in taps for row in _layers(net, quantity, taps[quantity], quantities[quantity])]
    try:
        for quantity, several in taps.items():
            check_chain(net.graph, several)
            rows += _between(net, quantity, several)
    except UnsupportedError as error:
        missing["between"] = str(error)
    table = pd.DataFrame(rows)
    table["product"] = np.nan if "between" in missing else table.groupby(["quantity", "matrix", "place"])["ratio"].cumprod()
    return SingularValuesResult(table, missing)


def _quantities(net: Network, patterns) -> dict[str, list[np.ndarray]]:
    layers = kernel_layers(net.graph)
    weights = [layer.kernel * layer.scale for layer in layers]
    given = with_patterns(net, find_method("pattern_net"), {"patterns": patterns})["patterns"]
    if given is None:
        return {"weights": weights}
    return {"weights": weights, "patterns": given, "pattern_weights": [a * w for a, w in zip(given, weights)]}


def _layers(net: Network, quantity: str, taps: Sequence[Tap], arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    full = [array.reshape(-1, array.shape[-1]).astype("float64") for array in reversed(arrays)]
    kinds = {"tap": [tap.matrix for tap in taps], "full": full}
    return [
        _row(net, quantity, kind, "layer", tap.layer, "", matrix) for kind, matrices in kinds.items() for tap, matrix in zip(taps, matrices)
    ]


def _between(net: Network, quantity: str, taps: Sequence[Tap]) -> list[dict[str, Any]]:
    split = [np.linalg.svd(tap.matrix, full_matrices=False) for tap in taps]
    rows = []
    for above, below, (u, s, _), (_, t, vt) in zip(taps, taps[1:], split, split[1:]):
        passed = np.sqrt(t)[:, None] * (vt @ u) * np.sqrt(s)
        rows.append(_row(net, quantity, "tap", "between", above.layer, net.shown(below.layer), passed))
    return rows


def _row(net: Network, quantity: str, kind: str, place: str, layer: str, below: str, matrix: np.ndarray) -> dict[str, Any]:
    first, second = (*np.linalg.svd(matrix, compute_uv=False), np.nan)[:2]
    return {
        "model": net.name,
        "quantity": quantity,
        "matrix": kind,
        "place": place,
        "layer": net.shown(layer),
        "below": below,
        "inputs": matrix.shape[0],
        "outputs": matrix.shape[1],
        "sigma1": first,
        "sigma2": second,
        "ratio": first / max(second, first / LARGEST_RATIO) if first and np.isfinite(second) else np.nan,
    }
