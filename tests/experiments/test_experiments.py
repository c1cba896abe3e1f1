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

FOLDER = Path(__file__).parents[2] / "experiments"
module = partial(imported, FOLDER)
judges, claims, page, make_paper, paper = map(module, ("judges", "claims", "page", "make_paper", "paper"))
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


def test_same_for_another_class():
    kept = {"guided_backprop": 0.93, "deep_taylor": 0.8, "gradient": 0.1}  # the gradient is no modified method
    assert judges.same_for_another_class(sanity(kept)) == (HOLDS, "As claimed: Guided BP 0.930, Deep Taylor 0.800.")
    found = judges.same_for_another_class(sanity({**kept, "deconvnet": 0.79}))
    assert found == (FAILS, "As claimed: Guided BP 0.930, Deep Taylor 0.800. Not so: Deconvnet 0.790.")


def test_undefined_and_absent_values_are_not_as_claimed():
    assert judges.same_for_another_class(sanity({"deconvnet": np.nan})) == (FAILS, "Not so: Deconvnet undefined.")
    assert judges.same_for_another_class(sanity({"gradient": 0.9})).verdict == FAILS


@pytest.mark.parametrize("ssim, verdict", [(0.79, HOLDS), (0.8, FAILS)])
def test_changed_by_another_class(ssim, verdict):
    assert judges.changed_by_another_class(sanity({"lrp_z": 0.3, "lrp_alpha5_beta4": ssim})).verdict == verdict


@pytest.mark.parametrize("residual, verdict", [(0.6, HOLDS), (0.8, FAILS)])
def test_alpha2_beside_the_plain_network(residual, verdict):
    tables = [sanity({"lrp_alpha2_beta1": ssim}) for ssim in (residual, 0.7)]
    assert judges.alpha2_changes_more(*tables) == (verdict, f"Median SSIM {residual:.3f}, on the plain network 0.700.")


def test_cascading():
    """Six stages, of which two thirds are the first four: 0.4 at the fifth does not count."""
    ssim = {"gradient": [0.4, 0.9, 0.9, 0.9, 0.9, 0.9], "deep_taylor": [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]}
    rows = [{"method": name, "stage_index": i, "median": one} for name, values in ssim.items() for i, one in enumerate(values, 1)]
    table = pd.DataFrame(rows)
    assert judges.drops_at_last_layer(table) == (HOLDS, "As claimed: Gradient 0.400.")
    assert judges.similar_down_to_early_layers(table) == (HOLDS, "As claimed: Deep Taylor 0.600.")
    assert judges.drops_at_last_layer(table.assign(median=0.5)).verdict == FAILS
    assert judges.similar_down_to_early_layers(table.assign(median=0.49)).verdict == FAILS


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
    assert judges.converges(["guided_backprop"], table) == (HOLDS, "As claimed: Guided BP 0.991.")
    assert judges.converges(judges.CONVERGING, table).measured == "As claimed: Guided BP 0.991. Not so: Deconvnet 0.990."
    assert judges.stays_apart(judges.UNCONVERGED, table).verdict == HOLDS
    assert judges.stays_apart(["guided_backprop"], table).verdict == FAILS


def test_fastest():
    """Counted is how many layers lie before the first with |cos| > 0.99: for α1β0 one, for the gradient, which never is there, all."""
    near = 1 - 1e-7
    table = cosines(lrp_alpha1_beta0=[0.5, 0.995, near], deep_taylor=[0.6, near, 0.999], gradient=[0.1, 0.2, 0.3])
    words = "LRP α1β0 down to 1.0e-07, past 0.99 after 1 layer; Deep Taylor down to 1.0e-07, past 0.99 after 1 layer"
    assert judges.fastest(table) == (HOLDS, f"1 − |cos|: {words}.")
    earlier = pd.concat([table, path("rectgrad", [0.999, 0.5, 0.5])])
    assert judges.fastest(earlier) == (FAILS, f"1 − |cos|: {words}. Past it after 0 layers: RectGrad.")
    assert judges.fastest(table.assign(median=table["median"] - 1e-5)).verdict == FAILS


def test_alpha5_beside_alpha2():
    assert judges.alpha5_converges_less(cosines(lrp_alpha5_beta4=[0.7], lrp_alpha2_beta1=[0.9])) == (HOLDS, "α5β4 0.700, α2β1 0.900.")
    assert judges.alpha5_converges_less(cosines(lrp_alpha5_beta4=[0.9], lrp_alpha2_beta1=[0.9])).verdict == FAILS


def test_less_pronounced_compares_methods_of_both_networks():
    plain = cosines(deep_taylor=[0.999], guided_backprop=[0.98], pattern_net=[1.0])
    found = judges.less_pronounced(cosines(deep_taylor=[0.99], guided_backprop=[0.985]), plain)
    assert found == (FAILS, "1 of 2 methods: Guided BP 0.985, plain 0.980; Deep Taylor 0.990, plain 0.999.")
    assert judges.less_pronounced(cosines(deep_taylor=[0.99]), plain).verdict == HOLDS


def test_jump_at_the_input():
    words = "Gradient 0.400 → 0.700, chance 0.500 → 0.600."
    assert judges.jumps_at_input(cosines(gradient=[0.9, 0.4, 0.7])) == (HOLDS, words)
    assert judges.jumps_at_input(cosines(gradient=[0.9, 0.4, 0.3])).verdict == FAILS


def test_jump_is_measured_above_padding():
    """Padding has the image's three channels: conv2, conv1 (as if it were padding), input."""
    table = cosines(gradient=[0.4, 0.7, 0.7])
    table.loc[1, "channels"] = 3
    assert judges.jumps_at_input(table) == (HOLDS, "Gradient 0.400 → 0.700, chance 0.400 → 0.500.")


def test_cmp():
    """From the logits: fc5, conv4, conv3, conv2, conv1, input. At conv2 two convolutions are passed, conv4 and conv3."""
    table = cosines(lrp_cmp_alpha1_beta0=[0.7, 0.8, 0.9, 0.995, 0.999, 0.999])
    assert judges.apart_in_dense_layers(table) == (HOLDS, "As claimed: LRP CMP α1β0 0.800.")
    assert judges.converges_in_convolutions(table) == (HOLDS, "Convolutions: LRP CMP α1β0 after 2.")
    both = pd.concat([table, path("lrp_cmp_alpha2_beta1", [0.995, 0.1, 0.1, 0.1, 0.1, 0.9])])
    assert judges.apart_in_dense_layers(both).measured == "As claimed: LRP CMP α1β0 0.800. Not so: LRP CMP α2β1 0.995."
    never = both[both["layer"] != "fc5"]
    assert judges.converges_in_convolutions(never) == (FAILS, "Convolutions: LRP CMP α1β0 after 2, LRP CMP α2β1 never.")


def test_non_negative_chains():
    table = chains(positive=[0.9, 1.0, 1.0], stochastic=[0.9, 1 - 5e-15, 1.0], non_negative=[0.9, 1 - 2e-14, 1.0])
    assert judges.non_negative_chains(table) == (HOLDS, "Products to floating point: positive 2, stochastic 2, non-negative 3.")
    late = chains(positive=[0.9] * 8 + [1.0], stochastic=[1.0], non_negative=[0.9] * 9)
    assert judges.non_negative_chains(late) == (FAILS, "Products to floating point: positive 9, stochastic 1, non-negative inf.")
    assert judges.non_negative_chains(chains(positive=[0.9, 1.0], stochastic=[1.0], non_negative=[1.0])).verdict == FAILS


ENDS = [((0.999, 0.5, 0.4), HOLDS), ((0.999, 0.999, 0.4), HOLDS), ((0.9, 0.5, 0.4), FAILS), ((1.0, 1.0, 1.0), FAILS)]


@pytest.mark.parametrize("ends, verdict", ENDS)
def test_alpha_beta_chains(ends, verdict):
    """β = 4 may be either way."""
    table = chains(**{f"alpha{beta + 1}_beta{beta}": [1.0, end] for beta, end in zip((3, 4, 9), ends)}, vanilla=[0.5])
    assert judges.alpha_beta_chains(table).verdict == verdict


def test_signed_and_learned_chains():
    table = chains(vanilla=[0.1, 0.2, 0.3], relu=[0.1, 0.5, 0.9], learned_relu=[0.2, 0.6], non_negative=[0.2, 0.8, 1.0])
    assert judges.signed_chains(table) == (HOLDS, "Largest |cos|: vanilla 0.300, ReLU 0.900.")
    words = "|cos| after 2 products: ReLU 0.500, learned ReLU 0.600, non-negative 0.800."
    assert judges.learned_chain_between(table) == (HOLDS, words)
    outside = chains(vanilla=[0.1, 0.995], relu=[0.1, 0.5], learned_relu=[0.2, 0.9], non_negative=[0.2, 0.8])
    assert (judges.signed_chains(outside).verdict, judges.learned_chain_between(outside).verdict) == (FAILS, FAILS)


def ratios(weights: list[float], pattern_weights: list[float], place: str = "layer") -> pd.DataFrame:
    values = {"weights": weights, "pattern_weights": pattern_weights}
    rows = [{"quantity": name, "ratio": ratio, "place": place, "matrix": "tap"} for name, several in values.items() for ratio in several]
    return pd.DataFrame(rows)


def test_patterns_dominate():
    """8/2 = 4 and 3/1 = 3, geometric mean √12 = 3.46; products 24 and 2."""
    found = judges.patterns_dominate("layer", ratios([2.0, 1.0], [8.0, 3.0]))
    assert found == (HOLDS, "Larger in 2 of 2, 3.5 times on average; product 24 beside 2.")
    assert judges.patterns_dominate("layer", ratios([2.0, 1.0], [20.0, 0.9])).verdict == FAILS
    assert judges.patterns_dominate("layer", ratios([2.0, 1.0], [2.2, 1.1])).verdict == FAILS
    assert judges.patterns_dominate("between", ratios([2.0], [8.0])) == (FAILS, "There are no patterns for the network.")


def test_two_classes_are_compared_by_their_mean_distance():
    table = pd.DataFrame({"method": ["deep_taylor"] * 2 + ["deconvnet"], "l1": [0.03, 0.06, 0.06]})
    assert judges.equal_for_two_classes(table) == (FAILS, "As claimed: Deep Taylor 0.045. Not so: Deconvnet 0.060.")
    assert judges.equal_for_two_classes(table[:2]).verdict == HOLDS


def found_by_network(runs, number: str) -> dict[str, tuple[str, str]]:
    return {one.network: (one.verdict, one.measured) for one in claims.findings(runs) if one.claim.number == number}


def test_findings_tell_what_cannot_be_tested():
    table = sanity({"deep_taylor": 0.9})
    runs = [claims.Run("random_logit", "cifar10", "trained", table), claims.Run("random_logit", "resnet50", "random", table)]
    words = "As claimed: Deep Taylor 0.900."
    assert found_by_network(runs, "1a") == {
        "cifar10, 20 images": (HOLDS, words),
        "resnet50, 20 images": (UNTESTABLE, f"With random weights: {words}"),
        "vgg16": (UNTESTABLE, ""),
    }


def test_findings_take_the_first_run_of_a_network():
    runs = [claims.Run("random_logit", "cifar10", "trained", sanity({"deep_taylor": ssim})) for ssim in (0.9, 0.1)]
    assert found_by_network(runs, "1a")["cifar10, 20 images"][0] == HOLDS


def test_residual_networks_are_compared_with_their_own_kind():
    tables = {name: sanity({"lrp_alpha2_beta1": ssim}) for name, ssim in (("cifar10", 0.7), ("resnet20", 0.6))}
    runs = [claims.Run("random_logit", name, "trained", table) for name, table in tables.items()]
    assert found_by_network(runs, "1c")["resnet20, 20 images"][0] == HOLDS
    assert found_by_network(runs[1:], "1c") == {"resnet50": (UNTESTABLE, "")}


def test_claims_about_random_matrices_need_no_weights():
    run = claims.Run("simulation", "cifar10", "trained", chains(vanilla=[0.1], relu=[0.2]))
    claim = next(claim for claim in claims.CLAIMS if claim.number == "5c")
    assert [(one.network, one.verdict) for one in claims._of_claim(claim, [run])] == [("random matrices", HOLDS)]


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
    assert kind == "data:image/png;base64"
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
    verdicts = [("cifar10, 20 images", HOLDS), ("cifar10, 4 images", FAILS), ("vgg16", UNTESTABLE), ("random matrices", HOLDS)]
    found = [claims.Finding(claim, network, verdict, "") for network, verdict in verdicts]
    assert page.tally(found) == {"cifar10": (1, 2), "random matrices": (1, 1)}


def test_markdown_table(written):
    lines = (written.parent / "claims.md").read_text("utf-8").splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert any(line.startswith("| **1a**") and line.endswith("As claimed: Deep Taylor 0.900. |") for line in lines)


def test_correlations_with_the_untouched_map():
    """Maps (1, 2, 3) and (3, 2, 1) have r = −1, (1, 2, 3) and (2, 4, 6) r = 1, and a constant one has none."""
    original = np.array([[[1.0, 2.0, 3.0]]] * 3)
    stage = np.array([[[3.0, 2.0, 1.0]], [[2.0, 4.0, 6.0]], [[1.0, 1.0, 1.0]]])
    maps = {("lrp_z", "paper", "original"): original, ("lrp_z", "paper", "stage_fc6"): stage, ("lrp_z", "paper", "class_1"): stage}
    found = paper.correlations(paper.SaliencyResult(maps, pd.DataFrame(), pd.DataFrame()))
    assert found["stage"].tolist() == ["fc6"] * 3
    np.testing.assert_allclose(found["correlation"], [-1, 1, np.nan])


def test_make_paper_runs_every_figure():
    files = {file.stem for file in FOLDER.glob("*.py") if re.match("figure|appendix", file.stem)}
    assert files == set(make_paper.SCRIPTS)


def test_make_paper_gives_each_script_its_weights_and_names_those_that_fail(tmp_path, monkeypatch, capfd):
    commands = {}

    def run(command, **_):
        commands[Path(command[1]).stem] = command[2:]
        return SimpleNamespace(returncode=2 * ("figure3" in command[1]))

    monkeypatch.setattr(make_paper.subprocess, "run", run)
    with pytest.raises(SystemExit) as stopped:
        make_paper.main(full=False, vgg16="a.h5", images=Path("pictures"), out=tmp_path)
    assert stopped.value.code == 1 and capfd.readouterr().err == "Did not run to their ends: figure3_csc\n"
    assert list(commands) == list(make_paper.SCRIPTS) and (tmp_path / "index.html").is_file()
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
    options = {"--full", "--vgg16", "--resnet50"} if name == "make_paper" else {"--quick", "--weights"}
    assert {option for option in (*options, "--images", "--out") if option not in told.output} == set()


LOADED = [  # (network, weights, whether random ones are no use) -> (what is loaded, its weights, its input shape), the subject's weights
    (("vgg16", None, True), ("cifar10", None, None), "trained"),
    (("resnet50", None, True), ("resnet20", None, None), "trained"),
    (("resnet50", None, False), ("resnet50", "random", (96, 96, 3)), "random"),
    (("vgg16", "a.h5", True), ("vgg16", "a.h5", None), "trained"),
    (("vgg16", "imagenet", False), ("vgg16", "imagenet", None), "trained"),
    (("cifar10", None, False), ("cifar10", None, None), "trained"),
]


@pytest.mark.parametrize("wanted, loaded, weights", LOADED)
def test_network_of_a_figure(wanted, loaded, weights, monkeypatch):
    name, given, stand_in = wanted
    monkeypatch.setattr(paper.wel, "load", lambda name, weights, input_shape: (name, weights, input_shape))
    monkeypatch.setattr(paper, "load_images", lambda net, images, limit: (images, limit))
    assert paper.subject(name, given, None, 3, stand_in) == paper.Subject(loaded, (None, 3), weights)


def test_sheet_is_what_the_page_shows(tmp_path):
    sheet = paper.Sheet(tmp_path / "figure2", "Figure 2", "One method", quick=True)
    sheet.random_logit(paper.subject("cifar10", None, None, 2), methods=["deep_taylor"], seed=0)
    sheet.close()
    (run,) = json.loads((tmp_path / "figure2" / "sheet.json").read_text("utf-8"))["runs"]
    assert (run["network"], run["weights"], run["folder"]) == ("cifar10", "trained", "random_logit-cifar10-trained-2")
    text = page.write_page(tmp_path, [tmp_path / "figure2"]).read_text("utf-8")
    assert '<h2 id="figure2">' in text and text.count("data:image/png;base64,") == len(run["figures"]) == 1
    median = pd.read_csv(sheet.folder / "random_logit.csv")["median"].item()
    assert f"As claimed: Deep Taylor {median:.3f}." in text


def test_bad_weights_end_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figure", "--weights", "nowhere.h5", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        paper.start(module("appendix_cifar10").main)
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and said.startswith("Invalid value for `weights`") and len(said.splitlines()) == 1
