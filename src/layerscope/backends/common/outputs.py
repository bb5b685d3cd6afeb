"""What a model's output means, the same in every framework with gradients: its arrays, the main one, the target in it."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.conversion import to_host
from ...errors import BadOption, GradientsUnavailable
from ...safe_text import counted
from ...surface import by_surface, option
from ..protocol import Change, Target
from .fault import call_model

MAIN_NAMES = ("logits", "last_hidden_state", "out", "output")


DEEPEST = 8


def arrays_in(
    output: Any, is_array: Callable[[Any], bool], subpath: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Every array in an output with its subpath: `""`, `"[0]"`, `".logits"`, `".hidden_states[2]"`.

    >>> list(arrays_in({"logits": 1.5, "maps": (2, [3.5])}, lambda value: isinstance(value, float)))
    [('.logits', 1.5), ('.maps[1][0]', 3.5)]
    """
    if is_array(output):
        yield subpath, output
        return
    if depth > DEEPEST:
        return
    for step, member in _members(output):
        yield from arrays_in(member, is_array, subpath + step, depth + 1)


def quoted(subpath: str) -> str:
    """A subpath whose keys can't be taken for names of modules.

    >>> quoted(".0[1].out")
    "['0'][1]['out']"
    """
    return re.sub(r"\['.*?'\]|\.([^.\[]+)", lambda step: step[0] if step[1] is None else f"['{step[1]}']", subpath)


def unquoted(subpath: str) -> str:
    """The subpath that `quoted` was given.

    >>> unquoted("['0'][1]['out']")
    '.0[1].out'
    """
    return re.sub(r"\['(.*?)'\]", r".\1", subpath)


def _members(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(_step(key, value), member) for key, member in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{key}", member) for key, member in zip(value._fields, value, strict=True)]
    if isinstance(value, tuple | list):
        return [(f"[{index}]", member) for index, member in enumerate(value)]
    if is_record(value):
        return [(f".{member.name}", getattr(value, member.name)) for member in dataclasses.fields(value)]
    return []


def _step(key: Any, mapping: Mapping[Any, Any]) -> str:
    """The subpath of one key of a mapping: `.key`, or `['key']` where that would be read as another key's.

    >>> [_step(key, {"a.b": 1, "a": {"b": 2}, 0: 3, "0": 4}) for key in ("a.b", "a", 0, "0")]
    ["['a.b']", '.a', '[0]', '.0']
    """
    text = str(key)
    if not isinstance(key, str):
        return f"[{key!r}]" if text in mapping else f".{text}"
    first = re.split(r"[.\[]", text, maxsplit=1)[0]
    return f"[{text!r}]" if first != text and any(str(other) == first for other in mapping) else f".{text}"


def is_record(value: Any) -> bool:
    """Whether a value is a dataclass that holds outputs, none that is an array itself."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "shape")


def rebuild(
    output: Any, is_array: Callable[[Any], bool], new: Callable[[str, Any], Any], *, subpath: str = "", depth: int = 0
) -> Any:
    """The same structure with other arrays: `new(subpath, array)` gives each.

    >>> rebuild({"logits": 1.5, "maps": (2, [3.5])}, lambda value: isinstance(value, float), lambda subpath, array: -array)
    {'logits': -1.5, 'maps': (2, [-3.5])}
    """
    if is_array(output):
        return new(subpath, output)
    members = [] if depth > DEEPEST else _members(output)
    if not members:
        return output
    parts = [rebuild(member, is_array, new, subpath=subpath + step, depth=depth + 1) for step, member in members]
    # Outputs of transformers are both a mapping and a dataclass, and only as that keep their fields' names.
    if is_record(output):
        return dataclasses.replace(output, **{step[1:]: value for (step, _), value in zip(members, parts, strict=True)})
    if isinstance(output, Mapping):
        return dict(zip(output, parts, strict=True))
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


def plain_numbers(result: Any) -> list[float]:
    """What a target function gave, as a list of floats. Raises `BadOption` where that is neither a number nor a row of them."""
    try:
        values = np.asarray("" if result is None else result, np.float64)  # numpy takes None for NaN
    except (TypeError, ValueError):
        raise BadOption(
            f"the target function returned {type(result).__name__}: it must return one number, or one for each image"
        ) from None
    if values.ndim > 1:
        raise BadOption(
            f"the target function returned numbers of shape {values.shape}; it must return one number, or one for each "
            "image"
        )
    return [float(number) for number in values.reshape(-1)]


def main_subpath(arrays: Mapping[str, Any], floating: Callable[[Any], bool]) -> str:
    """The subpath that a plain path means: `.logits` and its like where there is one, else the first floating array.

    One with an axis besides the batch comes before a single number, such as a loss.
    """
    for known in MAIN_NAMES:
        if f".{known}" in arrays:
            return f".{known}"
    candidates = [subpath for subpath, array in arrays.items() if floating(array)] or list(arrays)
    return next((subpath for subpath in candidates if len(arrays[subpath].shape) > 1), next(iter(candidates), ""))


@dataclass(frozen=True)
class Aim:
    """What a target is made of in one framework.

    `main` gives an output's main array or `None`, `classes` the axis of its classes, `take` one index of one axis.
    """

    is_array: Callable[[Any], bool]
    main: Callable[[Any], Any]
    classes: Callable[[Any], int]
    take: Callable[[Any, int, int], Any]
    total: Callable[[Any], Any]

    def number(self, output: Any, target: Target) -> Any:
        """The number to differentiate: one class's score of the main array summed over the images, or what a function gives.

        In inference mode an image's score doesn't depend on the other images, so one sum gives each its own gradient.
        """
        if callable(target):
            return self.total(self._check(target(output)))
        main = self.main(output)
        if main is None or len(main.shape) < 2:
            raise GradientsUnavailable(f"the model's output has no classes: {_without_class()}")
        axis = self.classes(main)
        return self.total(self.take(main, _index(target, main.shape[axis]), axis))

    def numbers(self, output: Any, target: Target, count: int) -> list[float]:
        """The target's number for each of `count` images; a function that gives one for all is asked image by image."""
        if callable(target):
            numbers = self._as_numbers(target(output))
            if len(numbers) == count:
                return numbers
            if count == 1:
                return [sum(numbers)]
            return [sum(self._as_numbers(target(self._cut(output, image, count)))) for image in range(count)]
        main = self.main(output)
        if main is None or len(main.shape) < 2 or main.shape[0] != count:
            raise BadOption(f"the model's output has no class scores for each image: {_without_class()}")
        axis = self.classes(main)
        # At once: a framework takes longer to hand over one number for each image than to compute many of them.
        taken = to_host(self.take(main, _index(target, main.shape[axis]), axis))
        return [float(number) for number in taken.reshape(count, -1).sum(1, dtype=np.float64)]

    def _as_numbers(self, result: Any) -> list[float]:
        """What a function of the output gives: one number or several, which needn't be the framework's own."""
        if self.is_array(result):
            return [float(number) for number in to_host(self._check(result)).reshape(-1)]
        return plain_numbers(result)

    def _cut(self, output: Any, index: int, count: int) -> Any:
        """The output for one image, of the same structure; of a list with a dictionary for each image (detections) its own."""
        if isinstance(output, list) and len(output) == count and all(isinstance(part, Mapping) for part in output):
            return output[index : index + 1]

        def image(array: Any) -> Any:
            return array[index : index + 1] if len(array.shape) and array.shape[0] == count else array

        return rebuild(output, self.is_array, lambda _, array: image(array))

    def _check(self, aim: Any) -> Any:
        if not self.is_array(aim):
            raise GradientsUnavailable(
                f"the target function returned {type(aim).__name__}; it must return a tensor computed from the output"
            )
        if len(aim.shape) > 1:
            raise BadOption(
                f"the target function returned numbers of shape {tuple(aim.shape)}; it must return one number, or one "
                "for each image"
            )
        return aim


def _without_class() -> str:
    """What to do where an output has no classes: only Python can give a function."""
    return by_surface(
        "give target= as a function of the output",
        "use a combination that needs no class, such as --combine mean",
        "choose a combination that needs no class, such as the mean",
    )


def _index(target: Any, count: int) -> int:
    try:
        index = operator.index(target)
    except TypeError:
        raise BadOption(
            f"{option('target', target)}: give a class index, a label, or a function of the output"
        ) from None
    if not -count <= index < count:
        raise BadOption(
            f"{option('target', index)}: the model's output has {counted(count, 'class', 'classes')}, 0 to {count - 1}"
        )
    return index % count


def apply_change(path: str, change: Change, values: np.ndarray) -> np.ndarray:
    """What a layer is said to return instead of `values`, in the same type. Raises `BadOption` for another shape."""
    after = np.asarray(call_model(change, values.copy()))
    if after.shape != values.shape:
        raise BadOption(
            f"the change for layer {path!r} returned an array of shape {after.shape}: it must return one of shape "
            f"{values.shape}, as it received"
        )
    return after.astype(values.dtype, copy=False)


def score_images(output: np.ndarray, target: Any, axes: str) -> np.ndarray:
    """float64 `[image]`: one class's score of an output, over all its positions, or what a function of the output gives.

    The function is given the output of one image at a time, as numpy with its own axes.
    """
    if "b" not in axes:
        raise BadOption(f"the model's output has the axes {axes}, so it holds no score for each image")
    rows = np.moveaxis(output, axes.index("b"), 0)
    if callable(target):
        return np.array(
            [sum(plain_numbers(target(output.take([image], axes.index("b"))))) for image in range(len(rows))]
        )
    if "c" not in axes:
        raise BadOption(f"the model's output has the axes {axes}, so it has no classes: {_without_class()}")
    classes = np.moveaxis(output, (axes.index("b"), axes.index("c")), (0, -1)).reshape(
        len(rows), -1, output.shape[axes.index("c")]
    )
    numbers: np.ndarray = classes[..., _index(target, classes.shape[-1])].sum(1, dtype=np.float64)
    return numbers
