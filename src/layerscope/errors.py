"""Every error and warning that layerscope raises.

```
LayerscopeError
├── ModelNotReadable          the model can't be opened or run
│   ├── BackendMissing        the framework for this model isn't installed
│   └── TrustRequired         opening it would run code from the file
├── LayerNotFound             no layer of that name (near names are given)
├── LayerNotCalled            the layer exists but produced nothing in this run
├── ImageNotReadable          an image can't be decoded
│   └── ImageTooLarge         more pixels than the limit
├── PreprocessUnknown         no recipe of that name, or none for this input
├── GradientsUnavailable      this backend or layer has no gradients
├── CaptureTooLarge           the maps don't fit into memory
├── LibraryMissing            a library that this function needs isn't installed
├── InternalError             layerscope's own code failed, which neither the model nor the input is to blame for
├── Cancelled                 the work was cancelled by whoever watched its progress
├── BadLayout                 axes that don't fit the array
├── BadWeights                channel weights that don't fit the feature map
├── BadChannels               channel numbers that don't exist
├── BadScale                  limits, rule or colours that don't exist
└── BadOption                 any other invalid argument

LayerscopeWarning
├── LayoutWarning             an array's sizes contradict its library's convention
├── ImagesSkipped             images of a collection that could not be read
├── LayersSkipped             layers that were chosen together and could not be read
├── PreprocessWarning         the preprocessing is not known, or looks wrong
├── RandomWeights             the model was built without trained weights
├── BackendSkipped            an installed package's backend can't be used
├── BackendChosen             Keras runs on the one framework that is installed
├── DeviceWarning             the device that was asked for isn't there, so the model runs on the CPU
└── DrawingFailed             a step of a training was not drawn; the training goes on
```

A message says what was given, what is allowed, and what to do next. Names in it are safe to print, whoever wrote them.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Sequence

from .safe_text import printable
from .surface import by_surface


class LayerscopeError(Exception):
    """The parent of every error that layerscope raises on purpose.

    >>> import layerscope as ls
    >>> try:
    ...     ls.FeatureMap.of_array([1, 2, 3]).select([7])
    ... except ls.LayerscopeError as error:
    ...     print(type(error).__name__, "-", error)
    BadChannels - channels [7] are not in 'array', which has 0 to 2

    Args:
        problem: What is wrong; an attribute of the error, for those who have room for a few words only.
        advice: What to do about it, an attribute too; it stands behind the problem in the message.
    """

    def __init__(self, problem: str = "", advice: str = "") -> None:
        problem, advice = printable(problem), printable(advice)
        separator = " " if problem.endswith((".", "?")) else ": "
        super().__init__(f"{problem}{separator}{advice}" if advice else problem)
        self.problem = problem
        self.advice = advice


class ModelNotReadable(LayerscopeError):
    """The model can't be opened or run: raised by `open`, and by every run in which the model itself fails."""


class BackendMissing(ModelNotReadable):
    """The framework that this model or conversion needs isn't installed: raised by `open` and `FeatureMap.to_torch`."""


class TrustRequired(ModelNotReadable):
    """Opening the model would run code stored in it: raised by `open` without `trust=True`."""


class LayerNotFound(LayerscopeError, KeyError):
    """No layer answers to the name: raised where layers are chosen, and by `Maps`, as the `KeyError` of a mapping."""

    def __str__(self) -> str:
        return ", ".join(map(str, self.args))  # `KeyError` would show the message in quotes


class LayerNotCalled(LayerscopeError):
    """The layer exists and produced nothing in this forward pass: raised where layers are chosen."""


class ImageNotReadable(LayerscopeError, ValueError):
    """The image can't be decoded or isn't an image: raised wherever images are read."""

    unread: tuple[tuple[str, str], ...] = ()  # where none of several can be read: (id, reason) of each


class ImageTooLarge(ImageNotReadable):
    """The image has more pixels than the current limit: raised before it is decoded."""

    lasting = ""  # what it says without what was free at the moment, where it speaks of that


class PreprocessUnknown(LayerscopeError, ValueError):
    """No recipe has that name, or none fits the model's input: raised by `open` and `Recipe`."""


class GradientsUnavailable(LayerscopeError):
    """This backend or layer has no gradients: raised by a capture with `target`, and by combinations that need one."""


class CaptureTooLarge(LayerscopeError, MemoryError):
    """The maps don't fit into memory: raised by a capture before the first run, or when the memory runs out in it."""


class LibraryMissing(LayerscopeError, ImportError):
    """A library that a function needs beyond layerscope's own isn't installed: raised by that function."""


class InternalError(LayerscopeError, RuntimeError):
    """layerscope's own code failed around a run of the model: a fault to report; the cause is chained."""


class Cancelled(LayerscopeError):
    """The work was cancelled: raised by the observer of its progress."""


class BadLayout(LayerscopeError, ValueError):
    """The named axes don't fit the array: raised where a layout is given or a `FeatureMap` is made."""


class BadWeights(LayerscopeError, ValueError):
    """The channel weights don't fit the feature map: raised by `weighted`."""


class BadChannels(LayerscopeError, ValueError):
    """Channel numbers that the layer or map doesn't have: raised where channels are chosen."""


class BadScale(LayerscopeError, ValueError):
    """A scale rule, limits or colours that don't exist: raised by `Scale` and by every picture."""


class BadOption(LayerscopeError, ValueError):
    """Any other invalid argument, or a file that can't be read or written."""


class LayerscopeWarning(UserWarning):
    """The parent of every warning that layerscope gives."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))


class LayoutWarning(LayerscopeWarning):
    """An array's sizes contradict the convention by which it was read: given where bare arrays are taken."""


class ImagesSkipped(LayerscopeWarning):
    """Some images of a collection could not be read and were left out: given by captures of several images."""


class LayersSkipped(LayerscopeWarning):
    """Some of the layers that a rule chose (`*`, `stages`) could not be read and were left out: given by captures."""


class PreprocessWarning(LayerscopeWarning):
    """The preprocessing isn't known, or the model input looks wrong for it: given by captures."""


class RandomWeights(LayerscopeWarning):
    """The model has random weights, so its maps mean nothing yet: given by `open`."""


class BackendSkipped(LayerscopeWarning):
    """A backend that an installed package offers can't be used, and was left out: given by `open`."""


class BackendChosen(LayerscopeWarning):
    """Nobody said which framework Keras runs on, and one alone is installed: given by `open`."""


class DeviceWarning(LayerscopeWarning):
    """The device that was asked for isn't there, and the model runs on the CPU: given by `open` and captures."""


class DrawingFailed(LayerscopeWarning):
    """A step of a training was not drawn, and the training goes on: given by the callbacks."""


def near(name: str, known: Iterable[str], count: int = 3) -> str:
    """`". Did you mean 'block1_conv2'?"` for the known names closest to `name`, to end a message with; else `""`.

    >>> near("block1_con2", ["block1_conv2", "fc"])
    ". Did you mean 'block1_conv2'?"
    >>> near("xyz", ["block1_conv2"])
    ''
    """
    folded: dict[str, str] = {}
    for word in known:
        folded.setdefault(word.lower(), word)
    return _suggested([folded[word] for word in difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.6)])


def like(name: str, known: Iterable[str]) -> str:
    """As `near`, but first the known names that hold `name` as a word, then those that hold it, and only else the closest.

    >>> like("cat", ["catamaran", "tiger cat", "dog"])
    ". Did you mean 'tiger cat' or 'catamaran'?"
    """
    known = list(dict.fromkeys(known))
    holding = [word for word in known if len(name) > 2 and name.lower() in word.lower()]
    holding.sort(key=lambda word: name.lower() not in re.split(r"[^\w-]+", word.lower()))
    return _suggested(holding[:3]) or near(name, known)


def _suggested(names: Sequence[str]) -> str:
    if not names:
        return ""
    *others, last = map(repr, names)
    return f". Did you mean {', '.join(others)} or {last}?" if others else f". Did you mean {last}?"


def unknown_layer(name: str, known: Iterable[str], hint: str = "") -> LayerNotFound:
    """The error for a name that no layer has, with known names that hold it, or else the closest ones, or else a hint.

    >>> str(unknown_layer("conv2", ["block1_conv1", "block1_conv2", "fc"]))
    "no layer 'conv2'. Did you mean 'block1_conv2'? `layers()` lists them all"
    >>> str(unknown_layer("block1_con2", ["block1_conv2", "fc"]))
    "no layer 'block1_con2'. Did you mean 'block1_conv2'? `layers()` lists them all"
    """
    close = like(name, known)
    lists = by_surface("`layers()` lists", "`layerscope layers MODEL` lists", "the list of layers has")
    return LayerNotFound(f"no layer {name!r}{close or hint or '.'}", f"{lists} them all")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop at its end; its class where the message is empty.

    Keras's line that only says where, and its bold letters, are left out.

    >>> first_line(ValueError("no such layer.\\n\\nMore about it"))
    'no such layer'
    >>> first_line(ValueError("Exception encountered when calling Dense.call().\\n\\n\\x1b[1mWrong shape\\x1b[0m\\n"))
    'Wrong shape'
    """
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip()
    line = re.sub(r"\AException encountered when calling .*\n+", "", text).partition("\n")[0].strip()
    return (line if line.endswith("..") else line.removesuffix(".")) or type(error).__name__


def one_line(error: BaseException) -> str:
    """The whole of an error's message on one line; its class where the message is empty.

    >>> one_line(ValueError("no such layer:\\n  conv1"))
    'no such layer: conv1'
    """
    return " ".join(str(error).split()) or type(error).__name__


def caller_level() -> int:
    """The stack level of the first caller outside this package, so that a warning points at the user's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "layerscope":
        frame = frame.f_back
        level += 1
    return level
