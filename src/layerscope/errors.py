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
├── Cancelled                 the work was cancelled by whoever watched its progress
├── BadLayout                 axes that don't fit the array
├── BadWeights                channel weights that don't fit the feature map
├── BadChannels               channel numbers that don't exist
├── BadScale                  limits, rule or colours that don't exist
└── BadOption                 any other argument out of its range

LayerscopeWarning
├── LayoutWarning             an array's sizes speak against its library's convention
├── ImagesSkipped             images of a collection that could not be read
├── PreprocessWarning         the preprocessing is not known, or looks wrong
├── RandomWeights             the model was built without trained weights
├── BackendSkipped            an installed package's backend can't be used
└── DrawingFailed             a step of a training was not drawn; the training goes on
```

A message says what was given, what is allowed, and what to do next.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable


class LayerscopeError(Exception):
    """The parent of every error that layerscope raises on purpose."""


class ModelNotReadable(LayerscopeError):
    """The model can't be opened or run."""


class BackendMissing(ModelNotReadable):
    """The framework that this model needs isn't installed."""


class TrustRequired(ModelNotReadable):
    """Opening the model would run code stored in it."""


class LayerNotFound(LayerscopeError, LookupError):
    """No layer answers to the name."""


class LayerNotCalled(LayerscopeError):
    """The layer exists, but nothing came out of it in this forward pass."""


class ImageNotReadable(LayerscopeError, ValueError):
    """The image can't be decoded or isn't an image."""


class ImageTooLarge(ImageNotReadable):
    """The image has more pixels than the limit in force."""


class PreprocessUnknown(LayerscopeError, ValueError):
    """No preprocessing recipe has that name, or none fits the model's input."""


class GradientsUnavailable(LayerscopeError):
    """Gradients were asked for where there are none."""


class CaptureTooLarge(LayerscopeError, MemoryError):
    """The maps asked for don't fit into memory, by the estimate before the run or in the run itself."""


class LibraryMissing(LayerscopeError, ImportError):
    """A library that a function needs beyond layerscope's own isn't installed."""


class Cancelled(LayerscopeError):
    """The work was cancelled; raised by the observer of its progress."""


class BadLayout(LayerscopeError, ValueError):
    """The named axes don't fit the array."""


class BadWeights(LayerscopeError, ValueError):
    """The channel weights don't fit the feature map."""


class BadChannels(LayerscopeError, ValueError):
    """Channel numbers that the feature map doesn't have."""


class BadScale(LayerscopeError, ValueError):
    """A scale rule, limits or colours that don't exist."""


class BadOption(LayerscopeError, ValueError):
    """An argument outside what is allowed."""


class LayerscopeWarning(UserWarning):
    """The parent of every warning that layerscope gives."""


class LayoutWarning(LayerscopeWarning):
    """An array's sizes speak against the convention by which it was read."""


class ImagesSkipped(LayerscopeWarning):
    """Some images of a collection could not be read and were left out."""


class PreprocessWarning(LayerscopeWarning):
    """The preprocessing isn't known, or the model's input looks wrong for it."""


class RandomWeights(LayerscopeWarning):
    """The model has random weights, so its maps mean nothing yet."""


class BackendSkipped(LayerscopeWarning):
    """A backend that an installed package offers can't be used, and was left out."""


class DrawingFailed(LayerscopeWarning):
    """A step of a training could not be drawn, and was left out."""


def near(name: str, known: Iterable[str], count: int = 3) -> str:
    """`" Did you mean 'block1_conv2'?"` for the known names closest to `name`, else `""`.

    >>> near("block1_con2", ["block1_conv2", "fc"])
    " Did you mean 'block1_conv2'?"
    >>> near("xyz", ["block1_conv2"])
    ''
    """
    folded: dict[str, str] = {}
    for each in known:
        folded.setdefault(each.lower(), each)
    close = difflib.get_close_matches(name.lower(), folded, n=count, cutoff=0.6)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(folded[each]) for each in close)}?"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without a full stop at its end; its kind where it says nothing.

    >>> first_line(ValueError("no such layer.\\n\\nMore about it"))
    'no such layer'
    """
    said = str(error).strip().partition("\n")[0].strip()
    return (said.removesuffix(".") if not said.endswith("..") else said) or type(error).__name__


def caller_level() -> int:
    """The stack level of the first caller outside this package, so that a warning points at the user's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "layerscope":
        frame = frame.f_back
        level += 1
    return level
