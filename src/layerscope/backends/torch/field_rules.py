"""What each ATen operation is in the form that the rules of receptive fields know: one function for each kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from operator import attrgetter
from typing import Any

import torch

from ...core.receptive_field import MOST_PHASES, Sampling
from ..common.field import Positions, constant
from ..common.field_rules import Operation, by_name, depth_to_space, nary, space_to_depth, unary, unknown

# The origin of random numbers, which are others in the next run.
RANDOM = "random"


@dataclass(frozen=True)
class Step:
    """One operation: its arguments, the positions of those that have any, and the shape of the `index`-th tensor it made."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    known: Mapping[int, Positions]
    shape: tuple[int, ...]
    index: int

    @property
    def source(self) -> Positions:
        return self.positions(self.args[0])

    @property
    def spatial(self) -> range:
        """The spatial dimensions, the last ones."""
        rank = len(self.source.dims)
        return range(2 if rank > 2 else rank - 1, rank)

    def arg(self, index: int, default: Any = None) -> Any:
        return self.args[index] if len(self.args) > index else default

    def dims(self, index: int) -> list[int] | None:
        """Dimensions among the arguments; `None` for all."""
        dims = self.arg(index)
        return [dims] if isinstance(dims, int) else dims or None

    def positions(self, tensor: torch.Tensor) -> Positions:
        return self.known.get(id(tensor)) or constant(tuple(tensor.shape))

    def operands(self, values: Sequence[Any]) -> list[Positions]:
        """The positions of all tensors among these values."""
        return [self.positions(tensor) for tensor in tensors_in(values)]

    @property
    def inputs(self) -> list[Positions]:
        return self.operands([*self.args, *self.kwargs.values()])


Rule = Callable[[Step], Operation]

elementwise: Rule = nary("elementwise")

SPATIAL = attrgetter("spatial")


def _argument(index: int, default: Any = None) -> Callable[[Step], Any]:
    """An argument of the operation."""
    return lambda step: step.arg(index, default)


def _main(rule: Rule) -> Rule:
    """The translation of the first output; those after it are statistics."""
    return lambda step: unknown(step, "a statistic") if step.index else rule(step)


def _convolution(step: Step) -> Operation:
    weight, stride, padding, dilation, transposed = step.args[1], *step.args[3:7]
    channels = step.spatial[0] - 1
    source = step.source.contract([channels]) if step.source.along(channels) else step.source
    return Operation(
        "transposed" if transposed else "window",
        [source, step.positions(weight)],
        step.spatial,
        kernel=weight.shape[2:],
        stride=stride,
        dilation=dilation,
        padding=padding,
    )


def _pool(dilation: int | None, step: Step) -> Operation:
    return Operation(
        "window",
        [step.source],
        step.spatial,
        kernel=step.args[1],
        stride=step.arg(2) or step.args[1],
        dilation=1 if dilation is None else step.arg(dilation, 1),
        padding=step.arg(3, 0),
    )


def _resize(mode: str, corners: int | None, step: Step) -> Operation:
    keep = corners is not None and bool(step.arg(corners))
    return Operation("resize", [step.source], step.spatial, mode=mode, corners=keep, scales=_scales(corners, step))


def _scales(corners: int | None, step: Step) -> Sequence[float]:
    """By how much a resize enlarges, where it says so: one argument for each dimension, or a list of them."""
    scales = step.args[2 if corners is None else corners + 1 :]
    scales = scales[0] if scales and isinstance(scales[0], list | tuple) else scales
    return scales if len(scales) == len(step.spatial) and all(scales) else ()


def _resample(mode: str, step: Step) -> Operation:
    """A resize that reads at the centres of pixels: the nearest one, or with antialiasing as many as it joins."""
    smooth = mode != "nearest"
    sizes = [(step.source.shape[dim], step.shape[dim]) for dim in step.spatial]
    scales = _scales(2 if smooth else None, step) or [0.0] * len(sizes)
    samplings = []
    for (before, after), scale in zip(sizes, scales, strict=True):
        ratio = 1 / Fraction(scale).limit_denominator(MOST_PHASES) if scale else Fraction(before, after)
        if smooth and step.arg(2) and after > 1:
            samplings.append(Sampling(Fraction(before - 1, after - 1)))
        else:
            samplings.append(Sampling.by_centres(ratio, "floor" if smooth else "half up"))
    return Operation("resize", [step.source], step.spatial, mode=mode, samplings=samplings, antialias=smooth)


def _pad(step: Step) -> Operation:
    fronts = [int(pad) for pad in step.args[1][::2]]  # the last dimension first
    return Operation("window", [step.source], range(-1, -1 - len(fronts), -1), padding=fronts)


def _slice(step: Step) -> Operation:
    dim, start = step.arg(1, 0), step.arg(2) or 0
    start = max(0, start + step.source.shape[dim]) if start < 0 else start
    return Operation("slice", [step.source], [dim], stride=step.arg(4, 1), padding=-start)


def _copy(step: Step) -> Operation:
    """One tensor written over another."""
    return Operation("expand", [step.positions(step.args[1])])


def _fill(step: Step) -> Operation:
    """One number everywhere, which lies nowhere on the image."""
    return Operation("same", [constant(step.shape)])


def _put(step: Step) -> Operation:
    """Numbers of no place written at indices, or where a mask of the same shape says: what stays doesn't move."""
    indices, value = [index for index in step.args[1] if index is not None], step.args[2]
    if step.positions(value).fields:
        return unknown(step, "positions written at indices aren't followed")
    if indices[0].dtype == torch.bool and indices[0].ndim == len(step.shape):
        return Operation("elementwise", [step.source, step.positions(indices[0])])
    if any(step.positions(index).fields for index in indices):
        return unknown(step, "writing at indices that differ from image to image isn't followed")
    return Operation("same", [step.source])


def _flip(step: Step) -> Operation:
    return Operation("flip", [step.source], step.args[1])


def _index(step: Step) -> Operation:
    """Positions at indices that are the same for every image and in every run, one list for each dimension."""
    lists = {dim: indices for dim, indices in enumerate(step.args[1]) if indices is not None}
    dims, rank, source = list(lists), len(lists), step.source
    for place, (dim, indices) in enumerate(lists.items()):
        along = [1] * (rank - indices.ndim) + list(indices.shape)
        known = step.known.get(id(indices))
        if indices.dtype == torch.bool and indices.ndim == rank == 1:
            indices = indices.nonzero()[:, 0]
            along = list(indices.shape)
        if (
            indices.numel() != along[place]
            or indices.dtype == torch.bool
            or dims != list(range(dims[0], dims[0] + rank))
        ):
            return unknown(step, "an index over several dimensions isn't followed")
        if known is not None and (known.fields or known.origin == RANDOM):
            return unknown(step, "an index that differs from image to image, or from run to run, isn't followed")
        source = source.take(dim, indices.flatten().cpu().numpy() % source.shape[dim])
    return Operation("same", [source])


def _gather(step: Step) -> Operation:
    """Positions at indices that are the same whatever the other dimensions."""
    source, dim, indices = step.args[:3]
    line = indices.movedim(dim, -1).flatten(0, -2)
    whole = all(size == step.shape[other] for other, size in enumerate(source.shape) if other != dim % source.ndim)
    if not whole or len(line) == 0 or (line != line[:1]).any():
        return unknown(step, "a gather of other positions for each row isn't followed")
    row = line[0]
    known = {**step.known, id(row): step.positions(indices)}
    return _index(replace(step, known=known, args=[source, [*[None] * (dim % source.ndim), row]]))


def _index_select(step: Step) -> Operation:
    source, dim, indices = step.args
    return _index(replace(step, args=[source, [*[None] * (dim % source.ndim), indices]]))


def _roll(step: Step) -> Operation:
    shifts = step.args[1] if isinstance(step.args[1], list | tuple) else [step.args[1]]
    if not step.arg(2):
        return unknown(step, "a roll of all positions isn't followed")
    return Operation("roll", [step.source], step.dims(2), padding=shifts)


def _split(step: Step) -> Operation:
    sizes, dim = step.args[1], step.arg(2, 0)
    start = step.index * sizes if isinstance(sizes, int) else sum(sizes[: step.index])
    return Operation("slice", [step.source], [dim], padding=-start)


def _select(step: Step) -> Operation:
    dim, index = step.arg(1, 0), step.args[2]
    return Operation("pick", [step.source], [dim], picks=[index % step.source.shape[dim]])


def _unbind(step: Step) -> Operation:
    return Operation("pick", [step.source], [step.arg(1, 0)], picks=[step.index])


def _unfold(step: Step) -> Operation:
    """Windows in a row (`nn.Unfold`): im2col with its kernel, dilation, padding and stride."""
    return _columns("unfold", step.source.shape[-2:], step.source, step.args[1:5])


def _fold(step: Step) -> Operation:
    """The sum of windows in a row where they overlap (`nn.Fold`): col2im."""
    return _columns("fold", step.args[1], step.source, step.args[2:6])


def _columns(kind: str, size: Sequence[int], source: Positions, numbers: Sequence[Sequence[int]]) -> Operation:
    """Windows of a picture of this size, of which `picks` says how many there are."""
    kernel, dilation, padding, stride = numbers
    steps = zip(size, kernel, dilation, padding, stride, strict=True)
    sides = [(whole + 2 * pad - apart * (reach - 1) - 1) // by + 1 for whole, reach, apart, pad, by in steps]
    return Operation(
        kind, [source], (-2, -1), kernel=kernel, stride=stride, dilation=dilation, padding=padding, picks=sides
    )


def _windows(step: Step) -> Operation:
    """Windows along one dimension (`Tensor.unfold`); what they hold is a new last one."""
    return Operation("windows", [step.source], [step.args[1]], kernel=step.args[2], stride=step.args[3])


def _turn(step: Step) -> Operation:
    """Quarter turns (`torch.rot90`): a flip, and where rows become columns a transposition."""
    turns, (first, second) = step.arg(1, 1) % 4, step.arg(2, (0, 1))
    flipped = Operation("flip", [step.source], {0: [], 1: [second], 2: [first, second], 3: [first]}[turns])
    if turns % 2 == 0:
        return flipped
    order = list(range(len(step.shape)))
    order[first], order[second] = order[second], order[first]
    return Operation("permute", [flipped.after(step.source.shape)], order)


def _unpool(step: Step) -> Operation:
    """Each pixel back to where it was the largest of its block."""
    indices, (height, width), (rows, columns) = step.args[1], step.source.shape[-2:], step.shape[-2:]
    block = rows // height, columns // width
    row, column = indices // columns // block[0], indices % columns // block[1]
    if (row != torch.arange(height)[:, None]).any() or (column != torch.arange(width)).any():
        return unknown(step, "an unpooling of overlapping windows isn't followed")
    return Operation("resize", [step.source], step.spatial, scales=block)


def _repeat(step: Step) -> Operation:
    """Copies one after another, along dimensions of one position that is expanding."""
    source, times = step.source, step.args[1]
    lead = len(times) - len(source.dims)
    sizes = (1,) * lead + source.shape
    if any(size > 1 < time for size, time in zip(sizes, times, strict=True)):
        return unknown(step, "copies in a row aren't followed")
    return Operation("expand", [source])


def _variance(step: Step) -> Operation:
    return Operation("reduce", [step.source], step.dims(1) if isinstance(step.arg(1), list | tuple) else None)


def _same(step: Step) -> Operation:
    other = step.index and step.shape != step.source.shape
    return unknown(step, "a statistic") if other else Operation("same", [step.source])


def _strided(step: Step) -> Operation:
    """Another memory format of the same numbers, as adaptive pooling sets it, or their dimensions in another order."""
    tensor, offset = step.args[0], step.arg(3)
    before = [(stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
    after = [(stride, size) for stride, size in zip(step.args[2], step.shape, strict=True) if size > 1]
    moved = offset is not None and offset != tensor.storage_offset()
    if moved or sorted(before) != sorted(after) or len({*before}) != len(before) or len(step.shape) != tensor.ndim:
        return unknown(step, "as_strided isn't followed")
    wide = iter([before.index(dim) for dim in after])
    large = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    small = iter([dim for dim, size in enumerate(tensor.shape) if size == 1])
    order = [large[next(wide)] if size > 1 else next(small) for size in step.shape]
    return Operation("same", [step.source.permute(order)])


def _transpose(step: Step) -> Operation:
    order = list(range(len(step.shape)))
    first, second = step.arg(1, 0), step.arg(2, 1)
    order[first], order[second] = order[second], order[first]
    return Operation("permute", [step.source], order)


def _concatenate(step: Step) -> Operation:
    parts = [tensor for tensor in step.args[0] if tensor.numel()]
    return Operation("concatenate", step.operands(parts), [step.arg(1, 0)])


def _matmul(step: Step) -> Operation:
    return Operation("matmul", step.operands(step.args[:2]))


def _add_product(step: Step) -> Operation:
    """A matrix product and a bias, which is the first argument."""
    bias, *operands = step.operands(step.args[:3])
    return Operation("elementwise", [Operation("matmul", operands).after(step.shape), bias])


def _attention(step: Step) -> Operation:
    return Operation("attention", step.operands(step.args[:3]), [-2])


RULES: dict[str, Rule] = by_name(
    (_convolution, "convolution _convolution cudnn_convolution mkldnn_convolution"),
    (
        partial(_pool, 4),
        "max_pool2d_with_indices max_pool3d_with_indices max_pool2d max_pool1d max_pool3d mkldnn_max_pool2d",
    ),
    (partial(_pool, None), "avg_pool1d avg_pool2d avg_pool3d"),
    (unary("adapt", SPATIAL), "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d"),
    (unary("adapt", SPATIAL), "adaptive_avg_pool1d"),
    (partial(_resize, "nearest", None), "upsample_nearest1d upsample_nearest2d upsample_nearest3d"),
    (
        partial(_resample, "nearest"),
        "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    ),
    (partial(_resize, "linear", 2), "upsample_linear1d upsample_bilinear2d upsample_trilinear3d"),
    (partial(_resize, "cubic", 2), "upsample_bicubic2d"),
    (partial(_resample, "linear"), "_upsample_bilinear2d_aa"),
    (partial(_resample, "cubic"), "_upsample_bicubic2d_aa"),
    (_unpool, "max_unpool2d"),
    (_pad, "pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d"),
    (_pad, "replication_pad1d replication_pad2d replication_pad3d"),
    (_slice, "slice"),
    (unary("reduce", lambda step: step.dims(1)), "all any argmax argmin mean sum amax amin max min logsumexp prod"),
    (unary("reduce", lambda step: step.dims(2)), "norm linalg_vector_norm"),
    (_variance, "var std"),
    (unary("normalize", _argument(1)), "_softmax _safe_softmax _log_softmax softmax log_softmax cumsum"),
    (_main(unary("normalize", lambda step: range(-len(step.args[1]), 0))), "native_layer_norm"),
    (_main(unary("normalize", None)), "native_group_norm instance_norm"),
    (
        _same,
        "native_batch_norm cudnn_batch_norm _native_batch_norm_legit_no_training native_dropout hardswish hardtanh",
    ),
    (_same, "contiguous detach alias clone lift_fresh _to_copy to dropout bernoulli leaky_relu elu celu"),
    (_strided, "as_strided"),
    (unary("permute", _argument(1)), "permute"),
    (_transpose, "transpose t"),
    (unary("reshape"), "view _unsafe_view reshape unsqueeze squeeze _reshape_alias flatten _reshape_copy"),
    (_concatenate, "cat"),
    (nary("stack", _argument(1, 0)), "stack"),
    (_select, "select"),
    (_unbind, "unbind"),
    (_split, "split split_with_sizes"),
    (unary("split", _argument(2, 0)), "chunk"),
    (unary("expand"), "expand"),
    (_repeat, "repeat"),
    (_flip, "flip"),
    (_copy, "copy"),
    (_fill, "fill zero"),
    (_put, "index_put"),
    (_index, "index _unsafe_index"),
    (_index_select, "index_select"),
    (_gather, "gather"),
    (_main(unary("scan", 0)), "mkldnn_rnn_layer"),
    (_roll, "roll"),
    (_turn, "rot90"),
    (_unfold, "im2col"),
    (_fold, "col2im"),
    (_windows, "unfold"),
    (_matmul, "mm bmm matmul mv"),
    (_add_product, "addmm baddbmm"),
    (_main(_attention), "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
    (_main(_attention), "_scaled_dot_product_efficient_attention _scaled_dot_product_attention_math"),
    (_main(unary("attention", [1])), "_native_multi_head_attention _transformer_encoder_layer_fwd"),
    (depth_to_space((-2, -1), _argument(1)), "pixel_shuffle"),
    (space_to_depth((-2, -1), _argument(1)), "pixel_unshuffle"),
)


def tensors_in(values: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors among arguments, also those in lists of them."""
    tensors: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += tensors_in(value)
    return tensors
