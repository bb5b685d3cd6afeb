"""PyTorch models and weights from files. Nothing from a file runs as code unless the user trusts it."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ...errors import BackendMissing, ModelNotReadable, TrustRequired, first_line
from ...files import open_regular, parsing
from . import exported

FACTORY = (
    "give the code that builds the model, as MODEL package.module:factory with --weights FILE (ls.open(..., weights=))"
)


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
    own = model.state_dict()
    missing, extra = [key for key in own if key not in state], [key for key in state if key not in own]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or extra or wrong:
        faults = [
            f"{name}: {', '.join(keys[:4])}{' …' if len(keys) > 4 else ''} ({len(keys)})"
            for name, keys in (("missing", missing), ("not in the model", extra), ("of another shape", wrong))
            if keys
        ]
        raise ModelNotReadable(f"the weights in {path.name} don't fit {type(model).__name__}: {'; '.join(faults)}")
    model.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file, without the `module.` of a parallel wrapper."""
    open_regular(path, what="weights", error=ModelNotReadable).close()
    state = _safetensors(path) if path.suffix == ".safetensors" else _state_dict(path)
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BackendMissing("reading .safetensors needs: pip install 'layerscope[torch]'") from error
    try:
        return load_file(str(path))
    except Exception as error:
        raise ModelNotReadable(f"{path.name} is not a safetensors file: {error}") from error


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelNotReadable(f"{path.name} is not a file of weights alone: {first_line(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ModelNotReadable(f"{path.name} holds a {type(content).__name__}, not a state dict (name -> tensor)")
    return content


def _load_exported(source: Path, trust: bool) -> Any:
    if not zipfile.is_zipfile(source):  # else torch logs a traceback
        raise ModelNotReadable(f"{source.name} is not a torch.export program: it is not a zip archive")
    with parsing(source, exported.WHAT, ModelNotReadable):
        return torch.export.unflatten(torch.export.load(source) if trust else exported.read(source))


def _load_pickled(source: Path, trust: bool) -> Any:
    if _is_script(source):
        raise ModelNotReadable(
            f"{source.name} is a TorchScript archive, whose layers can't be watched: give the original nn.Module "
            "(package.module:factory with --weights), or export it again with torch.export.save to .pt2"
        )
    try:
        content = torch.load(source, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if not trust and "eights" in str(error):
            raise TrustRequired(
                f"{source.name} holds a pickled module, and unpickling runs code from the file: pass --trust (trust=True)"
                f" if you trust its source, or {FACTORY}"
            ) from error
        raise ModelNotReadable(f"{source.name} is not a PyTorch file: {first_line(error)}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ModelNotReadable(f"{source.name} is not a PyTorch file: {first_line(error)}") from error
    except (AttributeError, ImportError) as error:
        raise ModelNotReadable(
            f"{source.name} needs a class that can't be imported here ({first_line(error)}): put its package on the path"
        ) from error
    if isinstance(content, torch.nn.Module):
        return content
    kind = "a state dict (weights alone)" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise ModelNotReadable(f"{source.name} holds {kind}, not a model: {FACTORY}")


def _is_script(source: Path) -> bool:
    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any("/code/" in name for name in archive.namelist())
