"""What has changed between two maps of one layer: two images, two checkpoints, float and int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays.reductions import channel_squares
from ..checks import keywords
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..core.words import all_channels, image_name
from ..errors import BadLayout, BadOption
from ..picture.caption import fed_text

MOST_CHANGED = 8
SOME = 0.01  # less may be rounding
AXES = {1: ("n",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@keywords
def difference(a: Any, b: Any = None, *, relative: bool = False) -> FeatureMap:
    """`a - b`, unit by unit and signed, with every channel.

    >>> import numpy as np
    >>> difference(np.array([[[[1.0, 5.0]]]]), np.array([[[[1.0, 3.0]]]])).values.ravel().tolist()
    [0.0, 2.0]

    The notes name the channels that changed most, by the root mean square of what is given, and the change of the whole,
    `|a - b| / |b|`; and where one of two models has values below 0 and the other none, that an activation may lie between the
    two. `sheet(difference(a, b), sort="energy")` draws the most changed first.

    Args:
        a: A map; or, without `b`, one with exactly two images, whose first minus second is taken.
        b: A map of the same shape: another image, model or checkpoint, or a network's quantised twin.
        relative: Divide each channel by the root mean square of `b` in it (±inf where a dead channel came to life).

    Returns:
        float32 `[image, *spatial, channel]`. Units with NaN or inf in one of the two don't count in the notes.

    Raises:
        BadLayout: The two have other shapes or channels, or hold the numbers of clusters.
        BadOption: There is no `b`, and `a` doesn't have two images.
    """
    a = as_map(a)
    if b is None:
        if len(a.ids) != 2:
            raise BadOption(
                "difference needs two maps, or one of exactly two images; this one has"
                f" {len(a.ids)}: fm.image(0) is one of them"
            )
        a, b = a.image(0), a.image(1)
    b = as_map(b)
    _check_fit(a, b)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.subtract(a.values, b.values)
    change, size = _rms(values), _rms(b.values)
    notes: list[str] = [*_which(a, b), *_one_signed(a, b), Note("overall", _whole(change, size))]
    broken = int(values.size - np.isfinite(values).sum())
    if broken:
        notes.append(Note("not-finite", f"{broken:,} of {values.size:,} units have no difference (NaN or inf)"))
    if relative:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(values == 0, values, values / size.astype(np.float32))
            change = np.where(change == 0, 0, change / size)
        notes.append(Note("relative", "each channel divided by the root mean square of b in that channel"))
    notes.append(Note("most-changed", _most_changed(a, change)))
    pairs = zip(a.ids, b.ids, strict=True)
    ids = tuple(one if one == other else f"{image_name(one)} − {image_name(other)}" for one, other in pairs)
    base = a if a.ids == b.ids and a.placement == b.placement else replace(a, photos=None, placement=None)
    # Two runs of a model can't be asked again as one.
    base = replace(base, origin=None, notes=tuple(dict.fromkeys((*a.notes, *b.notes))))
    name = "relative difference" if relative else "difference"
    other = {key: value for key, value in b.provenance.items() if a.provenance.get(key) != value}
    provenance = {**a.provenance, "minus": {"images": list(b.ids), "layer": b.layer.path, **other}}
    combined = base.combined(values, name, (*notes, *_fed(a, b)), over="" if a.rule else all_channels(a))
    return replace(combined, ids=ids, channels=a.channels, provenance=provenance)


def _rms(values: np.ndarray) -> np.ndarray:
    """The root mean square of each channel over all positions, float64 `[channel]`; 0 where no position is finite."""
    summed = channel_squares(values)
    if np.isfinite(summed).all():
        return np.asarray(np.sqrt(summed / max(1, values[..., 0].size)))
    finite = np.isfinite(values)
    axes = tuple(range(values.ndim - 1))
    with np.errstate(over="ignore"):
        squares = np.where(finite, values, 0).astype(np.float64) ** 2
    return np.asarray(np.sqrt(squares.sum(axes) / np.maximum(1, finite.sum(axes))))


def _whole(change: np.ndarray, size: np.ndarray) -> str:
    """The change of the whole map against the size of `b`."""
    changed, whole = float(np.linalg.norm(change)), float(np.linalg.norm(size))
    if not changed:
        return "no difference"
    if not whole:
        return "changed, and b is 0 everywhere"
    return f"overall, the L2 norm of a − b is {changed / whole:.3g} times that of b"


def _most_changed(fm: FeatureMap, change: np.ndarray) -> str:
    order = [index for index in np.argsort(-change, kind="stable")[:MOST_CHANGED] if change[index] > 0]
    if not order:
        return "no channel changed"
    channels = ", ".join(f"{fm.channels[index]} ({change[index]:.3g})" for index in order)
    return f"most changed channels (rms): {channels}"


def _which(a: FeatureMap, b: FeatureMap) -> tuple[str, ...]:
    """Which is `a` and which `b`, by what differs between them."""
    pairs = [
        (a.layer.path, b.layer.path),
        (str(a.provenance.get("model", "")), str(b.provenance.get("model", ""))),
        (_digest(a), _digest(b)),
        (", ".join(map(image_name, a.ids)), ", ".join(map(image_name, b.ids))),
        (a.dtype, b.dtype),
        (a.layer.kind, b.layer.kind),
    ]
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    if not differ:
        return (Note("sides", "difference a − b; both are of the same model, layer and images by name"),)
    first, second = (", ".join(pair[side] or "–" for pair in differ) for side in (0, 1))
    return (Note("sides", f"difference a − b: a is {first}, b is {second}"),)


def _fed(a: FeatureMap, b: FeatureMap) -> tuple[Note, ...]:
    """How the photos became the model's input, where it was the same for both and `caption` can't tell by one of them."""
    ways = {fed_text(fm, size=a.ids == b.ids) for fm in (a, b)}
    kept = a.ids == b.ids and a.placement == b.placement
    return () if kept or len(ways) > 1 or ways == {""} else (Note("fed", ways.pop()),)


def _one_signed(a: FeatureMap, b: FeatureMap) -> tuple[str, ...]:
    """The note for two maps of which one has no value below 0 and the other many, as before and after an activation.

    Quantised models often hold no activation of their own: the range of the layer before it begins at 0.
    """
    if (_digest(a), a.layer.path) == (_digest(b), b.layer.path) and _digest(a):
        return ()
    below = [0.0 if fm.values.min() >= 0 else float((fm.values < 0).mean()) for fm in (a, b)]
    if min(below) > 0 or max(below) < SOME:
        return ()
    signed, other = ("a", "b") if below[0] else ("b", "a")
    text = (
        f"{max(below):.0%} of {signed} is below 0, and nothing of {other} is: {other} may come after an activation and {signed}"
        " before it (quantised models fold it into the layer); then compare the layer after it"
    )
    return (Note("one-signed", text),)


def _digest(fm: FeatureMap) -> str:
    whole = str(fm.provenance.get("model_digest", ""))
    return whole[: whole.find(":") + 9] if whole else ""


def _check_fit(a: FeatureMap, b: FeatureMap) -> None:
    """Raises `BadLayout` that says how the two differ."""
    if "labels" in (a.role, b.role):
        raise BadLayout(
            "cluster numbers are labels, which can't be subtracted: take the difference of the layer itself"
        )
    if not a.values.size:
        raise BadLayout(f"difference: the map is empty, its shape is {a.shape}")
    if a.shape == b.shape and a.channels == b.channels:
        return
    shapes = f"a is {list(a.shape)}, b is {list(b.shape)} [image, *spatial, channel]"
    if len(a.shape) != len(b.shape):
        raise BadLayout(f"difference needs two maps of the same shape: {shapes}, one has more axes than the other")
    names = ("images", *AXES.get(len(a.spatial), ()), "channels")
    differ = [
        f"{name} ({one} and {other})" for name, one, other in zip(names, a.shape, b.shape, strict=True) if one != other
    ]
    if differ:
        raise BadLayout(
            f"difference needs two maps of the same shape: {shapes}, they differ in {', '.join(differ)}; a layer has "
            "the same shape for all inputs of one size"
        )
    only = sorted(set(a.channels) ^ set(b.channels))[:8]
    raise BadLayout(
        "difference needs two maps with the same channels in the same "
        f"order{f': only one of the two holds {only}' if only else ''}; fm.select(channels) picks them"
    )
