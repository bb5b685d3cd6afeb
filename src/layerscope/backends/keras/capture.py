"""The verbs that Keras 3 and tf_keras share: a table of layers, and a capture, from watched eager runs."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.layer import Layer, require_output, split_call
from ...errors import LayerNotCalled, LayerNotFound, near
from ..common.outputs import first_input
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Kernel, Pick, Target
from .engine import Engine, host
from .evidence import evidence
from .facts import digest, facts
from .names import is_graph
from .outputs import parts
from .table import Tabulator
from .target import scores, with_gradients
from .watch import Call, Stop, run
from .weights import head, kernel


class WatchingBackend(Backend):
    """Watches the layers of a model in one eager run. A child says with which engine."""

    gradients = True
    picks = True

    def engine(self) -> Engine:
        """The engine of the library in this process."""
        raise NotImplementedError

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        """Every layer, in the order in which its first call ended; those that never ran last."""
        on = self.engine()
        table = self._table(model, batch, on)
        if on.can_unroll and any(hidden(each) for each in table):
            on.unrolled = True
            unrolled = self._table(model, batch, on)
            if sum(map(hidden, unrolled)) < sum(map(hidden, table)):
                return unrolled
        return table

    def _table(self, model: Any, batch: Any, on: Engine) -> list[Layer]:
        tabulator = Tabulator(model, on)
        watch = run(model, on, lambda: forward(model, one_image(batch), on), tabulator.ended, lambda path: True)
        return tabulator.table(watch)

    def capture(
        self,
        model: Any,
        batch: Any,
        paths: Sequence[str],
        target: Target | None = None,
        picks: Mapping[str, Pick] | None = None,
    ) -> dict[str, Captured]:
        """What the named layers produce for `batch`, in execution order."""
        if not paths:
            return {}
        on, picks = self.engine(), picks or {}
        # The plain run comes first: it says which layers ran, and its values are what the gradients belong to.
        recorder = Recorder(paths, on, picks)
        run(model, on, lambda: forward(model, batch, on), recorder.ended, recorder.wants)
        if recorder.missing() and on.can_unroll:
            on.unrolled = True
            recorder = Recorder(paths, on, picks)
            run(model, on, lambda: forward(model, batch, on), recorder.ended, recorder.wants)
        missing = recorder.missing()
        if missing:
            explain(missing[0], self.layers(model, batch))
        captured = recorder.captured()
        if target is None:
            return captured
        return with_gradients(model, lambda: forward(model, batch, on), on, captured, target, recorder.pick)

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> list[float]:
        """The target's number for each image, with other values in the place of what some layers return."""
        on, images = self.engine(), len(first_input(batch))
        found, missing = scores(model, lambda: forward(model, batch, on), on, target, changes, images)
        if missing and on.can_unroll:
            on.unrolled = True
            found, missing = scores(model, lambda: forward(model, batch, on), on, target, changes, images)
        if missing:
            explain(missing[0], self.layers(model, batch))
        return found

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNormalization, against what it has seen in training."""
        on = self.engine()
        return evidence(model, on, lambda: forward(model, batch, on))

    def head(self, model: Any, batch: Any) -> Head | None:
        """The dense layer that runs last."""
        on = self.engine()
        return head(model, on, lambda: forward(model, one_image(batch), on))

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, found in a run that stops there."""
        on = self.engine()
        return kernel(model, on, lambda: forward(model, one_image(batch), on), path)

    def facts(self, model: Any) -> Facts:
        """What can be said of the model without running it."""
        return facts(model, self.engine())

    def digest(self, model: Any) -> str:
        """A digest of the weights as they are now."""
        return digest(model, self.engine())


def hidden(layer: Layer) -> bool:
    """Whether a layer gave nothing, and a compiled function may be why."""
    return layer.calls == 0 and not layer.note.startswith(("Input", "container", "runs as", "unused"))


class Recorder:
    """Keeps what the wanted layers return, and stops the run once nothing is left to wait for."""

    def __init__(self, paths: Iterable[str], on: Engine, picks: Mapping[str, Pick]) -> None:
        self._wanted, self._picks = frozenset(paths), picks
        self._on = on
        self._found: dict[tuple[str, int], dict[str, Captured]] = {}
        single = all(split_call(each)[1] is not None for each in self._wanted)
        self._waiting: set[str] | None = set(self._wanted) if single else None

    def ended(self, call: Call) -> None:
        """Copy what is wanted of one call."""
        for part in parts(call.output, self._on.concrete):
            name = call.place.path + part.suffix
            one = f"{name}:{call.number}"
            asked = [each for each in (name, one) if each in self._wanted]
            if part.numeric and asked:
                self._found[name, call.number] = {each: self._copied(each, part.tensor) for each in asked}
                if self._waiting is not None:
                    self._waiting -= {one}
        if self._waiting is not None and not self._waiting:
            raise Stop

    def wants(self, path: str) -> bool:
        """Whether any call of this path is wanted."""
        return any(split_call(each)[0] == path or each == path for each in self._wanted)

    def missing(self) -> list[str]:
        """The wanted paths for which nothing came, in the order of their names."""
        names = {name for name, _ in self._found} | {f"{name}:{number}" for name, number in self._found}
        return sorted(self._wanted - names)

    def captured(self) -> dict[str, Captured]:
        """What came, under the names of the contract, in execution order."""
        calls = Counter(name for name, _ in self._found)
        result = {}
        for (name, number), captured in self._found.items():
            one = f"{name}:{number}"
            if name in self._wanted:
                result[one if calls[name] > 1 else name] = captured[name]
            if one in self._wanted:
                result[one] = captured[one]
        return result

    def pick(self, path: str) -> Pick | None:
        """The channels that are kept of a path that was captured."""
        return self._picks.get(path if path in self._wanted else split_call(path)[0])

    def _copied(self, asked: str, tensor: Any) -> Captured:
        values, dtype = host(self._on, tensor, self._picks.get(asked))
        return Captured(values, None, dtype)


def explain(path: str, layers: list[Layer]) -> None:
    """Raise the reason why nothing came of `path`, from the table of a dry run."""
    base, _ = split_call(path)
    for layer in layers:
        if layer.path in (path, base):
            require_output(layer, layers)
            if path == layer.path:
                raise LayerNotCalled(f"layer {path!r} runs for the first image alone, but did not for the whole batch")
            raise LayerNotFound(
                f"layer {layer.path!r} ran {layer.calls} time{'s' * (layer.calls != 1)}, so it has calls"
                f" :0 to :{layer.calls - 1}: {path!r} is none of them"
            )
    ends = [each.path for each in layers if each.path.endswith("/" + base)]
    known = [each for layer in layers for each in (layer.path, *layer.aliases)]
    last = {each.rpartition("/")[2]: each for each in known}
    hint = f" Did you mean {ends[0]!r}?" if ends else near(path, known) or near(path, last)
    raise LayerNotFound(f"no layer {path!r} in this model of {len(layers)} layers.{hint} `layers()` lists them all")


def one_image(batch: Any) -> Any:
    """The batch with its first image alone."""
    return _each_array(batch, lambda array: array[:1] if getattr(array, "ndim", 0) else array)


def forward(model: Any, batch: Any, on: Engine) -> Any:
    """The model's output for `batch`, run eagerly on tensors of its own."""
    batch = _each_array(batch, on.own)
    spread = () if is_graph(model) else _parameters(model)
    if isinstance(getattr(model, "_inputs_struct", None), list) and isinstance(batch, np.ndarray):
        # Keras takes a tensor for a list of one input, but warns of an array
        batch = [batch]
    if isinstance(batch, Mapping) and spread and set(batch) <= set(spread):
        return model(**batch, training=False)
    if isinstance(batch, tuple) and 1 < len(batch) <= len(spread):
        return model(*batch, training=False)
    return model(batch, training=False)


def _parameters(model: Any) -> tuple[str, ...]:
    """The names of the tensors that a subclassed model's `call` takes."""
    every = inspect.signature(model.call).parameters.values()
    return tuple(
        each.name
        for each in every
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) and each.name not in ("training", "mask")
    )


def _each_array(batch: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(batch, Mapping):
        return {key: _each_array(each, change) for key, each in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_each_array(each, change) for each in batch)
    return change(batch)
