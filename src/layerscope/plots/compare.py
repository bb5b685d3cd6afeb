"""`compare`: layers, models, images or channels side by side in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..channels.statistics import percent
from ..checks import keywords
from ..combinations.registry import combined, rule_named
from ..core.feature_map import FeatureMap
from ..core.note import Note, kind_of
from ..errors import BadLayout, BadOption
from ..picture.canvas import Frame
from ..picture.caption import about, fed_text, quantity
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..safe_text import counted
from .compare_cells import Blank, fit_table_scale, is_dense
from .compare_layout import draw_table
from .compare_maps import Comparison, Selection, comparison_of
from .options import DrawOptions
from .rgb import PRIMARIES, rgb_text

NOTES, REASONS = 3, 6


@keywords
def compare(
    maps: Any,
    *,
    channels: Any = None,
    images: Sequence[int] | slice | None = None,
    combine: Any = None,
    target: Any = None,
    scale: Any = None,
    clip: tuple[float, float] | None = None,
    norm: str | None = None,
    colors: Any = None,
    photos: bool = False,
    same_size: bool = True,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    theme: str = "light",
    columns: int | None = None,
    text: float | None = None,
) -> Picture:
    """A table of maps in one picture, with the names of its rows and columns.

    What `maps` is decides what is compared:

    - what `capture` gives, or any mapping name -> feature map (or array): one row per layer, one column per image
    - a mapping of those, model name -> maps: one row per model, one column per layer, for one image
    - one feature map with `channels`: one row per channel, one column per image

    A dense layer is a row of its channels, a sequence one of its positions, a volume the slice in the middle of its
    depth. A cell without a map is blank and says why, also where the combination doesn't fit a layer. `Picture.cells`
    has every cell with its image, channel, range and name.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> picture = compare({"early": random.random((2, 8, 8, 4)), "late": random.random((2, 4, 4, 6))})
    >>> len(picture.cells), picture.cells[3].note
    (4, 'late · image 1')

    Args:
        maps: The feature maps or arrays, as above.
        channels: True channel numbers, a slice, a mask, or a condition as in `find_channels`, of one feature map.
        images: The numbers of the images, or a slice. All by default; of models one, `[0]`.
        combine: How channels become one map: the name of a combination or a function of a feature map. By default the
            mean.
        target: The class for a named combination that runs the model itself, such as `"score-cam"`.
        scale: What shares a range and a bar. `"all"`: every cell; `"row"` and `"column"`: each of them; `"cell"`: each
            cell has its own range, written below it; or `(low, high)`, or a `Scale` such as `shared_scale` gives. By
            default each layer (a row, or of models a column); of one layer, its channels or several maps of it, all.
        clip: Two percentiles, such as `(1, 99)`, to which the ranges are clipped.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours. By default viridis, or vik
            centred on 0 for values of both signs.
        photos: Whether the photos stand beside the maps, cut to what the model saw of them.
        same_size: Whether a model's cell is blank where its layer has another size than in the first model.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn; without, a `title` that you give is. The file keeps them.
        bar: Whether the colour bars are drawn.
        theme: `"light"`, `"dark"` or `"transparent"` paper.
        columns: Maps per row; the others stand below, with the names of rows and columns again. By default as many as
            stay large enough to see.
        text: Size of letters and cells, from 1 (screen) to 4; 3 is for print at 300 dpi. By default letters can be read where
            the picture is shown 900 pixels wide.

    Raises:
        BadLayout: No cell has a map.
        BadChannels: A channel that the map doesn't hold.
        BadScale: A scale, percentiles or colours that don't exist.
        BadOption: Any other option is invalid.
    """
    options = DrawOptions(
        channels=channels,
        scale=scale,
        clip=clip,
        norm=norm,
        colors=colors,
        columns=columns,
        text=text,
        title=title,
        caption=caption,
        bar=bar,
        theme=theme,
    )
    selection = Selection(images, _with_target(combine, target), photos, same_size, clip)
    comparison = comparison_of(maps, channels, selection)
    table = comparison.table
    entries = [entry for row in table.entries for entry in row]
    blanks = [entry.blank for entry in entries if entry.blank is not None]
    if len(blanks) == len(entries):
        hint = ""
        if any(blank.kind == "groups" for blank in blanks):
            hint = "; heatmap() draws factors and clusters, with a legend"
        elif any(blank.kind == "shape" for blank in blanks):
            hint = ": leave out combine= and channels=, and all numbers are drawn"
        reasons = "; ".join(dict.fromkeys(blank.text for blank in blanks))
        raise BadLayout(f"no cell has a map: {reasons}{hint}")
    rule = fit_table_scale(table, options)
    lines = _lines(comparison, rule, options) + _blank_lines(blanks, len(entries))
    facts = about(
        comparison.shown[0],
        rule,
        layer=[fm.layer.path for fm in comparison.shown],
        rows=list(table.rows),
        columns=list(table.columns),
    )
    measured = {quantity(fm) for fm in comparison.shown}
    frame = Frame(comparison.title, lines[0], lines[1:], quantity=measured.pop() if len(measured) == 1 else "")
    if any(entry.colored for entry in entries):
        frame = replace(frame, key=tuple(PRIMARIES))
    return draw_table(table, rule, frame, provenance=facts, options=options).themed(theme)


def _lines(comparison: Comparison, rule: Scale | None, options: DrawOptions) -> tuple[str, ...]:
    """The caption, without what it says of blank cells."""
    table, shown = comparison.table, comparison.shown
    models = {fm.provenance.get("model") for fm in shown}
    model = str(models.pop()) if len(models) == 1 and None not in models else ""
    fed = {fed_text(fm, size=False) for fm in shown}
    lines: list[str] = [
        Note("subject", " · ".join(filter(None, [model, comparison.words, fed.pop() if len(fed) == 1 else ""])))
    ]
    lines += _scale_notes(comparison, rule) if rule is not None else []
    if any(entry.colored for row in table.entries for entry in row):
        where = "map: colours of two maps don't compare"
        if not table.photos_down:
            where = "layer: colours compare along a row, not between rows"
        lines += [Note("colors", f"{rgb_text(options.clip)} in its {where}"), *_variance(comparison)]
    return (*lines, *_shape_notes(shown), *_notes(shown))


def _variance(comparison: Comparison) -> list[Note]:
    """What the shares beside the rows are; the shares themselves where the rows aren't layers."""
    if not comparison.table.photos_down:
        known = any(fm.provenance.get("variance") is not None for fm in comparison.shown)
        return [Note("variance", "PC1–3: the share of the layer's variance that the three explain")] * known
    shares = [
        f"{percent(sum(fm.provenance['variance']))} ({' · '.join(filter(None, (fm.provenance.get('model'), fm.layer.path)))})"
        for fm in comparison.shown
        if fm.provenance.get("variance") is not None
    ]
    return [Note("variance", f"variance explained by PC1–3: {', '.join(shares)}")] if shares else []


def _shape_notes(shown: Sequence[FeatureMap]) -> list[Note]:
    """How what isn't a map of pixels lies in its cell."""
    dense = any(map(is_dense, shown))
    ranks = {len(fm.spatial) for fm in shown if not is_dense(fm)}
    notes = []
    if dense or 1 in ranks:
        what = " and ".join(
            filter(None, ["channels of dense layers" if dense else "", "positions" if 1 in ranks else ""])
        )
        notes.append(Note("order", f"{what} run from left to right, then from top to bottom"))
    if 3 in ranks:
        notes.append(Note("order", "of a volume the slice in the middle of its depth is shown"))
    return notes


def _scale_notes(comparison: Comparison, rule: Scale) -> list[Note]:
    """What may be compared by its colours, in the words of what the rows and columns are."""
    rows, columns = comparison.things
    within, between = (columns, rows) if rule.per == "row" else (rows, columns)
    if rule.per not in ("row", "column"):
        return list(rule.notes())
    text = f"one range per {rule.per}: colours compare across {within}, not between {between}"
    return [Note("scale", text), *(note for note in rule.notes() if note.kind != "scale")]


def _blank_lines(blanks: Sequence[Blank], count: int) -> tuple[str, ...]:
    """What the caption says of the blank cells of `count`."""
    if not blanks:
        return ()
    kinds = [*dict.fromkeys(blanks)]
    reasons = "; ".join(f"{blanks.count(blank)} × {blank.text}" for blank in kinds[:REASONS])
    reasons += f"; and {len(kinds) - REASONS} more" if len(kinds) > REASONS else ""
    return (Note("blank", f"blank: {len(blanks)} of {counted(count, 'cell')} ({reasons})"),)


def _with_target(combine: Any, target: Any) -> Any:
    """The combination as a function that knows its target and still has its name."""
    if not isinstance(combine, str):
        if target is not None:
            raise BadOption(f"target={target!r} needs a named combination that runs the model, not {combine!r}")
        return combine
    row = rule_named(combine)
    if target is not None and not row.model:
        own = "takes the target of the capture" if row.target else "uses no class"
        raise BadOption(
            f"target={target!r} is for combinations that run the model themselves, such as score-cam: {combine!r} {own}"
        )

    def rule(fm: FeatureMap) -> FeatureMap:
        return combined(fm, combine, target)

    rule.__name__ = combine
    return rule


def _notes(shown: Sequence[FeatureMap]) -> list[str]:
    """What the maps say of themselves: first what all of them say, then some of what is said of one."""
    common = [note for note in _sayable(shown[0]) if all(note in fm.notes for fm in shown)]
    own = [f"{note} ({fm.layer.path})" for fm in shown for note in _sayable(fm) if note not in common]
    own = [*dict.fromkeys(own)]
    more = [f"and {len(own) - NOTES} more"] if len(own) > NOTES else []
    return [*common, *own[:NOTES], *more]


def _sayable(fm: FeatureMap) -> list[str]:
    return [note for note in fm.notes if kind_of(note) not in ("variance", "image", "fed")]
