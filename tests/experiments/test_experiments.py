"""experiments/: claims are judged by numbers, the page holds everything by itself, every script tells its options."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from functools import partial
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scripts import imported
from typer import Typer
from typer.testing import CliRunner

import wel

FOLDER = Path(__file__).parents[2] / "experiments"
module = partial(imported, FOLDER)
names = (
    "judges",
    "claims",
    "page",
    "make_paper",
    "paper",
    "sheet",
    "subject",
    "trained",
    "depths",
    "pyramid",
    "quirks",
    "skips",
    "widths",
    "charts",
)
judges, claims, page, make_paper, paper, sheet, subject, trained, depths, pyramid, quirks, skips, widths, charts = map(module, names)
HOLDS, FAILS, UNTESTABLE = judges.HOLDS, judges.FAILS, judges.UNTESTABLE


def sanity(medians: dict[str, float]) -> pd.DataFrame:
    return pd.DataFrame({"method": medians.keys(), "median": medians.values(), "images": 20})


def path(method: str, medians: list[float], start: str = "fc6", layers: str = "fc5 conv4 conv3 conv2 conv1 input") -> pd.DataFrame:
    """A CSC table's rows of one method and start layer: medians from the top layer down."""
    names = layers.split()[-len(medians) :]
    index = np.arange(len(medians))[::-1]
    place = {"method": method, "start": start, "layer": names, "layer_index": index, "channels": np.where(index > 0, 64, 3)}
    return pd.DataFrame({**place, "median": medians, "baseline": 0.6 - 0.1 * index})


def cosines(**medians: list[float]) -> pd.DataFrame:
    return pd.concat([path(method, values) for method, values in medians.items()], ignore_index=True)


def chains(**medians: list[float]) -> pd.DataFrame:
    rows = []
    for chain, values in medians.items():
        beta = float(chain.partition("_beta")[2] or np.nan)
        rows += [{"chain": chain, "alpha": beta + 1, "beta": beta, "product": i, "median": value} for i, value in enumerate(values, 1)]
    return pd.DataFrame(rows)


NUMBERS = [(0.985, "0.985"), (0.00666, "0.00666"), (1.0, "1.000"), (1 - 2e-6, "1 − 2.0e-06"), (np.nan, "undefined")]


@pytest.mark.parametrize("value, words", NUMBERS)
def test_numbers_are_shown_as_far_as_they_count(value, words):
    assert judges.shown(value) == words


def outcome(kept: int, of: int, words: str) -> tuple[int, int, str]:
    return judges.Outcome(kept, of, words)


def test_verdicts_tell_parts():
    assert [judges.Outcome(kept, 3, "").verdict for kept in (0, 2, 3)] == [FAILS, "holds for 2 of 3", HOLDS]


def test_same_for_another_class():
    kept = {"guided_backprop": 0.93, "deep_taylor": 0.8, "gradient": 0.1}  # the gradient is no modified method
    assert judges.same_for_another_class(sanity(kept), 0.8) == outcome(2, 2, "As claimed: Guided BP 0.930, Deep Taylor 0.800.")
    found = judges.same_for_another_class(sanity({**kept, "deconvnet": 0.79}), 0.8)
    assert found == outcome(2, 3, "As claimed: Guided BP 0.930, Deep Taylor 0.800. Not so: Deconvnet 0.790.")


def test_undefined_values_are_not_as_claimed_and_absent_ones_are_nothing():
    assert judges.same_for_another_class(sanity({"deconvnet": np.nan}), 0.8) == outcome(0, 1, "Not so: Deconvnet undefined.")
    assert judges.same_for_another_class(sanity({"gradient": 0.9}), 0.8) is None


@pytest.mark.parametrize("ssim, verdict", [(0.79, HOLDS), (0.8, "holds for 1 of 2")])
def test_changed_by_another_class(ssim, verdict):
    assert judges.changed_by_another_class(sanity({"lrp_z": 0.3, "lrp_alpha5_beta4": ssim}), 0.8).verdict == verdict


@pytest.mark.parametrize("residual, verdict", [(0.6, HOLDS), (0.8, FAILS)])
def test_alpha2_beside_the_plain_network(residual, verdict):
    tables = [sanity({"lrp_alpha2_beta1": ssim}) for ssim in (residual, 0.7)]
    found = judges.alpha2_changes_more(*tables)
    assert (found.verdict, found.measured) == (verdict, f"Median SSIM {residual:.3f}, on the plain network 0.700.")
    assert judges.alpha2_changes_more(sanity({"lrp_z": 0.1}), tables[1]) is None


def test_cascading():
    """Six stages, of which two thirds are the first four: 0.4 at the fifth does not count."""
    ssim = {"gradient": [0.4, 0.9, 0.9, 0.9, 0.9, 0.9], "deep_taylor": [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]}
    rows = [{"method": name, "stage_index": i, "median": one} for name, values in ssim.items() for i, one in enumerate(values, 1)]
    table = pd.DataFrame(rows)
    assert judges.drops_at_last_layer(table, 0.5) == outcome(1, 1, "As claimed: Gradient 0.400.")
    assert judges.similar_down_to_early_layers(table, 0.5) == outcome(1, 1, "As claimed: Deep Taylor 0.600.")
    assert judges.drops_at_last_layer(table.assign(median=0.5), 0.5).verdict == FAILS
    assert judges.similar_down_to_early_layers(table.assign(median=0.49), 0.5).verdict == FAILS


@pytest.mark.parametrize("taylor, verdict", [([-0.9, 0.9], HOLDS), ([0.9, 0.9], FAILS), ([-0.9, -0.9], FAILS)])
def test_sign_flips_count_at_the_first_stage(taylor, verdict):
    values = {"lrp_alpha1_beta0": [0.9, -0.2], "deep_taylor": taylor}
    rows = [{"method": name, "stage": "fc6", "correlation": one} for name, several in values.items() for one in several]
    rows += [{"method": name, "stage": "conv1", "correlation": -1.0} for name in values]
    found = judges.sign_flips(pd.DataFrame(rows))
    assert found.verdict == verdict and found.measured.startswith("Flipped: LRP α1β0 1 of 2 maps, Deep Taylor")


def test_from_output_is_the_start_layer_with_most_below():
    table = pd.concat([path("gradient", [0.9, 0.8], start="conv2"), path("gradient", [0.1, 0.2, 0.3])])
    assert judges.from_output(table)["median"].tolist() == [0.1, 0.2, 0.3]
    assert judges.at_input(table) == {"gradient": 0.3}


def test_convergence_is_that_at_the_input():
    table = cosines(guided_backprop=[0.999, 0.5, 0.991], deconvnet=[0.1, 0.999, 0.99], gradient=[0.1, 0.2, 0.99])
    assert judges.converges(["guided_backprop"], table, 0.99) == outcome(1, 1, "As claimed: Guided BP 0.991.")
    assert judges.converges(judges.CONVERGING, table, 0.99).measured == "As claimed: Guided BP 0.991. Not so: Deconvnet 0.990."
    assert judges.stays_apart(judges.UNCONVERGED, table, 0.99).verdict == HOLDS
    assert judges.stays_apart(["guided_backprop"], table, 0.99).verdict == FAILS


def test_fastest():
    """Counted is how many layers lie before the first with |cos| > 0.99: for α1β0 one, for the gradient, which never is there, all."""
    near = 1 - 1e-7
    table = cosines(lrp_alpha1_beta0=[0.5, 0.995, near], deep_taylor=[0.6, near, 0.999], gradient=[0.1, 0.2, 0.3])
    words = "LRP α1β0 down to 1.0e-07, past 0.99 after 1 layer; Deep Taylor down to 1.0e-07, past 0.99 after 1 layer"
    assert judges.fastest(table, 0.99) == outcome(2, 2, f"1 − |cos|: {words}.")
    earlier = pd.concat([table, path("rectgrad", [0.999, 0.5, 0.5])])
    assert judges.fastest(earlier, 0.99) == outcome(0, 2, f"1 − |cos|: {words}. Past it after 0 layers: RectGrad.")
    assert judges.fastest(table.assign(median=table["median"] - 1e-5), 0.99).verdict == FAILS


def test_alpha5_beside_alpha2():
    found = judges.alpha5_converges_less(cosines(lrp_alpha5_beta4=[0.7], lrp_alpha2_beta1=[0.9]))
    assert found == outcome(1, 1, "α5β4 0.700, α2β1 0.900.")
    assert judges.alpha5_converges_less(cosines(lrp_alpha5_beta4=[0.9], lrp_alpha2_beta1=[0.9])).verdict == FAILS
    assert judges.alpha5_converges_less(cosines(lrp_alpha5_beta4=[0.9])) is None


def test_less_pronounced_compares_methods_of_both_networks():
    plain = cosines(deep_taylor=[0.999], guided_backprop=[0.98], pattern_net=[1.0])
    found = judges.less_pronounced(cosines(deep_taylor=[0.99], guided_backprop=[0.985]), plain)
    assert found == outcome(1, 2, "Guided BP 0.985, plain 0.980; Deep Taylor 0.990, plain 0.999.")
    assert judges.less_pronounced(cosines(deep_taylor=[0.99]), plain).verdict == HOLDS


def test_jump_at_the_input():
    words = "Gradient 0.400 → 0.700, chance 0.500 → 0.600."
    assert judges.jumps_at_input(cosines(gradient=[0.9, 0.4, 0.7])) == outcome(2, 2, words)
    assert judges.jumps_at_input(cosines(gradient=[0.9, 0.4, 0.3])).verdict == "holds for 1 of 2"


def test_jump_is_measured_above_padding():
    """Padding has the image's three channels: conv2, conv1 (as if it were padding), input."""
    table = cosines(gradient=[0.4, 0.7, 0.7])
    table.loc[1, "channels"] = 3
    assert judges.jumps_at_input(table) == outcome(2, 2, "Gradient 0.400 → 0.700, chance 0.400 → 0.500.")


def test_drops_at_skips():
    """α1β0 loses at two sums of three, Guided BP at none; the gradient does not converge and is not asked."""
    joined, branch = [0.5, 0.9, 0.99, 0.8, 0.8, 0.8], [0.9, 0.95, 0.98, 0.7, 0.7, 0.7]
    table = pd.DataFrame({"method": ["lrp_alpha1_beta0"] * 3 + ["guided_backprop"] * 3, "joined": joined, "branch": branch})
    words = "Lower than in the branch: Guided BP at 0 of 3, LRP α1β0 at 2 of 3 sums."
    assert judges.drops_at_skips(table) == outcome(1, 2, words)
    assert judges.drops_at_skips(table.assign(method="gradient")) is None


def test_details_stay():
    """Medians by band of 60 and 15 pixels: α1β0's details are more alike, α2β1's coarse regions."""
    rows = [("lrp_cmp_alpha1_beta0", 60, 0.9), ("lrp_cmp_alpha1_beta0", 60, 0.8), ("lrp_cmp_alpha1_beta0", 15, 0.4)]
    rows += [("lrp_cmp_alpha2_beta1", 60, 0.3), ("lrp_cmp_alpha2_beta1", 15, 0.4), ("gradient", 60, 0.1)]
    table = pd.DataFrame(rows, columns=["method", "size", "ssim"])
    words = "LRP CMP α1β0 0.400 (coarse), 0.850 (fine), LRP CMP α2β1 0.400 (coarse), 0.300 (fine)."
    assert judges.details_stay(table) == outcome(1, 2, words)
    assert judges.details_stay(table[-1:]) is None


def test_cmp():
    """From the logits: fc5, conv4, conv3, conv2, conv1, input. At conv2 two convolutions are passed, conv4 and conv3."""
    table = cosines(lrp_cmp_alpha1_beta0=[0.7, 0.8, 0.9, 0.995, 0.999, 0.999])
    assert judges.apart_in_dense_layers(table, 0.99) == outcome(1, 1, "As claimed: LRP CMP α1β0 0.800.")
    assert judges.converges_in_convolutions(table, 0.99) == outcome(1, 1, "Convolutions: LRP CMP α1β0 after 2.")
    both = pd.concat([table, path("lrp_cmp_alpha2_beta1", [0.995, 0.1, 0.1, 0.1, 0.1, 0.9])])
    assert judges.apart_in_dense_layers(both, 0.99).measured == "As claimed: LRP CMP α1β0 0.800. Not so: LRP CMP α2β1 0.995."
    never = both[both["layer"] != "fc5"]
    assert judges.converges_in_convolutions(never, 0.99) == outcome(1, 2, "Convolutions: LRP CMP α1β0 after 2, LRP CMP α2β1 never.")


def test_non_negative_chains():
    table = chains(positive=[0.9, 1.0, 1.0], stochastic=[0.9, 1 - 5e-15, 1.0], non_negative=[0.9, 1 - 2e-14, 1.0])
    words = "Products to floating point: positive 2, stochastic 2, non-negative 3."
    assert judges.non_negative_chains(table, 8) == outcome(1, 1, words)
    late = chains(positive=[0.9] * 8 + [1.0], stochastic=[1.0], non_negative=[0.9] * 9)
    assert judges.non_negative_chains(late, 8) == outcome(0, 1, "Products to floating point: positive 9, stochastic 1, non-negative inf.")
    assert judges.non_negative_chains(chains(positive=[0.9, 1.0], stochastic=[1.0], non_negative=[1.0]), 8).verdict == FAILS


# ends of β = 3, 4 and 9, of which 4 may be either way
ENDS = [((0.999, 0.5, 0.4), 2), ((0.999, 0.999, 0.4), 2), ((0.9, 0.5, 0.4), 1), ((1.0, 1.0, 1.0), 1)]


@pytest.mark.parametrize("ends, kept", ENDS)
def test_alpha_beta_chains(ends, kept):
    table = chains(**{f"alpha{beta + 1}_beta{beta}": [1.0, end] for beta, end in zip((3, 4, 9), ends)}, vanilla=[0.5])
    assert judges.alpha_beta_chains(table, 0.99)[:2] == (kept, 2)


def test_signed_and_learned_chains():
    table = chains(vanilla=[0.1, 0.2, 0.3], relu=[0.1, 0.5, 0.9], learned_relu=[0.2, 0.6], non_negative=[0.2, 0.8, 1.0])
    assert judges.signed_chains(table, 0.99) == outcome(2, 2, "Largest |cos|: vanilla 0.300, ReLU 0.900.")
    words = "|cos| after 2 products: ReLU 0.500, learned ReLU 0.600, non-negative 0.800."
    assert judges.learned_chain_between(table) == outcome(1, 1, words)
    longer = chains(relu=[0.1, 0.5], learned_relu=[0.2, 0.6, 0.1], non_negative=[0.2, 0.8])  # a layer more than VGG-16
    assert judges.learned_chain_between(longer) == outcome(1, 1, words)
    outside = chains(vanilla=[0.1, 0.995], relu=[0.1, 0.5], learned_relu=[0.2, 0.9], non_negative=[0.2, 0.8])
    assert judges.signed_chains(outside, 0.99).kept == 1 and judges.learned_chain_between(outside).verdict == FAILS


def ratios(weights: list[float], pattern_weights: list[float], place: str = "layer") -> pd.DataFrame:
    values = {"weights": weights, "pattern_weights": pattern_weights}
    rows = [{"quantity": name, "ratio": ratio, "place": place, "matrix": "tap"} for name, several in values.items() for ratio in several]
    return pd.DataFrame(rows)


def test_patterns_dominate():
    """8/2 = 4 and 3/1 = 3, geometric mean √12 = 3.46; products 24 and 2."""
    found = judges.patterns_dominate("layer", ratios([2.0, 1.0], [8.0, 3.0]), 2)
    assert found == outcome(1, 1, "Larger in 2 of 2, 3.5 times on average; product 24 beside 2.")
    assert judges.patterns_dominate("layer", ratios([2.0, 1.0], [8.0, 3.0]), 3.5).verdict == FAILS
    assert judges.patterns_dominate("layer", ratios([2.0, 1.0], [20.0, 0.9]), 2).verdict == FAILS
    assert judges.patterns_dominate("layer", ratios([2.0, 1.0], [2.2, 1.1]), 2).verdict == FAILS
    assert judges.patterns_dominate("between", ratios([2.0], [8.0]), 2) is None


def test_two_classes_are_compared_by_their_mean_distance():
    table = pd.DataFrame({"method": ["deep_taylor"] * 2 + ["deconvnet"], "l1": [0.03, 0.06, 0.06]})
    assert judges.equal_for_two_classes(table, 0.05) == outcome(1, 2, "As claimed: Deep Taylor 0.045. Not so: Deconvnet 0.060.")
    assert judges.equal_for_two_classes(table[:2], 0.05).verdict == HOLDS


def found_by_network(runs, number: str) -> dict[str, tuple[str, str]]:
    return {one.network: (one.verdict, one.measured) for one in claims.findings(runs) if one.claim.number == number}


def test_findings_tell_which_files_are_missing():
    table = sanity({"deep_taylor": 0.9})
    runs = [claims.Run("random_logit", "cifar10", "trained", table), claims.Run("random_logit", "resnet50", "random", table)]
    words = "As claimed: Deep Taylor 0.900."
    found = [(one.network, one.images, one.verdict, one.measured) for one in claims.findings(runs) if one.claim.number == "1a"]
    missing = "{} is missing (make real), or ImageNet weights (--{})."
    assert found == [
        ("ResNet-50", "20 images", UNTESTABLE, f"With random weights: {words}"),
        ("cifar10", "20 images", HOLDS, words),
        ("VGG-16", "", UNTESTABLE, missing.format(Path("runs/real/vgg16_mri.h5"), "vgg16")),
        ("ResNet-50", "", UNTESTABLE, missing.format(Path("runs/real/resnet50_nsfw.h5"), "resnet50")),
    ]


def test_findings_come_for_the_papers_networks_first_and_nothing_is_missing_where_one_was_run():
    table = sanity({"deep_taylor": 0.9})
    runs = [claims.Run("random_logit", name, "trained", table) for name in ("resnet20", "cifar10", "resnet50_nsfw", "vgg16_mri")]
    order = ("vgg16_mri", "resnet50_nsfw", "cifar10", "resnet20")
    assert list(found_by_network(runs, "1a")) == [trained.LABELS[name] for name in order]


def test_findings_are_for_each_semantics():
    runs = [
        claims.Run("random_logit", "resnet20", "trained", sanity({"lrp_z": ssim}), name)
        for ssim, name in ((0.9, "paper"), (0.1, "corrected"))
    ]
    verdicts = {network: verdict for network, (verdict, _) in found_by_network(runs, "1b").items()}
    assert (verdicts["resnet20"], verdicts["resnet20, corrected"]) == (FAILS, HOLDS)
    alike = [run._replace(table=runs[0].table) for run in runs]
    assert [network for network in found_by_network(alike, "1b") if network.startswith("resnet20")] == ["resnet20"]


def test_findings_show_how_the_verdict_moves_with_the_threshold():
    """Deep Taylor's 0.93 passes all but 0.95, Deconvnet's 0.65 only 0.6."""
    run = claims.Run("random_logit", "cifar10", "trained", sanity({"deep_taylor": 0.93, "deconvnet": 0.65}))
    (finding,) = [one for one in claims.findings([run]) if one.claim.number == "1a" and one.network == "cifar10"]
    assert finding.verdict == "holds for 1 of 2"
    assert finding.moves == ((0.6, 2, 2), (0.7, 1, 2), (0.8, 1, 2), (0.9, 1, 2), (0.95, 0, 2))
    assert page.moved(finding.moves[0]) == "0.6: 2 of 2"


def test_findings_take_the_first_run_of_a_network():
    runs = [claims.Run("random_logit", "cifar10", "trained", sanity({"deep_taylor": ssim})) for ssim in (0.9, 0.1)]
    assert found_by_network(runs, "1a")["cifar10"][0] == HOLDS


def test_residual_networks_are_compared_with_their_own_kind():
    tables = {name: sanity({"lrp_alpha2_beta1": ssim}) for name, ssim in (("cifar10", 0.7), ("resnet20", 0.6))}
    runs = [claims.Run("random_logit", name, "trained", table) for name, table in tables.items()]
    assert found_by_network(runs, "1c")["resnet20"][0] == HOLDS
    assert list(found_by_network(runs[1:], "1c")) == ["ResNet-50"]


def test_claims_about_random_matrices_need_no_weights():
    run = claims.Run("simulation", "cifar10", "trained", chains(vanilla=[0.1], relu=[0.2]))
    claim = next(claim for claim in claims.CLAIMS if claim.number == "5c")
    assert [(one.network, one.verdict) for one in claims._of_claim(claim, [run])] == [("random matrices", HOLDS)]


def test_every_threshold_is_named_in_the_words_of_its_test():
    for claim in claims.CLAIMS:
        assert ("{}" in claim.test) == (claim.threshold is not None), claim.number
        assert "{" not in claim.asked


def test_summary_tells_what_converges_on_the_papers_networks():
    """Of the ResNet-50 the published formulas count; 0.991 converges, 0.9 does not."""
    runs = [
        claims.Run("csc", "vgg16_mri", "trained", cosines(deep_taylor=[0.5, 0.991], gradient=[0.5, 0.9])),
        claims.Run("csc", "resnet50_nsfw", "trained", cosines(deep_taylor=[0.5, 0.992]), "corrected"),
    ]
    first, second = claims.summary(runs).split(". On ")
    assert (
        "begin at fc6" in first
        and "under Deep Taylor (median |cos| ≥ 0.991); they stay apart under Gradient (median |cos| ≤ 0.900)" in first
    )
    assert second.startswith("ResNet-50") and "by the published formulas" in second
    assert claims.summary([]) == ""


NASTY = '<script>alert("1")</script> & | $'


class Resources(HTMLParser):
    """Collects what a page would fetch, and what it links to."""

    def __init__(self):
        super().__init__()
        self.found, self.links = [], []

    def handle_starttag(self, tag, attributes):
        kept = dict(attributes)
        fetched = ("src", "srcset", "data", "poster", *(["href"] if tag == "link" else []))
        self.found += [kept[name] for name in fetched if name in kept]
        self.links += [kept["href"]] if tag == "a" else []


@pytest.fixture
def written(tmp_path):
    """A page of one figure with a picture of 4×3 pixels, whose texts are nasty; a second figure is missing."""
    run = tmp_path / "one" / "random_logit-cifar10-trained-20"
    run.mkdir(parents=True)
    title = PngInfo()
    title.add_itxt("Title", NASTY)
    Image.fromarray(np.full((3, 4, 3), 200, "uint8")).save(run / "picture.png", pnginfo=title)
    sanity({"deep_taylor": 0.9}).to_csv(run / "random_logit.csv", index=False)
    record = {"request": {"images": 20, "stages": ["a", NASTY]}, "context": {"images_source": NASTY, "skipped": {"pattern_net": NASTY}}}
    (run / "run.json").write_text(json.dumps({**record, "versions": {"wel": NASTY}}))
    entry = {"study": "random_logit", "network": "cifar10", "weights": "trained", "folder": run.name}
    entry["figures"] = [f"{run.name}/picture.png"]
    sheet = {"figure": NASTY, "title": NASTY, "quick": True, "runs": [entry]}
    (tmp_path / "one" / "sheet.json").write_text(json.dumps(sheet))
    return page.write_page(tmp_path / "out", [tmp_path / "one", tmp_path / "two"])


def test_page_holds_its_pictures_and_fetches_nothing(written):
    seen = Resources()
    seen.feed(written.read_text("utf-8"))
    (icon, source) = seen.found
    assert icon == "data:,"
    kind, content = source.split(",")
    assert kind in ("data:image/webp;base64", "data:image/png;base64")
    assert Image.open(BytesIO(b64decode(content))).size == (4, 3)
    assert [link for link in seen.links if not link.startswith("#")] == ["https://arxiv.org/abs/1912.09818"]
    assert re.findall(r"url\(|@import", written.read_text("utf-8")) == []


def test_page_escapes_every_text(written):
    text = written.read_text("utf-8")
    assert "<script" not in text
    # heading, navigation, title, figure caption, alt text and its frame's label, two settings, a reason, a version
    assert text.count("&lt;script&gt;") == 10


def test_page_tells_claims_and_what_is_missing(written):
    text = written.read_text("utf-8")
    assert "As claimed: Deep Taylor 0.900." in text and UNTESTABLE in text
    assert "did not run to their ends: two" in text and "the quick version" in text


def test_tally_counts_what_could_be_tested():
    claim = claims.CLAIMS[0]
    verdicts = [("cifar10", HOLDS), ("cifar10", FAILS), ("VGG-16", UNTESTABLE), ("cifar10", "holds for 2 of 3"), ("random matrices", HOLDS)]
    found = [claims.Finding(claim, network, "", verdict, "") for network, verdict in verdicts]
    assert page.tally(found) == {
        "cifar10": {"in full": 1, "in part": 1, "not": 1},
        "random matrices": {"in full": 1, "in part": 0, "not": 0},
    }


def test_markdown_table(written):
    lines = (written.parent / "claims.md").read_text("utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}
    assert any(
        line.startswith("| **1a**")
        and "As claimed: Deep Taylor 0.900. | 0.6: 1 of 1, 0.7: 1 of 1, 0.8: 1 of 1, 0.9: 1 of 1, 0.95: 0 of 1 |" in line
        for line in lines
    )


def test_correlations_with_the_untouched_map():
    """Maps (1, 2, 3) and (3, 2, 1) have r = −1, (1, 2, 3) and (2, 4, 6) r = 1, and a constant one has none."""
    original = np.array([[[1.0, 2.0, 3.0]]] * 3)
    stage = np.array([[[3.0, 2.0, 1.0]], [[2.0, 4.0, 6.0]], [[1.0, 1.0, 1.0]]])
    maps = {("lrp_z", "paper", "original"): original, ("lrp_z", "paper", "stage_fc6"): stage, ("lrp_z", "paper", "class_1"): stage}
    found = sheet.correlations(sheet.SaliencyResult(maps, pd.DataFrame(), pd.DataFrame()))
    assert found["stage"].tolist() == ["fc6"] * 3
    np.testing.assert_allclose(found["correlation"], [-1, 1, np.nan])


def test_bands_separate_details_from_coarse_regions():
    """Two maps with the same details, a chequerboard, on waves of 64 pixels from left to right and from top to bottom."""
    fine = np.indices((64, 64)).sum(axis=0) % 2 * 2.0 - 1
    wave = 8 * np.sin(2 * np.pi * np.arange(64) / 64)[None].repeat(64, axis=0)
    maps = {("gradient", "corrected", f"class_{index}"): (fine + part)[None] for index, part in ((0, wave), (1, wave.T))}
    table = pyramid.bands(sheet.SaliencyResult(maps, pd.DataFrame(), pd.DataFrame()), (0, 1))
    assert table["size"].tolist() == [64, 32, 16]
    finest, *_, coarsest = table["ssim"]
    assert finest > 0.9 and coarsest < 0.3


def small_residual():
    """Convolutions a, b and c; the input of b is added to c's output."""
    from tensorflow.keras import Input, Model, layers

    x = inputs = Input((4, 4, 3))
    x = layers.Conv2D(2, 1, name="a")(x)
    y = layers.Conv2D(2, 1, name="b")(x)
    y = layers.Conv2D(2, 1, name="c")(y)
    x = layers.Add(name="sum")([y, x])
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return wel.load(Model(inputs, layers.Dense(2, name="d")(x)))


def residual_table(net) -> pd.DataFrame:
    """CSC from d: 0.9 everywhere, but 0.95 at b, in the branch, and 0.8 at a, where the shortcut joins it."""
    below = [name for name in reversed(net.layers) if name != "d"]
    medians = [{"b": 0.95, "a": 0.8}.get(name, 0.9) for name in below]
    place = {"model": "small", "method": "gradient", "semantics": "paper", "start": "d", "images": 3}
    shown = ["input" if name == net.graph.input else name for name in below]
    return pd.DataFrame({**place, "layer": shown, "layer_index": list(map(net.graph.index, below)), "median": medians})


def test_skips_and_depths_of_a_residual_network():
    """Relevance at a has come through d, c and b, at the sum through d only; the shortcut is the shorter way."""
    net = small_residual()
    (row,) = skips.skips(net, residual_table(net)).to_dict("records")
    assert (row["joined_at"], row["joined"], row["branch"]) == ("a", 0.8, 0.95)
    found = depths.depths(net, residual_table(net)).set_index("layer")["layers"].to_dict()
    assert found == {"pooled": 1, "sum": 1, "c": 1, "b": 2, "a": 3, "input": 4}


def test_rates():
    """1 − |cos| of 0.1, 0.01 … 1e-5 after 1 to 5 layers, from two start layers apart: a factor of 0.1; the input and 1e-7 do not count."""
    rows = []
    for start, first in (("x", 1.0), ("y", 0.5)):
        for layers, exponent in enumerate([1, 2, 3, 4, 5, 7], 1):
            rows.append(("net", "gradient", start, "conv", layers, 1 - first * 10.0**-exponent))
        rows.append(("net", "gradient", start, "input", 7, 0.5))
    table = pd.DataFrame(rows, columns=["model", "method", "start", "layer", "layers", "median"])
    (row,) = depths.rates([table]).to_dict("records")
    assert row["points"] == 10
    np.testing.assert_allclose([row["factor"], row["low"], row["high"]], 0.1, rtol=1e-3)
    assert depths.at_inputs([table])["median"].tolist() == [0.5, 0.5]


NETWORKS_RUN = [("a", 4), ("b", 2), ("a", 1)]


def test_of_each_network_the_most_images_count():
    tables = [pd.DataFrame({"model": name, "images": [count] * 2, "semantics": ["paper", "corrected"]}) for name, count in NETWORKS_RUN]
    found = [(table["model"].item(), table["images"].item(), table["semantics"].item()) for table in depths.most_images(tables)]
    assert sorted(found) == [("a", 4, "paper"), ("b", 2, "paper")]


def test_quirks_are_taken_one_by_one():
    """Of α2β1 on a network with a sum; afterwards no rule is registered."""
    from wel.methods.composites import registered_rules, rules_for

    net, found = small_residual(), {}
    for variant in quirks.VARIANTS:
        with quirks.variant_of(net, variant) as (methods, semantics):
            assert "lrp_alpha2_beta1" in methods and "gradient" not in methods
            rules = rules_for(net.graph, "lrp_alpha2_beta1", semantics, {})
            found[variant] = str(rules["sum"][0][1]).startswith("Clipped"), "bias both" in str(rules["b"][0][1])
    assert found == {
        "paper": (True, True),
        "its sums alone": (True, False),
        "its biases alone": (False, True),
        "corrected": (False, False),
    }
    assert registered_rules() == {}


def test_widths_are_those_of_csc_and_shrink(tmp_path):
    """With all images there is one subset, whose interval is that of wel.csc."""
    six = subject.subject("cifar10", None, None, 6)
    table = widths.widths(six.net, six.inputs, ["gradient"], 2, [2, 6], ["input"], 0, out=tmp_path / "run", context={}, steps=None)
    again = widths.widths(six.net, six.inputs, ["gradient"], 2, [2, 6], ["input"], 0, out=tmp_path / "run", context={}, steps=None)
    row = wel.csc(six.net, six.inputs, ["gradient"], "fc6", 2, batch_size=1).table.iloc[-1]
    assert table["images"].tolist() == again["images"].tolist() == [2, 6] and table["width"].iloc[0] > 0
    np.testing.assert_allclose(table["width"].iloc[1], row["ci_high"] - row["ci_low"], rtol=1e-9)


def test_charts_are_drawn(tmp_path):
    rows = [("vgg16_mri", "gradient", "fc6", "input", number, 0.5 + 0.1 * number) for number in range(4)]
    table = pd.DataFrame(rows, columns=["model", "method", "start", "layer", "layers", "median"])
    assert charts.write_depth_chart(table, tmp_path)[0].is_file()
    assert charts.write_quirks_chart(table.assign(variant=list(quirks.VARIANTS)), tmp_path)[0].is_file()
    rate = pd.DataFrame([{"model": "vgg16_mri", "method": "gradient", "factor": 0.9, "low": 0.8, "high": 1.0}])
    assert charts.write_rate_chart(rate, tmp_path)[0].is_file()
    sizes = table.assign(images=[2, 5, 2, 5], vectors=[2, 2, 5, 5], width=0.1)
    assert charts.write_width_chart(sizes, tmp_path)[0].is_file()


def test_make_paper_runs_every_figure():
    files = {file.stem for file in FOLDER.glob("*.py") if re.match("figure|appendix", file.stem)}
    assert files == set(make_paper.SCRIPTS)


def test_make_paper_gives_each_script_its_weights_and_names_those_that_fail(tmp_path, monkeypatch, capfd):
    commands = {}

    def run(command, **_):
        commands[Path(command[1]).stem] = command[2:]
        return SimpleNamespace(returncode=2 * ("figure3" in command[1]))

    monkeypatch.setattr(make_paper.subprocess, "run", run)
    monkeypatch.setattr(make_paper, "REAL_FOLDER", tmp_path / "real")
    with pytest.raises(SystemExit) as stopped:
        make_paper.main(full=False, vgg16="a.h5", images=Path("pictures"), out=tmp_path)
    assert stopped.value.code == 1 and capfd.readouterr().err == "Did not run to their ends: figure3_csc\n"
    assert list(commands) == ["fetch", *make_paper.SCRIPTS] and (tmp_path / "index.html").is_file()
    assert commands.pop("fetch") == ["--out", str(tmp_path / "real")]
    given = {name: "vgg16" for name, options in commands.items() if "a.h5" in options}
    assert given.items() == {pair for pair in make_paper.SCRIPTS.items() if pair[1] == "vgg16"}
    assert commands["figure5_resnet50"] == ["--quick", "--images", "pictures", "--out", str(tmp_path / "figure5_resnet50")]
    assert commands["appendix_cifar10"] == ["--quick", "--out", str(tmp_path / "appendix_cifar10")]


@pytest.mark.parametrize("name", [*make_paper.SCRIPTS, "make_paper"])
def test_script_tells_its_options(name):
    application = Typer()
    application.command()(module(name).main)
    told = CliRunner().invoke(application, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert told.exit_code == 0
    options = {"make_paper": {"--full", "--vgg16", "--resnet50", "--images"}, "appendix_depth": {"--quick"}}
    expected = options.get(name, {"--quick", "--images"}) | {"--out"}
    assert {option for option in expected if option not in told.output} == set()


# network, weights, what of `make real` is there, images of the bundled one -> network, weights, input shape, weights of the subject
LOADED = [
    ("vgg16", None, (), 5, [("cifar10", None, None, "trained")]),
    ("resnet50", None, (), 5, [("resnet20", None, None, "trained")]),
    ("resnet50", None, (), 0, [("resnet50", "random", (96, 96, 3), "random")]),
    ("vgg16", "a.h5", ("vgg16_mri",), 5, [("vgg16", "a.h5", None, "trained")]),
    ("vgg16", "imagenet", (), 0, [("vgg16", "imagenet", None, "trained")]),
    ("resnet50", None, ("resnet50_nsfw",), 5, [("resnet50_nsfw", None, None, "trained"), ("resnet20", None, None, "trained")]),
    ("resnet50", None, ("efficientnet_lite0",), 0, [("efficientnet_lite0", None, None, "trained")]),
]


@pytest.mark.parametrize("name, given, there, bundled, expected", LOADED)
def test_networks_of_a_figure(name, given, there, bundled, expected, monkeypatch):
    monkeypatch.setattr(wel, "load", lambda name, weights, input_shape: (name, weights, input_shape))
    monkeypatch.setattr(subject, "trained", lambda name: (name, None, None) if name in there else None)
    monkeypatch.setattr(subject, "load_images", lambda net, images, limit: (images, limit))
    found = subject.subjects(name, given, None, 3, bundled)
    assert [(*one.net, one.weights) for one in found] == expected
    assert [one.pictures[1] for one in found] == [bundled if one[0] in ("cifar10", "resnet20") else 3 for one in expected]


def test_networks_of_make_real_have_the_papers_names(tmp_path, monkeypatch):
    """From the file and the card beside it."""
    model = small_residual().model
    model.save(tmp_path / "resnet50_nsfw.h5")
    (tmp_path / "resnet50_nsfw.card.json").write_text(json.dumps({"preprocessing": "caffe", "classes": ["sfw", "nsfw"]}))
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    monkeypatch.setitem(trained.NETWORKS, "resnet50_nsfw", trained.Layers(("sum", "a"), ("a",), {"first": "a"}))
    net = trained.trained("resnet50_nsfw")
    assert (net.name, net.class_names, net.shown("a"), trained.top_start(net)) == ("resnet50_nsfw", ("sfw", "nsfw"), "first", "sum")
    assert subject.load_images(net, limit=1).inputs.shape == (1, 4, 4, 3)
    (tmp_path / "vgg16_mri.h5").write_bytes((tmp_path / "resnet50_nsfw.h5").read_bytes())  # without a card
    assert trained.trained("vgg16_mri") is trained.trained("efficientnet_lite0") is None and set(trained.NETWORKS) < set(trained.LABELS)
    with pytest.raises(wel.WelError, match="loaded from their files"):
        net.architecture.build((4, 4, 3), 2)


def test_sheet_is_what_the_page_shows(tmp_path):
    one = sheet.Sheet(tmp_path / "figure2", "Figure 2", "One method", quick=True)
    one.random_logit(subject.subject("cifar10", None, None, 2), methods=["deep_taylor"], seed=0)
    one.close()
    (run,) = json.loads((tmp_path / "figure2" / "sheet.json").read_text("utf-8"))["runs"]
    assert (run["network"], run["weights"], run["folder"]) == ("cifar10", "trained", "random_logit-cifar10-trained-2")
    text = page.write_page(tmp_path, [tmp_path / "figure2"]).read_text("utf-8")
    assert '<h2 id="figure2">' in text and len(re.findall("data:image/(?:webp|png);base64,", text)) == len(run["figures"]) == 1
    median = pd.read_csv(one.folder / "random_logit.csv").query("method == 'deep_taylor'")["median"].item()
    assert f"As claimed: Deep Taylor {median:.3f}." in text


def test_sensitive_maps_are_judged_at_the_last_layer():
    rows = [("iba", 1, 0.49), ("iba", 2, 0.9), ("occlusion", 1, 0.5), ("edges", 1, 1.0)]  # edges are a control
    table = pd.DataFrame(rows, columns=["method", "stage_index", "median"])
    assert judges.sensitive_maps(table, 0.5) == outcome(1, 2, "As claimed: IBA 0.490. Not so: Occlusion 0.500.")


def test_sensitive_concepts_are_those_whose_score_moves():
    rows = [("original", "red", 0.9), ("original", "dots", 0.25), ("fc6", "red", 0.75), ("fc6", "dots", 0.5)]
    table = pd.DataFrame(rows, columns=["stage", "concept", "score"])
    assert judges.sensitive_concepts(table, 0.2) == outcome(1, 2, "Score: red 0.900 → 0.750, dots 0.250 → 0.500.")
    assert judges.sensitive_concepts(table, 0.3).verdict == FAILS and judges.sensitive_concepts(table, 0.1).verdict == HOLDS


def test_the_talks_methods_are_put_to_the_test(tmp_path):
    one, four = sheet.Sheet(tmp_path / "talk", "Appendix", "The talk", quick=True), subject.subject("cifar10", None, None, 4)
    one.sensitive(four, ("gradient", "edges"), seed=0)
    one.concepts(four, 40, counterparts=3, seed=0)
    one.close()
    maps, concepts = (pd.read_csv(tmp_path / "talk" / f"{name}-cifar10-trained-4" / f"{name}.csv") for name in ("sensitive", "concepts"))
    # the last of six layers with weights, and the one in the middle; the other control is beside
    assert maps["method"].tolist() == ["gradient"] * 2 + ["edges"] * 2 + ["random"] * 2
    assert maps["stage"].tolist() == ["fc6", "conv4"] * 3 and maps.query("method == 'edges'")["median"].tolist() == [1, 1]
    assert concepts["stage"].unique().tolist() == ["original", "fc6"] and concepts["concept"].unique().tolist() == [*sheet.CONCEPTS]
    assert set(concepts["pictures"]) == {10}
    text = page.write_page(tmp_path, [tmp_path / "talk"]).read_text("utf-8")
    assert "As claimed: Gradient" in text and "Score: stripes" in text


def test_bad_weights_end_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figure", "--weights", "nowhere.h5", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        paper.start(module("appendix_cifar10").main)
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and said.startswith("Invalid value for `weights`") and len(said.splitlines()) == 1
