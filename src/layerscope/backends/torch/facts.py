"""What a PyTorch model tells without being run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..common.axes import CHANNELS_FIRST
from ..common.facts import sample, sampled_digest
from ..protocol import Facts, Input
from . import hub
from .evidence import own_scaling, resizes
from .outputs import as_captured
from .tree import named_modules_of


def facts(model: nn.Module) -> Facts:
    """Name, input, weights digest, and the preprocessing that a timm model carries with it."""
    hf = hub.hf_model(model)
    recipe = _timm_recipe(model) if hf is None else hub.recipe(hf)
    size = (_size_of_transformer(model) if hf is None else hub.image_size(hf)) or (recipe["size"] if recipe else None)
    source = "the model's timm configuration" if hf is None else "the model's image processor"
    own, module = own_scaling(model) if recipe is None else (None, "")
    taken = _inputs_of_export(model) or _inputs(model, size)
    return Facts(
        type(model).__name__,
        taken,
        digest(model),
        f"torch {torch.__version__}",
        recipe or own,
        source if recipe else module,
        None if hf is None else hub.labels(hf),
        resizes=hf is None and recipe is None and resizes(model, taken),
    )


def _inputs_of_export(model: nn.Module) -> tuple[Input, ...]:
    """The inputs of an exported program with the sizes that it was exported for; `None` for those that may change.

    Pictures are channels-first, as torch's convolutions take them.
    """
    if not isinstance(model, torch.export.UnflattenedModule):
        return ()
    names = [str(name) for name in model.graph_signature.user_inputs]
    values = [node.meta.get("val") for node in model.graph.nodes if node.op == "placeholder"]
    if len(names) != len(values) or not all(isinstance(value, torch.Tensor) for value in values):
        return ()
    shapes = [tuple(size if isinstance(size, int) else None for size in value.shape) for value in values]
    if not all(len(shape) in CHANNELS_FIRST for shape in shapes):
        return ()
    return tuple(Input(name, CHANNELS_FIRST[len(shape)], shape) for name, shape in zip(names, shapes, strict=True))


def digest(model: nn.Module) -> str:
    """A digest over name, shape, type and 64 evenly spaced values of each parameter and buffer: milliseconds for VGG16."""
    return sampled_digest(_weights(model))


PLAIN = (torch.nn.Parameter, torch.Tensor)


def _weights(model: nn.Module) -> Iterator[tuple[str, bytes]]:
    """The description and a sample of each parameter and buffer, and of weights that quantised layers have packed."""
    modules = named_modules_of(model)
    for name, tensor in (*_tensors(modules, "_parameters"), *_tensors(modules, "_buffers")):
        description = name + _shape_and_type(tensor.shape, tensor.dtype)
        if type(tensor) in PLAIN and tensor.is_cpu and tensor.dtype is torch.float32 and tensor.layout is torch.strided:
            yield description, _sample(tensor)
            continue
        for part in _plain(tensor):
            there = not part.is_meta and part.numel() and part.layout is torch.strided
            yield description, _sample_of(part) if there else b""
    for name, module in modules:
        # Quantised layers keep their weights in a package of the engine's own, and give them by a method.
        if type(module).__module__.startswith("torch.ao.nn.quantized") and callable(getattr(module, "weight", None)):
            weight = module.weight()
            yield name + _shape_and_type(weight.shape, weight.dtype), _sample(weight.dequantize())


@lru_cache(maxsize=4096)
def _shape_and_type(shape: torch.Size, kind: torch.dtype) -> str:
    """The end of a description: models have thousands of weights, of few shapes."""
    return f" {tuple(shape)} {kind}"


def _tensors(modules: Sequence[tuple[str, nn.Module]], kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters or buffers of modules by their full names, each once."""
    seen = set()
    for name, module in modules:
        for key, tensor in list(getattr(module, kind).items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield (f"{name}.{key}" if name else key), tensor


def _plain(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that a tensor holds: itself, or the parts of a distributed or quantised one."""
    if type(tensor) in (torch.Tensor, torch.nn.Parameter):
        return [tensor]
    names, _ = tensor.__tensor_flatten__() if hasattr(tensor, "__tensor_flatten__") else ((), None)
    parts = [getattr(tensor, name) for name in names] if names else [tensor]
    return [part for part in parts if isinstance(part, torch.Tensor)]


def _sample_of(tensor: torch.Tensor) -> bytes:
    """A sample of a tensor; nothing of one whose class doesn't know how it is read."""
    try:
        return _sample(tensor)
    except Exception:
        if type(tensor) in (torch.Tensor, torch.nn.Parameter):
            raise
        return b""


def _sample(tensor: torch.Tensor) -> bytes:
    if tensor.is_cpu and tensor.dtype is torch.float32:
        # Straight from the memory: half a dozen tensor operations for each weight would be felt in every capture.
        values: bytes = sample(tensor.detach().numpy().reshape(-1)).tobytes()
        return values
    flat = tensor.detach().reshape(-1)
    return as_captured(sample(flat)).values.tobytes()


def _inputs(model: nn.Module, size: Sequence[int] | None) -> tuple[Input, ...]:
    """The input that the first convolution (or the first linear layer) takes; sizes are free unless the model says so."""
    height, width = size or (None, None)
    for _, module in named_modules_of(model):
        if isinstance(module, nn.Conv2d):
            return (Input("input", "bchw", (None, module.in_channels, height, width)),)
        if isinstance(module, nn.Conv3d):
            return (Input("input", "bcdhw", (None, module.in_channels, None, None, None)),)
        if isinstance(module, nn.Conv1d):
            return (Input("input", "bcn", (None, module.in_channels, None)),)
        if isinstance(module, nn.Linear):
            return (Input("input", "bc", (None, module.in_features)),)
    return ()


def _size_of_transformer(model: nn.Module) -> tuple[int, int] | None:
    """The input size that a timm transformer was built for (`img_size=`), which its configuration doesn't know."""
    embed = getattr(model, "patch_embed", None)
    size = getattr(embed, "img_size", None)
    if not getattr(embed, "strict_img_size", False) or not isinstance(size, tuple | list):
        return None
    return int(size[0]), int(size[1])


def _timm_recipe(model: nn.Module) -> dict[str, Any] | None:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not isinstance(config, Mapping) or not {"mean", "std", "input_size"} <= config.keys():
        return None
    _, height, width = config["input_size"]
    crop = config.get("crop_pct") or 0.875
    # A squashed image is cropped only where crop_pct is below 1, which no recipe has and no model of timm asks for.
    squashed = config.get("crop_mode") == "squash" and crop == 1
    fit = {"resize": "squash"} if squashed else {"resize": "shorter", "short": int(min(height, width) / crop)}
    return {
        **fit,
        "name": "timm",
        "order": "rgb",
        "divide": 255.0,
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "size": [height, width],
        "interpolation": config.get("interpolation") or "bicubic",
    }
