"""The figures of the sanity checks: what is drawn is what the tables say, nothing overlaps, the same data give the same bytes."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex

from wel.errors import WelError
from wel.figures import sanity as figures
from wel.measures.likeness import MEASURES
from wel.methods.registry import METHODS as REGISTRY

pytestmark = pytest.mark.filterwarnings("error")

METHODS = {
    "gradient": SimpleNamespace(label="Gradient", mark="v", color="#000000"),
    "lrp_alpha1_beta0": SimpleNamespace(label="LRP α1β0", mark="1", color="#029e73"),
    "pattern_attribution": SimpleNamespace(label="PatternAttribution", mark="$P$", color="#d55e00"),
}
VALUES = {"gradient": [0.1, 0.2, 0.3, 0.4, 0.5], "lrp_alpha1_beta0": [0.9, 0.91, 0.92, 0.93, 0.3]}
MEDIANS = {"gradient": [0.4, 0.3, 0.1], "lrp_alpha1_beta0": [1.0, 0.9, np.nan]}  # from the last layer down
STAGES = ["fc2", "fc1", "conv1"]


def logit_tables(values=VALUES, semantics="paper", model="small"):
    columns = {"semantics": semantics, "model": model, "measure": "ssim"}
    table = pd.DataFrame([{"method": name, "images": len(ssim), **columns} for name, ssim in values.items()])
    images = pd.DataFrame([{"method": name, "ssim": one, **columns} for name, ssim in values.items() for one in ssim])
    return table.sample(frac=1, random_state=3), images.sample(frac=1, random_state=3)


def stage_table(medians=MEDIANS, stages=STAGES, semantics="paper", model="small", band=0.05):
    rows = [
        {
            "model": model,
            "method": name,
            "semantics": semantics,
            "stage": stage,
            "stage_index": index,
            "measure": "ssim",
            "images": 7,
            "order": "top-down",
            "maps": "signed",
            "samples": 1,
            "noise_scale": 0.0,
            "activation_correlation": 0.25 + 0.01 * index,
            "median": median,
            "ci_low": median - band,
            "ci_high": min(median + band, 1),
        }
        for name, values in medians.items()
        for index, (stage, median) in enumerate(zip(stages, values), start=1)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=3)


def both(make, **settings):
    """A table, or two of them, under both semantics."""
    made = [make(semantics=one, **settings) for one in ("corrected", "paper")]
    return pd.concat(made) if isinstance(made[0], pd.DataFrame) else tuple(map(pd.concat, zip(*made)))


def boxes(axes):
    """(left, right, centre) of each box, and its colour."""
    found = []
    for patch in axes.patches:
        corners = patch.get_path().vertices
        (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
        found.append((left, right, round((low + high) / 2, 9), to_hex(patch.get_edgecolor())))
    return found


def names(labels):
    return [label.get_text() for label in labels]


# --- random logit


def test_boxes_hold_the_middle_half_and_end_at_the_last_image_within_reach():
    (axes,) = figures.random_logit_figure(*logit_tables(), METHODS).axes
    # quartiles of 0.1 … 0.5: 0.2 and 0.4; of 0.3, 0.9, 0.91, 0.92, 0.93: 0.9 and 0.92
    assert [box[:2] for box in boxes(axes)] == [pytest.approx((0.2, 0.4)), pytest.approx((0.9, 0.92))]
    lines = [tuple(np.round(line.get_xdata(), 10)) for line in axes.lines]
    assert (0.3, 0.3) in lines and (0.91, 0.91) in lines  # medians
    # whiskers: within 0.3 of 0.2 and of 0.4; within 0.03 of 0.9 and 0.92, which leaves 0.3 out: a dot
    assert {(0.2, 0.1), (0.4, 0.5), (0.9, 0.9), (0.92, 0.93), (0.3,)} <= set(lines)
    assert names(axes.get_yticklabels()) == ["Gradient", "LRP α1β0"]
    assert axes.get_ylim() == (1.5, -0.5) and axes.get_xlim() == pytest.approx((-0.02, 1.02))


def test_boxes_have_the_methods_colours_in_the_order_of_the_methods():
    backwards = dict(reversed(list(METHODS.items())))
    (axes,) = figures.random_logit_figure(*logit_tables(), backwards).axes
    assert names(axes.get_yticklabels()) == ["LRP α1β0", "Gradient"]
    assert [box[3] for box in boxes(axes)] == ["#029e73", "#000000"]


def test_two_semantics_stand_side_by_side():
    figure = figures.random_logit_figure(*both(logit_tables), METHODS)
    assert [box[2] for box in boxes(figure.axes[0])] == [-0.2, 0.2, 0.8, 1.2]
    assert names(figure.legends[0].get_texts()) == ["paper semantics", "corrected semantics"]
    shades = [patch.get_facecolor()[0] for patch in figure.axes[0].patches[:2]]
    assert shades[0] < shades[1]


def test_values_below_zero_are_in_sight_and_undefined_ones_left_out():
    values = {"gradient": [-0.3, np.nan, 0.1, np.nan], "lrp_alpha1_beta0": [np.nan] * 4}
    (axes,) = figures.random_logit_figure(*logit_tables(values), METHODS).axes
    assert boxes(axes)[0][:2] == pytest.approx((-0.2, 0.0)) and axes.get_xlim()[0] == pytest.approx(-0.32)
    assert names(axes.get_yticklabels()) == ["Gradient", "LRP α1β0"]


# --- cascading


def test_lines_are_the_medians_from_the_last_layer_down():
    (axes,) = figures.cascading_figure(stage_table(), METHODS).axes
    gradient, alpha, activations = (line.get_ydata() for line in axes.lines)
    np.testing.assert_array_equal(gradient, [0.4, 0.3, 0.1])
    np.testing.assert_array_equal(alpha, [1.0, 0.9, np.nan])
    np.testing.assert_allclose(activations, [0.26, 0.27, 0.28])
    assert names(axes.get_xticklabels()) == STAGES
    assert [line.get_color() for line in axes.lines] == ["#000000", "#029e73", "#555555"]


def test_bands_are_the_intervals_and_marks_lie_on_the_line():
    (axes,) = figures.cascading_figure(stage_table({"gradient": [0.4, 0.3, 0.1]}), METHODS).axes
    (band,) = [part for part in axes.collections if isinstance(part, FillBetweenPolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [0.05, 0.45])
    (marks,) = [part for part in axes.collections if part is not band]
    np.testing.assert_array_equal(marks.get_offsets(), [[0, 0.4], [1, 0.3], [2, 0.1]])


def test_one_stage_is_a_mark():
    (axes,) = figures.cascading_figure(stage_table({"gradient": [0.4]}, ["fc"]), METHODS).axes
    np.testing.assert_array_equal(axes.collections[1].get_offsets(), [[0, 0.4]])


def test_many_stages_have_few_labels_and_marks_the_first_and_last_label_among_them():
    stages = [f"res{number}_branch2a" for number in range(107)]
    table = stage_table({"gradient": np.linspace(0.5, 0.1, 107), "lrp_alpha1_beta0": np.linspace(1, 0.9, 107)}, stages)
    (axes,) = figures.cascading_figure(table, METHODS).axes
    labels = names(axes.get_xticklabels())
    assert (labels[0], labels[-1], len(labels)) == (stages[0], stages[-1], 25)
    first, second = (part.get_offsets()[:, 0].tolist() for part in axes.collections[1::2])
    assert first == list(range(0, 107, 9)) and second == list(range(4, 107, 9))  # ⌈107/12⌉ = 9, the second line's shifted by half


def test_two_semantics_have_a_panel_each():
    corrected = stage_table({"gradient": [0.2, 0.1, 0.05]}, semantics="corrected")
    figure = figures.cascading_figure(pd.concat([corrected, stage_table()]), METHODS)
    paper, other = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["paper semantics", "corrected semantics"]
    np.testing.assert_array_equal(paper.lines[0].get_ydata(), [0.4, 0.3, 0.1])
    line, _ = other.lines
    np.testing.assert_array_equal(line.get_ydata(), [0.2, 0.1, 0.05])
    assert names(other.get_xticklabels()) == STAGES and paper.get_ylim() == other.get_ylim()
    assert names(figure.legends[0].get_texts()) == ["Gradient", "LRP α1β0", "activations"]


def several_measures(values, **settings):
    """A table of several measures: names -> medians of each method."""
    return pd.concat([stage_table(medians, **settings).assign(measure=name) for name, medians in values.items()])


def test_every_measure_has_a_row_of_panels():
    values = {"complexity_rise": {"gradient": [0.5, 3.0, -0.5]}, "cosine": {"gradient": [0.4, 0.3, 0.1]}}
    figure = figures.cascading_figure(several_measures(values), METHODS)
    cosine, rise = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["|cos|", "rise of complexity"]
    np.testing.assert_array_equal(cosine.lines[0].get_ydata(), [0.4, 0.3, 0.1])
    (line,) = rise.lines  # a rise is no correlation, which activations have
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 3.0, -0.5])
    assert cosine.get_ylim() == (-0.02, 1.02) and rise.get_ylim()[1] > 3
    # of |cos| and rank correlation, which maps that are no pictures are compared by, |cos| is drawn
    both = {name: {"gradient": [0.1, 0.2, 0.3]} for name in ("cosine", "rank_correlation")}
    assert len(figures.cascading_figure(several_measures(both), METHODS).axes) == 1


def test_the_title_and_the_axis_say_what_was_done():
    table = stage_table().assign(order="bottom-up", samples=50, noise_scale=0.1, maps="absolute")
    figure = figures.cascading_figure(table, METHODS)
    assert "bottom-up randomisation · maps of 50 noisy images, σ = 0.1 of the range · absolute maps" in figure.get_label()
    assert figure._supxlabel.get_text() == "randomised from the first layer up to this one"


# --- both


def all_methods(columns):
    rng = np.random.default_rng(0)
    return {name: rng.random(columns) for name in REGISTRY}


LONG = [f"block{number}/a_very_long_name_of_a_layer#2" for number in range(40)]
FIGURES = {
    "logit": lambda: figures.random_logit_figure(*logit_tables(all_methods(9), model="m" * 200), REGISTRY),
    "logit, one": lambda: figures.random_logit_figure(*logit_tables({"gradient": [0.5]}), REGISTRY),
    "logit, both": lambda: figures.random_logit_figure(*both(logit_tables, values=all_methods(9)), REGISTRY),
    "stages": lambda: figures.cascading_figure(stage_table(all_methods(40), LONG, model="m" * 200), REGISTRY),
    "stages, one": lambda: figures.cascading_figure(stage_table({"gradient": [0.5]}, ["a"]), REGISTRY),
    "stages, measures": lambda: figures.cascading_figure(
        both(several_measures, values=dict.fromkeys(MEASURES, all_methods(9)), stages=LONG[:9]), REGISTRY
    ),
    "stages, both": lambda: figures.cascading_figure(both(stage_table, medians=all_methods(3)), REGISTRY),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_nothing_overlaps(draw):
    figure = draw()
    figure.canvas.draw()
    found = [axes.get_tightbbox() for axes in figure.axes]
    found += [part.get_window_extent() for part in (figure._suptitle, figure._supxlabel, *figure.legends) if part]
    assert not any(one.overlaps(other) for number, one in enumerate(found) for other in found[:number])
    for labels in (labels for axes in figure.axes for labels in (axes.get_xticklabels(), axes.get_yticklabels())):
        extents = [label.get_window_extent() for label in labels]
        assert not any(one.overlaps(other) for one, other in zip(extents, extents[1:]))
    for box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_titles_name_model_study_images_and_semantics():
    assert figures.random_logit_figure(*logit_tables(), METHODS).get_label() == "small · random logit · 5 images · paper semantics"
    one = figures.random_logit_figure(*logit_tables({"gradient": [0.5]}, "corrected"), METHODS)
    assert one.get_label() == "small · random logit · 1 image · corrected semantics"
    title = figures.cascading_figure(both(stage_table), METHODS).get_label()
    assert title == "small · cascading randomisation · 7 images · paper and corrected semantics"


def test_hostile_names_are_drawn_literally(tmp_path):
    methods = {"gradient": SimpleNamespace(label="$\\nope$ <&>", mark="v", color="#000000")}
    table = stage_table({"gradient": [0.1, 0.2]}, ["a$b", "x^2_{y} $\\frac{"], model="$E$")
    _, svg = figures.write_cascading_figure(table, methods, tmp_path)
    texts = {node.text for node in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"a$b", "x^2_{y} $\\frac{", "$\\nope$ <&>", "$E$ · cascading randomisation"} <= texts


def test_the_same_data_give_the_same_bytes_whatever_the_row_order_and_the_callers_style(tmp_path):
    def write(folder, order):
        logits = (table[::order] for table in logit_tables())
        written = figures.write_random_logit_figure(*logits, METHODS, folder)
        return written + figures.write_cascading_figure(stage_table()[::order], METHODS, folder)

    first = write(tmp_path / "new" / "first", 1)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        second = write(tmp_path / "second", -1)
        assert dict(matplotlib.rcParams) == before
    assert [path.name for path in first] == ["random_logit.png", "random_logit.svg", "cascading.png", "cascading.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_bad_tables_are_one_clear_sentence():
    with pytest.raises(WelError, match="^Invalid value for `method`: 'magic'. Expected one of gradient, "):
        figures.cascading_figure(stage_table({"magic": [0.1]}), METHODS)
    with pytest.raises(WelError, match="^Invalid value for `semantics`: 'mine'. Expected one of paper, corrected.$"):
        figures.random_logit_figure(*logit_tables(semantics="mine"), METHODS)
