"""Addresses of the nodes of an ONNX graph: the paths of the modules that they came from, where the file still says so.

PyTorch's two exporters leave different traces. `torch.export`'s writes the list of modules into each node's metadata;
the TorchScript one makes it part of the node's name, `/features/features.0/Conv`. Without either, a node's name is all.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx

from ..graph.model import Address
from ..graph.walk import free_path
from .functions import scope_of
from .graph import Graph

SCOPES = "pkg.torch.onnx.name_scopes"


CLASSES = "pkg.torch.onnx.class_hierarchy"


RULE = "pkg.onnxscript.rewriter.rule_name"


NO_MODULE = "_empty_nn_module_stack"


FOLDS_INTO = {"Conv", "ConvTranspose", "Gemm"}


@dataclass(frozen=True)
class Origin:
    """The modules around a node, outermost first (`("features", "features.3")`), and its name in the innermost."""

    modules: tuple[str, ...]
    name: str
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def scope(self) -> str:
        return self.modules[-1] if self.modules else ""


def addresses(graph: Graph, indices: Sequence[int]) -> dict[int, Address]:
    """A distinct address for each of the nodes `indices`, which are in the graph's order."""
    origins = {
        step: _with_fold_note(graph, graph.nodes[step], origin)
        for step in indices
        if (origin := _origin(graph.nodes[step]))
    }
    by_step = _module_addresses(graph, origins)
    taken = {address.full for address in by_step.values()} | {address.path for address in by_step.values()}
    for step in indices:
        if step not in by_step:
            node = graph.nodes[step]
            path = free_path(node.name or main_output(node), taken)
            by_step[step] = Address(path)
    return {step: _with_own_names(graph.nodes[step], by_step[step]) for step in indices}


def main_output(node: onnx.NodeProto) -> str:
    """The first output that a node has."""
    return next(str(name) for name in node.output if name)


def _origin(node: onnx.NodeProto) -> Origin | None:
    called = scope_of(node)
    if called is not None:
        return Origin(*called)
    recorded = {entry.key: entry.value for entry in node.metadata_props}
    if SCOPES in recorded:
        *modules, name = _string_list(recorded[SCOPES]) or [""]
        inside = tuple(module for module in modules if module and not module.startswith(NO_MODULE))
        return Origin(inside, node.op_type)
    if node.name.startswith("/"):
        *parts, name = node.name[1:].split("/")
        return Origin(_module_paths(parts), name)
    return None


def _string_list(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):  # written by someone else under the same key: then it says nothing
        return []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _module_paths(parts: Sequence[str]) -> tuple[str, ...]:
    """`["layer1", "layer1.0", "conv1"]` as `("layer1", "layer1.0", "layer1.0.conv1")`."""
    modules: list[str] = []
    before = ""
    for part in parts:
        parent = modules[-1] if modules else ""
        own = part.removeprefix(before + ".") if before and part.startswith(before + ".") else part
        modules.append(f"{parent}.{own}" if parent else own)
        before = part
    return tuple(modules)


def _with_fold_note(graph: Graph, node: onnx.NodeProto, origin: Origin) -> Origin:
    """The origin with a note where the file shows that a BatchNorm was folded into the node."""
    if node.op_type not in FOLDS_INTO or len(node.input) < 2:
        return origin
    recorded = {entry.key: entry.value for entry in node.metadata_props}
    weight = graph.weight_name(node.input[1])
    classes = _string_list(recorded.get(CLASSES, "[]"))
    if "FuseBatchNorm" in recorded.get(RULE, "") or any(".batchnorm." in kind for kind in classes):
        owner, norm = weight.removesuffix(".weight"), origin.scope
        note = f"BatchNorm {norm!r} is folded in: the values are its output"
        parents = tuple(module for module in origin.modules[:-1] if owner.startswith(module + "."))
        if owner == weight or parents != origin.modules[:-1]:
            return replace(origin, note=note)
        return replace(origin, modules=(*parents, owner), aliases=(norm,), note=note)
    numbered = [re.fullmatch(r"onnx::\w+_\d+", graph.weight_name(name)) for name in node.input[1:3]]
    if len(numbered) == 2 and all(numbered) and node.op_type != "Gemm":
        # the exporter numbers the tensors that it computes; a convolution's weight *and* bias only for this
        return replace(origin, note="BatchNorm is folded in: the values are its output")
    return origin


def _module_addresses(graph: Graph, origins: dict[int, Origin]) -> dict[int, Address]:
    steps = sorted(origins)
    by_step: dict[int, Address] = {}
    aliases: dict[int, list[str]] = {step: [] for step in steps}
    within: dict[str, list[int]] = {}
    for step in steps:
        for module in origins[step].modules or ("",):
            within.setdefault(module, []).append(step)
    taken: set[str] = set()
    for module, members in within.items():
        runs = _calls(graph, steps, members)
        for call, run in enumerate(runs):
            number = call if len(runs) > 1 else None
            ending = _exit(graph, run) if module else None
            for step, name in _nodes_inside(run, origins, module, ending):
                path = free_path(name, taken) if number is None else name
                taken.add(path)
                by_step[step] = Address(path, number, note=origins[step].note)
            if ending is not None and origins[ending].scope != module:
                aliases[ending].append(module if number is None else f"{module}:{number}")
    for step in steps:
        suffix = "" if by_step[step].call is None else f":{by_step[step].call}"
        extra = [alias + suffix for alias in origins[step].aliases]
        by_step[step] = replace(by_step[step], aliases=(*extra, *aliases[step]))
    return by_step


def _calls(graph: Graph, steps: Sequence[int], members: Sequence[int]) -> list[list[int]]:
    """The runs of a module: stretches of its nodes with other nodes between, if each does the same."""
    order = {step: index for index, step in enumerate(steps)}
    runs: list[list[int]] = []
    for step in members:
        if runs and order[step] == order[runs[-1][-1]] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    if len({tuple(graph.nodes[step].op_type for step in run) for run in runs}) > 1:
        return [list(members)]
    return runs


def _exit(graph: Graph, run: Sequence[int]) -> int:
    """The node whose output leaves the module: what the module returned."""
    inside = set(run)
    leaving = [
        step
        for step in run
        if any(
            name in graph.outputs or any(taker not in inside for taker in graph.taken_by.get(name, ()))
            for name in graph.nodes[step].output
            if name
        )
    ]
    return leaving[-1] if leaving else run[-1]


def _nodes_inside(
    run: Sequence[int], origins: dict[int, Origin], module: str, ending: int | None
) -> Iterator[tuple[int, str]]:
    """The nodes of a run that lie in the module itself, each with its path."""
    counts: Counter[str] = Counter()
    for step in run:
        if origins[step].scope != module:
            continue
        if step == ending:
            yield step, module
            continue
        name = origins[step].name
        inner = name if not counts[name] else f"{name}_{counts[name]}"
        counts[name] += 1
        yield step, f"{module}/{inner}" if module else inner


def _name_before(node: onnx.NodeProto) -> str:
    """The name before onnxruntime.quantization put another operator in the node's place."""
    return node.name.removesuffix("_quant") if node.op_type.startswith(("QLinear", "QGemm")) else ""


def _with_own_names(node: onnx.NodeProto, address: Address) -> Address:
    names = dict.fromkeys(name for name in (*address.aliases, node.name, _name_before(node), main_output(node)) if name)
    names.pop(address.full, None)
    return replace(address, aliases=tuple(names))
