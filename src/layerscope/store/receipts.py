"""The receipt of a unit: what became of each of its files, and the checksum of all that was written. It is the commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .storage import Storage

FOLDER = "receipts"
DONE, MISSING, BROKEN = "done", "missing", "broken"


def checksum(data: bytes) -> str:
    """The blake2b of some bytes, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of one image: `done`, or `missing` or `broken` with the reason; the digest of what was read.

    `photo` is the (height, width) of the upright image in pixels.
    """

    id: str
    outcome: str
    digest: str = ""
    size: int | None = None
    reason: str = ""
    photo: tuple[int, int] | None = None

    def fields(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Outcome:
        photo = about.get("photo")
        return cls(**{**about, "photo": photo and (photo[0], photo[1])})


@dataclass(frozen=True)
class Receipt:
    """What a unit has left: its images, its files with (bytes, checksum), the hashes of its inputs and of what made it.

    `beyond` counts, for each layer that has any, the finite values that float16 can't hold; `resized_by` is what decoded and
    resized the images, with its versions.
    """

    unit: int
    first: int
    makers: str
    images: tuple[Outcome, ...]
    files: Mapping[str, tuple[int, str]]
    beyond: Mapping[str, int]
    resized_by: Mapping[str, str]

    @property
    def inputs(self) -> str:
        """The hash of the unit's images, as they were read."""
        return checksum(json.dumps([[image.id, image.outcome, image.digest] for image in self.images]).encode())

    @property
    def failures(self) -> list[Outcome]:
        return [image for image in self.images if image.outcome != DONE]

    def encode(self) -> bytes:
        """As it is stored: JSON with its own checksum, the same for the same receipt."""
        about = {
            "unit": self.unit,
            "first": self.first,
            "makers": self.makers,
            "inputs": self.inputs,
            "images": [image.fields() for image in self.images],
            "files": {name: list(entry) for name, entry in self.files.items()},
            "beyond": dict(self.beyond),
            "resized_by": dict(self.resized_by),
        }
        return sealed(about)

    @classmethod
    def decode(cls, data: bytes) -> Receipt | None:
        """The receipt in some bytes; `None` where they aren't, down to the bit, one that was written."""
        about = unsealed(data)
        if about is None:
            return None
        images = tuple(map(Outcome.of, about["images"]))
        files = {name: (entry[0], entry[1]) for name, entry in about["files"].items()}
        return cls(about["unit"], about["first"], about["makers"], images, files, about["beyond"], about["resized_by"])


def sealed(about: Mapping[str, Any]) -> bytes:
    """A JSON object with a checksum of all the rest, one line."""
    text = json.dumps(about, sort_keys=True)
    return json.dumps({**about, "checksum": checksum(text.encode())}, sort_keys=True).encode() + b"\n"


def unsealed(data: bytes) -> dict[str, Any] | None:
    """The object that `sealed` wrote, without the checksum; `None` for any other bytes."""
    try:
        about = json.loads(data)
        stated = about.pop("checksum")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return about if sealed(about) == data and stated == checksum(json.dumps(about, sort_keys=True).encode()) else None


def name_of(unit: int) -> str:
    return f"{FOLDER}/{unit:06d}.json"


def read_receipt(storage: Storage, unit: int) -> Receipt | None:
    """The receipt of a unit; `None` where there is none, or it is damaged."""
    try:
        return Receipt.decode(storage.get(name_of(unit)))
    except FileNotFoundError:
        return None


def store_digest(storage: Storage, units: int) -> str:
    """What tells the results of one scan from others: the checksums of all files, as the receipts have them, in order."""
    total = hashlib.blake2b(digest_size=16)
    for unit in range(units):
        receipt = read_receipt(storage, unit)
        files: Sequence[Any] = [] if receipt is None else sorted(receipt.files.items())
        total.update(json.dumps([unit, receipt and receipt.inputs, files]).encode())
    return total.hexdigest()
