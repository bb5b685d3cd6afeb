"""What a PyTorch model tells without being run."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from ..common.axes import CHANNELS_FIRST
from ..common.facts import sample, sampled_digest
from ..common.run import TensorMap
from ..protocol import Facts, Input
from . import hub
from .evidence import own_scaling, resizes
from .outputs import as_captured
from .tree import check_weights, modules_of, named_modules_of, weights_of


def facts(model: nn.Module) -> Facts:
    """Name, input, weights digest, and the preprocessing that a timm model carries with it."""
    check_weights(model, weights_of(model))
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
    known = SAMPLED.get(model)
    if known is not None and known.is_of(model):
        return known.digest
    check_weights(model, weights_of(model))
    result = sampled_digest(_weights(model))
    sampled = Sampled.of(model, result)
    if sampled is not None:
        SAMPLED.set(model, sampled)
    return result


@dataclass(frozen=True)
class Sampled:
    """A digest with what it was made from: the weights, and views of their sampled values by type."""

    digest: str
    keys: list[str]
    tensors: list[weakref.ref[torch.Tensor]]
    places: list[Any]
    views: list[list[np.ndarray]]
    values: list[bytes]

    @classmethod
    def of(cls, model: nn.Module, digest: str) -> Sampled | None:
        """Of a model whose weights can all be read straight from the memory, and are many rather than large."""
        keys, tensors = _keys_and_tensors(model)
        if len(tensors) < FEW or _packed(named_modules_of(model)):
            return None
        if not all(type(tensor) in PLAIN and tensor.is_cpu and tensor.is_contiguous() for tensor in tensors):
            return None  # numpy would flatten others into a copy
        if sum(tensor.numel() for tensor in tensors) > MOST_HELD:
            return None
        try:
            views = [_view(tensor) for tensor in tensors]
        except (TypeError, RuntimeError):  # of a type that numpy hasn't
            return None
        groups = [[view for view in views if view.dtype == kind] for kind in {view.dtype for view in views}]
        return cls(digest, keys, list(map(weakref.ref, tensors)), _places(tensors), groups, _values(groups))

    def is_of(self, model: nn.Module) -> bool:
        """Whether a model still has these weights: what writes to `weight.data`, and fused optimizers, leave no count."""
        keys, tensors = _keys_and_tensors(model)
        same = len(tensors) == len(self.tensors)
        same = same and all(known() is tensor for known, tensor in zip(self.tensors, tensors, strict=True))
        return same and keys == self.keys and _places(tensors) == self.places and _values(self.views) == self.values


def _keys_and_tensors(model: nn.Module) -> tuple[list[str], list[torch.Tensor]]:
    """The names of modules in their parents, and all weights and buffers."""
    keys: list[str] = []
    tensors: list[torch.Tensor | None] = []
    for module in modules_of(model):
        tensors += module._parameters.values()
        if module._buffers:
            tensors += module._buffers.values()
        if module._modules:
            keys += module._modules.keys()
    return keys, [tensor for tensor in tensors if tensor is not None]


def _places(tensors: Sequence[torch.Tensor]) -> list[Any]:
    return [*map(torch.Tensor.data_ptr, tensors), *(tensor.shape for tensor in tensors)]


def _values(groups: Sequence[Sequence[np.ndarray]]) -> list[bytes]:
    return [np.concatenate(views).tobytes() for views in groups]


FEW = 16  # weights: looked at anew each time
MOST_HELD = 1 << 24  # numbers of all weights: the views hold memory that a model may have left since
SAMPLED: TensorMap[Sampled] = TensorMap()
PLAIN = (torch.nn.Parameter, torch.Tensor)


def _is_simple(tensor: torch.Tensor) -> bool:
    """Whether a weight can be read straight from the memory, as nearly all."""
    return type(tensor) in PLAIN and tensor.is_cpu and tensor.dtype is torch.float32 and tensor.layout is torch.strided


def _packed(named: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, Any]]:
    """Quantised layers keep their weights in a package of the engine's own, and give them by a method."""
    return [
        (name, module)
        for name, module in named
        if type(module).__module__.startswith("torch.ao.nn.quantized") and callable(getattr(module, "weight", None))
    ]


def _weights(model: nn.Module) -> Iterator[tuple[str, bytes]]:
    """The description and a sample of each parameter and buffer, and of weights that quantised layers have packed."""
    named = named_modules_of(model)
    for name, tensor in (*_tensors(named, "_parameters"), *_tensors(named, "_buffers")):
        description = name + _shape_and_type(tensor.shape, tensor.dtype)
        if _is_simple(tensor):
            yield description, _view(tensor).tobytes()
            continue
        for part in _plain(tensor):
            there = not part.is_meta and part.numel() and part.layout is torch.strided
            yield description, _sample_of(part) if there else b""
    for name, module in _packed(named):
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
        return _view(tensor).tobytes()
    flat = tensor.detach().reshape(-1)
    return as_captured(sample(flat)).values.tobytes()


def _view(tensor: torch.Tensor) -> np.ndarray:
    """The sampled values, straight from the memory: half a dozen tensor operations for each would be felt in every capture."""
    view: np.ndarray = sample(tensor.detach().numpy().reshape(-1))
    return view


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
