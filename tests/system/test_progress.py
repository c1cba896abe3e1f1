"""The progress bar: what it says of the time that is left."""

from __future__ import annotations

import pytest

from wel.system.progress import progress


def test_time_is_left_also_where_each_step_takes_minutes(monkeypatch):
    """Ten things were there when the run began, then two steps of 1,000 s each: three more take 3,000 s."""
    now = [0.0]
    bar = progress()
    monkeypatch.setattr(bar, "get_time", lambda: now[0])
    task = bar.add_task("audits", total=15)
    for seconds, steps in ((0, 10), (1000, 1), (2000, 1)):
        now[0] = seconds
        bar.update(task, advance=steps)
    assert bar.tasks[0].time_remaining == pytest.approx(3000)
