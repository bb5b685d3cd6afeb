"""A batch's forward pass with a table of layers that fits it, without layers that can't be read and were not named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.layer_table import LayerTable
from ..errors import (
    Cancelled,
    CaptureTooLarge,
    GradientsUnavailable,
    InternalError,
    LayerNotCalled,
    LayerNotFound,
    LayerscopeError,
    LayersSkipped,
    caller_level,
)
from ..safe_text import counted
from .batches import BLANK, Batch, checksum, signature
from .calls import run_model
from .run import Kept, Question, Request, Run, all_channels, kept_table, make_table, request_of, resolve_request

if TYPE_CHECKING:
    from .scope import Scope

MOST_RUNS = 256  # to find the layers that can't be read among those that were chosen together
FINAL = (CaptureTooLarge, Cancelled, GradientsUnavailable)  # errors that no choice of layers changes

Check = Callable[[Request], None]


def run_batch(
    scope: Scope, batch: Batch, question: Question, about: Mapping[str, Any], *, check: Check = lambda request: None
) -> Run:
    """The forward pass of a batch for a question; `check` may refuse it.

    What runs may depend on the image. A table that was kept from another one counts as long as the run agrees with it; else
    it is made anew, for this batch.
    """
    kept = kept_table(scope, batch)
    if kept is not None and (kept.image or batch.ids == BLANK):
        try:
            run = _run(scope, kept, batch, question, check=check, kept_from=kept.image)
            if fits(run) or len(batch.ids) >= kept.unlike:
                return with_origin(run, about)
        except (LayerNotCalled, LayerNotFound, InternalError):
            pass
    kept = make_table(scope, batch)
    run = _run(scope, kept, batch, question, check=check)
    if not fits(run):
        # Not one image, but the number of images changes more than the number of rows: other tables would tell no more.
        scope._cache.keep(signature(batch.array), replace(kept, unlike=len(batch.ids)))
    return with_origin(run, about)


def with_origin(run: Run, about: Mapping[str, Any]) -> Run:
    """The run as it was, with what its maps record."""
    run = as_it_ran(run)
    return Run(run.request, run.batch, run.captured, about, run.as_counted, run.joined)


def as_it_ran(run: Run) -> Run:
    """The run, for layers of which all channels were asked for with as many as came out: that may depend on the values."""
    if run.as_stated:
        return run
    layers, channels = dict(run.request.layers), dict(run.request.channels)
    changed = False
    for path, captured in run.captured.items():
        layer, shape = layers[path], captured.values.shape
        if shape == layer.shape:
            continue
        axis = layer.axes.find("c")
        if axis < 0 or len(shape) != len(layer.axes) or shape[axis] == layer.channels:
            continue
        if channels[path] == all_channels(layer.channels or 0):
            layers[path], channels[path] = replace(layer, shape=shape), all_channels(shape[axis])
            changed = True
    return replace(run, request=replace(run.request, layers=layers, channels=channels)) if changed else run


def fits(run: Run) -> bool:
    """Whether what a run gave has the calls and sizes that its table stated, up to the number of images."""
    return run.as_counted and all(
        size == expected
        for path, captured in ({} if run.as_stated else run.captured).items()
        if captured.values.shape != run.request.layers[path].shape  # as nearly all
        for letter, size, expected in _sizes(run.request, path, captured.values.shape)
        if letter != "b"
    )


def _sizes(request: Request, path: str, shape: Sequence[int]) -> list[tuple[str, int, int]]:
    """(axis, size, size that the table states) for a layer whose rows are images."""
    layer = request.layers[path]
    if "b" not in layer.axes or layer.shape is None or len(layer.axes) != len(shape):
        return [("?", len(shape), len(layer.axes))] if len(layer.axes) != len(shape) else []
    stated = list(layer.shape)
    if "c" in layer.axes:
        stated[layer.axes.index("c")] = len(request.channels[path])
    return list(zip(layer.axes, shape, stated, strict=True))


def _run(
    scope: Scope, kept: Kept, batch: Batch, question: Question, *, check: Check, kept_from: str | None = None
) -> Run:
    """One run; layers that a rule chose and that can't be read are left out of the table, with the reason, and the rest run.

    `kept_from` is the image of a table that was kept: what didn't run for another image may be no layer of this one.
    """
    request = request_of(scope, kept, question)
    check(request)
    try:
        return run_model(scope, kept, batch, request)
    except LayerscopeError as error:
        if isinstance(error, LayerNotCalled) and kept_from not in (None, checksum(batch)):
            raise
        errors = {} if isinstance(error, FINAL) else _unreadable(scope, kept, batch, request)
        if not errors or errors.keys() == request.layers.keys():
            raise
        for path, reason in errors.items():
            if path not in request.by_rule:
                raise reason from error
    warn_of_skipped(errors)
    if question.target is None:
        scope._cache.keep(signature(batch.array), replace(kept, table=_without(kept.table, errors)))
    readable = [path for path in request.layers if path not in errors]
    return run_model(scope, kept, batch, request.only(readable))


def warn_of_skipped(errors: Mapping[str, LayerscopeError]) -> None:
    """The warning that layers which were chosen together with others can't be read."""
    listed = "; ".join(f"{path!r}: {error.problem}" for path, error in list(errors.items())[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    were, they = ("was", "it") if len(errors) == 1 else ("were", "they")
    text = f"{counted(len(errors), 'layer')} {were} left out, as {they} can't be read: {listed}{more}"
    warnings.warn(text, LayersSkipped, stacklevel=caller_level())


def _unreadable(scope: Scope, kept: Kept, batch: Batch, request: Request) -> dict[str, LayerscopeError]:
    """The errors of the layers that can't be read; none where it isn't for single layers that the run failed."""
    runs = 0

    def failing(paths: list[str]) -> dict[str, LayerscopeError]:
        nonlocal runs
        runs += 1
        if runs > MOST_RUNS:
            raise _Hopeless
        try:
            run_model(scope, kept, batch, request.only(paths))
        except FINAL:
            raise
        except LayerscopeError as error:
            if len(paths) == 1:
                return {paths[0]: error}
            half = len(paths) // 2
            return failing(paths[:half]) | failing(paths[half:])
        return {}

    if not request.by_rule:
        return {}
    try:
        output = resolve_request(scope, kept.table, Question("output", None, request.target))
        run_model(scope, kept, batch, output)  # a model that fails by itself is no fault of a layer's
        paths = list(request.layers)
        half = len(paths) // 2
        return failing(paths[:half]) | failing(paths[half:]) if half else {}
    except (LayerscopeError, _Hopeless):
        return {}


class _Hopeless(Exception):
    """So many layers can't be read that it takes too long to find them all."""


def _without(table: LayerTable, errors: Mapping[str, LayerscopeError]) -> LayerTable:
    """The table in which layers that can't be read say why."""
    rows = []
    for layer in table:
        paths = [layer.path, *(call.path for call in layer.per_call)]
        error = next((errors[path] for path in paths if path in errors), None)
        note = "" if error is None else f"can't be read: {error.problem}"
        rows.append(replace(layer, axes="", note=note, per_call=()) if note else layer)
    return LayerTable(rows, table.title)
