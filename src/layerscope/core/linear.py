"""`Linear`: a combination of channels as weights and a bias, so that it can be made again from the layer's own values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import BadLayout
from ..safe_text import counted

Post = Literal["none", "relu"]


@dataclass(frozen=True, eq=False)
class Linear:
    """A combination that is linear in the channels: `post(values @ weights + bias)`, `values` being those of the layer.

    `weights` is float32 `[channel, k]`, or `[image, channel, k]` where each image has weights of its own, as in
    Grad-CAM; `bias` is float32 `[k]` or `[image, k]`. `channels` are the true channel numbers of the rows of `weights`.
    `post` is `"none"` or `"relu"` (values below 0 become 0). It holds at every position where the combination is
    finite.

    >>> linear = Linear(np.array([[0.5], [0.5]], np.float32), np.zeros(1, np.float32), (0, 1))
    >>> linear.recombine(np.array([[[1.0, 3.0]]])).tolist()
    [[[2.0]]]
    """

    weights: np.ndarray
    bias: np.ndarray
    channels: tuple[int, ...]
    post: Post = "none"

    @classmethod
    def of(cls, weights: np.ndarray, channels: tuple[int, ...], *, bias: np.ndarray | float = 0) -> Linear:
        """For weights of any type, `[channel]`, `[channel, k]` or `[image, channel, k]`, and one bias or an array of them."""
        weights = np.asarray(weights, np.float32)
        weights = weights[:, None] if weights.ndim == 1 else weights
        shape = (*weights.shape[:-2], weights.shape[-1])
        return cls(weights, np.full(shape, bias, np.float32), channels)

    def recombine(self, values: np.ndarray) -> np.ndarray:
        """float32 `[image, *spatial, k]` of the layer's values `[image, *spatial, channel]`. Raises `BadLayout`."""
        values = np.asarray(values, np.float32)
        if values.ndim < 2 or values.shape[-1] != self.weights.shape[-2]:
            raise BadLayout(
                f"weights of {counted(self.weights.shape[-2], 'channel')} for values of the shape {values.shape}"
            )
        bias = self.bias if self.bias.ndim == 1 else self.bias[:, None]
        combined = values.reshape(values.shape[0], -1, values.shape[-1]) @ self.weights + bias
        combined = np.maximum(combined, 0) if self.post == "relu" else combined
        return combined.reshape(*values.shape[:-1], -1)

    def image(self, index: slice) -> Linear:
        """The same for some of the images."""
        if self.weights.ndim == 2:
            return self
        return replace(self, weights=self.weights[index], bias=self.bias[index])

    def select(self, positions: list[int]) -> Linear:
        """The same for some of the channels of the combination."""
        return replace(self, weights=self.weights[..., positions], bias=self.bias[..., positions])

    def rectified(self) -> Linear:
        """The same with its negative values set to 0."""
        return replace(self, post="relu")

    def after(self, first: Linear) -> Linear | None:
        """Both in one, `first` before this; `None` where no weights say it."""
        if first.post != "none":
            return None
        bias = (first.bias[..., None, :] @ self.weights)[..., 0, :] + self.bias
        return Linear(first.weights @ self.weights, bias, first.channels, self.post)
