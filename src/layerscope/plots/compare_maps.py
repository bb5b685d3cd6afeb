"""What a comparison shows: maps, images, models or channels as the cells of a table, with their names and a title."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..channels.query import positions, where_text
from ..channels.statistics import percent
from ..core.feature_map import FeatureMap, as_map
from ..core.layer import kind_in_words
from ..core.words import channel_word, image_name
from ..errors import BadChannels, BadOption
from ..safe_text import counted
from .compare_cells import (
    Blank,
    Entry,
    Photo,
    Table,
    channel_entry,
    combine_all,
    entry_of,
    is_dense,
    middle,
    size_text,
    unfit,
    usual_rule,
)
from .rgb import is_rgb

LONGEST_PAIR = 60


@dataclass(frozen=True)
class Selection:
    """What of the maps is compared: which images, combined how, with photos or not, of equal sizes or of any; and the
    percentiles at which colours end."""

    images: Any
    combine: Any
    photos: bool
    same_size: bool
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """A table, its title, what else the caption says of the cells, and the maps that it is made from.

    `things` are what its rows and its columns are, `"layers"` and `"photos"`.
    """

    table: Table
    title: str
    words: str
    shown: Sequence[FeatureMap]
    things: tuple[str, str]


def comparison_of(maps: Any, channels: Any, selection: Selection) -> Comparison:
    """The comparison that `maps` stand for."""
    if isinstance(maps, list | tuple) and any(isinstance(fm, FeatureMap) for fm in maps):
        maps = _by_name(maps)
    if not isinstance(maps, Mapping):
        fm = as_map(maps)
        maps = {fm.layer.path or "output": fm}
    if not maps:
        raise BadOption("there is nothing to compare: give at least one feature map")
    models = [isinstance(value, Mapping) for value in maps.values()]
    if any(models):
        if not all(models):
            raise BadOption(
                "some values are mappings and some are maps: give {layer: map} to compare layers, or {model: {layer: map}}"
                " to compare models"
            )
        if channels is not None:
            raise BadOption(
                "channels= compares the channels of one feature map: select them first, fm.select(channels)"
            )
        return _compare_models(maps, selection)
    layers = {str(name): as_map(fm) for name, fm in maps.items()}
    if channels is None:
        return _compare_layers(layers, selection)
    if len(layers) > 1:
        raise BadOption(
            f"channels= compares the channels of one layer, and these are {len(layers)}: {', '.join(layers)}"
        )
    return _compare_channels(next(iter(layers.values())), channels, selection)


def _by_name(maps: Sequence[Any]) -> dict[str, FeatureMap]:
    """Maps by the paths of their layers, numbered where two have the same."""
    named: dict[str, FeatureMap] = {}
    for fm in map(as_map, maps):
        base = name = fm.layer.path or "output"
        count = 1
        while name in named:
            count += 1
            name = f"{base} ({count})"
        named[name] = fm
    return named


def _compare_layers(maps: dict[str, FeatureMap], selection: Selection) -> Comparison:
    """A row a layer, a column an image."""
    every = list(maps.values())
    ids = every[0].ids
    same = all(fm.ids == ids for fm in every)
    if not same:
        ids = tuple(dict.fromkeys(id for fm in every for id in fm.ids))
    chosen = _choose_images(selection.images, len(ids))
    cells = combine_all(maps, selection.combine)
    rows = []
    for name, fm in maps.items():
        entries = []
        for column in chosen:
            image = column if same else fm.ids.index(ids[column]) if ids[column] in fm.ids else None
            missing = Entry(Blank("missing", "no image of this name"), column)
            entries.append(missing if image is None else entry_of(cells[name], image, column, selection.clip))
        rows.append(tuple(entries))
    photos = tuple(_photo(every, ids[column]) for column in chosen) if selection.photos else None
    names = tuple(name or "output" for name in maps)
    # Maps of one layer (before and after, two photos) are in one unit; those of two layers are not.
    usual = "all" if len({(fm.layer.path, fm.spatial) for fm in every}) == 1 else "row"
    heads = tuple(image_name(ids[column]) for column in chosen)
    details = tuple((*_details(fm), *variance_text(cells[name])) for name, fm in maps.items())
    table = Table(names, heads, tuple(rows), photos, details=details, usual=usual)
    word, rule = _image_word(every), _rule_title(cells.values())
    images = counted(len(chosen), word)
    pair = " against ".join(names)
    if len(names) <= 2 and len(pair) <= LONGEST_PAIR:
        title = f"{pair}{rule} · {images}"
    else:
        title = f"{counted(len(rows), 'layer')} × {images}{rule}"
    words = "" if rule else _combination_text(every, selection.combine)
    return Comparison(table, title, words, _maps_of(cells.values()) or every, ("layers", f"{word}s"))


def _compare_models(models: Mapping[Any, Mapping[str, Any]], selection: Selection) -> Comparison:
    """A row a model, a column a layer, for one image."""
    maps = {str(name): {path: as_map(fm) for path, fm in layers.items()} for name, layers in models.items()}
    every = [fm for layers in maps.values() for fm in layers.values()]
    if not every:
        raise BadOption("there is nothing to compare: no model has a feature map")
    count = min(len(fm.ids) for fm in every)
    image, *further = _choose_images([0] if selection.images is None and count else selection.images, count)
    if further:
        raise BadOption(
            f"images={selection.images!r}: a comparison of models shows one image, such as images=[{image}]"
        )
    paths = tuple(dict.fromkeys(path for layers in maps.values() for path in layers))
    ready = combine_all(
        {(model, path): fm for model, layers in maps.items() for path, fm in layers.items()}, selection.combine
    )
    cells = ready | _other_sizes(maps, paths) if selection.same_size else ready
    missing = Blank("missing", "no layer of this name")
    rows = tuple(
        tuple(entry_of(cells.get((model, path), missing), image, image, selection.clip) for path in paths)
        for model in maps
    )
    photos = tuple(_photo([*layers.values()], None, image) for layers in maps.values()) if selection.photos else None
    table = Table(
        tuple(maps), tuple(path or "output" for path in paths), rows, photos, photos_down=True, usual="column"
    )
    rule = _rule_title(ready.values())
    title = f"{counted(len(maps), 'model')} × {counted(len(paths), 'layer')}{rule}"
    ids = [*dict.fromkeys(image_name(fm.ids[image]) for fm in every)]
    subject = ids[0] if len(ids) == 1 else f"the models saw different images: {', '.join(ids)}"
    subject += f" (index {image} of {count} images)" if count > 1 and subject != f"image {image}" else ""
    words = " · ".join(filter(None, [subject, "" if rule else _combination_text(every, selection.combine)]))
    return Comparison(table, title, words, _maps_of(ready.values()) or every, ("models", "layers"))


def _other_sizes(maps: Mapping[str, Mapping[str, FeatureMap]], paths: Sequence[str]) -> dict[Any, FeatureMap | Blank]:
    """The blank cells of layers that have another size than in the first model that has them."""
    blanks: dict[Any, FeatureMap | Blank] = {}
    for path in paths:
        sizes = {model: layers[path].spatial for model, layers in maps.items() if path in layers}
        first = next(iter(sizes.values()))
        for model, size in sizes.items():
            if size != first:
                blanks[model, path] = Blank("size", f"{size_text(size)} against {size_text(first)}")
    return blanks


def _compare_channels(fm: FeatureMap, channels: Any, selection: Selection) -> Comparison:
    """A row a channel, a column an image."""
    if selection.combine is not None:
        raise BadOption("channels= shows single channels and combine= puts them together: give one of the two")
    if is_rgb(fm):
        raise BadChannels(f"the channels of {fm.rule!r} are colours, so they are not compared one by one")
    part = fm.select([fm.channels[index] for index in positions(fm, channels)])
    chosen = _choose_images(selection.images, len(fm.ids))
    blank = unfit(fm)
    rows = tuple(
        tuple(Entry(blank, image) if blank else channel_entry(part, image, index) for image in chosen)
        for index in range(len(part.channels))
    )
    photos = tuple(_photo([fm], None, image) for image in chosen) if selection.photos else None
    names = tuple(f"channel {channel}" for channel in part.channels)
    table = Table(names, tuple(image_name(fm.ids[image]) for image in chosen), rows, photos)
    layer = " · ".join(word for word in (fm.rule, fm.layer.path or "output", kind_in_words(fm.layer)) if word)
    word = _image_word([fm])
    title = f"{counted(len(rows), 'channel')} × {counted(len(chosen), word)} · {layer}"
    what = f"{len(rows)} of {counted(fm.of, 'channel')} of {size_text(fm.spatial)}{where_text(channels)}"
    return Comparison(table, title, what, [part], ("channels", f"{word}s"))


def _choose_images(images: Any, count: int) -> list[int]:
    """The numbers of the images, from 0; negative ones count from the end."""
    if not count:
        raise BadOption("there are no images in these maps")
    if isinstance(images, slice) or images is None:
        numbers = [*range(count)][images or slice(None)]
    else:
        numbers = [images] if isinstance(images, int | np.integer) else [*images]
        if not all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in numbers):
            raise BadOption(f"images={images!r}: give the numbers of images, such as [0, 2], or a slice")
    wrong = [number for number in numbers if not -count <= number < count]
    if wrong or not numbers:
        problem = f"includes {wrong[0]}" if wrong else "selects nothing"
        raise BadOption(f"images={images!r} {problem}: the maps have images 0 to {count - 1}")
    return [int(number) % count for number in numbers]


def _photo(maps: Sequence[FeatureMap], id: str | None, image: int = 0) -> Photo | None:
    """The part of an image's photo that the model saw, from the first map that keeps the photo."""
    for fm in maps:
        index = image if id is None else fm.ids.index(id) if id in fm.ids else None
        if fm.photos is not None and index is not None:
            return Photo.seen(fm.photos[index], None if fm.placement is None else fm.placement[index])
    return None


def _maps_of(cells: Collection[FeatureMap | Blank]) -> list[FeatureMap]:
    return [cell for cell in cells if isinstance(cell, FeatureMap)]


def _rule_title(cells: Collection[FeatureMap | Blank]) -> str:
    """What was done to the channels, for the title, where it is the same in all cells."""
    maps = _maps_of(cells)
    methods = {fm.method or fm.rule for fm in maps if not is_dense(fm)} or {fm.method or fm.rule for fm in maps}
    if len(methods) != 1 or "" in methods:
        return ""
    method = methods.pop()
    return f" · {method} of the channels" if method in ("mean", "max", "min", "norm") else f" · {method}"


def _image_word(maps: Sequence[FeatureMap]) -> str:
    return "image" if any(fm.photos is None for fm in maps) else "photo"


def _combination_text(every: Sequence[FeatureMap], combine: Any) -> str:
    """What was done to the channels, for the caption."""
    if combine is None and any(usual_rule(fm) and not unfit(fm) for fm in every):
        return "mean of the channels where there are several"
    if combine is None:
        return ""
    return f"channels combined by {getattr(combine, '__name__', 'a function')}"


def variance_text(cell: FeatureMap | Blank) -> tuple[str, ...]:
    """How much of a layer the colours of its maps stand for, where that is known."""
    shares = None if isinstance(cell, Blank) else cell.provenance.get("variance")
    return () if shares is None else (f"PC1–3: {percent(sum(shares))}",)


def _details(fm: FeatureMap) -> tuple[str, ...]:
    """What stands below a layer's name: the size of its maps and how many channels it has."""
    count = fm.shape[-1]
    word = channel_word(fm)
    channels = counted(count, word) if count == fm.of else f"{count:,} of {counted(fm.of, word)}"
    size = "" if is_dense(fm) else size_text(fm.spatial)
    size += " positions" if size and len(fm.spatial) == 1 else ""
    shown = f"slice {middle(fm.spatial[0])} of {fm.spatial[0]}" if len(fm.spatial) == 3 and not is_dense(fm) else ""
    return tuple(filter(None, (size, shown, "" if fm.rule or fm.of == 1 else channels)))
