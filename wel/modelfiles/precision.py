"""Half precision: layers that a configuration has in float16 or bfloat16, as a whole or in part, read as float32."""

from __future__ import annotations

from typing import Any

from wel.modelfiles.conversion import Converted

HALF = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
POLICIES = ("Policy", "PolicyV1", "DTypePolicy")


def in_single(configuration: dict) -> Converted:
    """The configuration with every half-precision `dtype` in it, a name or a policy, as float32; the weights are cast on loading."""
    found: set[str] = set()
    changed = _rewritten(configuration, found)
    notes = (f"Its {' and '.join(sorted(found))} layers were read as float32.",) if found else ()
    return Converted(changed, notes)


def _rewritten(part: Any, found: set[str]) -> Any:
    """A copy in single precision; adds to `found` what was replaced."""
    if isinstance(part, list):
        return [_rewritten(value, found) for value in part]
    if not isinstance(part, dict):
        return part
    names = {key: _half(value) for key, value in part.items() if key == "dtype"}
    found.update(name for name in names.values() if name)
    return {key: "float32" if names.get(key) else _rewritten(value, found) for key, value in part.items()}


def _half(dtype: Any) -> str | None:
    """The name of a half-precision dtype or policy, None for others."""
    if isinstance(dtype, dict) and dtype.get("class_name") in POLICIES:
        config = dtype.get("config")
        dtype = config.get("name") if isinstance(config, dict) else None
    return dtype if isinstance(dtype, str) and dtype in HALF else None
