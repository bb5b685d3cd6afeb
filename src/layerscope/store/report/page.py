"""The whole report of a store: its images, then each layer with its statistics, the plane of images, and its channels."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...channels.statistics import percent
from ...core.layer import kind_in_words
from ...core.progress import work
from ...errors import BadOption, LayerscopeError
from ...picture.numbers import number
from ...plots.evidence import Example, view_note
from ...safe_text import counted
from .. import reading
from ..answers import histogram_table
from ..plan import Kept
from ..reading import path_of
from ..tally import quantiles
from ..top import ACTIVE, Chosen, Look, active, examples_of, sample_images, scatter_picture, style_of, top_images
from .choice import Choice, chosen, numbers_of
from .histogram import histogram
from .parts import bar, photos, picture, table, text
from .style import STYLE

if TYPE_CHECKING:
    from ..store import Store

ROWS = 1000  # of a table
REASONS = 50
CLASSES = 20

Step = Callable[[int], None]


def page(store: Store, layers: Any, channels: Any, *, room: int) -> tuple[str, list[str]]:
    """The text of a report of at most `room` bytes, and what had to be left out for that.

    Raises `BadOption` where not even one layer fits.
    """
    kepts = layers_of(store, layers)
    numbers = numbers_of(store, kepts, channels)
    choices = [chosen(store, kept, numbers) for kept in kepts]
    head = f"{text(store.plan.model)} · {counted(store.plan.images, 'image')}"
    images = "".join(_images(store))
    left = room - len(STYLE) - len(images) - 4096 - 512 * len(kepts)
    sections: list[tuple[int, Kept, str]] = []
    notes: list[str] = []
    beyond = f"with more the file has over {room / 1e6:.3g} MB"
    with work(sum(len(choice.places) for choice in choices), "channels") as step:
        for at, (kept, choice) in enumerate(zip(kepts, choices, strict=True)):
            share = left // (len(kepts) - at)
            opening = "".join(_opening(store, kept, f"layer-{at}"))
            if len(opening) > left:
                notes.append(f"{path_of(kept)} is left out: {beyond}.")
                continue
            rest = max(share, len(opening)) - len(opening)
            body, shown = _channels(store, kept, choice, anchor=f"layer-{at}", room=rest, step=step)
            if shown < len(choice.places):
                several = counted(len(choice.places), "channel")
                notes.append(f"{path_of(kept)}: {shown} of {several} chosen are shown: {beyond}.")
            section = f'<section id="layer-{at}">{opening}{body}</section>'
            left -= len(section)
            sections.append((at, kept, section))
    if not sections:
        raise BadOption(f"no layer fits into a report of {room / 1e6:.3g} MB", "`layerscope top` draws single channels")
    links = "".join(
        f'<li><a href="#layer-{at}">{text(path_of(kept))}</a> <span class="grey">{text(_sizes(kept))}</span></li>'
        for at, kept, _ in sections
    )
    said = "".join(f"<p>{text(note)}</p>" for note in notes)
    plan = store.plan
    body = (
        f'<header><h1>{head}</h1><p class="grey">{text(plan.framework)} · {text(plan.preprocess)}</p>{said}</header>'
        f'<nav aria-label="Layers"><ul>{links}</ul></nav><main>{images}{"".join(each for *_, each in sections)}</main>'
    )
    return document(head, body), notes


def document(title: str, body: str) -> str:
    """The file: nothing in it is asked for elsewhere, and nothing runs. `title` is HTML already."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def layers_of(store: Store, layers: Any) -> list[Kept]:
    """The layers that are named; without a name, or by the word for the stages of a model, all that were scanned."""
    if layers is None or layers == "stages":
        return list(store.plan.layers)
    names = [layers] if isinstance(layers, str) else list(layers)
    found = [reading.layer_named(store.plan, name) for name in names]
    return [kept for at, kept in enumerate(found) if kept not in found[:at]]


def _images(store: Store) -> Iterator[str]:
    """What became of the images, and which classes they have."""
    failures, plan = store.failures, store.plan
    open_units = sum(receipt is None for receipt in store.receipts)
    yield '<section id="images"><h2>Images</h2>'
    line = f"{plan.images - len(failures):,} of {counted(plan.images, 'image')} were read"
    if open_units:
        line = (
            f"The scan isn't finished: {open_units} of {counted(plan.units, 'unit')} of {plan.unit} images are missing"
        )
    yield f"<p>{line}. Kept: {_KEPT[plan.keep]}.</p>"
    classes = Counter(label for label in store.labels if label)
    if classes:
        named = ", ".join(f"{text(name)} ({count:,})" for name, count in classes.most_common(CLASSES))
        more = f" and {len(classes) - CLASSES:,} more" if len(classes) > CLASSES else ""
        yield f"<p>{counted(len(classes), 'class', 'classes')}: {named}{more}.</p>"
    if failures:
        rows = "".join(f"<li>{text(one.id)}: {text(one.reason)}</li>" for one in failures[:REASONS])
        more = f"<li>and {len(failures) - REASONS:,} more</li>" if len(failures) > REASONS else ""
        yield f"<details><summary>{counted(len(failures), 'image')} skipped</summary><ul>{rows}{more}</ul></details>"
    yield "</section>"


_KEPT = {
    "pooled": "the mean and the largest value of each channel for each image, and the statistics of all values",
    "maps": "the maps, the mean and the largest value of each channel for each image, and the statistics of all values",
    "stats": "the statistics of all values, nothing of single images but the top ones",
}


def _sizes(kept: Kept) -> str:
    """Kind and sizes of a layer, width × height."""
    sizes = f" of {' × '.join(map(str, kept.spatial[::-1]))}" if kept.spatial else ""
    return " · ".join(filter(None, (kind_in_words(kept.layer), f"{counted(len(kept.channels), 'channel')}{sizes}")))


def _opening(store: Store, kept: Kept, anchor: str) -> Iterator[str]:
    """What is said of a layer as a whole: the statistics of its channels and the plane of images."""
    stats = store.stats(path_of(kept))
    yield f'<h2>{text(path_of(kept))}</h2><p class="grey">{text(_sizes(kept))}</p>'
    yield "<h3>Values over the data set</h3>"
    yield "".join(f"<p>{text(note[:1].upper() + note[1:])}.</p>" for note in stats.notes)
    caption = stats.title
    if len(stats) > ROWS:
        caption += f", the first {ROWS:,}; `layerscope top` writes all of them as CSV"
    yield f"<details><summary>Statistics of {counted(len(stats), 'channel')}</summary>{table(stats, caption, ROWS)}</details>"
    try:
        light = scatter_picture(store, kept, by="mean", method="pca", seed=0, look=Look(title="", caption=False))
    except LayerscopeError as error:
        yield f'<p class="grey">No plane of images: {text(error)}.</p>'
        return
    yield "<h3>Images by what the layer makes of them</h3>"
    yield "<p>Those lie together that the layer sees as alike: the means of its channels along two principal components.</p>"
    drawn = picture(
        light, light.themed("dark"), f"Images of the data set as points of a plane, by the channels of {path_of(kept)}"
    )
    yield f'<figure id="{anchor}-plane">{drawn}</figure>'


def _channels(store: Store, kept: Kept, choice: Choice, *, anchor: str, room: int, step: Step) -> tuple[str, int]:
    """The channels of a layer that there is room for, and how many."""
    parts = [f"<h3>Channels</h3><p>{text(choice.why)}. Photos are what the model saw.</p>"]
    left, shown = room - len(parts[0]), 0
    for at in choice.places:
        article = "".join(_channel(store, kept, at, line=choice.lines.get(at, ""), anchor=anchor))
        if len(article) > left:
            break
        left -= len(article)
        shown += 1
        step(1)
        parts.append(article)
    return "".join(parts), shown


def _channel(store: Store, kept: Kept, at: int, *, line: str, anchor: str) -> Iterator[str]:
    """One channel: its numbers, its top images, some of each eighth, how its values are spread."""
    tally = store.tally(path_of(kept))
    number_of, label = kept.channels[at], f" · {kept.labels[at]}" if kept.labels else ""
    yield f'<article id="{anchor}-channel-{number_of}"><h4>Channel {number_of}{text(label)}</h4>'
    median, high = quantiles(tally, (0.5, ACTIVE), [at])[0].tolist()
    figures = [
        f"mean {number(float(tally.mean[at]))}", f"median {number(median)}", f"99% below {number(high)}",
        f"largest {number(float(tally.high[at]))}", f"{percent(float(tally.zeros[at]) / max(1, int(tally.count[at])))} zeros",
    ]  # fmt: skip
    yield f'<p class="grey">{text(" · ".join(figures))}</p>'
    if line:
        yield f"<p>{text(line[:1].upper() + line[1:])}.</p>"
    yield from _examples(store, kept, at)
    if tally.count[at]:
        spread = histogram_table(kept, tally, at)
        label = f"Histogram of channel {number_of} of {path_of(kept)}, {counted(int(tally.count[at]), 'value')}"
        words = "All values; heights are logarithms of counts"
        yield f"<figure><figcaption>{words}</figcaption>{histogram(spread, label)}</figure>"
    yield "</article>"


def _examples(store: Store, kept: Kept, at: int) -> Iterator[str]:
    """Photos of a channel in two rows, on one scale: the top, and some of each eighth below."""
    on_map = kept.on_photo
    rows: list[tuple[str, list[Example], tuple[str, ...]]] = []
    kinds: tuple[tuple[Callable[[Store, Kept, int], Chosen], str, tuple[str, ...]], ...] = (
        (top_images, "The {} with the largest values", ("overlay", "crop")),
        (sample_images, "{}, one of each eighth by the largest value, from the highest", ("overlay",)),
    )
    for images_of, words, views in kinds:
        try:
            images = images_of(store, kept, at)
            examples = examples_of(store, kept, at, images)
        except BadOption as error:  # statistics alone, or the last stage isn't done
            yield f'<p class="grey">{text(error)}</p>'
            continue
        if examples:
            said = [
                words.format(counted(len(examples), "image")),
                *(note[:1].lower() + note[1:] for note in images.notes),
            ]
            rows.append(("; ".join(said), examples, views if on_map else ("photo",)))
    if not rows:
        return
    level = active(store.tally(path_of(kept)), at)[0]
    style = style_of(kept, [one for _, examples, _ in rows for one in examples], level, Look())
    for words, examples, views in rows:
        below = ""
        if "crop" in views:
            seen = str(view_note("crop", "", examples))
            below = f"; below each: {seen[:1].lower()}{seen[1:]}"
        ranked = examples is rows[0][1]
        yield f"<figure><figcaption>{text(words + below)}</figcaption>{photos(examples, style, views, ranked=ranked)}</figure>"
    if on_map:
        yield bar(style.rule)
