"""`open_store`: a store without images and without the framework that filled it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import BadOption
from ..safe_text import counted
from .plan import Plan
from .receipts import Outcome, Receipt, read_receipt, store_digest
from .storage import Storage, storage_of


@dataclass(frozen=True, eq=False)
class Store:
    """What a scan has kept of a data set: what `scan` and `open_store` return.

    >>> import tempfile
    >>> import numpy as np
    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> images = [np.full((8, 8, 3), grey, np.uint8) for grey in range(5)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ls.scan(tiny_model(), images, "conv1", folder, backend=TinyBackend(), preprocess="unit", size=8)
    ...     store.layers, store.failures
    (('conv1',), ())

    Attributes:
        storage: Where it lies.
        plan: What made it.
    """

    storage: Storage = field(repr=False)
    plan: Plan = field(repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of the layers."""
        return tuple(kept.layer.path for kept in self.plan.layers)

    @cached_property
    def receipts(self) -> tuple[Receipt | None, ...]:
        """What each unit has left; `None` for those that aren't done."""
        return tuple(read_receipt(self.storage, unit) for unit in range(self.plan.units))

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The images that are missing or broken, each with its reason."""
        return tuple(image for receipt in self.receipts if receipt is not None for image in receipt.failures)

    @property
    def provenance(self) -> dict[str, Any]:
        """When, where and how the runs of the scan were made."""
        try:
            about: dict[str, Any] = json.loads(self.storage.get("provenance.json"))
        except FileNotFoundError:
            return {"runs": []}
        return about

    @property
    def digest(self) -> str:
        """What tells its results from others: the checksums of all files in order."""
        return store_digest(self.storage, self.plan.units)

    def __repr__(self) -> str:
        return f"<Store of {counted(self.plan.images, 'image')}, {counted(len(self.plan.layers), 'layer')}>"


def open_store(store: Any) -> Store:
    """The store in a folder, as `scan` has left it, also one that isn't finished.

    >>> import tempfile
    >>> import numpy as np
    >>> import layerscope as ls
    >>> from layerscope.testing import TinyBackend, tiny_model
    >>> images = [np.full((8, 8, 3), grey, np.uint8) for grey in range(5)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = ls.scan(tiny_model(), images, "conv1", folder, backend=TinyBackend(), preprocess="unit", size=8)
    ...     open_store(folder)
    <Store of 5 images, 1 layer>

    Args:
        store: The folder.

    Raises:
        BadOption: There is no store, or one of another version.
    """
    storage = storage_of(store)
    plan = Plan.read(storage)
    if plan is None:
        raise BadOption(f"{storage}: there is no store here (no store.json); `scan` makes one")
    return Store(storage, plan)
