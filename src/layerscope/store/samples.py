"""What a data set is: a listing of samples, each with an id, a place that it is read from, and what reading it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from ..errors import BadOption
from ..inputs.levels import Range
from ..inputs.photo import Photo
from ..inputs.photo import read as read_photo
from .sources.origins import Memory, Origin, digest_of, frame_of
from .sources.texts import Rows, Texts, told_apart


@dataclass(frozen=True, slots=True)
class Sample:
    r"""One image of a data set, still to be read, in whatever process.

    Attributes:
        id: Its name, unique in its listing, and the same whenever the same data set is listed: the path below the folder,
            `x-000.tar/0012.jpg`, `clip.mp4#30`, `train/12`, `array-0`. Bytes of a name that isn't UTF-8 are lone surrogates, as
            in Python's own paths: `json.dumps` takes them, `safe_text.printable` shows them, `text.encode()` fails.
        source: Where it is read from, relative to the root of its origin, for the manifest.
        size: Its bytes, of the file or in the tar, when it was listed; `None` where nobody knows.
        label: The name of its class, or the number of it as text; `None` where it has none.
        origin: What reads `source`.
    """

    id: str
    source: str
    size: int | None
    label: str | None
    origin: Origin

    def content(self, limit: int | None = None) -> Any:
        """What `inputs.photo.read` takes: mostly the file's bytes; see `read` for the errors."""
        return self.origin.content(self.source, limit)

    def read(self, *, limit: int | None = None, range: Range | None = None) -> Photo:
        """The upright photo under this sample's id, as `inputs.photo.read` makes it of the same file.

        Raises `ImageNotReadable` where the file is missing (`sources.origins.is_missing` tells), can't be opened or decoded;
        its child `ImageTooLarge` above the limit on pixels; `BadOption` where the whole folder is gone; `LibraryMissing`.
        """
        return read_photo(self.content(limit), id=self.id, limit=limit, range=range)

    def digest(self) -> str:
        """The blake2b, 32 hex digits, of the bytes that are read; of frames and arrays, of their pixels. Errors as `read`."""
        return digest_of(self.content())

    def row(self) -> dict[str, Any]:
        """The line of the manifest: `id`, `source`, `size` (or `None`), and `label` where there is one."""
        row = {"id": self.id, "source": self.source, "size": self.size}
        return row if self.label is None else {**row, "label": self.label}


class Listing(Sequence[Sample]):
    """The samples of a data set in their order: a sequence that takes some 60 bytes a sample, and can be pickled.

    A slice is a listing of its own and as small as it looks, so `listing[start:stop]` is what a worker gets of a unit.

    >>> from layerscope.store.sources.origins import Files
    >>> rows = [{"id": f"{name}.jpg", "source": f"{name}.jpg", "size": 9, "label": "cat"} for name in "abc"]
    >>> listing = Listing.of_rows(Files("/data"), rows)
    >>> len(listing), listing[1].id, listing[1:].classes, list(listing.rows()) == rows
    (3, 'b.jpg', ('cat',), True)

    Attributes:
        origin: What reads the samples; `origin.about()` is JSON, of which `sources.origins.origin_of` makes it again. It
            holds the absolute path of the root, so it belongs into what may differ between two runs.
        ids: The ids, a sequence of texts.
        notes: Remarks for people on what was found and left out.
    """

    def __init__(self, origin: Origin, rows: Rows) -> None:
        self.origin = origin
        self.notes = tuple(rows.notes)
        self._sources = Texts(rows.sources)
        ids = told_apart(rows.ids)
        self.ids = self._sources if ids == rows.sources else Texts(ids)
        self._sizes = np.array([-1 if size is None else size for size in rows.sizes], np.int64)
        numbers: dict[str, int] = {}
        codes = (-1 if label is None else numbers.setdefault(label, len(numbers)) for label in rows.labels)
        self._codes = np.fromiter(codes, np.int32, len(rows.labels))
        self._names = tuple(numbers)

    @classmethod
    def of_rows(cls, origin: Origin, rows: Iterable[Mapping[str, Any]], *, notes: Sequence[str] = ()) -> Listing:
        """The listing that a manifest holds; with `listing.origin`, or one of `sources.origins.origin_of`."""
        columns = Rows(notes=list(notes))
        for row in rows:
            columns.add(row["source"], id=row["id"], size=row.get("size"), label=row.get("label"))
        return cls(origin, columns)

    def continued(self, known: Iterable[Mapping[str, Any]]) -> Listing:
        """The rows of a manifest in their order, with what this listing says of those ids today, then its other samples.

        So new samples come at the end, and rows whose files are gone stay where they are, and will be missing.
        """
        today = {row["id"]: row for row in self.rows()}
        before = [today.pop(row["id"], row) for row in known]
        return Listing.of_rows(self.origin, (*before, *today.values()), notes=self.notes)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines of the manifest, see `Sample.row`."""
        for id, source, size, label in self._columns():
            row = {"id": id, "source": source, "size": size}
            yield row if label is None else {**row, "label": label}

    @property
    def sources(self) -> Sequence[str]:
        """Where each is read from, see `Sample.source`."""
        return self._sources

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted(self._names[code] for code in np.unique(self._codes) if code >= 0))

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        texts = self._sources.nbytes + (0 if self.ids is self._sources else self.ids.nbytes)
        return texts + self._sizes.nbytes + self._codes.nbytes

    @property
    def in_turn(self) -> bool:
        """Whether samples are read one after another by one thread: frames of a video, whose decoder goes forward."""
        return len(self) > 0 and frame_of(self._sources[0]) is not None

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Listing: ...
    def __getitem__(self, index: int | slice) -> Sample | Listing:
        if isinstance(index, slice):
            part = object.__new__(Listing)
            part.__dict__.update(self.__dict__)
            part._sources, part._sizes, part._codes = self._sources[index], self._sizes[index], self._codes[index]
            part.ids = part._sources if self.ids is self._sources else self.ids[index]
            if isinstance(self.origin, Memory):
                part.origin = self.origin.only(part._sources)
            return part
        size, code = int(self._sizes[index]), int(self._codes[index])
        label = None if code < 0 else self._names[code]
        return Sample(self.ids[index], self._sources[index], None if size < 0 else size, label, self.origin)

    def __iter__(self) -> Iterator[Sample]:
        origin = self.origin
        return (Sample(*columns, origin) for columns in self._columns())

    def _columns(self) -> Iterator[tuple[str, str, int | None, str | None]]:
        sizes = (None if size < 0 else size for size in self._sizes.tolist())
        labels = (None if code < 0 else self._names[code] for code in self._codes.tolist())
        return zip(self.ids, self._sources, sizes, labels, strict=True)

    def __repr__(self) -> str:
        return f"<Listing of {len(self)} samples, {len(self.classes)} classes>"


def list_samples(source: Any, *, labels: str | None = "auto", column: str | None = None) -> Listing:
    """The samples of a data set, listed and not yet read; files that are missing or broken are found when they are read.

    `source` is

    - a folder: its image files by suffix in natural order, as `inputs.images.collect` has them; where it has none, those of its
      sub-folders; else its tars, or the data set that Hugging Face's `save_to_disk` wrote there;
    - a glob pattern (`**` works), a file, or a list of files, folders and patterns, in that order;
    - a `.csv`, `.tsv` or `.parquet` with a column of paths, relative to the folder of the list, and maybe one of labels;
    - WebDataset tars: `x-000.tar`, `x-{000..123}.tar`, `x-*.tar`, read by offset, never unpacked;
    - frames: what `ls.video(...)` returns;
    - arrays, PIL images, bytes, or a list of these, which are pickled with the listing. No generator: it can't be read again.

    >>> import numpy as np
    >>> [sample.id for sample in list_samples([np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)])]
    ['array-0', 'array-1', 'array-2']

    Args:
        source: See above.
        labels: `"auto"`: the names of sub-folders (one folder per class; below `train`, `val` and `test` the next one), the
            column of a list, `.cls` or `.json` of a tar, the class names of a saved data set. `"folder"`: the name of the
            folder that a file lies in. Another text: the column, or the field of the `.json`. `None`: no labels.
        column: The column that holds the paths or images, where its name doesn't tell; in tars the suffix, `"left.png"`.

    Raises:
        ImageNotReadable: There is no such folder, or nothing in it.
        BadOption: A list or a tar is damaged, a column isn't there or isn't the only one, or `source` is no data set.
        LibraryMissing: Reading it needs a library that isn't installed: pyarrow, datasets, PyAV.
    """
    from .sources.listers import listed

    if labels is not None and not isinstance(labels, str):
        raise BadOption(f"labels={labels!r}: use 'auto', 'folder', None, or the name of a column")
    origin, rows = listed(source, labels=labels, column=column)
    return Listing(origin, rows)
