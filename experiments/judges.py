"""What decides the paper's claims: from the table of a study to the numbers that count and whether they are as claimed.

Each takes a table, and `at`, a threshold, where the paper shows a curve and states none (`claims`). None: nothing of what a claim is
about was run.
"""

from __future__ import annotations

from math import ceil
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd

from wel.methods.registry import METHODS
from wel.studies.simulation import PARALLEL

HOLDS, FAILS, UNTESTABLE = "holds", "does not hold", "not testable"
ROUNDING = 1e-6  # 1 − median |cos| that single precision cannot tell from 0
WITHIN_CONVOLUTIONS = 5  # of the paper
LARGEST_BETA = 3  # "below about 4"; 4 itself lies on the edge and is judged neither way

MODIFIED = (
    "guided_backprop",
    "deconvnet",
    "rectgrad",
    "deep_taylor",
    "lrp_alpha1_beta0",
    "lrp_alpha2_beta1",
    "pattern_net",
    "pattern_attribution",
)
CLASS_SENSITIVE = (
    "lrp_alpha5_beta4",
    "lrp_cmp_alpha1_beta0",
    "lrp_cmp_alpha2_beta1",
    "lrp_z",
    "deeplift_rescale",
    "deeplift_reveal_cancel",
)
SENSITIVE = (
    "gradient",
    "smoothgrad",
    "integrated_gradients",
    "lrp_z",
    "deeplift_rescale",
    "deeplift_reveal_cancel",
    "occlusion",
    "iba",
)
UNCONVERGED = ("gradient", "lrp_z", "deeplift_rescale", "deeplift_reveal_cancel")
FASTEST = ("lrp_alpha1_beta0", "deep_taylor")
CMP = ("lrp_cmp_alpha1_beta0", "lrp_cmp_alpha2_beta1")
CONVERGING = tuple(name for name in (*MODIFIED, "deeplift_ablation") if name != "pattern_net")


class Outcome(NamedTuple):
    """What came of a claim: of how many things it speaks, for how many of them it holds, and the numbers in words."""

    kept: int
    of: int
    measured: str

    @property
    def verdict(self) -> str:
        """Whether it holds: in full, in part, or not at all."""
        if self.kept == self.of:
            return HOLDS
        return f"holds for {self.kept} of {self.of}" if self.kept else FAILS


def shown(value: float) -> str:
    """A number as the findings show it: 0.985, and 1 − 2e-06 where three digits would not do."""
    if value != value:
        return "undefined"
    return f"1 − {1 - value:.1e}" if 0.9995 <= value < 1 else f"{value:.3g}" if value < 0.01 else f"{value:.3f}"


def per_method(values: Mapping[str, float], methods: Iterable[str], as_claimed: Callable[[float], bool]) -> Outcome | None:
    """How many of the methods have a value as claimed; an undefined one is not. Methods without a value are left out; None if all are."""
    found = {name: values[name] for name in methods if name in values}
    others = {name: value for name, value in found.items() if not as_claimed(value)}
    kept = {name: value for name, value in found.items() if name not in others}
    words = [f"{start}: {_listed(part)}." for start, part in (("As claimed", kept), ("Not so", others)) if part]
    return Outcome(len(kept), len(found), " ".join(words)) if found else None


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{METHODS[name].label} {shown(value)}" for name, value in values.items())


def _whole(holds: bool, measured: str) -> Outcome:
    return Outcome(int(holds), 1, measured)


def _medians(table: pd.DataFrame) -> dict[str, float]:
    return table.set_index("method")["median"].to_dict()


def from_output(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a CSC table whose vectors began nearest the output, from there down to the input."""
    start = table["start"].iloc[table["layer_index"].argmax()]
    return table[table["start"] == start].sort_values("layer_index", ascending=False, kind="stable")


def at_input(table: pd.DataFrame) -> dict[str, float]:
    """{method: median |cos| at the input, from the start layer nearest the output}."""
    rows = from_output(table)
    return _medians(rows[rows["layer"] == "input"])


def same_for_another_class(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 1, methods that do not tell classes apart. `table`: of random logit."""
    return per_method(_medians(table), MODIFIED, lambda ssim: ssim >= at)


def changed_by_another_class(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 1, methods that do. `table`: of random logit."""
    return per_method(_medians(table), CLASS_SENSITIVE, lambda ssim: ssim < at)


def alpha2_changes_more(table: pd.DataFrame, plain: pd.DataFrame) -> Outcome | None:
    """Claim 1, α2β1 on a residual network. Tables of random logit."""
    there, here = (_medians(one).get("lrp_alpha2_beta1") for one in (plain, table))
    if there is None or here is None:
        return None
    return _whole(here < there, f"Median SSIM {shown(here)}, on the plain network {shown(there)}.")


def drops_at_last_layer(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 2, methods that depend on the last layer. `table`: of cascading randomisation."""
    return per_method(_medians(table[table["stage_index"] == 1]), ("smoothgrad", *UNCONVERGED), lambda ssim: ssim < at)


def similar_down_to_early_layers(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 2, methods that do not: the least median of all stages but the third of them nearest the input."""
    kept = table[table["stage_index"] <= ceil(2 / 3 * table["stage_index"].max())]
    least = kept.groupby("method")["median"].min().to_dict()
    return per_method(least, [name for name in MODIFIED if name != "pattern_net"], lambda ssim: ssim >= at)


def sign_flips(table: pd.DataFrame) -> Outcome:
    """Claim 2, maps that turn over. `table`: correlations of maps with the untouched network's; its first stage is the last layer."""
    first = table[table["stage"] == table["stage"].iloc[0]]
    shares = {name: first.loc[first["method"] == name, "correlation"].lt(0) for name in FASTEST}
    words = ", ".join(f"{METHODS[name].label} {flips.sum()} of {len(flips)} maps" for name, flips in shares.items())
    return _whole(all(0 < flips.sum() < len(flips) for flips in shares.values()), f"Flipped: {words}.")


def converges(methods: Sequence[str], table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 3, methods whose relevances become parallel. `table`: of CSC."""
    return per_method(at_input(table), methods, lambda cosine: cosine > at)


def stays_apart(methods: Sequence[str], table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 3, methods whose relevances do not. `table`: of CSC."""
    return per_method(at_input(table), methods, lambda cosine: cosine <= at)


def fastest(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 3, α1β0 and Deep Taylor: parallel to rounding somewhere on the way, and past `at` no later than any other method."""
    rows = from_output(table)
    layers = {name: group["median"].gt(at).to_numpy() for name, group in rows.groupby("method")}
    passed = {name: int(found.argmax()) if found.any() else len(found) for name, found in layers.items()}
    names = [name for name in FASTEST if name in passed]
    if not names:
        return None
    nearest = {name: 1 - rows.loc[rows["method"] == name, "median"].max() for name in names}
    earliest = min(passed.values())
    numbers = [f"{METHODS[name].label} down to {nearest[name]:.1e}, past {at} after {_layers(passed[name])}" for name in names]
    kept = sum(nearest[name] < ROUNDING and passed[name] == earliest for name in names)
    others = ", ".join(METHODS[name].label for name, count in passed.items() if count == earliest and name not in names)
    words = f" Past it after {_layers(earliest)}: {others}." if others else ""
    return Outcome(kept, len(names), f"1 − |cos|: {'; '.join(numbers)}.{words}")


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def alpha5_converges_less(table: pd.DataFrame) -> Outcome | None:
    """Claim 3, α5β4 beside α2β1. `table`: of CSC."""
    found = at_input(table)
    five, two = (found.get(name) for name in ("lrp_alpha5_beta4", "lrp_alpha2_beta1"))
    if five is None or two is None:
        return None
    return _whole(five < two, f"α5β4 {shown(five)}, α2β1 {shown(two)}.")


def less_pronounced(table: pd.DataFrame, plain: pd.DataFrame) -> Outcome:
    """Claim 3, residual networks. Tables of CSC; converging methods that come no nearer to 1 than on the plain network."""
    here, there = at_input(table), at_input(plain)
    names = [name for name in (*MODIFIED, "deeplift_ablation") if name in here and name in there]
    less = [name for name in names if here[name] <= there[name]]
    words = "; ".join(f"{METHODS[name].label} {shown(here[name])}, plain {shown(there[name])}" for name in names)
    return Outcome(len(less), len(names), f"{words}.")


def jumps_at_input(table: pd.DataFrame) -> Outcome:
    """Claim 3, three channels: methods that do not converge, and chance, are more parallel there than one layer above (padding is none)."""
    rows = from_output(table)
    of_method = {name: group for name, group in rows.groupby("method") if name in UNCONVERGED}
    ends = {METHODS[name].label: _at_jump(group, "median") for name, group in of_method.items()}
    ends["chance"] = _at_jump(rows[rows["method"] == rows["method"].iloc[0]], "baseline")
    words = ", ".join(f"{label} {shown(above)} → {shown(below)}" for label, (above, below) in ends.items())
    jumps = sum(below > above for above, below in ends.values())
    return Outcome(jumps, len(ends), f"{words[0].upper()}{words[1:]}.")


def _at_jump(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """A column at the last layer with other channels than the input, and at the first with the input's."""
    above = int((rows["channels"] != rows["channels"].iloc[-1]).to_numpy().nonzero()[0][-1])
    return tuple(rows[column].iloc[[above, above + 1]])


def apart_in_dense_layers(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 4, CMP above the convolutions: the largest median |cos| at a layer with more below it. `table`: of CSC, plain network."""
    rows = from_output(table)
    dense = rows[rows["layer_index"] >= rows.loc[_convolutions(rows), "layer_index"].max()]
    return per_method(dense.groupby("method")["median"].max().to_dict(), CMP, lambda cosine: cosine <= at)


def converges_in_convolutions(table: pd.DataFrame, at: float) -> Outcome:
    """Claim 4, CMP below: convolutions passed until |cos| > `at`. `table`: of CSC, plain network."""
    passed = {name: _convolutions_passed(group, at) for name, group in from_output(table).groupby("method") if name in CMP}
    words = [f"{METHODS[name].label} " + (f"after {count}" if np.isfinite(count) else "never") for name, count in passed.items()]
    kept = sum(count <= WITHIN_CONVOLUTIONS for count in passed.values())
    return Outcome(kept, len(passed), f"Convolutions: {', '.join(words)}.")


def _convolutions(rows: pd.DataFrame) -> pd.Series:
    return rows["layer"].str.startswith("conv")


def _convolutions_passed(rows: pd.DataFrame, at: float) -> float:
    """Relevance at a convolution's output has not passed that convolution yet."""
    passed = _convolutions(rows).cumsum() - _convolutions(rows)
    there = rows["median"] > at
    return passed[there].iloc[0] if there.any() else np.inf


def _chain(table: pd.DataFrame, name: str) -> pd.Series:
    return table[table["chain"] == name].set_index("product")["median"].sort_index()


def non_negative_chains(table: pd.DataFrame, at: int) -> Outcome:
    """Claim 5, positive, stochastic and non-negative matrices, and that half zeros are no faster. `table`: of `wel.simulate`."""
    reached = {}
    for name in ("positive", "stochastic", "non_negative"):
        parallel = 1 - _chain(table, name) < PARALLEL
        reached[name] = parallel.idxmax() if parallel.any() else np.inf
    words = ", ".join(f"{name.replace('_', '-')} {count}" for name, count in reached.items())
    holds = max(reached.values()) <= at and reached["non_negative"] >= reached["positive"]
    return _whole(holds, f"Products to floating point: {words}.")


def alpha_beta_chains(table: pd.DataFrame, at: float) -> Outcome:
    """Claim 5, αW⁺ + βW⁻: converged at the end for small β, not for large. `table`: of `wel.simulate`."""
    rows = table[table["alpha"].notna()]
    ends = rows.loc[rows.groupby("chain")["product"].idxmax()].set_index("beta")["median"].sort_index()
    below, above = ends[ends.index <= LARGEST_BETA], ends[ends.index > LARGEST_BETA + 1]
    words = ", ".join(f"β = {beta:g}: {shown(value)}" for beta, value in ends.items())
    return Outcome(int((below > at).sum() + (above <= at).sum()), len(below) + len(above), f"|cos| at the end: {words}.")


def signed_chains(table: pd.DataFrame, at: float) -> Outcome:
    """Claim 5, vanilla and ReLU chains: nowhere converged. `table`: of `wel.simulate`."""
    most = {name: _chain(table, name).max() for name in ("vanilla", "relu")}
    words = f"Largest |cos|: vanilla {shown(most['vanilla'])}, ReLU {shown(most['relu'])}."
    return Outcome(sum(value <= at for value in most.values()), len(most), words)


def learned_chain_between(table: pd.DataFrame) -> Outcome:
    """Claim 5, learned weights with ReLU, after the last product that all have: between random ReLU and non-negative chains."""
    chains = [_chain(table, name) for name in ("relu", "learned_relu", "non_negative")]
    last = min(chain.index.max() for chain in chains)
    relu, learned, non_negative = (chain[last] for chain in chains)
    words = f"|cos| after {last} products: ReLU {shown(relu)}, learned ReLU {shown(learned)}, non-negative {shown(non_negative)}."
    return _whole(relu < learned < non_negative, words)


def patterns_dominate(place: str, table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 6: σ₁/σ₂ of pattern ⊙ weight beside that of the weights, 1×1 taps, `place` "layer" or "between". Of singular values."""
    rows = table[(table["place"] == place) & (table["matrix"] == "tap")]
    both, weights = (rows[rows["quantity"] == name]["ratio"].to_numpy() for name in ("pattern_weights", "weights"))
    if not len(both):
        return None
    times = both / weights
    mean = float(np.exp(np.log(times).mean()))
    words = f"Larger in {(times > 1).sum()} of {len(times)}, {mean:.1f} times on average"
    return _whole(mean >= at and (times > 1).all(), f"{words}; product {both.prod():.3g} beside {weights.prod():.3g}.")


def equal_for_two_classes(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 7: mean L1 distance of two classes' maps. `table`: of saliency."""
    return per_method(table.groupby("method")["l1"].mean().to_dict(), MODIFIED, lambda distance: distance <= at)


def drops_at_skips(table: pd.DataFrame) -> Outcome | None:
    """Claim 3, residual sums: methods that lose, at most of them, some of the |cos| that the branch had. `table`: of skips."""
    rows = table[~table["method"].isin(UNCONVERGED)]
    drops = (rows["joined"] < rows["branch"]).groupby(rows["method"])
    counts, sums = drops.sum(), drops.size()
    words = ", ".join(f"{METHODS[name].label} at {count} of {sums[name]}" for name, count in counts.items())
    return Outcome(int((counts > sums / 2).sum()), len(counts), f"Lower than in the branch: {words} sums.") if len(rows) else None


def details_stay(table: pd.DataFrame) -> Outcome | None:
    """Claim 4, CMP's maps of two classes by bands of a Laplacian pyramid: the finest are more alike than the coarsest. Of bands."""
    ends = {}
    for name, rows in table[table["method"].isin(CMP)].groupby("method"):
        medians = rows.groupby("size")["ssim"].median()
        ends[name] = medians.iloc[0], medians.iloc[-1]
    words = ", ".join(f"{METHODS[name].label} {shown(coarse)} (coarse), {shown(fine)} (fine)" for name, (coarse, fine) in ends.items())
    return Outcome(sum(fine > coarse for coarse, fine in ends.values()), len(ends), f"{words}.") if ends else None


def sensitive_maps(table: pd.DataFrame, at: float) -> Outcome | None:
    """Claim 8, maps: when the last layer is random. `table`: of cascading randomisation."""
    return per_method(_medians(table[table["stage_index"] == 1]), SENSITIVE, lambda ssim: ssim < at)


def sensitive_concepts(table: pd.DataFrame, at: float) -> Outcome:
    """Claim 8, TCAV: how far the mean score of each concept moves when the last layer is random. `table`: of TCAV."""
    scores = table.set_index(["stage", "concept"])["score"].unstack("stage")[table["stage"].unique()]
    moved = (scores.iloc[:, 1] - scores.iloc[:, 0]).abs()[table["concept"].unique()]
    words = ", ".join(f"{name} {shown(before)} → {shown(after)}" for name, (before, after) in scores.loc[moved.index].iterrows())
    return Outcome(int((moved >= at).sum()), len(moved), f"Score: {words}.")
