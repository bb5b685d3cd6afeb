"""`Scope`: a model with everything needed to look into it. Here the backends meet the core."""

from __future__ import annotations

import operator
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends.protocol import Backend, Captured, Evidence, Facts, Head, Kernel, Target
from ..backends.registry import adapt
from ..core.layer import Layer, list_paths
from ..core.layer_table import LayerTable
from ..errors import (
    BadOption,
    CaptureTooLarge,
    LayerscopeError,
    ModelNotReadable,
    PreprocessWarning,
    caller_level,
    first_line,
    near,
)
from ..inputs.input_check import doubt, in_parts
from ..inputs.photo import as_array
from ..inputs.preprocess import InputPlan
from ..inputs.recipe import READY, Recipe, as_recipe
from . import batches
from .batches import Fed, described
from .capture import Maps, Run, announce, joined
from .memory import short_of_memory
from .rerun import Rerun


@dataclass(frozen=True)
class Prediction:
    """One class that the model sees: its label, its index, its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, eq=False)
class Scope:
    """A model to look into: `model` and its `backend`, the `preprocess`ing, the class `labels`. Made by `open`.

    With `check_input`, the first images are checked once for preprocessing that doesn't fit the model.
    """

    model: Any
    backend: Backend
    preprocess: Recipe
    labels: tuple[str, ...] | None = None
    plan: InputPlan = field(default_factory=InputPlan)
    facts: Facts = field(default_factory=lambda: Facts(""))
    name: str = ""
    check_input: bool = True
    _tables: dict[Any, LayerTable] = field(default_factory=dict, repr=False)
    _checked: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", adapt(self.backend))

    def layers(self, images: Any = None) -> LayerTable:
        """The table of the model's layers, with the shapes for the first of `images` (default: a blank image)."""
        fed = batches.blank(self.preprocess, self.plan) if images is None else next(self._fed(images, 1, []))
        return self.table_for(fed)

    def explained(self, word: str) -> str:
        """Which layer `last` was in the latest table; `""` before any was made. Runs nothing."""
        table = next(reversed(self._tables.values()), None)
        return table.explained(word) if table is not None else ""

    def capture(
        self,
        images: Any,
        layers: Any = "last",
        *,
        target: Any = None,
        channels: Sequence[int] | slice | str | None = None,
        batch: int | None = None,
    ) -> Maps:
        """The feature maps of `layers` for `images`, path -> `FeatureMap` in execution order.

        One forward pass a batch, which stops after the last layer it needs. `images`: path(s), a folder, a glob, PIL
        image(s), array(s), bytes; or, with `preprocess=None`, a batch that is ready for the model (a tuple or dict of
        them for several inputs). `layers`: see `LayerTable.choose`. `channels` keeps only these (true numbers). `batch`:
        how many images at a time. Everything stays in memory; `stream` gives a batch at a time instead.

        Raises `LayerNotFound`, `LayerNotCalled`, `ImageNotReadable`, `GradientsUnavailable`, `ModelNotReadable`.
        """
        skipped: list[tuple[str, str]] = []
        parts = list(self._runs(images, layers, target, channels, batch, skipped, keeping=True))
        origin = Rerun.of(self, parts, self.plan.axes, self._target(target))
        maps = joined(parts)
        return Maps({path: origin.attached(fm, path) for path, fm in maps.items()} if origin else maps, skipped)

    def stream(
        self,
        images: Any,
        layers: Any = "last",
        *,
        target: Any = None,
        channels: Sequence[int] | slice | str | None = None,
        batch: int = 32,
    ) -> Iterator[Maps]:
        """As `capture`, but yields the `Maps` of a batch at a time and keeps none: memory stays flat."""
        skipped: list[tuple[str, str]] = []
        told = 0
        for part in self._runs(images, layers, target, channels, batch, skipped):
            yield Maps(joined([part]), skipped[told:])
            told = len(skipped)
        if told < len(skipped):
            yield Maps({}, skipped[told:])

    def predict(self, images: Any, top: int = 5) -> list[list[Prediction]]:
        """The model's own `top` classes for each image, the likeliest first.

        Scores that aren't probabilities yet (not all from 0 to 1 with the sum 1) go through a softmax.
        """
        (output,) = self.capture(images, "output").values()
        if output.values.ndim != 2 or output.rows != "image":
            raise BadOption(f"the model's output has the shape {output.shape}, which is not a list of class scores")
        scores = output.values.astype(np.float64)
        if not ((scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3)):
            scores = np.exp(scores - scores.max(1, keepdims=True))
            scores /= scores.sum(1, keepdims=True)
        ranks = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(self.label(index), int(index), float(row[index])) for index in rank]
            for row, rank in zip(scores, ranks, strict=True)
        ]

    def head(self, images: Any = None) -> Head | None:
        """The dense layer that runs last, with its weights `[class, channel]` and bias; `None` where there is none.

        `images` (default: a blank one) are what the model is run on; the first of them is enough.
        """
        if not self.backend.offers("head"):
            return None
        fed = batches.blank(self.preprocess, self.plan) if images is None else next(self._fed(images, 1, []))
        with self.running(fed.array):
            return self.backend.head(self.model, fed.array)

    def kernel(self, layer: Any, images: Any = None) -> Kernel:
        """The weights of a convolution as they are now, with the letters of their axes; `ls.kernels` draws them.

        `images` (default: a blank one) are for models whose input isn't known. Raises `BadOption` for layers that aren't
        convolutions with weights of their own, with the names of those that are.
        """
        if images is None and self.preprocess == READY:
            raise BadOption(
                "the layers are found by a run, and preprocess=None: give images=, a batch ready for the model"
            )
        fed = batches.blank(self.preprocess, self.plan) if images is None else next(self._fed(images, 1, []))
        table = self.table_for(fed)
        chosen = table.choose(layer)
        if len(chosen) != 1:
            raise BadOption(f"{layer!r} names {len(chosen)} layers ({list_paths(chosen)}): weights are those of one")
        if not self.backend.offers("kernel"):
            raise self.backend.refusal("kernel")
        with self.running(fed.array):
            found = self.backend.kernel(self.model, chosen[0].path, fed.array)
        if found is None:
            convolutions = [each for each in table if each.calls and "conv" in each.kind.lower()]
            have = (
                f"convolutions here: {list_paths(convolutions)}" if convolutions else "no layer here is a convolution"
            )
            raise BadOption(f"{chosen[0].path!r} ({chosen[0].kind}) has no weights of a convolution to show; {have}")
        return found

    def label(self, index: int) -> str:
        """The label of a class, or its number where there are no labels for it."""
        if self.labels is not None and index < len(self.labels):
            return self.labels[index]
        return f"class {index}"

    def __repr__(self) -> str:
        source = f" ({self.plan.note})" if self.plan.note and self.preprocess != READY else ""
        return (
            f"<Scope {self.name} ({self.facts.framework or self.backend.name}), {self.preprocess.describe()}{source}>"
        )

    def _runs(
        self,
        images: Any,
        layers: Any,
        target: Any,
        channels: Sequence[int] | slice | str | None,
        batch: int | None,
        skipped: list[tuple[str, str]],
        keeping: bool = False,
    ) -> Iterator[Run]:
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise BadOption(f"batch={batch!r}: use a whole number from 1")
        aim = self._target(target)
        count, told = batches.count(images, self.preprocess) if keeping else None, False
        for fed in self._fed(images, batch, skipped):
            table = self.table_for(fed)
            chosen = table.choose(layers)
            self._check(fed)
            run = Run(self.provenance(), fed, chosen, channels, self.said(aim))
            run.labels = self._labelled(table, chosen)
            if not told:
                announce(run, len(fed.ids) if count is None else count, kept=count is not None)
                told = True
            run.captured = self.ran(run, table, aim)
            yield run

    def _labelled(self, table: LayerTable, chosen: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
        """The names of the channels of the model's output, where there is a label for each of them."""
        if not self.labels:
            return {}
        fitting = [each for each in chosen if each.channels == len(self.labels) and max(each.spatial, default=1) == 1]
        if not fitting:
            return {}
        outputs = {each.path for each in table.choose("output")}
        return {each.path: self.labels for each in fitting if each.path in outputs}

    def _check(self, fed: Fed) -> None:
        """Warn once if the values fed look wrong for the model."""
        if not self.check_input or self._checked:
            return
        single = not isinstance(fed.array, Mapping | tuple | list)
        said = ""
        if single and self.plan.dtype in ("float16", "float32", "float64"):
            unsaid = self.facts.recipe is None or self.facts.assumed
            stated = None if unsaid else as_recipe(self.facts.recipe)
            said = doubt(as_array(fed.array), self.plan.axes, self.preprocess, stated, self._evidence)
        self._checked.append(said)
        if said:
            warnings.warn(f"{self.name}: {said}", PreprocessWarning, stacklevel=caller_level())

    def _evidence(self, images: np.ndarray) -> Evidence | None:
        """What the backend finds at the first BatchNorm for these images."""
        if not self.backend.offers("evidence"):
            return None

        def seen(given: np.ndarray) -> Evidence | None:
            with self.running(given):
                return self.backend.evidence(self.model, given)

        return in_parts(images.astype(self.plan.dtype), self.plan.axes.index("b"), self.plan.batch, seen)

    def ran(self, run: Run, table: LayerTable, target: Target | None) -> dict[str, Captured]:
        """What the layers of one run gave, path -> `Captured`."""
        asked = {table.single(path): path for path in run.chosen}
        picks = run.picks() if self.backend.picks else {}
        options: dict[str, Any] = (
            {"picks": {ask: picks[path] for ask, path in asked.items() if path in picks}} if picks else {}
        )
        with self.running(run.fed.array):
            found = self.backend.capture(self.model, run.fed.array, list(asked), target, **options)
        return {asked[path]: run.kept(asked[path], each, asked[path] in picks) for path, each in found.items()}

    def table_for(self, fed: Fed) -> LayerTable:
        """The table of layers for a batch; made once for each size and type of input."""
        key = batches.signature(fed.array)
        if key not in self._tables:
            with self.running(fed.array):
                rows = self.backend.layers(self.model, fed.array)
            self._tables[key] = LayerTable(rows, f"{self.name} · {self.facts.framework or self.backend.name}")
        return self._tables[key]

    @contextmanager
    def running(self, array: Any) -> Iterator[None]:
        """Around a forward pass: random state kept, the model's own errors said with what was fed."""
        states = (random.getstate(), np.random.get_state()) if self.backend.random else None
        try:
            yield
        except LayerscopeError:
            raise
        except Exception as error:
            if short_of_memory(error):
                raise CaptureTooLarge(
                    f"{self.name}: memory ran out in the forward pass on {described(array)}: {type(error).__name__}:"
                    f" {first_line(error)}."
                    " Use a smaller batch=, fewer layers or some channels="
                ) from error
            # Whatever a framework or the user's model raises; the cause is chained.
            first = first_line(error)
            raise ModelNotReadable(
                f"{self.name}: the forward pass failed on an input of {described(array)}: {type(error).__name__}: {first}."
                " If the size or type is wrong, size= and preprocess= change it"
            ) from error
        finally:
            if states is not None:
                random.setstate(states[0])
                np.random.set_state(states[1])

    def _fed(self, images: Any, batch: int | None, skipped: list[tuple[str, str]]) -> Iterator[Fed]:
        if self.preprocess != READY and not self.plan.known:
            warnings.warn(f"{self.name}: {self.plan.note}", PreprocessWarning, stacklevel=caller_level())
        yield from batches.batches(images, batch, skipped, self.preprocess, self.plan)

    def _target(self, target: Any) -> Target | None:
        if target is not None and not self.backend.gradients:
            raise self.backend.refusal("gradients")
        return self.aim(target)

    def aim(self, target: Any) -> Target | None:
        """A label or a whole number as a class index; a function as it is. Raises `BadOption` with near labels."""
        if isinstance(target, str):
            if self.labels is None or target not in self.labels:
                raise BadOption(f"no class {target!r}.{near(target, self.labels or ())} Use a class index")
            return self.labels.index(target)
        if target is None or callable(target):
            return target
        try:
            if isinstance(target, bool):
                raise TypeError
            return operator.index(target)
        except TypeError:
            raise BadOption(f"target={target!r}: give a class index, a label, or a function of the output") from None

    def said(self, aim: Target | None) -> str:
        """The target in words, as it stands on pictures."""
        if aim is None:
            return ""
        if callable(aim):
            return str(getattr(aim, "__name__", type(aim).__name__)).strip("<>")
        return self.label(aim) if self.labels is None else f"class {aim}, {self.label(aim)}"

    def provenance(self) -> dict[str, Any]:
        """What a picture must remember of model and preprocessing."""
        # Taken anew at each capture: weights may have been trained since the last one.
        digest = self.backend.digest(self.model) if self.backend.offers("digest") else self.facts.digest
        return {
            "model": self.name,
            "model_digest": digest,
            "framework": self.facts.framework or self.backend.name,
            "preprocess": self.preprocess.describe(),
            "preprocess_source": self.plan.note,
        }
