"""`compare`: layers, models, images or channels side by side in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..combinations.registry import combined, rule_named
from ..core.feature_map import FeatureMap, as_map
from ..errors import BadChannels, BadLayout, BadOption
from ..picture.caption import about
from ..picture.picture import Picture
from .compare_cells import GROUPED_SAID, Entry, Table, all_suited, entry, fitted_scale, pixels, unfit, usual_rule
from .compare_layout import draw_table
from .rgb import is_rgb, rgb_said

NOTES, REASONS = 3, 6


def compare(
    maps: Any,
    *,
    channels: Sequence[int] | slice | None = None,
    images: Sequence[int] | slice | None = None,
    combine: Any = None,
    target: Any = None,
    scale: Any = "all",
    clip: tuple[float, float] | None = None,
    colors: str | None = None,
    photos: bool = False,
    same_size: bool = True,
) -> Picture:
    """A table of maps in one picture, with the names of its rows and columns.

    What `maps` is decides what is compared:

    - what `capture` gives, or any mapping name -> feature map (or array): a row a layer, a column an image
    - a mapping of those, model name -> maps: a row a model, a column a layer, for one image, `images=[0]`
    - one feature map with `channels=`: a row a channel, a column an image

    A cell shows one map: layers of several channels are combined by `combine` (the name of a combination, with a `target`
    where it asks the model itself, or a function of a feature map; the mean if none is given, and the caption says so).
    `scale`: `"all"` is one range for every cell, with one bar; `"row"` and `"column"` a range and a bar for each; `"cell"` a
    range for each, written below it; or `(low, high)`, or a `Scale` such as `shared_scale` gives. `clip=(1, 99)` cuts the
    ranges at these percentiles. `photos` adds the photos.

    A cell without a map is blank and says why, also where the combination asked for doesn't fit a layer. With `same_size` that
    holds for models whose layer has another size than in the first model. `Picture.cells` has every cell with its image,
    channel, range and name.
    Raises `BadLayout` where no cell could be filled, `BadOption`, `BadScale`, `BadChannels`.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> picture = compare({"early": random.random((2, 8, 8, 4)), "late": random.random((2, 4, 4, 6))})
    >>> len(picture.cells), picture.cells[3].note
    (4, 'late · 4×4 · image 1')
    """
    table, title, said, shown = _table(maps, channels, images, _with_target(combine, target), photos, same_size)
    found = [entry for row in table.entries for entry in row]
    blank = [entry.reason for entry in found if entry.plane is None]
    if len(blank) == len(found):
        hint = (
            "; heatmap() draws factors and clusters, with a legend"
            if any(GROUPED_SAID in each for each in blank)
            else ""
        )
        raise BadLayout(f"no cell has a map: {'; '.join(dict.fromkeys(blank))}. compare() shows maps of pixels{hint}")
    rule = fitted_scale(table, scale, colors, clip)
    first = shown[0]
    model = {each.provenance.get("model") for each in shown}
    lines = [" · ".join(filter(None, [f"model {model.pop()}" if len(model) == 1 and None not in model else "", said]))]
    lines += [rule.describe()] if rule is not None else []
    if any(entry.colored for entry in found):
        within = "colours of two cells don't compare" if table.photos_down else "colours compare within a row"
        lines += [f"{rgb_said(clip)} in its map: {within}"]
    lines += _notes(shown)
    if blank:
        kinds = [*dict.fromkeys(blank)]
        reasons = "; ".join(f"{blank.count(each)} × {each}" for each in kinds[:REASONS])
        reasons += f"; and {len(kinds) - REASONS} more" if len(kinds) > REASONS else ""
        hint = ", drawn with same_size=False" if any(" against " in each for each in blank) else ""
        lines += [f"blank: {len(blank)} of {len(found)} cells ({reasons}{hint})"]
    more = {"layer": [each.layer.path for each in shown], "rows": list(table.rows), "columns": list(table.columns)}
    return draw_table(table, rule, title, tuple(filter(None, lines)), about(first, rule, **more), clip)


def _with_target(combine: Any, target: Any) -> Any:
    """The combination as a function that knows its target and still has its name."""
    if not isinstance(combine, str):
        if target is not None:
            raise BadOption(f"target={target!r} is for a combination by name that asks the model, not for {combine!r}")
        return combine
    row = rule_named(combine)
    if target is not None and not row.model:
        own = "takes the target of the capture" if row.target else "knows no class"
        raise BadOption(
            f"target={target!r} is for combinations that ask the model themselves, such as score-cam: {combine!r} {own}"
        )

    def rule(fm: FeatureMap) -> FeatureMap:
        return combined(fm, combine, target)

    rule.__name__ = combine
    return rule


def _notes(shown: Sequence[FeatureMap]) -> list[str]:
    """What the maps say of themselves: first what all of them say, then some of what is said of one."""
    common = [note for note in shown[0].notes if all(note in each.notes for each in shown)]
    own = [f"{each.layer.path}: {note}" for each in shown for note in each.notes if note not in common]
    own = [*dict.fromkeys(own)]
    more = [f"and {len(own) - NOTES} more"] if len(own) > NOTES else []
    return [" · ".join([*common, *own[:NOTES], *more])]


_Told = tuple[Table, str, str, list[FeatureMap]]


def _table(
    maps: Any,
    channels: Sequence[int] | slice | None,
    images: Sequence[int] | slice | None,
    combine: Any,
    photos: bool,
    same_size: bool,
) -> _Told:
    """(the table, its title, what the caption says of the cells, the maps it is made from)."""
    if isinstance(maps, list | tuple) and any(isinstance(each, FeatureMap) for each in maps):
        maps = _named(maps)
    if not isinstance(maps, Mapping):
        fm = as_map(maps)
        if channels is not None:
            return _channels(fm, channels, images, combine, photos)
        maps = {fm.layer.path or "output": fm}
    if not maps:
        raise BadOption("there is nothing to compare: give at least one feature map")
    inner = [isinstance(each, Mapping) for each in maps.values()]
    if any(inner):
        if not all(inner):
            raise BadOption(
                "some values are mappings and some are maps: give {layer: map} to compare layers, or {model: {layer: map}}"
                " to compare models"
            )
        if channels is not None:
            raise BadOption(
                "channels= compares the channels of one feature map: select them before, fm.select(channels)"
            )
        return _models(maps, images, combine, photos, same_size)
    found = {str(name): as_map(each) for name, each in maps.items()}
    if channels is not None:
        if len(found) > 1:
            raise BadOption(f"channels= compares the channels of one layer, these are {len(found)}: {', '.join(found)}")
        return _channels(next(iter(found.values())), channels, images, combine, photos)
    return _layers(found, images, combine, photos)


def _named(maps: Sequence[Any]) -> dict[str, FeatureMap]:
    """Maps by the paths of their layers, numbered where two have the same."""
    found: dict[str, FeatureMap] = {}
    for each in map(as_map, maps):
        base = name = each.layer.path or "output"
        count = 1
        while name in found:
            count += 1
            name = f"{base} ({count})"
        found[name] = each
    return found


def _layers(maps: dict[str, FeatureMap], images: Sequence[int] | slice | None, combine: Any, photos: bool) -> _Told:
    """A row a layer, a column an image."""
    every = list(maps.values())
    ids = every[0].ids
    same = all(each.ids == ids for each in every)
    if not same:
        ids = tuple(dict.fromkeys(id for each in every for id in each.ids))
    chosen = _chosen(images, len(ids))
    made = all_suited(maps, combine)
    rows = []
    for name, fm in maps.items():
        entries = []
        for column in chosen:
            at = column if same else fm.ids.index(ids[column]) if ids[column] in fm.ids else None
            entries.append(
                Entry(None, column, reason="no image of this name") if at is None else entry(made[name], at, column)
            )
        rows.append(tuple(entries))
    pictures = tuple(_photo(every, ids[column]) for column in chosen) if photos else None
    names = tuple(f"{name or 'output'} · {_size(fm)}" for name, fm in maps.items())
    table = Table(names, tuple(ids[column] for column in chosen), tuple(rows), pictures)
    rule, said = _combination(every, made.values(), combine)
    title = f"{_count(len(rows), 'layer')} × {_count(len(chosen), 'image')}{rule}"
    return table, title, said, [each for each in made.values() if isinstance(each, FeatureMap)] or every


def _models(
    models: Mapping[Any, Mapping[str, Any]],
    images: Sequence[int] | slice | None,
    combine: Any,
    photos: bool,
    same_size: bool,
) -> _Told:
    """A row a model, a column a layer, for one image."""
    maps = {str(name): {path: as_map(each) for path, each in layers.items()} for name, layers in models.items()}
    every = [each for layers in maps.values() for each in layers.values()]
    if not every:
        raise BadOption("there is nothing to compare: no model has a feature map")
    count = min(len(each.ids) for each in every)
    image, *further = _chosen([0] if images is None and count else images, count)
    if further:
        raise BadOption(f"images={images!r}: a comparison of models shows one image, such as images=[{image}]")
    paths = tuple(dict.fromkeys(path for layers in maps.values() for path in layers))
    sizes: dict[str, tuple[int, ...]] = {}
    given = {(model, path): fm for model, layers in maps.items() for path, fm in layers.items()}
    made = all_suited(given, combine)
    rows = []
    for model, layers in maps.items():
        entries = []
        for path in paths:
            if path not in layers:
                entries.append(Entry(None, image, reason="no layer of this name"))
                continue
            ready = made[model, path]
            wanted = sizes.setdefault(path, layers[path].spatial)
            if same_size and layers[path].spatial != wanted:
                ready = f"{pixels(layers[path].spatial)} against {pixels(wanted)}"
            entries.append(entry(ready, image, image))
        rows.append(tuple(entries))
    ids = [*dict.fromkeys(each.ids[image] for each in every)]
    pictures = tuple(_photo([*layers.values()], None, image) for layers in maps.values()) if photos else None
    table = Table(tuple(maps), tuple(path or "output" for path in paths), tuple(rows), pictures, photos_down=True)
    rule, said = _combination(every, made.values(), combine)
    title = f"{_count(len(maps), 'model')} × {_count(len(paths), 'layer')}{rule}"
    seen = ids[0] if len(ids) == 1 else f"the models saw different images: {', '.join(ids)}"
    seen += f" (image {image} of {count})" if count > 1 else ""
    return (
        table,
        title,
        " · ".join(filter(None, [seen, said])),
        [each for each in made.values() if isinstance(each, FeatureMap)] or every,
    )


def _channels(
    fm: FeatureMap,
    channels: Sequence[int] | slice,
    images: Sequence[int] | slice | None,
    combine: Any,
    photos: bool,
) -> _Told:
    """A row a channel, a column an image."""
    if combine is not None:
        raise BadOption("channels= shows single channels and combine= puts them together: give one of the two")
    if is_rgb(fm):
        raise BadChannels(f"the channels of {fm.rule!r} are colours, so they are not compared one by one")
    part = fm.select(channels)
    chosen = _chosen(images, len(fm.ids))
    reason = unfit(fm)
    rows = tuple(
        tuple(
            Entry(None, at, reason=reason) if reason else Entry(part.values[at, ..., place], at, channel)
            for at in chosen
        )
        for place, channel in enumerate(part.channels)
    )
    pictures = tuple(_photo([fm], None, at) for at in chosen) if photos else None
    names = tuple(f"channel {channel}" for channel in part.channels)
    table = Table(names, tuple(fm.ids[at] for at in chosen), rows, pictures)
    layer = " · ".join(each for each in (fm.rule, fm.layer.path or "output", fm.layer.kind) if each)
    title = f"{_count(len(rows), 'channel')} × {_count(len(chosen), 'image')} · {layer}"
    return table, title, f"{len(rows)} of {fm.of} channels, {pixels(fm.spatial)}", [part]


def _chosen(images: Sequence[int] | slice | None, count: int) -> list[int]:
    """The numbers of the images, from 0."""
    if isinstance(images, slice) or images is None:
        found = [*range(count)][images or slice(None)]
    else:
        found = [images] if isinstance(images, int | np.integer) else [*images]
        if not all(isinstance(each, int | np.integer) and not isinstance(each, bool) for each in found):
            raise BadOption(f"images={images!r}: give the numbers of images, such as [0, 2], or a slice")
        found = [int(each) for each in found]
    wrong = [each for each in found if not -count <= each < count]
    if wrong or not found:
        raise BadOption(
            f"images={images!r} {f'has {wrong[0]}' if wrong else 'names none'}: there are {count}, 0 to {count - 1}"
            if count
            else "there are no images in these maps"
        )
    return [each % count for each in found]


def _photo(maps: Sequence[FeatureMap], id: str | None, at: int = 0) -> np.ndarray | None:
    """The photo of one image, from the first map that keeps it."""
    for fm in maps:
        place = at if id is None else fm.ids.index(id) if id in fm.ids else None
        if fm.photos is not None and place is not None:
            return fm.photos[place]
    return None


def _combination(every: Sequence[FeatureMap], made: Any, combine: Any) -> tuple[str, str]:
    """What was done to the channels: for the title, and for the caption."""
    rules = {each.rule.partition(" of ")[0] for each in made if isinstance(each, FeatureMap)}
    title = f" · {rules.pop()}" if len(rules) == 1 and "" not in rules else ""
    if combine is None and any(usual_rule(each) and not unfit(each) for each in every):
        return title, "the channels of each layer combined by their mean, as nothing else was asked for"
    if combine is None:
        return title, ""
    return title, f"the channels of each layer combined by {getattr(combine, '__name__', 'a function')}"


def _size(fm: FeatureMap) -> str:
    return pixels(fm.spatial) or f"{fm.shape[-1]}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
