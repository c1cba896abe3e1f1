"""Analyzers as methods of studies: what their strings mean, their numbers, tables, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from typer.testing import CliRunner

import wel
import wel.innvestigate as innvestigate
from wel.cli.app import app
from wel.errors import UnsupportedError, WelError
from wel.innvestigate.strings import method_of, methods_of, parsed

PRESET = "lrp.sequential_preset_a:epsilon=0.1"
# (string, name and keywords of the analyzer)
ANALYZERS = [
    ("gradient", "gradient", {}),
    ("input_t_gradient", "input_t_gradient", {}),
    ("guided_backprop", "guided_backprop", {}),
    ("deconvnet", "deconvnet", {}),
    ("integrated_gradients:steps=8,reference_inputs=0.25", "integrated_gradients", {"steps": 8, "reference_inputs": 0.25}),
    ("smoothgrad:augment_by_n=4,noise_scale=0.3", "smoothgrad", {"augment_by_n": 4, "noise_scale": 0.3}),
    ("lrp:rule=ZPlus,bn_layer_rule=Epsilon", "lrp", {"rule": "ZPlus", "bn_layer_rule": "Epsilon"}),
    ("lrp.z_IB", "lrp.z_IB", {}),
    ("lrp.epsilon:epsilon=0.1,bias=False", "lrp.epsilon", {"epsilon": 0.1, "bias": False}),
    ("lrp.w_square", "lrp.w_square", {}),
    ("lrp.alpha_beta:alpha=3,input_layer_rule=(-1,1)", "lrp.alpha_beta", {"alpha": 3, "input_layer_rule": (-1, 1)}),
    (PRESET, "lrp.sequential_preset_a", {"epsilon": 0.1}),
    ("lrp.sequential_preset_b_flat_until_idx:until_layer_idx=3", "lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": 3}),
    ("deep_taylor", "deep_taylor", {}),
    ("deep_taylor.bounded:low=-1,high=2", "deep_taylor.bounded", {"low": -1, "high": 2}),
    ("deep_lift.wrapper:nonlinear_mode=reveal_cancel", "deep_lift.wrapper", {"nonlinear_mode": "reveal_cancel"}),
]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A residual block with BatchNormalization; all biases are random, and all logits of the images positive."""
    x = keras.Input((6, 6, 2))
    y = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x)))
    y = layers.Add()([y, layers.Conv2D(3, 3, padding="same", activation="relu")(y)])
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D()(y))))
    rng = np.random.default_rng(0)
    drawn = [rng.uniform(0.5, 1.5, w.shape) if "variance" in w.name else 0.4 * rng.standard_normal(w.shape) for w in model.weights]
    model.set_weights([*drawn[:-1], drawn[-1] + 20])
    return model


@pytest.fixture(scope="module")
def net(model):
    return wel.load(model)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 2, (2, 6, 6, 2)).astype("float32")


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
@pytest.mark.parametrize("text, name, keywords", ANALYZERS, ids=[text for text, _, _ in ANALYZERS])
def test_maps_are_the_analyzers(model, net, images, text, name, keywords, semantics):
    expected = innvestigate.create_analyzer(name, model, semantics=semantics, **keywords).analyze(images)
    found = wel.attribution(net, method_of(text, net), images, semantics=semantics)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "text, expected",
    [
        ("lrp.z", ("lrp.z", {})),
        ("lrp.z:", ("lrp.z", {})),
        ("a:b=1, c=-0.5,d=1e-3", ("a", {"b": 1, "c": -0.5, "d": 1e-3})),
        ("a:b=None,c=False,d=Flat", ("a", {"b": None, "c": False, "d": "Flat"})),
        ("a:b=./c.npz,d=.5,e=+2", ("a", {"b": "./c.npz", "d": 0.5, "e": 2})),
        ("a:b=(-1, 1),c=[Z, Epsilon]", ("a", {"b": (-1, 1), "c": ["Z", "Epsilon"]})),
    ],
)
def test_what_a_string_means(text, expected):
    assert parsed(text) == expected


def test_all_studies_have_them_in_their_tables(net, images, tmp_path):
    own, again = methods_of([PRESET, "lrp.z"], net), methods_of([PRESET, "lrp.z"], net)
    assert [method.mark for method in own] == ["$1$", "$2$"]
    table = wel.csc(net, images, methods=[*own, "gradient"], semantics="both", out=tmp_path).table
    assert list(dict.fromkeys(table["method"])) == [PRESET, "lrp.z", "gradient"]
    # read again from the run directory
    assert wel.csc(net, images, methods=[*again, "gradient"], semantics="both", out=tmp_path).table.equals(table)
    for study in (wel.random_logit, wel.cascading_randomization):
        found = study(net, images, methods=own).table
        assert list(dict.fromkeys(found["method"])) == [PRESET, "lrp.z", "random", "edges"]


def test_csc_of_an_analyzer_is_that_of_the_method_of_the_same_rules(net, images):
    given = {"start": "output", "vectors": 3, "seed": 4, "semantics": "corrected"}
    table = wel.csc(net, images, methods=[method_of("lrp.alpha_1_beta_0", net), "lrp_alpha1_beta0"], **given).table
    one, other = (table[table["method"] == name]["median"].to_numpy() for name in ("lrp.alpha_1_beta_0", "lrp_alpha1_beta0"))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_is_called_like_a_method_of_wel_stands_beside_it(net, images):
    table = wel.csc(net, images, methods=["gradient", *methods_of(["gradient", "deep_taylor", "gradient"], net)]).table
    assert list(dict.fromkeys(table["method"])) == ["gradient", "gradient (innvestigate)", "deep_taylor (innvestigate)"]
    one, other = (table[table["method"] == name]["median"].to_numpy() for name in ("gradient", "gradient (innvestigate)"))
    np.testing.assert_array_equal(one, other)


def test_patterns_from_a_file(model, net, images, tmp_path):
    patterns, path = wel.fit_patterns(net, images), tmp_path / "patterns.npz"
    patterns.save(path)
    expected = innvestigate.create_analyzer("pattern.net", model, patterns=patterns.arrays).analyze(images)
    analyzer = innvestigate.create_analyzer("pattern.net", model, patterns=str(path))
    again = innvestigate.analyzer.base.AnalyzerBase.load(*analyzer.save())
    for found in (
        wel.attribution(net, method_of(f"pattern.net:patterns={path}", net), images),
        analyzer.analyze(images),
        again.analyze(images),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_an_audit_of_an_analyzer(net, images, tmp_path):
    from wel.images.load import load_images

    np.save(tmp_path / "images.npy", np.random.default_rng(2).random((5, 6, 6, 2), dtype="float32"))
    pictures = load_images(net, tmp_path / "images.npy", preprocessing="none")
    settings = {"methods": ["gradient"], "semantics": "paper", "analyzer": [PRESET, "gradient:postprocess=None", "pattern.net"]}
    result = wel.audit(net, pictures, tmp_path / "run", **settings)
    assert [entry["method"] for entry in result.record["methods"]] == ["gradient", PRESET, "gradient:postprocess=None"]
    # the gradient by its other name is the gradient
    one, other = (result.record["methods"][k] for k in (0, 2))
    assert one["verdict"] == other["verdict"] and one["tests"] == other["tests"]
    (missing,) = result.record["not_applicable"]
    assert missing["method"] == "pattern.net" and "needs patterns" in missing["reason"]
    assert PRESET in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("lrp.nope", r"^Invalid value for `name`: 'lrp\.nope'\. Expected one of input, random, gradient, "),
        ("lrp.epsilon:alpha=1", r"^Invalid value for `kwargs`: 'alpha'\. Expected for lrp\.epsilon: one of epsilon, bias"),
        ("lrp.epsilon:epsilon=0", r"^Invalid value for `epsilon`: 0\. Expected a number above 0\.$"),
        ("lrp.epsilon:epsilon=0.1.2", r"^Invalid value for `analyzer`: '0\.1\.2' is no number\."),
        ("lrp.epsilon:epsilon", r"^Invalid value for `analyzer`: 'lrp\.epsilon:epsilon'\. Expected NAME or NAME:KEYWORD=VALUE"),
        ("lrp.epsilon:epsilon=", r"^Invalid value for `analyzer`"),
        ("input", r"^Invalid value for `analyzer`: 'input'\. Expected an analyzer that asks the network"),
        ("random:stddev=2", r"^Invalid value for `analyzer`: 'random:stddev=2'\."),
        ("gradient:postprocess=abs", r"^Invalid value for `analyzer`: 'gradient:postprocess=abs'\. Expected no `postprocess`"),
        ("lrp.sequential_preset_b_flat_until_idx:until_layer_idx=99", r"^Invalid value for `until_layer_idx`: 99\. Expected at most"),
        ("integrated_gradients:reference_inputs=[1,2]", "^Invalid value for `reference_inputs`"),
    ],
)
def test_what_is_no_method(net, text, sentence):
    with pytest.raises(WelError, match=sentence):
        method_of(text, net)


@pytest.mark.parametrize("texts", [None, 3, [3]])
def test_what_is_no_string(net, texts):
    with pytest.raises(WelError, match=r"^Invalid value for `analyzer`: (None|3)\. Expected a word such as 'lrp\.epsilon:epsilon=0\.1'"):
        methods_of(texts, net)


def test_one_string_is_one_analyzer(net):
    assert [method.name for method in methods_of("lrp.z", net)] == ["lrp.z"]


def test_what_a_study_refuses(net, images):
    with pytest.raises(WelError, match=r"^Invalid value for `method`: 'integrated_gradients:steps=4', which has maps of the input only\."):
        wel.csc(net, images, methods=[method_of("integrated_gradients:steps=4", net)])
    needed = (
        r"^Method 'pattern\.net' needs patterns of this network\. Expected the option `patterns`: a file that `wel fit-patterns` wrote, or"
    )
    with pytest.raises(UnsupportedError, match=needed):
        wel.csc(net, images, methods=[method_of("pattern.net", net)])
    with pytest.raises(WelError, match=r"^Invalid value for `patterns`: 'nope\.npz'\. Expected an existing \.npz file\.$"):
        wel.csc(net, images, methods=[method_of("pattern.net:patterns=nope.npz", net)])
    with pytest.raises(UnsupportedError, match=r"'wrapped' does not compute lrp\.z\. Expected 'native'\.$"):
        wel.csc(net, images, methods=[method_of("lrp.z", net)], backend="wrapped")
    odd = wel.load(keras.Sequential([keras.Input((4,)), layers.LayerNormalization(name="odd"), layers.Dense(2)]))
    with pytest.raises(UnsupportedError, match=r"^Method 'lrp\.z' has no rule for layer 'odd' \(LayerNormalization\)\."):
        wel.csc(odd, np.ones((1, 4)), methods=[method_of("lrp.z", odd)])


def test_the_command_line(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    common = ["--model", str(tmp_path / "model.keras"), "--images", str(tmp_path / "images.npy"), "--preprocess", "none"]
    asked = ["--analyzer", PRESET, "--analyzer", "lrp.alpha_beta:alpha=2,beta=1"]
    ran = CliRunner().invoke(app, ["csc", *common, *asked, "--out", str(tmp_path / "run")])
    assert ran.exit_code == 0, ran.output
    table = pd.read_csv(tmp_path / "run" / "csc.csv")
    assert list(dict.fromkeys(table["method"])) == [PRESET, "lrp.alpha_beta:alpha=2,beta=1"]
    assert (tmp_path / "run" / "figures" / "csc_output.png").exists() or list((tmp_path / "run" / "figures").glob("csc_*.png"))
    ran = CliRunner().invoke(app, ["random-logit", *common, *asked, "--methods", "gradient", "--out", str(tmp_path / "logit")])
    assert ran.exit_code == 0, ran.output
    found = pd.read_csv(tmp_path / "logit" / "random_logit.csv")["method"]
    assert list(dict.fromkeys(found)) == ["gradient", PRESET, "lrp.alpha_beta:alpha=2,beta=1", "random", "edges"]


def test_the_command_line_refuses(tmp_path):
    ran = CliRunner().invoke(app, ["csc", "--model", "cifar10", "--limit", "1", "--analyzer", "lrp.nope", "--out", str(tmp_path / "run")])
    assert ran.exit_code != 0 and not (tmp_path / "run").exists()
    assert "Invalid value for `name`: 'lrp.nope'." in str(ran.exception or ran.output)
