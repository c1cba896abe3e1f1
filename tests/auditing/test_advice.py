"""wel.auditing.advice: the rule, both axes by hand, and networks of which it is known what they look at."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import tensorflow as tf

import wel
from wel.auditing.advice import (
    CANNOT_TELL,
    DO_NOT_USE,
    LESS,
    MORE,
    NEITHER,
    UNKNOWN,
    USE,
    Advice,
    Faithfulness,
    Interval,
    Measured,
    advise,
    advised,
    dependence,
    faithfulness_of,
    named,
    sentence,
    sentences,
)
from wel.auditing.verdicts import INCONCLUSIVE, INSENSITIVE, SENSITIVE, Measurement
from wel.methods.registry import METHODS
from wel.studies.faithfulness import LEAST, MOST, SHARE

layers = tf.keras.layers
NAN = float("nan")
CURVE = [{"share": 0.0, "most": 1.0, "least": 1.0}, {"share": 1.0, "most": 0.0, "least": 0.0}]
OVER = {
    MORE: {"random": Interval(0.5, 0.3, 0.7), "edges": Interval(0.2, 0.01, 0.4)},
    NEITHER: {"random": Interval(0.5, 0.3, 0.7), "edges": Interval(0.2, 0.0, 0.4)},
    LESS: {"random": Interval(0.1, -2.0, 0.7), "edges": Interval(-0.2, -0.4, -0.01)},
    UNKNOWN: {"random": Interval(0.5, 0.3, 0.7), "edges": Interval(NAN, NAN, NAN)},
}


def gaining(standing, gain=0.3, images=24):
    found = Faithfulness(Interval(gain, gain - 0.1, gain + 0.1), 0.2, 0.2 + gain, images, OVER[standing], CURVE)
    assert images < 4 or found.standing == standing
    return found


def with_similarity(similar):
    other = Measurement("other_class", "ssim", similar, similar - 0.1, similar + 0.1, 24, "unclear", cosine=0.9)
    return [other, Measurement("randomised", "ssim", 0.1, 0.0, 0.2, 24, "differs", above="fc", cosine=0.1)]


def a_measurement(name="gradient", verdict=SENSITIVE, standing=MORE, similar=0.3, semantics="both", **more):
    return Measured(METHODS[name], semantics, verdict, with_similarity(similar), gaining(standing, **more))


def advice_on(*several):
    return {(one.method, one.semantics): one for one in advise(several)}


@pytest.mark.parametrize("verdict, standing", list(product((INSENSITIVE, SENSITIVE, INCONCLUSIVE), (MORE, NEITHER, LESS, UNKNOWN))))
def test_every_verdict_with_every_gain(verdict, standing):
    (found,) = advise([a_measurement(verdict=verdict, standing=standing)])
    if verdict == INSENSITIVE or standing == LESS:
        assert found.advice == DO_NOT_USE
    else:
        assert found.advice == (USE if (verdict, standing) == (SENSITIVE, MORE) else CANNOT_TELL)
    assert found.reason and "nan" not in found.reason


@pytest.mark.parametrize("name", ["random", "edges"])
def test_a_control_is_never_to_be_used(name):
    (found,) = advise([a_measurement(name)])
    assert (found.advice, found.reason) == (DO_NOT_USE, "a control, which is made to fail")


def test_where_occlusion_stays_the_same_sameness_is_no_objection():
    same = {"verdict": INSENSITIVE, "similar": 0.95}
    several = [a_measurement("occlusion", **same), a_measurement("lrp_z", **same), a_measurement("lrp_epsilon", standing=NEITHER, **same)]
    found = advice_on(*several)
    assert [found[name, "both"].advice for name in ("occlusion", "lrp_z", "lrp_epsilon")] == [CANNOT_TELL, CANNOT_TELL, DO_NOT_USE]
    assert found["lrp_z", "both"].reason == (
        "its map stays the same, SSIM 0.95, but so does Occlusion's; against Edges it gains 0.2, 0.01 to 0.4"
    )
    # one that is sensitive, or was not measured, says nothing of the kind
    assert advice_on(a_measurement("occlusion"), several[1])["lrp_z", "both"].advice == DO_NOT_USE
    assert advice_on(several[1])["lrp_z", "both"].advice == DO_NOT_USE


@pytest.mark.parametrize(
    "more, reason",
    [
        ({}, "its map changes, SSIM 0.30, and against Edges it gains 0.2, 0.01 to 0.4"),
        ({"verdict": INCONCLUSIVE}, "whether its map changes is open; against Edges it gains 0.2, 0.01 to 0.4"),
        ({"verdict": INSENSITIVE, "similar": 0.93}, "its map stays the same, SSIM 0.93"),
        ({"standing": NEITHER}, "against Edges it gains 0.2, 0 to 0.4"),
        ({"standing": LESS}, "against Edges it gains -0.2, -0.4 to -0.01"),
        ({"standing": UNKNOWN}, "what it gains cannot be held against the controls"),
        ({"images": 3}, "3 images are too few"),
        ({"images": 1}, "one image is too few"),
        ({"images": 0}, "hiding changes the score no more than rounding does"),
    ],
)
def test_reasons(more, reason):
    (found,) = advise([a_measurement(**more)])
    assert found.reason == reason


def test_inputs_of_one_region_have_no_gain():
    (found,) = advise([Measured(METHODS["gradient"], "both", SENSITIVE, with_similarity(0.3), None)])
    assert (found.advice, found.reason) == (CANNOT_TELL, "what it gains cannot be measured")


def test_the_ranking_is_by_advice_then_by_gain():
    several = [
        a_measurement("lrp_z", verdict=INSENSITIVE, gain=0.9),
        a_measurement("gradient", gain=0.2),
        a_measurement("deconvnet", standing=NEITHER, gain=0.5),
        a_measurement("grad_cam", gain=0.4),
    ]
    assert [one.method for one in advise(several)] == ["grad_cam", "gradient", "deconvnet", "lrp_z"]


def test_sentences():
    several = [
        a_measurement("grad_cam", gain=0.4),
        a_measurement("gradient"),
        a_measurement("lrp_z", semantics="paper", standing=LESS),
        a_measurement("lrp_z", semantics="corrected", standing=NEITHER),
        a_measurement("deep_taylor", semantics="paper", verdict=INSENSITIVE, similar=0.91),
        a_measurement("deep_taylor", semantics="corrected", verdict=INSENSITIVE, similar=0.97, gain=0.5),
    ]
    found = advise(several)
    assert sentences(found) == [
        "Use Grad-CAM and Gradient.",
        "Do not use Deep Taylor and LRP-z (paper).",
        "Of LRP-z (corrected) it cannot be told.",
    ]
    assert sentence(found) == (
        "Use Grad-CAM and Gradient; do not use Deep Taylor and LRP-z (paper); of LRP-z (corrected) it cannot be told."
    )
    # the reason is that of the one that gains more
    assert named(found, DO_NOT_USE)[0] == ("Deep Taylor", "its map stays the same, SSIM 0.97")
    alone = advise(several[2:3])
    assert sentence(alone) == "None of the methods measured can be recommended; do not use LRP-z."
    assert sentence([]) == "No method was measured."


def test_a_record_holds_the_advice():
    item = {"method": "gradient", "label": "Gradient", "semantics": "both", "reason": "so"}
    record = {"advice": {"sentence": "Use Gradient.", "use": [item], "cannot_tell": [], "do_not_use": []}}
    assert advised(record) == [Advice("gradient", "Gradient", "both", USE, "so")]
    assert advised({}) == []


def test_dependence_is_that_of_the_test_in_which_the_map_changes_least():
    # 1 − 0.7, its interval 1 − 0.8 to 1 − 0.6; the other test, with 0.1, does not count
    assert dependence(with_similarity(0.7)) == pytest.approx((0.3, 0.2, 0.4))
    lower = Measurement("randomised", "ssim", 0.95, 0.9, 1.0, 24, "same", above="conv1")
    assert dependence([*with_similarity(0.7), lower]) == pytest.approx((0.3, 0.2, 0.4))  # a deeper cut
    # SSIM may be below 0
    assert dependence([Measurement("other_class", "ssim", -0.2, -0.3, 0.1, 24, "differs")]) == pytest.approx((1, 0.9, 1))
    undefined = Measurement("other_class", "ssim", NAN, NAN, NAN, 0, "undefined")
    assert np.isnan(dependence([undefined])).all() and np.isnan(dependence([])).all()


def curves(most, least):
    """Of images whose score is 1 untouched and 0 hidden, the score half hidden."""
    ends = np.ones((len(most), 1)), np.zeros((len(most), 1))
    columns = {MOST: most, LEAST: least}
    found = {name: np.concatenate([ends[0], np.array(middle)[:, None], ends[1]], axis=1) for name, middle in columns.items()}
    return {**found, SHARE: np.tile([0, 0.5, 1], (len(most), 1))}


def test_gains_by_hand():
    # areas: 1/4 + middle/2; the gain is half of what lies between the middles: 0.4, 0.3, 0.2, 0.1
    mine = curves([0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6])
    # gains of the control 0.1, 0.1, 0, 0.2: differences 0.3, 0.2, 0.2, −0.1
    control = curves([0.4, 0.4, 0.5, 0.3], [0.6, 0.6, 0.5, 0.7])
    found = faithfulness_of(mine, {"random": control}, seed=0)
    assert (found.gain.value, found.deletion, found.insertion, found.images) == pytest.approx((0.25, 0.375, 0.625, 4))
    assert (found.gain.low, found.gain.high) == pytest.approx((0.1, 0.4))  # of four images their range
    assert found.over["random"] == pytest.approx((0.2, -0.1, 0.3))
    assert found.standing == NEITHER
    assert [row["most"] for row in found.curve] == pytest.approx([1, 0.25, 0])
    assert [row["least"] for row in found.curve] == pytest.approx([1, 0.75, 0])
    assert faithfulness_of({}, {}, seed=0) is None


def test_images_without_a_map_or_whose_score_stays_have_no_gain():
    mine = curves([0.1, 0.2, 0.3, 0.4, 0.1], [0.9, 0.8, 0.7, 0.6, 0.9])
    mine[MOST][0] = mine[LEAST][0] = NAN
    for order in (MOST, LEAST):
        mine[order][1] = 5 * (1 + np.array([0, 4e-6, 9e-6]))  # of 5, below 1e-5
    found = faithfulness_of(mine, {}, seed=0)
    assert found.images == 3 and found.gain.value == pytest.approx(0.2)  # of 0.2, 0.1 and 0.4
    assert found.standing == UNKNOWN  # three are too few


@pytest.fixture
def pictures(tmp_path):
    """24 pictures of noise, so that edges are everywhere."""
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).standard_normal((24, 16, 16, 1)).astype("float32"))
    return tmp_path / "noise.npy"


def audited(model, pictures, methods, folder, **more):
    net = wel.load(model)
    return wel.audit(net, wel.load_images(net, pictures), folder, methods=methods, semantics="paper", **more).record


def words(record):
    return {item["method"]: word for word in (USE, CANNOT_TELL, DO_NOT_USE) for item in record["advice"][word]}


def a_quadrant(classes=4):
    """A linear network that reads the upper left quarter only, each class with weights of its own."""
    weights = np.zeros((16, 16, classes))
    weights[:8, :8] = np.random.default_rng(1).standard_normal((8, 8, classes))
    model = tf.keras.Sequential([layers.Input((16, 16, 1)), layers.Flatten(), layers.Dense(classes, use_bias=False)])
    model.set_weights([weights.reshape(256, classes)])
    return model


def test_on_a_network_that_reads_one_quadrant_the_methods_that_find_it_are_to_be_used(pictures, tmp_path):
    record = audited(a_quadrant(), pictures, ["input_x_gradient", "occlusion", "gradient"], tmp_path / "run")
    found = {entry["method"]: entry for entry in (*record["methods"], *record["controls"])}
    # with weights of both signs x w is what the score is made of
    assert words(record)["input_x_gradient"] == USE
    assert record["advice"]["sentence"].startswith("Use Input × gradient")
    best = found["input_x_gradient"]["faithfulness"]["gain"]
    assert best["low"] > max(found[name]["faithfulness"]["gain"]["high"] for name in ("random", "edges"))
    # random passes randomisation and is at chance; edges does not look at the network
    assert found["random"]["verdict"] == SENSITIVE and found["edges"]["verdict"] == INSENSITIVE
    chance = found["random"]["faithfulness"]["gain"]
    assert chance["low"] < 0 < chance["high"] and found["edges"]["dependence"]["value"] == 0


def test_a_network_that_looks_at_the_same_places_whatever_it_decides(pictures, tmp_path):
    # every class is a factor times the same sum: no map can change, and none is wrong for that
    model = a_quadrant()
    weights = np.abs(model.get_weights()[0][:, :1]) * np.array([[1.0, 2.0, 3.0, 4.0]])
    model.set_weights([weights])
    record = audited(model, pictures, ["input_x_gradient", "occlusion"], tmp_path / "run")
    assert {entry["method"]: entry["verdict"] for entry in record["methods"]} == dict.fromkeys(
        ["input_x_gradient", "occlusion"], INSENSITIVE
    )
    assert words(record)["input_x_gradient"] == CANNOT_TELL
    alone = audited(model, pictures, ["input_x_gradient"], tmp_path / "alone")
    assert words(alone)["input_x_gradient"] == DO_NOT_USE
