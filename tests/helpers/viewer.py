"""Sessions for tests of the viewer: models in numpy whose layers have every shape, and what a page reads from a reply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import layerscope as ls
from layerscope.core.layer import Layer
from layerscope.testing.tiny import Step, TinyBackend, TinyModel, tiny_model
from layerscope.viewer.encoding import decode
from layerscope.viewer.payload import unpack
from layerscope.viewer.session import Reply, Session

PHOTO = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
KINDS = {
    "map": ["row", "column"],
    "volume": ["depth", "row", "column"],
    "sequence": ["step"],
    "vector": [],
    "scalar": [],
    "attention": ["query", "key"],
    "tokens": ["row", "column"],
    "windows": ["depth", "row", "column"],
    "boxes": ["step"],
}


class ShapesBackend(TinyBackend):
    """Tokens and attention weights know their grid and the token in front of it."""

    def layers(self, model: TinyModel, batch: Any) -> list[Layer]:
        rows = super().layers(model, batch)
        on_grid = {"tokens", "attention"}
        return [replace(row, grid=(4, 4), prefix=("cls",)) if row.path in on_grid else row for row in rows]


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def shapes_model() -> TinyModel:
    """One layer of each kind; what they hold depends on the image."""

    def times(*shape: int, rows: int = 1) -> Any:
        def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
            strength = x.reshape(len(x), -1).mean(1)
            values: NDArray[np.float32] = np.multiply.outer(strength.repeat(rows), numbers(*shape)).astype(np.float32)
            return values

        return run

    def softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
        raised: NDArray[np.float32] = np.exp(times(2, 17, 17)(x))
        return raised / raised.sum(-1, keepdims=True)

    return TinyModel(
        (
            Step("map", "Conv", "bchw", times(4, 8, 8)),
            Step("volume", "Conv3D", "bcdhw", times(3, 5, 4, 6)),
            Step("sequence", "Conv1D", "bcn", times(3, 9)),
            Step("vector", "Dense", "bc", times(6)),
            Step("scalar", "Dense", "bc", times(1)),
            Step("attention", "AttentionMap", "bcqk", softmax),
            Step("tokens", "Block", "bnc", times(17, 5)),
            Step("windows", "Window", "bchw", times(2, 3, 3, rows=4)),
            Step("boxes", "Head", "bc", times(4, rows=7)),
        ),
        unused=(Step("spare", "Conv", "bchw", times(1)),),
    )


def shapes_session(images: Any = PHOTO, **options: Any) -> Session:
    return Session(ls.open(shapes_model(), backend=ShapesBackend(), preprocess="unit", size=8), images, **options)


def tiny_session(images: Any = PHOTO, **options: Any) -> Session:
    return Session(ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8), images, **options)


def id_of(session: Session, path: str) -> str:
    """The page's id of a layer."""
    layers = session.answer("manifest").result["layers"]
    return next(str(layer["id"]) for layer in layers if layer["path"] == path)


def read(reply: Reply) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    return unpack(reply.buffers[0])


def values_of(reply: Reply) -> NDArray[np.float32]:
    """`[*spatial, channel]` as a page reads them."""
    meta, tensors = read(reply)
    return np.moveaxis(decode(tensors["values"], meta["exponent"], tensors.get("offsets")), 0, -1)
