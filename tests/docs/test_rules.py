"""docs/pages/rules.json: it is what the code says today, and what it says is right."""

from __future__ import annotations

import pytest
from docs_pages import page_module

rules = page_module("rules")


@pytest.fixture(scope="module")
def table():
    return rules.table()


@pytest.fixture(scope="module")
def rules_of(table):
    """{kind: {method: [paper, corrected]}}"""
    return {kind: row["rules"] for row in table for kind in row["kinds"]}


def test_the_file_is_up_to_date(table):
    assert rules.FILE.read_text(encoding="utf-8") == rules.written(table), "`make facts` writes docs/pages/rules.json anew"


def test_every_kind_has_one_row(table):
    kinds = [kind for row in table for kind in row["kinds"]]
    assert len(kinds) == len(set(kinds)) and set(rules.kinds()) < set(kinds)


@pytest.mark.parametrize(
    ("kind", "method", "paper", "corrected"),
    [
        ("Dense", "lrp_z", "Z", "Z"),
        ("Dense", "lrp_cmp_alpha2_beta1", "Epsilon(ε=1e-10)", "Epsilon(ε=1e-10)"),
        ("Conv2D", "lrp_cmp_alpha2_beta1", "AlphaBeta(α=2, β=1, bias both)", "AlphaBeta(α=2, β=1, bias split)"),
        ("Conv2D at the input", "deep_taylor", "Bounded", "Bounded"),
        ("Add", "lrp_alpha1_beta0", "Clipped AlphaBeta(α=1, β=0, bias both)", "AlphaBeta(α=1, β=0, bias split)"),
        ("BatchNormalization", "lrp_z", "PaperBatchNorm", "Z"),
        ("BatchNormalization", "pattern_net", "Transposed", "Transposed"),
        ("BatchNormalization behind a kernel", "pattern_net", "Unchanged", "Unchanged"),
        ("relu()", "rectgrad", "Rectified(percentile=98)", "Rectified(percentile=98)"),
        ("tanh()", "guided_backprop", None, None),
        ("LSTM", "lrp_z", None, None),
    ],
)
def test_rules_that_are_known(rules_of, kind, method, paper, corrected):
    assert rules_of[kind][method] == [paper, corrected]
