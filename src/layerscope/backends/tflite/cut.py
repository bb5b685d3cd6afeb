"""Cutting a TFLite file down to the operators that some of its tensors need, without writing it anew.

Two places of the file change, on a copy: the list of operators keeps only those that are needed, and the list of
outputs, which is added at the end, names the tensors asked for. A tensor that is an output keeps its memory to itself,
so nothing that runs later writes into it, and no delegate may leave it out. Where the values of some tensors are given,
these become inputs beside the model's own, and what makes them is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...errors import ModelNotReadable
from .flatbuffer import unpack
from .graph import Graph

LIMIT = 2**31


INPUTS, OUTPUTS, OPERATORS = 1, 2, 3


def cut(graph: Graph, tensors: Sequence[int], replaced: Sequence[int] = ()) -> tuple[bytes, list[int]]:
    """(the file that ends at `tensors`, the operators that it holds). The weights are copied once.

    `replaced` are tensors that become inputs, after the model's own.
    """
    content = memoryview(graph.content)
    vector = graph.table.target(OPERATORS)
    padding = bytes(-len(content) % 4)
    if vector is None:
        raise ModelNotReadable("the model has no operators")
    kept = graph.needed(tensors, replaced)
    places = [vector + 4 + 4 * index + unpack(content, "<I", vector + 4 + 4 * index) for index in kept]
    operators = struct.pack(
        f"<{len(kept) + 1}I", len(kept), *(place - (vector + 4 + 4 * index) for index, place in enumerate(places))
    )
    patches, added = [(vector, operators)], padding
    for number, listed in ((INPUTS, (*graph.inputs, *replaced) if replaced else ()), (OUTPUTS, tensors)):
        if listed:
            patches.append(_pointed(graph, number, len(content) + len(added)))
            added += struct.pack(f"<I{len(listed)}i", len(listed), *listed)
    parts: list[bytes | memoryview] = []
    copied = 0
    for index, patch in sorted(patches):
        parts += [content[copied:index], patch]
        copied = index + len(patch)
    return b"".join([*parts, content[copied:], added]), kept


def _pointed(graph: Graph, number: int, end: int) -> tuple[int, bytes]:
    """(where a field lies, what makes it refer to a list at `end`)."""
    field = graph.table.position(number)
    if field is None:
        raise ModelNotReadable(f"the model has no {'inputs' if number == INPUTS else 'outputs'}")
    if end - field >= LIMIT:
        raise ModelNotReadable("layers of a TFLite file over 2 GB can't be captured: convert it with smaller weights")
    return field, struct.pack("<I", end - field)
