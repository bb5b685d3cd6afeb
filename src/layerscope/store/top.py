"""Pictures of the images that a channel answers to: those with its largest values, and some of every eighth below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from .answers import left_out
from .gallery import BINS
from .plan import Kept
from .reading import path_of
from .tally import Tally, quantiles

if TYPE_CHECKING:
    from .store import Store

FEWEST, USUAL = 3, 9
ACTIVE = 0.99  # the share of a channel's values over the data set that lie below what counts as active


@dataclass(frozen=True)
class Look:
    """How a picture of a store is drawn: `view` is a key of `VIEWS`, the rest as in every picture."""

    view: str = "overlay"
    columns: int | None = None
    title: str | None = None
    caption: bool = True
    theme: str = "light"


def top_picture(store: Store, kept: Kept, at: int, count: int | None, *, look: Look) -> Picture:
    """The images with the largest values of a channel, which stands `at` this place in its layer."""
    tally = store.tally(path_of(kept))
    most = tally.top_image.shape[1]
    count = min(USUAL, most) if count is None else count
    count = min(
        whole("k", count, 1, most, instead=f"; the store remembers {most}"), int((tally.top_image[at] >= 0).sum())
    )
    ranked = list(zip(tally.top_image[at, :count].tolist(), tally.top_value[at, :count].tolist(), strict=True))
    head = f"top {len(ranked)} of {counted(len(store.ids) - len(store.failures), 'image')}"
    return _picture(store, kept, at, ranked, head=head, look=look)


def samples_picture(store: Store, kept: Kept, at: int, look: Look) -> Picture:
    """An image of each eighth of the data set by the largest value of a channel, from the highest to the lowest."""
    rows = store.gallery.shown[kept.name][at, -BINS:]
    rows = rows[rows >= 0]
    values = reading.pooled_channel(store.storage, store.plan, kept, by="max", at=at)[rows]
    ranked = list(zip(rows.tolist(), values.tolist(), strict=True))
    whole_set = len(rows) == BINS
    head = "an image of each eighth by the largest value" if whole_set else "images by the largest value"
    return _picture(store, kept, at, ranked, head=head, look=look)


def _picture(
    store: Store, kept: Kept, at: int, ranked: Sequence[tuple[int, float]], *, head: str, look: Look
) -> Picture:
    one_of("view", look.view, VIEWS)
    if not store.tally(path_of(kept)).count[at]:
        raise BadOption(f"{_channel(kept, at)} of {path_of(kept)} has no finite value in any image")
    view = look.view if len(kept.spatial) == 2 else "photo"  # of one number for the whole image
    tally = store.tally(path_of(kept))
    examples = [one for row, value in ranked if (one := _example(store, kept, at, row, value=value)) is not None]
    if not examples:
        raise BadOption(
            "the store has no photos of these images: its last stage isn't done",
            "scan once more, which does what is left",
        )
    rule = Scale.fit(np.concatenate([example.fm.values for example in examples]), "layer")
    level = float(quantiles(tally, (ACTIVE,))[at, 0])
    least = f"{in_digits(level, *rule.limits)}, the {ACTIVE:.0%} quantile over the data set"
    frame = Frame(
        f"{path_of(kept)} · {_channel(kept, at)} · {head}",
        Note("subject", f"{kind_in_words(kept.layer)} · {store.plan.model} · {store.plan.preprocess}"),
        [*_notes(tally, at), view_note(view, least)],
        heading=look.title,
        caption=look.caption,
        quantity="activation",
    )
    about: dict[str, Any] = {"model": store.plan.model, "model_digest": store.plan.digest, "layer": path_of(kept)}
    about |= {"channel": kept.channels[at], "images": [example.name for example in examples], "view": view}
    style = Style(view, rule, level, look.columns)
    return draw_examples(examples, frame, style, {**about, "layerscope": __version__}).themed(look.theme)


def _channel(kept: Kept, at: int) -> str:
    name = f"channel {kept.channels[at]}"
    return f"{name} ({kept.labels[at]})" if kept.labels else name


def _notes(tally: Tally, at: int) -> list[Note]:
    """How large the channel's values are over the data set, so that the top is seen in proportion."""
    median, high = quantiles(tally, (0.5, ACTIVE))[at]
    return [
        Note(
            "data-set",
            f"Over the data set the median is {number(median)}, 99% of the values lie below {number(high)},"
            f" and the largest is {number(float(tally.high[at]))}",
        )
    ]


def _example(store: Store, kept: Kept, at: int, row: int, *, value: float) -> Example | None:
    """One image with the map of the channel on it; `None` where the store has no photo of it."""
    held = store.gallery
    photo, values = held.photo(row), held.map(kept.name, at, row)
    if photo is None or values is None:
        return None
    fm = FeatureMap(
        np.ascontiguousarray(values[None, ..., None]),
        kept.layer,
        (store.ids[row],),
        (kept.channels[at],),
        photos=(photo,),
        placement=(held.placement(row, photo),),
        of=kept.layer.channels or len(kept.channels),
        dtype=kept.dtype,
    )
    label = store.labels[row]
    name = store.ids[row]
    return Example(fm, f"{label} · {name}" if label and not name.startswith(f"{label}/") else name, value)


def scatter_picture(store: Store, kept: Kept, *, by: str, method: str, seed: int, look: Look) -> Picture:
    """The images of a store as points, by their vectors in a layer."""
    one_of("method", method, ("pca", "umap"))
    values = store.vectors(path_of(kept), by)
    rows = np.flatnonzero(vectors.present(values))
    finite = vectors.complete(values[rows])
    values = values[:, finite]
    if len(rows) < FEWEST:
        raise BadOption(f"a plane needs at least {FEWEST} images, and the store has {len(rows)}")
    if method == "pca":
        points, shares = vectors.principal(values[rows])
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # of a layer with one channel
        first, second = [*shares.tolist(), 0.0][:2]
        axes = (f"PC1 · {percent(first)} of the variance", f"PC2 · {percent(second)}")
        how = "along their principal components"
    else:
        umap = library("umap", "scatter(method='umap')", "-learn; method='pca' needs none")
        points = umap.UMAP(n_components=2, random_state=seed).fit_transform(values[rows])
        axes, how = ("UMAP 1", "UMAP 2"), "by UMAP"
    subject = f"{by} over the map · {kind_in_words(kept.layer)} · {store.plan.model} · {store.plan.preprocess}"
    frame = Frame(
        f"{path_of(kept)} · {counted(len(rows), 'image')} {how}",
        Note("subject", subject),
        [Note("left-out", line.capitalize()) for line in left_out(finite)],
        heading=look.title,
        caption=look.caption,
    )
    held, labels = store.gallery, [store.labels[row] for row in rows]
    shown = Points(
        np.asarray(points, float),
        [store.ids[row] for row in rows],
        axes,
        [held.photo(row) for row in rows.tolist()],
        labels if any(labels) else None,
    )
    picture = draw_scatter(
        shown,
        frame,
        provenance={"model": store.plan.model, "layer": path_of(kept), "layerscope": __version__, "method": method},
    )
    return picture.themed(look.theme)
