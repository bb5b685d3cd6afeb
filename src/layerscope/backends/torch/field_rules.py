"""What each ATen operation is in the form that the rules of receptive fields know: one function for each kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..common.field import Places, constant
from ..common.field_rules import Operation, unary


@dataclass(frozen=True)
class Step:
    """One operation: its arguments, the places of those that have any, and the shape of the `index`-th tensor it made."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    known: Mapping[int, Places]
    shape: tuple[int, ...]
    index: int

    @property
    def source(self) -> Places:
        return self.places(self.args[0])

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

    def places(self, tensor: torch.Tensor) -> Places:
        return self.known.get(id(tensor)) or constant(tuple(tensor.shape))

    def operands(self, values: Sequence[Any]) -> list[Places]:
        """The places of all tensors among these values."""
        return [self.places(tensor) for tensor in tensors_in(values)]

    def statistic(self) -> Operation:
        return Operation("unknown", [self.source], reason="a statistic")


Rule = Callable[[Step], Operation]


def elementwise(step: Step) -> Operation:
    return Operation("elementwise", step.operands([*step.args, *step.kwargs.values()]))


def _convolution(step: Step) -> Operation:
    weight, stride, padding, dilation, transposed = step.args[1], *step.args[3:7]
    return Operation(
        "transposed" if transposed else "window",
        [step.source, step.places(weight)],
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


def _adaptive_pool(step: Step) -> Operation:
    return Operation("adapt", [step.source], step.spatial)


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


def _reduce(dims: int, step: Step) -> Operation:
    return Operation("reduce", [step.source], step.dims(dims))


def _variance(step: Step) -> Operation:
    return Operation("reduce", [step.source], step.dims(1) if isinstance(step.arg(1), list | tuple) else None)


def _softmax(step: Step) -> Operation:
    return Operation("normalize", [step.source], [step.args[1]])


def _layer_norm(step: Step) -> Operation:
    return step.statistic() if step.index else Operation("normalize", [step.source], range(-len(step.args[1]), 0))


def _norm_over_places(step: Step) -> Operation:
    return step.statistic() if step.index else Operation("normalize", [step.source], None)


def _same(step: Step) -> Operation:
    other = step.index and step.shape != step.source.shape
    return step.statistic() if other else Operation("same", [step.source])


def _strided(step: Step) -> Operation:
    """Another memory format of the same numbers, as adaptive pooling sets it; anything else isn't followed."""
    kind = "same" if step.shape == step.source.shape else "unknown"
    return Operation(kind, [step.source], reason="as_strided isn't followed")


def _permute(step: Step) -> Operation:
    return Operation("permute", [step.source], step.args[1])


def _transpose(step: Step) -> Operation:
    order = list(range(len(step.shape)))
    first, second = step.arg(1, 0), step.arg(2, 1)
    order[first], order[second] = order[second], order[first]
    return Operation("permute", [step.source], order)


def _concatenate(step: Step) -> Operation:
    parts = [tensor for tensor in step.args[0] if tensor.numel()]
    return Operation("concatenate", step.operands(parts), [step.arg(1, 0)])


def _stack(step: Step) -> Operation:
    return Operation("stack", step.operands(step.args[0]), [step.arg(1, 0)])


def _pick(step: Step) -> Operation:
    return Operation("pick", [step.source], [step.arg(1, 0)])


def _split(step: Step) -> Operation:
    return Operation("split", [step.source], [step.arg(2, 0)])


def _matmul(step: Step) -> Operation:
    return Operation("matmul", step.operands(step.args[:2]))


def _add_product(step: Step) -> Operation:
    """A matrix product and a bias, which is the first argument."""
    bias, *operands = step.operands(step.args[:3])
    return Operation("elementwise", [Operation("matmul", operands).after(step.shape), bias])


def _attention(step: Step) -> Operation:
    return step.statistic() if step.index else Operation("attention", step.operands(step.args[:3]), [-2])


def _fused_attention(step: Step) -> Operation:
    return step.statistic() if step.index else Operation("attention", [step.source], [1])


def _pixel_shuffle(step: Step) -> Operation:
    return Operation("depth_to_space", [step.source], (-2, -1), kernel=step.args[1])


def _pixel_unshuffle(step: Step) -> Operation:
    return Operation("window", [step.source], (-2, -1), kernel=step.args[1], stride=step.args[1])


TABLE: dict[Rule, str] = {
    _convolution: "convolution _convolution cudnn_convolution mkldnn_convolution",
    partial(_pool, 4): "max_pool2d_with_indices max_pool3d_with_indices max_pool2d max_pool1d max_pool3d"
    " mkldnn_max_pool2d",
    partial(_pool, None): "avg_pool1d avg_pool2d avg_pool3d",
    _adaptive_pool: "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d"
    " adaptive_avg_pool1d",
    partial(_resize, "nearest", None): "upsample_nearest1d upsample_nearest2d upsample_nearest3d",
    partial(_resize, "linear", 2): "upsample_linear1d upsample_bilinear2d upsample_trilinear3d",
    partial(_resize, "cubic", 2): "upsample_bicubic2d",
    _pad: "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d"
    " replication_pad3d",
    _slice: "slice",
    partial(_reduce, 1): "all any mean sum amax amin max min logsumexp prod",
    partial(_reduce, 2): "norm linalg_vector_norm",
    _variance: "var std",
    _softmax: "_softmax _log_softmax softmax log_softmax cumsum",
    _layer_norm: "native_layer_norm",
    _norm_over_places: "native_group_norm instance_norm",
    _same: "native_batch_norm cudnn_batch_norm _native_batch_norm_legit_no_training native_dropout hardswish hardtanh"
    " contiguous detach alias clone lift_fresh _to_copy to dropout bernoulli leaky_relu elu celu",
    _strided: "as_strided",
    _permute: "permute",
    _transpose: "transpose t",
    unary("reshape"): "view _unsafe_view reshape unsqueeze squeeze _reshape_alias flatten _reshape_copy",
    _concatenate: "cat",
    _stack: "stack",
    _pick: "select unbind",
    _split: "split split_with_sizes chunk",
    unary("expand"): "expand",
    _matmul: "mm bmm matmul mv",
    _add_product: "addmm baddbmm",
    _attention: "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
    " _scaled_dot_product_efficient_attention _scaled_dot_product_attention_math",
    _fused_attention: "_native_multi_head_attention _transformer_encoder_layer_fwd",
    _pixel_shuffle: "pixel_shuffle",
    _pixel_unshuffle: "pixel_unshuffle",
}


RULES: dict[str, Rule] = {name: rule for rule, names in TABLE.items() for name in names.split()}


def tensors_in(values: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors among arguments, also those in lists of them."""
    tensors: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += tensors_in(value)
    return tensors
