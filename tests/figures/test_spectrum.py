"""The figures of singular values and effective ranks: what is drawn where, and files that are the same twice."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import loaded

import wel
from wel.errors import WelError
from wel.figures.spectrum import (
    SMALLEST,
    effective_rank_figure,
    singular_values_figure,
    write_effective_rank_figures,
    write_singular_values_figure,
)
from wel.methods.registry import METHODS


def ranks() -> pd.DataFrame:
    """Two methods at three layers below `top`: one is linear and ends at exactly 1, one is not and is undefined in between."""
    layers = ("upper", "lower", "input")
    table = [
        {
            "model": "tiny",
            "method": method,
            "semantics": "paper",
            "start": "top",
            "layer": layer,
            "layer_index": 2 - place,
            "images": 2,
            "vectors": 16,
            "rank_location": rank,
            "rank_location_error": 0.1 * rank,
            "rank_layer": 5 * rank,
            "rank_layer_error": 0.2 * rank,
            "bound_location": bound,
            "bound_layer": 10 * bound,
        }
        for method, found, bound in (("gradient", (4, 2, 1), 8), ("guided_backprop", (3, np.nan, np.inf), 16))
        for place, (layer, rank) in enumerate(zip(layers, found))
    ]
    return pd.DataFrame(table)


def lines(axes, points: int) -> list[np.ndarray]:
    return [line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == points]


def test_effective_ranks_are_drawn_by_location_from_one_and_of_the_layer():
    figure = effective_rank_figure(ranks(), METHODS, "top")
    location, distance, layer = figure.axes
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    first, second, bound, _ = (*lines(location, 3), None)
    np.testing.assert_array_equal(first, [4, 2, 1])
    np.testing.assert_array_equal(second, [3, np.nan, np.nan])  # infinite: undefined
    np.testing.assert_array_equal(bound, [8, 8, 8])
    np.testing.assert_allclose(lines(distance, 3)[0], [3, 1, SMALLEST])
    np.testing.assert_allclose(lines(layer, 3)[0], [20, 10, 5])
    np.testing.assert_allclose(lines(layer, 3)[2], 80)
    low, high = location.collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == (1, pytest.approx(4 + 2 * 0.4))  # two standard errors, and not below 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Gradient", "Guided BP", "most for a linear method"]
    assert [text.get_text() for text in location.get_xticklabels()] == ["upper", "lower", "input"]


def test_what_is_not_in_the_table_is_refused():
    with pytest.raises(WelError, match="`start`: 'bottom'"):
        effective_rank_figure(ranks(), METHODS, "bottom")
    with pytest.raises(WelError, match="`method`: 'gradient'"):
        effective_rank_figure(ranks(), {}, "top")


def test_singular_values_are_drawn_in_a_panel_for_each_kind(functional):
    net = loaded(functional)
    rng = np.random.default_rng(0)
    patterns = [rng.standard_normal(weight.shape) for weight in functional.weights if len(weight.shape) > 1]
    table = wel.singular_values(net, patterns).table
    figure = singular_values_figure(table)
    kinds = [("layer", "tap", 4), ("layer", "full", 4), ("between", "tap", 3)]
    for axes, (place, matrix, points) in zip(figure.axes, kinds, strict=True):
        chosen = table[(table["place"] == place) & (table["matrix"] == matrix)]
        for line, (_, group) in zip(lines(axes, points), chosen.groupby("quantity", sort=False), strict=True):
            np.testing.assert_array_equal(line, group["ratio"])
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["dense · hidden", "hidden · conv2", "conv2 · conv1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["weights W", "patterns A", "patterns ⊙ weights"]


def test_a_branched_network_without_patterns_has_two_panels_and_one_line(residual):
    figure = singular_values_figure(wel.singular_values(loaded(residual)).table)
    assert [len(lines(axes, 5)) for axes in figure.axes] == [1, 1]


def test_files_are_the_same_twice(functional, tmp_path):
    table = wel.singular_values(loaded(functional)).table
    for folder in ("a", "b"):
        written = write_singular_values_figure(table, tmp_path / folder) + write_effective_rank_figures(ranks(), METHODS, tmp_path / folder)
    names = ("singular_values", "effective_rank_top")
    assert [path.name for path in written] == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    for path in written:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    assert "start layer top" in "".join(ElementTree.parse(written[-1]).getroot().itertext())
