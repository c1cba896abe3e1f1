"""experiments/benchmarks: the yardstick does the work that it stands for, and ratios are those of one run's medians."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import imported

from wel.backends.native.backend import NativeBackend
from wel.backends.request import relevance_at
from wel.methods.registry import CSC_METHODS

FOLDER = Path(__file__).parents[2] / "experiments" / "benchmarks"
module = partial(imported, FOLDER)
goals, figure = module("goals"), module("figure")


@pytest.fixture(scope="module")
def case():
    return module("cases").Case.of("cifar10", 3)


def runs(beside: str, ours: list[float], theirs: list[float], method: str = "lrp_alpha1_beta0", network: str = "vgg16") -> pd.DataFrame:
    rows = [(network, method, beside, whose, second) for whose, several in (("ours", ours), ("theirs", theirs)) for second in several]
    return pd.DataFrame(rows, columns=["network", "method", "beside", "whose", "seconds"])


# --- ratios


def test_ratios_are_those_of_medians_ours_over_the_yardstick_and_others_over_ours():
    # medians: 3 / 2 = 1.5 > 1.1; 12 / 3 = 4 >= 3; (30 + 60) / 2 / 5 = 9 < 10
    several = [runs("yardstick", [1, 3, 90], [2, 2, 1]), runs("wrapped", [3], [12, 11, 50]), runs("original", [5, 5], [30, 60])]
    found = goals.ratios(pd.concat(several)).set_index("beside")
    assert found["ratio"].to_dict() == pytest.approx({"yardstick": 1.5, "wrapped": 4, "original": 9})
    assert found["ours"].tolist() == [3, 3, 5] and found["theirs"].tolist() == [2, 12, 45]
    assert found["runs"].tolist() == [3, 3, 2]
    assert found["goal"].tolist() == [1.1, 3, 10]
    assert found["met"].tolist() == ["no", "yes", "no"]


def test_a_ratio_at_its_bound_meets_it():
    found = goals.ratios(pd.concat([runs("yardstick", [11], [10]), runs("zennit", [1], [6])]))
    assert found["met"].tolist() == ["yes", "yes"]


def test_networks_and_methods_are_kept_apart_and_what_has_no_partner_gives_no_ratio():
    several = [runs("yardstick", [1], [2]), runs("yardstick", [8], [2], network="resnet50"), runs("yardstick", [], [1], "gradient")]
    found = goals.ratios(pd.concat(several))
    assert found[["network", "method", "ratio"]].values.tolist() == [
        ["vgg16", "lrp_alpha1_beta0", 0.5],
        ["resnet50", "lrp_alpha1_beta0", 4],
    ]


def test_no_runs_give_an_empty_table():
    assert goals.ratios(runs("yardstick", [], [])).empty


@pytest.mark.parametrize("network", goals.LARGE)
@pytest.mark.parametrize("method", CSC_METHODS)
def test_every_method_has_one_goal_beside_the_yardstick(network, method):
    assert sum(goal.beside == "yardstick" and goal.holds_for(network, method) for goal in goals.GOALS) == 1


# --- runs


def test_the_yardstick_is_the_gradient_of_the_vectors_that_the_native_engine_is_given(case):
    found = module("subjects").batched_gradient(case)()
    opened, vectors = NativeBackend().open(case.net), case.vectors([case.logits])[case.logits]
    expected = relevance_at(opened, case.request("gradient"), case.images, case.logits, vectors, [case.net.graph.input])
    np.testing.assert_allclose(found, expected[case.net.graph.input][0], rtol=1e-4, atol=1e-6)


def test_one_round_of_one_method_gives_a_run_of_each_and_their_ratio(case, tmp_path):
    measure, subjects = module("measure"), module("subjects")
    record = measure.Record()
    measure.measure_turns(record, case, "lrp_alpha1_beta0", "yardstick", (subjects.native, subjects.yardstick), 1)
    table = record.table()
    assert list(table.columns) == ["network", "method", "beside", "whose", "seconds", "load", "peak_mb"]
    assert sorted(table["whose"]) == ["ours", "theirs"] and (table["seconds"] > 0).all()
    assert table[["network", "method", "beside"]].drop_duplicates().values.tolist() == [["cifar10", "lrp_alpha1_beta0", "yardstick"]]
    module("run").show(record, tmp_path)
    seconds = table.set_index("whose")["seconds"]
    assert pd.read_csv(tmp_path / "ratios.csv")["ratio"].item() == pytest.approx(seconds["ours"] / seconds["theirs"])
    assert {path.name for path in tmp_path.iterdir()} == {"seconds.csv", "ratios.csv", "yardstick.png", "yardstick.svg"}


def test_the_yardstick_is_tensorflow_as_it_is_installed_and_ours_its_fastest_arithmetic(case, monkeypatch):
    subjects, given = module("subjects"), []

    @contextmanager
    def loop(*command, environment):
        given.append((command[2], environment))
        yield lambda: 1.0

    monkeypatch.setattr(subjects, "_loop", loop)
    for subject in (subjects.yardstick, subjects.fastest):
        with subject(case, "lrp_z") as run:
            assert run() == 1
    assert given == [
        ("gradient", {"WEL_ARITHMETIC": "default", "TF_CPU_ALLOCATOR_USE_BFC": "false"}),
        ("native", {"WEL_ARITHMETIC": "fastest"}),
    ]


def test_two_take_turns_and_a_slow_one_is_run_once(case):
    measure = module("measure")
    record, order = measure.Record(), []

    def subject(name: str, seconds: float):
        return lambda case, method: nullcontext(lambda: order.append(name) or seconds)

    measure.measure_turns(record, case, "gradient", "original", (subject("quick", 1), subject("slow", 21)), 3)
    assert order == ["slow", "quick", "slow", "quick", "quick", "quick"]
    assert record.table().groupby("whose")["seconds"].count().to_dict() == {"ours": 3, "theirs": 1}


def test_who_lacks_the_method_is_left_out_with_the_reason(case):
    measure, subjects = module("measure"), module("subjects")
    record = measure.Record()
    measure.measure_turns(record, case, "gradient", "zennit", (subjects.native, subjects.zennit(sys.executable)), 1)
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
    found = goals.ratios(pd.concat([runs("yardstick", [1], [2]), runs("yardstick", [3], [2], network="resnet50")]))
    drawn = figure.bars(found, "title")
    assert [axes.get_title() for axes in drawn.axes] == ["vgg16", "resnet50"]
    assert [bar.get_width() for axes in drawn.axes for bar in axes.patches] == [0.5, 1.5]
