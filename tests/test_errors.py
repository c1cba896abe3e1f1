"""wel.errors: how errors are worded."""

from __future__ import annotations

import pytest

from wel.errors import first_line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("out of luck\nfor long", "out of luck"),
        ("", "RuntimeError"),
        # 40 words of four letters and the spaces between them are 199 characters, 41 are 204; with " …" there is room for 39
        (" ".join(["word"] * 40), " ".join(["word"] * 40)),
        (" ".join(["word"] * 41), " ".join(["word"] * 39) + " …"),
    ],
)
def test_the_first_line_is_cut_at_a_word(message, expected):
    assert first_line(RuntimeError(message)) == expected
