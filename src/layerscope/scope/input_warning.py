"""The warnings, once per scope, that photos or model input look wrong for the model."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..backends.protocol import Evidence
from ..core.note import kind_of
from ..errors import PreprocessWarning, caller_level
from ..inputs.input_check import doubt, in_parts
from ..inputs.photo import as_array
from ..inputs.recipe import as_recipe
from ..surface import levels_option
from .batches import Batch
from .run import forward_pass

if TYPE_CHECKING:
    from .scope import Scope


def warn_of_input(scope: Scope, batch: Batch) -> None:
    """Gives a `PreprocessWarning` if the values of the first batch look wrong for the model."""
    if not scope.check_input:
        return
    _warn_of_dark_photos(scope, batch)
    if scope._cache.input_checked:
        return
    single = hasattr(batch.array, "shape")
    reason = ""
    if single and scope.plan.dtype in ("float16", "float32", "float64"):
        stated = None if scope.facts.recipe is None or scope.facts.assumed else as_recipe(scope.facts.recipe)
        reason = doubt(
            as_array(batch.array),
            scope.plan.axes,
            scope.preprocess,
            stated=stated,
            evidence_of=lambda images: _evidence(scope, images),
        )
    scope._cache.input_checked = True
    if reason:
        warnings.warn(f"{scope.name}: {reason}", PreprocessWarning, stacklevel=caller_level())


def _warn_of_dark_photos(scope: Scope, batch: Batch) -> None:
    """Of a photo that uses so little of its bits that it may have fewer."""
    for photo in () if scope._cache.dark_photo_said else batch.photos or ():
        if note := next((note for note in photo.notes if kind_of(note) == "range"), None):
            scope._cache.dark_photo_said = True
            text = f"{photo.id}: {note}, so it is nearly black for the model: if it holds fewer bits, say so, with"
            way = f"{text} {levels_option(0, 4095)} for 12"
            warnings.warn(way, PreprocessWarning, stacklevel=caller_level())
            return


def _evidence(scope: Scope, images: np.ndarray) -> Evidence | None:
    """What the backend finds at the first BatchNorm for these images."""
    if not scope._reader.offers("evidence"):
        return None

    def evidence_of(array: np.ndarray) -> Evidence | None:
        with forward_pass(scope, array):
            return scope._reader.evidence(scope.model, array)

    return in_parts(images.astype(scope.plan.dtype), scope.plan.axes.index("b"), scope.plan.batch, evidence_of)
