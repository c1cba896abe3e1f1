"""wel.leaks: what each layer does to the sum of relevance, by hand, against relevances read one by one, and as invariants."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import loaded, randomized
from PIL import Image

import wel
from wel.backends.native.backend import NativeNetwork
from wel.cli.app import main
from wel.errors import UnsupportedError, WelError
from wel.methods.registry import find_method
from wel.studies.maps import class_vectors

ONE_OF_EACH = ["gradient", "lrp_alpha2_beta1", "deeplift_reveal_cancel"]
METHODS = ["gradient", "lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0", "deep_taylor", "rectgrad"]


def dense(kernel, bias=None, name=None):
    from tensorflow.keras import layers

    kernel = np.array(kernel, "float32")
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel] if bias is None else [kernel, np.array(bias, "float32")])
    return layer


def one_layer(bias: float):
    """y = 3 x₁ − x₂ + b."""
    from tensorflow.keras import Sequential, layers

    return wel.load(Sequential([layers.Input(2), dense([[3], [-1]], [bias], "dense")]))


def row(table, layer: str):
    return table.set_index("layer").loc[layer]


# --- by hand


def test_lrp_z_loses_the_biass_share():
    found = wel.leaks(one_layer(1.0), "lrp_z", np.array([[1.0, 1.0]]))
    assert found["layer"].tolist() == ["dense", "input"] and found["rule"].tolist() == ["Z", ""]
    # y = 3 − 1 + 1 = 3; R_in = (3, −1) · 3/3, sum 2
    assert row(found, "dense")[["arrived", "handed_down", "leak", "relative"]].tolist() == pytest.approx([3, 2, -1, -1 / 3])
    assert row(found, "input")["arrived"] == pytest.approx(2)
    assert found.iloc[-1][["handed_down", "leak", "relative"]].isna().all()


def test_alpha1_beta0_makes_relevance_of_a_negative_bias_in_its_denominator():
    image = np.array([[1.0, 1.0]])
    # y = 3 − 1 − 1 = 1; both biases in z⁺ = 3 − 1 = 2: R_in = (3/2, 0)
    paper = row(wel.leaks(one_layer(-1.0), "lrp_alpha1_beta0", image), "dense")
    assert paper[["arrived", "handed_down", "leak", "relative"]].tolist() == pytest.approx([1, 1.5, 0.5, 0.5])
    # z⁺ = 3 + b⁺ = 3: R_in = (1, 0)
    corrected = row(wel.leaks(one_layer(-1.0), "lrp_alpha1_beta0", image, semantics="corrected"), "dense")
    assert corrected[["arrived", "handed_down", "leak"]].tolist() == pytest.approx([1, 1, 0])


def test_the_papers_add_swallows_negative_relevance():
    from tensorflow.keras import Input, Model, layers

    image = Input(2)
    total = layers.Add(name="add")([dense([[1, 0], [0, 1]], name="below")(image), image])
    net = wel.load(Model(image, dense([[1], [-1]], name="top")(total)))
    image = np.array([[1.0, 2.0]])
    found = {semantics: wel.leaks(net, "lrp_alpha1_beta0", image, semantics=semantics) for semantics in ("paper", "corrected")}
    for table in found.values():
        # the sums are (2, 4), the logit 2 − 4 = −2; α1β0 gives all of it to the first: (−2, 0)
        assert row(table, "top")[["arrived", "handed_down"]].tolist() == pytest.approx([-2, -2])
    # each input of Add gets −1, which is cut off at 0
    assert row(found["paper"], "add")[["arrived", "handed_down", "leak", "relative"]].tolist() == pytest.approx([-2, 0, 2, -1])
    assert row(found["corrected"], "add")[["arrived", "handed_down", "leak"]].tolist() == pytest.approx([-2, -2, 0])
    assert row(found["corrected"], "below")["arrived"] == pytest.approx(-1)  # its half
    assert row(found["corrected"], "input")["arrived"] == pytest.approx(-2)


def test_a_model_of_mixed_precision_is_summed_up_in_float32():
    from tensorflow.keras import Sequential, layers

    top = layers.Dense(1, dtype="mixed_float16")
    net = wel.load(Sequential([layers.Input(2), top]))
    top.set_weights([np.array([[3], [-1]], "float32"), np.array([1.0001], "float32")])
    # y = 3 − 1 + 1.0001, of which the bias's share is 1.0001; float16 knows no number between 1 and 1.00098
    found = wel.leaks(net, "lrp_z", np.array([[1.0, 1.0]]))
    assert found["leak"].iloc[0] / found["arrived"].iloc[0] == pytest.approx(-1.0001 / 3.0001, rel=1e-6)


# --- invariants


def bias_free():
    """A plain network without biases: conv, relu within it, pool, conv, relu, average pooling, flatten, dense."""
    from tensorflow.keras import Sequential, layers

    stack = [
        layers.Input((8, 8, 3)),
        layers.Conv2D(5, 3, padding="same", use_bias=False, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(6, 3, use_bias=False),
        layers.ReLU(),
        layers.AveragePooling2D(),
        layers.Flatten(),
        layers.Dense(4, use_bias=False),
    ]
    return wel.load(randomized(Sequential(stack), seed=6))


@pytest.mark.parametrize("method", ["lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0"])
def test_nothing_leaks_without_biases(images, method):
    found = wel.leaks(bias_free(), method, images, semantics="corrected")
    assert found["relative"].iloc[:-1].abs().max() < 1e-5
    assert found["arrived"].iloc[-1] == pytest.approx(found["arrived"].iloc[0], rel=1e-5)


def test_with_biases_it_is_the_layers_that_have_one_that_leak(functional, images):
    found = wel.leaks(loaded(functional), "lrp_z", images).iloc[:-1]
    leaking = found[found["relative"].abs() > 1e-4]
    assert leaking["layer"].tolist() == ["dense", "hidden", "conv2", "conv1"]
    assert found["relative"].drop(leaking.index).abs().max() < 1e-6


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_reveal_cancel"])
def test_the_contributions_of_deeplift_add_up(residual, images, method):
    found = wel.leaks(loaded(residual), method, images, semantics="corrected").iloc[:-1]
    assert found["relative"].abs().max() < 1e-5
    logits = residual.predict(np.concatenate([images, np.zeros_like(images[:1])]), verbose=0)
    assert found["arrived"].iloc[0] == pytest.approx((logits[:-1].max(axis=1) - logits[-1][logits[:-1].argmax(axis=1)]).mean(), rel=1e-4)


def test_the_placeholders_of_deeplifts_pooling_show(functional, images):
    found = wel.leaks(loaded(functional), "deeplift_rescale", images)
    assert row(found, "pool")["arrived"] == 0 and row(found, "flatten")["arrived"] == 0
    assert row(found, "hidden")["relative"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("method", "semantics"),
    [(name, one) for name in METHODS for one in ("paper", "corrected") if one == "paper" or not find_method(name).same_semantics],
)
def test_all_leaks_are_what_the_input_has_more_than_the_output(residual, images, method, semantics):
    found = wel.leaks(loaded(residual), method, images, semantics=semantics)
    assert found["leak"].sum() == pytest.approx(found["arrived"].iloc[-1] - found["arrived"].iloc[0], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "model"),
    [
        *[(method, "residual") for method in (*METHODS, "deeplift_reveal_cancel")],
        # of every family one
        *[(method, model) for method in ONE_OF_EACH for model in ("nested", "shared_layer", "functional")],
    ],
)
def test_as_relevance_read_one_layer_at_a_time(request, images, method, model):
    net = loaded(request.getfixturevalue(model))
    found = wel.leaks(net, method, images).set_index("layer")
    heads = class_vectors(net, find_method(method), images, None)
    read = wel.relevance(net, method, images, "output", heads[:, None])
    for name, relevance in read.items():
        scale = np.abs(relevance).sum() / len(images)
        assert found.loc[name, "arrived"] == pytest.approx(relevance.sum() / len(images), abs=float(1e-5 * scale + 1e-6))
    fed = [source for node in net.graph.nodes for source in node.inputs]
    for node in net.graph.nodes[1:]:
        if all(fed.count(source) == 1 for source in node.inputs):
            below = sum(found.loc[net.shown(source), "arrived"] for source in node.inputs)
            assert found.loc[net.shown(node.name), "handed_down"] == pytest.approx(below, rel=1e-5, abs=1e-6)


def test_at_a_branch_all_consumers_count(residual, images):
    found = wel.leaks(loaded(residual), "lrp_alpha2_beta1", images)
    # relu1 feeds conv2 and skip
    handed = row(found, "conv2")["handed_down"] + row(found, "skip")["handed_down"]
    assert row(found, "relu1")["arrived"] == pytest.approx(handed, rel=1e-6)


# --- images, classes, memory


def test_means_over_images_whatever_fits_into_memory(residual, images, monkeypatch):
    net = loaded(residual)
    together = wel.leaks(net, "lrp_z", images)
    alone = [wel.leaks(net, "lrp_z", images[i : i + 1]) for i in range(3)]
    for column in ("arrived", "handed_down"):
        np.testing.assert_allclose(together[column], np.mean([table[column] for table in alone], axis=0), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(NativeNetwork, "images_at_once", lambda self, rows, request: 2)
    np.testing.assert_allclose(wel.leaks(net, "lrp_z", images)["arrived"], together["arrived"], rtol=1e-4, atol=1e-5)


def test_the_class_is_the_predicted_one_or_as_given(functional, images):
    net = loaded(functional)
    logits = functional.predict(images, verbose=0)
    assert wel.leaks(net, "lrp_z", images)["arrived"].iloc[0] == pytest.approx(logits.max(axis=1).mean(), rel=1e-5)
    assert wel.leaks(net, "lrp_z", images, classes=1)["arrived"].iloc[0] == pytest.approx(logits[:, 1].mean(), rel=1e-5)


def test_registered_rules_are_watched_too(images):
    class Halved(wel.Rule):
        def apply(self, site, prepared, R):
            return [R / 2]

    net = bias_free()
    wel.register_rule("ReLU", Halved(), methods="lrp_z")
    found = wel.leaks(net, "lrp_z", images)
    wel.register_rule("ReLU", None, methods="lrp_z")
    assert found.set_index("kind").loc["ReLU", ["rule", "relative"]].tolist() == ["Halved", pytest.approx(-0.5)]


def test_patterns_are_options(sequential, images):
    patterns = [layer.get_weights()[0] for layer in sequential.layers if layer.get_weights()]
    net = loaded(sequential)
    gradient = wel.leaks(net, "gradient", images)
    # with the kernels as patterns PatternNet is the gradient, times the logit
    pattern = wel.leaks(net, "pattern_net", images[:1], semantics="corrected", patterns=patterns)
    logit = sequential.predict(images[:1], verbose=0).max()
    np.testing.assert_allclose(pattern["arrived"], logit * wel.leaks(net, "gradient", images[:1])["arrived"], rtol=1e-4, atol=1e-6)
    assert gradient["layer"].tolist() == pattern["layer"].tolist()


def test_refusals(functional, images):
    net = loaded(functional)
    with pytest.raises(WelError, match="`method`: 'smoothgrad', which has maps of the input only"):
        wel.leaks(net, "smoothgrad", images)
    with pytest.raises(WelError, match="`semantics`: 'both'. Expected 'paper' or 'corrected'"):
        wel.leaks(net, "lrp_z", images, semantics="both")
    with pytest.raises(WelError, match="`classes`: 4"):
        wel.leaks(net, "lrp_z", images, classes=4)
    with pytest.raises(UnsupportedError, match="needs patterns"):
        wel.leaks(net, "pattern_net", images)


# --- the command


def test_the_command_prints_the_table(functional, tmp_path, capsys):
    functional.save(tmp_path / "tiny.h5")
    pixels = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype="uint8")
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    with pytest.raises(SystemExit) as ended:
        main(["methods", "lrp_alpha1_beta0", "--model", str(tmp_path / "tiny.h5"), "--leaks", "--images", str(tmp_path / "pictures")])
    printed = capsys.readouterr().out
    assert not ended.value.code and "tiny, paper, means over 4 images" in printed
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line.startswith("│")]
    table = wel.leaks(loaded(functional), "lrp_alpha1_beta0", pixels[:4].astype("float32") / 255)
    assert [cells[0] for cells in rows] == table["layer"].tolist() and [cells[1] for cells in rows] == table["rule"].tolist()
    assert rows[0][2] == f"{table['arrived'].iloc[0]:.4g}" and rows[-1][3:] == ["", ""]
    expected = row(table, "hidden")["relative"]
    assert dict((cells[0], cells[4]) for cells in rows)["hidden"] == f"{100 * expected:+.3g} %"
    assert dict((cells[0], cells[4]) for cells in rows)["flatten"] == "0"
