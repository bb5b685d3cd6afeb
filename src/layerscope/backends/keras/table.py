"""The table of a Keras model's layers, from one run with every call seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...core.axes import prefix_names
from ...core.layer import Layer
from ..common.axes import AxesTrace, token_grid
from .attention import NAME
from .axes import Given, axes_note, input_axes, model_format, output_axes, patch_grid, stated_prefix
from .engine import Engine, dtype_name
from .field import FieldTrace
from .names import ROOT, Place, is_a, is_layer, join, kind, walk
from .outputs import Part, parts, tensors
from .watch import Call, Watch

# layers that run somebody else's graph: TensorFlow Hub's, and an exported SavedModel
BLACK_BOXES = ("KerasLayer", "TFSMLayer")


class Tabulator:
    """Gathers the calls of one run (`ended`), and tells the layers (`table`)."""

    def __init__(self, model: Any, engine: Engine) -> None:
        self._model = model
        self._engine = engine
        self._format = model_format(model, engine.data_format)
        self._trace = AxesTrace()
        self._fields = FieldTrace()
        self._grids: list[tuple[int, int]] = []
        self._rows: dict[str, dict[str, list[Layer]]] = {}
        self._where: dict[int, str] = {}
        self._steps = 0

    def ended(self, call: Call) -> None:
        """Note one call: its output's shapes and axes."""
        inputs = tensors(call.arguments, self._engine.concrete)
        given = [Given(tuple(each.shape), self._axes_in(each)) for each in inputs]
        found = parts(call.output, self._engine.concrete)
        row = self._rows.setdefault(call.place.path, {})
        self._where.setdefault(id(call.layer), call.place.path)
        if not found:
            row.setdefault("", []).append(_silent(call))
        for part in found:
            axes = self._axes_out(call, part, given)
            seen = self._fields.follow(call.layer, inputs, part.tensor) if part.numeric else None
            layer = replace(self._layer(call, part, axes, len(found)), step=self._steps, receptive=seen)
            row.setdefault(part.suffix, []).append(layer)

        self._steps += 1

    def table(self, watch: Watch) -> list[Layer]:
        """All layers, those that ran in the order in which their first call ended."""
        ran = [_merged(calls) for row in self._rows.values() for calls in row.values()]
        table = [*ran, *self._silent_ones(watch)]
        return [_numbered(layer, at) for at, layer in enumerate(table)]

    def _axes_in(self, tensor: Any) -> str | None:
        known = self._trace.get(tensor)
        if known is None and not self._rows and len(tensor.shape) > 2:
            # nothing has run yet, so this is the model's input
            known = input_axes(self._model, len(tensor.shape), self._engine.data_format) or None
            if known:
                self._trace.set(tensor, known)
                self._fields.start(tensor, known)
        return known

    def _axes_out(self, call: Call, part: Part, given: list[Given]) -> str:
        shape = tuple(part.tensor.shape)
        # a container returns the tensor that its last layer returned
        axes = self._trace.get(part.tensor) if part.numeric and _passes_on(call.layer) else None
        if axes is None and part.numeric:
            axes = output_axes(call.layer, call.parent, shape, given, self._format)
        if axes:
            self._trace.set(part.tensor, axes)
        return axes or ""

    def _layer(self, call: Call, part: Part, axes: str, count: int) -> Layer:
        shape = tuple(int(each) for each in part.tensor.shape)
        patches = patch_grid(call.layer, shape, axes)
        if patches:
            self._grids.append(patches)
        tokens = shape[axes.index("k" if "k" in axes else "n")] if axes in ("bnc", "bcqk") else 0
        grid = token_grid(tokens, self._grids) if tokens else None
        notes = [_note(call.layer, part, axes, shape, count), axes_note(call.layer, call.parent, axes)]
        path = call.place.path
        aliases = [each + part.suffix for each in call.place.aliases]
        if count > 1 and not part.suffix:
            aliases.append(path + part.where)
        return Layer(
            path=path + part.suffix,
            kind=kind(call.layer),
            axes=axes,
            shape=shape,
            calls=1,
            note="; ".join(each for each in notes if each),
            grid=grid,
            prefix=self._prefix(tokens - grid[0] * grid[1]) if grid else (),
            aliases=tuple(aliases),
            parameters=_parameters(call.layer),
        )

    def _prefix(self, count: int) -> tuple[str, ...]:
        """The names of the tokens in front; the weights that hold them are built by now, as they have run."""
        return prefix_names(count, stated_prefix(self._model, self._engine, count)) if count else ()

    def _silent_ones(self, watch: Watch) -> Iterator[Layer]:
        """The layers of the model that gave nothing in this run, with the reason."""
        if not self._rows.get(ROOT.path):
            yield Layer("", kind(self._model), note="the model ended without a result")
        for place, layer in walk(self._model):
            if self._where.get(id(layer)) == place.path:
                continue
            place = watch.names.claim(place, layer)
            if place.path not in self._rows:
                yield Layer(
                    place.path,
                    kind(layer),
                    note=self._reason(place, layer, watch),
                    aliases=place.aliases,
                    parameters=_parameters(layer),
                )

    def _reason(self, place: Place, layer: Any, watch: Watch) -> str:
        if is_a(layer, "InputLayer"):
            return "Input: nothing runs"
        if place.path in watch.traced:
            return "runs inside a compiled loop, where its values can't be seen"
        if any(not each or place.path.startswith(join(each, "")) for each in watch.restored):
            return (
                "runs inside the graph of a SavedModel, where its values can't be seen: register the model's class"
                " (tf_keras.saving.register_keras_serializable) and import it before opening the folder, or pass the model"
            )
        if id(layer) in self._where:
            return f"runs as {self._where[id(layer)]!r}"
        if join(place.path.rpartition("/")[0], NAME) in self._rows:
            return "unused: the attention around it runs fused"
        if any(each.startswith(join(place.path, "")) for each in self._rows):
            return "container: the layers inside it run one by one"
        return "did not run in this forward pass"


def _parameters(layer: Any) -> int | None:
    """The number of weights as Keras counts them, statistics included; `None` before they are built."""
    if not is_layer(layer):
        return 0
    return int(layer.count_params()) if layer.built else None


def _passes_on(layer: Any) -> bool:
    """Whether a tensor that comes out unchanged has the same axes as before: all but layers that rename them."""
    return not is_a(layer, "Flatten", "Reshape", "Permute")


def _silent(call: Call) -> Layer:
    return Layer(call.place.path, kind(call.layer), calls=1, note="returns no tensor", aliases=call.place.aliases)


def _note(layer: Any, part: Part, axes: str, shape: tuple[int, ...], count: int) -> str:
    notes = []
    if count > 1 and not part.suffix:
        notes.append(f"main output {part.where} of {count}")
    if is_a(layer, "Activation"):
        notes.append(getattr(layer.activation, "__name__", type(layer.activation).__name__))
    if type(layer).__name__ in BLACK_BOXES:
        notes.append("a black box: its inside can't be seen, the layers before and after it can")
    mode = getattr(layer, "quantization_mode", None)
    if mode:
        notes.append(f"computed in {mode}, values in {dtype_name(part.tensor.dtype)}")
    if not part.numeric:
        notes.append("not numbers")
    elif not axes:
        notes.append(f"no picture for an output with {len(shape)} axes")
    return "; ".join(notes)


def _merged(calls: list[Layer]) -> Layer:
    """The calls of one layer as one `Layer`."""
    if len(calls) == 1:
        return calls[0]
    per_call = tuple(replace(each, path=f"{each.path}:{at}", aliases=()) for at, each in enumerate(calls))
    return replace(calls[0], calls=len(calls), per_call=per_call)


def _numbered(layer: Layer, at: int) -> Layer:
    return replace(layer, index=at, per_call=tuple(replace(each, index=at) for each in layer.per_call))
