"""The weights that each node of an ONNX graph reads."""

from __future__ import annotations

from math import prod

import onnx

from .onnx_graph import Graph

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
CODES = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
# Their constants are options, no weights.
NO_WEIGHTS = {"Resize", "Upsample", "Clip", "Pad", "Dropout", "QuantizeLinear", "DequantizeLinear", "TopK", "Range"}

# Where the weights are among the inputs of operators on codes; the others are scales and zero points.
STORED = {"QLinearConv": (3, 8), "QLinearMatMul": (3,), "QGemm": (3, 6), "ConvInteger": (1,), "MatMulInteger": (1,)}


def weights_of(graph: Graph, node: onnx.NodeProto) -> dict[str, int]:
    """The stored weights that a node reads, also through casts and dequantisation, and how many numbers each has."""
    found: dict[str, int] = {}
    if node.op_type in NO_WEIGHTS:
        return found
    inputs, kinds = list(node.input), FLOATS | CODES
    if node.op_type in STORED:
        inputs = [inputs[at] for at in STORED[node.op_type] if at < len(inputs)]
        kinds |= {onnx.TensorProto.INT32}  # biases of convolutions on codes
    for name in inputs:
        tensor = graph.initializers.get(graph.weight_name(name)) if name and name not in graph.data else None
        if tensor is not None and len(tensor.dims) and tensor.data_type in kinds:
            found[tensor.name] = prod(tensor.dims)
    return found
