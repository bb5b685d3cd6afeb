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

    def __init__(self, data: Bytes, at: int) -> None:
        self.data = data
        self.at = at
        self._fields = at - unpacked(data, "<i", at)
        self._size = unpacked(data, "<H", self._fields)

    @classmethod
    def root(cls, data: Bytes, start: int = 0) -> Table:
        return cls(data, start + unpacked(data, "<I", start))

    def position(self, field: int) -> int | None:
        """Where a field lies in the bytes, `None` where the table doesn't have it."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = unpacked(self.data, "<H", self._fields + entry)
        return self.at + offset if offset else None

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A whole number, by its code in `struct`."""
        at = self.position(field)
        return default if at is None else unpacked(self.data, f"<{kind}", at)

    def target(self, field: int) -> int | None:
        """Where what a field refers to lies."""
        at = self.position(field)
        return None if at is None else at + unpacked(self.data, "<I", at)

    def table(self, field: int) -> Table | None:
        at = self.target(field)
        return None if at is None else Table(self.data, at)

    def text(self, field: int) -> str:
        raw = self.numbers(field, np.uint8)
        return "" if raw is None else raw.tobytes().decode("utf-8", "replace")

    def numbers(self, field: int, dtype: type[np.generic]) -> np.ndarray | None:
        """A vector of numbers as a read-only view, `None` where the table doesn't have it."""
        at = self.target(field)
        if at is None:
            return None
        count, width = unpacked(self.data, "<I", at), np.dtype(dtype).itemsize
        return view(self.data, at + 4, count * width).view(np.dtype(dtype).newbyteorder("<"))

    def places(self, field: int) -> list[int]:
        """Where each table of a vector of tables lies."""
        at = self.target(field)
        offsets = self.numbers(field, np.uint32)
        if at is None or offsets is None:
            return []
        return [at + 4 + 4 * place + int(offset) for place, offset in enumerate(offsets)]

    def tables(self, field: int) -> Iterator[Table]:
        return (Table(self.data, at) for at in self.places(field))


def unpacked(data: Bytes, kind: str, at: int) -> int:
    if not 0 <= at <= len(data) - struct.calcsize(kind):
        raise Damaged(f"the TFLite file is damaged: it points to byte {at}, and has {len(data)}")
    found: int = struct.unpack_from(kind, data, at)[0]
    return found


def view(data: Bytes, at: int, size: int) -> np.ndarray:
    """`size` bytes from `at` on, without a copy."""
    if not (at >= 0 and at + size <= len(data)):
        raise Damaged(f"the TFLite file is damaged: it points to bytes {at} to {at + size}, and has {len(data)}")
    return np.frombuffer(data, np.uint8, size, at)
