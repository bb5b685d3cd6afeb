"""Whether the bytes of a TFLite file are what its schema says: every table, vector and text lies inside them.

The interpreter reads a file without that check, so that one that points elsewhere ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from struct import unpack_from
from typing import NamedTuple

from .flatbuffer import Bytes, Damaged

# The fields of each table by number: the bytes of a number, `[` before those of a vector of numbers, `text`, the name of a
# table, `[` before that of a vector of tables. Fields that the schema has no more are left out.
_TABLES = """
Model 0:4 1:[OperatorCode 2:[SubGraph 3:text 4:[Buffer 5:[4 6:[Metadata 7:[SignatureDef
OperatorCode 0:1 1:text 2:4 3:4
SubGraph 0:[Tensor 1:[4 2:[4 3:[Operator 4:text 5:4
Tensor 0:[4 1:1 2:4 3:text 4:Quantization 5:1 6:Sparsity 7:[4 8:1 9:[VariantSubType
VariantSubType 0:[4 1:1 2:1
Quantization 0:[4 1:[4 2:[4 3:[8 4:1 6:4
Sparsity 0:[4 1:[4 2:[Dimension
Dimension 0:1 1:4 2:1 3:IndexVector 4:1 5:IndexVector
Operator 0:4 1:[4 2:[4 3:1 4:Options 5:[1 6:1 7:[1 8:[4 9:8 10:8 11:1 12:Options2 13:4
Buffer 0:[1 1:8 2:8
Metadata 0:text 1:4
SignatureDef 0:[TensorMap 1:[TensorMap 2:text 4:4
TensorMap 0:text 1:4
"""

# Where the options of an operator hold vectors and texts, by the number of their table.
_OPTIONS = {
    4: "3 1:[4 2:[4|8 5:[4|17 0:[4|30 0:[4|111 0:text 1:text|115 0:[4",
    12: "2 0:[8|3 0:[8 1:[8 2:[8|4 0:[8 1:[8 2:[8 3:[8 4:[1 7:[8 10:[8 13:[8 16:[4|5 0:text 2:text 4:[4 5:[1|6 0:[8"
    "|7 1:[8 2:[8 3:[8|9 0:[8|10 0:[8 1:[8 2:[8|12 0:[8 1:[8 2:[8 3:[8 4:[4|13 0:[8 1:[8 2:[8 3:[8 4:[8"
    "|16 0:[8 1:[8 2:[8 4:[8|17 0:[8|21 0:text 2:[1|23 0:[4",
}
INDICES = {1: "[4", 2: "[2", 3: "[1"}  # the elements of an index vector, by its type

Fields = dict[int, str]


class Spot(NamedTuple):
    """A table that is still to be checked."""

    name: str
    at: int
    fields: Fields


@cache
def _tables() -> dict[str, Fields]:
    return {line.split()[0]: _fields(line) for line in _TABLES.strip().splitlines()}


@cache
def _options(field: int) -> dict[int, Fields]:
    return {int(entry.split()[0]): _fields(entry) for entry in _OPTIONS[field].split("|")}


def _fields(line: str) -> Fields:
    return {int(number): kind for number, _, kind in (word.partition(":") for word in line.split()[1:])}


def verify(content: Bytes) -> None:
    """Raise `Damaged` where something in the file points outside it."""
    file = _File(content)
    waiting, done = [Spot("Model", file.target(0), _tables()["Model"])], set()
    while waiting:
        spot = waiting.pop()
        if (spot.name, spot.at) not in done:
            done.add((spot.name, spot.at))
            waiting.extend(file.check(spot))


class _File:
    def __init__(self, content: Bytes) -> None:
        self.content = content
        self.size = len(content)

    def need(self, start: int, size: int) -> int:
        """`start`, once it is known that so many bytes from there on are in the file."""
        if start < 0 or start + size > self.size:
            raise Damaged(
                f"the TFLite file is damaged: it points to bytes {start} to {start + size}, and has {self.size}"
            )
        return start

    def number(self, kind: str, size: int, start: int) -> int:
        value: int = unpack_from(kind, self.content, self.need(start, size))[0]
        return value

    def target(self, start: int) -> int:
        return start + self.number("<I", 4, start)

    def check(self, spot: Spot) -> Iterator[Spot]:
        """The tables that a table refers to, once all else in it is known to lie in the file."""
        positions = self.positions(spot.at)
        for field, kind in spot.fields.items():
            if field not in positions:
                continue
            at, size = positions[field]
            if kind.isdigit():
                if int(kind) > size:
                    raise Damaged(f"the TFLite file is damaged: a number of a {spot.name} ends outside its table")
                continue
            target = self.target(self.need(at, 4))
            if kind == "text":
                self.need(target + 4, self.number("<I", 4, target) + 1)
            elif kind[0] != "[":
                yield from self.table(kind, target, field, positions)
            elif kind[1:].isdigit():
                self.need(target + 4, self.number("<I", 4, target) * int(kind[1:]))
            else:
                count = self.number("<I", 4, target)
                self.need(target + 4, 4 * count)
                offsets = unpack_from(f"<{count}I", self.content, target + 4)
                fields, start = _tables()[kind[1:]], target + 4
                yield from (Spot(kind[1:], start + 4 * index + offset, fields) for index, offset in enumerate(offsets))

    def positions(self, at: int) -> dict[int, tuple[int, int]]:
        """(where each field of a table lies, the bytes from there to the table's end)."""
        fields = at - self.number("<i", 4, at)
        self.need(fields, 4)
        length, size = unpack_from("<HH", self.content, fields)
        self.need(fields, length)
        self.need(at, size)
        if length < 4 or length % 2 or size < 4:
            raise Damaged("the TFLite file is damaged: a table has no fields")
        offsets = unpack_from(f"<{length // 2 - 2}H", self.content, fields + 4)
        if any(offset >= size for offset in offsets):
            raise Damaged("the TFLite file is damaged: a field lies outside its table")
        return {field: (at + offset, size - offset) for field, offset in enumerate(offsets) if offset}

    def table(self, kind: str, target: int, field: int, positions: dict[int, tuple[int, int]]) -> Iterator[Spot]:
        if kind in ("Options", "Options2", "IndexVector"):  # a union: which table it is stands in the field before
            number = self.number("<B", 1, positions[field - 1][0]) if field - 1 in positions else 0
            vector = kind == "IndexVector"
            fields = {0: INDICES.get(number, "[1")} if vector else _options(field).get(number, {})
            yield Spot(f"{kind} {number}", target, fields)
        else:
            yield Spot(kind, target, _tables()[kind])
