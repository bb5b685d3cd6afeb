"""What of a store is done, and what is to be done: by receipts, by the images as they are now, by checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ..errors import ImageNotReadable
from ..safe_text import counted
from .manifest import Unit, may_have_changed, units
from .plan import Plan
from .receipts import BROKEN, DONE, MISSING, Receipt, checksum, name_of, read_receipt
from .samples import Listing, Sample
from .sources.origins import Files, digest_of, frame_of
from .storage import Storage

READERS = 4
VERIFIED = 20 << 30  # bytes: of a larger store the sizes of files are compared, `check` reads all of it
ALREADY, CHANGED = "already there", "changed since"
OUTCOMES = (DONE, ALREADY, CHANGED, MISSING, BROKEN)
MARGIN = 2.0  # seconds by which the clocks of images and store may differ


@dataclass
class State:
    """The units that are done, with their receipts, those that aren't, and the images that have changed since they were done.

    `damaged` says of units that were done what is wrong with their files. `lost` are images that can't be read now in units
    that aren't done any more, though the store has results of them; `why` says what those units would be done again for.
    """

    done: dict[int, Receipt] = field(default_factory=dict)
    todo: list[Unit] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def add(self, other: State) -> None:
        """Take in what is true of other units."""
        self.done.update(other.done)
        for name in ("todo", "changed", "damaged", "lost", "why"):
            getattr(self, name).extend(getattr(other, name))


def state_of(storage: Storage, plan: Plan, samples: Listing, *, step: Callable[[int], None]) -> State:
    """What of the samples is done; `step` is told of images whose unit was looked at."""
    state, sizes = State(), storage.sizes()
    whole = sum(sizes.values()) <= VERIFIED

    def look(unit: Unit) -> State:
        if name_of(unit.number) not in sizes:
            return State(todo=[unit])
        receipt = read_receipt(storage, unit.number)
        if receipt is None:
            return _again(unit, None, damaged=[f"{name_of(unit.number)} is damaged"])
        damaged = list(damage(storage, receipt, sizes, whole=whole))
        new = len(unit) - len(receipt.images)
        if receipt.makers != plan.makers or [image.id for image in receipt.images] != list(unit.samples.ids):
            return _again(unit, receipt, damaged=damaged, why=[counted(new, "new image")] if new else ["another scan"])
        changed = list(_changed(storage, receipt, unit))
        if damaged or changed:
            return _again(unit, receipt, changed=changed, damaged=damaged)
        return State(done={unit.number: receipt})

    with ThreadPoolExecutor(READERS) as pool:
        for part in pool.map(look, units(samples, plan.unit)):
            state.add(part)
            step(sum(map(len, part.todo)) + sum(len(receipt.images) for receipt in part.done.values()))
    return state


def _again(
    unit: Unit,
    receipt: Receipt | None,
    *,
    changed: Sequence[str] = (),
    damaged: Sequence[str] = (),
    why: Sequence[str] = (),
) -> State:
    """That a unit is to be done again, for these reasons, and what would be lost by that."""
    held = [row for row, sample in enumerate(unit.samples) if _had_results(row, sample, receipt)]
    lost = [unit.samples.ids[row] for row in held if _now(unit.samples[row]) is None]
    reasons = [*why, *(f"a change of {id}" for id in changed), *damaged] if lost else []
    todo = replace(unit, held=tuple(held))
    return State(todo=[todo], changed=list(changed), damaged=list(damaged), lost=lost, why=reasons)


def _had_results(row: int, sample: Sample, receipt: Receipt | None) -> bool:
    """Whether there were results of an image; where the receipt can't say, whether its file was ever there."""
    if receipt is not None:
        return row < len(receipt.images) and receipt.images[row].outcome == DONE
    return sample.size is not None or not isinstance(sample.origin, Files) or frame_of(sample.source) is not None


def _changed(storage: Storage, receipt: Receipt, unit: Unit) -> Iterator[str]:
    """The ids of images that are others now, or are there now; those whose files are gone keep their results."""
    written = storage.modified(name_of(unit.number)) - MARGIN
    for image, sample in zip(receipt.images, unit.samples, strict=True):
        resized = None not in (image.size, sample.size) and image.size != sample.size
        if image.outcome == MISSING or resized:
            other = _now(sample) is not None
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
