"""Class activation maps without gradients: the channels weighted by the model's score when they are masked or removed.

They need the model, so the map must come from `Scope.capture`. The model sees one image for each channel, some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.reductions import weighted_sum
from ..checks import keywords, whole
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.origin import Origin
from ..core.progress import work
from ..errors import BadLayout
from .class_map import Method, in_images
from .smoothing import NEARLY_MEAN, Averaging, as_input, needed_origin

BATCH, NEAR = 16, 0.1


@keywords
def score_cam(
    fm: FeatureMap,
    target: Any = None,
    *,
    positive: bool = False,
    batch: int = BATCH,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """Score-CAM: the channels weighted by the target's score when the model sees the image through each of them.

    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    >>> image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    >>> score_cam(scope.capture(image, "conv1")["conv1"], target=2)
    <FeatureMap conv1 (Conv) [1, 8, 8, 1], Score-CAM for class 2>

    The mask of a channel is its map, stretched to 0…1 and enlarged to the input by linear interpolation; the input
    times the mask is what the model sees. The weights are the softmax over the channels of the scores, so all are above
    0 and the map's sign is the channels' own. A channel with one value everywhere is a mask of zeros. Scores that
    hardly differ, as probabilities do, make nearly equal weights; the notes say where that leaves nearly the plain
    mean. Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", algorithm
    1.

    Args:
        fm: A map of a layer with height and width that `Scope.capture` gave.
        target: A class index, a label or a function of the output; `None`: that of the capture, else each image's top-1
            class.
        positive: Set values below 0 to 0, as the paper does.
        batch: How many masked images run at a time, fewer where they don't fit into memory.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        BadOption: The map has no link to its model, or an option is invalid.
        BadLayout: The layer has no height and width.
    """
    batch = whole("batch", batch)

    def method(fm: FeatureMap) -> FeatureMap:
        origin = needed_origin(fm, "score_cam")
        _check_spatial(fm, origin)
        weights, aims, spans = [], [], []
        size = origin.fitting(batch)
        with work(len(fm.channels) * len(fm.ids), "masks") as step:
            for index, values in enumerate(fm.values):
                image = origin.image(index)
                aim, text = image.aimed(target)
                aims.append((aim, text))
                masked = _masked(values, image, size)
                scores = np.concatenate([_counted(image.scores(inputs, aim), step) for inputs in masked])
                shifted = np.exp(scores - scores.max())
                weights.append(shifted / shifted.sum())
                spans.append(float(np.ptp(scores)))
        combined = Method("Score-CAM", positive, aims).weigh(fm, np.stack(weights))
        return replace(combined, notes=(*combined.notes, *_nearly_mean(fm, weights, spans)))

    return Averaging(smooth, noise, flip, seed).of("score_cam", method, fm)


@keywords
def ablation_cam(
    fm: FeatureMap,
    target: Any = None,
    *,
    positive: bool = False,
    batch: int = BATCH,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """Ablation-CAM: the channels weighted by the share of the target's score that is lost without them.

    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    >>> image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    >>> ablation_cam(scope.capture(image, "conv1")["conv1"], target=2)
    <FeatureMap conv1 (Conv) [1, 8, 8, 1], Ablation-CAM for class 2>

    The weight of a channel is `(y − y_c) / |y|`, with y the target's score and `y_c` that with the channel set to 0.
    Desai and Ramaswamy 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization", equation 5, but for the bars: a score below 0 would flip every sign.

    Args:
        fm: A map that `Scope.capture` gave, of a backend that can change what a layer returns.
        target: A class index, a label or a function of the output; `None`: that of the capture, else each image's top-1
            class.
        positive: Set values below 0 to 0, as the paper does.
        batch: How many copies of the image run at a time, each without one channel; fewer where they don't fit into
            memory.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        BadOption: The map has no link to its model, the backend can't change a layer, or an option is invalid.
        BadLayout: The layer has no axes of images and channels.
    """
    batch = whole("batch", batch)

    def method(fm: FeatureMap) -> FeatureMap:
        origin = needed_origin(fm, "ablation_cam")
        weights, aims = [], []
        size = origin.fitting(batch)
        with work(len(fm.channels) * len(fm.ids), "masks") as step:
            for index in range(len(fm.ids)):
                image = origin.image(index)
                aim, text = image.aimed(target)
                aims.append((aim, text))
                score = float(image.scores(image.inputs, aim)[0])
                parts = _groups(fm.channels, size)
                without = np.concatenate([_counted(_without(image, part, fm, aim), step) for part in parts])
                weights.append((score - without) / abs(score) if score else score - without)
        return Method("Ablation-CAM", positive, aims).weigh(fm, np.stack(weights))

    return Averaging(smooth, noise, flip, seed).of("ablation_cam", method, fm)


def _counted(scores: np.ndarray, step: Callable[[int], None]) -> np.ndarray:
    """The scores of some channels, which `step` is told of."""
    step(len(scores))
    return scores


def _nearly_mean(fm: FeatureMap, weights: Sequence[np.ndarray], spans: Sequence[float]) -> tuple[Note, ...]:
    """The note on images whose map is the plain mean to a tenth: there the target hardly mattered."""
    if fm.shape[-1] == 1:
        return ()
    near = []
    for index, (values, row) in enumerate(zip(fm.values, weights, strict=True)):
        mean = values.mean(-1, dtype=np.float64).ravel()
        combined = weighted_sum(values[None], row).ravel()
        if mean.any() and np.linalg.norm(combined - mean) < NEAR * np.linalg.norm(mean):
            near.append(index)
    if not near:
        return ()
    most = max(spans[index] for index in near)
    where = in_images(fm, near)
    return (
        Note(NEARLY_MEAN, f"nearly the plain mean of the channels{where}: their scores differ by at most {most:.2g}"),
    )


def _without(image: Origin, channels: tuple[int, ...], fm: FeatureMap, aim: Any) -> np.ndarray:
    """The scores with each of these channels set to 0, the others left."""
    axes = fm.layer.axes

    def change(raw: np.ndarray) -> np.ndarray:
        changed = np.array(raw)
        rows = np.moveaxis(changed, (axes.index("b"), axes.index("c")), (0, 1))
        rows[np.arange(len(channels)), list(channels)] = 0
        return changed

    if "b" not in axes or "c" not in axes:
        raise BadLayout(f"ablation_cam needs a layer with images and channels, {fm.layer.path!r} has the axes {axes}")
    return image.scores(np.repeat(image.inputs, len(channels), axis=image.axes.index("b")), aim, change)


def _masked(values: np.ndarray, image: Origin, step: int) -> Iterator[np.ndarray]:
    """The input seen through each channel of `[height, width, channel]`, `step` of them at a time."""
    inputs, axes = image.inputs, image.axes
    height, width = inputs.shape[axes.index("h")], inputs.shape[axes.index("w")]
    rows, columns = _interpolation(values.shape[0], height), _interpolation(values.shape[1], width)
    shape = [1] * inputs.ndim
    shape[axes.index("h")], shape[axes.index("w")] = height, width
    low, high = np.nanmin(values, (0, 1)), np.nanmax(values, (0, 1))
    span = np.where(high > low, high - low, 1)
    for channels in _groups(range(values.shape[-1]), step):
        chosen = list(channels)
        masks = np.moveaxis((values[..., chosen] - low[chosen]) / span[chosen], -1, 0)
        large = rows @ masks.astype(np.float32) @ columns.T
        if axes.index("h") > axes.index("w"):
            large = large.swapaxes(1, 2)
        shape[axes.index("b")] = len(chosen)
        yield as_input(inputs * large.reshape(shape), inputs.dtype)


def _interpolation(cells: int, size: int) -> np.ndarray:
    """`[size, cells]`: the shares by which each pixel blends the cells, whose centres lie in the middle of their parts."""
    position = ((np.arange(size) + 0.5) * cells / size - 0.5).clip(0, cells - 1)
    low = np.floor(position).astype(int)
    share = position - low
    weights = np.zeros((size, cells), np.float32)
    weights[np.arange(size), low] = 1 - share
    weights[np.arange(size), np.minimum(low + 1, cells - 1)] += share
    return weights


def _groups(channels: Any, step: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(channels), step):
        yield tuple(channels[start : start + step])


def _check_spatial(fm: FeatureMap, origin: Origin) -> None:
    if len(fm.spatial) != 2 or fm.layer.attention or not {"h", "w"} <= set(origin.axes):
        raise BadLayout(
            f"score_cam masks the image with each channel, and {fm.layer.path or 'output'!r} ({fm.layer.kind}) has "
            f"shape {fm.shape} for an input with the axes {origin.axes}",
            "use a layer with height and width",
        )
