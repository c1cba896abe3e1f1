"""The figure of faithfulness: what is drawn is what the tables say, and the same data give the same bytes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from wel.errors import WelError
from wel.figures.faithfulness import faithfulness_figure, sufficiency_figure, write_faithfulness_figure, write_sufficiency_figure

pytestmark = pytest.mark.filterwarnings("error")

METHODS = {
    "gradient": SimpleNamespace(label="Gradient", mark="v", color="#000000"),
    "grad_cam": SimpleNamespace(label="Grad-CAM", mark="M", color="#56b4e9"),
    "random": SimpleNamespace(label="Random", mark="N", color="#949494"),
}
SHARES = [0.0, 0.5, 1.0]
CURVES = {"grad_cam": [9.0, 1.0, 0.0], "random": [9.0, 4.0, 0.0]}
GAINS = {"grad_cam": (3.0, 2.0, 5.0), "random": (np.nan, np.nan, np.nan)}


def tables(semantics="paper") -> tuple[pd.DataFrame, pd.DataFrame]:
    key = {"model": "small", "semantics": semantics, "images": 7}
    columns = ("median", "ci_low", "ci_high")
    gains = [{**key, "method": name, "measure": "gain", **dict(zip(columns, values))} for name, values in GAINS.items()]
    others = [{**key, "method": name, "measure": "deletion", **dict(zip(columns, (1.0, 0.0, 2.0)))} for name in GAINS]
    curves = [
        {**key, "method": name, "order": order, "share": share, "median": value + (order == "least")}
        for name, values in CURVES.items()
        for order in ("most", "least")
        for share, value in zip(SHARES, values)
    ]
    return pd.DataFrame(gains + others), pd.DataFrame(curves).sample(frac=1, random_state=3)


def test_curves_and_gains_are_those_of_the_tables():
    most, least, gains = faithfulness_figure(*tables(), METHODS).axes
    drawn = {to_hex(line.get_color()): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in most.lines}
    assert drawn == {"#56b4e9": (SHARES, CURVES["grad_cam"]), "#949494": (SHARES, CURVES["random"])}
    assert least.lines[0].get_ydata().tolist() == [10, 2, 1] and least.get_ylim() == most.get_ylim()
    interval, median, *_ = gains.lines
    assert [line.get_xdata().tolist() for line in (interval, median)] == [[2, 5], [3]]
    assert [label.get_text() for label in gains.get_yticklabels()] == ["Grad-CAM", "Random"]


def test_both_semantics_have_a_row_each():
    table, curves = (pd.concat(pair) for pair in zip(tables("corrected"), tables()))
    figure = faithfulness_figure(table, curves, METHODS)
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["median score, paper", "median score, corrected"]
    assert figure.get_label() == "small · faithfulness · 7 images · paper and corrected semantics"


def test_the_same_data_give_the_same_bytes(tmp_path):
    table, curves = tables()
    first = write_faithfulness_figure(table, curves, METHODS, tmp_path / "new" / "first")
    second = write_faithfulness_figure(table[::-1], curves[::-1], METHODS, tmp_path / "second")
    assert [path.name for path in first] == ["faithfulness.png", "faithfulness.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_bad_tables_are_one_clear_sentence():
    table, curves = tables()
    with pytest.raises(WelError, match="^Invalid value for `method`: 'magic'. Expected one of gradient, grad_cam, random.$"):
        faithfulness_figure(table.assign(method="magic"), curves, METHODS)
    with pytest.raises(WelError, match="^Invalid value for `semantics`: 'mine'. Expected one of paper, corrected.$"):
        faithfulness_figure(table.assign(semantics="mine"), curves, METHODS)


def kept_table(semantics="paper") -> pd.DataFrame:
    rows = [
        {
            "model": "small",
            "semantics": semantics,
            "images": 7,
            "method": name,
            "class_rank": rank,
            "kept": 1 - share,
            "predicted": value / rank,
        }
        for name, values in {"grad_cam": [1.0, 0.5, 0.1], "random": [1.0, 0.2, 0.1]}.items()
        for rank in (1, 2)
        for share, value in zip(SHARES, values)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=3)


def test_every_class_has_a_panel():
    own, other = sufficiency_figure(kept_table(), METHODS).axes
    drawn = {to_hex(line.get_color()): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in other.lines}
    assert drawn == {"#56b4e9": ([0, 0.5, 1], [0.05, 0.25, 0.5]), "#949494": ([0, 0.5, 1], [0.05, 0.1, 0.5])}
    assert [axes.get_title() for axes in (own, other)] == ["the image's class", "other class 1"] and own.get_ylim() == other.get_ylim()
    both = sufficiency_figure(pd.concat([kept_table("corrected"), kept_table()]), METHODS)
    assert [axes.get_ylabel() for axes in both.axes[::2]] == ["predicted, share of images, paper", "predicted, share of images, corrected"]
    assert both.get_label() == "small · sufficiency · 7 images · paper and corrected semantics"


def test_the_figure_of_sufficiency_is_written(tmp_path):
    first = write_sufficiency_figure(kept_table(), METHODS, tmp_path / "new" / "first")
    second = write_sufficiency_figure(kept_table()[::-1], METHODS, tmp_path / "second")
    assert [path.name for path in first] == ["sufficiency.png", "sufficiency.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
