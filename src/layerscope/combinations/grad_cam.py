"""Gradient-based class activation maps: which positions support a target, and which contradict it.

Each takes a `FeatureMap` that was captured with a target and gives one with a single channel, float32 `[image,
*spatial, 1]`. The values keep their sign and their size, where the papers set negative ones to 0 (ReLU) and most
libraries stretch them to 0…1: a position that contradicts the target isn't the same as one without evidence.
`positive=True` sets negative values to 0.

In the formulas A is the feature map, G the gradient of the target with respect to it, c a channel, p and q positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import keywords
from ..core.conversion import require_array
from ..core.feature_map import FeatureMap, as_map
from ..core.linear import Linear
from ..core.note import Note
from ..core.words import all_channels
from ..errors import GradientsUnavailable
from .class_map import Method
from .pca import first_component
from .smoothing import Averaging


@keywords
def grad_cam(
    fm: FeatureMap,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """Grad-CAM: the channels weighted by their mean gradient, `sum_c mean_p(G) A`.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> grad_cam(fm).values.ravel().tolist()
    [0.0, 1.0]

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", equations
    1 and 2, without the ReLU.

    Args:
        fm: A map that was captured with `target=`.
        positive: Set values below 0 to 0, as the paper does.
        smooth: Average over this many noisy copies of the input (SmoothGrad, Smilkov et al. 2017), a run each; 0 for
            none.
        noise: Standard deviation of the noise, as a fraction of the input's value range (maximum − minimum); above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        GradientsUnavailable: The map was captured without a target.
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        _, gradient = _pair(fm)
        return Method("Grad-CAM", positive).weigh(fm, _flat(gradient).mean(1, dtype=np.float64))

    return Averaging(smooth, noise, flip, seed).of("grad_cam", method, fm)


@keywords
def grad_cam_pp(
    fm: FeatureMap,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """Grad-CAM++: as Grad-CAM, with each position's gradient counted by how much it adds.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[0.5, 2.0]], [[1.5, 4.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> grad_cam_pp(fm).values.ravel().tolist()
    [0.25, 0.75]

    The weight of a channel is `sum_p a max(G, 0)` with `a = G² / (2 G² + G³ sum_q A)`, 0 where G is 0. Chattopadhay
    et al. 2018, "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", equations 5 and 19, for a
    target that is read as the exponent of a score.

    Args:
        fm: A map that was captured with `target=`.
        positive: Set values below 0 to 0, as the paper does.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        GradientsUnavailable: The map was captured without a target.
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        values, gradient = _pair(fm)
        flat = _flat(gradient).astype(np.float64)
        square = np.square(flat)
        below = 2 * square + square * flat * _flat(values).sum(1, dtype=np.float64)[:, None]
        share = np.divide(square, below, out=np.zeros_like(square), where=below != 0)
        return Method("Grad-CAM++", positive).weigh(fm, (share * np.maximum(flat, 0)).sum(1))

    return Averaging(smooth, noise, flip, seed).of("grad_cam_pp", method, fm)


@keywords
def xgrad_cam(
    fm: FeatureMap,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """XGrad-CAM: the channels weighted by their gradient averaged over the positions in proportion to the map.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[1.0, 2.0]], [[3.0, 2.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> xgrad_cam(fm).values.ravel().tolist()
    [0.0, 2.0]

    The weight of a channel is `sum_p G A / sum_q A`, 0 where the map sums to 0. Fu et al. 2020, "Axiom-based Grad-CAM:
    Towards Accurate Visualization and Explanation of CNNs", equation 8.

    Args:
        fm: A map that was captured with `target=`.
        positive: Set values below 0 to 0, as the paper does.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        GradientsUnavailable: The map was captured without a target.
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        values, gradient = _pair(fm)
        flat = _flat(values)
        above = np.einsum("ipc,ipc->ic", flat, _flat(gradient), dtype=np.float64)
        below = flat.sum(1, dtype=np.float64)
        weights = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
        return Method("XGrad-CAM", positive).weigh(fm, weights)

    return Averaging(smooth, noise, flip, seed).of("xgrad_cam", method, fm)


@keywords
def hires_cam(
    fm: FeatureMap,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """HiRes-CAM: each unit times its own gradient, summed over the channels, `sum_c G A`.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> hires_cam(fm).values.ravel().tolist()
    [1.0, -1.0]

    Where only linear layers follow, its sum over the positions is the score without the bias, which Grad-CAM's isn't.
    Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", equation 3.

    Args:
        fm: A map that was captured with `target=`.
        positive: Set values below 0 to 0.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`. Its weights differ from position to position, so
        `linear` is `None`.

    Raises:
        GradientsUnavailable: The map was captured without a target.
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        values, gradient = _pair(fm)
        return Method("HiRes-CAM", positive).combine(fm, np.einsum("ipc,ipc->ip", _flat(values), _flat(gradient)))

    return Averaging(smooth, noise, flip, seed).of("hires_cam", method, fm)


@keywords
def layer_cam(
    fm: FeatureMap,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """Layer-CAM: each unit times the positive part of its gradient, summed over the channels, `sum_c max(G, 0) A`.

    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> layer_cam(fm).values.ravel().tolist()
    [1.0, 3.0]

    Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", equations 4 and 5.

    Args:
        fm: A map that was captured with `target=`.
        positive: Set values below 0 to 0, as the paper does.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`. Its weights differ from position to position, so
        `linear` is `None`.

    Raises:
        GradientsUnavailable: The map was captured without a target.
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        values, gradient = _pair(fm)
        summed = np.einsum("ipc,ipc->ip", _flat(values), np.maximum(_flat(gradient), 0))
        return Method("Layer-CAM", positive).combine(fm, summed)

    return Averaging(smooth, noise, flip, seed).of("layer_cam", method, fm)


@keywords
def eigen_cam(
    fm: Any, *, center: bool = False, smooth: int = 0, noise: float = 0.1, flip: bool = False, seed: int = 0
) -> FeatureMap:
    """Eigen-CAM: the map projected on its first principal direction, `A v` of each image. Needs no gradients and no target.

    >>> eigen_cam(np.array([[[[3.0, 4.0]], [[6.0, 8.0]]]])).values.ravel().round(3).tolist()
    [5.0, 10.0]

    `v` is the eigenvector of the channel covariance with the largest eigenvalue, so a layer of 50,176 positions and 64
    channels needs 64 × 64 numbers where an SVD of all its values takes 10 GB. Its sign is chosen so that the
    projections correlate with the sum of the channels. Muhammad and Yeasin 2020, "Eigen-CAM: Class Activation Map using
    Principal Components", section III.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5 that is read by its library's convention.
        center: Subtract the mean over the positions first, as pytorch-grad-cam does.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the direction of each image.

    Raises:
        BadOption: `smooth`, `noise` or `flip` is invalid, or needs a model that this map has no link to.
    """

    def method(fm: Any) -> FeatureMap:
        fm = as_map(fm)
        values, directions, shifts = zip(*(first_component(image, center) for image in fm.values), strict=True)
        notes = (Note("centered", "mean over the positions subtracted"),) if center else ()
        linear = Linear.of(np.stack(directions)[..., None], fm.channels, bias=-np.array(shifts)[:, None])
        return fm.combined(np.stack(values)[..., None], "Eigen-CAM", notes, linear=linear, over=all_channels(fm))

    return Averaging(smooth, noise, flip, seed).of("eigen_cam", method, fm)


def _pair(fm: FeatureMap) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradient of a map that has both."""
    if isinstance(fm, FeatureMap) and fm.gradient is not None:
        return fm.values, fm.gradient
    if not isinstance(fm, FeatureMap):
        require_array(fm)
        what = "this is a bare array"
    elif fm.rule:
        what = f"this is a combination already ({fm.rule}), which has none: use the map that capture returned"
    else:
        what = f"{fm.layer.path or 'output'!r} was captured without a target"
    raise GradientsUnavailable(
        f"gradient-based class activation maps need gradients, and {what}",
        "capture(image, layer, target=CLASS) with a class index, a label or a function of the output; class_cam, score_cam,"
        " ablation_cam and eigen_cam need no gradients",
    )


def _flat(values: np.ndarray) -> np.ndarray:
    """`[image, position, channel]`."""
    return values.reshape(values.shape[0], -1, values.shape[-1])
