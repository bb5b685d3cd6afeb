"""Reading FlatBuffers without a generated schema: tables by field number, every position checked before it is read.

The layout is that of https://flatbuffers.dev/internals: a table points back to a list of where its fields lie.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from ...errors import ModelNotReadable

Bytes = bytes | memoryview


class Damaged(ModelNotReadable):
    """The bytes point to somewhere outside themselves."""


class Table:
    """A table in `data`, by the number that each field has in the schema. A missing field is its default."""

    def __init__(self, data: Bytes, position: int) -> None:
        self.data = data
        self.at = position
        self._fields = position - unpack(data, "<i", position)
        self._size = unpack(data, "<H", self._fields)

    @classmethod
    def root(cls, data: Bytes, start: int = 0) -> Table:
        return cls(data, start + unpack(data, "<I", start))

    def position(self, field: int) -> int | None:
        """Where a field lies in the bytes, `None` where the table doesn't have it."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = unpack(self.data, "<H", self._fields + entry)
        return self.at + offset if offset else None

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A whole number, by its code in `struct`."""
        position = self.position(field)
        return default if position is None else unpack(self.data, f"<{kind}", position)

    def target(self, field: int) -> int | None:
        """Where what a field refers to lies."""
        position = self.position(field)
        return None if position is None else position + unpack(self.data, "<I", position)

    def table(self, field: int) -> Table | None:
        position = self.target(field)
        return None if position is None else Table(self.data, position)

    def text(self, field: int) -> str:
        raw = self.numbers(field, np.uint8)
        return "" if raw is None else raw.tobytes().decode("utf-8", "replace")

    def numbers(self, field: int, dtype: type[np.generic]) -> np.ndarray | None:
        """A vector of numbers as a read-only view, `None` where the table doesn't have it."""
        position = self.target(field)
        if position is None:
            return None
        count, width = unpack(self.data, "<I", position), np.dtype(dtype).itemsize
        return view(self.data, position + 4, count * width).view(np.dtype(dtype).newbyteorder("<"))

    def positions(self, field: int) -> list[int]:
        """Where each table of a vector of tables lies."""
        position = self.target(field)
        offsets = self.numbers(field, np.uint32)
        if position is None or offsets is None:
            return []
        return [position + 4 + 4 * index + int(offset) for index, offset in enumerate(offsets)]

    def tables(self, field: int) -> Iterator[Table]:
        return (Table(self.data, position) for position in self.positions(field))


def unpack(data: Bytes, kind: str, position: int) -> int:
    if not 0 <= position <= len(data) - struct.calcsize(kind):
        raise Damaged(f"the TFLite file is damaged: it points to byte {position}, and has only {len(data)}")
    number: int = struct.unpack_from(kind, data, position)[0]
    return number


def view(data: Bytes, position: int, size: int) -> np.ndarray:
    """`size` bytes from `position` on, without a copy."""
    if not (position >= 0 and position + size <= len(data)):
        raise Damaged(
            f"the TFLite file is damaged: it points to bytes {position} to {position + size}, and has only {len(data)}"
        )
    return np.frombuffer(data, np.uint8, size, position)
