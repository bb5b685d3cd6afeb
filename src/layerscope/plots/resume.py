"""What a job finds done in its folder: each picture says in its file which job made it, and of which photo."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .._version import __version__
from ..inputs.images import Source
from ..picture.png import text_of
from ..safe_text import json_text

NAME = "job"  # of what a picture's provenance says of it


@dataclass(frozen=True)
class Marks:
    """The marks of the pictures of one job. `key` tells it from jobs that would draw something else."""

    key: str
    sources: dict[str, Source]

    @classmethod
    def of(cls, settings: Any, sources: Sequence[Source], files: Sequence[Path] = ()) -> Marks:
        """Those of a job with these settings, which JSON can hold, and with `files` that it reads beside the photos."""
        text = json_text([__version__, settings, [_digest(file) for file in files]], default=str)
        key = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        return cls(key, {source.id: source for source in sources})

    def mark(self, image: str, number: int, *, last: bool) -> dict[str, Any]:
        """What a picture says: the job, the photo and its checksum, the picture's number among those of the photo."""
        return {"key": self.key, "image": image, "file": self._checksum(image), "number": number, "last": last}

    def complete(self, folder: Path) -> dict[str, list[Path]]:
        """The photos all of whose pictures are in the folder, whole and as this job would make them, with their files."""
        found: dict[str, dict[int, tuple[bool, Path]]] = defaultdict(dict)
        for path in sorted(folder.glob("*.png")):
            mark = _mark_in(path)
            if mark.get("key") == self.key and mark.get("image") in self.sources:
                image = mark["image"]
                if mark["file"] and mark["file"] == self._checksum(image):
                    found[image][mark["number"]] = mark["last"], path
        return {
            image: [path for _, path in pictures.values()]
            for image, pictures in found.items()
            if [number for number, (last, _) in pictures.items() if last] == [len(pictures) - 1]
        }

    def _checksum(self, image: str) -> str:
        source = self.sources.get(image)
        return "" if source is None or source.file is None else _digest(source.file)


def _mark_in(path: Path) -> dict[str, Any]:
    """The mark of a picture; nothing of a file that isn't whole, or no picture of a job."""
    import json

    try:
        about = json.loads((text_of(path) or {}).get("layerscope", "{}"))
        mark = about.get(NAME) or {}
        return mark if {"key", "image", "file", "number", "last"} <= set(mark) else {}
    except (OSError, ValueError, AttributeError, TypeError):  # another program's file of that name
        return {}


def _digest(file: Path) -> str:
    status = file.stat()
    return _digest_of(str(file), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _digest_of(file: str, changed: int, size: int) -> str:
    """The checksum of a file's content, taken once for a file that hasn't changed meanwhile."""
    total = hashlib.blake2b(digest_size=16)
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()
