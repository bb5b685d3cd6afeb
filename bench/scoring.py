"""What methods that run the model again for each channel cost beyond those runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

import layerscope as ls

from .measure import Row, Target, keep_freed_memory, side_by_side

TITLE = "Scores of many runs"
CHANNELS, SIZE, AT_A_TIME = 64, 96, 16
WITHIN = Target("within", 1.5)


def rows() -> Iterator[Row]:
    keep_freed_memory()
    for of in (_torch, _onnx, _jax, _keras):
        try:
            yield from of()
        except Exception:
            # One framework missing leaves the others to be measured, with a message.
            print(f"{of.__name__[1:]} could not be measured:")
            traceback.print_exc(limit=-3)


def _image() -> np.ndarray:
    return np.random.default_rng(0).random((1, SIZE, SIZE, 3)).astype(np.float32)


def _compared(what: str, scope: ls.Scope, image: Any, layer: str, bare: Callable[[int], Any]) -> Iterator[Row]:
    """Against bare passes of as many images in batches of the same size; `bare` runs so many."""
    (fm,) = scope.capture(image, layer).values()
    channels = fm.shape[-1]
    sizes = [min(AT_A_TIME, channels - start) for start in range(0, channels, AT_A_TIME)]
    contestants: dict[str, Callable[[], Any]] = {
        "score": lambda: ls.score_cam(fm, 0),
        "ablation": lambda: ls.ablation_cam(fm, 0),
        "bare": lambda: [bare(size) for size in sizes],
    }
    times = side_by_side(contestants, seconds=6)
    passes = f"bare passes of {channels} images, {AT_A_TIME} at a time"
    yield Row(f"score_cam of {channels} channels, {what}", times["score"], passes, times["bare"], WITHIN)
    yield Row(f"ablation_cam of {channels} channels, {what}", times["ablation"], passes, times["bare"])


def _torch() -> Iterator[Row]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    sizes = (3, 16, CHANNELS, 64, 64)
    steps = [step for before, after in pairwise(sizes) for step in (nn.Conv2d(before, after, 3, 2, 1), nn.ReLU())]
    model = nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    image = torch.from_numpy(_image().transpose(0, 3, 1, 2).copy())

    def bare(count: int) -> Any:
        with torch.no_grad():
            return model(image.expand(count, -1, -1, -1).contiguous())

    yield from _compared("torch", ls.open(model, preprocess=None), image.numpy(), "3", bare)


def _onnx() -> Iterator[Row]:
    import onnxruntime

    scope = ls.open(ls.demo_model())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(ls.demo_model()), options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    inputs = np.random.default_rng(0).random((1, *taken.shape[1:])).astype(np.float32)
    yield from _compared(
        "embedded ONNX model",
        scope,
        ls.demo_photo(),
        "_blocks.0._project_conv",
        lambda count: session.run(None, {taken.name: np.repeat(inputs, count, 0)}),
    )


def _jax() -> Iterator[Row]:
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.first = nnx.Conv(3, 16, (3, 3), 2, rngs=rngs)
            self.masked = nnx.Conv(16, CHANNELS, (3, 3), 2, rngs=rngs)
            self.last = nnx.Conv(CHANNELS, 64, (3, 3), 2, rngs=rngs)
            self.head = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            for layer in (self.first, self.masked, self.last):
                x = nnx.relu(layer(x))
            return self.head(x.mean((1, 2)))

    model, image = Network(), _image()
    scope = ls.open(model, preprocess=None)
    yield from _compared(
        "Flax NNX", scope, image, "masked", lambda count: np.asarray(model(np.repeat(image, count, 0)))
    )


def _keras() -> Iterator[Row]:
    import keras

    layers, image = keras.layers, _image()
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(16, 3, 2, activation="relu"),
            layers.Conv2D(CHANNELS, 3, 2, activation="relu", name="masked"),
            layers.Conv2D(64, 3, 2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    scope = ls.open(model, preprocess=None)
    yield from _compared(
        f"Keras on {keras.backend.backend()}",
        scope,
        image,
        "masked",
        lambda count: np.asarray(model(np.repeat(image, count, 0), training=False)),
    )
