"""Whose fault an error is: that of the model that runs, or layerscope's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

Value = TypeVar("Value")

PACKAGE = Path(__file__).parents[2]
# The suite's models are models like any other, although they live in this package.
OWN, MODELS = f"{PACKAGE}/", f"{PACKAGE / 'testing'}/"
# Where backends are called: those of other packages are neither the model nor layerscope.
SEAM = f"{PACKAGE / 'scope'}/"


def call_model(function: Callable[..., Value], /, *args: Any, **kwargs: Any) -> Value:
    """What `function`, code of the model or of its framework, returns: an error that comes out of it is the model's.

    Whoever runs a model, or passes on a call that the model makes, does it through here, or in a function marked by `passing`.
    """
    return function(*args, **kwargs)


PASSING = {call_model.__code__}
Function = TypeVar("Function", bound=Callable[..., Any])


def passing(function: Function) -> Function:
    """Mark a function that only passes on a call of the model's, as often as a model has layers: its errors are the model's."""
    PASSING.add(function.__code__)
    return function


def own_fault(error: BaseException) -> tuple[str, int] | None:
    """The file in this package and the line where an error was raised by layerscope's own code; `None` for the model's.

    >>> def model():
    ...     return [][1]
    >>> try:
    ...     call_model(model)
    ... except IndexError as error:
    ...     print(own_fault(error))
    None
    """
    trace, inner = error.__traceback__, 0
    place: tuple[FrameType, int] | None = None
    while trace is not None:
        inner += 1
        if is_own(trace.tb_frame):
            place, inner = (trace.tb_frame, trace.tb_lineno), 0
        trace = trace.tb_next
    if place is not None:
        file = place[0].f_code.co_filename
        if place[0].f_code not in PASSING and not (inner and file.startswith(SEAM)):
            return file.removeprefix(OWN), place[1]
    return None if error.__cause__ is None else own_fault(error.__cause__)


def raised_by_own(error: BaseException) -> bool:
    """Whether the line that raised an error is layerscope's, not that of a library which it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and is_own(trace.tb_frame)


def is_own(frame: FrameType) -> bool:
    """Whether a frame is layerscope's."""
    file = frame.f_code.co_filename
    return file.startswith(OWN) and not file.startswith(MODELS)
