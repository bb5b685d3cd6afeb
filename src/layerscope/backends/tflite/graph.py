"""The main subgraph of a TFLite file: its tensors, its operators, and who makes and takes what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from ..graph.walk import ancestors
from .checks import check_graphs
from .flatbuffer import Bytes, Damaged, Table, view
from .schema import ACTIVATIONS, FUSED, OPERATORS, SHAPE_BOOKKEEPING, STATEFUL, TYPES, kind
from .verify import verify

IDENTIFIER = b"TFL3"


SMALL = 1024


NUMPY = {
    *(
        "float32",
        "float16",
        "float64",
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ),
}


INTEGERS = {"int8", "uint8", "int16", "uint16", "int32", "int4"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. `shape` has `None` for sizes that are free; `scale` and `zero` are empty where it isn't quantised."""

    index: int
    name: str
    shape: tuple[int | None, ...]
    type: str
    buffer: int
    scale: np.ndarray
    zero: np.ndarray
    axis: int = 0

    @property
    def quantised(self) -> bool:
        return self.scale.size > 0 and self.type in INTEGERS

    @property
    def codes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and zero point, shaped to go along the axis that they differ on; `None` where it isn't quantised."""
        shape = [1] * len(self.shape)
        if self.scale.size > 1:
            shape[self.axis % len(shape)] = self.scale.size
        return (self.scale.reshape(shape), self.zero.reshape(shape)) if self.quantised else None

    @property
    def numeric(self) -> bool:
        return self.type not in ("string", "resource", "variant")


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator, by the indices of its tensors; those left out are not among `inputs`."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None = field(default=None, repr=False)
    custom: str = ""

    @property
    def activation(self) -> str:
        """The activation that runs inside the operator, `""` for none."""
        number = self.setting(FUSED[self.name]) if self.name in FUSED else 0
        return ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else f"activation_{number}"

    @property
    def kind(self) -> str:
        return self.custom or kind(self.name, self.activation)

    def setting(self, field: int, kind: str = "b", default: int = 0) -> int:
        """A number of the operator's options."""
        return self.options.number(field, kind, default) if self.options else default


class Part(NamedTuple):
    """What becomes of a dimension in a `STRIDED_SLICE`: the dimension (`None`: a new one), which of the operator's numbers
    are for it (`None`: it stays whole), and whether one position is picked, so that it goes."""

    dim: int | None
    entry: int | None
    picked: bool = False


def slices(operator: Operator, rank: int, entries: int) -> list[Part]:
    """The dimensions of a `STRIDED_SLICE` in their order; `entries` is how many numbers it has for each of its inputs.

    Formula: TensorFlow, `strided_slice`.
    """
    ellipsis, added, picked = (operator.setting(field, "i") for field in (2, 3, 4))
    spread = rank - entries + (added & ~ellipsis).bit_count() + bool(ellipsis)
    parts: list[Part] = []
    dim = 0
    for entry in range(entries):
        if ellipsis >> entry & 1:
            parts += [Part(dim + further, None) for further in range(spread)]
            dim += spread
        elif added >> entry & 1:
            parts.append(Part(None, None))
        else:
            parts.append(Part(dim, entry, bool(picked >> entry & 1)))
            dim += 1
    return parts + [Part(further, None) for further in range(dim, rank)]


class Signature(NamedTuple):
    """The signature of the main subgraph: its name, inputs and outputs by the names that the converter was given; the names
    of the signatures of other subgraphs."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    others: list[str]


class Graph:
    """The main subgraph of a file, which is only read. Raises `Damaged` where the file contradicts itself."""

    def __init__(self, content: Bytes) -> None:
        verify(content)
        self.content = content
        self.model = Table.root(content)
        self.codes = [_code(entry) for entry in self.model.tables(1)]
        self.buffers = self.model.positions(4)
        check_graphs(self.model, self.codes, self.buffers)
        subgraphs = list(self.model.tables(2))
        if not subgraphs:
            raise Damaged("the TFLite file is damaged: it holds no graph")
        self.table = subgraphs[0]
        self.tensors = [_tensor(index, entry) for index, entry in enumerate(self.table.tables(0))]
        self.inputs = self._indices(self.table, 1)
        self.outputs = self._indices(self.table, 2)
        self.operators = [self._operator(index, entry) for index, entry in enumerate(self.table.tables(3))]
        self.made_by = {index: entry.index for entry in self.operators for index in entry.outputs}
        for entry in self.tensors:
            self.stored(entry)

    def _indices(self, table: Table, field: int) -> tuple[int, ...]:
        numbers = table.numbers(field, np.int32)
        indices = () if numbers is None else tuple(int(number) for number in numbers if number != -1)
        if any(not 0 <= number < len(self.tensors) for number in indices):
            raise Damaged("the TFLite file is damaged: an operator names a tensor that doesn't exist")
        return indices

    def _operator(self, index: int, table: Table) -> Operator:
        number = table.number(0, "I")
        if number >= len(self.codes):
            raise Damaged("the TFLite file is damaged: an operator is of a kind that doesn't exist")
        name, custom = self.codes[number]
        options = table.table(4) if table.number(3, "B") else table.table(12) if table.number(11, "B") else None
        return Operator(index, name, self._indices(table, 1), self._indices(table, 2), options, custom)

    @property
    def file_shapes(self) -> dict[int, tuple[int, ...]]:
        """The shapes as the file states them, free sizes as 1: enough to follow axes by."""
        return {tensor.index: tuple(size or 1 for size in tensor.shape) for tensor in self.tensors if tensor.shape}

    @cached_property
    def signature(self) -> Signature:
        """The first signature of the main subgraph."""
        tables = list(self.model.tables(7))
        others = [table.text(2) for table in tables if table.number(4, "I")]
        for table in tables:
            if not table.number(4, "I"):
                inputs, outputs = (
                    {entry.text(0): entry.number(1, "I") for entry in table.tables(field)} for field in (0, 1)
                )
                return Signature(table.text(2), inputs, outputs, others)
        return Signature("", {}, {}, others)

    @cached_property
    def taken_by(self) -> dict[int, list[int]]:
        taken: dict[int, list[int]] = {}
        for operator in self.operators:
            for index in dict.fromkeys(operator.inputs):
                taken.setdefault(index, []).append(operator.index)
        return taken

    @cached_property
    def data(self) -> set[int]:
        """The tensors that depend on what is in the inputs, not only on their sizes."""
        tensors, variables = set(self.inputs), set[int]()
        for operator in self.operators:
            taken = [index for index in operator.inputs if index in tensors or index in variables]
            if taken and operator.name == "ASSIGN_VARIABLE":
                variables.add(operator.inputs[0])
            elif taken and operator.name not in SHAPE_BOOKKEEPING:
                tensors.update(operator.outputs)
        return tensors

    @cached_property
    def after_custom(self) -> dict[int, str]:
        """The tensors that need an operator that isn't TFLite's own, and the first such operator."""
        customs: dict[int, str] = {}
        for operator in self.operators:
            custom = operator.custom or next((customs[index] for index in operator.inputs if index in customs), "")
            if custom:
                customs.update(dict.fromkeys(operator.outputs, custom))
        return customs

    def needed(self, tensors: Iterable[int], replaced: Sequence[int] = ()) -> list[int]:
        """The operators that must run to make `tensors`, in order: all up to the last one where some have a state.

        Those that make only `replaced` tensors, whose values are there already, need not run.
        """
        made_by = {index: step for index, step in self.made_by.items() if index not in replaced}
        steps = ancestors(tensors, made_by, lambda step: self.operators[step].inputs)
        before = self.operators[: max(steps, default=-1) + 1]
        if any(operator.name in STATEFUL for operator in before):
            return [
                operator.index
                for operator in before
                if not operator.outputs or any(step in made_by for step in operator.outputs)
            ]
        return steps

    def stored(self, tensor: Tensor) -> np.ndarray | None:
        """The bytes of a constant tensor, `None` where the file has none for it."""
        if not 0 <= tensor.buffer < len(self.buffers):
            raise Damaged(f"the TFLite file is damaged: the tensor {tensor.name!r} has a buffer that doesn't exist")
        table = Table(self.content, self.buffers[tensor.buffer])
        raw = table.numbers(0, np.uint8)
        outside, size = table.number(1, "Q"), table.number(2, "Q")
        if (raw is None or not raw.size) and outside > 1:  # files over 2 GB keep weights behind the FlatBuffer
            raw = view(self.content, outside, size)
        return raw if raw is not None and raw.size else None

    def constant(self, index: int) -> np.ndarray | None:
        """The value of a small constant tensor, `None` where it isn't one."""
        tensor = self.tensors[index]
        count = prod(size or 1 for size in tensor.shape)
        if index in self.made_by or tensor.type not in NUMPY or count > SMALL:
            return None
        raw = self.stored(tensor)
        dtype = np.dtype(tensor.type)
        if raw is None or raw.size != count * dtype.itemsize:
            return None
        return raw.view(dtype).reshape([size or 1 for size in tensor.shape])

    def numbers(self, index: int) -> list[int] | None:
        """A small constant tensor of whole numbers as a list."""
        values = self.constant(index)
        return None if values is None or values.dtype.kind not in "iu" else [int(value) for value in values.ravel()]


def _code(table: Table) -> tuple[str, str]:
    """(operator, name of a custom one). Old files keep the number in one byte."""
    number = max(table.number(0, "b"), table.number(3, "i"))
    name = OPERATORS[number] if 0 <= number < len(OPERATORS) else f"OPERATOR_{number}"
    return name, table.text(1) or "Custom" if name == "CUSTOM" else ""


def _tensor(index: int, table: Table) -> Tensor:
    shape, free = _sizes(table.numbers(0, np.int32)), _sizes(table.numbers(7, np.int32))
    if len(free) == len(shape):
        shape = free
    number = table.number(1, "b")
    name = TYPES[number] if 0 <= number < len(TYPES) else f"type_{number}"
    scale, zero, axis = _quantisation(table.table(4))
    return Tensor(
        index, table.text(3), tuple(None if size < 0 else size for size in shape), name, table.number(2, "I"),
        scale, zero, axis,
    )  # fmt: skip


def _quantisation(table: Table | None) -> tuple[np.ndarray, np.ndarray, int]:
    scale = table.numbers(2, np.float32) if table else None
    zero = table.numbers(3, np.int64) if table else None
    if table is None or scale is None or not scale.size:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if zero is None or zero.size != scale.size:
        zero = np.zeros(scale.size, np.int64) if zero is None or not zero.size else np.full(scale.size, zero[0])
    return scale, zero, table.number(6, "i")


def _sizes(values: Sequence[int] | np.ndarray | None) -> list[int]:
    return [] if values is None else [int(value) for value in values]
