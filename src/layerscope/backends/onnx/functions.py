"""Local functions of an ONNX model: their nodes put where they are called, each with the calls that it lies in."""

from __future__ import annotations

import json

import onnx
from onnx import inliner

from .checks import check_calls

SCOPE = "layerscope.scope"


Key = tuple[str, str, str]


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with what its local functions hold in place of their calls, the weights by name alone; `model` itself where
    it has no functions. A function of another opset than the model's stays a call."""
    if not model.functions:
        return model
    check_calls(model)
    copy = onnx.ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    copy.graph.name = model.graph.name or "graph"
    copy.graph.node.extend(model.graph.node)
    copy.graph.input.extend(model.graph.input)
    copy.graph.output.extend(model.graph.output)
    for weight in model.graph.initializer:
        named = copy.graph.initializer.add(name=weight.name, data_type=weight.data_type, dims=weight.dims)
        named.data_location = onnx.TensorProto.EXTERNAL
    calls = _Calls(model)
    for node in copy.graph.node:
        calls.mark(node, (), ())
    copy.functions.extend(calls.made)
    try:
        return inliner.inline_local_functions(copy)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):  # then they stay calls, as the table says
        return model


def scope_of(node: onnx.NodeProto) -> tuple[tuple[str, ...], str] | None:
    """(the calls that a node lies in, outermost first, each with those around it; its name), `None` for one in no function."""
    for entry in node.metadata_props:
        if entry.key == SCOPE:
            *calls, name = json.loads(entry.value)
            return tuple(calls), name
    return None


class _Calls:
    """A copy of a function for each of its calls, whose nodes say which call that is."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.functions: dict[Key, onnx.FunctionProto] = {_key(entry): entry for entry in model.functions}
        self.versions = {entry.domain: entry.version for entry in model.opset_import}
        self.made: list[onnx.FunctionProto] = []

    def mark(self, node: onnx.NodeProto, around: tuple[str, ...], within: tuple[Key, ...]) -> None:
        """Point a call of a function at a copy of its own."""
        key = (node.domain, node.op_type, node.overload)
        function = self.functions.get(key)
        if function is None or key in within or self._of_other_opset(function):
            return
        name = node.name or next((output for output in node.output if output), node.op_type)
        calls = (*around, f"{around[-1]}/{name}" if around else name)
        own = onnx.FunctionProto()
        own.CopyFrom(function)
        own.name = f"{function.name}:{len(self.made)}"
        self.made.append(own)
        node.op_type = own.name
        for inner in own.node:
            del inner.metadata_props[:]
            inner.metadata_props.add(key=SCOPE, value=json.dumps([*calls, inner.name or inner.op_type]))
            self.mark(inner, calls, (*within, key))

    def _of_other_opset(self, function: onnx.FunctionProto) -> bool:
        return any(self.versions.get(opset.domain, opset.version) != opset.version for opset in function.opset_import)


def _key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name, function.overload
