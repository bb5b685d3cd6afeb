"""Models of torchvision and timm by name, with what their default weights say of themselves. Nothing is downloaded."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from ...errors import BackendMissing, ModelNotReadable, RandomWeights, caller_level, near, one_line
from ...files import parsing
from ...surface import option
from . import hf_folder
from .load import load_weights, read_state
from .offline import offline


def from_torchvision(name: str, weights: Path | None = None) -> tuple[torch.nn.Module, Any]:
    """(the model `torchvision.models.NAME` in evaluation mode, the entry of its default weights or `None`).

    `weights` is a state dict file; without it, weights that torch.hub has on this machine are read, else they are random,
    with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    models = _import("torchvision", f"torchvision:{name}").models
    known = models.list_models()
    name = name if name in known else name.lower()  # as all of them are
    if name not in known:
        raise ModelNotReadable(
            f"torchvision.models has no {name!r}{near(name, known) or '.'} There are {', '.join(known)}"
        )
    entry = getattr(models.get_model_weights(name), "DEFAULT", None)
    # such as the backbone of a detector, which some builders fetch unless told not to
    built_on = inspect.signature(models.get_model_builder(name)).parameters
    free = {"weights_backbone": None} if "weights_backbone" in built_on else {}
    model: torch.nn.Module = models.get_model(name, weights=None, **free).eval()
    if weights is None:
        weights = _cached_weights(entry)
    if weights is not None:
        load_weights(model, weights)
        return model, entry
    where = entry.url if entry is not None else "the weights"
    fetch = f"torchvision.models.get_model({name!r}, weights='DEFAULT')"
    _warn_random(f"torchvision:{name}", f"{where} isn't on this machine", fetch)
    return model, entry


def _cached_weights(entry: Any) -> Path | None:
    if entry is None:
        return None
    path = Path(torch.hub.get_dir(), "checkpoints", entry.url.rpartition("/")[2])
    return path if os.path.isfile(path) else None


def from_timm(name: str, weights: Path | None = None) -> torch.nn.Module:
    """The model `timm.create_model(NAME)` in evaluation mode.

    `weights` is a state dict file; without it, weights that the Hugging Face cache has on this machine are read, else they
    are random, with a `RandomWeights` warning. Raises `ModelNotReadable` with near names.
    """
    timm = _import("timm", f"timm:{name}")
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ModelNotReadable(
            f"timm has no {name!r}{near(name, known) or '.'} timm.list_models() lists all {len(known)}"
        )
    model: torch.nn.Module = timm.create_model(name, pretrained=False).eval()
    repository = (getattr(model, "pretrained_cfg", None) or {}).get("hf_hub_id") or ""
    weights = weights or _in_hub(repository)
    if weights is not None:
        load_weights(model, weights)
        return model
    fetch = f"timm.create_model({name!r}, pretrained=True)"
    _warn_random(f"timm:{name}", f"{repository or 'none'} isn't on this machine", fetch)
    return model


def _in_hub(repository: str) -> Path | None:
    """The weights of that repository in the local cache of huggingface_hub."""
    if not repository:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    paths = (try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin"))
    return next((Path(path) for path in paths if isinstance(path, str)), None)


FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


# Steps of image processors that no recipe has.
OTHER_STEPS = ("do_pad", "do_flip_channel_order", "do_split_image", "do_reduce_labels", "rescale_offset")


def from_hf(name: str, weights: Path | None = None, trust: bool = False) -> torch.nn.Module:
    """The model in a folder that `save_pretrained` wrote, or of that name in the local cache, in evaluation mode.

    `weights` is a state dict file; without it, the weights beside the configuration are read, else they are random,
    with a `RandomWeights` warning. Classes are those of transformers; with `trust` also those in the folder. Raises
    `ModelNotReadable` where there is no configuration, `TrustRequired` where it needs code that it names, `BackendMissing`.
    """
    folder, fetch = hf_folder.folder_of(name), f"`hf download {name}`"
    if folder is None or not os.path.exists(folder / "config.json"):
        raise ModelNotReadable(
            f"hf:{name}: no configuration in that folder or in the local cache, and nothing is downloaded to show a picture."
            f" Fetch it once with {fetch}, or give the folder that save_pretrained wrote"
        )
    transformers = _import("transformers", f"hf:{name}")
    state = None if weights is None else read_state(weights)
    with offline(), parsing(name, "a model of transformers", ModelNotReadable):
        hf_folder.check_files(folder, trust)
        kind, config = _kind_of(transformers, folder, trust)
        model, loading = _loaded(kind, config, folder, state=state, trust=trust)
    model.config._name_or_path = name
    missing = [] if loading is None else sorted(str(key) for key in loading["missing_keys"])
    if missing and weights is not None:
        raise ModelNotReadable(
            f"the weights in {weights.name} don't fit {type(model).__name__}: {_some(missing)} missing"
        )
    if loading is None:
        _warn_random(f"hf:{name}", "there are no weights beside its configuration", fetch)
    elif missing:
        _warn_random(f"hf:{name}", f"{_some(missing)} of its weights aren't in the file", fetch)
    return cast(torch.nn.Module, model.eval())


def _loaded(kind: Any, config: Any, folder: Path, *, state: Any, trust: bool) -> tuple[Any, Any]:
    """(the model, what its loader says of missing weights, or `None` where there are none at all)."""
    options = {"config": config, "trust_remote_code": trust, "output_loading_info": True, "weights_only": True}
    if state is not None:
        # Through from_pretrained, since it knows the names that weights had in earlier versions.
        return kind.from_pretrained(None, state_dict=state, local_files_only=True, **options)
    if any(os.path.exists(folder / file) for file in hf_folder.WEIGHTS):
        try:
            return kind.from_pretrained(str(folder), local_files_only=True, **options)
        except pickle.UnpicklingError as error:  # whose own words advise to load it unsafely
            raise ModelNotReadable(
                f"the weights in {folder} are a pickle of more than tensors: save them as safetensors"
            ) from error
    auto = hasattr(kind, "from_config")
    return (kind.from_config(config, trust_remote_code=trust) if auto else kind(config)), None


def _kind_of(transformers: Any, folder: Path, trust: bool) -> tuple[Any, Any]:
    """(the class of the model, its configuration): a class of transformers, or with `trust` what the folder names."""
    known = transformers.CONFIG_MAPPING
    if trust:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=True)
        names = [name for name in getattr(config, "auto_map", None) or () if name.startswith("AutoModel")]
        if names:
            return getattr(transformers, names[0]), config
    else:
        plain = hf_folder.configuration(folder, known)
        config = known[plain["model_type"]].from_dict(plain)
    name = next(iter(getattr(config, "architectures", None) or ()), "")
    kind = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    model = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    return (kind if model else transformers.AutoModel), config


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" … ({len(names)})" if len(names) > most else "")


def _import(library: str, reference: str) -> Any:
    try:
        return importlib.import_module(library)
    except Exception as error:  # one that doesn't fit the torch that is installed raises what it likes
        raise BackendMissing(
            f"{reference} needs {library}, which can't be imported ({one_line(error)}): pip install {library}, in a version"
            f" that fits torch {torch.__version__}"
        ) from error


def _warn_random(reference: str, why: str, fetch: str) -> None:
    warnings.warn(
        f"{reference} has random weights: {why}, and nothing is downloaded to show a picture. Give {option('weights')},"
        f" or fetch them once with {fetch}",
        RandomWeights,
        stacklevel=caller_level(),
    )


def hf_model(model: Any) -> Any:
    """The model of transformers that it is, or that peft has adapted; `None` for others.

    By the names of classes: looking into the library would load half of it, and fail where it doesn't fit this torch.
    """
    if _is_of(model, "peft", "PeftModel") and callable(getattr(model, "get_base_model", None)):
        model = model.get_base_model()
    return model if _is_of(model, "transformers", "PreTrainedModel") else None


def _is_of(model: Any, library: str, name: str) -> bool:
    """Whether a class of that library, of that name where several are, is among those of a model."""
    kinds = type(model).__mro__
    return any(kind.__name__ == name and kind.__module__.partition(".")[0] == library for kind in kinds)


def image_size(model: Any) -> tuple[int, int] | None:
    """The (height, width) that the configuration states."""
    config = getattr(model.config, "vision_config", model.config)
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, tuple | list) and len(size) == 2 else None


def labels(model: Any) -> tuple[str, ...] | None:
    """The class names of the configuration, where they are more than `LABEL_0`, `LABEL_1` …"""
    names = getattr(model.config, "id2label", None) or {}
    classes = [str(names[index]) for index in range(len(names)) if index in names]
    placeholder = all(name == f"LABEL_{index}" for index, name in enumerate(classes))
    return tuple(classes) if classes and len(classes) == len(names) and not placeholder else None


def recipe(model: Any) -> dict[str, Any] | None:
    """The model's own image processor as the fields of a recipe, `None` where it isn't on this machine or does more."""
    folder = hf_folder.folder_of(getattr(model.config, "_name_or_path", "") or "")
    if folder is None:
        return None
    import transformers

    reader: Any = transformers.AutoImageProcessor
    try:
        with offline():
            hf_folder.check_files(folder, trust=True)
            hf_folder.check_processor(folder)
            return from_processor(reader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False))
    except Exception:  # of a library that raises what it likes
        # Not on this machine, damaged, or of no known class: the preprocessing stays unknown, which `open` warns of.
        return None


def from_processor(processor: Any) -> dict[str, Any] | None:
    """An image processor of transformers as the fields of a recipe; `None` where it has steps that no recipe has."""

    def has(name: str) -> Any:
        return getattr(processor, name, None)

    size, crop = _sizes(has("size")), _sizes(has("crop_size")) if has("do_center_crop") else {}
    if any(has(step) for step in OTHER_STEPS) or not has("do_resize") or has("resample") not in FILTERS:
        return None
    fields: dict[str, Any] = {"name": type(processor).__name__, "interpolation": FILTERS[int(has("resample"))]}
    short, percent = size.get("shortest_edge"), has("crop_pct")
    if percent is not None and short:
        # ConvNeXt: below 384 the shorter side is enlarged by the share that the crop keeps, from 384 on it is squashed.
        fields |= {"size": [short, short]}
        fields |= {"resize": "shorter", "short": int(short / percent)} if short < 384 else {"resize": "squash"}
    elif short and crop and not size.get("longest_edge"):
        fields |= {"resize": "shorter", "short": short, "size": [crop["height"], crop["width"]]}
    elif "height" in size and (not crop or crop == size):
        fields |= {"resize": "squash", "size": [size["height"], size["width"]]}
    else:
        return None
    fields["centre"] = "floor"
    if has("do_rescale"):
        fields["divide"] = 1 / has("rescale_factor")
    if has("do_normalize"):
        fields |= {"mean": list(has("image_mean")), "std": list(has("image_std"))}
    return fields


def _sizes(size: Any) -> dict[str, int]:
    if isinstance(size, int):
        return {"height": size, "width": size}
    pairs = size.items() if isinstance(size, Mapping) else vars(size).items() if size is not None else ()
    return {str(name): int(value) for name, value in pairs if isinstance(value, int)}
