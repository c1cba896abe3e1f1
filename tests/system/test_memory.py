"""wel.system.memory: what a container may take."""

from __future__ import annotations

import pytest

from wel.system.memory import container_limit


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "3221225472\n", 3 << 30),
        ("memory.max", "max\n", 0),
        ("memory/memory.limit_in_bytes", "3221225472\n", 3 << 30),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", 0),  # how version 1 says that there is none
        ("memory.max", str(8 << 30), 0),
    ],
)
def test_limit_of_a_container(tmp_path, name, text, limit):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert container_limit(8 << 30, tmp_path) == limit


def test_no_limit_without_control_groups(tmp_path):
    assert container_limit(8 << 30, tmp_path) == 0
