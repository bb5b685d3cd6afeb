"""TFLite (LiteRT) models, run by the interpreter on an in-memory cut of the file that ends at the layers asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ...core.layer import Layer, split_call
from ...errors import BadOption, LayerNotCalled, LayerNotFound, ModelNotReadable, near
from ..common.outputs import scored
from ..graph.codes import described
from ..graph.run import first_image, joined, singles
from ..protocol import Backend, Captured, Change, Facts, Head, Input, Kernel, Target, not_offered
from .axes import AxesFlow
from .field import FieldFlow
from .graph import IDENTIFIER, Graph, Tensor
from .model import Output, TfliteModel
from .run import Feeds, Session, dequantised, feeds_of, runtime
from .table import _file_shapes, _layer, _parameters
from .target import one_of, replaced
from .weights import head, kernel

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")


MOST_HELD = 2


WAY = "convert the model with a free batch axis"


class TfliteBackend(Backend):
    """Layers of TFLite files. `threads` is the number of threads inside an operator, `None` for one."""

    name = "tflite"
    gradients = not_offered("the TFLite interpreter computes none")
    from_library = not_offered("TFLite has no library of models to name: give the file")
    load_weights = not_offered("a TFLite file holds its own weights")
    evidence = not_offered("the converter folds BatchNorms into the convolutions before them")

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._models: list[tuple[bytes, TfliteModel]] = []
        self._flows: dict[str, AxesFlow] = {}

    def owns(self, model: Any) -> bool:
        if isinstance(model, bytes):
            return model[4:8] == IDENTIFIER
        return isinstance(model, TfliteModel) or _is_interpreter(model)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> TfliteModel:
        """The model in a `.tflite` file. Opening one runs no code from it, so `trust` makes no difference."""
        if weights is not None:
            raise ModelNotReadable(
                f"weights={str(weights)!r}: a TFLite file holds its own weights, so leave weights out"
            )
        return TfliteModel.from_file(Path(source))

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        held = self._held(model)
        graph = held.graph
        shapes = self._shapes(held, first_image(graph.fixed, feeds_of(graph, held.inputs, batch)))
        flow = AxesFlow(graph, shapes)
        fields = FieldFlow(graph, flow)
        found = [
            replace(_layer(held, each, shapes, flow, at), receptive=fields.fields(each.tensor.index))
            for at, each in enumerate(held.layers)
        ]
        if held.final:
            last = _layer(held, held.final, shapes, flow, len(found))
            others = f"of the signature {held.key!r}; the layers of {', '.join(held.others)} are not listed"
            note = "; ".join(each for each in (last.note, others if held.others else "") if each)
            named = (held.final.tensor.name,)
            last = replace(last, path="", kind="Model", note=note, grid=None, aliases=named)
            seen = fields.fields(held.final.tensor.index)
            found.append(replace(last, parameters=_parameters(held), receptive=seen))
        found.sort(key=lambda layer: not layer.calls)
        return [replace(each, index=at) for at, each in enumerate(found)]

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        if target is not None:
            raise self.refusal("gradients")
        held = self._held(model)
        wanted = _wanted(held, paths)
        tensors = list({each.tensor.index: each.tensor for each in wanted.values()}.values())
        if not tensors:
            return {}
        feeds = feeds_of(held.graph, held.inputs, batch)
        values = self._run(held, tensors, feeds)
        found = {
            tensor.index: Captured(dequantised(tensor, value), dtype=tensor.type if tensor.quantised else "")
            for tensor, value in zip(tensors, values, strict=True)
        }
        return {name: found[each.tensor.index] for name, each in wanted.items()}

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
        """The target's number for each image, with other values in the place of what some layers return.

        The file runs to each changed layer, and from there on. A function as target is given the output of one image as numpy.
        """
        held = self._held(model)
        if held.final is None:
            raise BadOption("the model has no output to aim at")
        feeds, final = feeds_of(held.graph, held.inputs, batch), held.final.tensor
        wanted = [(path, each.tensor) for path, each in _wanted(held, changes).items()]
        fixed = replaced(
            held.graph,
            [(path, tensor, changes[path]) for path, tensor in wanted],
            lambda tensors, given: self._run(held, tensors, feeds, given),
        )
        if final.index not in fixed:
            fixed |= {final.index: self._run(held, [final], feeds, fixed)[0]}
        axes = self._flow(held, feeds).axes[final.index]
        return scored(dequantised(final, fixed[final.index]), target, axes)

    def _flow(self, held: TfliteModel, feeds: Feeds) -> AxesFlow:
        """The axes of every tensor; found once for each model, as a combination asks for many scores."""
        if held.digest not in self._flows:
            shapes = self._shapes(held, first_image(held.graph.fixed, feeds))
            self._flows = {held.digest: AxesFlow(held.graph, shapes)}
        return self._flows[held.digest]

    def head(self, model: Any, batch: Any) -> Head | None:
        """The last dense layer of the file; nothing is run."""
        return head(self._held(model))

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, read from the file."""
        held = self._held(model)
        (found,) = _wanted(held, [path]).values()
        return kernel(held.graph, found.operator)

    def digest(self, model: Any) -> str:
        """The checksum of the file."""
        return self._held(model).digest

    def facts(self, model: Any) -> Facts:
        """What the file says about itself: inputs, checksum, and preprocessing and class names where it has them."""
        held = self._held(model)
        graph, said = held.graph, held.said
        flow = AxesFlow(graph, _file_shapes(graph))
        called = {index: name for name, index in held.inputs.items()}
        return Facts(
            name=said.name or (held.path.stem if held.path else "model"),
            inputs=tuple(
                Input(called.get(index, each.name), flow.axes[index], each.shape, _fed(each), _codes(each))
                for index in graph.inputs
                for each in (graph.tensors[index],)
            ),
            digest=held.digest,
            framework=runtime()[0],
            recipe=said.recipe,
            source=said.source,
            labels=said.labels,
        )

    def _held(self, model: Any) -> TfliteModel:
        if isinstance(model, TfliteModel):
            return model
        content = model if isinstance(model, bytes) else _content(model)
        for known, held in self._models:
            if known is content:
                return held
        self._models = [*self._models[1 - MOST_HELD :], (content, TfliteModel(content))]
        return self._models[-1][1]

    def _session(self, held: TfliteModel, tensors: Sequence[int], given: Sequence[int] = ()) -> Session:
        key = (tuple(tensors), tuple(given), self.threads)
        return held.sessions.get(key, lambda: Session(held.graph, tensors, self.threads, given))

    def _run(
        self, held: TfliteModel, tensors: Sequence[Tensor], feeds: Feeds, fixed: Mapping[int, np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The tensors for a batch, one image at a time where the model takes only one. `fixed` are values of tensors on the
        way, in the file's own types."""
        fixed, indices = fixed or {}, [each.index for each in tensors]
        session = self._session(held, indices, list(fixed))
        apart = singles(held.graph.fixed, feeds, WAY)
        if apart is None:
            return session.run({**feeds, **fixed})
        flow = self._flow(held, feeds) if fixed else None
        if flow:
            apart = [each | one_of(fixed, at, flow) for at, each in enumerate(apart)]
        results = [session.run(each) for each in apart]
        shapes = {index: value.shape for index, value in zip(indices, results[0], strict=True)}
        flow = flow or AxesFlow(held.graph, {**_file_shapes(held.graph), **shapes})
        return joined(results, indices, flow, lambda index: held.graph.tensors[index].name)

    def _shapes(self, held: TfliteModel, feeds: Feeds) -> dict[int, tuple[int, ...]]:
        """The shape of every input, and of every layer that can be run, by one run."""
        graph = held.graph
        tensors = [each.tensor.index for each in held.layers if each.tensor.numeric]
        try:
            found = self._run_once(graph, tensors, feeds)
        except ModelNotReadable:
            before = [index for index in tensors if index not in graph.after_custom]
            if len(before) in (0, len(tensors)):
                raise
            found = self._run_once(graph, before, feeds)
        return {**{index: value.shape for index, value in feeds.items()}, **found}

    def _run_once(self, graph: Graph, tensors: Sequence[int], feeds: Feeds) -> dict[int, tuple[int, ...]]:
        """The shapes by an interpreter that isn't kept, since it holds every layer's memory."""
        values = Session(graph, tensors, self.threads).run(feeds)
        return {index: value.shape for index, value in zip(tensors, values, strict=True)}


def _fed(tensor: Tensor) -> str:
    """The type that an input takes: quantised ones take floats, which are quantised; uint8 takes pixels as they are."""
    return "float32" if tensor.quantised and tensor.type != "uint8" else tensor.type


def _codes(tensor: Tensor) -> str:
    """What the codes of an input are, where one scale says it."""
    single = tensor.quantised and tensor.scale.size == 1
    return described(float(tensor.scale[0]), int(tensor.zero[0]), tensor.type) if single else ""


def _is_interpreter(model: Any) -> bool:
    return any(each.__module__ in INTERPRETERS and each.__name__ == "Interpreter" for each in type(model).__mro__)


def _content(interpreter: Any) -> bytes:
    """The bytes that an interpreter was made from; it keeps them only where it was given bytes."""
    content = getattr(interpreter, "_model_content", None)
    if not isinstance(content, bytes):
        raise ModelNotReadable(
            "this Interpreter was opened from a file and doesn't say which: give the path of the .tflite file instead"
        )
    return content


def _wanted(held: TfliteModel, paths: Iterable[str]) -> dict[str, Output]:
    """The outputs that the paths name, each under the name it is given back by, in execution order."""
    found = {path: held.names[path] if path in held.names else _refuse(held, path) for path in paths}
    order = {each.tensor.index: at for at, each in enumerate(held.layers)}
    return dict(sorted(found.items(), key=lambda item: (order[item[1].tensor.index], item[0] == "")))


def _refuse(held: TfliteModel, path: str) -> NoReturn:
    graph = held.graph
    base, call = split_call(path)
    if call is not None and base in held.names:
        raise LayerNotFound(f"layer {base!r} ran once, so it has the call :0, not :{call}")
    names = {each.name: each.index for each in graph.tensors} | held.inputs
    if names.get(path) in graph.inputs:
        raise LayerNotCalled(f"{path!r} is the model's input, not a layer: the batch itself is its value")
    if path in names:
        raise LayerNotCalled(f"{path!r} has no output to show: it is a weight, a constant or arithmetic on sizes")
    raise LayerNotFound(f"no layer {path!r}.{near(path, held.names)} `layers()` lists them all")
