"""What is done where nothing came of a layer: another run inside compiled functions, then an error that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...core.layer import Layer, no_call, require_output, split_call
from ...errors import LayerNotCalled, LayerNotFound, near
from .model import KerasModel
from .table import layers

Result = TypeVar("Result")


def complete(model: KerasModel, batch: Any, attempt: Callable[[], tuple[Result, Sequence[str]]]) -> Result:
    """The result of `attempt`, a run that returns the paths of which nothing came as well; raises where there are any."""
    result, missing = attempt()
    if missing and model.engine.can_unroll:
        model.engine.unrolled = True
        result, missing = attempt()
    if missing:
        raise _reason(missing[0], layers(model, batch))
    return result


def _reason(path: str, table: list[Layer]) -> Exception:
    """Why nothing came of `path`, from the table of a dry run."""
    base, call = split_call(path)
    layer = next((layer for layer in table if layer.path in (path, base)), None)
    if layer is None:
        return _not_found(path, table)
    require_output(layer, table)
    if call is None or path == layer.path:
        return LayerNotCalled(f"layer {path!r} runs for the first image alone, but did not for the whole batch")
    return no_call(layer.path, layer.calls, call)


def _not_found(path: str, table: list[Layer]) -> LayerNotFound:
    """The error for a path that no layer has, with near ones."""
    nested = next((layer.path for layer in table if layer.path.endswith("/" + split_call(path)[0])), None)
    paths = [name for layer in table for name in (layer.path, *layer.aliases)]
    own_names = {name.rpartition("/")[2]: name for name in paths}
    hint = f". Did you mean {nested!r}?" if nested else near(path, paths) or near(path, own_names)
    return LayerNotFound(
        f"no layer {path!r} in this model of {len(table)} layers{hint or '.'} `layers()` lists them all"
    )
