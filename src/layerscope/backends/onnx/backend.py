"""ONNX models, run by ONNX Runtime on an in-memory cut of the graph that ends at the layers asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # its types are a package of their own

from ...core.layer import Layer, split_call
from ...errors import BadOption, LayerNotCalled, LayerNotFound, ModelNotReadable, near
from ..common.outputs import changed, scored
from ..graph.codes import described, recipe_of_range
from ..graph.run import Sessions, first_image, joined, singles
from ..protocol import Backend, Captured, Change, Evidence, Facts, Head, Input, Kernel, Target, not_offered
from .axes import AxesFlow
from .cut import Given, cut
from .evidence import first_norm, own_scaling
from .facts import RECIPE, labels, read, stated_sizes
from .field import FieldFlow
from .model import OnnxModel, Output
from .run import TEXT, Feeds, Session, feeds_of
from .table import indexed, inferred_shapes, layer_of, map_shapes, together
from .weights import head, kernel, weights_of

WAY = "export the model with a free batch axis"


class OnnxBackend(Backend):
    """Layers of ONNX graphs. `threads` is the number of threads inside an operator, `None` for the runtime's choice."""

    name = "onnx"
    gradients = not_offered("ONNX Runtime computes none")
    random = False
    from_library = not_offered("ONNX has no library of models to name: give the file")
    load_weights = not_offered("an ONNX file holds its own weights")

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self._sessions: Sessions[Session] = Sessions()
        self._flows: dict[str, tuple[frozenset[str], AxesFlow]] = {}

    def owns(self, model: Any) -> bool:
        return isinstance(model, onnx.ModelProto | OnnxModel)

    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> OnnxModel:
        """The model in an `.onnx` file. Opening one runs no code from it, so `trust` makes no difference."""
        path = Path(source)
        if weights is not None:
            raise ModelNotReadable(
                f"weights={str(weights)!r}: an ONNX file holds its own weights, so leave weights out"
            )
        try:
            proto = onnx.load(path, load_external_data=False)
        except FileNotFoundError as error:
            raise ModelNotReadable(f"there is no file {path}") from error
        except (OSError, DecodeError) as error:
            raise ModelNotReadable(f"{path.name} is no ONNX model, or a damaged one: {error}") from error
        if not proto.graph.node:
            raise ModelNotReadable(f"{path.name} is no ONNX model, or a damaged one: it has no nodes")
        return OnnxModel(proto, path.absolute())

    def layers(self, model: Any, batch: Any) -> list[Layer]:
        held = _held(model)
        feeds = first_image(held.graph.fixed, feeds_of(held.graph, batch))
        shapes = self._shapes(held, feeds)
        flow = AxesFlow(held.graph, shapes)
        fields = FieldFlow(held.graph, flow)
        rows: dict[str, list[Layer]] = {}
        for step, each in enumerate(held.outputs):
            layer = replace(layer_of(held.graph, each, shapes, flow), step=step, receptive=fields.fields(each.tensor))
            rows.setdefault(each.address.path, []).append(layer)
        listed = [together(path, calls) for path, calls in rows.items()]
        if held.final:
            last = layer_of(held.graph, held.final, shapes, flow)
            last = replace(last, path="", kind="Model", aliases=(held.final.tensor,), grid=None)
            last = replace(last, receptive=fields.fields(held.final.tensor), parameters=_parameters(held))
            listed.append(replace(last, step=len(held.outputs)))
        return [indexed(each, index) for index, each in enumerate(listed)]

    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        if target is not None:
            raise self.refusal("gradients")
        held = _held(model)
        wanted = _wanted(held, paths)
        tensors = tuple(dict.fromkeys(each.tensor for each in wanted.values()))
        if not tensors:
            return {}
        feeds = feeds_of(held.graph, batch)
        session, values = self._run(held, tensors, feeds, {})
        found = {
            tensor: Captured(value, dtype=dtype)
            for tensor, value, dtype in zip(tensors, values, session.dtypes, strict=True)
        }
        return {name: found[each.tensor] for name, each in wanted.items()}

    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
        """The target's number for each image, with other values in the place of what a layer returns.

        With a change the graph runs to the layer, and from it to the end. A function as target is given the output of one image
        as numpy.
        """
        held = _held(model)
        if held.final is None:
            raise BadOption("the model has no output to aim at")
        feeds, final = feeds_of(held.graph, batch), held.final.tensor
        places = {path: each.tensor for name in changes for path, each in _wanted(held, [name]).items()}
        asked = {path: changes.get(path) or changes[split_call(path)[0]] for path in places}
        order = {each.tensor: at for at, each in enumerate(held.outputs)}
        fixed: dict[Given, np.ndarray] = {}
        for path in sorted(places, key=lambda each: order[places[each]]):
            values, given = self._given(held, feeds, path, places[path], fixed)
            fixed = {each: value for each, value in fixed.items() if each.tensor != given.tensor}
            fixed[given] = changed(path, asked[path], values)
            if given.tensor in held.graph.codes and np.isnan(fixed[given]).any():
                raise BadOption(f"the change for layer {path!r} gave NaN, for which its codes have no place")
        axes = self._flow(held, feeds, [final]).axes[final]
        return scored(self._run(held, (final,), feeds, fixed)[1][0], target, axes)

    def _given(
        self, held: OnnxModel, feeds: Feeds, path: str, tensor: str, fixed: Mapping[Given, np.ndarray]
    ) -> tuple[np.ndarray, Given]:
        """What a layer returns, and how other values are given in its place."""
        if tensor in held.graph.attention_maps:
            raise BadOption(
                f"{path!r} is shown as other values than the graph goes on with, so they can't be changed:"
                " change the operator itself"
            )
        session, (values,) = self._run(held, (tensor,), feeds, fixed)
        cast = "" if tensor in held.graph.codes else session.dtypes[0]
        return values, Given(tensor, onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.ndim, cast)

    def _run(
        self, held: OnnxModel, tensors: tuple[str, ...], feeds: Feeds, fixed: Mapping[Given, np.ndarray]
    ) -> tuple[Session, list[np.ndarray]]:
        """The tensors for a batch, one image at a time where the model takes only one. `fixed` are values of tensors on the
        way."""
        session = self._session(held, tensors, tuple(fixed))
        session.check()
        apart = singles(held.graph.fixed, feeds, WAY)
        if apart is None:
            return session, session.run({**feeds, **{each.name: value for each, value in fixed.items()}})
        flow = self._flow(held, feeds, [*tensors, *(each.tensor for each in fixed)])
        for each, value in fixed.items():
            if "b" not in flow.axes[each.tensor]:
                raise BadOption(
                    f"the model takes one image at a time, and {each.tensor!r} has no batch axis: change one image at a time"
                )
            rows = np.split(value, len(apart), flow.axes[each.tensor].index("b"))
            for one, row in zip(apart, rows, strict=True):
                one[each.name] = row
        return session, joined([session.run(each) for each in apart], tensors, flow, str)

    def _flow(self, held: OnnxModel, feeds: Feeds, tensors: Sequence[str]) -> AxesFlow:
        """The axes of tensors and of what leads to them; kept for a model, as a combination asks for many scores."""
        covered, flow = self._flows.get(held.digest, (frozenset(), None))
        if flow is None or not covered.issuperset(tensors):
            covered |= frozenset(tensors)
            shapes = self._shapes(held, first_image(held.graph.fixed, feeds), sorted(covered))
            flow = AxesFlow(held.graph, shapes)
            self._flows = {held.digest: (covered, flow)}
        return flow

    def head(self, model: Any, batch: Any) -> Head | None:
        """The last dense layer of the graph; nothing is run."""
        return head(_held(model))

    def digest(self, model: Any) -> str:
        """The checksum of the file, or of the proto as it is now."""
        return _held(model).digest

    def facts(self, model: Any) -> Facts:
        """What the file says about itself: inputs, checksum, and preprocessing and class names where it has them."""
        held = _held(model)
        graph, said = held.graph, {each.key: each.value for each in held.proto.metadata_props}
        known = {each.name: each.shape for each in graph.takes.values()}
        flow = AxesFlow(graph, {name: tuple(size or 1 for size in shape) for name, shape in known.items() if shape})
        recipe, source = read(said, RECIPE), "the model's metadata"
        if recipe is None:
            recipe, source = own_scaling(graph)
        first = next(iter(graph.takes.values()), None)
        if recipe is None and first is not None and first.codes:
            recipe, source = recipe_of_range(*first.codes, str(first.dtype)) or (None, "")
        return Facts(
            name=graph.model.graph.name or (held.path.stem if held.path else "model"),
            inputs=tuple(
                Input(
                    each.name,
                    flow.axes[each.name],
                    stated_sizes(said, flow.axes[each.name], known[each.name] or ()),
                    "float32" if each.codes and each.dtype == np.int8 else each.own,
                    described(*each.codes, str(each.dtype)) if each.codes else "",
                )
                for each in graph.takes.values()
            ),
            digest=held.digest,
            framework=f"onnxruntime {onnxruntime.__version__}",
            recipe=recipe,
            source=source,
            labels=labels(said),
        )

    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNormalization, against what it has seen in training; exporters fold most of them."""
        held = _held(model)
        first = first_norm(held.graph)
        if first is None:
            return None
        feeds = feeds_of(held.graph, batch)
        apart = [feeds] if first.tensor in feeds else singles(held.graph.fixed, feeds, WAY) or [feeds]
        if first.tensor in feeds:
            parts = [feeds[first.tensor]]
        else:
            session = self._session(held, (first.tensor,))
            parts = [session.run(each)[0] for each in apart]
        values = np.concatenate(parts).astype(np.float32, copy=False)
        if values.ndim != 4 or values.shape[1] != first.mean.size:
            return None
        return Evidence(first.name, first.mean, first.variance, values.mean((2, 3)), values.var((2, 3)))

    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`, read from the graph."""
        held = _held(model)
        return kernel(held, next(iter(_wanted(held, [path]).values())))

    def _session(self, held: OnnxModel, tensors: tuple[str, ...], given: tuple[Given, ...] = ()) -> Session:
        if held.path:
            return held.sessions.get(
                (tensors, given, self.threads),
                lambda: Session(held.graph, tensors, held.files, self.threads, given=given),
            )
        # a ModelProto can be changed by whoever holds it, so its sessions are found by content
        part = cut(held.graph, tensors, None, given=given)
        key = (part.digest, tensors, self.threads)
        return self._sessions.get(key, lambda: Session(held.graph, tensors, None, self.threads, part, given))

    def _shapes(
        self, held: OnnxModel, feeds: Feeds, wanted: Sequence[str] | None = None
    ) -> dict[str, tuple[int, ...] | None]:
        """The shape of every layer, or of those on the way to `wanted`: inferred, and by one run where that isn't enough."""
        outputs = held.outputs
        if wanted is not None:
            steps = set(held.graph.ancestors(wanted))
            outputs = [each for each in outputs if held.graph.made_by[each.tensor] in steps]
        shapes: dict[str, tuple[int, ...] | None] = {name: value.shape for name, value in feeds.items()}
        shapes |= inferred_shapes(held.graph, feeds)
        shapes |= {each.tensor: None for each in outputs if each.tensor in held.graph.foreign}
        maps = held.graph.attention_maps
        for late in (False, True):
            # Attention weights after the tensors that they are made of, whose shapes may be enough.
            shapes |= map_shapes(held.graph, shapes) if late else {}
            names = [each.tensor for each in outputs if each.tensor not in shapes]
            missing = tuple(name for name in names if late or name not in maps)
            if missing:
                session = self._session(held, missing)
                held.graph.text.update(name for name, said in session.unshown.items() if said == TEXT)
                shapes |= {
                    name: None if name in session.unshown else value.shape
                    for name, value in zip(missing, session.run(feeds), strict=True)
                }
        return shapes


def _parameters(held: OnnxModel) -> int:
    """The number of weights that the layers of the model read, shared ones once."""
    weights: dict[str, int] = {}
    for each in held.graph.nodes:
        if any(name in held.graph.data for name in each.output):
            weights |= weights_of(held.graph, each)
    return sum(weights.values())


def _held(model: Any) -> OnnxModel:
    return model if isinstance(model, OnnxModel) else OnnxModel(model)


def _wanted(held: OnnxModel, paths: Iterable[str]) -> dict[str, Output]:
    """The outputs that the paths name, each under the name it is given back by, in execution order."""
    found: dict[str, Output] = {}
    for path in paths:
        outputs = held.names.get(path)
        base, call = split_call(path)
        if outputs is None and call is not None and base in held.names:
            outputs = held.names[base]
            if call or len(outputs) > 1:
                raise LayerNotFound(
                    f"layer {base!r} ran {len(outputs)} times, so it has calls :0 to :{len(outputs) - 1}, not :{call}"
                )
        if outputs is None:
            _refuse(held, path)
        for each in outputs:
            found[path if len(outputs) == 1 else each.address.full] = each
    if len(found) == 1:
        return found
    order = {each.tensor: at for at, each in enumerate(held.outputs)}
    return dict(sorted(found.items(), key=lambda item: (order[item[1].tensor], item[0] == "")))


def _refuse(held: OnnxModel, path: str) -> NoReturn:
    graph = held.graph
    if path in graph.initializers or path in graph.made_by or any(each.name == path for each in graph.nodes):
        raise LayerNotCalled(f"{path!r} has no output to show: it is a weight, a constant or arithmetic on sizes")
    if any(each.name == path for each in graph.inputs):
        raise LayerNotCalled(f"{path!r} is the model's input, not a layer: the batch itself is its value")
    raise LayerNotFound(f"no layer {path!r}.{near(path, held.names)} `layers()` lists them all")
