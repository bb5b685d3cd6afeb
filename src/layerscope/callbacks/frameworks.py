"""`KerasCallback` and `LightningCallback`: a `Recorder` in the training loops of Keras, tf_keras and Lightning."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..core.feature_map import FeatureMap
from ..errors import BackendMissing
from ..picture.picture import Picture
from .recorder import Recorder, check_options


def KerasCallback(
    images: Any,
    layers: Any = "last",
    *,
    folder: str | os.PathLike[str] | None = None,
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
) -> Any:
    """A `keras.callbacks.Callback` that draws after each epoch; of tf_keras where that is imported.

    Epochs count from 1, as Keras prints them. A layer that doesn't exist raises `LayerNotFound` when training begins.

    ```python
    model.fit(x, y, epochs=20, callbacks=[ls.callbacks.KerasCallback(x[:1], "conv2", folder="maps", preprocess=None)])
    ```

    Args:
        images: As for `Scope.capture`.
        layers: As for `Scope.capture`.
        folder: Where one file per layer and image is written, such as `epoch-0003-conv1.png`.
        writer: A `SummaryWriter`, or a folder, for the same pictures as TensorBoard image summaries.
        every: Draw every so many epochs.
        combine: As for `Recorder`, like all that follow.
        target: The class of the combination.
        draw: A function from `FeatureMap` (of one image) to `Picture`.
        weights: A file of weights for a model that is built, not loaded.
        preprocess: How the images become the model's input.
        size: The model's input size, where the model doesn't fix it.
        labels: Class names, or a file with one per line.
        backend: The backend that reads the model.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        BackendMissing: Keras isn't installed.
        BadOption: Neither `folder` nor `writer`, or another option is invalid.
    """
    check_options(folder=folder, writer=writer, every=every, combine=combine, draw=draw)
    make_recorder = partial(
        Recorder,
        images=images,
        layers=layers,
        folder=folder,
        writer=writer,
        every=every,
        combine=combine,
        target=target,
        draw=draw,
        weights=weights,
        preprocess=preprocess,
        size=size,
        labels=labels,
        backend=backend,
        trust=trust,
    )

    class Drawing(*_keras_bases()):  # type: ignore[misc] # the library's class is known at run time only
        """Draws layers after each epoch."""

        recorder: Recorder

        def on_train_begin(self, logs: Any = None) -> None:
            self.recorder = make_recorder(self.model)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            # `self.model` first: on JAX it brings the trained weights back into the model's variables.
            if self.model is not None:
                self.recorder.step(epoch + 1)

    return Drawing()


def LightningCallback(
    images: Any,
    layers: Any = "last",
    *,
    part: str = "",
    folder: str | os.PathLike[str] | None = None,
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
) -> Any:
    """A `Callback` of Lightning (`lightning` or `pytorch_lightning`, whichever is imported) that draws after each epoch.

    Epochs count from 1. Of several processes only the first draws. A layer that doesn't exist raises `LayerNotFound`
    when training begins.

    ```python
    trainer = Trainer(callbacks=[ls.callbacks.LightningCallback(image, "net.conv2", folder="maps")])
    ```

    Args:
        images: As for `Scope.capture`.
        layers: As for `Scope.capture`.
        part: The submodule to look into, where the LightningModule has no `forward` of its own.
        folder: Where one file per layer and image is written, such as `epoch-0003-conv1.png`.
        writer: A `SummaryWriter`, or a folder, for the same pictures as TensorBoard image summaries.
        every: Draw every so many epochs.
        combine: As for `Recorder`, like all that follow.
        target: The class of the combination.
        draw: A function from `FeatureMap` (of one image) to `Picture`.
        weights: A file of weights for a model that is built, not loaded.
        preprocess: How the images become the model's input.
        size: The model's input size, where the model doesn't fix it.
        labels: Class names, or a file with one per line.
        backend: The backend that reads the model.
        trust: Whether the model's file may run code while it is loaded.

    Raises:
        BackendMissing: Lightning isn't installed.
        BadOption: Neither `folder` nor `writer`, or another option is invalid.
    """
    check_options(folder=folder, writer=writer, every=every, combine=combine, draw=draw)
    make_recorder = partial(
        Recorder,
        images=images,
        layers=layers,
        folder=folder,
        writer=writer,
        every=every,
        combine=combine,
        target=target,
        draw=draw,
        weights=weights,
        preprocess=preprocess,
        size=size,
        labels=labels,
        backend=backend,
        trust=trust,
    )

    class Drawing(*_lightning_bases()):  # type: ignore[misc] # the library's class is known at run time only
        """Draws layers after each epoch."""

        recorder: Recorder | None = None

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                self.recorder = make_recorder(pl_module.get_submodule(part))

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if self.recorder is not None:
                self.recorder.step(trainer.current_epoch + 1)

    return Drawing()


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
    """The base of each Lightning that is imported: the same library under two names, which share no classes."""
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
