"""Many images: files, folders, patterns, bytes, arrays and PIL images as named photos, all at once or a few at a time."""

from __future__ import annotations

import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from ..checks import OF_ARRAY, whole
from ..core.conversion import is_array
from ..errors import BadOption, ImageNotReadable, ImagesSkipped
from ..files import open_regular
from ..memory import is_little
from ..memory import limit as memory_limit
from ..safe_text import counted
from ..surface import option
from .arrays import ArrayFile, is_arrays
from .formats import pixel_limit
from .levels import Range
from .one_scale import in_one_list, in_one_scale, together
from .paths import paths_of
from .photo import Photo, as_array, as_image, header_size, kind_of, label_of, read
from .pixels import BANDS
from .samples import is_sample, without_labels

CONTAINERS = (list, tuple, set, frozenset, deque)
NO_STREAMS = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, Photo, Mapping, *CONTAINERS)
# The photos of one batch take at most so many bytes, and such a share of the memory, but for the last.
GROUP, SHARE = 1 << 30, 0.2


@dataclass(frozen=True, eq=False)
class Source:
    """One image that is still to be read. `explicit`: it alone was given, so if it is bad, that is an error."""

    id: str
    item: Any
    explicit: bool = False

    @property
    def file(self) -> Path | None:
        """The file that it is read from."""
        return self.item if isinstance(self.item, Path) else None

    def read(self, *, limit: int | None = None, range: Range | None = None) -> Photo:
        """The photo under this source's id."""
        return read(self.item, id=self.id, limit=limit, range=range)


@dataclass(frozen=True, eq=False)
class Stored(Source):
    """An image in a file of arrays (`item`, an `ArrayFile`), which is read when it is wanted, and its number there."""

    number: int = 0

    @property
    def file(self) -> Path | None:
        path: Path = self.item.path
        return path

    def read(self, *, limit: int | None = None, range: Range | None = None) -> Photo:
        try:
            image = _held(self.item, os.stat(self.item.path).st_mtime_ns)[self.number]
        except (OSError, BadOption) as error:
            raise ImageNotReadable(f"{self.item.path}: {error}") from error
        return read(image, id=self.id, limit=limit, range=range)


@lru_cache(maxsize=1)  # one file after the other is read, and once
def _held(file: ArrayFile, changed: int) -> list[Any]:
    """The images in a file that was `changed` last then."""
    return list(_items(file.read()))


def collect(images: Any) -> list[Source]:
    """Every image in `images`, named and not yet read.

    `images` is a path, a folder, a glob pattern (`**` works), bytes, an open file, a PIL image, an array, a batch of
    arrays `[image, height, width, channel]`, or a list or generator of these. A folder gives its own image files by
    suffix in natural order (`2.jpg` before `10.jpg`); where it has none, those of its sub-folders (one folder per
    class), or else its `.npy` and `.npz` files. Hidden files are left out. Ids are file names, with their folder where two are
    the same (of arrays without the suffix, numbered where a file holds several), else `array-0`, `bytes-0`, `image-0` …

    >>> import numpy as np
    >>> [source.id for source in collect([np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)])]
    ['array-0', 'array-1', 'array-2']
    """
    items = in_one_list(list(_items(images)))
    if not items:
        raise ImageNotReadable("no image was given: the list is empty")
    ids = _Ids().ids(items)
    alone = len(items) == 1
    named = alone and isinstance(images, str | os.PathLike)
    return [
        replace(item, id=id, explicit=item.explicit or named) if isinstance(item, Source) else Source(id, item, alone)
        for id, item in zip(ids, items, strict=True)
    ]


def numbered(path: str, count: int) -> list[str]:
    """The ids of so many images in one file of arrays."""
    stem = Path(path).stem
    return [stem] if count == 1 else [f"{stem}-{index}" for index in range(count)]


def check_files(images: Any) -> list[Source]:
    """The images as `collect` gives them; raises `ImageNotReadable` where they are files of which none is an image.

    No more than the head of the first that is one is read, so that a wrong name is reported before a model is opened.
    """
    if is_stream(images):
        return []
    sources = collect(images)
    unread: list[tuple[str, str]] = []
    for source in sources:
        if not isinstance(source.item, Path | ArrayFile):
            return sources
        try:
            if isinstance(source.item, ArrayFile):
                open_regular(source.item.path, what="image", error=ImageNotReadable).close()
            else:
                header_size(source.item, source.id)
            return sources
        except ImageNotReadable as error:
            if source.explicit:
                raise
            unread.append((source.id, _without_name(error, source.id)))
    _report(unread, len(sources))
    return sources


def load(images: Any, *, limit: int | None = None) -> tuple[list[Photo], list[tuple[str, str]]]:
    """All photos of `images` (see `collect`), and (id, reason) of those that can't be read.

    A single image that is bad raises `ImageNotReadable`. Of several, the bad ones are left out, with one
    `ImagesSkipped` warning; if all are bad, that raises too.

    >>> import numpy as np
    >>> photos, skipped = load(np.zeros((2, 4, 4, 3), np.uint8))
    >>> [photo.id for photo in photos], skipped
    (['array-0', 'array-1'], [])
    """
    skipped: list[tuple[str, str]] = []
    photos = [photo for group in stream(images, 64, limit=limit, skipped=skipped) for photo in group]
    return photos, skipped


def stream(
    images: Any,
    batch: int,
    *,
    limit: int | None = None,
    skipped: list[tuple[str, str]] | None = None,
    check: Callable[[Photo], None] | None = None,
    range: Range | None = None,
) -> Iterator[list[Photo]]:
    """The photos of `images` in lists of at most `batch`, read as they are asked for; a generator is not read ahead.

    A list ends early where its photos take much memory. `check` may refuse a photo by an `ImageNotReadable`. `range` is as for
    `photo.read`.

    (id, reason) of those that can't be read are appended to `skipped` as they come; the warning and the errors are
    those of `load`.

    >>> import numpy as np
    >>> [len(group) for group in stream(np.zeros((5, 4, 4, 3), np.uint8), 2)]
    [2, 2, 1]
    """
    whole("batch", batch)
    if is_stream(images):
        names = _Ids()
        sources: Iterable[Source] = (Source(names.ids([item])[0], item) for item in in_one_scale(_items(images)))
    else:
        sources = collect(images)
    reader = partial(_read, limit=pixel_limit(limit), range=range, check=check)
    return _groups(sources, batch, reader, [] if skipped is None else skipped)


def _read(source: Source, *, limit: int, range: Range | None, check: Callable[[Photo], None] | None) -> Photo:
    photo = source.read(limit=limit, range=range)
    if check is not None:
        check(photo)
    return photo


def _groups(
    sources: Iterable[Source], batch: int, reader: Callable[[Source], Photo], skipped: list[tuple[str, str]]
) -> Iterator[list[Photo]]:
    group: list[Photo] = []
    before, count = len(skipped), 0
    for source in sources:
        count += 1
        try:
            group.append(reader(source))
        except ImageNotReadable as error:
            if source.explicit:
                raise
            skipped.append((source.id, _without_name(error, source.id)))
        if len(group) == batch or _is_large(group):
            yield group
            group = []
    if group:
        yield group
    _report(skipped[before:], count)


def _without_name(error: ImageNotReadable, id: str) -> str:
    return str(error).removeprefix(f"{id}: ")


def _is_large(group: Sequence[Photo]) -> bool:
    """Whether photos take so much memory that no more of them should be read before they are used."""
    held = sum(photo.nbytes for photo in group)
    if is_little(held):
        return False
    most = memory_limit()
    return held > GROUP or (most is not None and held > SHARE * most)


def _report(skipped: Sequence[tuple[str, str]], count: int) -> None:
    if not count:
        raise ImageNotReadable("no image was given: the generator is empty")
    if not skipped:
        return
    reasons = "; ".join(f"{id}: {reason}" for id, reason in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    if len(skipped) == count:
        error = ImageNotReadable(f"none of {counted(count, 'image')} can be read: {reasons}{more}")
        error.unread = tuple(skipped)
        raise error
    were = "was" if len(skipped) == 1 else "were"
    warnings.warn(f"{len(skipped)} of {count} images {were} skipped: {reasons}{more}", ImagesSkipped, stacklevel=3)


def _items(images: Any) -> Iterator[Any]:
    """The single images of any input; files stay paths."""
    if isinstance(images, (str, os.PathLike)):
        for path in paths_of(os.fspath(images)):
            yield from _stored(path) if is_arrays(path) else (path,)
    elif isinstance(images, (bytes, bytearray, memoryview, Image.Image, Photo, Source)) or hasattr(images, "read"):
        yield images
    elif is_array(images):
        array = as_image(images)
        if array.ndim == 4:
            _check_batch(array.shape)
            yield from together(array)
        else:
            yield array
    elif isinstance(images, CONTAINERS):
        for item in images:
            yield from _items(without_labels(item) if is_sample(item) else item)
    elif is_stream(images):
        for item in _members(images):
            yield from _items(without_labels(item))
    else:
        as_array(images)  # raises


def _stored(path: Path) -> Iterator[Source]:
    """The images in a file of arrays, named after it."""
    file = ArrayFile(path)
    for number, name in enumerate(numbered(str(path), file.count)):
        yield Stored(name, file, number=number)


def is_stream(images: Any) -> bool:
    """Whether images come one by one or in batches, from a generator, a loader, a `keras.utils.Sequence`, a data set."""
    if isinstance(images, NO_STREAMS) or hasattr(images, "read") or is_array(images):
        return False
    return isinstance(images, Iterable) or _is_indexed(images)


def _is_indexed(images: Any) -> bool:
    """Whether images are found by numbers from 0 to a length: what is read past the end may begin anew, and never end."""
    return hasattr(images, "__getitem__") and hasattr(images, "__len__") and not isinstance(images, Mapping)


def _members(images: Any) -> Iterator[Any]:
    """What a stream gives, once."""
    try:
        count = len(images)
    except (TypeError, NotImplementedError):  # a stream may have a length of which nobody knows
        count = None
    if count is not None and _is_indexed(images):
        return (images[index] for index in range(count))
    return islice(iter(images), count)


def _check_batch(shape: tuple[int, ...]) -> None:
    if shape[3] not in BANDS:
        advice = " use array.transpose(0, 2, 3, 1);" if shape[1] in BANDS else ""
        raise ImageNotReadable(
            f"a batch of images has the shape (N, H, W, 1, 3 or 4), this array has {shape}:{advice} a batch that is "
            f"ready for the model needs {option('preprocess', None)}{'' if advice else f', and {OF_ARRAY}'}"
        )


class _Ids:
    """Gives every image an id of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def ids(self, items: Sequence[Any]) -> list[str]:
        names = _tails([path for item in items if (path := _file_of(item)) is not None])
        # Those without a name are numbered as they come among all, as `image=` counts them.
        return [self._free(names[item] if isinstance(item, Path) else self._name(item, names)) for item in items]

    def _name(self, item: Any, names: Mapping[Path, str]) -> str:
        if isinstance(item, Source) and item.file is not None and item.id.startswith(f"{item.file.name}#"):
            return names[item.file] + item.id.removeprefix(item.file.name)  # of a video
        if isinstance(item, Photo | Source):
            return item.id
        kind = kind_of(item)
        if kind == "file" and (name := label_of(item)) != "file-0":
            return name
        return f"{kind}-{len(self._taken)}"

    def _free(self, name: str) -> str:
        id, number = name, 2
        while id in self._taken:
            id, number = f"{name}#{number}", number + 1
        self._taken.add(id)
        return id


def _file_of(item: Any) -> Path | None:
    return item.file if isinstance(item, Source) else item if isinstance(item, Path) else None


def _tails(paths: Sequence[Path]) -> dict[Path, str]:
    """Each path by its file name, with as many of its folders before it as tell it from the others."""
    names: dict[Path, str] = {}
    remaining, depth = set(paths), 1
    while remaining:
        tails = {path: "/".join(path.parts[-depth:]) for path in remaining}
        counts = Counter(tails.values())
        unique = {path for path in remaining if counts[tails[path]] == 1 or depth >= len(path.parts)}
        names.update((path, tails[path]) for path in unique)
        remaining, depth = remaining - unique, depth + 1
    return names
