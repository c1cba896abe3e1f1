"""experiments/benchmarks: the yardstick does the work that it stands for, and ratios are those of one run's medians."""
from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wel.backends.native import NativeBackend
from wel.methods import CSC_METHODS

FOLDER = Path(__file__).parents[1] / "experiments" / "benchmarks"


def module(name: str):
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


goals, figure = module("goals"), module("figure")


@pytest.fixture(scope="module")
def case():
    return module("cases").Case.of("cifar10", 3)


def runs(**seconds) -> pd.DataFrame:
    """Runs of lrp_alpha1_beta0 on vgg16."""
    rows = [("vgg16", "lrp_alpha1_beta0", name.replace("_", " "), second) for name, several in seconds.items() for second in several]
    return pd.DataFrame(rows, columns=["network", "method", "subject", "seconds"])


# --- ratios


def test_ratios_are_those_of_medians_ours_over_the_yardstick_and_others_over_ours():
    # medians: native 3, yardstick 2, wrapped 12, original (30 + 60) / 2 = 45; 3 / 2 > 1.2, 12 / 3 >= 3, 45 / 3 >= 10
    found = goals.ratios(runs(native=[1, 3, 90], yardstick=[2, 2, 1], wrapped=[12, 11, 50], original=[30, 60])).set_index("subject")
    assert found["ratio"].to_dict() == {"yardstick": 1.5, "wrapped": 4, "original": 15}
    assert found["ours"].tolist() == [3, 3, 3] and found["theirs"].tolist() == [2, 12, 45]
    assert found["runs"].tolist() == [3, 3, 2]
    assert found["goal"].tolist() == [1.2, 3, 10]
    assert found["met"].tolist() == ["no", "yes", "yes"]


def test_a_ratio_at_its_bound_meets_it():
    found = goals.ratios(runs(native=[6], yardstick=[5], zennit=[36], sweep=[20], one_by_one=[23])).set_index("subject")
    assert found["met"].to_dict() == {"yardstick": "yes", "zennit": "yes", "one by one": "yes"}


def test_sweeps_and_first_results_are_compared_with_their_own_kind():
    found = goals.ratios(runs(native=[1], sweep=[4], one_by_one=[6], first_native=[5], first_innvestigate=[100])).set_index("subject")
    assert found["ratio"].to_dict() == {"one by one": 1.5, "first innvestigate": 20}


def test_networks_and_methods_are_kept_apart_and_what_has_no_partner_gives_no_ratio():
    other = runs(native=[8], yardstick=[2]).assign(network="resnet50")
    alone = runs(yardstick=[1]).assign(method="gradient")
    found = goals.ratios(pd.concat([runs(native=[1], yardstick=[2]), other, alone]))
    assert found[["network", "method", "ratio"]].values.tolist() == [
        ["vgg16", "lrp_alpha1_beta0", 0.5],
        ["resnet50", "lrp_alpha1_beta0", 4],
    ]


def test_no_runs_give_an_empty_table():
    assert goals.ratios(runs()).empty


@pytest.mark.parametrize("network", goals.LARGE)
@pytest.mark.parametrize("method", CSC_METHODS)
def test_every_method_has_one_goal_beside_the_yardstick(network, method):
    assert sum(goal.subject == "yardstick" and goal.holds_for(network, method) for goal in goals.GOALS) == 1


# --- runs


def test_the_yardstick_is_the_gradient_of_the_vectors_that_the_native_engine_is_given(case):
    found = module("subjects").batched_gradient(case)()
    opened, vectors = NativeBackend().open(case.net), case.vectors([case.logits])[case.logits]
    expected = opened.relevance(case.request("gradient"), case.images, case.logits, vectors, [case.net.graph.input])
    np.testing.assert_allclose(found, expected[case.net.graph.input][0], rtol=1e-4, atol=1e-6)


def test_one_round_of_one_method_gives_a_run_of_each_and_their_ratio(case, tmp_path):
    measure, subjects = module("measure"), module("subjects")
    record, told = measure.Record(), []
    chosen = {"native": subjects.native, "yardstick": subjects.yardstick}
    measure.measure_rounds(record, case, "lrp_alpha1_beta0", chosen, 1, told.append)
    table = record.table()
    assert list(table.columns) == ["network", "method", "subject", "seconds", "load", "peak_mb"]
    assert table[["network", "method", "subject"]].values.tolist() == [["cifar10", "lrp_alpha1_beta0", name] for name in chosen]
    assert (table["seconds"] > 0).all()
    module("run").write(record, tmp_path)
    ratio = pd.read_csv(tmp_path / "ratios.csv")["ratio"].item()
    assert ratio == pytest.approx(table["seconds"][0] / table["seconds"][1])
    assert {path.name for path in tmp_path.iterdir()} == {"seconds.csv", "ratios.csv", "yardstick.png", "yardstick.svg"}


def test_subjects_take_turns_and_a_slow_one_is_run_once(case):
    measure = module("measure")
    record, order = measure.Record(), []

    def subject(name: str, seconds: float):
        return lambda case, method: nullcontext(lambda: order.append(name) or seconds)

    measure.measure_rounds(record, case, "gradient", {"quick": subject("quick", 1), "slow": subject("slow", 21)}, 3, lambda text: None)
    assert order == ["quick", "slow", "quick", "slow", "quick", "quick"]
    assert record.table().groupby("subject")["seconds"].count().to_dict() == {"quick": 3, "slow": 1}


def test_a_subject_that_lacks_the_method_is_left_out_with_its_reason(case):
    measure, subjects = module("measure"), module("subjects")
    record = measure.Record()
    measure.measure_rounds(record, case, "gradient", {"zennit": subjects.zennit(sys.executable)}, 1, lambda text: None)
    assert record.rows == []
    (reason,) = record.left_out.values()
    assert reason.startswith("zennit is measured for lrp_alpha1_beta0")


def test_memory_is_that_of_the_command_and_not_of_who_starts_it():
    def measured(code: str) -> dict:
        command = [sys.executable, str(FOLDER / "measured.py"), sys.executable, "-c", code]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    ballast = b"1" * (120 << 20)
    small, large = measured("print('done')"), measured("b'1' * (200 << 20)")
    assert len(ballast) and small["output"] == "done\n" and small["code"] == 0
    assert small["peak_mb"] < 100 < 200 <= large["peak_mb"] < 400
    assert measured("raise SystemExit(3)")["code"] == 3


# --- figures


def test_figures_show_a_panel_per_network_and_a_bar_per_ratio():
    both = pd.concat([runs(native=[1], yardstick=[2], wrapped=[30]), runs(native=[3], yardstick=[2]).assign(network="resnet50")])
    found = goals.ratios(both)
    drawn = figure.bars(found[found["subject"] == "yardstick"], "title")
    assert [axes.get_title() for axes in drawn.axes] == ["vgg16", "resnet50"]
    assert [bar.get_width() for axes in drawn.axes for bar in axes.patches] == [0.5, 1.5]
