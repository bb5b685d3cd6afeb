"""Pictures of chosen layers while a model trains: in a loop of one's own, in Keras's `fit`, in Lightning's `Trainer`.

```python
model.fit(x, y, epochs=20, callbacks=[ls.callbacks.KerasCallback(x[:1], "conv2", folder="maps", preprocess=None)])
trainer = Trainer(callbacks=[ls.callbacks.LightningCallback(image, "net.conv2", folder="maps")])
```

Nothing of the training changes: weights, optimizer, gradients, random state and train/eval flags are as they would be without.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .combinations.registry import combined, row_of, rule_named, target_of_capture
from .core.feature_map import FeatureMap
from .errors import BackendMissing, BadOption, DrawingFailed, caller_level
from .picture.picture import Picture
from .picture.tensorboard import to_tensorboard
from .plots.batch_job import safe
from .plots.show import draw as usual
from .scope.open import open as open_scope
from .scope.scope import Scope
from .scope.target import top_classes


class Recorder:
    """Draws layers of a model for the same images, whenever `step` is called.

    `model`: a model or a `Scope`. `images` and `layers` as for `Scope.capture`. `folder` gets a file for each layer and image,
    `epoch-0003-conv1.png`; `writer` (a `SummaryWriter` or a folder) the same as image summaries. `every`: draw each so many
    steps. `combine`: a combination by name or a function, `target` its class, as for `show`; by default each image has the
    first class that the model finds in it then. `draw`: a function from `FeatureMap` (of one image) to `Picture`, such as
    `ls.sheet`, in place of the usual one. Other options are `open`'s.

    A layer that doesn't exist raises `LayerNotFound` here, at once. A drawing that fails later gives a `DrawingFailed` warning.

    ```python
    recorder = ls.callbacks.Recorder(model, "cat.jpg", ["conv1", "conv4"], folder="maps")
    for epoch in range(20):
        train(model)
        recorder.step(epoch + 1)
    ```
    """

    def __init__(
        self,
        model: Any,
        images: Any,
        layers: Any = "last",
        folder: str | os.PathLike[str] | None = None,
        *,
        writer: Any = None,
        every: int = 1,
        combine: Any = None,
        target: Any = None,
        draw: Callable[[FeatureMap], Picture] | None = None,
        **opening: Any,
    ) -> None:
        _checked(folder, writer, every, combine, draw)
        scope = model if isinstance(model, Scope) else open_scope(model, **opening)
        # The statistics of a BatchNorm that is still being trained tell nothing of the preprocessing.
        self.scope = replace(scope, check_input=False)
        self.images, self.layers, self.every = images, layers, every
        self.folder = None if folder is None else Path(folder)
        self.writer, self.combine, self.target, self.draw = writer, combine, target, draw
        # The dry run: a wrong name is told now, not after the first epoch.
        self.scope.layers(images).choose(layers)

    def step(self, number: int) -> tuple[Path, ...]:
        """Draw, unless `number` isn't a multiple of `every`. Returns the files written."""
        if number % self.every:
            return ()
        try:
            pictures = self.pictures()
            if self.writer is not None:
                to_tensorboard({"/".join(key): each for key, each in pictures.items()}, self.writer, step=number)
            return self._save(pictures, number) if self.folder is not None else ()
        except Exception as error:
            # Hours of training must not end for a picture, whatever the model, the disk or a drawing of the user's raises.
            warnings.warn(
                f"step {number} was not drawn: {type(error).__name__}: {' '.join(str(error).split())}",
                DrawingFailed,
                stacklevel=caller_level(),
            )
            return ()

    def pictures(self) -> dict[tuple[str, ...], Picture]:
        """The pictures of now: (layer,) -> picture, or (layer, image) where there are several images."""
        found: dict[tuple[str, ...], Picture] = {}
        for target, mine in self._targets():
            asked = target_of_capture(self.combine, target)
            for path, fm in self.scope.capture(self.images, self.layers, target=asked).items():
                for one in self._combined(fm, target, mine):
                    key = (path or "output", *one.ids) if len(fm.ids) > 1 else (path or "output",)
                    found[key] = usual(one) if self.draw is None else self.draw(one)
        return found

    def _targets(self) -> list[tuple[Any, list[int] | None]]:
        """Each target with the numbers of the images it is for, `None` for all: where none is given, each one's first class."""
        row = row_of(self.combine)
        if self.target is not None or row is None or not (row.target or row.model):
            return [(self.target, None)]
        (output,) = self.scope.capture(self.images, "output").values()
        classes = top_classes(output)
        return [(aim, [at for at, each in enumerate(classes) if each == aim]) for aim in dict.fromkeys(classes)]

    def _combined(self, fm: FeatureMap, target: Any, mine: list[int] | None) -> Iterator[FeatureMap]:
        """The combination, an image at a time."""
        if mine is None:
            whole = combined(fm, self.combine, target)
            yield from (whole.image(at) for at in range(len(whole.ids)))
            return
        for at in mine:
            # A layer whose rows are not images may have fewer of them.
            if at < len(fm.ids):
                yield combined(fm.image(at), self.combine, target)

    def _save(self, pictures: Mapping[tuple[str, ...], Picture], number: int) -> tuple[Path, ...]:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()
        written = []
        for key, picture in pictures.items():
            name = base = "-".join((f"epoch-{number:04d}", *map(safe, key)))
            while name in taken:
                name = f"{base}-{len(taken) + 1}"
            taken.add(name)
            written.append(picture.save(self.folder / f"{name}.png"))
        return tuple(written)


def KerasCallback(images: Any, layers: Any = "last", **options: Any) -> Any:
    """A `keras.callbacks.Callback` that draws after each epoch; of tf_keras where that is what's imported.

    `images`, `layers` and the options are those of `Recorder`. Epochs count from 1, as Keras prints them. A layer that
    doesn't exist raises `LayerNotFound` when training begins.
    """
    _known(options)

    class Drawing(*_keras_bases()):  # type: ignore[misc] # the library's class is known at run time only
        """Draws layers after each epoch."""

        recorder: Recorder

        def on_train_begin(self, logs: Any = None) -> None:
            self.recorder = Recorder(self.model, images, layers, **options)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            # `self.model` first: on JAX it brings the trained weights back into the model's variables.
            if self.model is not None:
                self.recorder.step(epoch + 1)

    return Drawing()


def LightningCallback(images: Any, layers: Any = "last", *, part: str = "", **options: Any) -> Any:
    """A `Callback` of Lightning (`lightning` or `pytorch_lightning`, whichever is imported) that draws after each epoch.

    `images`, `layers` and the options are those of `Recorder`. `part` names a submodule to look into, where the
    LightningModule has no `forward` of its own. Epochs count from 1. Of several processes the first one draws. A layer
    that doesn't exist raises `LayerNotFound` when training begins.
    """
    _known(options)

    class Drawing(*_lightning_bases()):  # type: ignore[misc] # the library's class is known at run time only
        """Draws layers after each epoch."""

        recorder: Recorder | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                self.recorder = Recorder(pl_module.get_submodule(part), images, layers, **options)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if self.recorder is not None:
                self.recorder.step(trainer.current_epoch + 1)

    return Drawing()


def _checked(folder: Any, writer: Any, every: Any, combine: Any, draw: Any) -> None:
    if folder is None and writer is None:
        raise BadOption("nothing would be kept: give folder=, writer= or both")
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise BadOption(f"every={every!r}: use a whole number from 1")
    if draw is not None and not callable(draw):
        raise BadOption(f"draw={draw!r}: use a function from FeatureMap to Picture, such as ls.sheet")
    if isinstance(combine, str):
        rule_named(combine)


def _known(options: Mapping[str, Any]) -> None:
    """Options that are wrong in themselves are told where the callback is made."""
    names = ("folder", "writer", "every", "combine", "draw")
    given = {name: options.get(name) for name in names}
    _checked(given["folder"], given["writer"], options.get("every", 1), given["combine"], given["draw"])


def _keras_bases() -> tuple[type, ...]:
    """The base of the Keras that is imported; of both where both are, so that either takes the callback."""
    bases: list[type] = []
    if "keras" in sys.modules or "tf_keras" not in sys.modules:
        try:
            from keras.callbacks import Callback
        except ImportError as error:
            raise BackendMissing(f"KerasCallback needs keras ({error}): pip install keras") from error
        bases.append(Callback)
    if "tf_keras" in sys.modules:
        from tf_keras.callbacks import Callback as Older

        bases.append(Older)
    return tuple(bases)


def _lightning_bases() -> tuple[type, ...]:
    """The base of each Lightning that is imported: the same library goes by two names, which don't know each other."""
    bases: list[type] = []
    if "lightning" in sys.modules:
        from lightning.pytorch import Callback

        bases.append(Callback)
    if "pytorch_lightning" in sys.modules or not bases:
        try:
            from pytorch_lightning import Callback as Older
        except ImportError as error:
            raise BackendMissing(
                f"LightningCallback needs Lightning ({error}): pip install lightning, and import it first"
            ) from error
        bases.append(Older)
    return tuple(bases)
