"""The table of layers, from the calls of one dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...core.layer import Layer
from ..common.outputs import first_image
from .axes import Axes, Output, stated_prefix
from .field import Fields
from .model import JaxModel
from .outputs import main_part
from .watch import Call, Watch

CONTAINERS = ("List", "Dict", "Sequence")


def layers(model: JaxModel, batch: Any) -> list[Layer]:
    """Every layer, in the order in which its first call ended; those that never ran last."""
    image = first_image(batch)
    tabulator = Tabulator(model, Fields(model, image))
    watch = Watch(tabulator.record)
    model.run(image, watch)
    return tabulator.table(watch)


class Tabulator:
    """Gathers the calls of one dry run (`record`), and lists the layers (`table`)."""

    def __init__(self, model: JaxModel, fields: Fields) -> None:
        self._model, self._fields = model, fields
        self._axes = Axes(model.channels_first, stated_prefix(model.leaves()), model.modules())
        self._calls: dict[str, list[dict[str, Layer]]] = {}
        self._mains: dict[str, str] = {}
        self._steps = 0

    def record(self, call: Call) -> None:
        """Note one call: the shapes and axes of the arrays in its output."""
        self._mains.setdefault(call.path, main_part(call.values))
        rows = {}
        for place in call.values:
            path = call.path if place == self._mains[call.path] else call.path + place
            layer = self._axes.row(Output(call, place), path)
            rows[place] = replace(
                layer,
                kind=type(call.module).__name__,
                calls=1,
                step=self._steps,
                parameters=self._model.parameters(call.path),
                receptive=self._fields.fields((call.path, call.number, place)),
            )
        self._steps += 1
        self._calls.setdefault(call.path, []).append(rows)

    def table(self, watch: Watch) -> list[Layer]:
        """The rows: those that ran in the order in which their first call ended, then the others with the reason."""
        aliases = self._model.aliases()
        rows: list[Layer] = []
        for path in self._calls:
            rows += self._rows(path, aliases.get(path, ()))
        for path, module in self._model.modules().items():
            if path not in self._calls:
                kind = "" if module is None else type(module).__name__
                row = Layer(path, kind, note=self._why_not(path, kind, watch), aliases=aliases.get(path, ()))
                rows.append(replace(row, parameters=self._model.parameters(path)))
        return [
            replace(row, index=index, per_call=tuple(replace(call, index=index) for call in row.per_call))
            for index, row in enumerate(rows)
        ]

    def _rows(self, path: str, aliases: tuple[str, ...]) -> list[Layer]:
        """The rows of one module: one for each array of its output."""
        calls, main = self._calls[path], self._mains[path]
        places = dict.fromkeys([main, *(place for call in calls for place in call)])
        if not any(calls):
            return [Layer(path, "", note="its output holds no array", aliases=aliases)]
        rows = []
        for place in places:
            runs = [call[place] for call in calls if place in call]
            if place != main:
                rows.append(_merged(runs, runs[0].note, ()))
                continue
            others = ", ".join(repr(path + other) for other in places if other != main)
            note = "; ".join(filter(None, (f"{place} of its output; also {others}" if others else "", runs[0].note)))
            rows.append(_merged(runs, note, (*aliases, path + place) if place else aliases))
        return rows

    def _why_not(self, path: str, kind: str, watch: Watch) -> str:
        """Why a module gave nothing."""
        if path in watch.traced:
            return (
                "runs inside a function that JAX traces and never computed as it is (a transformed or a shape-only one)"
            )
        if kind in CONTAINERS or any(other.startswith((path + ".", path + "/")) for other in self._calls):
            return "a container: its members were called one by one"
        return "did not run in this forward pass (unused, called through another method, or its weights used directly)"


def _merged(runs: Sequence[Layer], note: str, aliases: tuple[str, ...]) -> Layer:
    """The calls of one module as one row."""
    first = runs[0]
    calls: tuple[Layer, ...] = ()
    if len(runs) > 1:
        calls = tuple(replace(run, path=f"{first.path}:{number}") for number, run in enumerate(runs))
        if len({run.shape for run in runs}) > 1:
            note = "; ".join(filter(None, (note, "shapes differ between calls")))
    return replace(first, calls=len(runs), note=note, aliases=aliases, per_call=calls)
