"""Rows of the table of layers from the calls of one dry run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...core.layer import Layer

NO_TENSOR = "returns no tensor"


class Calls:
    """The calls of modules in one run: for each path, and each call of it, a row for each array in its output.

    A plain path means the main array of its output.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._calls: dict[str, list[dict[str, Layer]]] = {}
        self._mains: dict[str, str] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._calls

    def inside(self, path: str, separators: str = ".") -> bool:
        """Whether anything inside the module at `path` ran."""
        prefixes = tuple(path + separator for separator in separators)
        return any(other.startswith(prefixes) for other in self._calls)

    def add(self, path: str, main: str, rows: dict[str, Layer]) -> None:
        """Note one call that ended."""
        self._mains.setdefault(path, main)
        self._calls.setdefault(path, []).append(rows)
        self.steps += 1

    def remove_last(self, path: str) -> None:
        """Forget the last call of a path."""
        self._calls[path].pop()
        if not self._calls[path]:
            del self._calls[path]

    def paths(self) -> Iterable[str]:
        """The paths in the order in which their first call ended."""
        return self._calls.keys()

    def rows(
        self, path: str, names: Sequence[str], first: int, name_part: Callable[[str, str], str] = operator.add
    ) -> list[Layer]:
        """The rows of one module from the index `first` on, the main one first; `names` are its path and further ones.

        `name_part` gives the path of a part of its output (`name_part("mha", "[1]")`).
        """
        calls, main = self._calls[path], self._mains[path]
        subpaths = dict.fromkeys([main, *(subpath for call in calls for subpath in call)])
        if not any(calls):
            return [Layer(path, "", index=first, note=NO_TENSOR, aliases=tuple(names[1:]))]
        rows = []
        for index, subpath in enumerate(subpaths, first):
            part = subpath if subpath == main and len(subpaths) > 1 else ""
            runs = [replace(call[subpath], part=part) for call in calls if subpath in call]
            notes = [runs[0].note]
            aliases = () if subpath == main else tuple(name_part(name, subpath) for name in names[1:])
            if subpath == main:
                others = ", ".join(repr(name_part(path, other)) for other in subpaths if other != main)
                notes.insert(0, f"{subpath} of its output; also {others}" if others else "")
                aliases = (*(name_part(name, subpath) for name in names if subpath), *names[1:])
            if len({run.shape for run in runs}) > 1:
                notes.append("shapes differ between calls")
            note = "; ".join(filter(None, notes))
            name = path if subpath == main else name_part(path, subpath)
            rows.append(merge_calls(name, runs, index=index, note=note, aliases=aliases))
        return rows


def merge_calls(path: str, calls: Sequence[Layer], index: int, **changes: Any) -> Layer:
    """The row of a layer that ran once or several times."""
    per_call: tuple[Layer, ...] = ()
    if len(calls) > 1:
        per_call = tuple(replace(call, path=f"{path}:{number}", index=index) for number, call in enumerate(calls))
    return replace(calls[0], path=path, index=index, calls=len(calls), per_call=per_call, **changes)


def number_rows(rows: Iterable[Layer]) -> list[Layer]:
    """The rows with their indices, in their calls as well."""
    return [
        replace(row, index=index, per_call=tuple(replace(call, index=index) for call in row.per_call))
        for index, row in enumerate(rows)
    ]
