"""wel.audit and `wel audit`: what is written, resumed, left out and refused; verdicts on the bundled networks; exit codes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import loaded
from interruption import Interrupting
from jsonschema import Draft202012Validator

import wel
from wel.auditing import plan as planning
from wel.auditing.audit import _Course
from wel.auditing.plan import FULL, QUICK, Plan, Speed, by_priority, expected_seconds
from wel.cli.app import main
from wel.cli.audit import parse_fail_on
from wel.errors import UnsupportedError, WelError
from wel.methods.registry import METHODS, choose_map_methods

layers = tf.keras.layers
SCHEMA = Path(planning.__file__).with_name("audit.schema.json")
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
TWO = "gradient,lrp_alpha1_beta0"


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


@pytest.fixture(scope="module")
def pictures(net, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, inputs=images)
    return wel.load_images(net, path)


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["audit", *map(str, arguments)])
    return ended.value.code or 0


def without_times(record):
    return re.sub(r'"(seconds|date)": [^,}]+', "", json.dumps(record))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "resnet20"])
def test_verdicts_on_the_bundled_networks(name, tmp_path):
    net = wel.load(name)
    methods = ["gradient", "deeplift_rescale", "lrp_alpha1_beta0", "grad_cam"]
    result = wel.audit(net, wel.load_images(net), tmp_path / "run", methods=methods, semantics="paper")
    assert {method: result.verdict(method) for method in methods} == {
        "gradient": "sensitive",
        "deeplift_rescale": "sensitive",
        "lrp_alpha1_beta0": "insensitive",
        "grad_cam": "sensitive",
    }
    advice = result.record["advice"]
    assert [item["method"] for item in advice["use"]] == ["grad_cam"]
    assert [item["method"] for item in advice["do_not_use"]] == ["lrp_alpha1_beta0"]
    random, edges = result.record["controls"]
    assert (random["verdict"], edges["verdict"]) == ("sensitive", "insensitive")
    assert random["faithfulness"]["gain"]["low"] < 0 < random["faithfulness"]["gain"]["high"]
    assert result.record["checks"][0]["passed"] and result.record["checks"][0]["value"] < 1e-6


def test_an_interrupted_audit_goes_on(net, pictures, tmp_path):
    settings = {"methods": ["gradient", "guided_backprop", "lrp_z"], "semantics": "paper", "limit": 3}
    with pytest.raises(KeyboardInterrupt):
        wel.audit(net, pictures, tmp_path / "parts", **settings, steps=Interrupting(2))
    assert not (tmp_path / "parts" / "audit.json").exists()
    steps = Interrupting()
    parts = wel.audit(net, pictures, tmp_path / "parts", **settings, steps=steps)
    assert steps.done == steps.total == 5  # three methods and two controls
    whole = wel.audit(net, pictures, tmp_path / "whole", **settings)
    assert without_times(parts.record) == without_times(whole.record)
    again = wel.audit(net, pictures, tmp_path / "whole", **settings)
    assert again.record == whole.record
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["audit.json", "report.html", "run.json"]


def test_deeplift_is_measured_once_where_its_placeholders_do_not_show(net, pictures, tmp_path):
    record = wel.audit(net, pictures, tmp_path, methods=["deeplift_reveal_cancel", "lrp_alpha1_beta0"], limit=3).record
    found = [(method["method"], method["semantics"]) for method in record["methods"]]
    assert sorted(found) == [("deeplift_reveal_cancel", "both"), ("lrp_alpha1_beta0", "corrected"), ("lrp_alpha1_beta0", "paper")]


def test_what_an_interrupted_audit_left_is_found_by_method(net, pictures, tmp_path):
    settings = {"methods": ["gradient", "guided_backprop"], "semantics": "paper", "limit": 3}
    with pytest.raises(KeyboardInterrupt):
        wel.audit(net, pictures, tmp_path / "parts", **settings, steps=Interrupting(1))
    parts = wel.audit(net, pictures, tmp_path / "parts", **settings, first=["guided_backprop"])
    assert without_times(parts.record) == without_times(wel.audit(net, pictures, tmp_path / "whole", **settings).record)


def test_a_finished_audit_is_not_taken_for_one_with_an_expectation(net, pictures, images, tmp_path):
    wel.audit(net, pictures, tmp_path / "run", methods=["gradient"])
    with pytest.raises(WelError, match="other settings"):
        wel.audit(net, pictures, tmp_path / "run", methods=["gradient"], expect=expectation(tmp_path, net, images))


def test_arrays_of_any_number_of_channels_end_in_a_report(tmp_path):
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 5)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]))
    np.save(tmp_path / "five.npy", np.random.default_rng(0).random((4, 8, 8, 5), dtype="float32"))
    wel.audit(net, wel.load_images(net, tmp_path / "five.npy"), tmp_path / "run", methods=["gradient"])
    assert (tmp_path / "run" / "report.html").exists()


def test_semantics_are_measured_apart_only_where_rules_differ(net, pictures, tmp_path):
    result = wel.audit(net, pictures, tmp_path / "run", methods=TWO.split(","), limit=2)
    found = [(entry["method"], entry["semantics"]) for entry in result.record["methods"]]
    assert found == [("gradient", "both"), ("lrp_alpha1_beta0", "paper"), ("lrp_alpha1_beta0", "corrected")]


def test_minutes_drop_methods_from_the_end_before_anything_is_measured(net, pictures, tmp_path):
    settings = {"methods": ["gradient", "guided_backprop"], "limit": 2, "minutes": 1e-9, "first": ["guided_backprop"]}
    result = wel.audit(net, pictures, tmp_path / "run", **settings)
    assert [entry["method"] for entry in result.record["methods"]] == ["guided_backprop"]  # the first one stays
    (missing,) = result.record["not_measured"]
    assert missing["method"] == "gradient" and missing["semantics"] == "both"
    assert missing["reason"] == "Its 0 s are beyond `minutes` 1e-09. Expected more, or its name with --methods."
    assert result.verdict("gradient") is None


def test_minutes_are_of_what_is_predicted(net, pictures, tmp_path):
    # of two methods that cost the same
    course = partial(_Course, net, pictures, QUICK, choose_map_methods(["gradient", "guided_backprop"]), "paper", 0, (), None)
    (one, two), whole = course(None).cells, course(None)._expected  # with the controls, which are measured in any case
    for share, kept in ((0.99, [one]), (1.01, [one, two])):
        assert course(share * whole / 60).cells == kept


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_minutes_that_cannot_be(net, pictures, tmp_path, minutes):
    with pytest.raises(WelError, match="^Invalid value for `minutes`: .* Expected a number above 0.$"):
        wel.audit(net, pictures, tmp_path / "run", minutes=minutes)
    assert list(tmp_path.iterdir()) == []


def test_methods_that_do_not_apply_are_left_out_with_the_reason(tmp_path):
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="elu"), layers.Flatten(), layers.Dense(5)]
    net = wel.load(tf.keras.Sequential(stack))
    pictures = wel.load_images(net, limit=2)
    with pytest.raises(UnsupportedError):
        wel.audit(net, pictures, tmp_path / "run", methods=["pattern_net"])
    named = wel.audit(net, pictures, tmp_path / "named", methods=["guided_backprop", "gradient"]).record
    assert [entry["method"] for entry in named["not_applicable"]] == ["guided_backprop"]
    result = wel.audit(net, pictures, tmp_path / "run", minutes=1e-9)
    reasons = {entry["method"]: entry["reason"] for entry in result.record["not_applicable"]}
    assert "guided_backprop" in reasons and all(reasons.values())


def test_the_record_of_a_live_model(net, pictures, images, functional, tmp_path):
    record = wel.audit(net, pictures, tmp_path / "run", methods=["gradient"]).record
    model = record["model"]
    assert model["file"] is None and model["classes"] == 4 and model["parameters"] == functional.count_params()
    logits = functional.predict(images, verbose=0)
    top = record["images"]["items"][0]["top"]
    assert [entry["class"] for entry in top] == np.argsort(-logits[0]).tolist()
    assert [entry["logit"] for entry in top] == pytest.approx(sorted(logits[0], reverse=True))
    assert record["images"]["items"][0]["class"] == logits[0].argmax()


def expectation(tmp_path, net, images, **changed):
    predictions = net.model.predict(images, verbose=0)
    np.savez(tmp_path / "expect.npz", **{"inputs": images, "predictions": predictions, **changed})
    return tmp_path / "expect.npz"


@pytest.mark.parametrize("content", [None, b"junk"])
def test_expected_predictions_that_cannot_be_read_are_refused_before_anything_is_written(net, pictures, tmp_path, content):
    path = tmp_path / "expect.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(wel.WelError, match="expect.npz' cannot be read. Expected an .npz with `predictions` and `inputs`"):
        wel.audit(net, pictures, tmp_path / "run", methods=["gradient"], expect=path)
    assert not (tmp_path / "run").exists()


def test_expected_predictions(net, pictures, images, functional, tmp_path):
    settings = {"methods": ["gradient"], "expect": expectation(tmp_path, net, images)}
    record = wel.audit(net, pictures, tmp_path / "good", **settings).record
    assert [check["passed"] for check in record["checks"]] == [True, True] and record["finished"]
    np.savez(tmp_path / "alone.npz", predictions=functional.predict(images, verbose=0))
    record = wel.audit(net, pictures, tmp_path / "alone", **{**settings, "expect": tmp_path / "alone.npz"}).record
    assert record["checks"][1]["passed"]
    expectation(tmp_path, net, images, predictions=np.zeros((len(images), 4)))
    record = wel.audit(net, pictures, tmp_path / "bad", **settings).record
    assert not record["finished"] and record["methods"] == [] and "differs from the stored predictions" in record["stopped"]
    assert "differs from the stored predictions" in (tmp_path / "bad" / "report.html").read_text()


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"inputs": np.zeros((2, 8, 8, 3))}, "cannot be read"),
        ({"inputs": np.zeros((2, 8, 8, 3)), "predictions": np.zeros((2, 3))}, "shape"),
    ],
)
def test_expectations_that_cannot_be_used(arrays, words, net, pictures, tmp_path):
    np.savez(tmp_path / "expect.npz", **arrays)
    with pytest.raises(WelError, match=words):
        wel.audit(net, pictures, tmp_path / "run", methods=["gradient"], expect=tmp_path / "expect.npz")


def test_the_forward_pass_is_checked(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("wel.backends.native.backend.NativeNetwork.output", lambda self, batch: np.ones((len(batch), 4)))
    record = wel.audit(net, pictures, tmp_path / "run", methods=["gradient"]).record
    assert not record["finished"] and "forward pass of wel's layer graph differs" in record["stopped"]


def test_modes():
    net = wel.load("resnet50", weights="random")
    assert QUICK.images_for(net) == 4 and FULL.images_for(net) == 24 and QUICK.images_for(wel.load("cifar10")) == 24
    assert [method.name for method in by_priority([METHODS["lrp_z"], METHODS["gradient"], METHODS["smoothgrad"]], ["smoothgrad"])] == [
        "smoothgrad",
        "gradient",
        "lrp_z",
    ]


def test_the_time_that_a_method_will_take(monkeypatch):
    # input 192 values, conv 6·6·4 = 144 with 3·3·3·4 = 108 weights at 36 places, flatten 144, dense 3 with 144·3 = 432 weights
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]))
    monkeypatch.setattr(planning, "UP", Speed(1.0, 10.0, 100.0))
    monkeypatch.setattr(planning, "DOWN", Speed(2.0, 20.0, 200.0))
    monkeypatch.setattr(planning, "CORES", 2.0)
    plan = Plan(np.zeros((5, 8, 8, 3)), None, [net.layers[1]], [net.graph.output], [], vector_images=2, vectors=6, seed=0)
    whole = 108 * 36 + 432 + (192 + 144 + 144 + 3) / 10 + 4 / 100
    above = 432 + (144 + 3) / 10 + 2 / 100  # the cut is the convolution
    # five images up, and from the cut up; down their true class, another one, the cut's map, and two times six vectors
    once = (5 * (whole + above) + (5 * 3 + 12) * whole / 2) / 2
    assert expected_seconds(net, plan, METHODS["gradient"]) == pytest.approx(once)
    assert expected_seconds(net, plan, METHODS["lrp_alpha2_beta1"]) == pytest.approx(2 * once)


def test_hidden_images_and_patches_take_time_too(monkeypatch):
    # the network of the test above: 3 layers and the input, 483 values, 4320 products
    net = wel.load(tf.keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]))
    monkeypatch.setattr(planning, "HIDDEN", Speed(1.0, 10.0, 100.0))
    monkeypatch.setattr(planning, "CORES", 2.0)
    settings = {"vector_images": 2, "vectors": 6, "seed": 0}
    plain = Plan(np.zeros((5, 8, 8, 3)), None, [net.layers[1]], [net.graph.output], [], **settings)
    plan = Plan(np.zeros((5, 8, 8, 3)), None, [net.layers[1]], [net.graph.output], [], **settings, parts=4, hidden_images=5, patch=2)
    one = (4320 + 483 / 10 + 4 / 100) / 2
    # five images, hidden in four parts in two orders: three times each on the way
    assert expected_seconds(net, plan, METHODS["random"]) == pytest.approx(30 * one)
    assert expected_seconds(net, plan, METHODS["gradient"]) == pytest.approx(expected_seconds(net, plain, METHODS["gradient"]) + 30 * one)
    # and 16 patches, with the image itself
    assert expected_seconds(net, plan, METHODS["occlusion"]) == pytest.approx(30 * one + 5 * 17 * one)


def test_of_how_many_images_parts_are_hidden():
    # ResNet-50 takes 3.86e9 multiplications: 1e11 are 26 passes, of which four images in four parts take 24
    net = wel.load("resnet50", weights="random")
    assert QUICK.parts_for(net) == 4 and QUICK.hidden_for(net) == 4
    # 10 passes, of which four images in two parts take 8, in three 16
    few = replace(QUICK, hidden_products=3.86e10)
    assert few.parts_for(net) == 2 and few.hidden_for(net) == 4
    # none is too few for four images, whatever that takes
    assert replace(QUICK, hidden_products=1.0).parts_for(net) == 2 and replace(QUICK, hidden_products=1.0).hidden_for(net) == 4
    # 8.5e7: all 24
    net = wel.load("cifar10")
    assert QUICK.parts_for(net) == 4 and QUICK.hidden_for(net) == 24
    assert FULL.parts_for(net) == 16 and FULL.hidden_for(net) == 24


def test_patches_of_a_mode_are_parts_of_the_shortest_side():
    net = wel.load(tf.keras.Sequential([layers.Input((8, 20, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]))
    assert QUICK.options(net) == {"occlusion": {"patch": 2, "stride": 2}} and FULL.options(net) == {"occlusion": {"patch": 1, "stride": 1}}


ADVISED = ("use", "cannot_tell", "do_not_use")


def advised(record):
    return {item["method"] for word in ADVISED for item in record["advice"][word]}


def test_the_advice_is_among_the_methods_named(net, pictures, tmp_path):
    record = wel.audit(net, pictures, tmp_path / "run", methods=["gradient", "grad_cam"]).record
    assert list(record)[3] == "advice" and advised(record) == {"gradient", "grad_cam"}
    assert [entry["method"] for entry in record["controls"]] == ["random", "edges"]
    assert {entry["method"]: entry["options"] for entry in record["methods"]} == {"gradient": {}, "grad_cam": {"layer": "conv2"}}
    # three images are too few
    assert record["advice"]["use"] == [] and record["advice"]["sentence"].startswith("None of the methods measured can be recommended")
    assert VALIDATOR.is_valid(record)


def test_controls_that_are_named_are_methods_too_and_not_to_be_used(net, pictures, tmp_path):
    record = wel.audit(net, pictures, tmp_path / "run", methods=["random", "gradient"]).record
    assert [entry["method"] for entry in record["methods"]] == ["gradient", "random"]
    assert record["methods"][1] == record["controls"][0]
    assert "random" in {item["method"] for item in record["advice"]["do_not_use"]}


def test_faithfulness_is_that_of_the_study(net, pictures, tmp_path):
    record = wel.audit(net, pictures, tmp_path / "run", methods=["gradient"], seed=2).record
    labels = [item["class"] for item in record["images"]["items"]]
    table = wel.faithfulness(net, pictures.inputs, ["gradient"], parts=QUICK.parts, classes=labels, seed=2).table.set_index(
        ["method", "measure"]
    )
    for entry in (*record["methods"], *record["controls"]):
        found = entry["faithfulness"]
        measured = [found["gain"]["value"], found["gain"]["low"], found["gain"]["high"], found["deletion"], found["insertion"]]
        gain = table.loc[(entry["method"], "gain"), ["median", "ci_low", "ci_high"]]
        medians = [table.loc[(entry["method"], measure), "median"] for measure in ("deletion", "insertion")]
        assert measured == pytest.approx([*gain, *medians], abs=1e-6)


@pytest.mark.parametrize("logits", [1, 2])
def test_networks_of_one_logit_or_two_are_advised_too(logits, tmp_path):
    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(logits)]
    end = layers.Activation("sigmoid" if logits == 1 else "softmax")
    net = wel.load(tf.keras.Sequential([*stack, end]))
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).standard_normal((6, 8, 8, 3)).astype("float32"))
    record = wel.audit(net, wel.load_images(net, tmp_path / "noise.npy"), tmp_path / "run", methods=["gradient", "occlusion"]).record
    assert advised(record) == {"gradient", "occlusion"} and VALIDATOR.is_valid(record)
    assert all(entry["faithfulness"]["images"] == 6 and entry["dependence"]["value"] is not None for entry in record["methods"])


@pytest.mark.parametrize("shape", [(12,), (1,), (16, 2)])
def test_inputs_that_are_no_pictures_are_advised_too(shape, tmp_path):
    net = wel.load(tf.keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(5, activation="relu"), layers.Dense(4)]))
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((5, *shape), dtype="float32"))
    record = wel.audit(net, wel.load_images(net, tmp_path / "rows.npy"), tmp_path / "run", methods=["gradient", "occlusion"]).record
    assert advised(record) == {"gradient", "occlusion"} and VALIDATOR.is_valid(record)
    assert all((entry["faithfulness"] is None) == (shape == (1,)) for entry in record["methods"])


def test_fail_on():
    assert parse_fail_on("insensitive:lrp_z, sensitive:gradient") == [("insensitive", "lrp_z"), ("sensitive", "gradient")]
    assert parse_fail_on(None) == []
    for text in ("lrp_z", "bad:lrp_z", "insensitive:", "insensitive:nothing", ","):
        with pytest.raises(WelError):
            parse_fail_on(text)


def test_the_command(tmp_path, capsys):
    common = ["cifar10", "--limit", "4", "--methods", TWO, "--semantics", "paper", "--out", tmp_path / "run"]
    assert run(*common) == 0
    shown = capsys.readouterr().out
    assert shown.index("Do not use\n  LRP α1β0: its map stays the same, SSIM") < shown.index("because")
    assert "insensitive" in shown and str(tmp_path / "run" / "report.html") in "".join(shown.split("\n"))
    assert run(*common, "--fail-on", "insensitive:lrp_alpha1_beta0") == 1
    assert "lrp_alpha1_beta0 is insensitive" in capsys.readouterr().err
    assert run(*common, "--fail-on", "insensitive:gradient") == 0
    assert run(*common, "--fail-on", "insensitive:pattern_net") == 2  # it is measured too, so that the settings are others
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("nothing.h5",), ("cifar10", "--methods", "nothing"), ("cifar10", "--semantics", "all"), ("cifar10", "--fail-on", "x"), ()],
)
def test_bad_input_is_one_sentence(arguments, tmp_path, capsys):
    assert run(*arguments, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert error.startswith("wel: ") and error.count("\n") == 1 and not (tmp_path / "run").exists()
