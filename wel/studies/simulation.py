"""Chains of matrices (Sixt et al. 2020, figure 4): which kinds of random products make all directions parallel, and how fast?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from wel.errors import UnsupportedError, check_whole
from wel.measures.cosine import pairwise_abs_cosine
from wel.methods.patterns import Patterns, bundled_patterns, patterns_for
from wel.networks.network import Network
from wel.studies.study import Arrays, Piece, pieces_of, run_study
from wel.studies.taps import Tap, pattern_taps, weight_taps
from wel.system.progress import Steps
from wel.system.runs import Run

# the 1×1 taps of VGG-16 from the output down: layer, outputs; the inputs of a layer are the outputs of the next one
_OUTPUTS = (
    ("fc3", 1000),
    ("fc2", 4096),
    ("fc1", 4096),
    ("conv5_3", 512),
    ("conv5_2", 512),
    ("conv5_1", 512),
    ("conv4_3", 512),
    ("conv4_2", 512),
    ("conv4_1", 512),
    ("conv3_3", 256),
    ("conv3_2", 256),
    ("conv3_1", 256),
    ("conv2_2", 128),
    ("conv2_1", 128),
    ("conv1_2", 64),
    ("conv1_1", 64),
    ("input", 3),
)
VGG16_SHAPES = {layer: (inputs, outputs) for (layer, outputs), (_, inputs) in zip(_OUTPUTS, _OUTPUTS[1:])}
ALPHAS = (10, 5, 4, 3, 2, 1)
PARALLEL = 1e-14  # 1 - |cos| at which rows are called parallel to floating point
SLICE = 256  # outputs whose weights are drawn and multiplied at a time: 8 MB at 4096 inputs
LARGEST_RATIO = 1 / np.finfo("float64").eps  # of singular values; beyond it the smaller one is rounding


@dataclass(frozen=True)
class Chain:
    """A kind of chain.

    Attributes:
        name: in tables, and part of the seed.
        label: as figures show it.
        matrix: from N(0, 1) entries (outputs, inputs) to the transposed matrix of a layer; None where a network gives the matrices.
        rectified: whether a ReLU follows every product but the first.
        alpha, beta: of αW⁺ + βW⁻, else None.
        level: of the interval between samples.
    """

    name: str
    label: str
    matrix: Callable[[np.ndarray], np.ndarray] | None = None
    rectified: bool = False
    alpha: float | None = None
    beta: float | None = None
    level: float = 0.99


def _stochastic(normal: np.ndarray) -> np.ndarray:
    positive = np.abs(normal)
    return positive / positive.sum(axis=1, keepdims=True)


def _weighted(alpha: float, beta: float, normal: np.ndarray) -> np.ndarray:
    return alpha * np.maximum(normal, 0) + beta * np.minimum(normal, 0)


def _alpha_beta(alpha: int) -> Chain:
    beta = alpha - 1
    matrix = partial(_weighted, alpha, beta)
    return Chain(f"alpha{alpha}_beta{beta}", f"α = {alpha}, β = {beta}", matrix, alpha=alpha, beta=beta, level=0.95)


CHAINS = {
    chain.name: chain
    for chain in (
        Chain("vanilla", "Vanilla", lambda normal: normal),
        Chain("relu", "ReLU", lambda normal: normal, rectified=True),
        Chain("learned_relu", "Learned ReLU", rectified=True),
        Chain("pattern_attribution", "PatternAttribution"),
        Chain("non_negative", "Non-negative", lambda normal: np.maximum(normal, 0)),
        Chain("positive", "Positive", np.abs),
        Chain("stochastic", "Stochastic", _stochastic),
        *map(_alpha_beta, ALPHAS),
    )
}


@dataclass(frozen=True)
class SimulationResult:
    """What the study found.

    Attributes:
        table: one row per chain and product, from the output down. `network` tells whose shapes (and, for learned chains, weights)
            the chain has, `inputs` and `outputs` the size of W; `median`, `low`, `high` are of a sample's mean |cos|, between the
            (1 ± level)/2 quantiles; `sigma_ratio` is σ₁/σ₂ and `sigma_of` tells of what, "product" or "rows".
        skipped: chains that were left out, and why.
    """

    table: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


def simulate(
    net: Network | None = None,
    samples: int = 20,
    rows: int = 32,
    seed: int = 0,
    patterns: Patterns | Path | str | Sequence[np.ndarray] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
) -> SimulationResult:
    """Multiplies rows R ~ N(0, 1) by one matrix per layer, from the output down, and measures how parallel they become.

    R ← R Wᵀ for W (inputs, outputs) of every layer of VGG-16, each as its 1×1 tap (`VGG16_SHAPES`), entries of W independent:
    `vanilla` w ~ N(0, 1) · `non_negative` max(w, 0) · `positive` |w| · `stochastic` |w| with columns that sum to 1 ·
    `alpha…_beta…` α max(w, 0) + β min(w, 0), plain: the halves are not normalised · `relu` as vanilla, R ← max(R, 0) after every
    product but the first. The ReLU acts on the rows themselves; there is no forward pass whose masks could be used.
    `learned_relu` is `relu` with the taps of the weights of `net`, `pattern_attribution` has the taps of its A ⊙ W (eq. 8).

    After every product: mean |cos| over all pairs of rows, pairs with a row of zeros dropped, its median and interval (99 %; α, β:
    95 %) over samples; and σ₁/σ₂ of the whole product of matrices, a QR-compressed running product from the output down, of the
    first sample only: it varies by some per cent between samples (by a third at the input's 3 channels) and takes several times as
    long as the rows. Where there is a ReLU it is σ₁/σ₂ of the rows R, median over samples. Running products are scaled by powers of
    two, which changes neither number. float64 ends at 1 - |cos| of about 1e-16 and σ₁/σ₂ of 4.5e15.

    Args:
        net: the trained network of the learned chains, from `wel.load`; without it they are left out.
        samples: how many times each chain is drawn.
        rows: of R.
        seed: of everything random; the numbers of a sample depend on the seed, the chain and the sample's number only.
        patterns: of `net`, as `wel.methods.patterns.patterns_for` takes them; the bundled ones by default.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (chain × sample) steps in all.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    for name, value, least in (("samples", samples, 1), ("rows", rows, 2), ("seed", seed, 0)):
        check_whole(name, value, least)
    study = _Study(net, _pattern_arrays(net, patterns), int(samples), int(rows), int(seed))

    def make(run: Run) -> SimulationResult:
        result = study.result(run, steps or Steps())
        run.write_table("simulation.csv", result.table)
        run.finish(skipped=result.skipped)
        return result

    return run_study(out, {"study": "simulate", **study.request()}, context, make, _read)


class Product(NamedTuple):
    """One product of a chain: of which layer, its inputs and outputs, and what takes rows (n, outputs) to rows (n, inputs)."""

    layer: str
    inputs: int
    outputs: int
    times: Callable[[np.ndarray, np.random.Generator], np.ndarray]


class _Study:
    """The settings that all chains share, and how a chain is computed from them."""

    def __init__(self, net: Network | None, patterns: list[np.ndarray] | None, samples: int, rows: int, seed: int):
        self.net, self.patterns, self.samples, self.rows, self.seed = net, patterns, samples, rows, seed

    def request(self) -> dict[str, Any]:
        network = self.net and {"name": self.net.name, "weights_sha256": self.net.weights_hash()}
        patterns = None if self.patterns is None else _sha256(b"".join(array.tobytes() for array in self.patterns)).hex()
        return {"samples": self.samples, "rows": self.rows, "seed": self.seed, "network": network, "patterns_sha256": patterns}

    def result(self, run: Run, steps: Steps) -> SimulationResult:
        chains, skipped = {}, {}
        for chain in CHAINS.values():
            try:
                chains[chain] = self._products(chain)
            except UnsupportedError as error:
                skipped[chain.name] = str(error)
        steps.start(len(chains) * self.samples)
        table = [row for chain, products in chains.items() for row in self._rows(run, chain, products, steps)]
        return SimulationResult(pd.DataFrame(table), skipped)

    def _products(self, chain: Chain) -> list[Product]:
        if chain.matrix is not None:
            return [Product(layer, *shape, partial(_times_random, chain.matrix, shape[0])) for layer, shape in VGG16_SHAPES.items()]
        if self.net is None:
            raise UnsupportedError("It takes a trained network, and none was given.")
        taps = weight_taps(self.net) if chain.name == "learned_relu" else self._pattern_taps()
        return [Product(self.net.shown(tap.layer), *tap.matrix.shape, partial(_times_tap, tap.matrix)) for tap in taps]

    def _pattern_taps(self) -> list[Tap]:
        if self.patterns is None:
            raise UnsupportedError(f"There are no patterns for the weights of {self.net.name}.")
        return pattern_taps(self.net, self.patterns)

    def _rows(self, run: Run, chain: Chain, products: Sequence[Product], steps: Steps) -> list[dict[str, Any]]:
        """The table's rows of one chain."""
        pieces = pieces_of(run, chain.name, lambda kept: self._samples(chain, products, kept), steps, (chain.label,))
        measured = [pieces[name] for name in sorted(pieces)]
        found = {name: np.stack([one[name] for one in measured], axis=1) for name in measured[0]}
        network = self.net.name if chain.matrix is None else "vgg16"
        return [
            {
                "chain": chain.name,
                "network": network,
                "alpha": chain.alpha,
                "beta": chain.beta,
                "product": position + 1,
                "layer": product.layer,
                "inputs": product.inputs,
                "outputs": product.outputs,
                "samples": self.samples,
                "rows": self.rows,
                **_spread(found["cosine"][position], chain.level),
                "nan_fraction": float(found["nan_fraction"][position].mean()),
                "sigma_ratio": _median(found["sigma_ratio"][position]),
                "sigma_of": "rows" if chain.rectified else "product",
            }
            for position, product in enumerate(products)
        ]

    def _samples(self, chain: Chain, products: Sequence[Product], kept: Mapping[str, Arrays]) -> Iterator[Piece]:
        """What the draws of a chain that are not kept yet give after each product."""
        for sample in range(self.samples):
            if (name := f"{sample:06d}") not in kept:
                entropy = (self.seed, int.from_bytes(_sha256(chain.name.encode())[:8], "little"), sample)
                rng = np.random.default_rng(np.random.SeedSequence(entropy))
                yield Piece(name, _multiplied(products, chain.rectified, self.rows, sample == 0 and not chain.rectified, rng))


def _multiplied(products: Sequence[Product], rectified: bool, count: int, whole: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Mean |cos|, the share of dropped pairs and σ₁/σ₂ after each product; σ₁/σ₂ of the matrices' product if `whole`."""
    rows = rng.standard_normal((count, products[0].outputs))
    below = np.eye(products[0].outputs) if whole else rows[:0]
    found = []
    for position, product in enumerate(products):
        both = product.times(np.vstack([rows, below]), rng)
        if rectified and position:
            both = np.maximum(both, 0)
        rows, below = _rescaled(both[:count]), _compressed(_rescaled(both[count:]))
        sigma = _sigma_ratio(rows if rectified else below)
        found.append((*_mean_abs_cosine(rows), sigma))
    return dict(zip(("cosine", "nan_fraction", "sigma_ratio"), np.array(found).T))


def _rescaled(matrix: np.ndarray) -> np.ndarray:
    """The matrix over a power of two, so that its largest magnitude is in [1/2, 1): exact, and nothing over- or underflows."""
    return np.ldexp(matrix, -np.frexp(np.abs(matrix).max(initial=0))[1])


def _compressed(matrix: np.ndarray) -> np.ndarray:
    """A matrix of at most as many rows as columns with the same singular values, here and after any product from the right."""
    return np.asarray(np.linalg.qr(matrix, mode="r")) if len(matrix) > matrix.shape[1] else matrix


def _times_random(matrix: Callable[[np.ndarray], np.ndarray], inputs: int, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    product = np.zeros((len(rows), inputs))
    for first in range(0, rows.shape[1], SLICE):
        part = rows[:, first : first + SLICE]
        product += part @ matrix(rng.standard_normal((part.shape[1], inputs)))
    return product


def _times_tap(matrix: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows @ matrix.T


def _mean_abs_cosine(rows: np.ndarray) -> tuple[float, float]:
    """The mean |cos| over all pairs of rows, and the share of pairs that are dropped because a row is zero."""
    one, other = np.triu_indices(len(rows), 1)
    cosines = pairwise_abs_cosine(np.stack([rows[one], rows[other]]))  # pairs take the place of locations: fast
    defined = cosines[~np.isnan(cosines)]
    return defined.mean() if defined.size else np.nan, 1 - defined.size / cosines.size


def _sigma_ratio(matrix: np.ndarray) -> float:
    """σ₁/σ₂ of a matrix, at most `LARGEST_RATIO`; NaN where there are no two."""
    if min(matrix.shape) < 2 or not matrix.any():
        return np.nan
    largest, second = np.linalg.svd(matrix, compute_uv=False)[:2]
    return largest / max(second, largest / LARGEST_RATIO)


def _spread(values: np.ndarray, level: float) -> dict[str, float]:
    """Median and the ends of the interval between the (1 ± level)/2 quantiles; NaN values are dropped."""
    defined = values[~np.isnan(values)]
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2)) if defined.size else (np.nan, np.nan)
    return {"median": _median(values), "low": float(low), "high": float(high), "level": level}


def _median(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if defined.size else np.nan


def _pattern_arrays(net: Network | None, patterns) -> list[np.ndarray] | None:
    if net is None:
        return None
    given = bundled_patterns(net) if patterns is None else patterns
    return None if given is None else patterns_for(net, given)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _read(run: Run) -> SimulationResult:
    return SimulationResult(run.read_table("simulation.csv"), run.record["context"].get("skipped", {}))
