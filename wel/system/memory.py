"""How much main memory there is for this process."""

from __future__ import annotations

from pathlib import Path

import psutil


def main_memory() -> int:
    """Bytes of the machine, or those that its container may take."""
    total = psutil.virtual_memory().total
    return container_limit(total) or total


def container_limit(total: int, root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that a container may take, by either version of Linux's control groups; 0 when that is not less than there is in total."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):  # the other version, or "max"
            continue
        return limit if limit < total else 0
    return 0
