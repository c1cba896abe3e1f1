"""Shuffled sequences with the same dinucleotides."""

from __future__ import annotations

from typing import List, Union

import numpy as np

from wel.errors import check_whole, invalid

Shuffled = Union[str, List[str], np.ndarray]


def dinuc_shuffle(seq: str | np.ndarray, num_shufs: int | None = None, rng: np.random.RandomState | None = None, seed: int = 0) -> Shuffled:
    """Shuffles a sequence so that every pair of neighbours is in it as often as before; its first and last letter stay.

    From each letter on the steps to its successors are put into another order, but for the last one, by which the walk through all steps
    ends where it ended before (Altschul & Erickson 1985). The same draws of `rng` give deeplift's sequences.

    Args:
        seq: a string, or one-hot (length, letters); rows of zeros are a letter of their own.
        num_shufs: how many sequences; one, by itself, if it is None.
        rng: where draws come from.
        seed: of them, without `rng`.

    Returns:
        A string or an array (length, letters); with `num_shufs` a list of strings or an array (num_shufs, length, letters).

    Raises:
        WelError: for something else than a sequence, or a number of sequences that cannot be.
    """
    letters = _letters(seq)
    if num_shufs is not None:
        check_whole("num_shufs", num_shufs, 1)
    check_whole("seed", seed, 0)
    drawn = rng if rng is not None else np.random.RandomState(seed)
    several = [_like(seq, order) for order in _orders(letters, num_shufs or 1, drawn)]
    if num_shufs is None:
        return several[0]
    return several if isinstance(seq, str) else np.stack(several)  # pyright: ignore[reportReturnType]


def _letters(seq: str | np.ndarray) -> np.ndarray:
    """Which letter stands at each place, as numbers from 0 on, in the order of the alphabet."""
    if isinstance(seq, str) and seq:
        found = np.array(list(seq))
    elif isinstance(seq, np.ndarray) and seq.ndim == 2 and len(seq) and set(np.unique(seq)) <= {0, 1} and seq.sum(axis=1).max() <= 1:
        found = np.where(seq.any(axis=1), seq.argmax(axis=1), seq.shape[1])
    else:
        received = f"an array of shape {seq.shape}" if isinstance(seq, np.ndarray) else seq
        raise invalid("seq", received, "a string, or a one-hot array (length, letters), of one letter or more")
    return np.unique(found, return_inverse=True)[1]


def _orders(letters: np.ndarray, count: int, rng: np.random.RandomState) -> list[np.ndarray]:
    """For each sequence the places of the old one in their new order."""
    followers = [np.flatnonzero(letters[:-1] == letter) + 1 for letter in range(letters.max() + 1)]
    found = []
    for _ in range(count):
        # each order is drawn from the one before
        followers = [_but_the_last(steps, rng) for steps in followers]
        found.append(_walk(letters, [iter(steps) for steps in followers]))
    return found


def _but_the_last(steps: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Steps in another order, the last one where it was; a letter at the end alone has none, and draws nothing."""
    return np.append(steps[rng.permutation(len(steps) - 1)], steps[-1]) if len(steps) else steps


def _walk(letters: np.ndarray, steps: list) -> np.ndarray:
    places = [0]
    for _ in range(len(letters) - 1):
        places.append(next(steps[letters[places[-1]]]))
    return np.array(places)


def _like(seq: str | np.ndarray, order: np.ndarray) -> str | np.ndarray:
    return "".join(seq[place] for place in order) if isinstance(seq, str) else seq[order]
