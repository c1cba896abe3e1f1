"""The audit report: what it says, that it validates, that no name can break out of its text, and how it looks in a browser."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from PIL import Image

from wel.auditing import charts as figures
from wel.auditing.advice import Measured, advise, dependence, faithfulness_of, sentence
from wel.auditing.charts import csc_curves, heat_maps, hiding, overview, plane, thumbnail
from wel.auditing.report import Examples, answer, finite, number, printable, render, warnings, write_report
from wel.auditing.verdicts import Measurement, Thresholds, judge
from wel.methods.registry import METHODS

FOLDER = Path(figures.__file__).resolve().parent
SCHEMA = json.loads((FOLDER / "audit.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
HOSTILE = "<img src=x onerror=alert(1)>"
NASTY = (HOSTILE, "\"'><script>alert(2)</script>", "]]></svg><b>", "\u202egnp.exe\u202c", "x" * 300, "{{ 7 * 7 }}", "a\nb\udcff", "שכבה")
LAYERS = ["input", NASTY[4], NASTY[1], NASTY[2], NASTY[3], NASTY[5], "conv2/relu", HOSTILE, "dense"]
IMAGES = ["cat.png", "folder/dog & <i>wolf</i>.png", *NASTY]
HASH = "0123456789abcdef" * 4
NAN = float("nan")
UNDEFINED = (NAN, NAN, NAN, "undefined")
PLACES = [("other_class", None, None), ("randomised", HOSTILE, None), ("randomised", "conv2/relu", None)]
PLACES += [("convergence", None, "dense")]
MEASURED = {  # verdict -> value, low, high, outcome of the tests at PLACES
    "insensitive": [
        (0.99994, 0.99, 1.0, "same"),
        (0.93, 0.91, 0.95, "same"),
        (0.5, 0.4, 0.6, "differs"),
        (1.04, 1.0, 1.1, "converged"),
    ],
    "sensitive": [(0.31, 0.2, 0.4, "differs"), *[(0.2, 0.1, 0.3, "differs")] * 2, (5.0, 4.4, 5.6, "not_converged")],
    "inconclusive": [(0.78, 0.7, 0.9, "unclear"), UNDEFINED, (0.1, 0.0, 0.2, "differs"), UNDEFINED],
}


def measured(verdict):
    """Tests of which `judge` makes the verdict."""
    return [
        Measurement(kind, "ssim", value, low, high, 24, outcome, above, cosine=0.98)
        if start is None
        else Measurement(kind, "effective_rank", value, low, high, 2, outcome, start=start)
        for (kind, above, start), (value, low, high, outcome) in zip(PLACES, MEASURED[verdict])
    ]


def csc_rows(verdict):
    """|cos| from two start layers; of an inconclusive method one median is undefined."""
    rows = []
    for start in (8, 7):
        for layer in range(start, -1, -1):
            median = 1 - 0.9 * 0.3 ** (start - layer) if verdict == "insensitive" else 0.1 + 0.05 * (start - layer)
            numbers = {"median": median, "p5": max(0.0, median - 0.1), "p95": min(1.0, median + 0.05)}
            if verdict == "inconclusive" and layer == 4:
                numbers = dict.fromkeys(numbers, NAN)
            numbers["baseline"] = 0.5 if layer == 0 else 0.1
            rows.append({"start": LAYERS[start], "layer": LAYERS[layer], "layer_index": layer, **numbers})
    return rows


def a_method(name, semantics, verdict):
    tests = measured(verdict)
    judged = judge(tests, Thresholds())
    assert judged.verdict == verdict
    return {
        "method": name,
        "label": METHODS[name].label,
        "semantics": semantics,
        "source": "Somebody <b>2015</b>",
        "verdict": judged.verdict,
        "above": judged.above,
        "sentence": judged.sentence,
        "reasons": judged.reasons,
        "tests": [dict(vars(test)) for test in tests],
        "csc": csc_rows(verdict),
        "seconds": 3.25,
    }


def guesses(k):
    return [{"class": (k + j) % 10, "logit": 9.5 - j, "probability": share} for j, share in enumerate((0.9, 0.05, 0.03, 0.01, 1e-9))]


def a_record():
    known = {"sha256": HASH, "class_from": "label"}
    items = [{"name": name, **known, "label": k, "class": k, "top": guesses(k)} for k, name in enumerate(IMAGES)]
    items[0].update(sha256=None, top=[{**guess, "probability": None} for guess in guesses(0)])
    for item in items[6:]:
        item.update(label=None, class_from="prediction")
    methods = [
        a_method("lrp_alpha1_beta0", "paper", "insensitive"),
        a_method("lrp_alpha1_beta0", "corrected", "inconclusive"),
        a_method("gradient", "both", "sensitive"),
        a_method("guided_backprop", "both", "insensitive"),
        a_method("deeplift_reveal_cancel", "corrected", "sensitive"),
    ]
    return {
        "format": "wel-audit/1",
        "finished": True,
        "stopped": None,
        "mode": "quick",
        "command": f"wel audit --model '{HOSTILE}' --seed 0",
        "date": "2026-01-31",
        "seconds": 87.4,
        "model": {
            "name": HOSTILE,
            "file": f"models/{NASTY[1]}.h5",
            "sha256": HASH,
            "kind": "Keras 2.2.4 HDF5 file",
            "keras_version": "2.2.4",
            "backend": "tensorflow",
            "notes": [f"The layer '{HOSTILE}' was rewritten."],
            "parameters": 1234567,
            "input_shape": [32, 32, 3],
            "classes": 10,
            "output": "dense",
            "final_activation": "softmax",
            "weights_sha256": HASH,
            "layers": [{"name": name, "kind": "Dense", "shape": [8, 8, 4]} for name in LAYERS],
        },
        "images": {
            "source": f"the folder {NASTY[1]}",
            "items": items,
            "left_out": [{"name": HOSTILE, "reason": "It cannot be read."}],
            "preprocessing": {"spec": "0..1", "formula": "x / 255", "guess": "Nothing tells; the usual one was taken."},
        },
        "checks": [{"name": "forward pass", "passed": True, "value": 1e-7, "tolerance": 1e-4, "sentence": "It equals Keras's."}],
        "depths": [HOSTILE, "conv2/relu"],
        "settings": {
            "seed": 0,
            "vectors": 8,
            "semantics": ["paper", "corrected"],
            "images_convergence": 2,
            "images_maps": 24,
            "thresholds": {"similar": 0.8, "converged_rank": 1.5},
        },
        "methods": methods,
        "not_applicable": [{"method": "pattern_net", "label": "PatternNet", "reason": f"It needs patterns of '{HOSTILE}'."}],
        "not_measured": [{"method": "rectgrad", "label": "RectGrad", "semantics": "both", "reason": "There was no time left."}],
        "versions": {"wel": "1.0", "tensorflow": "2.14.1"},
        "citations": ["Sixt, Granz & Landgraf 2020, When explanations lie, ICML"],
    }


def advised_record():
    """The same with what 0.5.0 has added: gains of 0.1 to 0.5, controls, and the advice."""
    record, measured = a_record(), []
    rng = np.random.default_rng(3)
    record["controls"] = [a_method("random", "both", "sensitive"), a_method("edges", "both", "insensitive")]
    entries = [*record["controls"], *record["methods"]]
    curves = [hidden(gain + 0.05 * rng.standard_normal(24)) for gain in (0, 0.2, 0.5, 0.4, 0.3, 0.1, 0.2)]
    controls = {"random": curves[0], "edges": curves[1]}
    for entry, mine in zip(entries, curves):
        over = {name: found for name, found in controls.items() if name != entry["method"]}
        tests = [Measurement(**test) for test in entry["tests"]]
        found = faithfulness_of(mine, over, 0)
        measured.append(Measured(METHODS[entry["method"]], entry["semantics"], entry["verdict"], tests, found))
        gains = {"gain": found.gain._asdict(), "over": {name: one._asdict() for name, one in found.over.items()}}
        entry.update(options={"layer": HOSTILE}, dependence=dependence(tests)._asdict(), faithfulness={**vars(found), **gains})
    advice = advise(measured[2:])
    record["advice"] = {"sentence": sentence(advice), "use": [], "cannot_tell": [], "do_not_use": []}
    for one in advice:
        record["advice"][one.advice].append({name: text for name, text in vars(one).items() if name != "advice"})
    record["settings"].update(parts=2, images_hidden=24)
    return record


def hidden(gains):
    """Curves of images with such gains, hidden in two parts."""
    middle = 0.5 + np.outer(gains, (-1, 1))
    most, least = (np.stack([np.ones(24), column, np.zeros(24)], axis=1) for column in middle.T)
    return {"most": most, "least": least, "share": np.tile([0, 0.5, 1], (24, 1))}


def some_examples(size=32, keys=None):
    """Two images with maps of noise; the other class of the first method's first image is undefined, its second image's is 0."""
    rng = np.random.default_rng(0)
    keys = keys or [("lrp_alpha1_beta0", "paper"), ("lrp_alpha1_beta0", "corrected"), ("gradient", "paper"), ("guided_backprop", "paper")]
    maps = {key: rng.standard_normal((2, 3, size, size)).astype("float32") for key in keys}
    first = maps[keys[0]]
    first[0, 1], first[1, 1] = np.nan, 0
    return Examples(IMAGES[:2], rng.integers(0, 256, (2, size, size, 3), dtype="uint8"), maps, np.array([[0, 4], [1, 7]]))


class Page(HTMLParser):
    """Elements with their attributes, the headings' levels, and all text of a page."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, source):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        assert len(attributes) == len(dict(attributes)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source():
    return render(a_record(), some_examples())


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def errors_of(record):
    return list(VALIDATOR.iter_errors(record))


def test_the_schema_is_one_and_the_record_follows_it():
    Draft202012Validator.check_schema(SCHEMA)
    assert errors_of(finite(a_record())) == []


def stopped(record):
    record["stopped"] = "The forward pass differs."


def misjudged(record):
    record["methods"][0]["verdict"] = "good"


def unplaced(record):
    record["methods"][0]["tests"][1]["above"] = None


def misplaced(record):
    record["methods"][0]["tests"][0]["start"] = "dense"


def mistaken(record):
    record["methods"][0]["tests"][3]["outcome"] = "same"


def unhashed(record):
    record["model"]["sha256"] = "abc"


def chatty(record):
    record["images"]["items"][0]["comment"] = ""


def uncompared(record):
    record["methods"][0]["tests"][3]["cosine"] = 0.9


def undated(record):
    record["date"] = "31/01/2026"


BROKEN = [stopped, misjudged, unplaced, misplaced, mistaken, unhashed, chatty, uncompared, undated]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_record_does_not_follow_the_schema(broken):
    record = finite(a_record())
    broken(record)
    assert errors_of(record) != []


def paths_of(value, path=()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ():
        yield from paths_of(item, (*path, key))


def test_every_key_is_required():
    record = finite(a_record())
    missed = []
    for path in paths_of(record):
        if path and isinstance(path[-1], str) and path[0] != "versions" or path == ("versions",):
            less = copy.deepcopy(record)
            holder = less
            for key in path[:-1]:
                holder = holder[key]
            del holder[path[-1]]
            missed += [] if errors_of(less) else [path]
    assert missed == []


NEW = ("advice", "controls", "parts", "images_hidden", "options", "dependence", "faithfulness")  # older records are without them


def test_what_was_added_follows_the_schema_and_may_be_missing():
    record = finite(advised_record())
    assert errors_of(record) == []
    missed = set()
    for path in paths_of(record):
        if path and isinstance(path[-1], str) and path[0] != "versions" and path[-2:-1] not in (("options",), ("over",)):
            less = copy.deepcopy(record)
            holder = less
            for key in path[:-1]:
                holder = holder[key]
            del holder[path[-1]]
            missed |= set() if errors_of(less) else {path[-1]}
    assert missed == set(NEW)
    record["advice"]["use"][0]["reason"] = ""
    record["methods"][0]["faithfulness"]["gain"]["value"] = "much"
    assert len(errors_of(record)) == 2
    record["methods"][0]["faithfulness"] = None  # an input of one region
    record["advice"]["use"][0]["reason"] = "so"
    assert errors_of(record) == []


def test_files_are_written_with_null_for_what_is_undefined(tmp_path):
    record = a_record()
    record["methods"][0]["tests"][0]["images"] = np.int64(24)
    write_report(record, some_examples(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "report.html"]
    text = (tmp_path / "audit.json").read_text("utf-8")
    read = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert errors_of(read) == [] and read == finite(record)
    assert read["methods"][1]["tests"][1]["value"] is None and read["model"]["layers"][4]["name"] == NASTY[3]
    assert (tmp_path / "report.html").read_text("utf-8") == render(record, some_examples())


def test_nothing_is_written_when_the_report_fails(tmp_path):
    with pytest.raises(KeyError):
        write_report({**a_record(), "methods": [{}]}, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_finite():
    found = finite({"a": [np.float32("inf"), NAN, np.int64(3), 0.5], "b": (True, None, "nan")})
    assert found == {"a": [None, None, 3, 0.5], "b": [True, None, "nan"]} and type(found["a"][2]) is int


def test_printable():
    # U+202E turns the text after it around, \udcff is a byte of a file name that is no UTF-8
    assert printable(["a\u202eb", {"\t": "c\nd"}, "\udcff", "α שכבה ×", 3]) == ["a\ufffdb", {" ": "c d"}, "\ufffd", "α שכבה ×", 3]


@pytest.mark.parametrize(
    "value, shown",
    [
        (None, "undefined"),
        (0.314, "0.31"),
        (0.994, "0.99"),
        (0.9951, "0.9951"),
        (0.99989, "0.9998"),
        (0.99995, "> 0.9999"),
        (1.0, "1.00"),
        (5.4, "5.40"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize("value, shown", [(None, "undefined"), (1.04, "1.0"), (4.149, "4.1"), (9.97, "10"), (14.6, "15"), (304.0, "300")])
def test_a_rank_has_two_digits(value, shown):
    assert number(value, "effective_rank") == shown


def with_verdicts(**verdicts):
    record = a_record()
    record["methods"] = [{"method": name, "verdict": verdict} for name, several in verdicts.items() for verdict in several]
    return record


@pytest.mark.parametrize(
    "verdicts, first, second",
    [
        (
            {"a": ["insensitive"], "b": ["sensitive"], "c": ["inconclusive"]},
            "1 of 3 methods would draw the same picture whatever the network decided.",
            "1 changes with the decision; of 1 it cannot be told.",
        ),
        # insensitive under one of two semantics is insensitive
        (
            {"a": ["sensitive", "insensitive"], "b": ["insensitive", "inconclusive"]},
            "All 2 methods would draw the same picture whatever the network decided.",
            "",
        ),
        (
            {"a": ["sensitive", "inconclusive"], "b": ["sensitive"], "c": ["sensitive"]},
            "None of the 3 methods was found to draw the same picture whatever the network decided.",
            "2 change with the decision; of 1 it cannot be told.",
        ),
        (
            {"a": ["insensitive"], "b": ["inconclusive"]},
            "1 of 2 methods would draw the same picture whatever the network decided.",
            "Of 1 it cannot be told.",
        ),
        ({"a": ["insensitive"]}, "The one method measured would draw the same picture whatever the network decided.", ""),
        (
            {"a": ["sensitive"]},
            "The one method measured was not found to draw the same picture whatever the network decided.",
            "1 changes with the decision.",
        ),
        ({}, "No method was measured.", ""),
    ],
)
def test_the_answer(verdicts, first, second):
    found = answer(with_verdicts(**verdicts))
    assert (found["first"], found["second"]) == (first, second)


def test_the_report_of_a_failed_check_says_so_first():
    record = {**a_record(), "stopped": f"The forward pass of {HOSTILE} differs.", "finished": False, "methods": []}
    record["checks"] = [{"name": "forward pass", "passed": False, "value": 0.5, "tolerance": 1e-4, "sentence": "It differs."}]
    assert errors_of(finite(record)) == []
    page = Page(render(record, None))
    text = " ".join(page.text.split())
    assert f"Nothing was measured: a check failed. The forward pass of {HOSTILE} differs." in text
    assert "Failed: It differs." in text and "Evidence" not in text and "Verdicts" not in text


def test_warnings():
    record = a_record()
    # of the 6 labelled images all are right; the other 4 have no label
    assert [sentence.split(":")[0] for sentence in warnings(record)] == [
        "How images become inputs was guessed",
        "Of 4 images the true class is not known; the network's first guess stands in for it.",
        "1 image could not be used; they are listed with the others.",
    ]
    for item in record["images"]["items"][:4]:
        item["label"] = 9
    record["settings"]["images_maps"], record["finished"] = 4, False
    found = warnings(record)
    assert found[0].startswith("The audit did not run to its end") and found[2].startswith("Only 4 images gave maps")
    assert found[3] == "The network's first guess is the label of only 2 of 6 labelled images."
    calm = a_record()
    calm["images"].update(items=calm["images"]["items"][:6], left_out=[])
    calm["images"]["preprocessing"]["guess"] = None
    assert warnings(calm) == []


def test_the_same_first_guess_for_all_images_is_a_doubt():
    record = a_record()
    items = record["images"]["items"]
    for item in items:
        item["top"] = guesses(3)
    doubt = "The network's first guess is class 3 for all 10 images. Unless they show the same, "
    doubt += "inputs are made wrongly or the model is broken."
    assert doubt in warnings(record)
    record["images"]["items"] = items[:3]
    assert doubt.replace("10", "3") not in warnings(record)  # three of three is chance
    record["images"]["items"] = [{**item, "label": 3} for item in items]
    assert not any("for all" in sentence for sentence in warnings(record))  # all right


def test_equal_logits_are_a_doubt():
    record = a_record()
    for item in record["images"]["items"][:2]:
        item["top"][1]["logit"] = item["top"][0]["logit"]
    record["images"]["items"][2]["top"][0]["logit"] = record["images"]["items"][2]["top"][1]["logit"] = NAN  # unknown, not equal
    assert "Of 2 images the two highest logits are equal: inputs are made wrongly or the model is broken." in warnings(record)


@pytest.mark.parametrize(
    "count, words",
    [
        (1, "Only 1 image gave maps: too few for an outcome of any test on maps. At least 4 are needed."),
        # 1 − 2^−3 = 87.5 %, 1 − 2^−5 = 96.9 %
        (4, "Only 4 images gave maps: an interval is the range of their values, which covers the median in 87 % of cases, not in 99 %."),
        (6, "Only 6 images gave maps: an interval is the range of their values, which covers the median in 97 % of cases, not in 99 %."),
        (8, "Only 8 images gave maps: intervals are wide, and other images may differ."),
    ],
)
def test_few_images_are_a_doubt(count, words):
    record = a_record()
    record["settings"]["images_maps"] = count
    assert words in warnings(record)


def few_logits(count):
    """A record and examples of a network with one logit or two: no test has another class."""
    record, shown = a_record(), some_examples()
    record["model"]["classes"] = count
    for method in record["methods"]:
        method["tests"] = method["tests"][1:]
        method.update(vars(judge([Measurement(**test) for test in method["tests"]], Thresholds())))
    for k, item in enumerate(record["images"]["items"]):
        item["top"] = [{"class": j, "logit": (1.5, -2.0)[k % 2] - j, "probability": None} for j in range(count)]
        item.update({"label": (k + 1) % 2, "class": 0} if k < 6 else {"class": 0})
    for maps in shown.maps.values():
        maps[:, 1] = NAN
    return record, Examples(shown.names, shown.pixels, shown.maps, np.array([[0, -1], [0, -1]]))


@pytest.fixture(scope="module")
def advised_page():
    return Page(render(advised_record(), some_examples()))


def test_what_to_use_stands_first(advised_page):
    text = " ".join(advised_page.text.split())
    said = [
        "Use Gradient.",
        "Do not use LRP α1β0 (paper) and Guided BP.",
        "Of LRP α1β0 (corrected) and DeepLIFT RevealCancel it cannot be told.",
        "2 of 4 methods would draw the same picture whatever the network decided.",
        "1. Gradient ✓ useIts map changes, SSIM 0.31, and against Edges it gains",
        "2. LRP α1β0corrected semantics ? cannot tellWhether its map changes is open; against Edges it gains",
        "3. DeepLIFT RevealCancelcorrected semantics ? cannot tellAgainst Edges it gains",
        "4. LRP α1β0paper semantics ✕ do not useIts map stays the same, SSIM 1.00.",
        "Random controlValues without information.",
        "Edges controlAn edge detector, which does not look at the network.",
        "Verdicts. A method's name",
    ]
    places = [text.index(words) for words in said]
    assert places == sorted(places)
    assert advised_record()["advice"]["sentence"] == (
        "Use Gradient; do not use LRP α1β0 (paper) and Guided BP; of LRP α1β0 (corrected) and DeepLIFT RevealCancel it cannot be told."
    )


def test_the_figure_the_ranking_and_a_curve_for_every_method(advised_page):
    titled = [attributes for attributes in advised_page.all("svg") if attributes.get("role") == "img"]
    assert len(titled) == 1 + 1 + 2 * 5  # the plane, the overview, and of each method random relevance and hiding
    names = [attributes["id"] for _, attributes in advised_page.elements if "id" in attributes]
    assert len(names) == len(set(names)) and {"ranking", "advice", "plane-title"} <= set(names)
    wanted = [attributes["href"][1:] for attributes in advised_page.all("a") if attributes["href"].startswith("#")]
    assert [name for name in wanted if name not in names] == [] and advised_page.open == []
    text = " ".join(advised_page.text.split())
    assert f"With layer {HOSTILE}." in text and "24 images were hidden in 2 parts" in text
    assert HOSTILE not in render(advised_record(), None)


def test_few_hidden_images_have_ranges():
    record = advised_record()
    record["settings"]["images_hidden"] = 4
    text = " ".join(Page(render(record, None)).text.split())
    assert text.count("99 % intervals, of gains the range over 4 images") == 2


def test_a_control_that_does_not_fail_is_a_doubt():
    record = advised_record()
    plain = warnings(record)
    record["controls"][0]["faithfulness"]["gain"] = {"value": 0.3, "low": 0.1, "high": 0.5}
    record["controls"][1]["verdict"] = "sensitive"
    assert [sentence for sentence in warnings(record) if sentence not in plain] == [
        "The control Random, values without information, gains 0.3, 0.1 to 0.5: on these images the advice says little.",
        "The control Edges, an edge detector, which does not look at the network, was found sensitive: on these images the advice "
        "says little.",
    ]
    record["controls"][0]["faithfulness"] = None
    assert len(warnings(record)) == len(plain) + 1


def test_inputs_of_one_region_have_a_ranking_without_gains():
    record = advised_record()
    for entry in (*record["methods"], *record["controls"]):
        entry["faithfulness"] = None
    page = Page(render(record, None))
    assert "plane-title" not in [attributes.get("id") for _, attributes in page.elements] and "undefined" in page.text


@pytest.mark.parametrize("count", [1, 2])
def test_where_no_other_class_was_asked_for_nothing_speaks_of_it(count):
    record, shown = few_logits(count)
    assert errors_of(finite(record)) == []
    page = Page(render(record, shown))
    text = " ".join(page.text.split())
    assert "Other class" not in text and "class -1" not in text and "both cases" not in text and "another class" not in text
    assert "The map changes in this case." in text and "it is tested in two ways" in text and "Another class was not asked for: " in text
    assert "No such map" not in text and len(page.all("img")) == 2 + 4 * 2 * (1 + 2)


def test_without_any_test_the_page_says_so():
    record, shown = few_logits(1)
    for method in record["methods"]:
        method["tests"] = []
        method.update(vars(judge([], Thresholds())))
    page = Page(render(record, shown))
    text = " ".join(page.text.split())
    assert "no test of that is defined for this network." in text and "Nothing can be said; the reason stands beside it." in text
    assert "How similar" not in text and "random weights" not in text and len(page.all("img")) == 2 + 4 * 2 * (1 + 1)


def test_one_logit_is_no_class():
    record, shown = few_logits(1)
    # logits 1.5, −2, 1.5 … of labels 1, 0, 1 …: all six are right
    assert not any("label" in sentence or "true class" in sentence or "for all" in sentence for sentence in warnings(record))
    page = Page(render(record, shown))
    text = " ".join(page.text.split())
    assert "by prediction" not in text and "by label" not in text and "Class 0" not in text and "The logit, random weights above" in text
    assert any(" for the logit, random weights above " in image["alt"] for image in page.all("img"))
    for item in record["images"]["items"][:4]:
        item["label"] = 1 - item["label"]
    assert "The sign of the logit fits the label of only 2 of 6 labelled images." in warnings(record)
    for item in record["images"]["items"]:
        item["top"][0]["logit"] = 0.1
    wanted = "The logit has the same sign for all 10 images. Unless they show the same, inputs are made wrongly or the model is broken."
    assert wanted in warnings(record)


def test_both_measures_and_the_digits_of_ranks(page):
    text = " ".join(page.text.split())
    assert "SSIM 0.93 (0.91 to 0.95)|cos| 0.9824 images" in text and "effective rank 5.0 (4.4 to 5.6)2 images" in text


def test_maps_that_are_empty_are_not_called_too_few():
    record = a_record()
    record["methods"] = [a_method("gradient", "both", "inconclusive")]
    for test in record["methods"][0]["tests"][:2]:
        test.update(value=NAN, low=NAN, high=NAN, cosine=NAN, images=0, outcome="undefined")
    text = " ".join(Page(render(record, None)).text.split())
    assert text.count("Nothing to compare: the maps are empty") == 3 and "too few" not in text and "Too few" not in text


def test_why_a_test_is_unclear():
    record = a_record()
    tests = record["methods"][2]["tests"]
    tests[0].update(value=0.95, low=0.9, high=1.0, cosine=0.3, outcome="unclear")
    tests[1].update(images=3, outcome="unclear")
    text = " ".join(Page(render(record, None)).text.split())
    assert "The pictures are alike, but not as a whole: |cos| is low." in text and "Too few images to tell." in text


def test_every_name_stands_there_as_text(source, page):
    assert HOSTILE not in source and "<script" not in source
    for name in (*LAYERS, *IMAGES, HOSTILE):
        assert printable(name) in page.text
    assert "49" not in [word.strip() for word in page.text.split()] and page.open == []
    assert {tag for tag, _ in page.elements} <= set(
        "html head meta link title style body a header h1 main section p strong div ul li nav table caption thead tbody tr th td br span "
        "dl dt dd details summary figure figcaption svg rect text line g circle path img h2 h3 ol em bdi pre code footer".split()
    )
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff]", source)


def test_nothing_is_loaded_from_elsewhere(source, page):
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    linked = [attributes["href"] for attributes in page.all("a")]
    assert {target for target in linked if not target.startswith("#")} == {"https://arxiv.org/abs/1912.09818"}
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert "url(" not in source and "@import" not in source and not page.all("script") and not page.all("iframe")


def test_the_page_can_be_found_through_without_seeing_it(page):
    assert page.all("html") == [{"lang": "en"}] and len(page.all("main")) == len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])) and levels[0] == 1
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    wanted = [attributes["href"][1:] for attributes in page.all("a") if attributes["href"].startswith("#")]
    wanted += [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert [name for name in wanted if name not in names] == []
    assert len(page.all("caption")) == len(page.all("table")) and all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert all(attributes.get("tabindex") == "0" for attributes in page.all("div") if attributes.get("class") == "scroll")


def test_every_picture_is_described(page):
    images = page.all("img")
    # 2 thumbnails; of 4 measurements with examples 2 images and their 3 maps each, one of them undefined
    assert len(images) == 2 + 4 * 2 * (1 + 3) - 1 and all(image["alt"].strip() for image in images)
    described = [image["alt"] for image in images if "LRP α1β0 (paper)" in image["alt"]]
    assert described[0].startswith("Map by LRP α1β0 (paper) of cat.png for class 0, its own class.")
    assert described[1].endswith(
        f"for class 0, its own class, random weights above {HOSTILE}. Over all images such maps stay the same (SSIM 0.93)."
    )
    assert described[3].endswith("another class. It is empty: 0 everywhere. Over all images such maps stay the same (SSIM > 0.9999).")
    titled = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(titled) == 1 + 5 and len(page.all("svg")) == sum("aria-hidden" in svg for svg in page.all("svg")) + len(titled) + 2


def test_verdicts_come_in_order_and_say_so_in_words(page):
    text = " ".join(page.text.split())
    wanted = ("LRP α1β0paper semantics ✕ insensitive", "? inconclusiveWhether the map", "Gradient ✓ sensitiveThe map")
    places = [text.index(words) for words in wanted]
    assert places == sorted(places)
    assert "2 of 4 methods would draw the same picture whatever the network decided." in text


def test_without_pictures_the_report_says_why():
    record = a_record()
    record["model"]["input_shape"] = [128, 1]
    page = Page(render(record, None))
    assert page.all("img") == []
    assert "There are no example maps: the inputs are no colour pictures, but of shape 128 × 1." in " ".join(page.text.split())


def test_small_pictures_are_too_small_for_ssim():
    record = a_record()
    record["model"]["input_shape"] = [4, 4, 3]
    text = " ".join(Page(render(record, None)).text.split())
    assert "the inputs are of shape 4 × 4 × 3, and SSIM needs 5 × 5 pixels at least." in text


def pixels_of(uri):
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_heat_maps_have_the_colours_of_all_figures():
    # cut at the largest |value|, 2: −1, 0 and 1 of seismic in its 256 steps: 0.3 · 255 = 76; 0 is step 128 of 0 … 255, a little above
    # the middle, where green and blue fall from 1 to 0 within a quarter: 255 (1 − (128/255 − 1/2) / (1/4)) = 253; 0.5 · 255 = 127
    heatmap = np.array([[-2.0, 0.0], [2.0, np.nan]])
    found = np.asarray(pixels_of(heat_maps([(heatmap, 100.0)])[0]).convert("RGB"))
    np.testing.assert_array_equal(found, [[[0, 0, 76], [255, 253, 253]], [[127, 0, 0], [154, 154, 154]]])


def test_large_maps_are_drawn_as_means():
    # 448 × 448 to 224 × 224: each pixel the mean of four, of which one is 4: 1 in the upper half, −1 in the lower one
    heatmap = np.zeros((448, 448))
    heatmap[::2, ::2] = 4
    heatmap[224:] *= -1
    image = pixels_of(heat_maps([(heatmap, 100.0)])[0])
    assert image.size == (224, 224)
    colors = np.asarray(image.convert("RGB"))
    assert (colors[:112] == [127, 0, 0]).all() and (colors[112:] == [0, 0, 76]).all()


def test_many_maps_stay_small(monkeypatch):
    noise = [(np.random.default_rng(k).standard_normal((224, 224)), 99.5) for k in range(4)]
    whole = sum(map(len, heat_maps(noise)))
    monkeypatch.setattr(figures, "BUDGET", whole - 1)
    less = heat_maps(noise)
    assert sum(map(len, less)) < whole and {pixels_of(uri).size for uri in less} == {(160, 160)}


def test_thumbnails_keep_their_shape():
    assert pixels_of(thumbnail(np.zeros((320, 640, 3), "uint8"))).size == (160, 80)
    assert pixels_of(thumbnail(np.zeros((8, 4, 3), "uint8"))).size == (4, 8)


def test_curves():
    rows = [
        {"start": "b", "layer": name, "layer_index": index, "median": median, "p5": low, "p95": 1.0, "baseline": 0.5}
        for name, index, median, low in (("b", 4, 0.0, 0.0), ("a", 2, None, None), ("input", 0, 1.0, 0.5))
    ]
    rows.append({**rows[-1], "start": "a", "median": 0.5})
    chart = csc_curves(rows)
    # x: 42 to 344 in two steps of 151; y: 180 at 0, 20 at 1, 100 at 0.5; the middle one is undefined and breaks the line
    assert chart.series[0].line == "M42.0 180.0M344.0 20.0" and chart.series[1].line == "M344.0 100.0"
    assert chart.series[0].band == "M42.0 20.0L344.0 20.0L344.0 100.0L42.0 180.0Z" and chart.series[1].band == ""
    assert chart.chance == "M42.0 100.0L193.0 100.0L344.0 100.0"
    assert [(label.x, label.label) for label in chart.layers] == [(42.0, "b"), (193.0, "a"), (344.0, "input")]
    assert (chart.series[0].shape, chart.series[1].shape) == ("circle", "square")


def test_many_layers_share_twelve_labels():
    rows = [{"start": "s", "layer": str(k), "layer_index": k, "median": 0.5, "p5": 0.4, "p95": 0.6, "baseline": 0.1} for k in range(40)]
    labels = [label.label for label in csc_curves(rows).layers]
    assert len(labels) == 12 and labels[0] == "39" and labels[-1] == "0"


def test_overview():
    tests = [
        {"test": "other_class", "value": 0.5, "low": None, "high": None},
        {"test": "randomised", "value": None, "low": None, "high": None},
        {"test": "randomised", "value": 0.9, "low": 0.8, "high": 1.0},
        {"test": "convergence", "value": 1.2, "low": 1, "high": 2},
    ]
    rows = overview([("m", tests)], 0.8).rows
    # 16 + 328 · 0.5; the deeper cut and the effective rank are not drawn, nor is the first cut, which is undefined
    assert [(mark.x, mark.low, mark.high, mark.test) for mark in rows[0][1]] == [(180.0, 180.0, 180.0, "other_class")]


def interval(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def test_the_plane_by_hand():
    methods = [
        ("1", "use", interval(0.5, 0.25, 1.0), interval(1.0, 0.5, 1.5)),
        ("2", "cannot_tell", interval(0.0), interval(-0.5)),
        ("3", "cannot_tell", interval(0.5), interval(None)),  # no gain: not drawn
    ]
    found = plane(methods, 0.8)
    # gains from −0.5 to 1.5, a fifth of which is 0.4, rounded up to 0.5: 280 units for 2
    assert [(tick.y, tick.label) for tick in found.rows] == [(300, "-0.5"), (230, "0"), (160, "0.5"), (90, "1"), (20, "1.5")]
    # across: 42 to 344
    one, two = found.spots
    assert (one.x, one.y, one.across, one.along) == (193.0, 90.0, (117.5, 344.0), (160.0, 20.0))
    assert (two.x, two.y, two.across, two.along) == (42.0, 300.0, (42.0, 42.0), (300.0, 300.0))
    assert found.chance == 230 and found.limit == pytest.approx(42 + 0.2 * 302, abs=0.05)
    assert plane(methods[2:], 0.8) is None


def test_labels_of_the_plane_do_not_cover_each_other():
    crowd = [(str(k), "do_not_use", interval(0.3 + 0.01 * (k % 2)), interval(1 + 0.02 * k)) for k in range(8)]
    labels = [spot.label for spot in plane(crowd, 0.8).spots]
    for k, one in enumerate(labels):
        for other in labels[:k]:
            assert abs(one.x - other.x) > 6 or abs(one.y - other.y) > 9


@pytest.mark.parametrize("values", [[0.0], [-3e-14, 1e-13], [120.0, 7.0], [-1.0]])
def test_ticks_hold_all_values(values):
    gains = [("m", "use", interval(0.5), interval(value)) for value in values]
    rows = plane(gains, 0.8).rows
    assert 2 <= len(rows) <= 8 and float(rows[0].label) <= min(values) and float(rows[-1].label) >= max(values)


def test_the_curve_of_hiding_by_hand():
    found = hiding([{"share": 0, "most": 1, "least": 1}, {"share": 0.5, "most": 0, "least": 0.5}, {"share": 1, "most": 0, "least": None}])
    # 160 units for 0 to 1
    assert found.lines == {"most": "M42.0 20.0L193.0 180.0L344.0 180.0", "least": "M42.0 20.0L193.0 100.0"}


def theme_variables(source):
    """{theme: {variable: colour}}; dark is light with its own on top."""
    light, dark = re.findall(r":root \{(.*?)\}", source, re.DOTALL)
    found = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in (light, dark)]
    return {"light": found[0], "dark": {**found[0], **found[1]}}


def luminance(color):
    """Relative luminance as in WCAG 2.1."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(source, theme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colors = theme_variables(source)[theme]
    texts = [(name, ground) for name in ("text", "soft", "no", "yes", "open") for ground in ("ground", "card")]
    graphics = [(name, "ground") for name in ("line1", "line2", "line3", "line4", "focus")]
    ratios = {pair: contrast(colors[pair[0]], colors[pair[1]]) for pair in texts + graphics}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < (4.5 if pair in texts else 3)} == {}
    assert set(re.findall(r"var\(--(\w+)\)", source)) <= set(colors)


def test_a_full_report_is_not_too_large():
    record = a_record()
    names = [name for name in METHODS if METHODS[name].csc][:16]
    record["methods"] = [a_method(name, semantics, "sensitive") for name in names for semantics in ("paper", "corrected")]
    keys = [(name, semantics) for name in names for semantics in ("paper", "corrected")]
    assert len(render(record, some_examples(224, keys))) < 6_000_000


PROBE = """<!DOCTYPE html><title>probe</title>
<iframe id="page" src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>
onload = () => setTimeout(() => {{
  const inner = document.getElementById("page").contentDocument, root = inner.scrollingElement;
  const inScroller = (element) => element.closest(".scroll") !== null || element.closest("svg") !== null;
  const wide = [...inner.querySelectorAll("body *")].filter((element) => !inScroller(element) && element.className !== "skip"
    && element.getBoundingClientRect().right > {width} + 0.5).map((element) => element.outerHTML.slice(0, 80));
  const missing = [...inner.images].filter((image) => !image.complete || image.naturalWidth === 0).length;
  const overflow = root.scrollWidth - root.clientWidth;
  const found = {{overflow, wide, missing, images: inner.images.length, scripts: inner.scripts.length}};
  document.body.dataset.found = btoa(JSON.stringify(found).replace(/[^\\x20-\\x7e]/g, "?"));
}}, 300);
</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [320, 400, 1400])
def test_in_a_browser(tmp_path, width):
    write_report(advised_record(), some_examples(), tmp_path)
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1500,1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run(["chromium", *arguments, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(base64.b64decode(re.search('data-found="(.*?)"', done.stdout)[1]))
    assert found == {"overflow": 0, "wide": [], "missing": 0, "images": 33, "scripts": 0}
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
