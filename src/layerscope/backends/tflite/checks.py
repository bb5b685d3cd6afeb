"""Whether the graphs of a TFLite file hold what the interpreter takes for granted, and would end the process without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from ...memory import amount, available_text, limit
from .flatbuffer import Damaged, Table
from .schema import BITS, BODIES, KEEPS_TYPE, OPTIONAL, TAKES, TYPES

# Where an operator's options name a subgraph: the fields.
SUBGRAPHS = {"CALL": "I", "IF": "ii", "WHILE": "ii", "CALL_ONCE": "i", "STABLEHLO_WHILE": "ii", "STABLEHLO_SORT": "",
             "STABLEHLO_COMPOSITE": ""}  # fmt: skip

Codes = Sequence[tuple[str, str]]


def check_graphs(model: Table, codes: Codes, buffers: Sequence[int]) -> None:
    """Raise `Damaged` where a subgraph of the file isn't one that can run."""
    graphs = list(model.tables(2))
    sizes = [_size(model, position) for position in buffers]
    bodies = [_check(graph, codes, sizes, len(graphs)) for graph in graphs]
    _check_nesting(bodies)


def _size(model: Table, position: int) -> int:
    table = Table(model.data, position)
    data, outside = table.numbers(0, np.uint8), table.number(1, "Q")
    inside = 0 if data is None else data.size
    return inside or (table.number(2, "Q") if outside > 1 else 0)


class _Tensors:
    """The tensors of a subgraph: how many bytes each takes, and which are stored in the file."""

    def __init__(self, graph: Table, buffers: Sequence[int]) -> None:
        tables = list(graph.tables(0))
        self.stored: set[int] = set()
        self.variable = {index for index, table in enumerate(tables) if table.number(5, "B")}
        self.sizes = [self._size(index, table, buffers) for index, table in enumerate(tables)]
        self.floats = {index for index, table in enumerate(tables) if TYPES[table.number(1, "b")] == "float32"}

    def _size(self, index: int, table: Table, buffers: Sequence[int]) -> int:
        name, number, buffer = table.text(3), table.number(1, "b"), table.number(2, "I")
        if buffer >= len(buffers):
            raise _damaged(f"the tensor {name!r} has a buffer that doesn't exist")
        if not 0 <= number < len(TYPES):
            raise _damaged(f"the tensor {name!r} is of a type that doesn't exist")
        shape = _numbers(table, 0)
        if any(size < -1 for size in shape):
            raise _damaged(f"the tensor {name!r} has the sizes {shape}")
        type_, count = TYPES[number], prod(abs(size) for size in shape)
        takes = -(-count * BITS.get(type_, 0) // 8)
        if buffers[buffer]:
            self.stored.add(index)
            if type_ in BITS and table.position(6) is None and takes != buffers[buffer]:
                raise _damaged(
                    f"the tensor {name!r} {type_}{shape} takes {takes:,} bytes, and {buffers[buffer]:,} are stored"
                )
        elif not takes and type_ in BITS:
            self.stored.add(index)  # nothing, all of which is there
        self._check_quantisation(name, table.table(4), shape)
        return takes

    @staticmethod
    def _check_quantisation(name: str, table: Table | None, shape: list[int]) -> None:
        scales = table.numbers(2, np.float32) if table else None
        if table is None or scales is None or scales.size < 2:
            return
        axis = table.number(6, "i")
        if not 0 <= axis < len(shape) or shape[axis] != scales.size:
            raise _damaged(f"the tensor {name!r} {shape} has {scales.size} scales along axis {axis}")


def _check(graph: Table, codes: Codes, buffers: Sequence[int], graphs: int) -> set[int]:
    """The subgraphs that a subgraph runs, once it is known to be one that can run."""
    tensors = _Tensors(graph, buffers)
    inputs, outputs = _numbers(graph, 1), _numbers(graph, 2)
    ready = {*tensors.stored, *tensors.variable, *inputs}
    written = set(inputs)
    _check_indices([*inputs, *outputs], len(tensors.sizes), "a graph")
    bodies: set[int] = set()
    for operator in graph.tables(3):
        number = operator.number(0, "I")
        if number >= len(codes):
            raise _damaged("an operator is of a kind that doesn't exist")
        name = codes[number][0]
        _check_inputs(name, operator, ready, len(tensors.sizes))
        results = [index for index in _numbers(operator, 2) if index != -1 or name not in OPTIONAL]
        _check_indices(results, len(tensors.sizes), f"the operator {name}")
        if tensors.stored.intersection(index for index in results if tensors.sizes[index]) or written.intersection(
            results
        ):
            raise _damaged(f"the operator {name} writes to a tensor that has its values already")
        _check_type(name, _numbers(operator, 1), results, tensors.floats)
        ready.update(results)
        written.update(results)
        bodies.update(_bodies(name, operator))
    if not ready.issuperset(outputs) or any(not 0 <= body < graphs for body in bodies):
        raise _damaged("a graph has outputs that nothing makes, or runs one that doesn't exist")
    _check_memory(sum(tensors.sizes[index] for index in written))
    return bodies


def _check_inputs(name: str, operator: Table, ready: set[int], tensors: int) -> None:
    """An operator's inputs must be there: in the file, or made before."""
    inputs = _numbers(operator, 1)
    least, most = TAKES.get(name, (0, 1 << 30))
    if not least <= len(inputs) <= most:
        raise _damaged(f"the operator {name} has {len(inputs)} inputs")
    optional = OPTIONAL.get(name, ())
    missing = [place for place, index in enumerate(inputs) if index == -1]
    if optional is not None and any(place not in optional for place in missing):
        raise _damaged(f"the operator {name} lacks its input {missing[0]}")
    present = [index for index in inputs if index != -1]
    _check_indices(
        [*present, *(index for index in _numbers(operator, 8) if index != -1)], tensors, f"the operator {name}"
    )
    if not ready.issuperset(present):
        raise _damaged(f"the operator {name} reads a tensor that nothing has made")


def _check_type(name: str, inputs: Sequence[int], outputs: Sequence[int], floats: set[int]) -> None:
    if name in KEEPS_TYPE and inputs and any((index in floats) != (inputs[0] in floats) for index in outputs):
        raise _damaged(f"the operator {name} turns floats into codes, or codes into floats")


def _check_indices(indices: Sequence[int], tensors: int, whose: str) -> None:
    if any(not 0 <= index < tensors for index in indices):
        raise _damaged(f"{whose} names a tensor that doesn't exist")


def _check_memory(takes: int) -> None:
    most = limit()
    if most is not None and takes > most:
        raise Damaged(f"its tensors take {amount(takes)}, and {available_text(most)}")


def _bodies(name: str, operator: Table) -> Iterator[int]:
    options = operator.table(4) or operator.table(12)
    if name in BODIES and options is not None:
        yield from (options.number(field, kind) for field, kind in enumerate(SUBGRAPHS.get(name, "")))


def _check_nesting(bodies: Sequence[set[int]]) -> None:
    """A subgraph that runs itself, perhaps through others, never ends."""
    done: set[int] = set()
    while len(done) < len(bodies):
        free = {index for index, inner in enumerate(bodies) if index not in done and inner <= done}
        if not free:
            raise _damaged("a graph runs itself")
        done |= free


def _numbers(table: Table, field: int) -> list[int]:
    numbers = table.numbers(field, np.int32)
    return [] if numbers is None else numbers.tolist()


def _damaged(what: str) -> Damaged:
    return Damaged(f"the TFLite file is damaged: {what}")
