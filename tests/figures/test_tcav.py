"""The figure of TCAV: what is drawn is what the table says, and the same data give the same bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from wel.figures.tcav import COLORS, tcav_figure, write_tcav_figure

pytestmark = pytest.mark.filterwarnings("error")

NUMBERS = {
    "stripes": {"score": 0.9, "ci_low": 0.8, "ci_high": 1.02, "significant": True, "separable": True},
    "dots": {"score": 0.55, "ci_low": 0.4, "ci_high": 0.7, "significant": False, "separable": True},
    "checks": {"score": 0.1, "ci_low": 0.0, "ci_high": 0.2, "significant": True, "separable": False},
}
CONTROL = {"control": 0.45, "control_low": 0.3, "control_high": 0.6}


def table(stages=("original",), classes=(3,), layers=("relu4", "relu2")) -> pd.DataFrame:
    key = {"model": "small", "pictures": 30, "counterparts": 5, "images": 4}
    return pd.DataFrame(
        [
            {**key, "stage": stage, "class": one, "layer": layer, "layer_index": int(layer[-1]), "concept": name, **numbers, **CONTROL}
            for stage in stages
            for one in classes
            for layer in layers
            for name, numbers in NUMBERS.items()
        ]
    )


def test_scores_intervals_and_the_control_are_those_of_the_table():
    figure = tcav_figure(table())
    assert [axes.get_title() for axes in figure.axes] == ["class 3 · relu4", "class 3 · relu2"]
    assert figure.get_label() == "small · TCAV · 5 × 30 pictures of each set"
    axes = figure.axes[0]
    control, *lines = axes.lines
    assert set(control.get_xdata()) == {0.45}
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.3, 0.6))
    for (name, numbers), color, interval, mean in zip(NUMBERS.items(), COLORS, lines[::2], lines[1::2]):
        # an interval ends at 1
        assert list(interval.get_xdata()) == pytest.approx([numbers["ci_low"], min(numbers["ci_high"], 1)])
        assert list(mean.get_xdata()) == [numbers["score"]] and to_hex(mean.get_color()) == color
        assert (mean.get_marker() == "x") == (name == "checks")
        assert (mean.get_markerfacecolor() == "white") == (name == "dots")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NUMBERS)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [""] * 3


def test_stages_have_a_row_of_panels_of_their_own():
    rows = table(("original", "fc", "conv"), (3, 5), ("relu4",))
    rows.loc[rows["stage"] == "conv", "score"] = 0.25
    figure = tcav_figure(rows)
    assert len(figure.axes) == 4 and [axes.get_title() for axes in figure.axes[::2]] == ["class 3 · relu4", "class 5 · relu4"]
    stripes, *_, control = figure.axes[1].lines
    assert list(stripes.get_ydata()) == [0.9, 0.9, 0.25] and list(control.get_ydata()) == [0.45] * 3
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["original", "fc", "conv"]


def test_many_stages_and_concepts_have_room():
    many = pd.concat([table([f"layer{i}" for i in range(40)]).assign(concept=f"concept {k}") for k in range(3)])
    many = many.drop_duplicates(["stage", "layer", "concept"])
    assert len(tcav_figure(many).axes[-1].get_xticks()) == 12


def test_the_same_data_give_the_same_bytes(tmp_path):
    first, second = (write_tcav_figure(table(("original", "fc")), tmp_path / "new" / name) for name in ("first", "second"))
    assert [path.name for path in first] == ["tcav.png", "tcav.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_names_that_cannot_be_drawn():
    odd = table().replace({"concept": {"dots": "a\n$\\frac$ " + "x" * 60}})
    figure = tcav_figure(odd)
    assert np.isfinite(figure.get_tightbbox().bounds).all()
