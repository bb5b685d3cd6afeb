"""The target of gradients and scores: a class by label or index, or a function of the model's output."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.protocol import Target
from ..core.feature_map import FeatureMap
from ..core.layer import Layer
from ..core.layer_table import LayerTable
from ..core.note import Note
from ..errors import BadOption, LayerNotCalled, LayerscopeWarning, caller_level, first_line, like
from ..memory import short_of_memory
from ..safe_text import counted
from ..surface import by_surface, option

if TYPE_CHECKING:
    from .scope import Scope


def resolve_target(scope: Scope, target: Any) -> Target | None:
    """A label or a whole number as a class index; a function or `None` as it is. Raises `BadOption` with near labels."""
    if isinstance(target, str):
        labels = scope.labels or ()
        if target in labels:
            return labels.index(target)
        named = [index for index, label in enumerate(labels) if label.casefold() == target.casefold()]
        if len(named) != 1:
            raise BadOption(f"no class {target!r}{like(target, labels) or '.'} Use a class index{_naming(scope)}")
        return named[0]
    if target is None:
        return target
    if callable(target):
        return target if isinstance(target, Aimed) else Aimed(target)
    try:
        if isinstance(target, bool):
            raise TypeError
        return operator.index(target)
    except TypeError:
        raise BadOption(
            f"{option('target', target)}: give a class index, a label, or a function of the output"
        ) from None


def _naming(scope: Scope) -> str:
    """How classes get names where the model has none."""
    if scope.labels:
        return ""
    given = by_surface("labels=['cat', 'dog', …]", "--labels FILE", "labels where the model is opened")
    return f", or name the classes with {given} or {option('labels', 'imagenet')} (a model of ImageNet's 1,000 classes)"


def output_of(table: LayerTable) -> Layer:
    """The layer that is the model's output; one without shape where that has no picture, as whoever looks into it says."""
    try:
        return table.choose("output")[0]
    except LayerNotCalled:
        return Layer("", "")


def check_labels(scope: Scope, output: Layer) -> Note | None:
    """What is to be said where the user's labels aren't as many as the classes of the output; warns of it once per scope.

    Two labels name the one output of a model that tells two classes apart.
    """
    labels, count = scope.labels, output.channels
    if labels is None or labels == scope.facts.labels or count in (None, len(labels)) or (count, len(labels)) == (1, 2):
        return None
    has = f"{option('labels')} has {counted(len(labels), 'name')}"
    note = Note("labels", f"{has}, and the output has {counted(count, 'class', 'classes')}")
    if not scope._cache.labels_said:
        scope._cache.labels_said = True
        warnings.warn(
            f"{scope.name}: {note}: names may stand for other classes", LayerscopeWarning, stacklevel=caller_level()
        )
    return note


def beyond(scope: Scope, target: Any, index: int, count: int) -> BadOption:
    """The error for a class that a model with `count` classes doesn't have, in the words of whoever named it."""
    classes = f"the model has {counted(count, 'class', 'classes')}, 0 to {count - 1}"
    if not isinstance(target, str):
        return BadOption(f"{option('target', target)}: {classes}; a label works as well")
    return BadOption(
        f"{option('target', target)} is class {index} of {counted(len(scope.labels or ()), 'label')}, and {classes}: give the"
        f" labels of this model, {option('labels')}, or a class index"
    )


@dataclass(frozen=True)
class Aimed:
    """A target function whose own errors say that they are its own, not the model's."""

    function: Callable[[Any], Any]

    def __call__(self, output: Any) -> Any:
        try:
            return self.function(output)
        except Exception as error:  # whatever the user's function raises
            if short_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise BadOption(f"the target function {_name(self)} failed on the model's output: {reason}") from error


def _name(target: Any) -> str:
    function = target.function if isinstance(target, Aimed) else target
    return str(getattr(function, "__name__", type(function).__name__)).strip("<>")


def aim_at(scope: Scope, target: Any, table: LayerTable, *, naming_output: bool = True) -> tuple[Target | None, str]:
    """The target for a model with the output in `table`, and its text as pictures show it; `""` for `None`.

    One output that two labels belong to stands for the second: raises `BadOption` for the first.
    """
    resolved = resolve_target(scope, target)
    if resolved is None:
        return None, ""
    if callable(resolved):
        return resolved, _name(resolved)
    output = output_of(table)
    labels, index = scope.labels, resolved
    if labels is not None and len(labels) == 2 and output.channels == 1:
        if isinstance(target, str) and resolved == 0:
            raise BadOption(
                f"{option('target', target)}: the model has one output, which stands for {labels[1]!r}; what speaks for"
                f" {target!r} speaks against that. Use {option('target', labels[1])}"
                f"{by_surface(', or a function of the output', '', '')}"
            )
        resolved, index = 0 if isinstance(target, str) else resolved, 1
    if isinstance(target, str) and output.channels is not None and resolved >= output.channels:
        raise beyond(scope, target, resolved, output.channels)
    check_labels(scope, output)
    text = _class_text(index, labels or ())
    return resolved, f"{text} of the output {output.part}" if naming_output and output.part else text


def _class_text(index: int, labels: Sequence[str]) -> str:
    """A class by its label, with the number where others have the same one; by its number alone where it has none."""
    label = labels[index] if 0 <= index < len(labels) else ""
    if not label:
        return f"class {index}"
    return f'"{label}"' if labels.count(label) == 1 else f'"{label}" (class {index})'


def about_target(targets: Sequence[Any], text: str) -> dict[str, Any]:
    """What a map's provenance says of its target: the text of pictures, and the class, or that of each image, by its index.

    Nothing where the text is `""`.

    >>> about_target([3, 3], '"dog"'), about_target([3, 5], "the top-1 class of each image")
    ({'target': '"dog"', 'class': 3}, {'target': 'the top-1 class of each image', 'class': [3, 5]})
    """
    about = {"target": text} if text else {}
    if not text or not all(isinstance(target, int) for target in targets):
        return about
    return {**about, "class": targets[0] if len(set(targets)) == 1 else [*targets]}


def top_classes(output: FeatureMap) -> list[int]:
    """The top-1 class of each image in a model's output, by scores summed over the positions of a segmentation."""
    if output.rows != "image":
        raise BadOption(
            f"the model's output has the shape {output.shape}, which isn't a list of class scores for each image: give "
            f"{option('target')}"
        )
    scores = output.values.reshape(len(output.ids), -1, output.shape[-1]).sum(1, dtype=np.float64)
    if np.isnan(scores).any():
        raise BadOption(f"the model's output holds NaN, so it has no top-1 class: give {option('target')}")
    return [int(index) for index in scores.argmax(-1)]
