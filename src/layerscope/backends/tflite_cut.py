"""Cutting a TFLite file down to the operators that some of its tensors need, without writing it anew.

Two places of the file change, on a copy: the list of operators keeps only those that are needed, and the list of
outputs, which is added at the end, names the tensors asked for. A tensor that is an output keeps its memory to itself,
so nothing that runs later writes into it, and no delegate may leave it out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..errors import ModelNotReadable
from .tflite_buffer import unpacked
from .tflite_graph import Graph

LIMIT = 2**31
OUTPUTS, OPERATORS = 2, 3


def cut(graph: Graph, tensors: Sequence[int]) -> tuple[bytes, list[int]]:
    """(the file that ends at `tensors`, the operators that it holds). The weights are copied once."""
    content = memoryview(graph.content)
    field = graph.table.position(OUTPUTS)
    vector = graph.table.target(OPERATORS)
    padding = bytes(-len(content) % 4)
    end = len(content) + len(padding)
    if field is None or vector is None:
        raise ModelNotReadable("the model has no operators or no outputs")
    if end - field >= LIMIT:
        raise ModelNotReadable("layers of a TFLite file over 2 GB can't be captured: convert it with smaller weights")
    kept = graph.needed(tensors)
    places = [vector + 4 + 4 * at + unpacked(content, "<I", vector + 4 + 4 * at) for at in kept]
    operators = struct.pack(
        f"<{len(kept) + 1}I", len(kept), *(place - (vector + 4 + 4 * at) for at, place in enumerate(places))
    )
    patches = sorted([(vector, operators), (field, struct.pack("<I", end - field))])
    parts: list[bytes | memoryview] = []
    done = 0
    for at, patch in patches:
        parts += [content[done:at], patch]
        done = at + len(patch)
    outputs = struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)
    return b"".join([*parts, content[done:], padding, outputs]), kept
