"""PyTorch models and weights from files. Nothing from a file runs as code unless the user trusts it."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path
from typing import Any

import torch

from ...errors import BackendMissing, ModelNotReadable, first_line
from ...files import open_regular, open_zip, parsing
from ...surface import by_surface
from ..formats import trust_required
from . import exported
from .pickles import imports, is_zip, require_safe_pickles

WRAPPED = ("state_dict", "model_state_dict", "model")  # where training scripts keep the state dict


def _factory() -> str:
    keyword = by_surface(" (ls.open(..., weights=))", "")
    return f"give the code that builds the model, as MODEL package.module:factory with --weights FILE{keyword}"


def load(source: Path, weights: Path | None = None, trust: bool = False) -> Any:
    """The module in a file: an exported program (`.pt2`), or a whole pickled module (`.pt`, only with `trust`)."""
    open_regular(source, what="model", error=ModelNotReadable).close()
    model = _load_exported(source, trust) if source.suffix.lower() == ".pt2" else _load_pickled(source, trust)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model: Any, path: Path) -> None:
    """Put a safetensors file or a state dict (`weights_only`) into a model; every key must fit."""
    state = read_state(path)
    with parsing(path, f"weights of a {type(model).__name__}", ModelNotReadable):
        own = model.state_dict()
        both = [key for key in own if key in state]
        problems = {
            "missing": [key for key in own if key not in state],
            "not in the model": [key for key in state if key not in own],
            "of another shape": [key for key in both if own[key].shape != state[key].shape],
            "of another kind": [key for key in both if _kind(own[key]) != _kind(state[key])],
        }
        if any(problems.values()):
            faults = [
                f"{name}: {', '.join(keys[:4])}{' …' if len(keys) > 4 else ''} ({len(keys)})"
                for name, keys in problems.items()
                if keys
            ]
            raise ModelNotReadable(f"the weights in {path.name} don't fit {type(model).__name__}: {'; '.join(faults)}")
        model.load_state_dict(state)


def _kind(tensor: torch.Tensor) -> tuple[bool, bool]:
    """What copying would lose in silence: imaginary parts, the scale of codes."""
    return tensor.is_complex(), tensor.is_quantized


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file, without the `module.` of a parallel wrapper. Every tensor has values, dense ones."""
    open_regular(path, what="weights", error=ModelNotReadable).close()
    state = _safetensors(path) if path.suffix.lower() == ".safetensors" else _state_dict(path)
    for name, tensor in state.items():
        if tensor.is_meta or tensor.layout != torch.strided:
            what = "has no values (meta)" if tensor.is_meta else f"is sparse ({tensor.layout})"
            raise ModelNotReadable(f"{path.name}: {name} {what}: save the dense weights")
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BackendMissing('reading .safetensors needs: pip install "layerscope[torch]"') from error
    with parsing(path, "a safetensors file", ModelNotReadable):
        return load_file(str(path))


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    if _is_tar(path):
        raise ModelNotReadable(f"{path.name} was saved by PyTorch before 0.2 (tar), as a pickle: save its weights anew")
    try:
        content = _unpickled(path, trust=False)
    except pickle.UnpicklingError as error:
        raise ModelNotReadable(
            f"{path.name} is not a file of weights alone{imports(path)}: save model.state_dict(), best as safetensors"
        ) from error
    for key in WRAPPED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ModelNotReadable(f"{path.name} holds a {type(content).__name__}, not a state dict (name -> tensor)")
    odd = [key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, torch.Tensor)]
    if odd:
        kind = type(content[odd[0]]).__name__
        raise ModelNotReadable(f"{path.name} is not a state dict (name -> tensor): it holds {odd[0]!r:.60} -> {kind}")
    return content


def _unpickled(source: Path, trust: bool) -> Any:
    """What is in a file of `torch.save`. Raises `UnpicklingError` for what holds more than tensors, else `ModelNotReadable`."""
    if is_zip(source):
        with open_zip(source, "a PyTorch file", ModelNotReadable):
            pass  # which checks its size
    if not trust:
        require_safe_pickles(source)
    try:
        return torch.load(source, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError:
        if not trust:
            raise
        raise ModelNotReadable(f"{source.name} can't be read as a PyTorch file: its pickle is damaged") from None
    except (AttributeError, ImportError) as error:
        if trust:
            raise ModelNotReadable(
                f"{source.name} needs a class that can't be imported here ({first_line(error)}): put its package on the path"
            ) from error
        with parsing(source, "a PyTorch file", ModelNotReadable):
            raise
    except Exception:
        with parsing(source, "a PyTorch file", ModelNotReadable):
            raise


def _load_exported(source: Path, trust: bool) -> Any:
    if not is_zip(source):  # else torch logs a traceback
        raise ModelNotReadable(f"{source.name} is not a torch.export program: it is not a zip archive")
    with parsing(source, exported.WHAT, ModelNotReadable):
        return torch.export.unflatten(torch.export.load(source) if trust else exported.read(source))


def _load_pickled(source: Path, trust: bool) -> Any:
    if _is_script(source):
        raise ModelNotReadable(
            f"{source.name} is a TorchScript archive, whose layers can't be watched: give the original nn.Module "
            "(package.module:factory with --weights), or export it again with torch.export.save to .pt2"
        )
    if not trust and _is_tar(source):
        raise trust_required(source, "a pickle of PyTorch before 0.2 (tar)", _factory())
    try:
        content = _unpickled(source, trust)
    except pickle.UnpicklingError as error:
        named = imports(source)
        if not named:
            raise ModelNotReadable(f"{source.name} can't be read as a PyTorch file: its pickle is damaged") from error
        raise trust_required(source, f"a pickled module{named}", _factory()) from error
    if isinstance(content, torch.nn.Module):
        return content
    kind = "a state dict (weights alone)" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise ModelNotReadable(f"{source.name} holds {kind}, not a model: {_factory()}")


def _is_script(source: Path) -> bool:
    if not is_zip(source):
        return False
    with open_zip(source, "a PyTorch file", ModelNotReadable) as archive:
        return any("/code/" in name for name in archive.namelist())


def _is_tar(source: Path) -> bool:
    try:
        return tarfile.is_tarfile(source)
    except (OSError, EOFError, ValueError):
        return False
