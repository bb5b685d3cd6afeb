"""A folder of transformers, looked through before transformers sees it: code that it names, and files and models elsewhere."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import ModelNotReadable
from ...files import parsing, read_bytes
from ..formats import trust_required

MOST_FILES, MOST_BYTES = 10_000, 1 << 26  # of a folder; of a configuration
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
BUILD = "build the model in Python and pass the object, or package.module:factory"
# In a configuration: values that transformers takes for code, by their key, and what they are.
CODE = {
    "quantization_config": "a quantization_config and the packages that it names",
    "kernel_config": "a kernel_config",
    "fusion_config": "a fusion_config",
    "distributed_config": "a distributed_config",
    "use_kernels": "use_kernels",
}
# Files of a folder that lead to code.
PARTS = {
    "adapter_config.json": "an adapter and the packages that it names",
    ".metadata": "the pickled index of a distributed checkpoint",
}
# Arguments of `timm.create_model` that name files and repositories.
ELSEWHERE = {
    "cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args",
    "weights",
}  # fmt: skip
NAME = re.compile(r"[\w.-]+", re.ASCII)


def folder_of(name: str) -> Path | None:
    """The folder of that path, or the one of that name in the Hugging Face cache; `None` where there is neither."""
    try:
        if os.path.isdir(name):
            return Path(name)
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(name, "config.json")
    except (ImportError, ValueError, OSError):  # ValueError: not a name of the hub
        return None
    return Path(config).parent if isinstance(config, str) else None


def check_files(folder: Path, trust: bool) -> None:
    """Raise where the folder holds pipes, devices, links to files elsewhere, or weights of an adapter or from elsewhere."""
    roots = (folder.resolve(), (folder.parent.parent / "blobs").resolve())  # the hub's cache keeps the files there
    for path in islice(folder.iterdir(), MOST_FILES):
        target = path.resolve()
        if not any(target.is_relative_to(root) for root in roots):
            raise ModelNotReadable(f"{path} is a link to a file outside the model's folder: copy the file there")
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ModelNotReadable(
                f"{path}: not a regular file, but a pipe or device; remove it from the model's folder"
            )
        if path.name in PARTS and not trust:
            raise trust_required(path, PARTS[path.name], BUILD)
        if path.name.endswith(".index.json"):
            _check_index(path)


def _check_index(path: Path) -> None:
    """Every file of weights that an index names must lie beside it."""
    files = _mapping(path).get("weight_map", {})
    with parsing(path, "an index of weights", ModelNotReadable):
        outside = [file for file in files.values() if not NAME.fullmatch(file)]
    if outside:
        raise ModelNotReadable(f"{path} names weights outside the model's folder: {outside[0]!r:.100}")


def configuration(folder: Path, known: Any) -> dict[str, Any]:
    """The configuration in a folder, without what names code; `known` holds the kinds of models that transformers has.

    Raises `TrustRequired` where the model can't be made without that code, `ModelNotReadable` where it needs another model.
    """
    path = folder / "config.json"
    config = _mapping(path)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        if config.get("auto_map"):
            raise trust_required(path, "an auto_map of code in its folder", BUILD)
        raise ModelNotReadable(
            f"{path} has the model_type {kind!r:.60}, which this version of transformers doesn't know"
        )
    with parsing(path, "a configuration of transformers", ModelNotReadable):
        for key, value in _entries(config):
            _check(path, key, value)
        return _without_code(config)


def _mapping(path: Path) -> dict[str, Any]:
    data = read_bytes(path, what="configuration", error=ModelNotReadable, most=MOST_BYTES)
    with parsing(path, "a JSON mapping", ModelNotReadable):
        content = json.loads(data)
    if not isinstance(content, dict):
        raise ModelNotReadable(f"{path} holds a {type(content).__name__}, not a JSON mapping")
    return content


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Each key with its value, at every depth."""
    if isinstance(value, dict):
        yield from value.items()
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _entries(part)


def _check(path: Path, key: str, value: Any) -> None:
    if key in CODE and value:
        raise trust_required(path, CODE[key], BUILD)
    if (
        key in ("backbone", "architecture", "transformers_weights")
        and isinstance(value, str)
        and not NAME.fullmatch(value)
    ):
        raise ModelNotReadable(f"{path} takes {key} {value!r:.100} from elsewhere: {BUILD}")
    if key in ("model_args", "backbone_kwargs") and isinstance(value, dict) and (wrong := ELSEWHERE & value.keys()):
        raise ModelNotReadable(
            f"{path} has {', '.join(sorted(wrong))} in its {key}, which name files elsewhere: {BUILD}"
        )


def _without_code(value: Any) -> Any:
    """A copy without names of code and places: those of attention kernels only make it faster."""
    if isinstance(value, dict):
        return {key: _without_code(part) for key, part in value.items() if not _names_code(key)}
    return [_without_code(part) for part in value] if isinstance(value, list) else value


def _names_code(key: str) -> bool:
    return key in (
        "auto_map",
        "custom_pipelines",
        "_name_or_path",
        "name_or_path",
        "use_pretrained_backbone",
        *CODE,
    ) or (key.strip("_").endswith(("_implementation", "_implementation_internal")))


def check_processor(folder: Path) -> None:
    """Raise `TrustRequired` where what should be the class of an image processor is something else.

    transformers takes any name of its own for it, a tokenizer too, which then asks whether code in the folder may run.
    """
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

    for path in (folder / "preprocessor_config.json", folder / "processor_config.json", folder / "config.json"):
        for key, name in _entries(_mapping(path)) if path.exists() else ():
            if key not in ("image_processor_type", "feature_extractor_type") or name is None:
                continue
            name = str(name).replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
            kind = get_image_processor_class_from_name(name)
            if not isinstance(kind, type) or not issubclass(kind, ImageProcessingMixin):
                raise trust_required(path, f"an image processor of the class {name!r:.60}", BUILD)
