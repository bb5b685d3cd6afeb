"""`Recorder`: draws layers of a model for the same images, whenever it is called."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checks import whole
from ..combinations.registry import combined, row_of, rule_named, target_of_capture
from ..core.feature_map import FeatureMap
from ..errors import BadOption, DrawingFailed, caller_level, one_line
from ..picture.picture import Picture
from ..picture.tensorboard import to_tensorboard
from ..plots.file_names import Paths, files_of, safe
from ..plots.show import draw as draw_usual
from ..scope.objects import by_path
from ..scope.open import scope_of
from ..scope.target import top_classes
from ..writing import make_folder


class Recorder:
    """Draws layers of a model for the same images, whenever `step` is called.

    A layer that doesn't exist raises `LayerNotFound` here, at once. A drawing that fails later only gives a
    `DrawingFailed` warning.

    >>> import tempfile
    >>> import numpy as np
    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> image = np.zeros((1, 3, 8, 8), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recorder = Recorder(tiny_model(), image, "conv1", folder, preprocess=None, backend=TinyBackend())
    ...     [path.name for step in (1, 2) for path in recorder.step(step)]
    ['epoch-0001-conv1.png', 'epoch-0002-conv1.png']

    Args:
        model: A model or a `Scope`.
        images: As for `Scope.capture`.
        layers: As for `Scope.capture`.
        folder: Where one file per layer and image is written, such as `epoch-0003-conv1.png`.
        writer: A `SummaryWriter`, or a folder, for the same pictures as TensorBoard image summaries.
        every: Draw every so many steps.
        combine: A combination by name, or a function of a feature map. By default every channel is a tile.
        target: The class of the combination, as for `show`; by default each image's top-1 class at that step.
        draw: A function from `FeatureMap` (of one image) to `Picture`, such as `ls.sheet`, in place of the usual one.
        weights: As for `open`, like all that follow; where `model` is a `Scope`, it has them.
        preprocess: How the images become the model's input.
        size: The model's input size, where the model doesn't fix it.
        labels: Class names, or a file with one per line.
        backend: The backend that reads the model.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        LayerNotFound: A layer that doesn't exist.
        BadOption: Neither `folder` nor `writer`, or another option is invalid.
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
        weights: str | os.PathLike[str] | None = None,
        preprocess: Any = "auto",
        size: int | Sequence[int] | None = None,
        labels: str | os.PathLike[str] | Sequence[str] | None = None,
        backend: Any = None,
        trust: bool = False,
    ) -> None:
        check_options(folder=folder, writer=writer, every=every, combine=combine, draw=draw)
        opening = {"weights": weights, "preprocess": preprocess, "size": size, "labels": labels}
        scope = scope_of(model, **opening, backend=backend, trust=trust)
        # The statistics of a BatchNorm that is still being trained tell nothing of the preprocessing.
        self.scope = replace(scope, check_input=False)
        self.images, self.layers, self.every = images, by_path(self.scope, layers), every
        self.folder = None if folder is None else Path(folder)
        self.writer, self.combine, self.target, self.draw = writer, combine, target, draw
        # The dry run: a wrong name raises now, not after the first epoch.
        self.scope.layers(images).choose(self.layers)

    def step(self, number: int) -> tuple[Path, ...]:
        """The files written for this step; none where `number` isn't a multiple of `every`.

        Args:
            number: The number of the step or epoch; the files carry it.
        """
        if number % self.every:
            return ()
        try:
            pictures = self.pictures()
            if self.writer is not None:
                to_tensorboard({"/".join(key): picture for key, picture in pictures.items()}, self.writer, step=number)
            return self._save(pictures, number) if self.folder is not None else ()
        except Exception as error:
            # Hours of training must not end for a picture, whatever the model, the disk or a drawing of the user's raises.
            warnings.warn(
                f"step {number} was not drawn: {type(error).__name__}: {one_line(error)}",
                DrawingFailed,
                stacklevel=caller_level(),
            )
            return ()

    def pictures(self) -> dict[tuple[str, ...], Picture]:
        """The current pictures: (layer,) -> picture, or (layer, image) where there are several images."""
        pictures: dict[tuple[str, ...], Picture] = {}
        for target, images in self._targets():
            maps = self.scope.capture(self.images, self.layers, target=target_of_capture(self.combine, target))
            for path, fm in maps.items():
                for one in self._combine(fm, target, images):
                    key = (path or "output", *one.ids) if len(fm.ids) > 1 else (path or "output",)
                    pictures[key] = draw_usual(one) if self.draw is None else self.draw(one)
        return pictures

    def _targets(self) -> list[tuple[Any, list[int] | None]]:
        """Each target with the numbers of the images it is for, `None` for all; by default the top-1 class of each image."""
        row = row_of(self.combine)
        if self.target is not None or row is None or not (row.target or row.model):
            return [(self.target, None)]
        (output,) = self.scope.capture(self.images, "output").values()
        classes = top_classes(output)
        return [(top, [image for image, index in enumerate(classes) if index == top]) for top in dict.fromkeys(classes)]

    def _combine(self, fm: FeatureMap, target: Any, images: list[int] | None) -> Iterator[FeatureMap]:
        """The combination, an image at a time."""
        if images is None:
            whole = combined(fm, self.combine, target)
            yield from (whole.image(image) for image in range(len(whole.ids)))
            return
        for image in images:
            # A layer whose rows are not images may have fewer of them.
            if image < len(fm.ids):
                yield combined(fm.image(image), self.combine, target)

    def _save(self, pictures: Mapping[tuple[str, ...], Picture], number: int) -> tuple[Path, ...]:
        assert self.folder is not None
        folder, paths = make_folder(self.folder), Paths(files_of(self.images))
        written = []
        for key, picture in pictures.items():
            name = "-".join((f"epoch-{number:04d}", *map(safe, key)))
            written.append(picture.save(paths.free(folder, name, ".png", key)))
        return tuple(written)


def check_options(*, folder: Any, writer: Any, every: Any, combine: Any, draw: Any) -> None:
    """Raises `BadOption` for options that are wrong in themselves, whatever the model."""
    if folder is None and writer is None:
        raise BadOption("nothing would be kept: give folder=, writer= or both")
    whole("every", every)
    if draw is not None and not callable(draw):
        raise BadOption(f"draw={draw!r}: use a function from FeatureMap to Picture, such as ls.sheet")
    if isinstance(combine, str):
        rule_named(combine)
