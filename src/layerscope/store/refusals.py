"""What a scan refuses before it writes: places and images that can't be meant, and work that would lose results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ..errors import BadOption
from ..safe_text import counted
from ..surface import option
from .manifest import manifest_lines, names_and_labels
from .plan import PROVENANCE
from .samples import Listing
from .sources.origins import Files, Memory
from .storage import Folder, Storage

SHOWN = 5  # names in a message


def check_place(storage: Storage, images: Any, listing: Listing) -> None:
    """Raises `BadOption` where a store would lie in a folder of images that is given, or around the images."""
    if not isinstance(storage, Folder):
        return
    place = _real(storage.root)
    for folder in map(_real, _folders(images)):
        if _within(place, folder) or _within(folder, place):
            raise _misplaced(storage, folder)
    if isinstance(listing.origin, Files):
        root = _real(listing.origin.root)
        if (source := _first_within(listing.sources, root, place)) is not None:
            raise _misplaced(storage, os.path.dirname(os.path.join(root, source)))


def _misplaced(storage: Storage, images: str) -> BadOption:
    return BadOption(
        f"the store {storage} and the images in {images} would lie in one folder",
        f"give a store beside them, such as {option('store', f'{images.rstrip(os.sep)}-store')}",
    )


def _folders(images: Any) -> Iterator[str]:
    for item in images if isinstance(images, list | tuple) else [images]:
        if isinstance(item, str | os.PathLike) and os.path.isdir(folder := os.path.expanduser(os.fspath(item))):
            yield folder


def _first_within(sources: Sequence[str], root: str, place: str) -> str | None:
    """The first of some sources below a root that lies in a place; a million are looked at in a part of a second."""
    if _within(root, place):
        return next(
            (source for source in sources if _within(os.path.normpath(os.path.join(root, source)), place)), None
        )
    starts = [place, os.path.relpath(place, root)] if _within(place, root) else [place]
    inside = tuple(os.path.join(start, "") for start in starts)
    return next((source for source in sources if source.startswith(inside)), None)


def _within(path: str, folder: str) -> bool:
    """Whether a path is that of a folder, or of something in it."""
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def check_images(storage: Storage, listing: Listing) -> None:
    """Raises `BadOption` where none of the images of a store is among those that are given."""
    lines, today = manifest_lines(storage), set(listing.ids)
    if not lines or any(names_and_labels([line])[0][0] in today for line in lines):
        return
    given = "that are given" if isinstance(listing.origin, Memory) else f"of {listing.origin.root}"
    there = ", ".join(names_and_labels(lines[:2])[0])
    raise BadOption(
        f"{storage} was made of {_origin(storage)} ({there} …), and none of its {counted(len(lines), 'image')} is among the"
        f" {len(listing):,} {given} ({', '.join(listing.ids[:2])} …)",
        f"give another {option('store')}, or the images that this one was made of",
    )


def _origin(storage: Storage) -> str:
    """Where the images of a store lay when it was last scanned."""
    try:
        root = json.loads(storage.get(PROVENANCE))["runs"][-1]["origin"].get("root")
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):  # no run has come to its end
        root = None
    return root or "other images"


def would_lose(where: object, images: Sequence[str], why: str) -> BadOption:
    """The refusal to do units again in which images can't be read that the store has results of."""
    return BadOption(
        f"{where} would lose the results of {counted(len(images), 'image')} that can't be read now, {listed(images)}: {why}",
        f"put back what is gone, or scan what is there into another {option('store')}",
    )


def listed(names: Sequence[str], between: str = ", ") -> str:
    """Some names, of many the first."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return between.join(islice(names, SHOWN)) + more
