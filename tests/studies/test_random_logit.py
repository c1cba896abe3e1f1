"""wel.random_logit: against a naive replica, on networks whose maps can or cannot depend on the class, interrupted and repeated."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import loaded, of_methods
from interruption import Interrupting
from scipy import stats

import wel
from wel.errors import UnsupportedError, WelError
from wel.measures.similarity import ssim
from wel.studies.maps import attribution
from wel.studies.random_logit import other_classes

COLUMNS = "model method semantics backend measure images values nan_fraction median mean ci_low ci_high baseline".split()
IMAGE_COLUMNS = "method semantics image true_class class_from other_class ssim".split()


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


# --- the other class


def test_another_class_is_never_the_true_one_and_all_others_are_equally_likely():
    true = np.arange(6000) % 5
    offset = (other_classes(true, 5, seed=1) - true) % 5
    counts = np.bincount(offset, minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3


def test_another_class_depends_on_seed_and_image_only():
    true = np.full(40, 3)
    found = other_classes(true, 1000, seed=2)
    np.testing.assert_array_equal(other_classes(true[:7], 1000, seed=2), found[:7])
    assert (other_classes(true, 1000, seed=3) != found).mean() > 0.9
    assert len(set(found)) > 30


def test_with_two_classes_it_is_the_other_one():
    np.testing.assert_array_equal(other_classes(np.array([0, 1, 1]), 2, seed=0), [1, 0, 0])


def test_one_class_has_no_other(images):
    from tensorflow.keras import Sequential, layers

    net = wel.load(Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1)]))
    with pytest.raises(UnsupportedError, match="^A random other class needs two classes or more. Received a network with one logit.$"):
        wel.random_logit(net, images)


# --- the numbers


def check_summary(row: pd.Series, expected: list[float]) -> None:
    """The row's statistics; the interval of up to three values reaches from the smallest to the largest."""
    kept = [value for value in expected if not np.isnan(value)]
    assert row["images"] == 3 and row["values"] == len(kept) and row["nan_fraction"] == 1 - len(kept) / 3
    if len(kept) > 1:
        assert row["median"] == np.median(kept) and row["mean"] == pytest.approx(np.mean(kept), rel=1e-14)
        assert (row["ci_low"], row["ci_high"]) == (min(kept), max(kept))


@pytest.mark.parametrize(("semantics", "backend"), [("paper", "native"), ("corrected", "native"), ("paper", "wrapped")])
def test_a_naive_replica_gives_the_same(net, images, semantics, backend):
    reductions = {
        "gradient": lambda m: np.abs(m).max(-1),
        "rectgrad": lambda m: np.abs(m).max(-1),
        "deep_taylor": lambda m: m.sum(-1),
        "smoothgrad": lambda m: np.abs(m).max(-1),
    }
    options = {"smoothgrad": {"samples": 3}, "rectgrad": {"percentile": 30}}  # at 98 nothing of so small a network is left
    settings = {"semantics": semantics, "backend": backend, "seed": 4}
    result = wel.random_logit(net, images, list(reductions), [0, 1, 3], options=options, **settings)
    assert list(result.table.columns) == COLUMNS and list(result.images.columns) == IMAGE_COLUMNS
    other = result.images["other_class"][:3].tolist()
    assert other == other_classes(np.array([0, 1, 3]), 4, 4).tolist()
    for name, reduced in reductions.items():
        one, two = (reduced(attribution(net, name, images, classes, **settings, **options.get(name, {}))) for classes in ([0, 1, 3], other))
        percentile = 100 if name == "rectgrad" else 99.5
        expected = [ssim(a, b, semantics, percentile) for a, b in zip(one, two)]
        rows = result.images[result.images["method"] == name]
        np.testing.assert_array_equal(rows["ssim"], expected)
        check_summary(result.table[result.table["method"] == name].iloc[0], expected)
    assert result.table["values"].sum() > 6


def test_a_network_whose_logits_are_one_number_has_one_map(images):
    from tensorflow.keras import Sequential, layers

    stack = [layers.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3, use_bias=False)]
    model = Sequential(stack)
    rng = np.random.default_rng(0)
    kernel, bias, last = (rng.standard_normal(array.shape) for array in model.get_weights())
    model.set_weights([kernel, bias, np.outer(last[:, 0], [1, 2, 4])])  # powers of two scale float32 exactly
    methods = ["gradient", "lrp_z", "lrp_alpha1_beta0", "deeplift_rescale"]
    insensitive = of_methods(wel.random_logit(wel.load(model), images, methods).table)
    np.testing.assert_allclose(insensitive["median"], 1, rtol=0, atol=1e-6)
    model.set_weights([kernel, bias, last])
    sensitive = wel.random_logit(wel.load(model), images, methods).table.set_index("method")["median"]
    assert sensitive["gradient"] < 0.8 and sensitive["lrp_z"] < 0.8


def test_classes_from_labels_and_predictions_are_told_apart(net, functional, images):
    predicted = functional.predict(images, verbose=0).argmax(axis=1)
    rows = of_methods(wel.random_logit(net, images, "gradient", [None, 2, None]).images)
    assert rows["true_class"].tolist() == [predicted[0], 2, predicted[2]]
    assert rows["class_from"].tolist() == ["prediction", "label", "prediction"]
    assert (rows["true_class"] != rows["other_class"]).all()


def test_an_image_does_not_depend_on_the_others(net, images):
    whole = wel.random_logit(net, images, ["gradient", "guided_backprop"], [0, 1, 2]).images
    part = wel.random_logit(net, images[:2], ["gradient", "guided_backprop"], [0, 1]).images
    pd.testing.assert_frame_equal(whole[whole["image"] < 2].reset_index(drop=True), part, rtol=1e-5)


def test_both_semantics_are_each_alone(residual, images):
    net, methods = loaded(residual), ["gradient", "lrp_alpha1_beta0"]
    both = wel.random_logit(net, images, methods, semantics="both")
    order = both.table[["method", "semantics"]].to_numpy().tolist()
    assert order == [[method, one] for method in [*methods, "random", "edges"] for one in ("paper", "corrected")]
    for one in ("paper", "corrected"):
        alone = wel.random_logit(net, images, methods, semantics=one)
        for mine, theirs in ((both.table, alone.table), (both.images, alone.images)):
            pd.testing.assert_frame_equal(mine[mine["semantics"] == one].reset_index(drop=True), theirs)


# --- runs


ARGUMENTS = {"methods": ["gradient", "lrp_alpha1_beta0", "smoothgrad"], "seed": 1, "options": {"smoothgrad": {"samples": 2}}}
FILES = ("random_logit.csv", "random_logit_images.csv")


def test_an_interrupted_run_goes_on_and_ends_in_the_same_files(net, images, tmp_path):
    whole = Interrupting()
    wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "whole", steps=whole)
    assert (whole.total, whole.done) == (15, 15)  # 3 methods and 2 controls × 3 images
    for after in (1, 6, 15):
        with pytest.raises(KeyboardInterrupt):
            wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=Interrupting(after))
        assert not any((tmp_path / "parts" / file).exists() for file in FILES)
    steps = Interrupting()
    wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "parts", steps=steps)
    assert steps.done == 15
    for file in FILES:
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted([*FILES, "run.json"])


def test_a_finished_run_is_read_again(net, images, tmp_path):
    first = wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "run")
    again = wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "run", steps=Interrupting(after=0))  # nothing is computed
    pd.testing.assert_frame_equal(again.table, first.table, check_exact=True)
    pd.testing.assert_frame_equal(again.images, first.images, check_exact=True)


def test_the_record_says_what_decided_the_numbers(net, images, tmp_path):
    wel.random_logit(net, images, "gradient", [0, None, 2], seed=3, out=tmp_path / "run", context={"images": ["a", "b", "c"]})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    request = record["request"]
    assert record["finished"] and record["context"]["images"] == ["a", "b", "c"]
    assert request["study"] == "random_logit" and request["seed"] == 3 and request["weights_sha256"] == net.weights_hash()
    assert request["classes"][::2] == [0, 2] and request["classes_from"] == ["label", "prediction", "label"]


CHANGES = [{"seed": 2}, {"methods": ["gradient"]}, {"semantics": "both"}, {"classes": [0, 0, 0]}, {"images": None}]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_with_other_settings_is_kept(net, images, tmp_path, change):
    wel.random_logit(net, images, **ARGUMENTS, out=tmp_path / "run")
    kept = (tmp_path / "run" / FILES[0]).read_bytes()
    other = {**ARGUMENTS, **change, "images": images[::-1] if "images" in change else images}
    with pytest.raises(WelError, match="^Invalid value for `out`: .*a run with other settings"):
        wel.random_logit(net, **other, out=tmp_path / "run")
    assert (tmp_path / "run" / FILES[0]).read_bytes() == kept
