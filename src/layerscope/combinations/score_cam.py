"""Class activation maps without gradients: the channels weighted by what the model says when it sees less, or more, of them.

They need the model, so the map must come from `Scope.capture`. Each channel is one run of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.reductions import weighted_sum
from ..core.feature_map import FeatureMap, Origin
from ..errors import BadLayout, BadOption
from .grad_cam import made, said_in
from .smoothing import NEARLY_MEAN, as_fed, averaging, needed_origin

TOGETHER, NEAR = 16, 0.1


@averaging
def score_cam(fm: FeatureMap, target: Any = None, *, positive: bool = False, batch: int = TOGETHER) -> FeatureMap:
    """Score-CAM: the channels weighted by the target's score when the model sees the image through each of them.

    The mask of a channel is its map, stretched to 0…1 and enlarged to the input by linear interpolation; the input times
    the mask is what the model sees. The weights are the softmax over the channels of the scores, so all are above 0 and the
    map's sign is the channels' own. A channel with one value everywhere is a mask of zeros. Scores that hardly differ, as
    probabilities do, make nearly equal weights; the notes say where that leaves nearly the plain mean. Wang et al. 2020,
    "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", algorithm 1.

    `target` is a class index, a label or a function of the output; by default that of the capture, or else each image's own
    first class. `batch` images run at a time. Float32 `[image, *spatial, 1]`. Raises `BadOption` for a map without its
    model.
    """
    origin = needed_origin(fm, "score_cam")
    _pictures(fm, origin, "score_cam")
    found, said, spans = [], [], []
    for at, values in enumerate(fm.values):
        one = origin.image(at)
        aim, words = one.aimed(target)
        said.append(words)
        scores = np.concatenate([one.scores(part, aim) for part in _masked(values, one, _step(batch))])
        shifted = np.exp(scores - scores.max())
        found.append(weighted_sum(values[None], shifted / shifted.sum())[0])
        spans.append(float(np.ptp(scores)))
    result = made(fm, np.stack(found), "Score-CAM", positive, words_of(said))
    return replace(result, notes=(*result.notes, *_nearly_mean(fm, found, spans)))


@averaging
def ablation_cam(fm: FeatureMap, target: Any = None, *, positive: bool = False, batch: int = TOGETHER) -> FeatureMap:
    """Ablation-CAM: the channels weighted by the share of the target's score that is lost without them.

    The weight of a channel is `(y − y_c) / |y|`, with y the target's score and `y_c` that with the channel set to 0. Desai
    and Ramaswamy 2020, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
    equation 5, but for the bars: a score below 0 would turn every sign.

    Options and errors as for `score_cam`. Raises `BadOption` where the backend can't change what a layer returns.
    """
    origin = needed_origin(fm, "ablation_cam")
    found, said = [], []
    for at, values in enumerate(fm.values):
        one = origin.image(at)
        aim, words = one.aimed(target)
        said.append(words)
        whole = float(one.scores(one.inputs, aim)[0])
        without = np.concatenate([_without(one, part, fm, aim) for part in _groups(fm.channels, _step(batch))])
        weights = (whole - without) / abs(whole) if whole else whole - without
        found.append(weighted_sum(values[None], weights)[0])
    return made(fm, np.stack(found), "Ablation-CAM", positive, words_of(said))


def _nearly_mean(fm: FeatureMap, found: Sequence[np.ndarray], spans: Sequence[float]) -> list[str]:
    """The note on images whose map is the plain mean to a tenth: there the target had next to no say."""
    if fm.shape[-1] == 1:
        return []
    near = []
    for at, (values, each) in enumerate(zip(fm.values, found, strict=True)):
        mean = values.mean(-1, dtype=np.float64).ravel()
        if mean.any() and np.linalg.norm(each.ravel() - mean) < NEAR * np.linalg.norm(mean):
            near.append(at)
    if not near:
        return []
    most = max(spans[at] for at in near)
    return [f"{NEARLY_MEAN} of the channels{said_in(fm, near)}: their scores differ by {most:.2g} at most"]


def _without(one: Origin, channels: tuple[int, ...], fm: FeatureMap, aim: Any) -> np.ndarray:
    """The scores with each of these channels set to 0, the others left."""
    axes = fm.layer.axes

    def change(raw: np.ndarray) -> np.ndarray:
        changed = np.array(raw)
        rows = np.moveaxis(changed, (axes.index("b"), axes.index("c")), (0, 1))
        rows[np.arange(len(channels)), list(channels)] = 0
        return changed

    if "b" not in axes or "c" not in axes:
        raise BadLayout(f"ablation_cam needs a layer with images and channels, {fm.layer.path!r} has the axes {axes}")
    return one.scores(np.repeat(one.inputs, len(channels), axis=one.axes.index("b")), aim, change)


def _masked(values: np.ndarray, one: Origin, step: int) -> Iterator[np.ndarray]:
    """The input seen through each channel of `[height, width, channel]`, `step` of them at a time."""
    inputs, axes = one.inputs, one.axes
    height, width = inputs.shape[axes.index("h")], inputs.shape[axes.index("w")]
    rows, columns = _linear(values.shape[0], height), _linear(values.shape[1], width)
    shape = [1] * inputs.ndim
    shape[axes.index("h")], shape[axes.index("w")] = height, width
    low, high = np.nanmin(values, (0, 1)), np.nanmax(values, (0, 1))
    span = np.where(high > low, high - low, 1)
    for channels in _groups(range(values.shape[-1]), step):
        at = list(channels)
        masks = np.moveaxis((values[..., at] - low[at]) / span[at], -1, 0)
        large = rows @ masks.astype(np.float32) @ columns.T
        if axes.index("h") > axes.index("w"):
            large = large.swapaxes(1, 2)
        shape[axes.index("b")] = len(at)
        yield as_fed(inputs * large.reshape(shape), inputs.dtype)


def _linear(cells: int, size: int) -> np.ndarray:
    """`[size, cells]`: the shares by which each pixel blends the cells, whose centres lie in the middle of their parts."""
    place = ((np.arange(size) + 0.5) * cells / size - 0.5).clip(0, cells - 1)
    low = np.floor(place).astype(int)
    share = place - low
    found = np.zeros((size, cells), np.float32)
    found[np.arange(size), low] = 1 - share
    found[np.arange(size), np.minimum(low + 1, cells - 1)] += share
    return found


def _groups(channels: Any, step: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(channels), step):
        yield tuple(channels[start : start + step])


def _pictures(fm: FeatureMap, origin: Origin, name: str) -> None:
    if len(fm.spatial) != 2 or fm.layer.attention or not {"h", "w"} <= set(origin.axes):
        raise BadLayout(
            f"{name} lays each channel over the image as a mask, and {fm.layer.path or 'output'!r} ({fm.layer.kind}) has the"
            f" shape {fm.shape} for an input with the axes {origin.axes}: use a layer with height and width"
        )


def _step(batch: int) -> int:
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
        raise BadOption(f"batch={batch!r}: use a whole number from 1")
    return int(batch)


def words_of(said: list[str]) -> str:
    """One target, or that each image has its own."""
    different = list(dict.fromkeys(said))
    return different[0] if len(different) == 1 else f"each image's own first class ({', '.join(different[:4])})"
