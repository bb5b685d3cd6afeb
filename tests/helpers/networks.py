"""Random small networks, and the same one in PyTorch, Keras and ONNX, with the same weights and the same names.

A network is a tree of steps. Each step that is a layer has a path (`("inner", "conv3")`), and `built.paths` says how each
framework calls it; a network's shared activation has one path per call.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Step:
    """One step: a layer (`kind` and what it needs), two branches (`add`, `cat`), or a network inside (`inner`)."""

    kind: str
    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    branches: tuple[tuple[Step, ...], ...] = ()

    def __getitem__(self, key: str) -> Any:
        return dict(self.parameters)[key]


@dataclass
class Plan:
    """What the drawing keeps: numbers for names, and the size of the map so far."""

    channels: int = 3
    size: int = 12
    count: int = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


LAYERS = ("conv", "conv", "depthwise", "norm", "relu", "shared", "pool", "mean_pool", "up", "transposed")


@st.composite
def networks(draw: Any) -> tuple[Step, ...]:
    """A whole network: steps, then the mean over the pixels and a dense layer."""
    plan = Plan()
    steps = _sequence(draw, plan, depth=2, least=2)
    return (*steps, Step("head", "head", (("features", plan.channels), ("units", 4))))


def _sequence(draw: Any, plan: Plan, depth: int, least: int = 1, same: bool = False) -> tuple[Step, ...]:
    """Steps after one another; with `same`, the size of the map stays."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(least, 3))):
        kinds = [*LAYERS, *(("add", "cat", "inner") if depth else ())]
        kind = draw(st.sampled_from(kinds))
        steps.append(_step(draw, plan, kind, depth, same))
    return tuple(steps)


def _step(draw: Any, plan: Plan, kind: str, depth: int, same: bool) -> Step:
    if kind in ("add", "cat"):
        return _branches(draw, plan, kind, depth)
    if kind == "inner":
        # A network called twice would need its own names for each call; one that is called once is enough here.
        return Step("inner", plan.name("inner"), branches=(_sequence(draw, plan, depth - 1, same=same),))
    if kind in ("pool", "mean_pool", "up", "transposed") and (same or plan.size < 4):
        kind = "relu"
    if kind in ("up", "transposed") and plan.size > 12:
        kind = "pool"
    if kind == "shared" and not same:
        # Not within branches: Keras runs parallel branches in an order of its own, and numbers the calls by it.
        return Step("relu", "act")
    kind = "relu" if kind == "shared" else kind
    name, before = plan.name(kind), plan.channels
    if kind == "conv":
        plan.channels = draw(st.integers(1, 5))
        kernel, stride = draw(st.sampled_from((1, 2, 3))), 1 if same or plan.size < 5 else draw(st.sampled_from((1, 2)))
        dilation = draw(st.sampled_from((1, 2))) if stride == 1 else 1  # Keras has no stride with dilation
        kernel = 3 if same and kernel == 2 else kernel  # an even window has no padding that keeps the size
        reach = dilation * (kernel - 1)
        padding = reach // 2 if same or plan.size <= reach else draw(st.integers(0, reach // 2))
        plan.size = (plan.size + 2 * padding - reach - 1) // stride + 1
        parameters = {"before": before, "after": plan.channels, "kernel": kernel, "stride": stride}
        return Step(kind, name, (*parameters.items(), ("dilation", dilation), ("padding", padding)))
    if kind == "depthwise":
        return Step(kind, name, (("channels", before),))
    if kind == "transposed":
        plan.channels = draw(st.integers(1, 4))
        plan.size = (plan.size - 1) * 2 + 3
        return Step(kind, name, (("before", before), ("after", plan.channels)))
    if kind in ("pool", "mean_pool"):
        plan.size //= 2
    if kind == "up":
        plan.size *= 2
    return Step(kind, name, (("channels", before),))


def _branches(draw: Any, plan: Plan, kind: str, depth: int) -> Step:
    name, before, branches, ends = plan.name(kind), plan.channels, [], []
    for _ in range(2):
        plan.channels = before
        branches.append(_sequence(draw, plan, depth - 1, same=True))
        ends.append(plan.channels)
    if kind == "add" and ends[0] != ends[1]:
        # A projection makes the second branch fit, as in a residual block.
        fit = {"before": ends[1], "after": ends[0], "kernel": 1, "stride": 1, "dilation": 1, "padding": 0}
        branches[1] = (*branches[1], Step("conv", plan.name("conv"), tuple(fit.items())))
    plan.channels = ends[0] if kind == "add" else sum(ends)
    return Step(kind, name, branches=tuple(branches))


def weights(step: Step) -> dict[str, np.ndarray]:
    """The weights of a layer, in PyTorch's order of axes; the same at every call."""
    draw = np.random.default_rng(zlib.crc32(step.name.encode()))
    normal = draw.standard_normal
    if step.kind == "conv":
        size = (step["after"], step["before"], step["kernel"], step["kernel"])
        arrays = {"weight": normal(size) / np.sqrt(np.prod(size[1:])), "bias": normal(size[0])}
    elif step.kind == "depthwise":
        arrays = {"weight": normal((step["channels"], 1, 3, 3)) / 3, "bias": normal(step["channels"])}
    elif step.kind == "transposed":
        arrays = {"weight": normal((step["before"], step["after"], 3, 3)) / 3, "bias": normal(step["after"])}
    elif step.kind == "norm":
        count = step["channels"]
        arrays = {
            "weight": normal(count),
            "bias": normal(count),
            "mean": normal(count),
            "var": normal(count) ** 2 + 0.5,
        }
    elif step.kind == "head":
        arrays = {"weight": normal((step["units"], step["features"])), "bias": normal(step["units"])}
    else:
        arrays = {}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def step_paths(steps: tuple[Step, ...], within: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of each layer's call, in the order in which they run; a shared activation comes once for each call."""
    order: list[tuple[str, ...]] = []
    for step in steps:
        if step.kind == "inner":
            order += step_paths(step.branches[0], (*within, step.name))
        else:
            for branch in step.branches:
                order += step_paths(branch, within)
            order.append((*within, step.name))
    return order


def paths(steps: tuple[Step, ...], separator: str) -> list[str]:
    """Each call's path: `inner2.conv3:0`, `act:1`."""
    counts: dict[tuple[str, ...], int] = {}
    calls = []
    for path in step_paths(steps):
        call = counts[path] = counts.get(path, -1) + 1
        calls.append(f"{separator.join(path)}:{call}")
    return calls
