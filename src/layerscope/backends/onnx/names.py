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

from ..graph.walk import free
from .functions import scope_of
from .graph import Graph

SCOPES = "pkg.torch.onnx.name_scopes"


CLASSES = "pkg.torch.onnx.class_hierarchy"


RULE = "pkg.onnxscript.rewriter.rule_name"


NO_MODULE = "_empty_nn_module_stack"


FOLDS_INTO = {"Conv", "ConvTranspose", "Gemm"}


@dataclass(frozen=True)
class Address:
    """Where a node is found: `path`, or `path:call` where its module runs more than once."""

    path: str
    call: int | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def full(self) -> str:
        return self.path if self.call is None else f"{self.path}:{self.call}"


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


def addresses(graph: Graph, steps: Sequence[int]) -> dict[int, Address]:
    """A distinct address for each of the nodes `steps` (indices into the graph, in order)."""
    origins = {at: _folded(graph, graph.nodes[at], origin) for at in steps if (origin := _origin(graph.nodes[at]))}
    found = _module_addresses(graph, origins)
    taken = {each.full for each in found.values()} | {each.path for each in found.values()}
    for at in steps:
        if at not in found:
            node = graph.nodes[at]
            path = free(node.name or main_output(node), taken)
            found[at] = Address(path)
    return {at: _with_own_names(graph.nodes[at], found[at]) for at in steps}


def main_output(node: onnx.NodeProto) -> str:
    """The first output that a node has."""
    return next(str(name) for name in node.output if name)


def _origin(node: onnx.NodeProto) -> Origin | None:
    called = scope_of(node)
    if called is not None:
        return Origin(*called)
    recorded = {each.key: each.value for each in node.metadata_props}
    if SCOPES in recorded:
        *modules, name = _string_list(recorded[SCOPES]) or [""]
        inside = tuple(each for each in modules if each and not each.startswith(NO_MODULE))
        return Origin(inside, node.op_type)
    if node.name.startswith("/"):
        *parts, name = node.name[1:].split("/")
        return Origin(_joined(parts), name)
    return None


def _string_list(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):  # written by someone else under the same key: then it says nothing
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _joined(parts: Sequence[str]) -> tuple[str, ...]:
    """`["layer1", "layer1.0", "conv1"]` as `("layer1", "layer1.0", "layer1.0.conv1")`."""
    modules: list[str] = []
    before = ""
    for part in parts:
        parent = modules[-1] if modules else ""
        own = part.removeprefix(before + ".") if before and part.startswith(before + ".") else part
        modules.append(f"{parent}.{own}" if parent else own)
        before = part
    return tuple(modules)


def _folded(graph: Graph, node: onnx.NodeProto, origin: Origin) -> Origin:
    """The origin with a note where the file shows that a BatchNorm was folded into the node."""
    if node.op_type not in FOLDS_INTO or len(node.input) < 2:
        return origin
    recorded = {each.key: each.value for each in node.metadata_props}
    weight = graph.weight_name(node.input[1])
    classes = _string_list(recorded.get(CLASSES, "[]"))
    if "FuseBatchNorm" in recorded.get(RULE, "") or any(".batchnorm." in each for each in classes):
        owner, norm = weight.removesuffix(".weight"), origin.scope
        note = f"BatchNorm folded: values are after {norm!r}"
        parents = tuple(each for each in origin.modules[:-1] if owner.startswith(each + "."))
        if owner == weight or parents != origin.modules[:-1]:
            return replace(origin, note=note)
        return replace(origin, modules=(*parents, owner), aliases=(norm,), note=note)
    numbered = [re.fullmatch(r"onnx::\w+_\d+", graph.weight_name(each)) for each in node.input[1:3]]
    if len(numbered) == 2 and all(numbered) and node.op_type != "Gemm":
        # the exporter numbers the tensors that it computes; a convolution's weight *and* bias only for this
        return replace(origin, note="BatchNorm folded: values are after it")
    return origin


def _module_addresses(graph: Graph, origins: dict[int, Origin]) -> dict[int, Address]:
    steps = sorted(origins)
    found: dict[int, Address] = {}
    aliases: dict[int, list[str]] = {at: [] for at in steps}
    within: dict[str, list[int]] = {}
    for at in steps:
        for module in origins[at].modules or ("",):
            within.setdefault(module, []).append(at)
    taken: set[str] = set()
    for module, members in within.items():
        runs = _calls(graph, steps, members)
        for call, run in enumerate(runs):
            number = call if len(runs) > 1 else None
            ending = _exit(graph, run) if module else None
            for at, name in _own(run, origins, module, ending):
                path = free(name, taken) if number is None else name
                taken.add(path)
                found[at] = Address(path, number, note=origins[at].note)
            if ending is not None and origins[ending].scope != module:
                aliases[ending].append(module if number is None else f"{module}:{number}")
    for at in steps:
        suffix = "" if found[at].call is None else f":{found[at].call}"
        extra = [each + suffix for each in origins[at].aliases]
        found[at] = replace(found[at], aliases=(*extra, *aliases[at]))
    return found


def _calls(graph: Graph, steps: Sequence[int], members: Sequence[int]) -> list[list[int]]:
    """The runs of a module: stretches of its nodes with other nodes between, if each does the same."""
    place = {at: order for order, at in enumerate(steps)}
    runs: list[list[int]] = []
    for at in members:
        if runs and place[at] == place[runs[-1][-1]] + 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    if len({tuple(graph.nodes[at].op_type for at in run) for run in runs}) > 1:
        return [list(members)]
    return runs


def _exit(graph: Graph, run: Sequence[int]) -> int:
    """The node whose output leaves the module: what the module returned."""
    inside = set(run)
    leaving = [
        at
        for at in run
        if any(
            name in graph.outputs or any(taker not in inside for taker in graph.taken_by.get(name, ()))
            for name in graph.nodes[at].output
            if name
        )
    ]
    return leaving[-1] if leaving else run[-1]


def _own(run: Sequence[int], origins: dict[int, Origin], module: str, ending: int | None) -> Iterator[tuple[int, str]]:
    """The nodes of a run that lie in the module itself, each with its path."""
    seen: Counter[str] = Counter()
    for at in run:
        if origins[at].scope != module:
            continue
        if at == ending:
            yield at, module
            continue
        name = origins[at].name
        inner = name if not seen[name] else f"{name}_{seen[name]}"
        seen[name] += 1
        yield at, f"{module}/{inner}" if module else inner


def _unquantised(node: onnx.NodeProto) -> str:
    """The name before onnxruntime.quantization put another operator in the node's place."""
    return node.name.removesuffix("_quant") if node.op_type.startswith(("QLinear", "QGemm")) else ""


def _with_own_names(node: onnx.NodeProto, address: Address) -> Address:
    names = dict.fromkeys(name for name in (*address.aliases, node.name, _unquantised(node), main_output(node)) if name)
    names.pop(address.full, None)
    return replace(address, aliases=tuple(names))
