"""What comes out of a PyTorch module, by name, and as arrays on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..common.outputs import Aim, arrays_in, main_subpath
from ..protocol import Captured, Pick


def parts_of(output: Any) -> dict[str, torch.Tensor]:
    """Every tensor in a module's output by its subpath: `""`, `"[0]"`, `".logits"`, `".hidden_states[2]"`."""
    return {"": output} if isinstance(output, torch.Tensor) else dict(arrays_in(output, _is_tensor))


def main_part(parts: Mapping[str, torch.Tensor]) -> str:
    """The part that a plain path means."""
    return "" if "" in parts else main_subpath(parts, torch.Tensor.is_floating_point)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _main(output: Any) -> Any:
    parts = parts_of(output)
    return parts.get(main_part(parts))


AIM = Aim(
    is_array=_is_tensor,
    main=_main,
    classes=lambda tensor: 1,
    take=lambda tensor, index, axis: tensor.select(axis, index),
    total=torch.sum,
)


def is_mapped(tensor: torch.Tensor) -> bool:
    """Whether a tensor exists only inside `torch.vmap` or another transformation of functions."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def padded(tensor: torch.Tensor) -> torch.Tensor:
    """A nested or jagged tensor as one with zeros where its rows end, as torch itself pads it; others as they are."""
    return torch.nested.to_padded_tensor(tensor, 0.0) if tensor.is_nested else tensor


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is nothing but float32 numbers in this computer's memory, as those of nearly all layers.

    No complex number, nor a code of a quantised one, has this type.
    """
    return (
        type(tensor) is torch.Tensor
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not (tensor.is_nested or tensor.is_neg())
    )


FEW = 1 << 14  # numbers


def plain_copy(tensor: torch.Tensor) -> Captured:
    """A copy of what `is_plain`."""
    own = tensor.detach() if tensor.requires_grad else tensor
    # Of few numbers numpy makes one in half the time; torch uses all threads for many.
    return Captured(own.numpy().copy("K") if own.numel() <= FEW else own.clone().numpy(), None, "float32")


def as_captured(value: torch.Tensor, pick: Pick | None = None) -> Captured:
    """A copy on the host, taken before the next module can write into the tensor; of the channels of `pick` alone."""
    if pick is None and is_plain(value):
        return plain_copy(value)
    value = padded(value)
    tensor = value if pick is None else _take(value, pick)
    if is_plain(tensor):
        return plain_copy(tensor)
    dtype = str(value.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bfloat16 or (tensor.is_floating_point() and tensor.element_size() == 1):
        tensor = tensor.float()
    copied = tensor.detach().to("cpu", copy=True).resolve_conj().resolve_neg()
    return Captured(copied.numpy(), dtype=dtype)


def _take(tensor: torch.Tensor, pick: Pick) -> torch.Tensor:
    first, count = pick.numbers[0], len(pick.numbers)
    if pick.numbers == tuple(range(first, first + count)):
        return tensor.narrow(pick.axis, first, count)
    return tensor.index_select(pick.axis, torch.tensor(pick.numbers, device=tensor.device))
