"""What of a store is done, and what is to be done: by receipts, by the images as they are now, by checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import ImageNotReadable
from .manifest import Unit, may_have_changed, units
from .plan import Plan
from .receipts import BROKEN, DONE, MISSING, Receipt, checksum, name_of, read_receipt
from .samples import Listing, Sample
from .sources.origins import digest_of
from .storage import Storage

READERS = 4
VERIFIED = 20 << 30  # bytes: of a larger store the sizes of files are compared, `check` reads all of it
ALREADY, CHANGED = "already there", "changed since"
OUTCOMES = (DONE, ALREADY, CHANGED, MISSING, BROKEN)
MARGIN = 2.0  # seconds by which the clocks of images and store may differ


@dataclass
class State:
    """The units that are done, with their receipts, those that aren't, and the images that have changed since they were done.

    `damaged` says of units that were done what is wrong with their files.
    """

    done: dict[int, Receipt] = field(default_factory=dict)
    todo: list[Unit] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def state_of(storage: Storage, plan: Plan, samples: Listing, *, step: Callable[[int], None]) -> State:
    """What of the samples is done; `step` is told of images whose unit was looked at."""
    state, sizes = State(), storage.sizes()
    whole = sum(sizes.values()) <= VERIFIED

    def look(unit: Unit) -> tuple[Unit, Receipt | None, list[str], list[str]]:
        receipt = read_receipt(storage, unit.number) if name_of(unit.number) in sizes else None
        if receipt is None or receipt.makers != plan.makers or not _same_images(receipt, unit):
            wrong = [f"{name_of(unit.number)} is damaged"] if receipt is None and name_of(unit.number) in sizes else []
            return unit, None, [], wrong
        wrong = list(damage(storage, receipt, sizes, whole=whole))
        changed = list(_changed(storage, receipt, unit))
        return unit, None if wrong or changed else receipt, changed, wrong

    with ThreadPoolExecutor(READERS) as pool:
        for unit, receipt, changed, wrong in pool.map(look, units(samples, plan.unit)):
            state.changed += changed
            state.damaged += wrong
            if receipt is None:
                state.todo.append(unit)
            else:
                state.done[unit.number] = receipt
            step(len(unit))
    return state


def _same_images(receipt: Receipt, unit: Unit) -> bool:
    return [image.id for image in receipt.images] == list(unit.samples.ids)


def _changed(storage: Storage, receipt: Receipt, unit: Unit) -> Iterator[str]:
    """The ids of images that are others now, or are there now; those whose files are gone keep their results."""
    written = storage.modified(name_of(unit.number)) - MARGIN
    for image, sample in zip(receipt.images, unit.samples, strict=True):
        if image.outcome == MISSING:
            other = _now(sample) is not None
        elif None not in (image.size, sample.size) and image.size != sample.size:
            other = True
        else:
            other = may_have_changed(sample, written) and _now(sample) not in (None, image.digest or None)
        if other:
            yield image.id


def _now(sample: Sample) -> str | None:
    """The digest of an image as it is now; `None` where it can't be read."""
    try:
        return digest_of(sample.content())
    except ImageNotReadable:
        return None


def damage(storage: Storage, receipt: Receipt, sizes: Mapping[str, int], *, whole: bool = True) -> Iterator[str]:
    """What is wrong with the files of a receipt, in words; `whole`: by their checksums, not by their sizes alone."""
    for name, (size, stated) in receipt.files.items():
        if name not in sizes:
            yield f"{name} is missing"
        elif sizes[name] != size:
            yield f"{name} has {sizes[name]} bytes, and {size} were written"
        elif whole and checksum(storage.get(name)) != stated:
            yield f"{name} holds other bytes than were written"


def outcomes(receipts: Mapping[int, Receipt], before: State) -> dict[str, int]:
    """What became of every image in a run that found the store in the state `before`; each image counts once."""
    counts = dict.fromkeys(OUTCOMES, 0)
    changed = set(before.changed)
    for number, receipt in receipts.items():
        for image in receipt.images:
            if image.outcome != DONE:
                counts[image.outcome] += 1
            elif image.id in changed:
                counts[CHANGED] += 1
            else:
                counts[ALREADY if number in before.done else DONE] += 1
    return counts
