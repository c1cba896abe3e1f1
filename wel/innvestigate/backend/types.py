"""innvestigate 2's place for the types in its signatures, of which scripts take some for their own."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple, TypeVar, Union

from tensorflow import Tensor

from wel.keras.two import keras2

__all__ = ["Layer", "Model", "OptionalList", "OptionalSequence", "ShapeTuple", "Tensor"]

Layer, Model = keras2().layers.Layer, keras2().Model
T = TypeVar("T")
OptionalList = Union[T, List[T]]
OptionalSequence = Union[T, Sequence[T]]
ShapeTuple = Tuple[Optional[int], ...]
