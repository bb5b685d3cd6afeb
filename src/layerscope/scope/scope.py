"""`Scope`: a model with everything needed to look into it. Here the backends meet the core."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: F401 # the examples use it

from ..backends.protocol import Backend, Facts, Head, Kernel
from ..backends.registry import Adapted, adapt
from ..checks import keywords, optional_whole, whole
from ..core.layer import choice_in_words, list_paths
from ..core.layer_table import LayerTable
from ..core.progress import observed, work
from ..errors import BadOption, LayerscopeError, PreprocessWarning, caller_level
from ..inputs.paths import is_image
from ..inputs.preprocess import InputPlan
from ..inputs.recipe import READY, Recipe
from ..safe_text import printable, writable
from .attempt import run_batch
from .batches import Batch, blank_batch, count_images, read_batches
from .capture import Maps, join
from .cutting import Cutting
from .input_warning import warn_of_input
from .memory import Room
from .objects import by_path
from .prediction import Prediction, holds_boxes, predictions
from .rerun import Rerun
from .run import Cache, Question, Request, Run, forward_pass, layer_table, provenance, table_of_image
from .target import resolve_target

if TYPE_CHECKING:
    from ..viewer.notebook import Widget

MOST_PIXELS = 1 << 18  # of an image that the model is run on for nothing but the display of a notebook


@dataclass(frozen=True, eq=False)
class Scope:
    """A model to look into: what `open` returns.

    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    >>> scope
    <Scope tiny (numpy), unit: RGB, squashed to 8 × 8 (bilinear), /255 (preprocessing as given; size as given, 8 × 8)>

    Attributes:
        model: The model, of whatever framework; never changed.
        backend: What reads models of its framework; an object that has the verbs alone is itself here.
        preprocess: How a photo becomes model input.
        labels: The names of the classes, where they are known.
        plan: What the model's input looks like.
        facts: What is known of the model without running it.
        name: The model's name, as pictures show it.
        check_input: Whether the first images are checked once for preprocessing that doesn't fit the model.
    """

    model: Any
    backend: Backend
    preprocess: Recipe
    labels: tuple[str, ...] | None = None
    plan: InputPlan = field(default_factory=InputPlan)
    facts: Facts = field(default_factory=lambda: Facts(""))
    name: str = ""
    check_input: bool = True
    _reader: Backend = field(init=False, repr=False)
    _cache: Cache = field(default_factory=Cache, init=False, repr=False)

    def __post_init__(self) -> None:
        reader = adapt(self.backend)
        object.__setattr__(self, "_reader", reader)
        object.__setattr__(self, "backend", reader.original if isinstance(reader, Adapted) else reader)

    def layers(self, images: Any = None) -> LayerTable:
        """The table of the model's layers, with their shapes.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> [layer.path for layer in scope.layers(np.zeros((1, 3, 8, 8), np.float32))][:2]
        ['conv1', 'act']

        Args:
            images: The model is run on the first of these; as for `capture`. `None`: on a blank image.

        Raises:
            ModelNotReadable: The model itself fails in the run.
            BadOption: No image is given, and `preprocess=None` makes no blank one.
        """
        return table_of_image(self, self._first_batch(images))

    def explained(self, word: str, images: Any = None) -> str:
        """Which layer a word such as `last` is in this model, and what else could be looked at, in one line.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> scope.explained("last", np.zeros((1, 3, 8, 8), np.float32)).startswith("last is ")
        True

        Args:
            word: `"last"`, or anything else that `LayerTable.choose` takes.
            images: As for `layers`; without them, `""` where `preprocess=None` makes no blank image.
        """
        if images is None and self.preprocess == READY:
            return ""
        return self.layers(images).explained(word)

    @keywords
    def capture(
        self,
        images: Any,
        layers: Any = "last",
        *,
        target: Any = None,
        channels: Sequence[int] | slice | str | None = None,
        batch: int | None = None,
    ) -> Maps:
        """The feature maps of some layers for some images, path -> `FeatureMap` in execution order.

        One forward pass per batch, which stops after the last layer it needs. Everything stays in memory; `stream` gives a
        batch at a time instead.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> scope.capture(np.zeros((2, 3, 8, 8), np.float32), ["conv1", "conv2"], channels=[3, 0])
        conv1: <FeatureMap conv1 (Conv) [2, 8, 8, 2]>
        conv2: <FeatureMap conv2 (Conv) [2, 3, 3, 2]>

        Args:
            images: Paths, folders, globs, PIL images, arrays or bytes; with `preprocess=None` a batch as the model takes it.
            layers: A name, see `LayerTable.choose`, a layer object that is part of the model, or a list of these.
            target: A class index, a label, or a function of the output to one number per image; gives gradients of it, too.
            channels: Keep only these, by their true numbers: a list, a slice, or text such as `"0:16,40"`.
            batch: How many images at a time; `None`: 16, or a ready batch as it is.

        Raises:
            LayerNotFound: No layer answers to a name.
            LayerNotCalled: The layer produced nothing in this run.
            BadChannels: A layer doesn't have one of the channels.
            ImageNotReadable: The only image, or every image, can't be read.
            GradientsUnavailable: A target is given and the backend has no gradients.
            CaptureTooLarge: The maps don't fit into memory.
            ModelNotReadable: The model itself fails in the run.
        """
        skipped: list[tuple[str, str]] = []
        question = self._question(layers, channels, target)
        total = count_images(images, self.preprocess, self.facts.inputs)
        runs = self._runs(images, question, batch, skipped, keeping=True)
        maps, batches = join(runs, total, origin=lambda batches: Rerun.of(self, batches, question.target))
        return Maps(maps, skipped, [id for part in batches for id in part.ids])

    @keywords
    def stream(
        self,
        images: Any,
        layers: Any = "last",
        *,
        target: Any = None,
        channels: Sequence[int] | slice | str | None = None,
        batch: int = 32,
    ) -> Iterator[Maps]:
        """As `capture`, but an iterator of the `Maps` of one batch at a time, which keeps none: memory stays flat.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> [maps["conv1"].shape for maps in scope.stream(np.zeros((5, 3, 8, 8), np.float32), "conv1", batch=3)]
        [(3, 8, 8, 4), (2, 8, 8, 4)]

        Args:
            images: As for `capture`.
            layers: As for `capture`.
            target: As for `capture`.
            channels: As for `capture`.
            batch: How many images at a time.

        Raises:
            LayerscopeError: As `capture`, once the iteration gets there.
        """
        skipped: list[tuple[str, str]] = []
        reported = 0
        question = self._question(layers, channels, target)
        # `map` keeps no run while the user works on its maps.
        for maps, ids in map(_join_one, self._runs(images, question, batch, skipped)):
            yield Maps(maps, skipped[reported:], ids)
            reported = len(skipped)
        if reported < len(skipped):
            yield Maps({}, skipped[reported:])

    def predict(self, images: Any, top: int = 5) -> list[list[Prediction]]:
        """The model's own classes for each image, the most probable first.

        What the numbers are is told by the activation of the model's head, found in its layers or its graph: those of
        softmax and sigmoid are probabilities. Scores without one go through a softmax where `labels` name the classes
        (with one output for two labels through a sigmoid: it stands for the second). Where nothing tells, they are the
        model's own numbers; `note` says what was done.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> [[prediction]] = scope.predict(np.zeros((1, 3, 8, 8), np.float32), top=1)
        >>> prediction.label
        'class 5'
        >>> prediction.note.kind
        'own-numbers'

        Args:
            images: As for `capture`.
            top: How many classes.

        Raises:
            BadOption: The output is not a list of class scores for each image.
        """
        if top is not None:
            whole("top", top, low=0)
        total = count_images(images, self.preprocess, self.facts.inputs)
        maps, batches = join(self._runs(images, self._question("output", None, None), None, [], keeping=True), total)
        (output,) = maps.values()
        values = output.values
        if values.size != values.shape[0] * values.shape[-1] or output.rows != "image":
            raise BadOption(f"the model's output has the shape {output.shape}, which is not a list of class scores")
        activation = lambda: self._activation(batches[0])  # noqa: E731
        labels = None if holds_boxes(output.layer.part) else self.labels
        return predictions(values.reshape(len(values), -1), activation, labels=labels, label=self.label, top=top)

    def _activation(self, batch: Batch) -> str:
        """What the numbers of the output are, as the backend finds it."""
        with forward_pass(self, batch.array):
            return self._reader.activation(self.model, batch.array)

    def head(self, images: Any = None) -> Head | None:
        """The dense layer that runs last, with its weights `[class, channel]` and bias; `None` where there is none.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY)
        >>> scope.head(np.zeros((1, 3, 8, 8), np.float32)) is None
        True

        Args:
            images: The model is run on the first of these; as for `layers`.
        """
        if not self._reader.offers("head"):
            return None
        batch = self._first_batch(images)
        with forward_pass(self, batch.array):
            return self._reader.head(self.model, batch.array)

    def kernel(self, layer: Any, images: Any = None) -> Kernel:
        """The weights of a convolution as they are now, with the letters of their axes; `ls.kernels` draws them.

        >>> import layerscope as ls
        >>> kernel = ls.open(ls.demo_model()).kernel("_conv_stem")
        >>> kernel.axes, kernel.values.shape
        ('oihw', (32, 3, 3, 3))

        Args:
            layer: What names one layer, as for `capture`.
            images: The model is run on the first of these; as for `layers`.

        Raises:
            BadOption: The layer isn't a convolution with its own weights (the message lists those that are), or several match.
        """
        if images is None and self.preprocess == READY:
            raise BadOption(
                "finding the layers takes a forward pass, and with preprocess=None that needs images=, a batch ready "
                "for the model"
            )
        layer = by_path(self, layer)
        batch = self._first_batch(images)
        table = layer_table(self, batch)
        chosen = table.choose(layer)
        if len(chosen) != 1:
            raise BadOption(
                f"{choice_in_words(layer)} selects {len(chosen)} layers ({list_paths(chosen)}): give one of them"
            )
        if not self._reader.offers("kernel"):
            raise self._reader.refusal("kernel")
        with forward_pass(self, batch.array):
            kernel = self._reader.kernel(self.model, chosen[0].path, batch.array)
        if kernel is None:
            others = [other for other in table if other.calls and other.path != chosen[0].path]
            convolutions = [other for other in others if "conv" in other.kind.lower()]
            advice = "no other layer here is a convolution"
            if convolutions:
                advice = f"convolutions here: {list_paths(convolutions)}"
            raise BadOption(f"{chosen[0].path!r} ({chosen[0].kind}) has no convolution weights; {advice}")
        return kernel

    def widget(self, images: Any, layers: Any = None) -> Widget:
        """The model's layers for some images as a widget of the notebook: `ls.widget` of this scope.

        >>> import layerscope as ls
        >>> widget = ls.open("demo").widget(ls.demo_photo(), "_conv_stem")
        >>> widget.view["layer"]
        '_conv_stem'
        >>> widget.close()

        Args:
            images: As for `capture`; more can be dropped on the widget.
            layers: The layers that it lists, as for `capture`. `None`: all of them.

        Raises:
            LibraryMissing: anywidget isn't installed.
            LayerNotFound: A layer that doesn't exist.
        """
        from .. import widget  # a public name: surfaces lie above

        return widget(self, images, layers)

    def label(self, index: int) -> str:
        """The label of a class, or its number where there are no labels for it.

        >>> from layerscope.testing import TinyBackend, tiny_model
        >>> scope = Scope(tiny_model(), TinyBackend(), READY, labels=("cat", "dog"))
        >>> scope.label(1), scope.label(2)
        ('dog', 'class 2')

        Args:
            index: The class's index in the model's output.
        """
        if self.labels is not None and index < len(self.labels):
            return self.labels[index]
        return f"class {index}"

    def __repr__(self) -> str:
        source = f" ({self.plan.note})" if self.plan.note and self.preprocess != READY else ""
        framework = self.facts.framework or self._reader.name
        return writable(printable(f"<Scope {self.name} ({framework}), {self.preprocess.describe()}{source}>"))

    def _repr_html_(self) -> str:
        line = f"<div><code>{html.escape(repr(self))}</code></div>"
        table = self._cache.latest()
        if table is None and self.preprocess != READY and prod(self.plan.size or (MOST_PIXELS,)) <= MOST_PIXELS:
            try:
                table = self.layers()
            except LayerscopeError:
                return line
        return line if table is None else line + table._repr_html_()

    def _question(self, layers: Any, channels: Sequence[int] | slice | str | None, target: Any) -> Question:
        if target is not None and not self._reader.gradients:
            raise self._reader.refusal("gradients")
        if isinstance(layers, str | os.PathLike) and is_image(os.fspath(layers)):
            raise BadOption(f"{layers} is an image and no layer: give the image first, then the layer")
        layers = by_path(self, layers)
        resolve_target(self, target)  # what it isn't is said before any image is read
        return Question(layers, channels, target)

    def _runs(
        self,
        images: Any,
        question: Question,
        batch: int | None,
        skipped: list[tuple[str, str]],
        *,
        keeping: bool = False,
    ) -> Iterator[Run]:
        """The forward passes, with their progress; none is kept here. `keeping`: the caller keeps all of their maps."""
        size = optional_whole("batch", batch)
        total = count_images(images, self.preprocess, self.facts.inputs) if keeping or observed() else None
        about = provenance(self)
        cutting = Cutting(self, question, about)
        size = cutting.size(images, size)
        room = Room(total, keeping)
        unread = 0
        with work(total, "images") as step:
            for part in self._batches(images, size, skipped):
                check = partial(self._check, part, room, skipped)
                yield cutting.marked(run_batch(self, part, question, about, check=check))
                room.add(part)
                step(len(part.ids) + len(skipped) - unread)
                unread = len(skipped)

    def _check(self, part: Batch, room: Room, skipped: Sequence[tuple[str, str]], request: Request) -> None:
        """Before a run: whether the model input looks wrong, and the maps fit into memory."""
        warn_of_input(self, part)
        room.check(request, part, len(skipped))

    def _batches(self, images: Any, size: int | None, skipped: list[tuple[str, str]]) -> Iterator[Batch]:
        if self.preprocess != READY and not self.plan.known:
            warnings.warn(f"{self.name}: {self.plan.note}", PreprocessWarning, stacklevel=caller_level())
        yield from read_batches(images, size, self.preprocess, self.plan, skipped=skipped, inputs=self.facts.inputs)

    def _first_batch(self, images: Any) -> Batch:
        """The first of the images; a blank one for `None`."""
        if images is None:
            return blank_batch(self.preprocess, self.plan)
        # Of a ready batch, the backend knows what it may cut.
        return next(self._batches(images, None if self.preprocess == READY else 1, []))


def _join_one(single: Run) -> tuple[dict[str, Any], tuple[str, ...]]:
    return join([single])[0], single.batch.ids
