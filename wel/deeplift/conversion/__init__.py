"""From Keras models to deeplift's."""

from __future__ import annotations

from wel.deeplift.conversion import kerasapi_conversion

__all__ = ["kerasapi_conversion"]
