"""Columns of a listing that stay small with a million rows: texts in one run of bytes, labels as numbers of classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np


class Texts(Sequence[str]):
    r"""Texts in one run of UTF-8, picklable, with slices of the same kind; also names that aren't UTF-8.

    >>> names = Texts(["a.jpg", "caf\udce9.jpg", ""])
    >>> len(names), names[1] == "caf\udce9.jpg", list(names[::2])
    (3, True, ['a.jpg', ''])
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._data = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, index: int) -> str:
        start = int(self._ends[index - 1]) if index else 0
        return self._data[start : int(self._ends[index])].decode("utf-8", "surrogatepass")

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> str | Texts:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1 or stop <= start:
                return Texts([self._at(number) for number in range(start, stop, step)])
            part, first = Texts(), int(self._ends[start - 1]) if start else 0
            part._data, part._ends = self._data[first : int(self._ends[stop - 1])], self._ends[start:stop] - first
            return part
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends.tolist():
            yield self._data[start:end].decode("utf-8", "surrogatepass")
            start = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Texts) and self._data == other._data and np.array_equal(self._ends, other._ends)

    def __hash__(self) -> int:
        return hash(self._data)

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        return len(self._data) + self._ends.nbytes


@dataclass
class Rows:
    """What a kind of data set lists: where each sample is read from, its id, size and label; and remarks for people.

    `ids` that are equal are told apart later, by `#2`, `#3` …
    """

    sources: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, source: str, *, id: str | None = None, size: int | None = None, label: str | None = None) -> None:
        """One more sample; its id is its source, if no other is given."""
        self.sources.append(source)
        self.ids.append(source if id is None else id)
        self.sizes.append(size)
        self.labels.append(label)

    def extend(self, other: Rows) -> None:
        """The samples of another kind behind these."""
        for name in ("sources", "ids", "sizes", "labels", "notes"):
            getattr(self, name).extend(getattr(other, name))


def told_apart(ids: Sequence[str]) -> Sequence[str]:
    """The ids, of which those that came before have a number at the end.

    >>> told_apart(["a", "b", "a", "a#2"])
    ['a', 'b', 'a#2', 'a#2#2']
    """
    if len(set(ids)) == len(ids):
        return ids
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique = []
    for id in ids:
        name = id
        while name in taken:
            counts[id] = counts.get(id, 1) + 1
            name = f"{id}#{counts[id]}"
        taken.add(name)
        unique.append(name)
    return unique
