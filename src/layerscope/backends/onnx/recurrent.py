"""The axes of recurrent operators, as ONNX states them: images lie along the second axis or, with `layout=1`, the first.

Formula: ONNX operators, LSTM, inputs and outputs (`[seq_length, num_directions, batch_size, hidden_size]`).
"""

from __future__ import annotations

import onnx

OPERATORS = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}


# The axes of inputs and outputs by their index, for `layout=0` and `layout=1`. A step is a token, a direction a row.
STEPS, STATE = ("nbc", "bnc"), ("hbc", "bhc")
READS = {0: STEPS, 4: ("b", "b"), 5: STATE, 6: STATE}
GIVES = (("nhbc", "bnhc"), STATE, STATE)


def _layout(node: onnx.NodeProto) -> int:
    return int(any(attribute.name == "layout" and attribute.i for attribute in node.attribute))


def axes_read(node: onnx.NodeProto, tensor: str) -> str | None:
    """The axes that a recurrent operator takes a tensor to have."""
    if node.op_type not in OPERATORS or tensor not in node.input:
        return None
    index = list(node.input).index(tensor)
    return READS[index][_layout(node)] if index in READS else None


def axes_of(node: onnx.NodeProto, index: int) -> str | None:
    """The axes of the output of a recurrent operator at that index."""
    return GIVES[index][_layout(node)] if index < len(GIVES) else None
