"""The table of a Keras model's layers, from one run with every call seen, and by it why nothing came of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ...core.axes import prefix_names
from ...core.layer import Layer, no_call, require_output, split_call
from ...core.note import Note, kind_of
from ...errors import LayerNotCalled, LayerNotFound, near, unknown_layer
from ...safe_text import counted
from ..common.axes import for_one_image
from ..common.field import Positions
from ..common.run import dry_run
from ..common.table import NO_TENSOR, merge_calls
from ..common.tokens import located
from ..protocol import SteadyLayers
from .attention import NAME
from .axes import Axes, Output, axes_note, stated_prefix, walked
from .axes_query import Named, Source
from .engine import Part, dtype_name
from .field import Fields
from .model import KerasModel
from .probe import order_of
from .tree import ROOT, Location, is_a, is_layer, is_library_class, join, kind, usual_name, walk
from .watch import Call, Watch, watched_run

# layers that run somebody else's graph: TensorFlow Hub's, and an exported SavedModel
BLACK_BOXES = ("KerasLayer", "TFSMLayer")


# kinds of notes on layers that gave nothing, where a compiled function may be why
HIDDEN = ("not-called", "no-output", "compiled", "saved-model")


Result = TypeVar("Result")


def layers(model: KerasModel, batch: Any) -> list[Layer]:
    """Every layer, in the order in which its first call ended; those that never ran last."""
    table = _dry_run(model, batch)
    hidden = sum(map(_is_hidden, table))
    if hidden and model.engine.can_unroll:
        model.engine.unrolled = True
        unrolled = _dry_run(model, batch)
        table = unrolled if sum(map(_is_hidden, unrolled)) < hidden else table
    return SteadyLayers(table, for_any_number=True) if _is_steady(model.root) else table


def _is_steady(root: Any) -> bool:
    """Whether nothing but the library's own code calls layers: code of others may do so as often as the values say."""
    layers = [root, *(layer for _, layer in walk(root) if is_layer(layer))]
    return all(is_library_class(type(layer)) and not is_a(layer, "Lambda") for layer in layers)


def _dry_run(model: KerasModel, batch: Any) -> list[Layer]:
    """The table of one run on the first image."""

    def run(part: Any, images: int) -> list[Layer]:
        tabulator = Tabulator(model, images)
        with watched_run(model, lambda: model.forward(part), tabulator.record, lambda path: True) as watch:
            return tabulator.table(watch)

    return dry_run(batch, run, model.part_for_dry_run)


def _is_hidden(layer: Layer) -> bool:
    """Whether a layer gave nothing, where a compiled function may be why."""
    return layer.calls == 0 and kind_of(layer.note) in HIDDEN


class Tabulator:
    """Gathers the calls of one run (`record`), and lists the layers (`table`)."""

    def __init__(self, model: KerasModel, images: int) -> None:
        self._model, self._engine, self._images = model.root, model.engine, images
        self._axes = Axes(model)
        self._fields = Fields()
        self._queries: dict[str, list[Any]] = {}
        # the axes of a guess may be settled by what runs later
        self._rows: dict[str, dict[str, list[tuple[Layer, Named, Positions | None]]]] = {}
        self._paths: dict[int, str] = {}
        self._steps = 0

    def record(self, call: Call) -> None:
        """Note one call: its output's shapes and axes."""
        inputs = self._engine.tensors_in(call.arguments)
        sources = [self._source(tensor) for tensor in inputs]
        parts = self._engine.parts_of(call.output)
        row = self._rows.setdefault(call.location.path, {})
        self._paths.setdefault(id(call.layer), call.location.path)
        if not parts:
            silent = Layer(call.location.path, kind(call.layer), calls=1, note=NO_TENSOR, aliases=call.location.aliases)
            row.setdefault("", []).append((silent, Named(""), None))
        parent, _, name = call.location.path.rpartition("/")
        if name in ("query", "key") and parts:
            self._queries.setdefault(parent, [None, None])[name == "key"] = parts[0].tensor
        for part in parts:
            known = self._follow(call, part, inputs, sources) if part.numeric else (Named(""), None)
            layer = self._layer(call, part, known[0].axes, len(parts))
            row.setdefault(part.suffix, []).append((replace(layer, step=self._steps), *known))
        self._axes.forget_inside(call.layer)
        self._steps += 1

    def _follow(
        self, call: Call, part: Part, inputs: list[Any], sources: list[Source]
    ) -> tuple[Named, Positions | None]:
        """The axes of one tensor that a call returned, and where it lies on the image."""
        positions = self._fields.follow(call.layer, inputs, part.tensor, call.arguments)
        order = self._order(call, part, inputs, sources, positions=positions)
        if order is not None and positions is not None:
            positions = self._fields.turn(inputs[0], part.tensor, order) or positions
        if not call.location.path and tuple(part.tensor.shape) == (self._images,):
            return Named("b"), positions  # the model's own number for each image
        turned = "" if order is None else "".join((sources[0].axes or "")[axis] for axis in order)
        output = Output(call.layer, call.parent, part.tensor, sources, positions, call.arguments, turned)
        named = self._axes.letters(output)
        if named.axes == "bcqk":
            queries = self._queries.get(call.location.path.rpartition("/")[0], ())
            positions = self._fields.weights(queries, tuple(part.tensor.shape)) or positions
        return named, positions

    def _order(
        self, call: Call, part: Part, inputs: list[Any], sources: list[Source], *, positions: Positions | None
    ) -> tuple[int, ...] | None:
        """The order of the axes after a layer of which nothing else tells it; `None` where they stay as they are."""
        known = self._axes.source(part.tensor).axes is not None or (positions is not None and walked(positions))
        if known or not inputs or len(sources[0].axes or "") != len(sources[0].shape):
            return None
        return order_of(self._engine, call, inputs[0], part)

    def table(self, watch: Watch) -> list[Layer]:
        """All layers, those that ran in the order in which their first call ended."""
        ran = [calls for row in self._rows.values() for calls in row.values()]
        rows = [_merge([self._settled(*call) for call in calls], index) for index, calls in enumerate(ran)]
        return [*rows, *(replace(layer, index=index) for index, layer in enumerate(self._not_called(watch), len(rows)))]

    def _source(self, tensor: Any) -> Source:
        """A tensor that went into a layer, with its axes; the first ones are the model's own input."""
        source = self._axes.source(tensor)
        if source.axes is None and not self._rows and len(tensor.shape) > 2:
            # nothing has run yet, so this is the model's input
            source = self._axes.of_input(tensor)
            if source.axes:
                self._fields.start(tensor, source.axes)
        return source

    def _settled(self, layer: Layer, named: Named, positions: Positions | None) -> Layer:
        """A row with its axes as they are known at the end of the run, and where its units lie."""
        if layer.shape is None:
            return layer
        shape = for_one_image(named.axes, layer.shape, self._images)
        layer = replace(layer, axes=named.axes, shape=shape, doubt=named.doubt)
        return located(layer, positions, self._prefix)

    def _layer(self, call: Call, part: Part, axes: str, count: int) -> Layer:
        """One tensor of `count` that a call returned, as a row."""
        shape = tuple(int(size) for size in part.tensor.shape)
        notes = [*_notes(call.layer, part, axes, count), axes_note(call.layer, call.parent, axes)]
        path = call.location.path
        aliases = [alias + part.suffix for alias in call.location.aliases]
        if count > 1 and not part.suffix:
            aliases.append(path + part.subpath)
        return Layer(
            path=path + part.suffix,
            kind=kind(call.layer),
            axes=axes,
            shape=shape,
            calls=1,
            note="; ".join(filter(None, notes)),
            aliases=tuple(aliases),
            parameters=_parameters(call.layer),
            part=part.subpath if count > 1 and not part.suffix else "",
            usual_name=usual_name(call.layer),
        )

    def _prefix(self, count: int) -> tuple[str, ...]:
        """The names of the tokens that lie nowhere; the weights that hold them are built by now, as they have run."""
        return prefix_names(count, stated_prefix(self._model, self._engine, count)) if count else ()

    def _not_called(self, watch: Watch) -> Iterator[Layer]:
        """The layers of the model that gave nothing in this run, with the reason."""
        if not self._rows.get(ROOT.path):
            yield Layer("", kind(self._model), note=Note("no-output", "the model ended without a result"))
        for location, layer in walk(self._model):
            if self._paths.get(id(layer)) == location.path:
                continue
            location = watch.names.claim(location, layer)
            if location.path not in self._rows:
                note, parameters = self._reason(location, layer, watch), _parameters(layer)
                yield Layer(location.path, kind(layer), note=note, aliases=location.aliases, parameters=parameters)

    def _reason(self, location: Location, layer: Any, watch: Watch) -> Note:
        """Why a layer gave nothing."""
        if is_a(layer, "InputLayer"):
            return Note("input", "Input: nothing runs")
        if location.path in watch.traced:
            return Note("compiled", "runs inside a compiled loop, where its values can't be seen")
        if any(not graph or location.path.startswith(join(graph, "")) for graph in watch.restored):
            return Note(
                "saved-model",
                "runs inside the graph of a SavedModel, where its values can't be seen: register the model's class"
                " (tf_keras.saving.register_keras_serializable) and import it before opening the folder, or pass the model",
            )
        if id(layer) in self._paths:
            return Note("other-path", f"runs as {self._paths[id(layer)]!r}")
        if join(location.path.rpartition("/")[0], NAME) in self._rows:
            return Note("fused", "unused: the attention around it runs fused")
        if any(path.startswith(join(location.path, "")) for path in self._rows):
            return Note("container", "container: the layers inside it run one by one")
        return Note("not-called", "did not run in this forward pass")


def _parameters(layer: Any) -> int | None:
    """The number of weights as Keras counts them, statistics included; `None` before they are built."""
    if not is_layer(layer):
        return 0
    return int(layer.count_params()) if layer.built else None


def _notes(layer: Any, part: Part, axes: str, count: int) -> Iterator[str]:
    """What there is to say of one of the `count` tensors that a layer returned."""
    if count > 1 and not part.suffix:
        yield f"main output {part.subpath} of {count}"
    if is_a(layer, "Activation"):
        yield getattr(layer.activation, "__name__", type(layer.activation).__name__)
    if type(layer).__name__ in BLACK_BOXES:
        yield "a black box: its inside can't be seen, the layers before and after it can"
    mode = getattr(layer, "quantization_mode", None)
    if mode:
        yield f"computed in {mode}, values in {dtype_name(part.tensor.dtype)}"
    if not part.numeric:
        yield "not numbers"
    elif not axes:
        yield f"no picture for an output with {counted(len(part.tensor.shape), 'axis', 'axes')}"


def _merge(calls: list[Layer], index: int) -> Layer:
    """The calls of one layer as one `Layer`."""
    first = calls[0]
    bare = [replace(call, aliases=()) for call in calls] if len(calls) > 1 else calls
    return merge_calls(first.path, bare, index, aliases=first.aliases)


def complete(model: KerasModel, batch: Any, attempt: Callable[[], tuple[Result, Sequence[str]]]) -> Result:
    """The result of `attempt`, a run that returns the paths of which nothing came as well; raises where there are any."""
    result, missing = attempt()
    if missing and model.engine.can_unroll:
        model.engine.unrolled = True
        result, missing = attempt()
    if missing:
        raise _why_missing(missing[0], layers(model, batch))
    return result


def _why_missing(path: str, table: list[Layer]) -> Exception:
    """Why nothing came of `path`, from the table of a dry run."""
    base, call = split_call(path)
    layer = next((layer for layer in table if layer.path in (path, base)), None)
    if layer is None:
        return _not_found(path, table)
    require_output(layer, table)
    if call is None or path == layer.path:
        return LayerNotCalled(f"layer {path!r} runs for the first image alone, but did not for the whole batch")
    return no_call(layer.path, layer.calls, call)


def _not_found(path: str, table: list[Layer]) -> LayerNotFound:
    """The error for a path that no layer has, with near ones."""
    paths = [name for layer in table for name in (layer.path, *layer.aliases)]
    nested = [name for name in paths if name.endswith("/" + split_call(path)[0])]
    if nested:
        return unknown_layer(path, (), f". Did you mean {nested[0]!r}?")
    return unknown_layer(path, paths, near(path, [name.rpartition("/")[2] for name in paths]))
