"""`statistics`: figures of each channel as a table to read, to compute with, and to choose channels by."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from ..arrays.moments import moments
from ..checks import keywords
from ..core.columns import aligned, columns_within, terminal_width, widths_of
from ..core.feature_map import as_map
from ..core.progress import work
from ..core.tables import as_csv, csv_line
from ..core.tables import pandas as import_pandas
from ..errors import BadOption, near
from ..picture.numbers import number
from ..safe_text import counted, json_text, printable, writable

if TYPE_CHECKING:
    import pandas

SHOWN, LISTED = 40, 12
AXES = {0: (), 1: ("n",), 2: ("y", "x"), 3: ("d", "y", "x")}


class ChannelRow(NamedTuple):
    """The figures of one channel, as a named tuple.

    >>> import numpy as np
    >>> row = list(statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]])))[1]
    >>> row.channel, row.mean, row.sparsity, row.dead, row.peak
    (1, 2.0, 0.0, False, (0, 0, 1))

    Attributes:
        channel: The true number of the channel.
        min: The smallest value, float64 as all figures; NaN where no value is finite.
        mean: The mean of the finite values.
        max: The largest value.
        deviation: The standard deviation, as `np.std` (divided by N).
        sparsity: The share of values that are exactly 0, 0 to 1.
        positive: The share of values above 0, 0 to 1.
        energy: The channel's part of the sum of all squares, 0 to 1.
        dead: Whether it is 0 everywhere.
        constant: Whether it is one number other than 0 everywhere.
        nan: How many values are NaN.
        inf: How many values are ±inf.
        peak: The first position of the largest value: image, then position on the map.
    """

    channel: int
    min: float
    mean: float
    max: float
    deviation: float
    sparsity: float
    positive: float
    energy: float
    dead: bool
    constant: bool
    nan: int
    inf: int
    peak: tuple[int, ...]


COLUMNS = ChannelRow._fields

# What a sheet can be sorted by, with the largest first.
FIGURES = ("mean", "max", "energy", "sparsity", "deviation")


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Figures of the channels of a feature map: a table that prints itself.

    >>> import numpy as np
    >>> table = statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]]))
    >>> table["max"].tolist(), len(table), [row.channel for row in table]
    ([0.0, 3.0], 2, [0, 1])

    `table["mean"]` is a column as an array; iterating gives a `ChannelRow` for each channel.

    Attributes:
        columns: The columns by name, each `[channel]` (`peak`: `[channel, 1 + spatial axes]`), read-only.
        layer: The name of the layer.
        images: The names of the images that were looked at.
        all_images: Whether the figures are over all images of the map.
        spatial: The sizes of the spatial axes.
    """

    columns: Mapping[str, np.ndarray]
    layer: str
    images: tuple[str, ...]
    all_images: bool
    spatial: tuple[int, ...]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise BadOption(f"no column {name!r}: use {', '.join(COLUMNS)}{near(str(name), COLUMNS)}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["channel"])

    def __iter__(self) -> Iterator[ChannelRow]:
        lists = [self.columns[name].tolist() for name in COLUMNS[:-1]]
        peaks = map(tuple, self.columns["peak"].tolist())
        return (ChannelRow(*figures) for figures in zip(*lists, peaks, strict=True))

    @property
    def dead(self) -> tuple[int, ...]:
        """The true numbers of the channels that are 0 everywhere.

        >>> import numpy as np
        >>> statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]])).dead
        (0,)
        """
        return self._where(self["dead"])

    @property
    def constant(self) -> tuple[int, ...]:
        """The true numbers of the channels that hold one number other than 0 everywhere.

        >>> import numpy as np
        >>> statistics(np.array([[[2.0, 1.0], [2.0, 3.0]]])).constant
        (0,)
        """
        return self._where(self["constant"])

    @property
    def not_finite(self) -> tuple[int, ...]:
        """The true numbers of the channels with NaN or ±inf somewhere.

        >>> import numpy as np
        >>> statistics(np.array([[[2.0, np.nan], [2.0, 3.0]]])).not_finite
        (1,)
        """
        return self._where(self["nan"] + self["inf"] > 0)

    def _where(self, mask: np.ndarray) -> tuple[int, ...]:
        return tuple(self["channel"][mask].tolist())

    def json(self) -> str:
        """The table as a JSON list with one object per channel; `null` where a channel has no finite value.

        >>> import json
        >>> import numpy as np
        >>> json.loads(statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]])).json())[1]["mean"]
        2.0
        """
        rows = (zip(self._header(), self._cells(row), strict=True) for row in self)
        return json_text(
            [{name: None if value != value else value for name, value in row} for row in rows],
            indent=1,
        )

    @overload
    def to_csv(self, path: None = None) -> str: ...
    @overload
    def to_csv(self, path: str | Path) -> Path: ...
    def to_csv(self, path: str | Path | None = None) -> str | Path:
        """The table as CSV with a line of names, every number in full; `csv` is another name of it.

        >>> import numpy as np
        >>> statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]])).to_csv().splitlines()[0][:20]
        'channel,min,mean,max'

        Args:
            path: A file to write it to, whose path is returned; `None` for the text itself.

        Raises:
            BadOption: The file can't be written.
        """
        return as_csv(map(csv_line, [self._header(), *map(self._cells, self)]), path)

    csv = to_csv

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a `pandas.DataFrame` with a row for each channel, its columns as in `to_csv`.

        >>> import numpy as np
        >>> table = statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]]))
        >>> table.to_dataframe().sort_values("mean").channel.tolist()  # doctest: +SKIP
        [0, 1]

        Raises:
            LibraryMissing: pandas isn't installed.
        """
        columns = [*(self[name] for name in COLUMNS[:-1]), *self["peak"].T]
        return import_pandas().DataFrame(dict(zip(self._header(), map(np.copy, columns), strict=True)))

    def plain(self) -> str:
        """Every row of the table as aligned text; printing the table shortens a long one.

        >>> import numpy as np
        >>> print(statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]])).plain().splitlines()[1])
              0    0     0    0          0   100%        0%      0%  0, 0  dead
        """
        return self._text(list(self))

    def __repr__(self) -> str:
        return writable(self._text(list(self), SHOWN, terminal_width()))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _HEADS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in self._texts(row)) + "</tr>" for row in self
        )
        return (
            '<div style="max-height:30em;overflow:auto"><table style="text-align:right;font-variant-numeric:tabular-nums">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
            f"<p>{'<br>'.join(map(html.escape, self._foot()))}</p>"
        )

    def _text(self, rows: Sequence[ChannelRow], most: int | None = None, width: int | None = None) -> str:
        left_out = len(rows) - most if most is not None and len(rows) > most else 0
        if left_out:
            rows = [*rows[: SHOWN // 2], *rows[-SHOWN // 2 :]]
        table = [_HEADS, *(self._texts(row) for row in rows)]
        kept = columns_within(widths_of(table), width, SPARE)
        lines = aligned(table, range(len(_HEADS)), kept)
        if left_out:
            lines.insert(1 + SHOWN // 2, f"… {left_out:,} more: plain() shows all, to_csv() and json() write them")
        if len(kept) < len(_HEADS):
            missing = ", ".join(name for column, name in enumerate(_HEADS) if column not in kept)
            lines.append(f"left out at this width: {missing}; a wider terminal and plain() have them")
        return "\n".join((*lines, *self._foot()))

    def _texts(self, row: ChannelRow) -> tuple[str, ...]:
        peak = row.peak if self.all_images and len(self.images) > 1 else row.peak[1:]
        words = [word for word, so in (("dead", row.dead), ("constant", row.constant)) if so]
        words += [f"{count} {name}" for name, count in (("NaN", row.nan), ("inf", row.inf)) if count]
        return (
            str(row.channel),
            *(number(figure) for figure in (row.min, row.mean, row.max, row.deviation)),
            *(percent(share) for share in (row.sparsity, row.positive, row.energy)),
            ", ".join(map(str, peak)),
            ", ".join(words),
        )

    def _foot(self) -> list[str]:
        images = f"all {len(self.images)} images" if len(self.images) > 1 else self.images[0]
        count = counted(len(self), "channel")
        lines = [printable(f"{count} of {self.layer} in {images}")]
        for name, channels in (
            ("dead", self.dead),
            ("constant", self.constant),
            ("with NaN or inf", self.not_finite),
        ):
            if channels:
                lines.append(f"{name}: {len(channels)} ({listed(channels)})")
        return lines

    def _header(self) -> list[str]:
        return [*COLUMNS[:-1], "peak_image", *(f"peak_{axis}" for axis in AXES[len(self.spatial)])]

    @staticmethod
    def _cells(row: ChannelRow) -> list[Any]:
        return [*row[:-1], *row.peak]


_HEADS = ("channel", "min", "mean", "max", "deviation", "zeros", "positive", "energy", "peak", "")
# What a narrow terminal goes without, first of all; the last column, of dead and constant channels, stands below too.
SPARE = tuple(_HEADS.index(name) for name in ("peak", "positive", "energy", "deviation", "", "zeros", "min", "max"))


@keywords
def statistics(fm: Any, image: int | str | None = None, *, layout: str | None = None) -> ChannelStatistics:
    """The figures of each channel, in float64: of one image, or over all images of the map.

    >>> import numpy as np
    >>> table = statistics(np.array([[[0.0, 1.0], [0.0, 3.0]]]))
    >>> table["mean"].tolist(), table.dead
    ([0.0, 2.0], (0,))

    `min`, `mean`, `max` and `deviation` are numpy's own; `ChannelRow` says what each figure is. NaN and ±inf are counted and
    left out of all else, so a channel of NaN alone has NaN for figures and no energy.

    Args:
        fm: A `FeatureMap`, or an array of rank 1 to 5.
        image: The number of the image, or its id; `None` for the figures over all images.
        layout: The axes of a bare array, one letter each (`"bchw"`); `None` for its library's convention.

    Raises:
        BadLayout: `fm` isn't an array of numbers, or doesn't fit `layout`.
        BadOption: There is no such image.
    """
    whole = as_map(fm, layout)
    one = whole if image is None else whole.image(image)
    table = {"channel": np.array(one.channels), **figures(one.values)}
    if image is not None:
        table["peak"][:, 0] = image % len(whole.ids)
    for column in table.values():
        column.flags.writeable = False
    path = one.layer.path or "output"
    return ChannelStatistics(table, path, one.ids, image is None, one.spatial)


def figures(values: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `statistics` without the numbers of the channels, of float32 `[image, *spatial, channel]`."""
    with work(len(values), "images") as step:
        per_channel = moments(values, step)
    size, spatial = values.size // values.shape[-1], values.shape[1:-1]
    dead = (per_channel.count == size) & (per_channel.low == 0) & (per_channel.high == 0)
    shares = np.full((2, len(dead)), np.nan)
    np.divide((per_channel.zeros, per_channel.positive), per_channel.count, out=shares, where=per_channel.count > 0)
    total = per_channel.squares.sum()
    peak = np.unravel_index(per_channel.position, spatial) if spatial else ()
    return {
        "min": per_channel.low,
        "mean": per_channel.mean,
        "max": per_channel.high,
        "deviation": np.where(per_channel.count > 0, np.sqrt(per_channel.variance), np.nan),
        "sparsity": shares[0],
        "positive": shares[1],
        "energy": per_channel.squares / total if total else np.zeros(len(dead)),
        "dead": dead,
        "constant": (per_channel.count == size) & (per_channel.low == per_channel.high) & ~dead,
        "nan": per_channel.nan,
        "inf": per_channel.inf,
        "peak": np.stack((per_channel.image, *peak), -1),
    }


def percent(share: float) -> str:
    """A share in per cent that never reads as none or all where it isn't.

    >>> [percent(each) for each in (0, 0.001, 0.35, 0.999, 1)]
    ['0%', '<1%', '35%', '>99%', '100%']
    """
    if np.isnan(share):
        return "NaN"
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def listed(channels: Sequence[int], most: int = LISTED) -> str:
    """Channel numbers in words, the first of them where there are many."""
    return ", ".join(map(str, channels[:most])) + (", …" if len(channels) > most else "")
