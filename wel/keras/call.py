"""A layer's call as Keras recorded it, whichever Keras it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one layer.

    Attributes:
        layer: what was called: a layer, a model, or a bare operation.
        args, kwargs: what it was called with; Keras tensors stand among them.
        outputs: Keras tensors.
        is_tensor: whether an argument is a Keras tensor.
        at_inference: function (layer, args, kwargs) -> the arguments with which the layer does what it does at inference.
    """

    layer: Any
    args: tuple
    kwargs: Mapping[str, Any]
    outputs: tuple[Any, ...]
    is_tensor: Callable[[Any], bool]
    at_inference: Callable[[Any, tuple, dict], tuple[tuple, dict]]

    @property
    def tensors(self) -> list[Any]:
        """The Keras tensors among the arguments, in their order, each as often as it stands there."""
        return [one for one in self._flat() if self.is_tensor(one)]

    def given(self, inputs: Sequence[Any]) -> tuple[tuple, dict]:
        """The arguments with other values in place of the Keras tensors, one for each place."""
        import tensorflow as tf

        values = iter(inputs)
        flat = [next(values) if self.is_tensor(one) else one for one in self._flat()]
        args, kwargs = tf.nest.pack_sequence_as((self.args, dict(self.kwargs)), flat)
        return tuple(args), kwargs

    def run(self, layer: Any, inputs: Sequence[Any]) -> Any:
        """Calls `layer`, which stands in for the one that was called, on tensors in place of the inputs, in inference mode."""
        args, kwargs = self.at_inference(layer, *self.given(inputs))
        return layer(*args, **kwargs)

    def is_plain(self) -> bool:
        """Whether the layer was called on one Keras tensor, or on a list of several, and on nothing else that says anything."""
        first, *more = self.args or (None,)
        listed = list(first) if isinstance(first, (list, tuple)) else [first]
        silent = all(value is None for name, value in self.kwargs.items() if name != "training")
        alone_in_list = isinstance(first, (list, tuple)) and len(listed) == 1
        return all(map(self.is_tensor, listed)) and not alone_in_list and silent and all(value is None for value in more)

    def _flat(self) -> list[Any]:
        import tensorflow as tf

        return tf.nest.flatten((self.args, dict(self.kwargs)))


def made_again(
    calls: Iterable[Call], given: Mapping[int, Any], layer_for: Callable[[Any], Any], flat: Callable[[Any], Sequence[Any]]
) -> dict[int, Any]:
    """Makes the calls of a model anew, on other Keras tensors.

    Args:
        calls: in their order.
        given: id of a Keras tensor -> what takes its place; of all tensors that no call gives.
        layer_for: function of a layer that gives the one that is called in its place.
        flat: function of what a call gives that lists its tensors, in the order of `Call.outputs`.

    Returns:
        `given`, and the same for every tensor that a call gives.
    """
    made = dict(given)
    for call in calls:
        args, kwargs = call.given([made[id(tensor)] for tensor in call.tensors])
        made.update(zip(map(id, call.outputs), flat(layer_for(call.layer)(*args, **kwargs))))
    return made
