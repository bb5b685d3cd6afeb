"""A PyTorch model as layerscope runs it: one forward pass that leaves no trace."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from ...errors import ModelNotReadable


def unwrap(model: Any) -> Any:
    """The module itself, without `torch.compile`, DataParallel or DistributedDataParallel around it."""
    if isinstance(model, torch.export.ExportedProgram):
        return torch.export.unflatten(model)
    while True:
        if isinstance(model, torch.nn.Module) and isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        elif isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


@contextmanager
def preserve_state(model: torch.nn.Module, gradients: bool = False) -> Iterator[list[Any]]:
    """Evaluation mode, with gradients only if asked for; on the way out everything is put back, also when the model raises.

    Gradients work inside the caller's `no_grad` and `inference_mode` too. Yields a list for the handles of hooks, which
    are removed. Restored are the training flag of every module, buffers that
    the run changed, and the random state of the CPU and of the model's CUDA devices.
    """
    modules = list(model.modules())
    flags = [(module, module.training) for module in modules]
    buffers = [
        (module, name, buffer, buffer._version if not buffer.is_inference() else 0, buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = sorted({weight.device.index for weight in model.parameters() if weight.device.type == "cuda"})
    handles: list[Any] = []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        if gradients:
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(_eagerly())
        try:
            for module, _ in flags:
                # Set, not model.eval(): a model may override train() with effects of its own, or forbid it.
                module.training = False
            yield handles
        finally:
            for handle in handles:
                handle.remove()
            for module, training in flags:
                module.training = training
            for module, name, buffer, version, kept in buffers:
                if module._buffers.get(name) is not buffer:
                    module._buffers[name] = buffer
                if buffer.is_inference() or buffer._version != version:
                    _restore(buffer, kept)


def _restore(buffer: torch.Tensor, kept: torch.Tensor) -> None:
    if buffer.is_inference():
        with torch.inference_mode():
            buffer.copy_(kept)
    else:
        buffer.data.copy_(kept)


@contextmanager
def _eagerly() -> Iterator[None]:
    """Compiled parts inside the model run eagerly: a compiled region that has run once calls no hooks."""
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None:
        yield
        return
    with stance("force_eager"):
        yield


def forward(model: torch.nn.Module, batch: Any) -> Any:
    """The model's output for a batch: an array, a tuple of arrays, or a dict of them by name."""
    if isinstance(batch, Mapping):
        return model(**{name: _tensor(model, value) for name, value in batch.items()})
    if isinstance(batch, tuple | list):
        return model(*(_tensor(model, value) for value in batch))
    # Models of transformers say by which name they take images; the forward of some takes it by name only.
    name = getattr(model, "main_input_name", None)
    if name == "pixel_values":
        return model(pixel_values=_tensor(model, batch))
    return model(_tensor(model, batch))


def _tensor(model: torch.nn.Module, value: Any) -> Any:
    """On the model's device, in its floating type; a copy, so that a model may write into its input."""
    held = itertools.chain(model.parameters(), model.buffers())
    like = next((weight for weight in held if weight.is_floating_point()), torch.zeros(0))
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value).copy())
    elif isinstance(value, torch.Tensor):
        value = value.detach().clone()
    else:
        return value
    if like.device.type == "meta":
        raise ModelNotReadable("the model's weights are on the meta device, so it can't compute: load them first")
    kind = like.dtype if value.is_floating_point() and like.element_size() > 1 else value.dtype
    return value.to(like.device, kind)


def kind_of(module: torch.nn.Module) -> str:
    """The module's class name, its original one where `torch.export` kept it."""
    name = type(module).__name__
    original = getattr(module, "type_name", None) if callable(getattr(module, "type_name", None)) else None
    kept = original() if original else None
    return kept.rpartition(".")[2] if isinstance(kept, str) and kept else name
