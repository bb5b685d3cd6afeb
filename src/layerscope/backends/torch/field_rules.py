"""What each ATen operation is in the form that the rules of receptive fields know: one function for each kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch

from ..common.field import Positions, constant
from ..common.field_rules import Operation, by_name, depth_to_space, nary, space_to_depth, unary, unknown


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
    return Operation(
        "transposed" if transposed else "window",
        [step.source, step.positions(weight)],
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
    return Operation("resize", [step.source], step.spatial, mode=mode, corners=keep)


def _pad(step: Step) -> Operation:
    fronts = [int(pad) for pad in step.args[1][::2]]  # the last dimension first
    return Operation("window", [step.source], range(-1, -1 - len(fronts), -1), padding=fronts)


def _slice(step: Step) -> Operation:
    dim, start = step.arg(1, 0), step.arg(2) or 0
    start = max(0, start + step.source.shape[dim]) if start < 0 else start
    return Operation("slice", [step.source], [dim], stride=step.arg(4, 1), padding=-start)


def _variance(step: Step) -> Operation:
    return Operation("reduce", [step.source], step.dims(1) if isinstance(step.arg(1), list | tuple) else None)


def _same(step: Step) -> Operation:
    other = step.index and step.shape != step.source.shape
    return unknown(step, "a statistic") if other else Operation("same", [step.source])


def _strided(step: Step) -> Operation:
    """Another memory format of the same numbers, as adaptive pooling sets it; anything else isn't followed."""
    kind = "same" if step.shape == step.source.shape else "unknown"
    return Operation(kind, [step.source], reason="as_strided isn't followed")


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
    (partial(_resize, "linear", 2), "upsample_linear1d upsample_bilinear2d upsample_trilinear3d"),
    (partial(_resize, "cubic", 2), "upsample_bicubic2d"),
    (_pad, "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d"),
    (_pad, "replication_pad1d replication_pad2d replication_pad3d"),
    (_slice, "slice"),
    (unary("reduce", lambda step: step.dims(1)), "all any mean sum amax amin max min logsumexp prod"),
    (unary("reduce", lambda step: step.dims(2)), "norm linalg_vector_norm"),
    (_variance, "var std"),
    (unary("normalize", _argument(1)), "_softmax _log_softmax softmax log_softmax cumsum"),
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
    (unary("pick", _argument(1, 0)), "select unbind"),
    (unary("split", _argument(2, 0)), "split split_with_sizes chunk"),
    (unary("expand"), "expand"),
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
