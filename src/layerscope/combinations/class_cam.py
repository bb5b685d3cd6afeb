"""The weights that a classifier gives the channels of a layer, checked against the model itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..backends.protocol import Head
from ..checks import keywords
from ..core.conversion import only_map
from ..core.feature_map import FeatureMap
from ..core.layer import choice_in_words
from ..core.note import Note
from ..core.origin import Origin
from ..errors import BadOption, BadWeights
from ..inputs.recipe import READY
from ..safe_text import counted
from ..scope.objects import by_path
from ..scope.open import demo_photo, scope_of
from ..scope.rerun import Rerun
from ..scope.scope import Scope
from ..scope.target import beyond, resolve_target
from ..surface import by_surface, option
from .class_map import Method
from .smoothing import Averaging, needed_origin

SOFT, EXACT = 5e-2, 2e-3


@keywords
def head_weights(scope: Any, target: Any, layer: Any = "last", *, images: Any = None) -> np.ndarray:
    """The weights that a model's classifier gives the channels of a layer for one class.

    >>> import layerscope as ls
    >>> scope = ls.open(ls.demo_model())
    >>> weights = head_weights(scope, "tiger cat")
    >>> fm = scope.capture(ls.demo_photo(), "last")["last"]
    >>> ls.weighted(fm, weights).shape == (*fm.shape[:-1], 1)  # the class activation map
    True

    With them `weighted` is a class activation map (Zhou et al. 2016, equation 2): its mean over the positions, plus the
    bias (`scope.head().bias`), is the class's score. That holds only where nothing but global average pooling lies
    between `layer` and the last dense layer, so it is checked: the model runs once, and both sides are compared.

    Args:
        scope: A `Scope`, or what `open` takes (a model object, a file, a reference).
        target: A class index or a label.
        layer: The layer whose channels are weighted; `"last"` is the last one with pixels.
        images: What the check runs the model on, by default an embedded photo; a batch with `preprocess=None`.

    Returns:
        float32 `[channel]`.

    Raises:
        BadWeights: The last layer isn't dense, its width doesn't fit the layer, or something else lies between them.
        BadOption: The class doesn't exist, or `layer` selects several layers.
    """
    scope = scope_of(scope)
    images = _images(scope, images)
    head = scope.head(images)
    if head is None:
        raise BadWeights(
            f"{scope.name} has no dense layer with weights of its own, so no class has weights for channels",
            "use grad_cam, or your own weights",
        )
    index = _index(scope, target, len(head.weights))
    layer = by_path(scope, layer)
    maps = scope.capture(images, layer)
    if len(maps) != 1:
        raise BadOption(
            f"layer={choice_in_words(layer)} selects {len(maps)} layers ({', '.join(maps)}): class weights are for one layer"
        )
    (fm,) = maps.values()
    (output, *_) = scope.capture(images, head.path).values()
    _check(fm.image(0), output.image(0), head)
    return head.weights[index]


@keywords
def class_cam(
    fm: FeatureMap,
    target: Any = None,
    *,
    positive: bool = False,
    smooth: int = 0,
    noise: float = 0.1,
    flip: bool = False,
    seed: int = 0,
) -> FeatureMap:
    """The class activation map: the channels weighted by the classifier's own row for a class.

    >>> import layerscope as ls
    >>> fm = ls.open(ls.demo_model()).capture(ls.demo_photo(), "last")["last"]
    >>> class_cam(fm, "tiger cat").shape == (*fm.shape[:-1], 1)
    True

    Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", equation 2. Its mean over the positions,
    plus the classifier's bias, is the class's score before softmax. It is checked, and refused, as in `head_weights`;
    it needs no gradients, so it works for ONNX and TFLite files too.

    Args:
        fm: A map that `Scope.capture` gave, of the layer whose average the classifier takes.
        target: A class index or a label; `None` for that of the capture, or else the top-1 class of each image.
        positive: Set values below 0 to 0.
        smooth: Average over this many noisy copies of the input, as in `grad_cam`.
        noise: Standard deviation of the noise, as a fraction of the input's value range; above 0.
        flip: Average with the map of the mirrored input, mirrored back.
        seed: Seed of the noise.

    Returns:
        A map with one channel, float32 `[image, *spatial, 1]`; `linear` has the weights of each image.

    Raises:
        BadWeights: The classifier's weights cannot be read, or don't belong to this layer.
        BadOption: The map has no link to its model, the class doesn't exist, or an option is invalid.
    """

    def method(fm: FeatureMap) -> FeatureMap:
        origin = needed_origin(fm, "class_cam")
        rows = _rows(fm, origin, target)[:, list(fm.channels)]
        weights, aims = [], []
        for index in range(len(fm.ids)):
            # A row of the classifier, whatever the model's output is made of.
            aim, text = origin.image(index).aimed(target, naming_output=False)
            if callable(aim):
                raise BadOption(
                    "class_cam takes a class index or a label: a function of the output has no row of weights"
                )
            if not 0 <= aim < len(rows):
                raise BadOption(f"{option('target', aim)}: the classifier has the classes 0 to {len(rows) - 1}")
            aims.append((aim, text))
            weights.append(rows[aim])
        return Method("Class activation map", positive, aims).weigh(fm, np.stack(weights))

    made = Averaging(smooth, noise, flip, seed).of("class_cam", method, fm)
    if positive or smooth or flip or len(made.linear.channels if made.linear else ()) < only_map(fm).of:
        return made
    text = "the mean over the positions, plus the classifier's bias, is the score of the class (before softmax)"
    return replace(made, notes=(*made.notes, Note("score", text)))


def _rows(fm: FeatureMap, origin: Origin, target: Any) -> np.ndarray:
    """The classifier's weights `[class, channel]`, checked against the map."""
    head = origin.head() if isinstance(origin, Rerun) else None
    if not isinstance(origin, Rerun) or head is None:
        raise BadWeights(
            "this model has no dense layer whose weights can be read",
            by_surface(
                "use grad_cam, or weighted() with your own weights",
                "use --combine grad-cam, or weights:FILE with your own",
                "choose a weighted sum with your own weights",
            ),
        )
    first = origin.image(0)
    scores = first.layer(head.path)
    # The average through the classifier needs every channel, also where some were chosen.
    _check(fm.image(0) if fm.channels == tuple(range(fm.of)) else first.layer(origin.path), scores, head)
    if target is None and origin.target is None:
        _check_output(first.layer("output"), scores, head)
    return head.weights


def _images(scope: Scope, images: Any) -> Any:
    if images is not None:
        return images
    if scope.preprocess == READY:
        raise BadOption(
            "head_weights runs the model once, and with preprocess=None that needs images=, a batch ready for the model"
        )
    return demo_photo()


def _index(scope: Scope, target: Any, classes: int) -> int:
    index = resolve_target(scope, target)
    if not isinstance(index, int):
        raise BadOption(f"{option('target', target)}: give a class index, 0 to {classes - 1}, or a label")
    if not 0 <= index < classes:
        raise beyond(scope, target, index, classes)
    return index


def _check(fm: FeatureMap, output: FeatureMap, head: Head) -> None:
    """Raises `BadWeights` unless the average of the map, through the classifier, is what the classifier gave."""
    channels = head.weights.shape[1]
    path, name = fm.layer.path or "output", head.path
    if fm.shape[-1] != channels:
        raise BadWeights(
            f"the last dense layer, {name!r}, has {counted(channels, 'input')}, and {path!r} has "
            f"{counted(fm.shape[-1], 'channel')}",
            f"it doesn't follow that layer directly; choose the layer before the pooling {_elsewhere()}",
        )
    mean = fm.values.reshape(-1, channels).mean(0, dtype=np.float64)
    expected = _activated(head.weights @ mean + (0 if head.bias is None else head.bias), head.activation)
    scores = output.values.reshape(-1).astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(scores).all()):
        raise BadWeights(
            f"{path!r} or the output of {name!r} holds NaN or infinite values for this image, so the classifier"
            " cannot be checked on it",
            "use another image",
        )
    if expected is not None and scores.shape == expected.shape:
        soft = head.rounds or any(dtype not in ("float32", "float64") for dtype in (fm.dtype, output.dtype))
        tolerance = (SOFT if soft else EXACT) * max(float(np.abs(scores).max()), 1e-6)
        error = float(np.abs(scores - expected).max())
        if error <= tolerance:
            return
        reason = f"the average of the map through its weights differs from its output by up to {error:.3g}"
    else:
        reason = f"its output has the shape {output.shape}" + (f" after {head.activation}" if head.activation else "")
    raise BadWeights(
        f"the last dense layer, {name!r}, doesn't take the average of {path!r}",
        f"{reason}. Something else lies between (an activation, a normalisation, another pooling, one token taken "
        f"out): choose the layer {_elsewhere()}",
    )


def _elsewhere() -> str:
    """How another layer is chosen, or another combination."""
    return by_surface(
        "with layer=, or use grad_cam", "with --layer, or use --combine grad-cam", "in the list of layers"
    )


def _check_output(output: FeatureMap, logits: FeatureMap, head: Head) -> None:
    """Raises `BadOption` unless the model's own classes are the classifier's: its scores in the same order."""
    shown, scores = output.values.reshape(-1), logits.values.reshape(-1)
    if shown.shape == scores.shape:
        # Softmax and its like keep the order; what they round to the same number may stand either way.
        falls = -np.diff(shown[np.argsort(scores, kind="stable")].astype(np.float64))
        if not (falls > EXACT * float(np.abs(shown).max())).any():
            return
    raise BadOption(
        f"the model's output, of shape {output.shape}, isn't that of its last dense layer, {head.path!r}, so its "
        "top-1 class isn't a class of that layer",
        f"give {option('target')}, 0 to {len(head.weights) - 1} for a row of {head.path!r}",
    )


def _activated(scores: np.ndarray, name: str) -> np.ndarray | None:
    """What the classifier's own activation makes of its scores, `None` for one that isn't known."""
    if name == "softmax":
        raised = np.exp(scores - scores.max())
        return np.asarray(raised / raised.sum())
    if name == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    if name == "relu":
        return np.maximum(scores, 0)
    return scores if not name else None
