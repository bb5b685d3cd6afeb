"""The statistics of all units, merged for each layer, and a receipt that says of which units they are."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from ..core.npz import array_in
from ..files import parsing
from .arrays import descriptions
from .manifest import NAME as MANIFEST
from .plan import NAME as PLAN
from .plan import Kept, Plan
from .receipts import Receipt, checksum, sealed, unsealed
from .storage import Storage
from .tally import Tally, decode, merged, packed
from .unit import TALLIES

RECEIPT = "summary/receipt.json"
DAMAGED = "a part of a store; `layerscope check` finds all that is damaged, the same scan renews it; it"


def name_of(kept: Kept) -> str:
    return f"summary/{kept.name}.npz"


def read_summary(storage: Storage, kept: Kept) -> Tally:
    """The figures of a layer over all images. Raises `FileNotFoundError` where the scan hasn't ended."""
    data = storage.get(name_of(kept))
    with parsing(name_of(kept), DAMAGED), zipfile.ZipFile(BytesIO(data)) as archive:
        names = [entry.removesuffix(".npy") for entry in archive.namelist()]
        return Tally.of_arrays({name: array_in(archive, name) for name in names})


def write_summary(storage: Storage, plan: Plan, receipts: Mapping[int, Receipt]) -> bool:
    """Merge the tallies of all units, in their order, and write the summary; whether that was needed."""
    of = units_hash(receipts)
    old = read_receipt(storage)
    if old is not None and old["of"] == of and not list(damage(storage, old)):
        return False
    files = {}
    for kept in plan.layers:
        data = packed(merged(_tallies(storage, kept, receipts), len(kept.channels), plan.top).arrays())
        storage.put(name_of(kept), data)
        files[name_of(kept)] = [len(data), checksum(data)]
    for name in (PLAN, MANIFEST, *(name for name, _ in descriptions(plan))):
        data = storage.get(name)
        files[name] = [len(data), checksum(data)]
    storage.put(RECEIPT, sealed({"of": of, "files": files}))
    return True


def units_hash(receipts: Mapping[int, Receipt]) -> str:
    """What tells the units that a summary is of: what made them, and all that they hold."""
    texts = [receipts[number].encode() for number in sorted(receipts)]
    return checksum(b"".join(texts))


def _tallies(storage: Storage, kept: Kept, receipts: Mapping[int, Receipt]) -> Iterator[Tally]:
    for number in sorted(receipts):
        yield decode(storage.get(f"{TALLIES}/{number:06d}.npz"), kept.name)


def read_receipt(storage: Storage, name: str = RECEIPT) -> dict[str, Any] | None:
    """What was written last with all its files; `None` where nothing was, or it is damaged."""
    try:
        return unsealed(storage.get(name))
    except FileNotFoundError:
        return None


def damage(storage: Storage, about: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the files of such a receipt, in words."""
    for name, (_, stated) in about["files"].items():
        try:
            if checksum(storage.get(name)) != stated:
                yield f"{name} holds other bytes than were written"
        except FileNotFoundError:
            yield f"{name} is missing"
