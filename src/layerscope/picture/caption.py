"""What is written on a picture and in its file: title, caption, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..core.feature_map import FeatureMap
from ..core.layer import kind_in_words
from ..core.note import Note, kind_of
from ..core.placement import Placement
from ..core.words import OF_ITS_KIND, channel_word, image_name, of_heads
from ..safe_text import capitalised, counted
from .numbers import number
from .scale import Scale

MOST_NAMED = 6  # channels that a title names one by one
LONGEST_QUANTITY = 24

# What the numbers of a combination are, beside its bar, by the first words of its method.
QUANTITIES = {
    "norm": "L2 norm",
    "sum": "sum",
    "standard deviation": "standard deviation",
    "difference": "difference",
    "relative difference": "relative difference",
    "attention rollout": "attention",
    "cosine similarity": "cosine similarity",
    "dot similarity": "dot product",
    "euclidean similarity": "−distance",
    "class activation map": "score of each position",
    "weighted sum": "weighted sum",
}


def title_of(fm: FeatureMap, shown: str = "") -> str:
    """What the picture shows: `block1_conv2 · 64 channels of 224 × 224`, `Mean of 64 channels · block1_conv2`."""
    path = fm.layer.path or ("output" if fm.rule else "Output")
    if len(fm.spatial) == 1 and len(fm.layer.prefix) == fm.spatial[0]:
        path += f" · prefix token{'s' * (fm.spatial[0] > 1)} {', '.join(fm.layer.prefix)}"
    if not shown and not fm.rule and len(fm.channels) == 1 < fm.of:
        shown = f"{channel_word(fm)} {fm.channels[0]}"
    return " · ".join(part for part in (capitalised(fm.rule), path, shown) if part)


def size_text(fm: FeatureMap) -> str:
    """The size of a map in words: width × height, and depth; positions of a sequence; `""` for one number per channel.

    >>> size_text(FeatureMap.of_array(np.zeros((1, 20, 30, 4))))
    '30 × 20'
    """
    if max(fm.spatial, default=1) == 1:
        return ""
    return " × ".join(map(str, fm.spatial[::-1]))


def is_combined(fm: FeatureMap) -> bool:
    """Whether a map was made of several channels, so that its only one isn't the layer's channel of that number."""
    return bool(fm.rule) and len(fm.channels) == 1


def channels_text(fm: FeatureMap, numbers: Sequence[int], condition: str = "") -> str:
    """Which channels a picture shows, and of which size: `64 channels of 8 × 8`, `channels 0 to 15 of 64, each 8 × 8`."""
    size, positions = size_text(fm), len(fm.spatial) == 1
    if is_combined(fm):
        return (f"{size} positions" if size and positions else size) + condition
    count, every = len(numbers), counted(fm.of, channel_word(fm))
    named = "" if count == fm.of or condition else _numbers_text(sorted(numbers))
    if named:
        text, between = f"{channel_word(fm)}{'s' * (count > 1)} {named} of {fm.of:,}", ", " if count == 1 else ", each "
    else:
        text, between = every if count == fm.of else f"{count:,} {'' if condition else 'chosen '}of {every}", " of "
    if positions:
        return text + (f" × {size} positions" if size else "") + condition
    return text + (f"{between}{size}" if size else "") + condition


def _numbers_text(numbers: Sequence[int]) -> str:
    """Channel numbers in a title: `0 to 15`, `5, 17 and 100`; `""` where they are too many."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    if len(numbers) > MOST_NAMED:
        return ""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def quantity(fm: FeatureMap) -> str:
    """What the numbers of a map are, for its bar; `""` where its title says it."""
    if fm.role == "weights":
        return "weight"
    if named := next((name for method, name in QUANTITIES.items() if fm.method.lower().startswith(method)), ""):
        return named
    if fm.role:
        return ""
    if fm.method not in ("", *OF_ITS_KIND) or fm.rule.startswith(f"{fm.method} of the "):
        # Of a combination of a combination, and of the class activation maps, which have no unit, the name.
        name = fm.method.partition(" for ")[0].partition(" of ")[0]
        return name if len(name) <= LONGEST_QUANTITY else ""
    if of_heads(fm):
        return "attention"
    return "activation" if fm.provenance.get("model") else "value"


def caption(fm: FeatureMap, scale: Scale | None, *more: str) -> tuple[str, ...]:
    """The subject, for the line below the title, then what stands below the picture: the rule of the scale, notes on the map.

    `more` is what else the subject says: the order of the tiles, the page.
    """
    rule = () if scale is None else scale.notes()
    return _subject(fm, more), *rule, *_remarks(fm)


def _subject(fm: FeatureMap, more: Sequence[str]) -> Note:
    """Kind of layer, model, image and how it was fed to the model, and what `more` there is to say."""
    model, kind = fm.provenance.get("model"), kind_in_words(fm.layer)
    parts = [
        # The title has the path: `array` of a numpy array, `Reshape` of a Reshape.
        "weights" if fm.role == "weights" else kind * (kind.rpartition(" ")[2] != fm.layer.path),
        str(model or ""),
        ", ".join(filter(None, (_image(fm), fed_text(fm, size=len(fm.ids) == 1)))),
        fm.dtype if fm.dtype not in ("float32", "float64") else "",
        *more,
    ]
    return Note("subject", " · ".join(filter(None, parts)))


def _image(fm: FeatureMap) -> str:
    """The image by its name; nothing where an array is all there is."""
    if len(fm.ids) != 1:
        return f"{len(fm.ids)} images"
    if (of_several := next((note for note in fm.notes if kind_of(note) == "image"), "")) != "":
        return of_several
    return "" if fm.photos is None and fm.ids[0] == "image 0" else image_name(fm.ids[0])


def fed_text(fm: FeatureMap, *, size: bool = True) -> str:
    """How the photos became the model's input: `451 × 300, centre crop, resized to 224 × 224, imagenet preprocessing`.

    Without the photo's own `size` where that is said elsewhere, or photos differ in it; `""` where other things differ.
    """
    if fed := next((str(note) for note in fm.notes if kind_of(note) == "fed"), ""):
        return fed
    places = fm.placement or ()
    ways = {_way(place) for place in places}
    if len(ways) != 1:
        return ""
    recipe = str(fm.provenance.get("preprocess", "")).partition(": ")[0]
    sizes = {f"{place.photo[1]} × {place.photo[0]}" for place in places if size}
    assumed = " (assumed)" if fm.provenance.get("preprocess_assumed") else ""
    parts = [*sizes, *ways, f"{recipe} preprocessing{assumed}" * bool(recipe)]
    return ", ".join(filter(None, parts))


def _way(place: Placement) -> str:
    """How a photo was cut and resized; `""` where it wasn't."""
    if place == Placement.whole(place.photo, place.photo):
        return ""
    return f"{place.describe()} {place.input[1]} × {place.input[0]}"


def _remarks(fm: FeatureMap) -> list[str]:
    """Notes on the map and its layer."""
    # Gradients are in the picture only where its title names their rule and the class.
    notes = [note for note in fm.notes if kind_of(note) not in ("target", "image", "fed")]
    if fm.layer.part and fm.layer.note.startswith(fm.layer.part):
        notes = [note for note in notes if kind_of(note) != "main-output"]
    if fm.layer.note:
        notes.append(fm.layer.note)
    if fm.tokens is not None and fm.tokens.shape[1]:
        names = ", ".join(fm.layer.prefix)
        notes.append(Note("tokens", f"{counted(fm.tokens.shape[1], 'prefix token')} not shown: {names}"))
    if fm.layer.attention and len(fm.spatial) == 2:
        notes.append(_attention_axes(fm))
    return notes


def _attention_axes(fm: FeatureMap) -> Note:
    """What the rows and columns of attention weights are."""
    queries, keys = fm.spatial
    text = f"rows are {queries} query tokens, columns {keys} key tokens"
    if fm.layer.grid is not None:
        front = f"{', '.join(fm.layer.prefix)} first, then " if fm.layer.prefix else ""
        rows, columns = fm.layer.grid
        text += f" ({front}{rows} × {columns} patches row by row)"
    return Note("attention", text)


def about(fm: FeatureMap, scale: Scale | None, **more: Any) -> dict[str, Any]:
    """The provenance of a picture: everything needed to say which model, layer, image and rule it shows."""
    return {
        **fm.provenance,
        "layer": fm.layer.path,
        "kind": fm.layer.kind,
        **({"usual_name": fm.layer.usual_name} if fm.layer.usual_name else {}),
        "output": list(fm.layer.shape or fm.shape),
        "axes": fm.layer.axes,
        "dtype": fm.dtype,
        "images": list(fm.ids),
        "channels": f"{len(fm.channels)} of {fm.of}",
        "layer_channels": fm.of,
        "combination": fm.rule or None,
        "notes": list(fm.notes),
        "note_kinds": [kind_of(note) for note in fm.notes],
        "layerscope": __version__,
        "numpy": np.__version__,
        **more,
    }


def not_finite(values: np.ndarray) -> str:
    """How many values are NaN, +inf and −inf, in words; `""` where all are finite."""
    counts = (("NaN", np.isnan(values)), ("+inf", values == np.inf), ("−inf", values == -np.inf))
    return ", ".join(f"{where.sum():,} {word}" for word, where in counts if where.any())


def special(values: np.ndarray, name: str) -> tuple[Note, ...]:
    """A note where values are dead, constant, NaN or infinite."""
    broken = not_finite(values)
    if broken:
        none = "" if np.isfinite(values).any() else ", no finite value"
        return (Note("not-finite", f"{name} holds {broken}{none}"),)
    if values.size and (values == values.flat[0]).all():
        if values.flat[0] == 0:
            return (Note("dead", f"{name} is dead (0 everywhere)"),)
        return (Note("constant", f"{name} is constant ({number(values.flat[0])})"),)
    return ()
