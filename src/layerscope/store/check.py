"""`check_store`: every receipt of a store against the bytes that lie there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..checks import flag, keywords
from ..core.progress import work
from ..memory import amount
from ..safe_text import counted, printable, writable
from ..surface import option
from . import summary
from .held import RECEIPTS
from .plan import Plan
from .receipts import Receipt, name_of, read_receipt
from .state import READERS, damage
from .storage import Storage, storage_of
from .store import open_store

SHOWN = 40


@dataclass(frozen=True)
class Check:
    """What `check_store` found: false where something is damaged, and a text that says what.

    >>> bool(Check(3, 3, (), 1200)), bool(Check(3, 2, ("receipts/000001.json is damaged",), 1200))
    (True, False)

    Attributes:
        units: How many units the store has.
        done: How many are done and whole.
        damaged: What is wrong, a line each; the same `scan` does those units again.
        size: The bytes that were read.
        unfinished: Whether the scan hasn't come to its end yet.
        repaired: Whether the receipts of damaged units were removed.
    """

    units: int
    done: int
    damaged: tuple[str, ...]
    size: int
    unfinished: bool = False
    repaired: bool = False

    def __bool__(self) -> bool:
        return not self.damaged

    def __repr__(self) -> str:
        left = self.units - self.done
        parts = [f"{self.done} of {counted(self.units, 'unit')} whole, {amount(self.size)} read"]
        if self.damaged:
            parts.append(f"{len(self.damaged)} damaged")
        elif self.unfinished:
            parts.append(f"{counted(left, 'unit')} still to be done" if left else "the summary is still to be made")
        lines = ["; ".join(parts), *self.damaged[:SHOWN]]
        if len(self.damaged) > SHOWN:
            lines.append(f"… {len(self.damaged) - SHOWN} more")
        if self.damaged:
            repair = "" if self.repaired else f" (a store above 20 GB: after {option('repair', True)})"
            lines.append(f"the scan that made the store, run once more, does these units again{repair}")
        return writable("\n".join(map(printable, lines)))


@keywords
def check_store(store: Any, *, repair: bool = False) -> Check:
    """Read every file of a store and compare it with the checksum that its receipt states.

    >>> from layerscope.store.example import example_store
    >>> found = check_store(example_store().storage)
    >>> bool(found), found.done == found.units
    (True, True)

    Args:
        store: The folder of the store, or its URL.
        repair: Remove the receipts of damaged units, so that the same scan does them again, also in a store so large that a
            scan compares sizes alone. Without it nothing is changed.

    Raises:
        BadOption: There is no store, or, with `repair`, a scan is writing to it.
    """
    opened = open_store(store)
    storage = storage_of(store)
    with storage.locked() if flag("repair", repair) else nullcontext():
        return _checked(storage, opened.plan, repair=repair)


def _checked(storage: Storage, plan: Plan, *, repair: bool) -> Check:
    sizes = storage.sizes()
    damaged: list[str] = []
    done = size = 0
    look = partial(_look, storage, plan, sizes)
    with work(plan.units, "units") as step, ThreadPoolExecutor(READERS) as pool:
        for unit, (receipt, wrong) in enumerate(pool.map(look, range(plan.units))):
            damaged += wrong
            if wrong and repair:
                storage.delete(name_of(unit))
            done += receipt is not None and not wrong
            size += 0 if receipt is None else sum(size for size, _ in receipt.files.values())
            step(1)
    ends = list(_of_the_end(storage, sizes))
    damaged += ends
    unfinished = done < plan.units or summary.RECEIPT not in sizes
    return Check(plan.units, done, tuple(damaged), size, unfinished, repair)


def _look(storage: Storage, plan: Plan, sizes: dict[str, int], unit: int) -> tuple[Receipt | None, list[str]]:
    name = name_of(unit)
    if name not in sizes:
        return None, []
    receipt = read_receipt(storage, unit)
    if receipt is None:
        return None, [f"{name} is damaged"]
    if receipt.makers != plan.makers:
        return None, [f"{name} is of another scan"]
    return receipt, list(damage(storage, receipt, sizes))


def _of_the_end(storage: Storage, sizes: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with what the end of a scan has left: the summary, the parts of the last stage."""
    for name in (summary.RECEIPT, *(name for name in sizes if name.startswith(f"{RECEIPTS}/"))):
        if name not in sizes:
            continue
        about = summary.read_receipt(storage, name)
        if about is None:
            yield f"{name} is damaged"
        else:
            yield from summary.damage(storage, about)
