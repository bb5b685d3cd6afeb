"""A model and a backend in numpy alone: for tests of everything that stands on backends."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..backends.common.outputs import apply_change, score_images
from ..backends.protocol import Backend, Captured, Change, Facts, Input, SteadyLayers, Target, not_offered
from ..core.layer import Layer, split_call, times
from ..errors import LayerNotCalled, unknown_layer


@dataclass(frozen=True)
class Step:
    """One step of a `TinyModel`.

    >>> Step("relu", "Relu", "bchw", lambda x: np.maximum(x, 0)).axes
    'bchw'

    Attributes:
        path: The path of the layer.
        kind: What the layer is, as its table shows it.
        axes: The axes of its output, one letter each.
        run: The function from its input to its output.
    """

    path: str
    kind: str
    axes: str
    run: Callable[[np.ndarray], np.ndarray]


@dataclass
class TinyModel:
    """Steps that run one after another on `[image, channel, y, x]`.

    >>> double = Step("double", "Scale", "bchw", lambda x: 2 * x)
    >>> captured = TinyBackend().capture(TinyModel([double, double]), np.ones((1, 3, 8, 8)), ["double"])
    >>> [float(call.values.max()) for call in captured.values()]
    [2.0, 4.0]

    Attributes:
        steps: What runs, in its order; a path may come twice.
        unused: Steps that belong to the model and never run.
        facts: What the model says of itself.
        ran: The paths of the steps that have run so far.
    """

    steps: Sequence[Step]
    unused: Sequence[Step] = ()
    facts: Facts = field(
        default_factory=lambda: Facts("tiny", (Input("image", "bchw", (None, 3, 8, 8)),), "sha256:tiny", "numpy")
    )
    ran: list[str] = field(default_factory=list)


class TinyBackend(Backend):
    """A backend without a framework, for tests of everything that stands on backends.

    >>> backend, model = TinyBackend(), tiny_model()
    >>> [layer.path for layer in backend.layers(model, np.zeros((1, 3, 8, 8), np.float32))]
    ['conv1', 'act', 'conv2', 'head', 'spare']
    """

    name = "tiny"
    gradients = not_offered("numpy doesn't differentiate")
    load = not_offered("its models are made in Python")
    load_weights = not_offered("its models are made with their weights")
    from_library = not_offered("no library has models of its kind")
    evidence = not_offered("its network has no BatchNorm")
    head = not_offered("its steps are functions, which hold their weights")
    kernel = not_offered("its steps are functions, which hold their weights")

    def owns(self, model: Any) -> bool:
        return isinstance(model, TinyModel)

    def facts(self, model: TinyModel) -> Facts:
        return model.facts

    def digest(self, model: TinyModel) -> str:
        return model.facts.digest

    def layers(self, model: TinyModel, batch: Any) -> list[Layer]:
        runs: dict[str, list[Layer]] = {}
        value = batch[:1]
        for step in model.steps:
            value = step.run(value)
            calls = runs.setdefault(step.path, [])
            ran = sum(map(len, runs.values()))
            calls.append(Layer(f"{step.path}:{len(calls)}", step.kind, step.axes, value.shape, calls=1, step=ran))
        rows: list[Layer] = []
        for path, calls in runs.items():
            row = replace(calls[0], path=path, calls=len(calls), index=len(rows))
            if len(calls) > 1:
                row = replace(row, per_call=tuple(replace(call, index=row.index) for call in calls))
            rows.append(row)
        for step in model.unused:
            rows.append(Layer(step.path, step.kind, index=len(rows), note="did not run in this forward pass"))
        return SteadyLayers(rows, for_any_number=True)

    def capture(
        self, model: TinyModel, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        if target is not None:
            raise self.refusal("gradients")
        keys = [_key(model, path) for path in paths]
        waiting, captured, value = set(keys), {}, batch
        for step, call in _calls(model):
            value = step.run(value)
            model.ran.append(step.path)
            for key in ((step.path, call), (step.path, None)):
                if key in keys:
                    path = paths[keys.index(key)]
                    several = key[1] is None and _count(model, step.path) > 1
                    captured[f"{path}:{call}" if several else path] = Captured(value.copy())
            # A plain path waits for every call, so the run goes on to the end.
            waiting.discard((step.path, call))
            if not waiting:
                break
        return captured

    def scores(self, model: TinyModel, batch: Any, target: Target, changes: Mapping[str, Change]) -> np.ndarray:
        """The target's number for each image, while steps return what `changes` makes of their values."""
        paths, value = {_key(model, path): path for path in changes}, batch
        for step, call in _calls(model):
            value = step.run(value.copy())
            for key in {(step.path, None), (step.path, call)} & paths.keys():
                value = apply_change(paths[key], changes[paths[key]], value)
        return score_images(value, target, model.steps[-1].axes)


def _calls(model: TinyModel) -> Iterator[tuple[Step, int]]:
    """The steps in execution order, each with the number of its call."""
    counts: Counter[str] = Counter()
    for step in model.steps:
        yield step, counts[step.path]
        counts[step.path] += 1


def _count(model: TinyModel, path: str) -> int:
    return [step.path for step in model.steps].count(path)


def _key(model: TinyModel, path: str) -> tuple[str, int | None]:
    """A path as the path of a step and the number of its call, `None` for every call."""
    known = [step.path for step in (*model.steps, *model.unused)]
    base, call = (path, None) if path in known else split_call(path)
    if base not in known:
        raise unknown_layer(path, known)
    count = _count(model, base)
    if not count or (call is not None and call >= count):
        raise LayerNotCalled(f"layer {path!r} has no output: it ran {times(count)} in this forward pass")
    return base, call


def tiny_model(parameters: Mapping[str, np.ndarray] | None = None, fail: bool = False) -> TinyModel:
    """The network of the suite as a `TinyModel`.

    >>> [step.path for step in tiny_model().steps]
    ['conv1', 'act', 'conv2', 'act', 'head']

    Args:
        parameters: The weights, by default those of `tiny_parameters()`.
        fail: Whether it raises "failed in the middle" instead of running `conv2`.
    """
    weights = parameters or tiny_parameters()

    def conv1(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return convolution(padded, weights["conv1.weight"], weights["conv1.bias"])

    def conv2(x: np.ndarray) -> np.ndarray:
        if fail:
            raise RuntimeError("failed in the middle")
        return convolution(x, weights["conv2.weight"], weights["conv2.bias"], 2)

    def head(x: np.ndarray) -> np.ndarray:
        return x.mean((2, 3)) @ weights["head.weight"].T + weights["head.bias"]

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0, out=x)

    return TinyModel(
        (
            Step("conv1", "Conv", "bchw", conv1),
            Step("act", "Relu", "bchw", relu),
            Step("conv2", "Conv", "bchw", conv2),
            Step("act", "Relu", "bchw", relu),
            Step("head", "Dense", "bc", head),
        ),
        unused=(Step("spare", "Conv", "bchw", conv1),),
        facts=Facts("tiny", (Input("image", "bchw", (None, 3, 8, 8)),), _digest(weights), "numpy"),
    )


def _digest(parameters: Mapping[str, np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for name, values in parameters.items():
        hashed.update(name.encode() + values.tobytes())
    return f"sha256:{hashed.hexdigest()}"


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1) -> np.ndarray:
    """Cross-correlation as every framework's convolution computes it, without padding, float32 `[b, out, h, w]`.

    >>> convolution(np.ones((1, 2, 3, 3)), np.ones((4, 2, 3, 3)), np.zeros(4)).ravel().tolist()
    [18.0, 18.0, 18.0, 18.0]

    Args:
        x: The input, `[b, c, h, w]`.
        weight: The filters, `[out, c, y, x]`.
        bias: `[out]`.
        stride: Steps along both axes of the image.
    """
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    summed: np.ndarray = np.einsum("bchwyx,ocyx->bohw", windows, weight, optimize=True)
    return (summed + bias[:, None, None]).astype(np.float32)


def tiny_parameters(seed: int = 0) -> dict[str, np.ndarray]:
    """The weights of the suite's network by name, float32, channels-first.

    >>> {name: values.shape for name, values in tiny_parameters().items() if "weight" in name}
    {'conv1.weight': (4, 3, 3, 3), 'conv2.weight': (5, 4, 3, 3), 'head.weight': (6, 5)}

    Args:
        seed: That of numpy's random generator.
    """
    draw = np.random.default_rng(seed)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "conv1.bias": (4,),
        "conv2.weight": (5, 4, 3, 3),
        "conv2.bias": (5,),
        "head.weight": (6, 5),
        "head.bias": (6,),
    }
    return {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
