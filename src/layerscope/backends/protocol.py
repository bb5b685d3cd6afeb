"""`Backend`: what the core asks of a framework, and how a framework says what it doesn't offer."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from ..core.layer import Layer
from ..errors import BadOption, GradientsUnavailable, LayerscopeError
from ..surface import by_surface, option
from .values import (
    Captured,
    Change,
    Evidence,
    Facts,
    Head,
    Input,
    Kernel,
    Pick,
    Scores,
    SteadyLayers,
    Target,
    trained,
    turned,
)

__all__ = [
    "OPTIONAL",
    "REQUIRED",
    "Backend",
    "Captured",
    "Change",
    "Evidence",
    "Facts",
    "Head",
    "Input",
    "Kernel",
    "NotOffered",
    "Pick",
    "SteadyLayers",
    "Target",
    "not_offered",
    "trained",
    "turned",
]

Verb = TypeVar("Verb", bound=Callable[..., Any])


def _advice(verb: str) -> str:
    """What to do where a framework doesn't offer a verb."""
    advice = {
        "gradients": by_surface(
            "capture without target= (class_cam, score_cam, ablation_cam and eigen_cam need no gradients)",
            "use --combine cam, score-cam, ablation-cam or eigen-cam, which need no gradients",
            "choose a combination that needs no gradients",
        )
        + ", or open the model that the file was made from, in the framework that trained it",
        "scores": by_surface(
            "score_cam and eigen_cam need", "--combine score-cam and eigen-cam need", "Score-CAM and Eigen-CAM need"
        )
        + " no layer to be changed",
        "load_weights": by_surface("leave weights= out (--weights)", "leave --weights out", "leave weights out")
        + ", and load them in the factory before it returns the model",
    }
    return advice.get(verb, "")


class NotOffered:
    """Stands in place of a verb that a framework doesn't offer: falsy, and a call raises the reason.

    The optional verbs of `Backend` itself have none: `reason` is `""` until a backend declares one.
    """

    def __init__(self, reason: str, verb: str = "", backend: str = "") -> None:
        self.reason, self.verb, self.backend = reason, verb, backend

    def __set_name__(self, owner: type, verb: str) -> None:
        self.verb = verb

    def __get__(self, backend: Any, owner: type | None = None) -> NotOffered:
        return self if backend is None else NotOffered(self.reason, self.verb, backend.name)

    def __bool__(self) -> bool:
        return False

    def __call__(self, *arguments: Any, **options: Any) -> NoReturn:
        raise self.error()

    def error(self) -> LayerscopeError:
        """The error that a call raises: `GradientsUnavailable` for `gradients`, `BadOption` for every other verb."""
        kind = GradientsUnavailable if self.verb == "gradients" else BadOption
        parts = (self.reason, _advice(self.verb))
        reasons = "; ".join(part for part in parts if part)
        return kind(f"the {self.backend} backend doesn't offer {self.verb}" + f": {reasons}" * bool(reasons))


def not_offered(reason: str) -> Any:
    """A mark for a verb that a framework doesn't offer, written in the class in place of the method.

    Such a verb is falsy, and a call raises `BadOption` (`GradientsUnavailable` for `gradients`) with the reason.

    >>> class Scores(Backend):
    ...     name = "scores"
    ...     owns = layers = capture = None
    ...     kernel = not_offered("its convolutions keep their weights to themselves")
    >>> Scores().offers("kernel")
    False
    >>> Scores().kernel(None, "conv1", None)
    Traceback (most recent call last):
    layerscope.errors.BadOption: the scores backend doesn't offer kernel: its convolutions keep their weights to themselves

    Args:
        reason: Why, as the end of a sentence; the page of capabilities shows it too.
    """
    if not reason.strip():
        raise ValueError("not_offered() needs a reason")
    return NotOffered(reason)


def optional(verb: Verb) -> Verb:
    """A verb that a backend may leave out: nothing is offered until a child writes the method or `not_offered(reason)`."""
    absent: Any = NotOffered("")
    functools.update_wrapper(absent, verb)
    method: Verb = absent
    return method


class Backend(ABC):
    """What the core asks of a framework; a child names itself and writes `owns`, `layers` and `capture`.

    Every other verb is optional: a child writes the method, or says why its framework doesn't offer it with
    `head = not_offered("reason")`. The conformance suite (`layerscope.testing.BackendTests`) asks for one of both.

    `batch` is an array in the model's own input axes, a tuple of such arrays (several inputs) or a dict (inputs by
    name); the framework's own tensors are taken as they are.

    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> backend, model = TinyBackend(), tiny_model()
    >>> backend.owns(model), backend.offers("scores"), backend.offers("gradients")
    (True, True, False)

    Attributes:
        name: The backend's own name, as in `ls.open(model, backend="torch")`.
        gradients: Whether `capture` takes a target: `True`, `False`, or `not_offered(reason)`.
        picks: Whether `capture` takes one more argument, `picks={path: Pick}`, and leaves out other channels before it
            copies; without it they are cut afterwards.
        random: `False` where nothing that runs draws from Python's or numpy's random numbers, so that nobody needs to
            keep their state around it, which takes 0.1 ms.
        device: What runs the models where `on_device` was asked for, as the framework calls it; `""` for its own choice.
    """

    name: str
    device: str = ""
    gradients: bool = False
    picks: ClassVar[bool] = False
    random: ClassVar[bool] = True

    @abstractmethod
    def owns(self, model: Any) -> bool:
        """Whether `model` is of this framework."""

    @abstractmethod
    def layers(self, model: Any, batch: Any) -> list[Layer]:
        """Every layer in the order in which its first call ended, those that never ran last, after one dry run.

        The model's own output is the layer with the path `""`, where the framework has no name for it. `SteadyLayers` where
        each layer is called as often whatever values the input holds, so that captures may stop early.
        """

    @abstractmethod
    def capture(
        self, model: Any, batch: Any, paths: Sequence[str], target: Target | None = None
    ) -> dict[str, Captured]:
        """What the named layers produce for `batch`, in execution order, in one forward pass.

        `conv` gives every call (as `conv`, or `relu:0`, `relu:1` … where there are more); `relu:1` gives that call
        under that name. If all paths are single calls, the pass stops after the last of them. Leaves model, batch and
        random state as they were, also when the model raises.

        Args:
            model: A model that this backend owns.
            batch: The model's input, of any number of images.
            paths: Paths of `layers()`.
            target: The class index, or the function of the model's output, whose gradient is wanted as well.

        Raises:
            LayerNotFound: There is no such layer, or no such call of it.
            LayerNotCalled: The layer didn't run in this forward pass.
            GradientsUnavailable: A target was given, and the framework computes no gradients.
        """

    def on_device(self, device: str) -> Backend:
        """This backend for models that run on a device: what it loads is loaded there.

        Args:
            device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"gpu"` …; one that isn't there is a `DeviceWarning`, and the CPU.

        Raises:
            BadOption: The framework runs on the CPU alone.
        """
        if device.partition(":")[0] == "cpu":
            return self
        raise BadOption(f"the {self.name} backend runs models on the CPU alone: leave {option('device')} out")

    def place(self, model: Any) -> Any:
        """The model on the device of `on_device`: itself where it is there, else a copy, as the user's stays as it is."""
        return model

    def path_of(self, model: Any, part: Any) -> str | None:
        """The path of a layer that is given as an object inside the model, `""` for the model itself; `None` for other objects.

        Args:
            model: A model that this backend owns.
            part: Anything.
        """
        return None

    @optional
    def facts(self, model: Any) -> Facts:
        """What is known of a model without running it: name, inputs, preprocessing, labels."""
        raise NotImplementedError

    @optional
    def digest(self, model: Any) -> str:
        """A checksum that tells two states of the weights apart. Taken at every capture, so it must be quick."""
        raise NotImplementedError

    @optional
    def load(self, source: Path, weights: Path | None = None, trust: bool = False) -> Any:
        """The model in a file.

        Args:
            source: The file, with one of the suffixes in the backend's `Spec`.
            weights: A file of weights to read into it.
            trust: Whether the file may run code of its own while it is loaded.

        Raises:
            ModelNotReadable: The file can't be read; the message says what to do.
            TrustRequired: The file runs code, and `trust` is false.
        """
        raise NotImplementedError

    @optional
    def load_weights(self, model: Any, path: Path) -> None:
        """Read a file of weights into a model that a factory built."""
        raise NotImplementedError

    @optional
    def from_library(
        self, library: str, name: str, weights: Path | None = None, trust: bool = False
    ) -> tuple[Any, Any]:
        """The model of that name of a library (`"torchvision"`), with a transform of its own that preprocesses, or `None`.

        Args:
            library: One of the `libraries` in the backend's `Spec`.
            name: A name of the library; `ModelNotReadable` names near ones.
            weights: A file of weights; without it those on this machine, else random ones with a `RandomWeights` warning.
            trust: Whether code that comes with the model's files may run.
        """
        raise NotImplementedError

    @optional
    def evidence(self, model: Any, batch: Any) -> Evidence | None:
        """What reaches the first BatchNorm, against what it saw in training: wrong preprocessing shows in the difference.

        `None` where there is no such layer near the input, or an untrained one. The run stops there.
        """
        raise NotImplementedError

    @optional
    def head(self, model: Any, batch: Any) -> Head | None:
        """The dense layer that runs last, with its weights; `None` where there is none, or they can't be read."""
        raise NotImplementedError

    def activation(self, model: Any, batch: Any) -> str:
        """What the numbers of the model's output are, by its head: the name of an activation, or `""` where nothing tells.

        `"softmax"`, `"sigmoid"`, `"log_softmax"` …; `"linear"` where nothing follows the head's sums of products;
        `"softmax-logits"`, `"sigmoid-logits"` or `"regression"` where the model itself says what such sums are.

        Args:
            model: A model that this backend owns.
            batch: The model's input; one image is enough.
        """
        return ""

    def settings(self, model: Any) -> Any:
        """What tells whether a table of layers still holds: what the calls depend on beside the input and the weights.

        Compared with `==` at every capture, so it must be quick. `None` where a model stays as it was opened.
        """
        return None

    @optional
    def kernel(self, model: Any, path: str, batch: Any) -> Kernel | None:
        """The weights of the convolution at `path`; `None` for a layer of any other kind."""
        raise NotImplementedError

    @optional
    def scores(self, model: Any, batch: Any, target: Target, changes: Mapping[str, Change]) -> Scores:
        """The target's number for each image, `[image]`, while layers return what `changes` says.

        Args:
            model: A model that this backend owns.
            batch: The model's input, of any number of images.
            target: A class index, or a function of the model's output that gives one number for each image.
            changes: Path (of a call, or of a layer: every call) -> a function that is given what the layer returns, in
                its own axes, and gives the value passed on, of the same shape.
        """
        raise NotImplementedError

    def offers(self, verb: str) -> bool:
        """Whether the backend offers a verb (`"head"`, `"kernel"`, …) or, for `"gradients"`, a target in `capture`."""
        return bool(getattr(self, verb))

    def refusal(self, verb: str) -> LayerscopeError:
        """The error for a verb that isn't offered, to be raised where it was asked for."""
        absent = getattr(self, verb)
        return (absent if isinstance(absent, NotOffered) else NotOffered("", verb, self.name)).error()


REQUIRED = ("owns", "layers", "capture")
OPTIONAL = tuple(verb for verb, value in vars(Backend).items() if isinstance(value, NotOffered))
