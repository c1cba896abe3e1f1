"""Arrays as batches that Keras takes for training and evaluation."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from wel.errors import check_whole, invalid
from wel.keras.two import keras2


class BatchSequence(keras2().utils.Sequence):
    """Batches of one array, or tuples of batches of several.

    Args:
        Xs: an array (n, …), or several with the same n.
        batch_size: how many examples a batch has; the last one has the rest.

    Raises:
        WelError: for arrays of several lengths.
    """

    def __init__(self, Xs: np.ndarray | Sequence[np.ndarray], batch_size: int = 32):
        super().__init__()
        check_whole("batch_size", batch_size, 1)
        self.Xs, self.batch_size = [Xs] if isinstance(Xs, np.ndarray) else list(Xs), batch_size
        lengths = [len(array) for array in self.Xs]
        if len(set(lengths)) != 1:
            raise invalid("Xs", f"arrays of lengths {lengths}", "one array or more, of one length")

    def __len__(self) -> int:
        return -(-len(self.Xs[0]) // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        first = index * self.batch_size
        batches = tuple(array[first : first + self.batch_size] for array in self.Xs)
        return batches if len(batches) > 1 else batches[0]


class TargetAugmentedSequence(keras2().utils.Sequence):
    """The batches of a sequence, each with a target that is made of it.

    Args:
        sequence: of batches, each an array or a tuple of one.
        augment_f: from a list of arrays to their targets.
    """

    def __init__(self, sequence: Any, augment_f: Callable[[list], Any]):
        super().__init__()
        self.sequence, self.augment_f = sequence, augment_f

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs = self.sequence[index]
        if isinstance(inputs, tuple) and len(inputs) == 1:
            (inputs,) = inputs
        return inputs, self.augment_f(list(inputs) if isinstance(inputs, (tuple, list)) else [inputs])
