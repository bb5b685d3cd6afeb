"""What a backend gives: captured values, the facts of a model, heads, kernels, evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.layer import Layer
from ..core.record import at_once

Target = int | Callable[[Any], Any]  # a class index, or a function of the model's output
Change = Callable[[np.ndarray], np.ndarray]  # what a layer returns -> the value passed on
Scores = np.ndarray | list[float]  # one number for each image


class SteadyLayers(list[Layer]):
    """What `layers` returns of a model that calls each layer as often whatever values its input holds.

    Of other models a capture goes on to the end of the run, to see how often that run calls a layer.

    >>> SteadyLayers([Layer("conv", "Conv2d")], for_any_number=True).for_any_number
    True

    Args:
        layers: The layers.
        for_any_number: Whether the calls don't depend on the number of images either.
    """

    def __init__(self, layers: Iterable[Layer], for_any_number: bool = False) -> None:
        super().__init__(layers)
        self.for_any_number = for_any_number


@at_once
@dataclass(frozen=True)
class Captured:
    """What one call of a layer produced, as a copy on the host.

    >>> Captured(np.zeros((1, 4, 8, 8), np.float32)).values.shape
    (1, 4, 8, 8)

    Attributes:
        values: The numbers, in the axes that the call's `Layer` names.
        gradient: The derivative of the target with respect to the values, of the same shape; `None` without a target.
        dtype: The model's own type where numpy has none for it (`"bfloat16"`), else `""`.
    """

    values: np.ndarray
    gradient: np.ndarray | None = None
    dtype: str = ""


@dataclass(frozen=True)
class Pick:
    """Which channels of a layer are wanted: `numbers` along `axis` of its output.

    >>> Pick(1, (0, 3)).numbers
    (0, 3)
    """

    axis: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """What reaches the first BatchNorm of a model for a batch, and what it has seen in training, for each channel.

    >>> channels = np.zeros(4), np.ones(4)
    >>> Evidence("bn1", *channels, np.full((2, 4), 0.1), np.full((2, 4), 0.9)).mean.shape
    (2, 4)

    Attributes:
        layer: The path of the BatchNorm.
        trained_mean: Its running mean, `[channel]`.
        trained_variance: Its running variance, `[channel]`.
        mean: The mean over the pixels of each image, `[image, channel]`.
        variance: The variance over the pixels of each image, `[image, channel]`.
    """

    layer: str
    trained_mean: np.ndarray
    trained_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Head:
    """The dense layer of a model that runs last.

    >>> Head("fc", np.zeros((1000, 512), np.float32)).weights.shape
    (1000, 512)

    Attributes:
        path: The path of the layer.
        weights: float32 `[class, channel]`.
        bias: float32 `[class]`, `None` where the layer has none.
        activation: What the layer itself does to its scores (`"softmax"`), `""` for nothing.
        rounds: Whether the layer rounds its inputs before it weighs them, as quantised ones do.
    """

    path: str
    weights: np.ndarray
    bias: np.ndarray | None = None
    activation: str = ""
    rounds: bool = False


@dataclass(frozen=True)
class Kernel:
    """The weights of a convolution, with one letter per axis in the framework's own order.

    >>> Kernel(np.zeros((3, 3, 16, 32), np.float32), "hwio").axes
    'hwio'

    Attributes:
        values: float32, dequantised.
        axes: `o` filters, `i` input channels of a filter (those of its own group), `d h w` space, or `n` for one
            dimension; `m` instead of `o` where the weights hold that many filters for each input channel (depthwise).
        groups: Into how many equal runs filters and inputs are cut; a filter reads the inputs of its own run.
        note: What these weights are not, `""` for nothing.
    """

    values: np.ndarray
    axes: str
    groups: int = 1
    note: str = ""


@dataclass(frozen=True)
class Input:
    """One input of a model.

    >>> Input("image", "bchw", (None, 3, 224, 224)).dtype
    'float32'

    Attributes:
        name: As the model names it.
        axes: One letter per axis: `b` image, `c` channel, `h w d` space, `n` a sequence.
        shape: The sizes, `None` where one is free.
        dtype: The type that it takes.
        codes: A description of a quantised input that takes floats as well, which the backend turns into its codes.
    """

    name: str
    axes: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    codes: str = ""


@dataclass(frozen=True)
class Facts:
    """What is known of a model without running it.

    >>> Facts("vgg", (Input("x", "bhwc", (None, 224, 224, 3)),), recipe="caffe", source="keras.applications").name
    'vgg'

    Attributes:
        name: The model's name, for pictures and file names.
        inputs: Its inputs, in their order.
        digest: A checksum that tells two states of the weights apart.
        framework: The framework and its version, as pictures show it.
        recipe: Preprocessing that the model itself names: a recipe's name or its fields; `None` where it names none.
        source: Where the recipe was found.
        labels: The names of the classes.
        assumed: Whether the recipe follows from the architecture alone, whose weights may have been trained on other
            values.
        resizes: Whether the model brings images of any size to its own, before the first layer with weights.
    """

    name: str
    inputs: tuple[Input, ...] = ()
    digest: str = ""
    framework: str = ""
    recipe: str | Mapping[str, Any] | None = None
    source: str = ""
    labels: tuple[str, ...] | None = None
    assumed: bool = False
    resizes: bool = False


def turned(values: np.ndarray, groups: int) -> np.ndarray:
    """Weights of a transposed convolution with their axes swapped, `[all filters, inputs of a group, …]`.

    >>> turned(np.zeros((8, 2, 3, 3)), groups=4).shape
    (8, 2, 3, 3)

    Args:
        values: The weights as frameworks keep them, `[all inputs, filters of a group, …]`.
        groups: The number of groups.
    """
    inputs, filters, *space = values.shape
    grouped = values.reshape(groups, inputs // groups, filters, *space).swapaxes(1, 2)
    return grouped.reshape(groups * filters, inputs // groups, *space)


def trained(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether running statistics have left the values they start with, 0 and 1.

    >>> trained(np.zeros(4), np.ones(4)), trained(np.full(4, 0.3), np.ones(4))
    (False, True)

    Args:
        mean: The running mean, `[channel]`.
        variance: The running variance, `[channel]`.
    """
    return bool(np.isfinite(mean).all() and np.isfinite(variance).all() and (mean.any() or (variance != 1).any()))
