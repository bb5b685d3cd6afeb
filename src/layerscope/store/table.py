"""`Table`: columns of numbers and names that print themselves, and that pandas, CSV and JSON take."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..core.columns import aligned, columns_within, terminal_width, widths_of
from ..core.tables import as_csv, csv_line
from ..core.tables import pandas as import_pandas
from ..errors import BadOption, near
from ..picture.numbers import number
from ..safe_text import counted, json_text, printable, writable

if TYPE_CHECKING:
    import pandas

SHOWN = 20  # rows of a long table that are printed


@dataclass(frozen=True, eq=False)
class Table:
    """A table with named columns, one value each in every row.

    >>> table = Table({"channel": np.array([0, 1]), "mean": np.array([0.25, np.nan])}, "2 channels of conv1")
    >>> print(table)
    channel  mean
          0  0.25
          1   NaN
    2 channels of conv1
    >>> table["mean"][0], len(table), [row["channel"] for row in table]
    (np.float64(0.25), 2, [0, 1])

    Attributes:
        columns: The columns by name, arrays or lists of one length.
        title: What the table is of, printed below it.
        notes: What else is to be said, a line each.
        digits: The significant digits of numbers in columns that are printed with more than three.
    """

    columns: Mapping[str, Any]
    title: str = ""
    notes: Sequence[str] = ()
    digits: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.columns:
            names = list(self.columns)
            raise BadOption(f"no column {name!r}: use {', '.join(names)}{near(str(name), names)}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        lists = [
            column.tolist() if isinstance(column, np.ndarray) else list(column) for column in self.columns.values()
        ]
        return (dict(zip(self.columns, values, strict=True)) for values in zip(*lists, strict=True))

    def take(self, rows: int | Sequence[int] | np.ndarray) -> Table:
        """The same table with some of its rows, in the order given.

        >>> table = Table({"channel": np.arange(4)})
        >>> table.take([2, 0])["channel"].tolist(), table.take(3)["channel"].tolist()
        ([2, 0], [0, 1, 2])

        Args:
            rows: The numbers of the rows, counted from 0; or how many of the first.

        Raises:
            BadOption: There is no such row, or these are no numbers of rows.
        """
        chosen = self._rows(rows)
        columns = {
            name: column[chosen] if isinstance(column, np.ndarray) else [column[row] for row in chosen]
            for name, column in self.columns.items()
        }
        return replace(self, columns=columns)

    def _rows(self, rows: Any) -> np.ndarray:
        """The numbers of rows that are given as such, or as how many."""
        count = len(self)
        if isinstance(rows, int | np.integer) and not isinstance(rows, bool) and rows >= 0:
            return np.arange(min(int(rows), count))
        chosen = np.array(rows if isinstance(rows, np.ndarray | Sequence) and not isinstance(rows, str) else None)
        if chosen.ndim == 1 and not chosen.size:
            return chosen.astype(int)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise BadOption(
                f"rows={rows!r:.60}: give the numbers of the rows, as [0, 2], or how many of the first, as 3"
            )
        beyond = chosen[(chosen < -count) | (chosen >= count)]
        if beyond.size:
            raise BadOption(f"rows: there is no row {beyond[0]}; the table has {counted(count, 'row')}, counted from 0")
        return chosen

    def sort(self, column: str, *, ascending: bool = False) -> Table:
        """The same table in the order of a column, the largest first; rows without a number come last.

        >>> Table({"mean": np.array([1.0, np.nan, 3.0])}).sort("mean")["mean"].tolist()
        [3.0, 1.0, nan]

        Args:
            column: The name of a column of numbers.
            ascending: Whether the smallest comes first.

        Raises:
            BadOption: There is no such column, or it holds words.
        """
        held = self[column]
        try:
            values = np.asarray(held, float)
        except (TypeError, ValueError) as error:
            raise BadOption(f"column {column!r} holds words: sort by a column of numbers") from error
        keys = np.where(np.isnan(values), np.inf, values if ascending else -values)
        return self.take(np.argsort(keys, kind="stable"))

    def json(self) -> str:
        """The table as a JSON list with one object per row; `null` for NaN and ±inf, which JSON doesn't have.

        >>> Table({"mean": np.array([np.nan])}).json()
        '[\\n {\\n  "mean": null\\n }\\n]'
        """
        return json_text(
            [{name: value if _is_json(value) else None for name, value in row.items()} for row in self], indent=1
        )

    @overload
    def to_csv(self, path: None = None) -> str: ...
    @overload
    def to_csv(self, path: str | Path) -> Path: ...
    def to_csv(self, path: str | Path | None = None) -> str | Path:
        """The table as CSV with a line of names, every number in full.

        >>> Table({"channel": np.arange(2)}).to_csv()
        'channel\\n0\\n1\\n'

        Args:
            path: A file to write it to, whose path is returned; `None` for the text itself.

        Raises:
            BadOption: The file can't be written.
        """
        return as_csv(map(csv_line, [list(self.columns), *(row.values() for row in self)]), path)

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a `pandas.DataFrame`.

        >>> Table({"channel": np.arange(2)}).to_dataframe().channel.tolist()  # doctest: +SKIP
        [0, 1]

        Raises:
            LibraryMissing: pandas isn't installed.
        """
        return import_pandas().DataFrame(
            {name: [_in_unicode(value) for value in column] for name, column in self.columns.items()}
        )

    def plain(self) -> str:
        """Every row of the table as aligned text; printing the table shortens a long one.

        >>> Table({"channel": np.arange(1)}).plain()
        'channel\\n      0'
        """
        return self._text(None, None)

    def __repr__(self) -> str:
        return writable(self._text(SHOWN, terminal_width()))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(printable(name))}</th>" for name in self.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in self._texts(row)) + "</tr>" for row in self
        )
        foot = "<br>".join(html.escape(printable(line)) for line in self._foot())
        return (
            '<div style="max-height:30em;overflow:auto"><table style="text-align:right;font-variant-numeric:tabular-nums">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div><p>{foot}</p>"
        )

    def _texts(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_text(value, self.digits.get(name, 3)) for name, value in row.items())

    def _foot(self) -> list[str]:
        return [line for line in (self.title, *self.notes) if line]

    def _text(self, most: int | None, width: int | None) -> str:
        count = len(self)
        rows = range(count) if most is None or count <= most else [*range(most // 2), *range(count - most // 2, count)]
        heads = tuple(map(printable, self.columns))
        table = [heads, *map(self._texts, self.take(list(rows)))]
        # A narrow terminal goes without the last columns.
        kept = columns_within(widths_of(table), width, tuple(range(len(heads) - 1, 0, -1)))
        lines = aligned(table, range(len(heads)), kept)
        if len(rows) < count:
            lines.insert(
                1 + len(rows) // 2, f"… {count - len(rows):,} more: plain() shows all, to_csv() and json() write them"
            )
        left_out = ", ".join(head for column, head in enumerate(heads) if column not in kept)
        if left_out:
            lines.append(f"left out at this width: {left_out}; a wider terminal and plain() have them")
        return "\n".join([*lines, *map(printable, self._foot())])


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or bool(np.isfinite(value))


def _in_unicode(value: Any) -> Any:
    """Of the name of a file that isn't UTF-8 what pandas takes."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _text(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return number(value, digits)
    return "" if value is None else printable(str(value))
