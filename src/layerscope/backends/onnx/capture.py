"""Capturing layers of an ONNX graph: one run of the part that ends at them, one image at a time where the model takes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadOption
from ..graph.run import join, singles
from ..protocol import Captured, Target
from .cut import Replacement
from .model import OnnxModel
from .run import Feeds, Session, feeds_of
from .shapes import axes_on_the_way

EXPORT = "export the model with a free batch axis"


def capture(model: OnnxModel, batch: Any, paths: Sequence[str], target: Target | None) -> dict[str, Captured]:
    """What the named layers produce for a batch, by name, in execution order; `target` is `None`."""
    outputs = model.find(paths)
    tensors = tuple(dict.fromkeys(output.tensor for output in outputs.values()))
    if not tensors:
        return {}
    session, values = run(model, tensors, feeds_of(model.graph, batch), {})
    by_tensor = {
        tensor: Captured(value, dtype=dtype)
        for tensor, value, dtype in zip(tensors, values, session.dtypes, strict=True)
    }
    return {name: by_tensor[output.tensor] for name, output in outputs.items()}


def run(
    model: OnnxModel, tensors: tuple[str, ...], feeds: Feeds, fixed: Mapping[Replacement, np.ndarray]
) -> tuple[Session, list[np.ndarray]]:
    """The tensors for a batch; `fixed` are the values of tensors on the way."""
    session = model.session(tensors, tuple(fixed))
    session.check()
    images = singles(model.graph.fixed, feeds, EXPORT)
    if images is None:
        return session, session.run({**feeds, **{replacement.name: value for replacement, value in fixed.items()}})
    axes = axes_on_the_way(model, feeds, [*tensors, *(replacement.tensor for replacement in fixed)])
    for replacement, value in fixed.items():
        letters = axes.axes[replacement.tensor]
        if "b" not in letters:
            raise BadOption(
                f"the model takes one image at a time, and {replacement.tensor!r} has no batch axis: change one image at a time"
            )
        for image, row in zip(images, np.split(value, len(images), letters.index("b")), strict=True):
            image[replacement.name] = row
    return session, join([session.run(image) for image in images], tensors, axes, str)
