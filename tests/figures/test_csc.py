"""The CSC figures: what is drawn is what the table says, nothing overlaps, the same data give the same bytes."""

from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from wel.errors import WelError
from wel.figures import csc as figures
from wel.figures import style as drawing
from wel.figures.curves import _thinned

pytestmark = pytest.mark.filterwarnings("error")

METHODS = {
    "gradient": SimpleNamespace(label="Gradient", mark="v", color="#000000"),
    "lrp_alpha1_beta0": SimpleNamespace(label="LRP α1β0", mark="1", color="#029e73"),
    "lrp_alpha2_beta1": SimpleNamespace(label="LRP α2β1", mark="2", color="#029e73"),
    "pattern_attribution": SimpleNamespace(label="PatternAttribution", mark="$P$", color="#d55e00"),
}
LAYERS = ["input", "conv1", "conv2", "fc1"]
MEDIANS = {"gradient": [0.5, 0.3, 0.2, 0.1], "lrp_alpha1_beta0": [1.0, 0.999, 0.99, 0.9]}  # from the input upwards


def make_table(medians=MEDIANS, layers=LAYERS, start="fc2", semantics="paper", model="small", band=0.01, images=7):
    rows = [
        {
            "model": model,
            "method": method,
            "semantics": semantics,
            "backend": "native",
            "start": start,
            "layer": layer,
            "layer_index": index,
            "images": images,
            "vectors": 5,
            "median": median,
            "ci_low": median - band,
            "ci_high": min(median + band, 1),
            "baseline": 0.5 if index == 0 else 0.085,
        }
        for method, values in medians.items()
        for index, (layer, median) in enumerate(zip(layers, values))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=3)


def make_deep_table(count=177):
    layers = ["input"] + [f"conv{number}_branch2a" for number in range(1, count)]
    values = 1 - 10.0 ** -np.linspace(6, 0.1, count)
    return make_table({"gradient": values / 2, "lrp_alpha1_beta0": values}, layers, "dense", "paper", "resnet50", 0.0)


def lines_of(axes):
    return [np.asarray(line.get_ydata(), float) for line in axes.lines]


def tick_names(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def legend_names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_left_panel_draws_the_medians_from_the_start_layer_down():
    linear, _ = figures.csc_figure(make_table(), METHODS, "fc2").axes
    gradient, alpha, baseline = lines_of(linear)
    assert tick_names(linear) == ["fc1", "conv2", "conv1", "input"]
    np.testing.assert_array_equal(gradient, [0.1, 0.2, 0.3, 0.5])
    np.testing.assert_array_equal(alpha, [0.9, 0.99, 0.999, 1.0])
    np.testing.assert_array_equal(baseline, [0.085, 0.085, 0.085, 0.5])
    assert linear.get_ylim() == (0, 1)


def test_right_panel_is_minus_log10_of_one_minus_the_median_with_one_on_the_top_edge():
    _, nines = figures.csc_figure(make_table(band=0), METHODS, "fc2").axes
    gradient, alpha, _ = lines_of(nines)
    # -log10(1 - 0.999) = 3 is the largest below 1, so 1 lies one step above it, at 4
    np.testing.assert_allclose(alpha, [1, 2, 3, 4], rtol=1e-12)
    np.testing.assert_allclose(gradient, [0.0457575, 0.09691, 0.1549020, 0.3010300], atol=1e-7)  # -log10 of 0.9, 0.8, 0.7, 0.5
    assert nines.get_ylim() == (0, 4)
    assert [label.get_text() for label in nines.get_yticklabels()] == ["0", "0.9", "0.99", "0.999", "1"]
    assert "exactly 1" in nines.get_title(loc="right")


def test_without_a_value_of_one_the_scale_ends_in_nines_and_has_no_note():
    _, nines = figures.csc_figure(make_table({"gradient": [0.9995, 0.5]}, band=0), METHODS, "fc2").axes
    assert [label.get_text() for label in nines.get_yticklabels()] == ["0", "0.9", "0.99", "0.999", "0.9999"]
    assert nines.get_title(loc="right") == ""


def test_band_spans_the_bootstrap_interval_and_is_absent_without_one():
    linear, _ = figures.csc_figure(make_table(), METHODS, "fc2").axes
    heights = linear.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([heights.min(), heights.max()], [0.09, 0.51])  # 0.1 - 0.01 and 0.5 + 0.01
    alone = make_table(images=1).assign(ci_low=np.nan, ci_high=np.nan)
    linear, _ = figures.csc_figure(alone, METHODS, "fc2").axes
    assert len(linear.lines) == 3
    assert not [path for band in linear.collections[::2] for path in band.get_paths() if len(path.vertices)]


def test_undefined_layers_break_the_line_and_a_lone_point_keeps_its_mark():
    table = make_table({"gradient": [0.5, np.nan, 0.2, np.nan], "lrp_alpha1_beta0": [0.9, 0.8, 0.7, 0.6]})
    linear, _ = figures.csc_figure(table, METHODS, "fc2").axes
    np.testing.assert_array_equal(lines_of(linear)[0], [np.nan, 0.2, np.nan, 0.5])
    marks = linear.collections[1].get_offsets()
    np.testing.assert_allclose(marks, [[1, 0.2], [3, 0.5]])


def test_a_layer_that_one_method_lacks_breaks_its_line():
    table = make_table()
    linear, _ = figures.csc_figure(table[~((table.method == "gradient") & (table.layer == "conv2"))], METHODS, "fc2").axes
    np.testing.assert_array_equal(lines_of(linear)[0], [0.1, np.nan, 0.3, 0.5])


def test_a_method_that_is_undefined_everywhere_is_drawn_as_nothing():
    table = make_table({"gradient": [np.nan] * 4, "lrp_alpha1_beta0": [0.9, 0.8, 0.7, 0.6]})
    linear, _ = figures.csc_figure(table, METHODS, "fc2").axes
    assert np.isnan(lines_of(linear)[0]).all() and len(linear.collections[1].get_offsets()) == 0


def test_every_line_has_its_colour_and_marks_on_the_line():
    figure = figures.csc_figure(make_deep_table(), METHODS, "dense")
    for axes in figure.axes:
        assert [line.get_color() for line in axes.lines] == ["#000000", "#029e73", "#555555"]
        # 177 // 4 = 44 apart, the second of two lines shifted by half of that
        for line, marks, expected in zip(axes.lines, axes.collections[1::2], ([0, 44, 88, 132, 176], [22, 66, 110, 154])):
            places, heights = np.asarray(marks.get_offsets()).T
            np.testing.assert_array_equal(places, expected)
            np.testing.assert_allclose(heights, np.asarray(line.get_ydata())[expected])


def test_legend_follows_the_order_of_the_methods_and_leaves_out_what_is_not_drawn():
    medians = {"pattern_attribution": [0.9] * 4, **MEDIANS}
    backwards = dict(reversed(list(METHODS.items())))
    assert legend_names(figures.csc_figure(make_table(medians), METHODS, "fc2")) == [
        "Gradient",
        "LRP α1β0",
        "PatternAttribution",
        "random baseline",
    ]
    assert legend_names(figures.csc_figure(make_table(medians), backwards, "fc2"))[0] == "PatternAttribution"


def test_two_semantics_are_solid_and_dashed():
    table = pd.concat([make_table(semantics="corrected"), make_table()])
    figure = figures.csc_figure(table, METHODS, "fc2")
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "-", "--", "--", "-"]
    assert legend_names(figure)[-2:] == ["paper semantics", "corrected semantics"]
    assert [line.get_linestyle() for line in figure.legends[0].get_lines()[-2:]] == ["-", "--"]


def test_title_names_model_start_images_vectors_and_semantics():
    table = make_table()
    assert figures.csc_figure(table, METHODS, "fc2").get_label() == "small · start layer fc2 · 7 images, 5 vectors · paper semantics"
    table["images"] = np.where(table.method == "gradient", 1, 7)
    assert "1–7 images" in figures.csc_figure(table, METHODS, "fc2").get_label()
    assert "1 image," in figures.csc_figure(make_table(images=1), METHODS, "fc2").get_label()


@pytest.mark.parametrize("count", [1, 2, 17, 25, 26, 49, 51, 175, 600])
def test_thinned_labels_keep_first_and_last_and_their_distance(count):
    places = _thinned(count)
    assert places[0] == 0 and places[-1] == count - 1 and len(places) <= 25
    assert len(places) == count or np.diff(places).min() >= np.diff(places)[0] > 1


def test_deep_network_labels_its_first_and_last_layer():
    figure = figures.csc_figure(make_deep_table(), METHODS, "dense")
    for axes in figure.axes:
        names = tick_names(axes)
        assert names[0] == "conv176_branch2a" and names[-1] == "input" and len(names) <= 25


@pytest.mark.parametrize("table", [make_table(), make_deep_table(), make_table(start="long/name#2" * 9, model="model" * 30)])
def test_nothing_overlaps(table):
    figure = figures.csc_figure(table, METHODS, table["start"].iloc[0])
    figure.canvas.draw()
    boxes = [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent(), figure._supxlabel.get_window_extent()]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    for axes in figure.axes:
        labels = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert not any(left.overlaps(right) for left, right in zip(labels, labels[1:]))
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])
    assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)


def test_hostile_names_are_drawn_literally(tmp_path):
    layers = ["a$b", "x^2_{y} $\\frac{", "new\nline\x00\u202e", "模型<b>&" + "long" * 40]
    methods = {"gradient": SimpleNamespace(label="$\\nope$ <&>", mark="v", color="#000000")}
    table = make_table({"gradient": [0.1, 0.2, 0.3, 0.4]}, layers, "$start$", model="$E=mc^2$ " + "m" * 99)
    png, svg = figures.write_csc_figures(table, methods, tmp_path)
    assert (png.name, svg.name) == ("csc__start_.png", "csc__start_.svg")
    texts = [node.text for node in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"a$b", "x^2_{y} $\\frac{", "new line��", "$\\nope$ <&>"} <= set(texts)
    long = [text for text in texts if text.startswith("��<b>&")]
    assert long and all(len(text) == 22 and "…" in text for text in long)


def test_shown_cuts_the_middle_out():
    assert drawing.shown("abcdefghij", 10) == "abcdefghij"
    assert drawing.shown("abcdefghijk", 10) == "abcde…hijk"
    assert drawing.shown("abcdefghijk", 9) == "abcd…hijk"


def test_histogram_bars_are_shares_of_all_values():
    first = [1] * 9 + [1, 2, 3, 5]  # 20 values: 9 below 0.9
    second = [0] * 9 + [0, 0, 0, 20]
    figure = figures.histogram_figure({"lrp_alpha1_beta0": second, "gradient": first}, METHODS, "fc2", "input")
    gradient, alpha = figure.axes[0].containers
    # of 40 values: 9, 1, 2, 3, 5 and 0, 0, 0, 0, 20
    np.testing.assert_allclose([bar.get_height() for bar in gradient], [22.5, 2.5, 5, 7.5, 12.5])
    np.testing.assert_allclose([bar.get_height() for bar in alpha], [0, 0, 0, 0, 50])
    np.testing.assert_allclose([bar.get_y() for bar in gradient], [0, 0, 0, 0, 50])  # first of the legend, top of the stack
    assert [text.get_text() for text in figure.axes[0].texts] == ["22.5 %", "2.5 %", "5.0 %", "7.5 %", "62.5 %"]
    assert legend_names(figure) == ["Gradient", "LRP α1β0"]
    assert figure.get_label() == "CSC at input · start layer fc2"


def test_histogram_fills_differ_within_a_family():
    fills = figures._textures(["#029e73"] * 6 + ["#000000"])
    assert len({(fill["facecolor"], fill["hatch"]) for fill in fills}) == 7
    np.testing.assert_allclose(fills[0]["facecolor"], np.array([2, 158, 115]) / 255)


def test_histogram_without_any_value_is_empty_not_an_error():
    axes = figures.histogram_figure({"gradient": [0] * 13}, METHODS, "fc2", "input").axes[0]
    assert [bar.get_height() for bar in axes.containers[0]] == [0] * 5


def test_written_files_and_their_names(tmp_path):
    both = ("corrected", "paper")
    table = pd.concat([make_table(start=start, semantics=semantics) for start in ("a/b", "a#b", "A_b") for semantics in both])
    counts = {("gradient", semantics, "a/b", layer): [1] * 13 for semantics in both for layer in ("input", "conv1")}
    written = figures.write_csc_figures(table, METHODS, tmp_path / "new", counts)
    assert [path.name for path in written if path.suffix == ".png"] == [
        "csc_a_b.png",
        "histogram_a_b_input.png",
        "histogram_a_b_input_corrected.png",
        "csc_a_b_2.png",
        "csc_A_b_3.png",
    ]
    assert sorted(written) == sorted((tmp_path / "new").iterdir()) and len(written) == 10
    title = ElementTree.parse(tmp_path / "new" / "histogram_a_b_input.svg").find("{http://www.w3.org/2000/svg}title").text
    assert title == "CSC at input · start layer a/b · paper semantics"


def test_the_same_data_give_the_same_bytes_whatever_the_row_order_and_the_callers_style(tmp_path):
    table = make_table({**MEDIANS, "lrp_alpha2_beta1": [0.9, np.nan, 0.7, 0.6]})
    counts = {(method, "paper", "fc2", "input"): [2] * 13 for method in MEDIANS}
    first = figures.write_csc_figures(table, METHODS, tmp_path / "first", counts)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "lines.linewidth": 9, "savefig.dpi": 30}):
        before = dict(matplotlib.rcParams)
        second = figures.write_csc_figures(table[::-1], METHODS, tmp_path / "second", counts)
        assert dict(matplotlib.rcParams) == before
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(first) == 4


@pytest.mark.parametrize(
    ("table", "start", "words"),
    [
        (make_table(), "conv9", "Invalid value for `start`: 'conv9'. Expected one of fc2."),
        (make_table({"magic": [0.5]}), "fc2", "Invalid value for `method`: 'magic'. Expected one of gradient, "),
        (pd.concat([make_table(), make_table(model="other")]), "fc2", "Invalid value for `table`: ['other', 'small']."),
        (make_table(semantics="mine"), "fc2", "Invalid value for `semantics`: 'mine'. Expected one of paper, corrected."),
        (pd.concat([make_table(), make_table()]), "fc2", "one row per method, semantics, start and layer"),
    ],
)
def test_bad_tables_are_one_clear_sentence(table, start, words):
    with pytest.raises(WelError) as error:
        figures.csc_figure(table, METHODS, start)
    assert words in str(error.value)


def test_bad_histograms_are_one_clear_sentence():
    with pytest.raises(WelError, match="13 counts for gradient"):
        figures.histogram_figure({"gradient": [1, 2]}, METHODS, "fc2", "input")
    with pytest.raises(WelError, match="Invalid value for `method`: 'magic'"):
        figures.histogram_figure({"magic": [1] * 13}, METHODS, "fc2", "input")
