"""Protocol buffers' wire format, read: a message is a row of fields, each with a number and a value."""

from __future__ import annotations

from collections import defaultdict
from typing import Iterator, Union

from wel.errors import WelError

Value = Union[int, memoryview]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}


def fields(message: bytes | memoryview) -> dict[int, list[Value]]:
    """Field number -> its values in the order of the message: whole numbers for varints, else bytes, of numbers the little-endian ones.

    Raises:
        WelError: when the message ends inside a field, or has a field of a wire type that is none.
    """
    found: dict[int, list[Value]] = defaultdict(list)
    for number, value in _read(memoryview(message)):
        found[number].append(value)
    return found


def varints(values: list[Value]) -> list[int]:
    """The whole numbers of a repeated field, packed or one by one, as int64: those from 2⁶³ on are negative.

    Raises:
        WelError: as for `fields`.
    """
    numbers: list[int] = []
    for value in values:
        numbers += [value] if isinstance(value, int) else _packed(value)
    return [number - (1 << 64) if number >> 63 else number for number in numbers]


def text(values: list[Value]) -> str:
    """The last value of a field of text; nothing where the field is absent."""
    return bytes(values[-1]).decode() if values else ""


def _read(message: memoryview) -> Iterator[tuple[int, Value]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
        else:
            size, at = (SIZES[kind], at) if kind in SIZES else _length(message, at, kind)
            value, at = message[at : at + size], at + size
        if at > len(message):
            raise WelError(f"Invalid message: field {key >> 3} goes on behind its end. Expected {at} bytes. Received {len(message)}.")
        yield key >> 3, value


def _length(message: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind != BYTES:
        raise WelError(f"Invalid message: a field of wire type {kind}. Expected {VARINT}, {FIXED64}, {BYTES} or {FIXED32}.")
    return _varint(message, at)


def _packed(values: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(values):
        number, at = _varint(values, at)
        numbers.append(number)
    return numbers


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the eighth says that another byte follows."""
    number = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at
    raise WelError("Invalid message: a number without an end. Expected ten bytes at most.")
