"""What each ATen operation does to the receptive fields of its arguments: one rule for each kind of operation."""

from __future__ import annotations

# MOVED
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ...core.receptive_field import Field, adapted, resized, transposed, window
from ..common.field import Factor, Places, constant


def _convolution(step: Step) -> Places:
    weight, stride, padding, dilation, turned = step.args[1], *(step.args[at] for at in (3, 4, 5, 6))
    if step.places(weight).fields:
        return step.places(weight).lost("a kernel that depends on the image", step.shape)
    kernel = list(weight.shape[2:])
    return step.windows(transposed if turned else window, kernel, list(stride), list(dilation), list(padding))


def _max_pool(step: Step) -> Places:
    kernel = step.args[1]
    return step.windows(window, kernel, step.arg(2) or kernel, step.arg(4, 1), step.arg(3, 0))


def _avg_pool(step: Step) -> Places:
    kernel = step.args[1]
    return step.windows(window, kernel, step.arg(2) or kernel, 1, step.arg(3, 0))


def _adaptive(step: Step) -> Places:
    source = step.source
    count = len(step.args[1])
    return step.windows(adapted, list(source.shape[-count:]), list(step.shape[-count:]))


def _resize(rule: str, corners: int | None, step: Step) -> Places:
    count = len(step.shape) - 2
    before, after = list(step.source.shape[-count:]), list(step.shape[-count:])
    keep = bool(step.arg(corners)) if corners is not None else False
    return step.windows(partial(resized, rule=rule, corners=keep), before, after)


def _pad(step: Step) -> Places:
    source, pads = step.source, step.args[1]
    rules = {
        len(source.dims) - 1 - at: partial(window, kernel=1, padding=int(pads[2 * at])) for at in range(len(pads) // 2)
    }
    return source.windowed(rules, step.shape)


def _slice(step: Step) -> Places:
    source, dim = step.source, step.arg(1, 0) % len(step.source.dims)
    start, jump = step.arg(2) or 0, step.arg(4, 1)
    start = max(0, start + source.shape[dim]) if start < 0 else start
    if not source.along(dim) or len(source.along(dim)) == 1:
        return source.windowed({dim: partial(window, kernel=1, stride=jump, padding=-start)}, step.shape)
    if source.shape == step.shape:
        return source
    # Tokens without those in front: what the others see stays.
    dims = list(source.dims)
    dims[dim] = (Factor(source.along(dim), step.shape[dim]),)
    return Places(tuple(dims), source.fields)


def _reduce(step: Step) -> Places:
    dims = step.arg(1)
    dims = [dims] if isinstance(dims, int) else dims
    return step.source.reduced(dims or None, keep=len(step.shape) == len(step.source.dims))


def _reduce_norm(step: Step) -> Places:
    """(input, order, dims, keepdim), unlike the other reductions."""
    dims = step.arg(2)
    dims = [dims] if isinstance(dims, int) else dims
    return step.source.reduced(dims or None, keep=len(step.shape) == len(step.source.dims))


def _reduce_var(step: Step) -> Places:
    dims = step.arg(1) if isinstance(step.arg(1), list | tuple) else None
    return step.source.reduced(dims, keep=len(step.shape) == len(step.source.dims))


def _softmax(step: Step) -> Places:
    return step.source.mixed([step.args[1]])


def _layer_norm(step: Step) -> Places:
    if step.at:
        return step.source.lost("a statistic", step.shape)
    return step.source.mixed(range(-len(step.args[1]), 0))


def _norm_over_places(step: Step) -> Places:
    if step.at:
        return step.source.lost("a statistic", step.shape)
    kept = step.source
    whole = kept.mixed([at for at in range(len(kept.dims)) if kept.along(at)])
    return Places(kept.dims, whole.fields)


def _same(step: Step) -> Places:
    if step.at and step.shape != step.source.shape:
        return step.source.lost("a statistic", step.shape)
    return step.source


def _strided(step: Step) -> Places:
    """Another memory format of the same numbers, as adaptive pooling sets it; anything else isn't followed."""
    same = step.shape == step.source.shape
    return step.source if same else step.source.lost("as_strided isn't followed", step.shape)


def _permute(step: Step) -> Places:
    return step.source.permuted([each % len(step.shape) for each in step.args[1]])


def _transpose(step: Step) -> Places:
    order = list(range(len(step.shape)))
    one, two = (step.arg(at, default) % len(order) for at, default in ((1, 0), (2, 1)))
    order[one], order[two] = order[two], order[one]
    return step.source.permuted(order)


def _t(step: Step) -> Places:
    return step.source.permuted(list(range(len(step.shape)))[::-1])


def _view(step: Step) -> Places:
    return step.source.viewed(step.shape)


def _cat(step: Step) -> Places:
    every = [step.places(each) for each in step.args[0] if each.numel()]
    return every[0].joined(every[1:], step.arg(1, 0))


def _stack(step: Step) -> Places:
    every = [step.places(each) for each in step.args[0]]
    dim = step.arg(1, 0) % len(step.shape)
    made = every[0].over(every[1:])
    return Places((*made.dims[:dim], (Factor("", step.shape[dim]),), *made.dims[dim:]), made.fields)


def _select(step: Step) -> Places:
    return step.source.picked(step.args[1])


def _unbind(step: Step) -> Places:
    return step.source.picked(step.arg(1, 0))


def _split(step: Step) -> Places:
    dim = step.arg(2, 0)
    source = step.source
    if source.along(dim):
        return source.lost("split along the image", step.shape)
    return source.windowed({}, step.shape)


def _expand(step: Step) -> Places:
    source = step.source
    lead = len(step.shape) - len(source.dims)
    dims = constant(step.shape).dims[:lead] + source.dims
    return Places(tuple(dims), source.fields).windowed({}, step.shape)


def _matmul(step: Step) -> Places:
    return step.places(step.args[0]).times(step.places(step.args[1]), step.shape)


def _addmm(step: Step) -> Places:
    product = step.places(step.args[1]).times(step.places(step.args[2]), step.shape)
    return product.over([step.places(step.args[0])])


def _attention(step: Step) -> Places:
    """Softmax(q·kᵀ)·v: every query sees all places of the keys."""
    query, key, value = (step.places(each) for each in step.args[:3])
    if step.at:
        return query.lost("a statistic", step.shape)
    reach = key.over([value]) if key.shape == value.shape else key
    dims = [*query.dims[:-1], constant(step.shape).dims[-1]]
    return Places(
        tuple(dims), query.over([reach.mixed([-2])]).fields if query.shape == key.shape else query.mixed([-2]).fields
    )


def _fused_attention(step: Step) -> Places:
    query = step.places(step.args[0])
    if step.at:
        return query.lost("a statistic", step.shape)
    fields = query.mixed([1]).fields
    return Places(query.dims, fields)


def _shuffled(step: Step) -> Places:
    factor = step.args[1]
    count = {len(step.shape) - 2: factor, len(step.shape) - 1: factor}
    rules = {dim: partial(lambda field, f: resized(field, 1 << 10, f << 10), f=each) for dim, each in count.items()}
    return step.source.windowed(rules, step.shape)


def _unshuffled(step: Step) -> Places:
    factor = step.args[1]
    rules = {dim: partial(window, kernel=factor, stride=factor) for dim in (len(step.shape) - 2, len(step.shape) - 1)}
    return step.source.windowed(rules, step.shape)


def _rules() -> dict[str, Callable[[Step], Places]]:
    table: dict[Callable[[Step], Places], str] = {
        _convolution: "convolution _convolution cudnn_convolution mkldnn_convolution",
        _max_pool: "max_pool2d_with_indices max_pool3d_with_indices max_pool2d max_pool1d max_pool3d mkldnn_max_pool2d",
        _avg_pool: "avg_pool1d avg_pool2d avg_pool3d",
        _adaptive: "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d adaptive_avg_pool1d",
        _pad: "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d"
        " replication_pad3d",
        _slice: "slice",
        _reduce: "all any mean sum amax amin max min logsumexp prod",
        _reduce_norm: "norm linalg_vector_norm",
        _reduce_var: "var std",
        _softmax: "_softmax _log_softmax softmax log_softmax cumsum",
        _layer_norm: "native_layer_norm",
        _norm_over_places: "native_group_norm instance_norm",
        _same: "native_batch_norm cudnn_batch_norm _native_batch_norm_legit_no_training native_dropout hardswish hardtanh"
        " contiguous detach alias clone lift_fresh _to_copy to dropout bernoulli leaky_relu elu celu",
        _strided: "as_strided",
        _permute: "permute",
        _transpose: "transpose",
        _t: "t",
        _view: "view _unsafe_view reshape unsqueeze squeeze _reshape_alias flatten _reshape_copy",
        _cat: "cat",
        _stack: "stack",
        _select: "select",
        _unbind: "unbind",
        _split: "split split_with_sizes chunk",
        _expand: "expand",
        _matmul: "mm bmm matmul mv",
        _addmm: "addmm baddbmm",
        _attention: "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
        " _scaled_dot_product_efficient_attention _scaled_dot_product_attention_math",
        _fused_attention: "_native_multi_head_attention _transformer_encoder_layer_fwd",
        _shuffled: "pixel_shuffle",
        _unshuffled: "pixel_unshuffle",
    }
    found = {name: rule for rule, names in table.items() for name in names.split()}
    for each in ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"):
        found[each] = partial(_resize, "nearest", None)
    for each in ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"):
        found[each] = partial(_resize, "linear", 2)
    found["upsample_bicubic2d"] = partial(_resize, "cubic", 2)
    return found


RULES = _rules()


class Step:
    """One operation: its arguments, the places of those that have any, and the shape of one tensor that came out."""

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        known: Mapping[int, Places],
        shape: tuple[int, ...],
        at: int,
    ) -> None:
        self.args, self.kwargs, self.known, self.shape, self.at = args, kwargs, known, shape, at

    def arg(self, at: int, default: Any = None) -> Any:
        return self.args[at] if len(self.args) > at else default

    def places(self, tensor: torch.Tensor) -> Places:
        return self.known.get(id(tensor)) or constant(tuple(tensor.shape))

    @property
    def source(self) -> Places:
        return self.places(self.args[0])

    def pointwise(self) -> Places:
        every = [self.places(each) for each in tensors_in([*self.args, *self.kwargs.values()])]
        return every[0].over(every[1:])

    def windows(self, rule: Callable[..., Field], *options: Any) -> Places:
        """Along the spatial dimensions, the last ones, with the i-th of each option."""
        source = self.source
        rank = len(source.dims)
        count = rank - 2 if rank > 2 else 1
        rules = {
            rank - count + at: partial(
                lambda field, values: rule(field, *values), values=[_at(each, at) for each in options]
            )
            for at in range(count)
        }
        return source.windowed(rules, self.shape)


def tensors_in(values: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors among arguments, also those in lists of them."""
    found: list[torch.Tensor] = []
    for each in values:
        if isinstance(each, torch.Tensor):
            found.append(each)
        elif isinstance(each, list | tuple):
            found += tensors_in(each)
    return found


def _at(option: Any, at: int) -> Any:
    if isinstance(option, list | tuple):
        return option[at] if len(option) > 1 else option[0]
    return option
