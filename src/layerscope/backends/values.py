"""What a backend gives: captured values, the facts of a model, heads, kernels, evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Target = int | Callable[[Any], Any]
Change = Callable[[np.ndarray], np.ndarray]

Scores = np.ndarray | list[float]


@dataclass(frozen=True)
class Captured:
    """What one call of a layer produced: `values` in the axes that its `Layer` names, as a copy on the host.

    `gradient` has the same shape: the derivative of the target with respect to the values. `dtype` is the model's own
    type where numpy can't say it (`bfloat16`).
    """

    values: np.ndarray
    gradient: np.ndarray | None = None
    dtype: str = ""


@dataclass(frozen=True)
class Pick:
    """Which channels of a layer are wanted: `numbers` along `axis` of its output."""

    axis: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """What the first BatchNorm of a model (`layer`) was given in training and is given for a batch, for each channel.

    `trained_mean` and `trained_variance` are its running statistics `[channel]`; `mean` and `variance` those of what reaches
    it, over the pixels of each image, `[image, channel]`. A backend may offer it as `evidence(model, batch)`, `None` where
    there is no such layer near the input, or an untrained one; the run stops there.
    """

    layer: str
    trained_mean: np.ndarray
    trained_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Head:
    """The dense layer of a model that runs last: `weights` float32 `[class, channel]`, `bias` float32 `[class]`.

    `activation` is what the layer itself does to its scores (`"softmax"`), `""` for nothing. A backend may offer it as
    `head(model, batch)`, after one dry run, `None` where there is no such layer or its weights aren't to be had.
    """

    path: str
    weights: np.ndarray
    bias: np.ndarray | None = None
    activation: str = ""


@dataclass(frozen=True)
class Kernel:
    """The weights of a convolution, float32, with one letter an axis in the framework's own order.

    `o` filters, `i` input channels of a filter (those of its own group), `d h w` space, or `n` for one dimension; `m` instead
    of `o` where the weights hold that many filters for each input channel (depthwise). With `groups`, filters and inputs are
    cut into as many equal runs, and a filter reads the inputs of its own run. `note` says what these weights are not.
    """

    values: np.ndarray
    axes: str
    groups: int = 1
    note: str = ""


def turned(values: np.ndarray, groups: int) -> np.ndarray:
    """Weights of a transposed convolution, `[all inputs, filters of a group, …]`, as `[all filters, inputs of a group, …]`."""
    inputs, filters, *space = values.shape
    grouped = values.reshape(groups, inputs // groups, filters, *space).swapaxes(1, 2)
    return grouped.reshape(groups * filters, inputs // groups, *space)


def trained(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether running statistics have left the values they start with, 0 and 1."""
    return bool(np.isfinite(mean).all() and np.isfinite(variance).all() and (mean.any() or (variance != 1).any()))


@dataclass(frozen=True)
class Input:
    """One input of a model: its name, axes, sizes (`None` where free) and type.

    `codes` describes a quantised input that takes floats as well, which the backend turns into its codes.
    """

    name: str
    axes: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    codes: str = ""


@dataclass(frozen=True)
class Facts:
    """What can be said of a model without running it. A backend may offer it as `facts(model)`.

    `digest` tells two states of the weights apart; a backend whose models can be trained on offers it alone as well, as
    `digest(model)`, since it is taken at every capture; `recipe` is preprocessing that the model itself names (a recipe's
    name or its fields), with `source` saying where it was found; `assumed` where that is the architecture alone, whose
    weights may have been trained on other values.
    """

    name: str
    inputs: tuple[Input, ...] = ()
    digest: str = ""
    framework: str = ""
    recipe: str | Mapping[str, Any] | None = None
    source: str = ""
    labels: tuple[str, ...] | None = None
    assumed: bool = False
