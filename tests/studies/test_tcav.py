"""TCAV: a planted concept and an unrelated one, a plain replica on TensorFlow's tape, randomisation, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import loaded
from interruption import Interrupting

import wel
from wel.backends.native.backend import NativeNetwork
from wel.errors import WelError
from wel.measures.separation import inner_products, separated
from wel.measures.significance import larger_than_all, mean_interval, welch
from wel.studies.cascading import Fresh
from wel.studies.tcav import _drawn, _sets, logit_gradients


def pictures(count: int, seed: int, shape=(8, 8, 3)) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *shape), dtype="float32")


@pytest.fixture(scope="module")
def given() -> dict:
    """Concepts and random pictures of the small networks."""
    bright = pictures(15, 1)
    bright[..., 0] += 0.5
    return {"concepts": {"red": bright, "none": pictures(12, 2)}, "random": pictures(40, 3), "counterparts": 4}


@pytest.fixture(scope="module")
def planted():
    """Logit 0 is the sum of ReLU(red − ½) over places, logit 1 that of green's negative; blue is of use to none of them."""
    from tensorflow.keras import Sequential, layers

    stack = [
        layers.Input((8, 8, 3)),
        layers.Conv2D(3, 1, name="colours"),
        layers.ReLU(name="relu"),
        layers.Flatten(),
        layers.Dense(2, use_bias=False, name="dense"),
    ]
    model = Sequential(stack)
    kernel = np.zeros((8, 8, 3, 2))
    kernel[..., 0, 0], kernel[..., 1, 1] = 1, -1
    model.set_weights([np.eye(3).reshape(1, 1, 3, 3), np.array([-0.5, 0, 0]), kernel.reshape(-1, 2)])
    return wel.load(model)


def of_concept(result, concept: str, **more):
    rows = result.table[result.table["concept"] == concept]
    for name, value in more.items():
        rows = rows[rows[name] == value]
    (row,) = rows.to_dict("records")
    return row


def test_a_planted_concept_and_an_unrelated_one(planted):
    concepts = {}
    for channel, name in enumerate(("red", "green", "blue")):
        concepts[name] = pictures(400, channel)  # many: what a few have in common by chance is a concept too
        concepts[name][..., channel] += 0.5
    settings = {"classes": [0] * 10 + [1] * 5, "of": [0, 1], "layers": "colours"}
    found = wel.tcav(planted, pictures(15, 5), concepts, pictures(400, 6), **settings)
    # every place with red above ½ raises logit 0, every place raises logit 1 by less green
    for concept, chosen, score in (("red", 0, 1), ("green", 1, 0)):
        row = of_concept(found, concept, **{"class": chosen})
        assert row["score"] == score and row["significant"] and row["separable"] and row["accuracy"] == 1
        assert row["ci_low"] == row["ci_high"] == score and abs(row["control"] - 0.5) < 0.3
    for chosen in (0, 1):
        unrelated = of_concept(found, "blue", **{"class": chosen})
        assert 0.2 < unrelated["score"] < 0.8 and not unrelated["significant"]
        assert unrelated["separable"]  # it is there, but nothing that the logit asks for


def test_random_pictures_are_no_concept(planted):
    row = of_concept(wel.tcav(planted, pictures(9, 5), {"anything": pictures(40, 7)}, pictures(100, 6), layers="colours"), "anything")
    assert not row["separable"] and not row["significant"] and 0.3 < row["accuracy"] < 0.7


def test_accuracy_is_held_against_sets_of_random_pictures(functional, given):
    """Each set of the control against every counterpart; a concept that is such a set is not separable, however many counterparts agree."""
    net, settings = loaded(functional), {**given, "layers": "hidden", "classes": [1] * 6}
    found = wel.tcav(net, pictures(6, 4), **settings)
    sets = _sets(net, given["concepts"], given["random"], 50, 4, 0)
    assert sets.drawn == 0.5 and not set(sets.control.ravel()) & set(sets.negative.ravel())
    values = net.values(sets.pictures, "hidden")
    products = inner_products(values, values)
    chance = [np.mean([separated(products, 7, one, other).accuracy for other in sets.negative]) for one in sets.control]
    for row in found.table.to_dict("records"):
        assert row["control_accuracy"] == pytest.approx(np.mean(chance))
        # two concepts, one layer
        assert row["p_separable"] == pytest.approx(min(1, 2 * larger_than_all(row["accuracy"], np.array(chance), 0.5)))
        assert row["separable"] == (row["p_separable"] < 0.05)


def taped(net, layer: str, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """∂(logit of each image's class)/∂(a layer's values) by TensorFlow's tape, (n, values) float64."""
    import tensorflow as tf

    values = tf.constant(net.values(images, layer))
    with tf.GradientTape() as tape:
        tape.watch(values)
        logits = net.graph.run({net.graph.input: tf.constant(images), layer: values}, net.graph.output)
        score = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
    return tape.gradient(score, values).numpy().astype("float64").reshape(len(images), -1)


@pytest.mark.parametrize("name", ["functional", "residual", "shared_layer"])
def test_derivatives_are_the_tapes(name, request):
    net, images, classes = loaded(request.getfixturevalue(name)), pictures(5, 0), np.array([0, 1, 3, 3, 2])
    layers = ["conv1", "hidden"] if name == "functional" else ["relu3", "add"] if name == "residual" else ["conv", "relu#2"]
    found = logit_gradients(net, images, classes, layers)
    for layer in layers:
        np.testing.assert_allclose(found[layer], taped(net, layer, images, classes), rtol=1e-4, atol=1e-6)


def replica(net, layer: str, images, chosen: int, given: dict, seed: int) -> dict[str, tuple[list[float], list[float]]]:
    """Scores and accuracies of every concept and of the control, with scikit-learn on the values as they are."""
    from sklearn.linear_model import LogisticRegression

    derivatives = taped(net, layer, images, np.full(len(images), chosen))
    size = min(len(given["random"]) // 4, *map(len, given["concepts"].values()))
    control, others = np.array_split(_drawn(seed, "random", given["counterparts"], len(given["random"])), 2)
    seen = size - size // 3
    found = {}
    for name in (*given["concepts"], "random"):
        scores, accuracies = [], []
        for number in range(given["counterparts"]):
            pool = given["random"][control] if name == "random" else given["concepts"][name]
            positive = pool[_drawn(seed, name, number, len(pool))[:size]]
            negative = given["random"][others][_drawn(seed, "counterpart", number, len(others))[:size]]
            both = [net.values(one, layer).reshape(size, -1).astype("float64") for one in (positive, negative)]
            learned, held = (np.concatenate([one[part] for one in both]) for part in (slice(seen), slice(seen, None)))
            mean = learned.mean(axis=0)
            scale = np.sqrt(((learned - mean) ** 2).mean())
            model = LogisticRegression(tol=1e-9, max_iter=10_000).fit((learned - mean) / scale, [1] * seen + [0] * seen)
            right = model.predict((held - mean) / scale) == np.repeat([1, 0], size - seen)
            scores.append((derivatives @ model.coef_[0] > 0).mean())
            accuracies.append(right.mean())
        found[name] = scores, accuracies
    return found


@pytest.mark.parametrize("layer", ["conv2", "hidden"])
def test_scores_are_a_plain_replicas(functional, given, layer):
    net, images = loaded(functional), pictures(11, 4)
    found = wel.tcav(net, images, **given, layers=layer, classes=[2] * 11, seed=3)
    expected = replica(net, layer, images, 2, given, seed=3)
    for name, (scores, accuracies) in expected.items():
        rows = found.scores[found.scores["concept"] == name]
        assert rows["score"].tolist() == pytest.approx(scores) and rows["accuracy"].tolist() == pytest.approx(accuracies)
    row, (one, _), (control, _) = of_concept(found, "none"), expected["none"], expected["random"]
    assert (row["t"], row["p"]) == pytest.approx(welch(np.array(one), np.array(control)))
    # two concepts, one layer, one class: two tests
    assert row["p_corrected"] == pytest.approx(min(1, 2 * row["p"]))
    assert row["score"] == pytest.approx(np.mean(one)) and row["control"] == pytest.approx(np.mean(control))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(mean_interval(np.array(one)))
    assert (row["images"], row["pictures"], row["counterparts"]) == (11, 10, 4)


def test_the_same_numbers_whatever_the_batch(functional, given, monkeypatch):
    net, settings = loaded(functional), {**given, "layers": ["conv2", "hidden"], "of": [0, 1], "classes": [0, 1] * 6}
    one = wel.tcav(net, pictures(12, 4), **settings)
    monkeypatch.setattr(NativeNetwork, "images_at_once", lambda *arguments: 1)
    monkeypatch.setattr("wel.networks.network.PREDICTED_AT_ONCE", 5)
    other = wel.tcav(net, pictures(12, 4), **settings)
    assert one.scores.equals(other.scores) and one.table.equals(other.table)
    assert not wel.tcav(net, pictures(12, 4), **settings, seed=1).scores.equals(one.scores)


def test_stages_are_those_of_a_network_with_these_weights(functional, given):
    from tensorflow.keras.models import clone_model

    net, images = loaded(functional), pictures(12, 4)
    settings = {**given, "layers": ["conv2", "hidden"], "classes": [1] * 12, "seed": 2}
    before = net.weights_hash()
    found = wel.tcav(net, images, **settings, stages=["dense", "hidden", "conv1"])
    assert net.weights_hash() == before
    assert found.table["stage"].unique().tolist() == ["original", "dense", "hidden", "conv1"]
    fresh, order = Fresh(net, 2), ["conv1", "conv2", "hidden", "dense"]
    for stage in ("dense", "hidden", "conv1"):
        model = clone_model(functional)
        model.set_weights(functional.get_weights())
        for name in order[order.index(stage) :]:
            model.get_layer(name).set_weights(fresh[name])
        expected = wel.tcav(wel.load(model), images, **settings).scores
        here = found.scores[found.scores["stage"] == stage]
        np.testing.assert_array_equal(here[["score", "accuracy"]], expected[["score", "accuracy"]])
    assert found.scores.query("stage == 'original' and layer == 'hidden'")["score"].tolist() != (
        found.scores.query("stage == 'dense' and layer == 'hidden'")["score"].tolist()
    )


def test_what_is_written_is_read_and_an_interrupted_run_goes_on(functional, given, tmp_path):
    net, images = loaded(functional), pictures(12, 4)
    settings = {**given, "layers": ["conv2", "hidden"], "stages": ["dense"]}
    whole = wel.tcav(net, images, **settings)
    # 65 pictures are drawn, at two layers and two stages: it ends at the third place
    with pytest.raises(KeyboardInterrupt):
        wel.tcav(net, images, **settings, out=tmp_path / "run", steps=Interrupting(2 * 65 + 1))
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 2
    again = wel.tcav(net, images, **settings, out=tmp_path / "run", steps=(steps := Interrupting()))
    assert steps.done == steps.total == 4 * 65
    read = wel.tcav(net, images, **settings, out=tmp_path / "run")
    for result in (again, read):
        assert result.scores.equals(whole.scores) and result.table.equals(whole.table)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["finished"] and record["request"]["layers"] == ["conv2", "hidden"] and record["request"]["pictures"] == 10
    with pytest.raises(WelError, match="this one holds a run with other settings \\(concepts\\)"):
        wel.tcav(net, images, **{**settings, "concepts": {"red": pictures(15, 8), "none": pictures(12, 2)}}, out=tmp_path / "run")


def test_an_image_has_its_own_classs_derivative(functional, given):
    """Several classes at once are what each of them is alone."""
    net, images, known = loaded(functional), pictures(12, 4), [0, 3, 1] * 4
    both = wel.tcav(net, images, **given, classes=known, of=[3, 0]).scores
    for one in (3, 0):
        alone = wel.tcav(net, images[np.array(known) == one], **given, classes=[one] * 4).scores
        np.testing.assert_array_equal(both[both["class"] == one]["score"], alone["score"])


def test_the_layer_and_the_class_by_default(functional, given):
    found = wel.tcav(loaded(functional), pictures(5, 4), **given, classes=[3, 1, 3, 1, 0])
    assert found.table["layer"].unique().tolist() == ["conv2"] and found.table["class"].unique().tolist() == [1]


def test_a_network_with_one_logit_has_class_0():
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    found = wel.tcav(
        wel.load(Sequential(stack)), pictures(4, 0, (6, 6, 1)), {"some": pictures(10, 1, (6, 6, 1))}, pictures(40, 2, (6, 6, 1))
    )
    assert found.table["class"].tolist() == [0] and found.table["images"].tolist() == [4]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"concepts": {"few": pictures(9, 0)}}, "^Invalid value for `concept`: 'few'. Expected 10 pictures or more. Received 9.$"),
        ({"concepts": {}}, "^Invalid value for `concept`: \\[\\]. Expected one concept or more, none of them called 'random'"),
        ({"concepts": {"random": pictures(10, 0)}}, "^Invalid value for `concept`: \\['random'\\]. Expected one concept or more, none"),
        ({"concepts": {"small": pictures(10, 0, (4, 4, 3))}}, "^Invalid value for `concept`: an array of shape \\(10, 4, 4, 3\\)"),
        ({"random": pictures(39, 0)}, "^Invalid value for `random`: '39 pictures'. Expected 40 or more.$"),
        ({"random": np.full((40, 8, 8, 3), np.nan)}, "^Invalid value for `random`: values of float64 or not finite"),
        ({"layers": "conv9"}, "^Invalid value for `layer`: 'conv9'. Expected one of input, output, conv1, "),
        ({"layers": "output"}, "^Invalid value for `layer`: 'dense'. Expected a layer below the output that depends on the input.$"),
        ({"layers": []}, "^Invalid value for `layer`: \\[\\]. Expected one layer or more.$"),
        ({"of": 2}, "^Invalid value for `class`: 2. Expected a class that images have: one of 0, 1.$"),
        ({"of": []}, "^Invalid value for `class`: \\[\\]. Expected one class or more: one of 0, 1.$"),
        ({"of": "cat"}, "^Invalid value for `class`: 'cat'. Expected a class that images have: one of 0, 1.$"),
        ({"classes": [0, 9]}, "^Invalid value for `classes`: "),
        ({"stages": ["flatten", "nope"]}, "^Invalid value for `stages`: 'nope'. Expected one of "),
        ({"pictures": 9}, "^Invalid value for `pictures`: 9. Expected a whole number from 10 on.$"),
        ({"counterparts": 2}, "^Invalid value for `counterparts`: 2. Expected a whole number from 3 on.$"),
        ({"seed": -1}, "^Invalid value for `seed`: -1. Expected a whole number from 0 on.$"),
    ],
)
def test_a_mistake_is_one_sentence(functional, given, settings, sentence, tmp_path):
    with pytest.raises(WelError, match=sentence):
        wel.tcav(loaded(functional), pictures(2, 4), **{"classes": [0, 1], **given, **settings}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_without_convolutions_needs_a_layer(given):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(5, name="first"), layers.Dense(2)]))
    with pytest.raises(WelError, match="^Invalid value for `layer`: None. Expected the name of a layer: the network has no convolution"):
        wel.tcav(net, pictures(3, 0), **given)
    assert len(wel.tcav(net, pictures(3, 0), **given, layers=["first", "input"]).table) == 4


def test_values_that_do_not_fit_into_memory(functional, given, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 10**5})())
    with pytest.raises(
        WelError, match="^Invalid value for `layer`: 'conv2'. Expected layers whose values at 68 pictures and images fit into half of"
    ):
        wel.tcav(loaded(functional), pictures(3, 0), **given)
