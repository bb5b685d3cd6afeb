"""Whether the model input looks like what the model was trained on, and which preprocessing would fit better.

Two kinds of evidence. A BatchNorm near the input keeps the mean and the variance of what reached it in training: the
same photo is sent there under each known recipe, and the statistics are compared. And where the model itself names its
preprocessing, the value range is compared with the one that this gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backends.protocol import Evidence
from ..safe_text import counted
from ..surface import option
from .preprocess import scaled
from .recipe import READY, RECIPES, Recipe

IMAGES = 4

# Photos with less contrast than this (standard deviation of 0–255) tell nothing of the spread in training.
CONTRAST = 20.0

# Distances (see `fit`) measured on trained networks and photos, in docs/preprocessing.md. The first three are for values
# that are wrong by a factor of 10 and more, the other two for what an alternative explains nearly perfectly.
FAR, NEAR_ENOUGH, BETTER_BY = 1.0, 0.7, 0.7
OFF, PERFECT = 0.25, 0.05
TIE = 0.1
BATCH = "this batch"
NAMES = ("raw", "unit", "tf", "imagenet", "caffe")
EvidenceOf = Callable[[np.ndarray], Evidence | None]


@dataclass(frozen=True)
class Fit:
    """How what reaches the BatchNorm differs from training, over its channels: distance, shift, ratio of the spreads."""

    distance: float
    shift: float
    spread: float

    def describe(self) -> str:
        """The difference as text."""
        return (
            f"{_short(self.spread)} × the training standard deviation and a mean {_short(self.shift)} standard deviations"
            " off"
        )


def fit(evidence: Evidence) -> Fit:
    """The median over channels of the Bhattacharyya distance between two normal distributions, and what makes it up.

    Channels that were constant in training say nothing. The batch is one sample: its variance is that over all pixels of
    all its images.

    >>> ones = np.ones((1, 2))
    >>> round(fit(Evidence("bn", np.zeros(2), np.ones(2), 2 * ones, ones)).distance, 3)
    0.5
    """
    alive = evidence.trained_variance > 1e-6 * evidence.trained_variance.max()
    mean, variance = evidence.trained_mean[alive], evidence.trained_variance[alive]
    current = evidence.mean[:, alive].mean(0)
    spread = evidence.variance[:, alive].mean(0) + evidence.mean[:, alive].var(0) + 1e-3 * variance
    distances = 0.25 * (current - mean) ** 2 / (variance + spread) + 0.5 * np.log(
        (variance + spread) / (2 * np.sqrt(variance * spread))
    )
    shift = np.median(np.abs(current - mean) / np.sqrt(variance))
    return Fit(float(np.median(distances)), float(shift), float(np.median(np.sqrt(spread / variance))))


def doubt(array: Any, axes: str, recipe: Recipe, *, stated: Recipe | None, evidence_of: EvidenceOf) -> str:
    """What suggests that the model input is wrong, as text; `""` where nothing does.

    `array` is one batch in `axes`; `stated` the recipe that the model itself names; `evidence_of` runs a batch up to
    the first BatchNorm. A batch without image axes or colours, or with hardly any contrast, raises no doubt.
    """
    values = np.asarray(array)
    if sorted(axes) != sorted("bhwc") or values.ndim != 4 or values.dtype.kind != "f":
        return ""
    images = values.transpose([axes.index(axis) for axis in "bhwc"])[:IMAGES].astype(np.float32)
    if images.shape[3] not in (1, 3) or not images.size or not np.isfinite(images).all():
        return ""
    used = guessed(images) if recipe == READY or recipe.function is not None else recipe
    if used is None:
        return _out_of_range(images, recipe, stated)
    pixels = to_pixels(images, used)
    if pixels.std(axis=(1, 2)).mean() < CONTRAST:
        return ""

    def evidence_for(images: np.ndarray) -> Evidence | None:
        return evidence_of(images.transpose(["bhwc".index(axis) for axis in axes]))

    evidence = evidence_for(images)
    if evidence is None:
        return _out_of_range(images, recipe, stated)
    current = fit(evidence)
    if current.distance < OFF:
        return ""
    others = _fits(pixels, alternatives(used, images.shape[3]), evidence_for)
    return _verdict(evidence, BATCH if recipe == READY else f"this image under {used.name!r}", current, others)


def _fits(pixels: np.ndarray, recipes: dict[str, Recipe], evidence_for: EvidenceOf) -> dict[str, Fit]:
    """How the same pixels would fit under other recipes, all of them in one batch."""
    if not recipes:
        return {}
    evidence = evidence_for(np.concatenate([scaled(pixels, recipe) for recipe in recipes.values()]))
    if evidence is None:
        return {}
    count = len(pixels)
    parts = {name: slice(number * count, (number + 1) * count) for number, name in enumerate(recipes)}
    return {
        name: fit(replace(evidence, mean=evidence.mean[part], variance=evidence.variance[part]))
        for name, part in parts.items()
    }


def in_parts(images: np.ndarray, axis: int, size: int | None, evidence_of: EvidenceOf) -> Evidence | None:
    """The evidence for images along `axis`, for a model that takes exactly `size` at a time where that isn't `None`."""
    count = images.shape[axis]
    step = size or count
    parts = []
    for start in range(0, count, step):
        # A model that takes a fixed number of images gets as many, from the first again after the last.
        evidence = evidence_of(np.take(images, np.arange(start, start + step) % count, axis))
        if evidence is None:
            return None
        parts.append(evidence)
    mean = np.concatenate([part.mean for part in parts])[:count]
    variance = np.concatenate([part.variance for part in parts])[:count]
    return replace(parts[0], mean=mean, variance=variance)


def _verdict(evidence: Evidence, what: str, current: Fit, others: dict[str, Fit]) -> str:
    """What `what` (the batch, or the image under a recipe) sends to the BatchNorm, against what would fit better."""
    if not others:
        return ""
    best = min(others, key=lambda name: others[name].distance)
    least = others[best].distance
    wrong = current.distance >= FAR and least <= NEAR_ENOUGH and current.distance - least >= BETTER_BY
    doubtful = current.distance >= OFF and least <= PERFECT
    if not wrong and not doubtful:
        return ""
    equal = [name for name, other in others.items() if other.distance <= least + TIE]
    equal.sort(key=lambda name: others[name].distance)
    advice = " or ".join(option("preprocess", name) for name in equal)
    if what == BATCH:
        advice = "batches scaled as " + " or ".join(map(repr, equal))
    return (
        f"{'the input looks wrong for this model' if wrong else 'another preprocessing fits this model better'}: at "
        f"the first BatchNorm ({evidence.layer!r}, {counted(len(evidence.trained_mean), 'channel')}), {what} has "
        f"{current.describe()}; under {best!r} it would have {others[best].describe()} (medians over the channels). If "
        f"the model wasn't trained this way, give {advice}"
    )


def alternatives(recipe: Recipe, channels: int) -> dict[str, Recipe]:
    """The known ways to scale that differ from a recipe by more than a twentieth of its range."""
    corners = np.array([[0.0] * 3, [255.0] * 3], np.float32).reshape(2, 1, 1, 3)[..., :channels]
    own = scaled(corners, replace(recipe, order="rgb"))
    others = {}
    for name in NAMES:
        other = RECIPES[name]
        if channels == 1 and len({*other.mean}) + len({*other.std}) > 2:
            continue
        if np.abs(scaled(corners, replace(other, order="rgb")) - own).max() > 0.05 * np.ptp(own):
            others[name] = other
    return others


def to_pixels(values: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The pixels behind values that `scaled` gave."""
    mean, std = (np.asarray(numbers[: values.shape[3]], np.float32) for numbers in (recipe.mean, recipe.std))
    pixels = (values * std + mean) * np.float32(recipe.divide)
    return np.asarray(pixels[..., ::-1] if recipe.order == "bgr" else pixels)


def guessed(values: np.ndarray) -> Recipe | None:
    """The way to scale that the range of a ready batch suggests, the tightest that holds it; `None` where none does."""
    for name in ("unit", "tf", "imagenet", "raw", "caffe"):
        recipe = RECIPES[name]
        if values.shape[3] == 1 and len(set(recipe.mean)) > 1:
            continue
        low, high = limits(recipe)
        slack = 0.01 * (high - low)
        if low - slack <= values.min() and values.max() <= high + slack:
            return recipe
    return None


def limits(recipe: Recipe) -> tuple[float, float]:
    """The least and the greatest number that a recipe gives."""
    values = [(pixel / recipe.divide - np.asarray(recipe.mean)) / np.asarray(recipe.std) for pixel in (0.0, 255.0)]
    return float(np.min(values)), float(np.max(values))


def _out_of_range(values: np.ndarray, recipe: Recipe, stated: Recipe | None) -> str:
    """Values far outside of the range that the model's own preprocessing gives, or in a tiny part of it."""
    if stated is None or stated.function is not None or stated == recipe:
        return ""
    low, high = limits(stated)
    least, most = float(values.min()), float(values.max())
    width = high - low
    outside = max(low - least, most - high) > 0.5 * width
    # 0–1 or −1–1 where 0–255 is due; a mask of zeros and ones is no photo
    fractions = bool((np.rint(values) - values).any())
    tiny = fractions and width > 100 and most - least > 0.2 and max(abs(least), abs(most)) <= 3
    if not outside and not tiny:
        return ""
    return (
        f"the input looks wrong for this model: its values go from {_short(least)} to {_short(most)}, and the model's own"
        f" preprocessing ({stated.name!r}) gives {_short(low)} to {_short(high)}"
    )


def _short(number: float) -> str:
    return f"{number:.3g}".replace("-", "−")
