"""What lets a combination ask the model again: the inputs of a capture, kept beside its maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..backends.common.outputs import scored
from ..backends.protocol import Backend, Captured, Head
from ..core.feature_map import FeatureMap
from ..core.layer_table import LayerTable
from ..errors import BadOption
from ..inputs.photo import as_array
from ..inputs.preprocess import InputPlan
from .batches import Fed, whole_batches
from .capture import Run, joined

Change = Callable[[np.ndarray], np.ndarray]


class Runner(Protocol):
    """What is asked of a `Scope`."""

    @property
    def model(self) -> Any: ...

    @property
    def backend(self) -> Backend: ...

    @property
    def plan(self) -> InputPlan: ...

    def table_for(self, fed: Fed) -> LayerTable: ...

    def ran(self, run: Run, table: LayerTable, target: Any) -> dict[str, Captured]: ...

    def running(self, array: Any) -> AbstractContextManager[None]: ...

    def provenance(self) -> dict[str, Any]: ...

    def aim(self, target: Any) -> Any: ...

    def said(self, aim: Any) -> str: ...


def first_classes(output: FeatureMap) -> list[int]:
    """The class with the largest score in a model's output for each image, summed over the places where it has some."""
    if output.rows != "image":
        raise BadOption(
            f"the model's output has the shape {output.shape}, which is no list of class scores for each image: give target="
        )
    scores = output.values.reshape(len(output.ids), -1, output.shape[-1]).sum(1, dtype=np.float64)
    if np.isnan(scores).any():
        raise BadOption("the model's output holds NaN, so no class is its first: give target=")
    return [int(each) for each in scores.argmax(-1)]


@dataclass(frozen=True, eq=False)
class Rerun:
    """The `featuremap.Origin` of a capture's maps. `batches` are what the model was fed, `target` the capture's own."""

    scope: Runner
    batches: tuple[np.ndarray, ...]
    axes: str
    target: Any
    path: str = ""
    channels: tuple[int, ...] = ()

    @classmethod
    def of(cls, scope: Runner, parts: Sequence[Run], axes: str, target: Any) -> Rerun | None:
        """For one capture; `None` where the model has several inputs, or one whose axes aren't known."""
        batches = []
        for each in parts:
            fed = each.fed
            if isinstance(fed.array, Mapping | tuple | list):
                return None
            array = as_array(fed.array)
            if array.ndim != len(axes) or "b" not in axes:
                return None
            batches.append(array.take(range(len(fed.ids)), axes.index("b")) if fed.filled else array)
        return cls(scope, tuple(batches), axes, target) if batches else None

    def attached(self, fm: FeatureMap, path: str) -> FeatureMap:
        """The map with this origin, where its rows are the images."""
        if self.count != len(fm.ids) or fm.rows != "image":
            return fm
        return replace(fm, origin=replace(self, path=path, channels=fm.channels))

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(each.shape[self.axes.index("b")] for each in self.batches)

    @property
    def inputs(self) -> np.ndarray:
        if len(self.batches) == 1:
            return self.batches[0]
        return np.concatenate(self.batches, self.axes.index("b"))

    def image(self, at: int) -> Rerun:
        axis = self.axes.index("b")
        at %= self.count
        for each in self.batches:
            if at < each.shape[axis]:
                return replace(self, batches=(each.take([at], axis),))
            at -= each.shape[axis]
        raise IndexError(at)

    def select(self, channels: tuple[int, ...]) -> Rerun:
        return replace(self, channels=channels)

    def captured(self, inputs: np.ndarray) -> FeatureMap:
        found = self._captured(inputs, self.path, self.channels, self.target)
        return replace(found, origin=replace(self, batches=(inputs,)))

    def layer(self, path: str) -> FeatureMap:
        """The map of another layer for the same inputs."""
        return self._captured(self.inputs, path, None, None)

    def head(self) -> Head | None:
        """The dense layer that runs last for these inputs; `None` where there is none that can be read."""
        backend, inputs = self.scope.backend, self.image(0).inputs
        if not backend.offers("head"):
            return None
        with self.scope.running(inputs):
            return backend.head(self.scope.model, inputs)

    def aimed(self, target: Any) -> tuple[Any, str]:
        aim = self.target if target is None else self.scope.aim(target)
        if aim is None:
            (aim,) = set(first_classes(self._captured(self.inputs, "output", None, None)))
        return aim, self.scope.said(aim)

    def scores(self, inputs: np.ndarray, target: Any, change: Change | None = None) -> np.ndarray:
        backend = self.scope.backend
        if change is not None and not backend.offers("scores"):
            raise backend.refusal("scores")
        found = []
        for fed in whole_batches(inputs, self.scope.plan):
            table = self.scope.table_for(fed)
            with self.scope.running(fed.array):
                if backend.offers("scores"):
                    changes = {table.single(self.path): change} if change else {}
                    values = backend.scores(self.scope.model, fed.array, target, changes)
                else:
                    output = table.choose("output")[0]
                    captured = backend.capture(self.scope.model, fed.array, [output.path])[output.path]
                    values = scored(captured.values, target, output.axes)
            found.append(np.asarray(values, np.float64)[: len(fed.ids)])
        return np.concatenate(found)

    def _captured(self, inputs: np.ndarray, path: str, channels: Sequence[int] | None, target: Any) -> FeatureMap:
        """The map of one layer for an array as the model takes it."""
        runs = []
        for fed in whole_batches(inputs, self.scope.plan):
            table = self.scope.table_for(fed)
            run = Run(self.scope.provenance(), fed, table.choose(path or "output"), channels, self.scope.said(target))
            run.captured = self.scope.ran(run, table, target)
            runs.append(run)
        (found,) = joined(runs).values()
        return found
