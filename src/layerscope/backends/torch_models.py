"""Models of torchvision and timm by name, with what their default weights say of themselves. Nothing is downloaded."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import BackendMissing, ModelNotReadable, RandomWeights, caller_level, near
from .torch_load import load_weights


def from_torchvision(name: str, weights: Path | None = None) -> tuple[torch.nn.Module, Any]:
    """(the model `torchvision.models.NAME` in evaluation mode, the entry of its default weights or `None`).

    `weights` is a state dict file; without it, weights that torch.hub has on this machine are read, else they are random,
    said with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    try:
        from torchvision import models  # type: ignore[import-untyped]  # it ships no types
    except ImportError as error:
        raise BackendMissing(f"torchvision:{name} needs torchvision ({error}): pip install torchvision") from error
    known = models.list_models()
    if name not in known:
        raise ModelNotReadable(f"torchvision.models has no {name!r}.{near(name, known)} There are {', '.join(known)}")
    entry = getattr(models.get_model_weights(name), "DEFAULT", None)
    # such as the backbone of a detector, which some builders fetch unless told not to
    built_on = inspect.signature(models.get_model_builder(name)).parameters
    free = {"weights_backbone": None} if "weights_backbone" in built_on else {}
    model: torch.nn.Module = models.get_model(name, weights=None, **free).eval()
    if weights is None:
        weights = _cached(entry)
    if weights is not None:
        load_weights(model, weights)
        return model, entry
    where = entry.url if entry is not None else "the weights"
    warnings.warn(
        f"torchvision:{name} has random weights: {where} isn't on this machine, and nothing is downloaded to show a"
        f" picture. Give weights=, or fetch them once with torchvision.models.get_model({name!r}, weights='DEFAULT')",
        RandomWeights,
        stacklevel=caller_level(),
    )
    return model, entry


def _cached(entry: Any) -> Path | None:
    if entry is None:
        return None
    path = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
    return path if path.is_file() else None


def from_timm(name: str, weights: Path | None = None) -> torch.nn.Module:
    """The model `timm.create_model(NAME)` in evaluation mode.

    `weights` is a state dict file; without it, weights that the Hugging Face cache has on this machine are read, else they
    are random, said with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    try:
        import timm
    except ImportError as error:
        raise BackendMissing(f"timm:{name} needs timm ({error}): pip install timm") from error
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ModelNotReadable(f"timm has no {name!r}.{near(name, known)} timm.list_models() lists all {len(known)}")
    model: torch.nn.Module = timm.create_model(name, pretrained=False).eval()
    place = (getattr(model, "pretrained_cfg", None) or {}).get("hf_hub_id") or ""
    weights = weights or _in_hub(place)
    if weights is not None:
        load_weights(model, weights)
        return model
    warnings.warn(
        f"timm:{name} has random weights: {place or 'none'} isn't on this machine, and nothing is downloaded to show a"
        f" picture. Give weights=, or fetch them once with timm.create_model({name!r}, pretrained=True)",
        RandomWeights,
        stacklevel=caller_level(),
    )
    return model


def _in_hub(place: str) -> Path | None:
    """The weights of that repository in the local cache of huggingface_hub."""
    if not place:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = (try_to_load_from_cache(place, each) for each in ("model.safetensors", "pytorch_model.bin"))
    return next((Path(each) for each in found if isinstance(each, str)), None)
