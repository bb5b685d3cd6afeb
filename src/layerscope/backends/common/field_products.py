"""What products of two tensors do to receptive fields: matrices, einsum, attention."""

from __future__ import annotations

from collections.abc import Sequence

from .field import SEVERAL_ORDERS, Positions, as_keys, first_with_fields, merge_fields
from .field_dims import Factor, axes_along, different, plain, size_of

Shape = tuple[int, ...]


def matmul(inputs: Sequence[Positions], shape: Shape) -> Positions:
    """A product of matrices, or of stacks of them."""
    first, second = (len(positions.dims) for positions in inputs)
    lead = "".join(chr(ord("A") + index) for index in range(max(first, second) - 2))
    left = f"{lead[max(len(lead) + 2 - first, 0) :]}is" if first > 1 else "s"
    right = f"{lead[max(len(lead) + 2 - second, 0) :]}sj" if second > 1 else "s"
    output = lead + "i" * (first > 1) + "j" * (second > 1)
    return contract(inputs, (left, right, output), shape)


def contract(operands: Sequence[Positions], labels: Sequence[str], shape: Shape) -> Positions:
    """A sum over the labels that the output lacks: they become the whole; two sets of positions make pairs."""
    *read, output = labels
    inputs = [positions.settle() for positions in operands]
    several = sum(bool(positions.fields) for positions in inputs) > 1
    if several:
        inputs = _as_pairs(inputs, read, output)
    mixed = []
    for positions, names in zip(inputs, read, strict=True):
        summed = [dim for dim, label in enumerate(names) if label not in output]
        # A sum over what two inputs know of the image isn't one window: attention.
        mixed.append(positions.drop(summed) if several else positions.contract(summed))
    fields = merge_fields(mixed)
    if fields is None:
        return first_with_fields(operands).give_up("inputs of different kinds meet", shape)
    dims = []
    for label, size in zip(output, shape, strict=True):
        factors = [
            positions.dims[names.index(label)] for positions, names in zip(mixed, read, strict=True) if label in names
        ]
        walking = different([dim for dim in factors if axes_along(dim) and size_of(dim) == size])
        if len(walking) > 1:
            return first_with_fields(operands).give_up(SEVERAL_ORDERS, shape)
        dims.append(walking[0] if walking else (Factor("", size),))
    return Positions(tuple(dims), fields).pair_up()


def _as_pairs(inputs: Sequence[Positions], read: Sequence[str], output: str) -> list[Positions]:
    """The inputs of a product; where two walk along the same axes under labels that stay apart, the second has keys."""
    earlier: dict[str, str] = {}  # the axes that the inputs before walk along under each label
    after = []
    for positions, names in zip(inputs, read, strict=True):
        own = {dim: label for dim, label in enumerate(names) if label in output and not earlier.get(label)}
        clash = {dim: set(positions.along(dim)) & set("".join(earlier.values())) for dim in own}
        over = [dim for dim, axes in clash.items() if axes]
        after.append(as_keys(positions, over, set().union(*clash.values())) if over else positions)
        earlier.update({label: positions.along(dim) for dim, label in own.items()})
    return after


def attention(operands: Sequence[Positions], dims: Sequence[int] | None, shape: Shape) -> Positions:
    """Softmax(q·kᵀ)·v: every query sees all positions of keys and values along `dims`; of the query alone, its own."""
    query, *others = [positions.settle() for positions in operands]
    others = others or [query]
    over = [len(query.dims) - 2] if dims is None else [dim % len(operands[0].dims) for dim in dims]
    # The values are summed over; the positions that stay are those of the queries.
    mixed = [positions.mix(dims).drop(over) for positions in others if positions.fields]
    fields = merge_fields([query, *mixed])
    if fields is None:
        return first_with_fields(operands).give_up("inputs of different kinds meet", shape)
    return Positions((*query.dims[:-1], plain(shape)[-1]), fields)


def weights(inputs: Sequence[Positions], shape: Shape) -> Positions:
    """What softmax(q·kᵀ) weighs: a row for each query, a column for each key, for each head."""
    query, *others = [positions.settle() for positions in inputs]
    key = (others or [query])[0]
    rows = query.drop([dim for dim in range(len(query.dims)) if dim != len(query.dims) - 2])
    columns = as_keys(key, [len(key.dims) - 2], [axis for axis in key.along(-2) if axis in rows.along(-2)])
    fields = merge_fields([rows.mix(None), columns.mix(None)])
    if fields is None:
        return first_with_fields(inputs).give_up("inputs of different kinds meet", shape)
    return Positions((*plain(shape[:-2]), rows.dims[-2], columns.dims[-2]), fields).pair_up()
