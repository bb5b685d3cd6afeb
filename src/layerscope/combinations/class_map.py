"""What all class activation maps share: channels weighted image by image, and the notes that such a map needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.reductions import weighted_sum
from ..core.feature_map import FeatureMap
from ..core.linear import Linear
from ..core.note import Note
from ..core.words import image_name
from ..scope.target import about_target
from .smoothing import NO_EVIDENCE, ZERO_GRADIENT

# What `FeatureMap.method` begins with.
NAMES = (
    *("Class activation map", "Grad-CAM", "XGrad-CAM", "HiRes-CAM", "Layer-CAM", "Eigen-CAM"),
    *("Score-CAM", "Ablation-CAM"),
)


@dataclass(frozen=True)
class Method:
    """A class activation map by its name; `aims` are the target of each image and its text, `()` that of the capture.

    `positive` sets what is below 0 to 0.
    """

    name: str
    positive: bool = False
    aims: Sequence[tuple[Any, str]] = ()

    def weigh(self, fm: FeatureMap, weights: np.ndarray) -> FeatureMap:
        """The map of `[image, channel]` weights: the weighted sum over the channels of each image."""
        values = [weighted_sum(image[None], row)[0] for image, row in zip(fm.values, weights, strict=True)]
        return self.combine(fm, np.stack(values), Linear.of(weights[..., None], fm.channels))

    def combine(self, fm: FeatureMap, values: np.ndarray, linear: Linear | None = None) -> FeatureMap:
        """The map of these values, one per position of `fm`, with its notes."""
        if self.aims:
            targets, texts = zip(*self.aims, strict=True)
            fm = replace(fm, provenance={**fm.provenance, **about_target(targets, _target_text(texts))})
        target = str(fm.provenance.get("target", "the target"))
        values = values.reshape(*fm.values.shape[:-1], 1).astype(np.float32, copy=False)
        notes = list(_notes(fm, values, target))
        if self.positive:
            values = np.maximum(values, 0)
            linear = linear and linear.rectified()
            notes.append(Note("rectified", "values below 0 set to 0"))
        elif (values < 0).any():
            notes.append(Note("against", f"values below 0 are evidence against {target}"))
        return fm.combined(values, f"{self.name} for {target}", notes, linear=linear)


def is_class_map(fm: FeatureMap) -> bool:
    """Whether a map is a class activation map."""
    return fm.method.startswith(NAMES)


def in_images(fm: FeatureMap, images: Sequence[int]) -> str:
    """`" in a.jpg, b.jpg"`; nothing where there is one image only."""
    names = [image_name(fm.ids[index]) for index in images]
    return f" in {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if len(fm.ids) > 1 else ""


def _target_text(targets: Sequence[str]) -> str:
    """One target, or that each image has its own."""
    different = list(dict.fromkeys(targets))
    return different[0] if len(different) == 1 else f"the top-1 class of each image ({', '.join(different[:4])})"


def _notes(fm: FeatureMap, values: np.ndarray, target: str) -> Iterator[Note]:
    unseen = [] if fm.gradient is None else [index for index in range(len(values)) if _unseen(fm, values, index)]
    # NaN is no evidence against anything.
    silent = [index for index, image in enumerate(values) if (image <= 0).all() and index not in unseen]
    if unseen:
        tokens = fm.prefix()
        only = "" if tokens is None else f" (the model may use only {', '.join(tokens.layer.prefix)})"
        yield Note(
            ZERO_GRADIENT,
            f"the gradient is 0 at every position{in_images(fm, unseen)}: {target} doesn't depend on them{only}, so "
            "choose an earlier layer",
        )
    if silent:
        text = f"no positive evidence for {target}{in_images(fm, silent)}: every value is 0 or below"
        yield Note(NO_EVIDENCE, text)
    if len(fm.channels) < fm.of:
        yield Note("channels", f"from {len(fm.channels):,} of the {fm.of:,} channels only")


def _unseen(fm: FeatureMap, values: np.ndarray, index: int) -> bool:
    assert fm.gradient is not None
    return not (fm.gradient[index].any() or values[index].any())
