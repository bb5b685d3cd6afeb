"""Receptive fields where the pixels of each block lie in the batch axis, as a dilated convolution is computed.

The positions of such a tensor are kept as those of the whole picture: a window in each part of the batch is one on the picture
that is as many times wider as the blocks are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ..common.field_rules import Operation

SPREADING, JOINING = "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"
Blocks = tuple[int, ...]
APART = "its pixels lie in the batch axis"


def whole(shape: Sequence[int], blocks: Sequence[int]) -> tuple[int, ...]:
    """The shape of the picture whose blocks lie in the batch axis of `shape`.

    >>> whole((4, 8, 6, 3), (2, 2))
    (1, 16, 12, 3)
    """
    rows = [size * block for size, block in zip(shape[1:], blocks, strict=False)]
    return (shape[0] // prod(blocks), *rows, *shape[1 + len(rows) :])


def inside(operation: Operation, blocks: Sequence[int]) -> Operation | None:
    """An operation on what lies in the batch axis, as one on the picture; `None` where it can't be told."""
    if operation.kind == "elementwise":
        return operation
    count, stride = len(blocks), operation.stride
    near = operation.kind == "window" and list(operation.along) == list(range(1, count + 1))
    if not near or operation.padding != "valid" or max([stride] if isinstance(stride, int) else stride) > 1:
        return None
    own = [operation.dilation] * count if isinstance(operation.dilation, int) else operation.dilation
    return replace(operation, dilation=[block * dilation for block, dilation in zip(blocks, own, strict=True)])
