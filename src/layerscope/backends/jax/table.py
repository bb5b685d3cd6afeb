"""The table of layers, from the calls of one dry run."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from ...core.layer import Layer
from ..common.run import dry_run
from ..common.table import Calls
from ..common.tokens import located
from ..protocol import SteadyLayers
from .axes import Axes, Output, stated_prefix
from .field import Fields
from .model import JaxModel
from .outputs import main_part
from .reads import telling_reads
from .wanted import name_part
from .watch import Call, Watch

CONTAINERS = ("List", "Dict", "Sequence")


def layers(model: JaxModel, batch: Any) -> list[Layer]:
    """Every layer, in the order in which its first call ended; those that never ran last."""
    return dry_run(batch, lambda part, images: _layers(model, part, images))


def _layers(model: JaxModel, part: Any, images: int) -> list[Layer]:
    tabulator = Tabulator(model, Fields(model, part), images)
    watch = Watch(tabulator.record)
    with telling_reads(watch.note_read):
        model.run(part, watch)
    rows = tabulator.table(watch)
    return rows if watch.reads else SteadyLayers(rows)


class Tabulator:
    """Gathers the calls of one dry run (`record`), and lists the layers (`table`)."""

    def __init__(self, model: JaxModel, fields: Fields, images: int) -> None:
        self._model, self._fields = model, fields
        self._prefix = stated_prefix(model.leaves())
        self._axes = Axes(model.channels_first, model.modules, images)
        self._calls = Calls()

    def record(self, call: Call) -> None:
        """Note one call: the shapes and axes of the arrays in its output."""
        rows = {}
        for subpath in call.values:
            positions = self._fields.get((call.path, call.number, subpath))
            rows[subpath] = replace(
                located(self._axes.row(Output(call, subpath), positions), positions, self._prefix),
                kind=type(call.module).__name__,
                calls=1,
                step=self._calls.steps,
                parameters=self._model.parameters(call.path),
            )
        self._calls.add(call.path, main_part(call.values), rows)

    def table(self, watch: Watch) -> list[Layer]:
        """The rows: those that ran in the order in which their first call ended, then the others with the reason."""
        aliases = self._model.aliases
        others = (alias for names in aliases.values() for alias in names)
        naming = functools.partial(name_part, {*self._model.modules, *others, *self._calls.paths()})
        rows: list[Layer] = []
        for path in self._calls.paths():
            rows += self._calls.rows(path, (path, *aliases.get(path, ())), len(rows), naming)
        for path, module in self._model.modules.items():
            if path not in self._calls:
                kind = "" if module is None else type(module).__name__
                row = Layer(
                    path, kind, index=len(rows), note=self._why_not(path, kind, watch), aliases=aliases.get(path, ())
                )
                rows.append(replace(row, parameters=self._model.parameters(path)))
        return rows

    def _why_not(self, path: str, kind: str, watch: Watch) -> str:
        """Why a module gave nothing."""
        if path in watch.traced:
            return (
                "runs inside a function that JAX traces and never computed as it is (a transformed or a shape-only one)"
            )
        if kind in CONTAINERS or self._calls.inside(path, "./"):
            return "a container: its members were called one by one"
        return "did not run in this forward pass (unused, called through another method, or its weights used directly)"
