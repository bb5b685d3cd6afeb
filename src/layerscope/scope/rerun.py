"""What lets a combination run the model again: the inputs of a capture, kept beside its maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.common.outputs import score_images
from ..backends.protocol import Head
from ..core.feature_map import FeatureMap
from ..core.layer import split_call
from ..core.layer_table import LayerTable
from ..core.record import at_once
from ..errors import BadOption, LayerscopeError
from ..inputs.photo import as_array
from .attempt import run_batch
from .batches import Batch, array_batches
from .calls import call_by_call
from .capture import join
from .memory import images_that_fit
from .run import Question, Run, forward_pass, layer_table, provenance
from .target import aim_at, top_classes

if TYPE_CHECKING:
    from .scope import Scope

Change = Callable[[np.ndarray], np.ndarray]


@at_once
@dataclass(frozen=True, eq=False)
class Rerun:
    """The `feature_map.Origin` of a capture's maps. `batches` are the model input, `target` the capture's own."""

    scope: Scope
    batches: tuple[np.ndarray, ...]
    axes: str
    target: Any
    path: str = ""
    channels: tuple[int, ...] = ()

    @classmethod
    def of(cls, scope: Scope, batches: Sequence[Batch], target: Any) -> Rerun | None:
        """For one capture; `None` where the model has several inputs, or one whose axes aren't known."""
        axes, arrays = scope.plan.axes, []
        for batch in batches:
            if not hasattr(batch.array, "shape"):
                return None
            array = as_array(batch.array)
            if array.ndim != len(axes) or "b" not in axes:
                return None
            arrays.append(array.take(range(len(batch.ids)), axes.index("b")) if batch.filled else array)
        return cls(scope, tuple(arrays), axes, target) if arrays else None

    def of_layer(self, path: str, channels: tuple[int, ...]) -> Rerun:
        """The same for some channels of a layer."""
        return Rerun(self.scope, self.batches, self.axes, self.target, path, channels)

    @cached_property
    def count(self) -> int:
        """How many images there are."""
        return sum(array.shape[self.axes.index("b")] for array in self.batches)

    @property
    def inputs(self) -> np.ndarray:
        if len(self.batches) == 1:
            return self.batches[0]
        if len({array.shape[1:] for array in self.batches if self.axes[0] == "b"}) > 1:
            raise BadOption("the images of this map have different sizes: take one at a time, as fm.image(0)")
        return np.concatenate(self.batches, self.axes.index("b"))

    def image(self, index: int) -> Rerun:
        axis = self.axes.index("b")
        index %= self.count
        for array in self.batches:
            if index < array.shape[axis]:
                return replace(self, batches=(array.take([index], axis),))
            index -= array.shape[axis]
        raise IndexError(index)

    def select(self, channels: tuple[int, ...]) -> Rerun:
        return replace(self, channels=channels)

    def captured(self, inputs: np.ndarray) -> FeatureMap:
        fm = self._capture([inputs], Question(self._call or "output", self.channels, self.target))
        return replace(fm, origin=replace(self, batches=(inputs,)))

    @property
    def _call(self) -> str:
        """The map's layer, as the call that it is: changed inputs may take others."""
        every = not self.path or self.path in self.scope._cache.by_image or split_call(self.path)[1] is not None
        return self.path if every else f"{self.path}:0"

    def layer(self, path: str) -> FeatureMap:
        """The map of another layer for the same inputs."""
        return self._capture(self.batches, Question(path or "output"))

    def head(self) -> Head | None:
        """The dense layer that runs last for these inputs; `None` where there is none that can be read."""
        backend, inputs = self.scope._reader, self.image(0).inputs
        if not backend.offers("head"):
            return None
        with forward_pass(self.scope, inputs):
            return backend.head(self.scope.model, inputs)

    def aimed(self, target: Any, *, naming_output: bool = True) -> tuple[Any, str]:
        aim = self.target if target is None else target
        if aim is None:
            (aim,) = set(top_classes(self.layer("output")))
        table = layer_table(self.scope, next(array_batches(self.batches[0], self.scope.plan)))
        return aim_at(self.scope, aim, table, naming_output=naming_output)

    def fitting(self, count: int, *, captured: bool = False) -> int:
        gradients = captured and self.target is not None
        if gradients and callable(self.target):
            return 1  # it may be written for one image, and its gradient would be that of the first alone
        if count > 1 and not self._takes_several():
            return 1
        table = layer_table(self.scope, next(array_batches(self.image(0).inputs, self.scope.plan)))
        sizes = [math.prod(layer.shape) for layer in table if layer.shape]
        # Without gradients a framework keeps the values of two layers at a time; beside them stand three copies of the input.
        values = sum(sizes) if gradients else 2 * max(sizes, default=0)
        return images_that_fit(4 * values + 3 * self.image(0).inputs.nbytes, count)

    def _takes_several(self) -> bool:
        """Whether the model takes more than one image at a time, and gives each its own output; tried once."""
        cache, axis = self.scope._cache, self.axes.index("b")
        if cache.several is None:
            pair = np.repeat(self.image(0).inputs, 2, axis)
            cache.several = self.scope.plan.batch is not None or any(array.shape[axis] > 1 for array in self.batches)
            with suppress(LayerscopeError):
                cache.several = cache.several or len(self._capture([pair], Question("output")).values) == 2
        return cache.several

    def scores(self, inputs: np.ndarray, target: Any, change: Change | None = None) -> np.ndarray:
        scope, backend = self.scope, self.scope._reader
        if change is not None and not backend.offers("scores"):
            raise backend.refusal("scores")
        scores = []
        for batch in array_batches(inputs, scope.plan):
            table = layer_table(scope, batch)
            with forward_pass(scope, batch.array):
                if backend.offers("scores"):
                    changes = self._changes(table, change, len(batch.ids))
                    values = backend.scores(scope.model, batch.array, target, changes)
                else:
                    output = table.choose("output")[0]
                    captured = backend.capture(scope.model, batch.array, [output.path])[output.path]
                    values = score_images(captured.values, target, output.axes)
            scores.append(np.asarray(values, np.float64)[: len(batch.ids)])
        return np.concatenate(scores)

    def _changes(self, table: LayerTable, change: Change | None, images: int) -> dict[str, Change]:
        """The change, with the address of the layer; for each of its calls where it is called image by image."""
        if change is None:
            return {}
        if self.path not in self.scope._cache.by_image:
            return {table.single(self.path): change}
        return {self.path: call_by_call(change, max(table.choose(self.path)[0].axes.find("b"), 0), images)}

    def _capture(self, arrays: Sequence[np.ndarray], question: Question) -> FeatureMap:
        """The map of one layer for arrays as the model takes them."""
        about = provenance(self.scope)

        def runs() -> Iterator[Run]:
            for array in arrays:
                for batch in array_batches(array, self.scope.plan):
                    yield run_batch(self.scope, batch, question, about)

        (fm,) = join(runs(), sum(array.shape[self.axes.index("b")] for array in arrays))[0].values()
        return fm
