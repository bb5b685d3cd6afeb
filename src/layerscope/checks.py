"""Checks of arguments, written once: whole numbers, numbers in a range, one of some words, lists of channel numbers."""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from math import inf
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from .errors import BadOption, LayerscopeError, near
from .surface import option

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# What the option is called elsewhere.
SYNONYMS = {
    **dict.fromkeys(("colorbar", "color_bar", "cbar", "colourbar"), "bar"),
    **dict.fromkeys(("cmap", "colormap", "color_map", "palette"), "colors"),
    **dict.fromkeys(("ncols", "cols", "n_cols"), "columns"),
    **dict.fromkeys(("vmin", "vmax", "limits", "range"), "scale"),
    **dict.fromkeys(("opacity", "transparency"), "alpha"),
    "percentiles": "clip",
    **dict.fromkeys(("log", "logarithmic", "lognorm"), "norm"),
    "order": "sort",
    "reduce": "combine",
    "class_names": "labels",
    **dict.fromkeys(("n", "k", "topk", "top_k"), "top"),
    **dict.fromkeys(("box", "roi", "bbox"), "region"),
    **dict.fromkeys(("dark", "background", "facecolor", "style"), "theme"),
}
STRETCH = ("normalize", "normalise", "normalized", "normalization", "rescale", "stretch")
# What isn't chosen where a picture is drawn: where it is.
IN_AXES = "ax= takes axes of a figure of your own, which has any size, and "
ON_PAPER = "picture.save('x.pdf', width_mm=85) or save('x.png', dpi=300) chooses the size on paper"
SIZES = ("figsize", "width", "height")
ENDS = ("vmin", "vmax")
ELSEWHERE = {
    **dict.fromkeys(("dpi", "width_mm"), f": {ON_PAPER}"),
    "transparent": ": theme='transparent' or picture.themed('transparent') leaves the paper out",
    **dict.fromkeys(SIZES, f": zoom= chooses the size in pixels where there is one, and {ON_PAPER}"),
}


OF_ARRAY = "an array of activations is drawn by ls.sheet(array), each channel a tile, or ls.heatmap(ls.mean(array))"


def keywords(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`function`, which answers to an unknown keyword with `BadOption` and the nearest one, and so to a value too many.

    >>> @keywords
    ... def sheet(fm, *, columns=8): ...
    >>> sheet(None, colums=4)
    Traceback (most recent call last):
    layerscope.errors.BadOption: sheet() has no option 'colums'. Did you mean 'columns'?
    """
    parameters = inspect.signature(function).parameters
    known = tuple(name for name in parameters if name != "self")
    unnamed = [name for name in known if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    needed = [name for name in unnamed if parameters[name].default is inspect.Parameter.empty]
    open_ended = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())

    @functools.wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                raise _unknown(function.__name__, name, known)
        given = args[len(parameters) - len(known) :]
        if unnamed and len(given) > len(unnamed) and not open_ended:
            raise _surplus(function.__name__, given[len(unnamed)], unnamed, known[len(unnamed) :])
        if (missing := [name for name in needed[len(given) :] if name not in kwargs]) and not open_ended:
            raise _missing(function.__name__, missing, unnamed, given)
        return function(*args, **kwargs)

    return checked


def _unknown(function: str, name: str, known: Sequence[str]) -> BadOption:
    """The error for an option that `function` doesn't have: what it is called here, or else which functions have it."""
    synonym = SYNONYMS.get(name.lower())
    hint = f". Did you mean {synonym!r}?" if synonym in known else near(name, known)
    if name.lower() in ENDS and "scale" in known:
        hint = ": scale=(low, high) gives the values at both ends of the colours"
    if name.lower() in SIZES and "zoom" in known:
        hint = ELSEWHERE[name.lower()]
    if name.lower() in STRETCH and "scale" in known:
        hint = ": scale='channel' stretches each channel to its own range, scale='layer' gives all of them one range"
    if name.lower() == "channel" and "channels" not in known:
        hint = f": choose one first, {function}(fm.select({name}), …)"
    if name.lower() in SIZES and "ax" in known:
        hint = f": {IN_AXES}{ON_PAPER}"
    hint = hint or ELSEWHERE.get(name.lower(), "")
    if not hint:
        package = importlib.import_module(__name__.partition(".")[0])
        functions = filter(inspect.isfunction, (getattr(package, other) for other in package.__all__))
        owners = [f"{other.__name__}()" for other in functions if name in inspect.signature(other).parameters]
        hint = f"; it is an option of {', '.join(owners)}" if owners else f": it has {', '.join(known)}"
    return BadOption(f"{function}() has no option {name!r}{hint}")


def _missing(function: str, missing: Sequence[str], unnamed: Sequence[str], args: Sequence[Any]) -> BadOption:
    """The error for a call without all that a function needs."""
    captured = [type(value).__name__ for value in args if type(value).__name__ in ("FeatureMap", "Maps")]
    drawn = "; what was captured is drawn by sheet(), heatmap(), overlay() and others" if captured else ""
    if any(hasattr(value, "__array__") and getattr(value, "ndim", 0) for value in args):
        drawn = f"; {OF_ARRAY}"
    return BadOption(f"{function}() takes {', '.join(unnamed)}, and {' and '.join(missing)} isn't given{drawn}")


def _surplus(function: str, value: Any, unnamed: Sequence[str], options: Sequence[str]) -> BadOption:
    """The error for a value without a name, where a function takes no more of them."""
    given = repr(value) if isinstance(value, str | os.PathLike | Real) else f"a value of type {type(value).__name__}"
    taken = " and ".join(filter(None, (", ".join(unnamed[:-1]), unnamed[-1])))
    rest = f"give options by name, as {', '.join(f'{name}=' for name in options[:3])}" if options else "leave it out"
    photo = "; a map that was captured has its photo" if unnamed[0] == "fm" and not isinstance(value, Real) else ""
    return BadOption(f"{function}() takes {taken} without a name, and {given} is one more: {rest}{photo}")


def whole(name: str, value: Any, low: int = 1, high: int | None = None, *, instead: str = "") -> int:
    """`value` as an `int` from `low` to `high`; `True` and `2.0` are none. `instead` ends the message of `BadOption`.

    >>> whole("columns", 8)
    8
    >>> whole("columns", 0)
    Traceback (most recent call last):
    layerscope.errors.BadOption: columns=0: use a whole number from 1
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        upper = "" if high is None else f" to {high}"
        raise BadOption(f"{option(name, value)}: use a whole number from {low}{upper}{instead}")
    return number


MOST_THREADS = 1024  # more than any machine has cores; runtimes start as many as they are told, and fail


def setting(name: str, default: int, low: int = 1, high: int | None = None) -> int:
    """The whole number in the environment variable `name`; `default` where it is empty or isn't set. Raises `BadOption`."""
    text = os.environ.get(name, "").strip()
    number: Any = int(text) if text.isdecimal() and len(text) < 20 else text
    return whole(name, number, low, high) if text else default


def optional_whole(name: str, value: Any) -> int | None:
    """A whole number from 1, or `None`.

    >>> optional_whole("columns", None) is None
    True
    """
    return None if value is None else whole(name, value, instead=", or None")


def real(name: str, value: Any, low: float, high: float, *, unit: str = "") -> float:
    """`value` as a number from `low` to `high`, both included; NaN is none. Raises `BadOption`.

    >>> real("alpha", 0.5, 0, 1)
    0.5
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise BadOption(f"{option(name, value)}: use a number from {low:g} to {high:g}{unit}")
    return float(value)


def is_positive(value: Any) -> bool:
    """Whether `value` is a finite number above 0.

    >>> is_positive(0.5), is_positive(0), is_positive(True), is_positive("8")
    (True, False, False, False)
    """
    return not isinstance(value, bool) and isinstance(value, Real) and 0 < float(value) < inf


def file_path(value: Any, name: str = "path") -> Path:
    """`value` as a path. Raises `BadOption` for what is none.

    >>> file_path(None)
    Traceback (most recent call last):
    layerscope.errors.BadOption: path=None: use the path of a file, a text or a pathlib.Path
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise BadOption(f"{option(name, value)}: use the path of a file, a text or a pathlib.Path")
    return Path(value)


def flag(name: str, value: Any) -> bool:
    """`value` if it is true or false, numpy's too; a text such as "no" is neither.

    >>> flag("statistics", "no")
    Traceback (most recent call last):
    layerscope.errors.BadOption: statistics='no': use True or False
    """
    if not isinstance(value, bool) and type(value).__name__ != "bool":
        raise BadOption(f"{option(name, value)}: use True or False")
    return bool(value)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """`value` if it is one of `allowed`; else `BadOption` with the near ones.

    >>> one_of("theme", "drak", ("light", "dark"))
    Traceback (most recent call last):
    layerscope.errors.BadOption: theme='drak': use 'light', 'dark'. Did you mean 'dark'?
    """
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise BadOption(f"{option(name, value)}: use {', '.join(map(repr, words))}{near(str(value), words)}")
    return value


def listed(value: Any) -> Any:
    """One whole number as a list of it; everything else as it is.

    >>> listed(5), listed([5, 6])
    ([5], [5, 6])
    """
    return (
        [value]
        if hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "ndim", 0)
        else value
    )


def indices(
    name: str, value: Sequence[int] | slice, count: int, *, of: str = "", error: type[LayerscopeError] = BadOption
) -> tuple[int, ...]:
    """The numbers of a list or slice of `count` things, or one, each from 0 to `count` − 1; raises `error` for others or none.

    `of` stands behind the value in the message: `" of 'conv1'"`.

    >>> indices("channels", slice(0, 3), 64)
    (0, 1, 2)
    """
    if isinstance(value, slice):
        numbers: tuple[int, ...] = tuple(range(count)[value])
    else:
        try:
            numbers = tuple(operator.index(number) for number in listed(value))
        except TypeError:
            raise error(f"{option(name, value)}{of}: use whole numbers from 0 to {count - 1}, or a slice") from None
    if not numbers:
        raise error(f"{option(name, value)}{of} selects nothing: use numbers from 0 to {count - 1}")
    if any(not 0 <= number < count for number in numbers):
        raise error(f"{option(name, value)}{of}: use numbers from 0 to {count - 1}")
    return numbers


def sides(value: Any, name: str = "size") -> tuple[Any, ...]:
    """(height, width) of `value`: two numbers, one for a square, or a text; numbers are returned as they are.

    >>> sides("100x120"), sides("100,120"), sides("100"), sides(100)
    ((100, 120), (100, 120), (100, 100), (100, 100))
    """
    if isinstance(value, str):
        numbers = re.fullmatch(r"\s*([1-9]\d{0,8})(?:\s*[x×,]\s*([1-9]\d{0,8}))?\s*", value.lower())
        if numbers is None:
            raise BadOption(f"{option(name, value)}: give HEIGHTxWIDTH, such as 224x224")
        return int(numbers[1]), int(numbers[2] or numbers[1])
    return (value, value) if isinstance(value, Real) else tuple(value)
