"""`Origin`: what a feature map asks of the model that it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from .feature_map import FeatureMap


class Origin(Protocol):
    """The model and the inputs that a map came from, for combinations that run the model again.

    `inputs` is the model input, one row per image, with the axes `axes` (`"bchw"` …).
    """

    @property
    def inputs(self) -> np.ndarray: ...

    @property
    def axes(self) -> str: ...

    def image(self, at: int) -> Origin:
        """The same for one of the images."""
        ...

    def select(self, channels: tuple[int, ...]) -> Origin:
        """The same for some of the channels."""
        ...

    def captured(self, inputs: np.ndarray) -> FeatureMap:
        """The map of the same layer, with gradients of the same target, for other inputs."""
        ...

    def aimed(self, target: Any, *, naming_output: bool = True) -> tuple[Any, str]:
        """What `scores` takes as its target, and its text; for `None` that of the capture, or the model's top-1 class.

        `naming_output`: the text says which output it is of, where the model has several.
        """
        ...

    def fitting(self, count: int, *, captured: bool = False) -> int:
        """How many images `scores` may be given at a time, `count` at most: what fits into memory; with `captured` that."""
        ...

    def scores(
        self, inputs: np.ndarray, target: Any, change: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> np.ndarray:
        """float64 `[image]`: the target's number for each input.

        `change` is given what the layer returns, in its own axes (`layer.axes`), and returns the value passed on.
        """
        ...
