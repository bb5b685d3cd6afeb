"""Class activation maps by gradients: which places speak for a target, and which against it.

Each takes a `FeatureMap` that was captured with a target and gives one with a single channel, float32 `[image, *spatial, 1]`.
The values keep their sign and their size, where the papers cut them off at 0 (ReLU) and most libraries stretch them to 0…1: a
place that speaks against the target isn't the same as one that says nothing. `positive=True` cuts them off.

All take four more options, by which they are averaged over noisy inputs (`smooth`, `noise`, `seed`) and over the mirrored one
(`flip`): see `averaging`.

In the formulas A is the feature map, G the gradient of the target with respect to it, c a channel, p and q places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays.reductions import weighted_sum
from ..core.feature_map import FeatureMap, as_map
from ..errors import GradientsUnavailable
from .pca import projected
from .smoothing import GRADIENT_0, NO_EVIDENCE, averaging


@averaging
def grad_cam(fm: FeatureMap, *, positive: bool = False) -> FeatureMap:
    """Grad-CAM: the channels weighted by their mean gradient, `sum_c mean_p(G) A`.

    >>> from layerscope.core.feature_map import FeatureMap
    >>> from dataclasses import replace
    >>> fm = FeatureMap.of_array(np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]], np.float32))
    >>> fm = replace(fm, gradient=np.array([[[[1.0, 0.0]], [[1.0, -1.0]]]], np.float32))
    >>> grad_cam(fm).values.ravel().tolist()
    [0.0, 1.0]

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", equations 1
    and 2. Raises `GradientsUnavailable` where the map was captured without a target.
    """
    values, gradient = _pair(fm)
    return made(fm, _by_weights(values, _flat(gradient).mean(1, dtype=np.float64)), "Grad-CAM", positive)


@averaging
def grad_cam_pp(fm: FeatureMap, *, positive: bool = False) -> FeatureMap:
    """Grad-CAM++: as Grad-CAM, with each place's gradient counted by how much it adds.

    The weight of a channel is `sum_p a max(G, 0)` with `a = G² / (2 G² + G³ sum_q A)`, 0 where G is 0. Chattopadhay
    et al. 2018, "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", equations 5 and 19, for a target
    that is read as the exponent of a score.
    """
    values, gradient = _pair(fm)
    flat = _flat(gradient).astype(np.float64)
    square = np.square(flat)
    below = 2 * square + square * flat * _flat(values).sum(1, dtype=np.float64)[:, None]
    share = np.divide(square, below, out=np.zeros_like(square), where=below != 0)
    weights = (share * np.maximum(flat, 0)).sum(1)
    return made(fm, _by_weights(values, weights), "Grad-CAM++", positive)


@averaging
def xgrad_cam(fm: FeatureMap, *, positive: bool = False) -> FeatureMap:
    """XGrad-CAM: the channels weighted by their gradient averaged over the places in proportion to the map.

    The weight of a channel is `sum_p G A / sum_q A`, 0 where the map sums to 0. Fu et al. 2020, "Axiom-based Grad-CAM: Towards
    Accurate Visualization and Explanation of CNNs", equation 8.
    """
    values, gradient = _pair(fm)
    flat = _flat(values)
    above = np.einsum("ipc,ipc->ic", flat, _flat(gradient), dtype=np.float64)
    below = flat.sum(1, dtype=np.float64)
    weights = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    return made(fm, _by_weights(values, weights), "XGrad-CAM", positive)


@averaging
def hires_cam(fm: FeatureMap, *, positive: bool = False) -> FeatureMap:
    """HiRes-CAM: each unit times its own gradient, summed over the channels, `sum_c G A`.

    Where only linear layers follow, its sum over the places is the score without the bias, which Grad-CAM's isn't. Draelos
    and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks", equation 3.
    """
    values, gradient = _pair(fm)
    return made(fm, np.einsum("ipc,ipc->ip", _flat(values), _flat(gradient)), "HiRes-CAM", positive)


@averaging
def layer_cam(fm: FeatureMap, *, positive: bool = False) -> FeatureMap:
    """Layer-CAM: each unit times the positive part of its gradient, summed over the channels, `sum_c max(G, 0) A`.

    Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", equations 4 and 5.
    """
    values, gradient = _pair(fm)
    return made(fm, np.einsum("ipc,ipc->ip", _flat(values), np.maximum(_flat(gradient), 0)), "Layer-CAM", positive)


@averaging
def eigen_cam(fm: Any, *, center: bool = False) -> FeatureMap:
    """Eigen-CAM: the map projected on its first principal direction, `A v` of each image. Needs no gradients and no target.

    `v` is the eigenvector of the channel covariance with the largest eigenvalue, so a layer of 50,176 places and 64 channels
    needs 64 × 64 numbers where a singular value decomposition of all its values takes 10 GB. With `center` the mean over the
    places is taken off first, as pytorch-grad-cam does. Its sign is chosen so that the projections go with the sum of the
    channels. Muhammad and Yeasin 2020, "Eigen-CAM: Class Activation Map using Principal Components", section III.
    """
    fm = as_map(fm)
    values = np.stack([projected(each, center) for each in fm.values])[..., None]
    said = ("the mean over the places taken off",) if center else ()
    return fm.combined(values, f"Eigen-CAM of {fm.values.shape[-1]} channels", said)


def _pair(fm: FeatureMap) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradient of a map that has both."""
    if isinstance(fm, FeatureMap) and fm.gradient is not None:
        return fm.values, fm.gradient
    if not isinstance(fm, FeatureMap):
        what = "this is a bare array"
    elif fm.rule:
        what = f"this is a combination already ({fm.rule}), which has none: take the map that capture gave"
    else:
        what = f"{fm.layer.path or 'output'!r} was captured without a target"
    raise GradientsUnavailable(
        f"a class activation map by gradients needs them, and {what}: capture(image, layer, target=CLASS) with a class"
        " index, a label or a function of the output; class_cam, score_cam, ablation_cam and eigen_cam need no gradients"
    )


def _flat(values: np.ndarray) -> np.ndarray:
    """`[image, place, channel]`."""
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _by_weights(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sum over the channels of each image, with weights of its own."""
    return np.stack([weighted_sum(each[None], row)[0] for each, row in zip(values, weights, strict=True)])


def said_in(fm: FeatureMap, images: Sequence[int]) -> str:
    """`" in a.jpg, b.jpg"`; nothing where there is one image only."""
    names = [fm.ids[at] for at in images]
    return f" in {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if len(fm.ids) > 1 else ""


def made(fm: FeatureMap, values: np.ndarray, name: str, positive: bool, target: str = "") -> FeatureMap:
    """The combination, with what must be said of it; `target` in words, by default that of the capture."""
    target = target or str(fm.provenance.get("target", "the target"))
    values = values.reshape(*fm.values.shape[:-1], 1).astype(np.float32, copy=False)
    unseen = (
        []
        if fm.gradient is None
        else [at for at, each in enumerate(fm.gradient) if not (each.any() or values[at].any())]
    )
    # NaN is no evidence against anything.
    silent = [at for at, each in enumerate(values) if (each <= 0).all() and at not in unseen]
    notes = []
    if unseen:
        tokens = fm.prefix()
        tokens_alone = "" if tokens is None else f" (the model may go on with {', '.join(tokens.layer.prefix)} alone)"
        notes.append(
            f"{GRADIENT_0} at every place{said_in(fm, unseen)}: {target} doesn't depend on them{tokens_alone}, so choose an"
            " earlier layer"
        )
    if silent:
        notes.append(f"{NO_EVIDENCE} for {target}{said_in(fm, silent)}: every value is 0 or below")
    if len(fm.channels) < fm.of:
        notes.append(f"of {len(fm.channels)} of the {fm.of} channels alone")
    if positive:
        values = np.maximum(values, 0)
        notes.append("values below 0 cut off")
    return fm.combined(values, f"{name} for {target}", notes)
