"""wel.studies.map_study: the bootstrap against its exact distribution, SSIM of pairs, classes, and which methods "all" are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from conftest import loaded, of_methods, randomized
from scipy import stats

import wel
from wel.errors import UnsupportedError, WelError
from wel.measures.cosine import chance_level
from wel.measures.intervals import median_interval, summary
from wel.measures.similarity import similarity, ssim
from wel.methods.registry import PAPER_METHODS, choose_map_methods
from wel.studies.map_study import true_classes


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


# --- the median and its interval


def test_summary_by_hand():
    # 0.1, 0.2, 0.6 and one NaN: median 0.2, mean 0.9/3; of three draws two or three are 0.1 with probability 7/27, so the interval
    # reaches from the smallest to the largest
    found = summary(np.array([0.6, 0.1, np.nan, 0.2]), seed=0)
    assert found == pytest.approx(
        {"images": 4, "values": 3, "nan_fraction": 0.25, "median": 0.2, "mean": 0.3, "ci_low": 0.1, "ci_high": 0.6}, rel=1e-15
    )


@pytest.mark.parametrize("n", [21, 101, 201])
def test_interval_is_that_of_the_exact_distribution(n):
    # For odd n the resample's median is at most the k-th smallest value when (n + 1)/2 draws or more are:
    # P(M ≤ k) = P(Binomial(n, k/n) ≥ (n + 1)/2). Values are their own ranks.
    ranks = np.arange(1, n + 1)
    below = stats.binom.sf((n + 1) // 2 - 1, n, ranks / n)
    low, high = (ranks[np.searchsorted(below, level)] for level in (0.005, 0.995))
    found = median_interval(np.random.default_rng(1).permutation(ranks.astype(float)), seed=3)
    assert np.abs(np.subtract(found, (low, high))).max() <= 1  # 10,000 resamples place a 0.5 % quantile to within 0.07 %


def test_interval_depends_on_the_seed_only():
    values = np.random.default_rng(0).random(40)
    assert median_interval(values, 5) == median_interval(values.copy(), 5)
    assert median_interval(np.full(7, 0.25), 5) == (0.25, 0.25)


def test_without_two_values_there_is_no_interval():
    one = summary(np.array([0.5, np.nan]), 0)
    assert (one["median"], one["values"]) == (0.5, 1) and np.isnan([one["ci_low"], one["ci_high"]]).all()
    none = summary(np.array([np.nan]), 0)
    assert none["nan_fraction"] == 1 and np.isnan([none["median"], none["mean"], none["ci_low"]]).all()


# --- similarity


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_similarity_is_ssim_of_the_reduced_maps_image_by_image(semantics):
    one, other = np.random.default_rng(0).standard_normal((2, 3, 7, 6, 4))
    for reduction, flat in (("sum", lambda maps: maps.sum(-1)), ("max_abs", lambda maps: np.abs(maps).max(-1))):
        found = similarity(one, other, reduction, 95, semantics)
        expected = [ssim(flat(one[i]), flat(other[i]), semantics, 95) for i in range(3)]
        np.testing.assert_array_equal(found, expected)


def test_a_map_without_spread_has_no_similarity():
    maps = np.random.default_rng(0).standard_normal((2, 6, 6, 3))
    found = similarity(maps, maps * np.array([1, 0]).reshape(2, 1, 1, 1), "sum", 99.5, "paper")
    assert found[0] == pytest.approx(1, abs=1e-12) and np.isnan(found[1])


# --- classes and methods


def test_classes_are_given_or_predicted(net, functional, images):
    predicted = functional.predict(images, verbose=0).argmax(axis=1).tolist()
    assert true_classes(net, images, None).index.tolist() == predicted
    found = true_classes(net, images, [3, None, 0])
    assert found.index.tolist() == [3, predicted[1], 0]
    assert found.known_from.tolist() == ["label", "prediction", "label"]


@pytest.mark.parametrize("given", [[0, 1], [0, 1, 4], [0, 1, -1], [0, 1, 0.5], ["0", "1", "2"]])
def test_classes_that_the_network_does_not_have(net, images, given):
    with pytest.raises(WelError, match="^Invalid value for `classes`: .*Expected 3 whole numbers from 0 to 3, or None where "):
        true_classes(net, images, given)


def test_labels_of_one_logit_name_no_logit(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, activation="sigmoid")]))
    for given in (None, [0, 1, 1], [1, None, 0]):
        found = true_classes(net, images, given)
        assert found.index.tolist() == [0, 0, 0] and found.known_from.tolist() == ["prediction"] * 3
    with pytest.raises(WelError, match="Expected 3 whole numbers from 0 to 1, or None where "):
        true_classes(net, images, [0, 1, 2])


def test_a_network_without_a_vector_of_logits(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3)]))
    with pytest.raises(WelError, match=r"^Invalid value for `net`: its output has shape \(6, 6, 2\). Expected one vector of logits"):
        wel.random_logit(net, images)


def test_all_methods_are_those_of_the_papers_figure():
    assert [method.name for method in choose_map_methods("all")] == [*PAPER_METHODS, "smoothgrad"]
    assert [method.name for method in choose_map_methods(["excitation_backprop", "lrp_z", "lrp_z"])] == ["excitation_backprop", "lrp_z"]


@pytest.mark.parametrize("study", ["random_logit", "cascading_randomization"])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"methods": "nope"}, "^Invalid value for `method`: 'nope'. Expected one of gradient, "),
        ({"methods": []}, r"^Invalid value for `methods`: \[\]. Expected 'all' or one or more methods.$"),
        ({"classes": [9, 9, 9]}, r"^Invalid value for `classes`: \[9, 9, 9\]. Expected 3 whole numbers from 0 to 3"),
        ({"seed": -1}, "^Invalid value for `seed`: -1. Expected a whole number from 0 on.$"),
        ({"seed": 0.5}, "^Invalid value for `seed`: 0.5. Expected a whole number from 0 on.$"),
        ({"semantics": "nope"}, "^Invalid value for `semantics`: 'nope'. Expected one of paper, corrected, both.$"),
        ({"backend": "nope"}, "^Invalid value for `backend`: 'nope'. Expected one of .*wrapped, "),
        ({"backend": "original", "semantics": "both"}, "^Invalid value for `semantics`: 'both'. Expected 'paper', "),
        ({"options": {"nope": {}}}, "^Invalid value for `method`: 'nope'."),
        ({"options": {"gradient": {"low": 1}}}, "^Invalid value for `options`: 'low'. Expected for gradient: none.$"),
        ({"images": np.ones((2, 8, 8, 4))}, r"^Invalid value for `images`: .*\(2, 8, 8, 4\). Expected shape \(n, 8, 8, 3\).$"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_nothing_is_written(net, images, tmp_path, study, arguments, sentence):
    with pytest.raises(WelError, match=sentence) as caught:
        getattr(wel, study)(**{"net": net, "images": images, "methods": "gradient", "out": tmp_path / "run", **arguments})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(12,), (9, 2), (4, 4, 4, 1), (4, 8, 3)])
def test_maps_that_are_no_pictures_are_compared_by_cosine_and_rank_correlation(shape):
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input(shape), layers.Flatten(), layers.Dense(6, activation="relu", name="hidden"), layers.Dense(4, name="dense")]
    net, inputs = wel.load(randomized(Sequential(stack))), np.random.default_rng(0).random((3, *shape), dtype="float32")
    found = wel.random_logit(net, inputs, "gradient", classes=[0, 1, 2], seed=1)
    assert found.table["measure"].tolist() == ["cosine", "rank_correlation"] * 3
    assert found.table["baseline"].iloc[0] == chance_level(int(np.prod(shape))) and np.isnan(found.table["baseline"].iloc[1])
    one, other = (wel.attribution(net, "gradient", inputs, classes) for classes in ([0, 1, 2], found.images["other_class"][:3].tolist()))
    for i, (a, b) in enumerate(zip(one, other)):
        cosine = abs(a.ravel() @ b.ravel()) / (np.linalg.norm(a) * np.linalg.norm(b))
        assert found.images["cosine"][i] == pytest.approx(cosine, abs=1e-6)
        assert found.images["rank_correlation"][i] == pytest.approx(abs(stats.spearmanr(a.ravel(), b.ravel())[0]), abs=1e-12)
    cascade = wel.cascading_randomization(net, inputs, "gradient", classes=[0, 1, 2])
    table = of_methods(cascade.table)
    assert table[["stage", "measure"]].values.tolist() == [
        [stage, measure] for stage in ("dense", "hidden") for measure in ("cosine", "rank_correlation")
    ]
    assert table["values"].tolist() == [3] * 4


def test_inputs_of_one_value_have_no_map():
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((1,)), layers.Dense(3)]))
    with pytest.raises(WelError, match="^Invalid value for `model`: .*Expected a network whose inputs hold two values or more"):
        wel.random_logit(net, np.ones((1, 1)), "gradient")


@pytest.fixture(scope="module")
def soft():
    from tensorflow.keras import Sequential, layers

    return wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4, "tanh", name="soft"), layers.Dense(3)]))


@pytest.mark.parametrize("study", ["random_logit", "cascading_randomization"])
def test_methods_that_do_not_apply_are_left_out_of_all_and_refused_by_name(soft, images, tmp_path, study):
    sentence = "^Method 'rectgrad' .*'soft'.*tanh"
    with pytest.raises(UnsupportedError, match=sentence):
        getattr(wel, study)(soft, images, ["gradient", "rectgrad"], out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    result = getattr(wel, study)(soft, images[:1], out=tmp_path / "run", options={"smoothgrad": {"samples": 2}})
    assert re.match(sentence, result.skipped["rectgrad"])
    assert "patterns" in result.skipped["pattern_net"]
    assert {"gradient", "smoothgrad", "lrp_z", "deeplift_rescale"} <= set(result.table["method"])
    assert set(result.table["method"]).isdisjoint(result.skipped)
    again = getattr(wel, study)(soft, images[:1], out=tmp_path / "run", options={"smoothgrad": {"samples": 2}})
    assert again.skipped == result.skipped


def test_a_backend_that_does_not_compute_the_method_is_refused(soft, images):
    with pytest.raises(UnsupportedError, match="^Invalid value for `backend`: 'deeplift' does not compute smoothgrad"):
        wel.random_logit(soft, images, ["smoothgrad"], backend="deeplift")
