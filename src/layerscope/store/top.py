"""Pictures of the images that a channel answers to: those with its largest values, and some of every eighth below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._version import __version__
from ..channels.statistics import percent
from ..checks import one_of, whole
from ..core.feature_map import FeatureMap
from ..core.layer import kind_in_words
from ..core.note import Note
from ..core.tables import library
from ..errors import BadOption
from ..picture.canvas import Frame
from ..picture.numbers import number
from ..picture.numbers import reading as in_digits
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..plots.evidence import VIEWS, Example, Style, draw_examples, view_note
from ..plots.scatter import Points, draw_scatter
from ..safe_text import counted
from . import reading, vectors
from .answers import left_out, without_values
from .held import BINS
from .manifest import names_and_labels
from .passing import SAMPLE
from .plan import Kept
from .reading import path_of
from .tally import Tally, quantiles

if TYPE_CHECKING:
    from .store import Store

FEWEST, USUAL = 3, 9
FEWEST_UMAP, NEIGHBOURS = 5, 15  # the latter is UMAP's own default
ACTIVE = 0.99  # the share of a channel's values over the data set that lie below what counts as active


@dataclass(frozen=True)
class Look:
    """How a picture of a store is drawn: `view` is a key of `VIEWS`, the rest as in every picture."""

    view: str = "overlay"
    columns: int | None = None
    title: str | None = None
    caption: bool = True
    theme: str = "light"


def channel_picture(store: Store, kept: Kept, at: int, chosen: Chosen, *, look: Look) -> Picture:
    """Images of a channel, which stands `at` this place in its layer, with its map on each."""
    one_of("view", look.view, VIEWS)
    tally = store.tally(path_of(kept))
    if not tally.count[at]:
        raise BadOption(without_values(store, kept, at))
    examples = examples_of(store, kept, at, chosen)
    if not examples:
        raise BadOption(
            "the store has no photos of these images: its last stage isn't done",
            "scan once more, which does what is left",
        )
    level, word = active(tally, at)
    style = style_of(kept, examples, level, look)
    least = f"{in_digits(level, *style.rule.limits)}, {word} over the data set"
    frame = Frame(
        f"{path_of(kept)} · {_channel(kept, at)} · {chosen.headline(len(examples))}",
        Note("subject", _subject(store, kept)),
        [*_notes(tally, at), *chosen.notes, *_absent(chosen, examples), view_note(style.view, least, examples)],
        heading=look.title,
        caption=look.caption,
        quantity="activation",
    )
    about: dict[str, Any] = {"model": store.plan.model, "model_digest": store.plan.digest, "layer": path_of(kept)}
    about |= {"channel": kept.channels[at], "images": [example.name for example in examples], "view": style.view}
    if kept.on_photo:
        about["places"] = [list(example.peak) for example in examples]  # row and column on the map
    return draw_examples(examples, frame, style, {**about, "layerscope": __version__}).themed(look.theme)


def top_images(store: Store, kept: Kept, at: int, count: int | None = None) -> Chosen:
    """The images with the largest values of a channel."""
    tally = store.tally(path_of(kept))
    most = tally.top_image.shape[1]
    count = min(USUAL, most) if count is None else count
    count = min(
        whole("k", count, 1, most, instead=f"; the store remembers {most}"), int((tally.top_image[at] >= 0).sum())
    )
    ranked = [
        Ranked(int(image), float(value), int(place))
        for image, value, place in zip(
            *(each[at, :count] for each in (tally.top_image, tally.top_value, tally.top_place)), strict=True
        )
    ]
    head = f"top {len(ranked)} of {counted(tally.images(kept.positions), 'image')}"
    return Chosen(ranked, head, _ties(tally, at, count))


def _absent(chosen: Chosen, examples: Sequence[Example]) -> list[Note]:
    """That images have no photo, as those that were gone when the scan came to its end."""
    count = len(chosen.images) - len(examples)
    return (
        [Note("absent", f"{counted(count, 'image')} had gone when the scan ended and can't be shown")] if count else []
    )


def _ties(tally: Tally, at: int, count: int) -> list[Note]:
    """That the last of the top images is no more so than others, where the next one has the same value."""
    values, images = tally.top_value[at], tally.top_image[at]
    if not 0 < count < len(values) or images[count] < 0 or values[count] != values[count - 1]:
        return []
    text = f"More images have the value {number(float(values[count]))}: of equal ones those that come first are shown"
    return [Note("ties", text)]


def sample_images(store: Store, kept: Kept, at: int) -> Chosen:
    """An image of each eighth of the data set by the largest value of a channel."""
    rows = store.gallery.shown[kept.name][at, -BINS:]
    rows = rows[rows >= 0]
    values, places = (
        reading.pooled_at(store.storage, store.plan, kept, rows, at=at, by=by) for by in ("max", "argmax")
    )
    ranked = [Ranked(*one) for one in zip(rows.tolist(), values.tolist(), places.tolist(), strict=True)]
    whole_set = len(rows) == BINS
    head = "an image of each eighth by the largest value" if whole_set else "images by the largest value"
    some = Note("sampled", f"Out of {SAMPLE} images that lie evenly in the data set's {store.plan.images:,}")
    notes = [some] if store.plan.images > SAMPLE else []
    return Chosen(ranked, head, notes)


def examples_of(store: Store, kept: Kept, at: int, chosen: Chosen) -> list[Example]:
    """Those images of which the store has a photo, each with the map of a channel."""
    found = (_example(store, kept, at, one) for one in chosen.images)
    return [one._replace(rank=rank) for rank, one in enumerate(found, 1) if one is not None]


def style_of(kept: Kept, examples: Sequence[Example], level: float, look: Look) -> Style:
    """How they are shown: on one scale, and active from `level` on."""
    view = look.view if kept.on_photo else "photo"
    rule = Scale.fit(np.concatenate([example.fm.values for example in examples]), "layer")
    return Style(view, rule, level, look.columns)


def _channel(kept: Kept, at: int) -> str:
    name = f"channel {kept.channels[at]}"
    return f"{name} ({kept.labels[at]})" if kept.labels else name


def _subject(store: Store, kept: Kept) -> str:
    return " · ".join(filter(None, (kind_in_words(kept.layer), store.plan.model, store.plan.preprocess)))


def active(tally: Tally, at: int) -> tuple[float, str]:
    """The value from which on a channel is active, and what that is.

    Where many values are the same, such as those at the ceiling of ReLU6, a quantile is that value, and what is interpolated
    between units would hardly reach it: half way from the median to the largest tells more.
    """
    median, level = quantiles(tally, (0.5, ACTIVE), [at])[0].tolist()
    high = float(tally.high[at])
    if median < level < high:
        return level, f"the {ACTIVE:.0%} quantile"
    if not median < high:  # a constant channel, or one beyond float16
        return high / 2, "half of the largest value"
    half_way = (median + high) / 2
    return half_way, "half of the largest value" if median == 0 else "half way from the median to the largest value"


def _notes(tally: Tally, at: int) -> list[Note]:
    """How large the channel's values are over the data set, so that the top is seen in proportion."""
    low, high = float(tally.low[at]), float(tally.high[at])
    odd = [(tally.nan[at], "NaN"), (tally.inf[at], "infinite")]
    broken = [f"{count:,} values are {word} and aren't counted" for count, word in odd if count]
    if low == high:
        text = (
            "Dead: 0 everywhere in every image" if high == 0 else f"Constant: {number(high)} everywhere in every image"
        )
        return [Note("data-set", "; ".join([text, *broken]))]
    median, most = quantiles(tally, (0.5, ACTIVE), [at])[0].tolist()
    parts = [] if np.isnan(median) else [f"the median is {number(median)}"]
    parts += [] if np.isnan(most) else [f"99% of the values are at most {number(most)}"]
    parts.append(f"the largest is {number(high)}")
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return [Note("data-set", "; ".join([f"Over the data set {listed}", *broken]))]


class Ranked(NamedTuple):
    """An image by its row in the manifest, with the value that it is shown for and where on the map that is."""

    row: int
    value: float
    place: int


class Chosen(NamedTuple):
    """The images of a picture, what the title says of them, and what else is to be said."""

    images: Sequence[Ranked]
    head: str
    notes: Sequence[Note]

    def headline(self, shown: int) -> str:
        """What a title says where so many of them are shown."""
        return self.head if shown == len(self.images) else f"{shown} of the {self.head}"


def _example(store: Store, kept: Kept, at: int, ranked: Ranked) -> Example | None:
    """One image with the map of the channel on it; `None` where the store has no photo of it."""
    held, row = store.gallery, ranked.row
    (name,), (label,) = names_and_labels([store.manifest[row]])
    photo, values = held.photo(row), held.map(kept.name, at, row)
    if photo is None or values is None:
        return None
    if ranked.place >= 0:
        values.flat[ranked.place] = ranked.value  # as it was, where the map may be float16
    flat = kept.on_photo and ranked.place >= 0
    place = divmod(ranked.place, kept.spatial[1]) if flat else None
    fm = FeatureMap(
        np.ascontiguousarray(values[None, ..., None]),
        kept.layer,
        (name,),
        (kept.channels[at],),
        photos=(photo,),
        placement=(held.placement(row, photo),),
        of=kept.layer.channels or len(kept.channels),
        dtype=kept.dtype,
    )
    name = f"{label} · {name}" if label and label not in name.split("/")[:-1] else name
    return Example(fm, name, ranked.value, place)


def scatter_picture(store: Store, kept: Kept, *, by: str, method: str, seed: int, look: Look) -> Picture:
    """The images of a store as points, by their vectors in a layer."""
    one_of("method", method, ("pca", "umap"))
    held = store.gallery  # raises where the scan isn't finished
    values = store.vectors(path_of(kept), by)
    rows = np.flatnonzero(vectors.present(values))
    finite = vectors.complete(values[rows])
    values = values[:, finite]
    if len(rows) < FEWEST:
        raise BadOption(
            f"a plane needs at least {FEWEST} images with a vector, and {len(rows)} of {len(values)} have one"
        )
    if method == "pca":
        points, shares = vectors.principal(values[rows])
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # of a layer with one channel
        first, second = [*shares.tolist(), 0.0][:2]
        axes = (f"PC1 · {percent(first)} of the variance", f"PC2 · {percent(second)}")
        how = "along their principal components"
        about: dict[str, Any] = {"method": method}
    else:
        if len(rows) < FEWEST_UMAP:
            raise BadOption(
                f"UMAP needs at least {FEWEST_UMAP} images with a vector, and {len(rows)} have one", "use method='pca'"
            )
        umap = library("umap", "scatter(method='umap')", "-learn; method='pca' needs none")
        near = min(NEIGHBOURS, len(rows) - 1)
        points = umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(values[rows])
        axes, how = ("UMAP 1", "UMAP 2"), "by UMAP"
        about = {"method": method, "neighbours": near, "seed": seed}
    notes = [Note("left-out", line.capitalize()) for line in left_out(finite)]
    if (np.ptp(points, axis=0) == 0).all():
        notes.append(Note("same", "The layer tells none of the images apart: all lie at one point"))
    subject = f"{by} over the map · {_subject(store, kept)}" if kept.spatial else _subject(store, kept)
    frame = Frame(
        f"{path_of(kept)} · {counted(len(rows), 'image')} {how}",
        Note("subject", subject),
        notes,
        heading=look.title,
        caption=look.caption,
    )
    labels = [store.labels[row] for row in rows]
    shown = Points(
        np.asarray(points, float),
        [store.ids[row] for row in rows],
        axes,
        lambda index: held.photo(int(rows[index])),
        labels if any(labels) else None,
    )
    picture = draw_scatter(
        shown,
        frame,
        provenance={"model": store.plan.model, "layer": path_of(kept), "layerscope": __version__, **about},
    )
    return picture.themed(look.theme)
