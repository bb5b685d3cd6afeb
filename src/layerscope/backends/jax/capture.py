"""What the modules that were asked for return, copied while the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...core.layer import split_call
from ..common.run import Stop, until_stopped
from ..protocol import Captured, Target
from .model import JaxModel
from .outputs import as_captured
from .target import gradients
from .wanted import Key, Wanted
from .watch import Call, Watch


def capture(model: JaxModel, batch: Any, paths: Sequence[str], target: Target | None = None) -> dict[str, Captured]:
    """What the named layers produce for `batch`, in execution order."""
    model = model.at_one_moment()
    recorder = Recorder(model, paths)
    watch = Watch(recorder.record, wants=recorder.wanted.wants)
    with until_stopped(recorder):
        model.run(batch, watch)
    keys = recorder.results(watch)
    captured = {name: recorder.captured[key] for name, key in keys.items()}
    if target is None or not keys:
        return captured
    wanted = {key: recorder.captured[key] for key in keys.values()}
    by_key = gradients(model, batch, wanted, target)
    return {name: replace(captured[name], gradient=by_key[key]) for name, key in keys.items()}


class Recorder:
    """Copies what was asked for and stops the run when it has everything.

    `keys` holds, for each name that was asked for, the keys of its arrays in the order of the run.
    """

    def __init__(self, model: JaxModel, names: Sequence[str]) -> None:
        self.wanted = Wanted(model, names)
        self._endless = any(split_call(name)[1] is None for name in names)
        self.keys: dict[str, list[Key]] = {}
        self.captured: dict[Key, Captured] = {}

    def record(self, call: Call) -> None:
        """Copy what is wanted of one call."""
        for name, subpath in self.wanted.of_call(call):
            key = (call.path, call.number, subpath)
            if key not in self.captured:
                self.captured[key] = as_captured(call.values[subpath])
            self.keys.setdefault(name, []).append(key)
        if not self._endless and len(self.keys) == len(self.wanted.names):
            raise Stop(self)

    def results(self, watch: Watch) -> dict[str, Key]:
        """Name -> key, in the order of the run; raises where something asked for isn't there."""
        for name in self.wanted.names.values():
            if name not in self.keys:
                raise self.wanted.missing(name, watch)
        order = {key: index for index, key in enumerate(self.captured)}
        results = [
            (f"{name}:{key[1]}" if len(keys) > 1 else name, key) for name, keys in self.keys.items() for key in keys
        ]
        return dict(sorted(results, key=lambda result: order[result[1]]))
