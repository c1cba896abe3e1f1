"""Functions of scores: over shuffled references, of all letters that could stand at a place, along a way from the reference."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence

import numpy as np

from wel.errors import check_whole, invalid


def get_hypothetical_contribs_func_onehot(multipliers_function: Callable) -> Callable:
    """What every letter would contribute at its place, if multipliers stayed as they are: Σ_c (e_a − r)_c m_c for each letter a.

    Args:
        multipliers_function: of `get_target_multipliers_func`, at a one-hot input (n, length, letters).

    Returns:
        Function of the same arguments, which gives (n, length, letters).
    """

    def hypothetical(
        task_idx: int, input_data_list: Sequence, input_references_list: Sequence, batch_size: int = 10, progress_update: int | None = None
    ) -> np.ndarray:
        x = np.asarray(input_data_list[0])
        if x.ndim != 3:
            raise invalid("input_data_list", f"an array of shape {x.shape}", "one-hot sequences (n, length, letters)")
        given = {"batch_size": batch_size, "progress_update": progress_update}
        m = multipliers_function(task_idx=task_idx, input_data_list=[x], input_references_list=[input_references_list[0]], **given)
        return m - (m * np.asarray(input_references_list[0])).sum(axis=-1, keepdims=True)

    return hypothetical


def get_shuffle_seq_ref_function(
    score_computation_function: Callable, shuffle_func: Callable, one_hot_func: Callable | None = None
) -> Callable:
    """The mean of scores over several references for each sequence, which are the sequence shuffled.

    Args:
        score_computation_function: of `get_target_contribs_func`, or a function of its arguments.
        shuffle_func: function (sequence, rng=RandomState) -> the sequence shuffled, such as `dinuc_shuffle`.
        one_hot_func: function (list of sequences) -> (n, length, letters), for sequences that are not one-hot yet.

    Returns:
        Function (task_idx, input_data_sequences, num_refs_per_seq, batch_size, seed, progress_update), which gives (n, *input shape), for
        a list of tasks a list.
    """

    def shuffled(
        task_idx: int | Sequence[int],
        input_data_sequences: Sequence,
        num_refs_per_seq: int,
        batch_size: int = 10,
        seed: int = 1,
        progress_update: int | None = None,
    ) -> Any:
        check_whole("num_refs_per_seq", num_refs_per_seq, 1)
        rng = np.random.RandomState(seed)
        sequences = [sequence for sequence in input_data_sequences for _ in range(num_refs_per_seq)]
        references = [shuffle_func(sequence, rng=rng) for sequence in sequences]
        encode = one_hot_func or np.stack
        given = {"input_data_list": [encode(sequences)], "input_references_list": [encode(references)]}
        given |= {"batch_size": batch_size, "progress_update": progress_update}
        several = isinstance(task_idx, Iterable)
        found = [np.asarray(score_computation_function(task_idx=task, **given)) for task in (task_idx if several else [task_idx])]
        means = [scores.reshape(-1, num_refs_per_seq, *scores.shape[1:]).mean(axis=1) for scores in found]
        return means if several else means[0]

    return shuffled


def get_integrated_gradients_function(gradient_computation_function: Callable, num_intervals: int) -> Callable:
    """Integrated gradients (Sundararajan et al. 2017): (x − r) times the mean of gradients at the middles of equal steps from r to x.

    Args:
        gradient_computation_function: of `get_target_multipliers_func`, under the mode Gradient.
        num_intervals: how many steps.

    Returns:
        Function of the same arguments, which gives (n, *input shape).
    """
    check_whole("num_intervals", num_intervals, 1)

    def integrated(
        task_idx: int, input_data_list: Sequence, input_references_list: Sequence, batch_size: int = 10, progress_update: int | None = None
    ) -> np.ndarray:
        x = np.asarray(input_data_list[0], "float32")
        reference = np.broadcast_to(np.asarray(input_references_list[0], "float32"), x.shape)
        shares = (np.arange(num_intervals, dtype="float32") + 0.5) / num_intervals
        points = reference[:, None] + shares.reshape(1, -1, *[1] * (x.ndim - 1)) * (x - reference)[:, None]
        gradients = gradient_computation_function(
            task_idx=task_idx, input_data_list=[points.reshape(-1, *x.shape[1:])], batch_size=batch_size, progress_update=progress_update
        )
        return (x - reference) * np.asarray(gradients).reshape(points.shape).mean(axis=1)

    return integrated
