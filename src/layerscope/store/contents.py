"""What lies in a store, read as it is asked for: images and their outcomes, figures, vectors, maps, photos."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import flag, keywords, one_of
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.words import image_index
from ..errors import BadOption, LayerscopeWarning
from ..safe_text import counted
from ..surface import option
from . import reading
from .halves import SMALLEST, loss
from .held import Held
from .manifest import manifest_lines, names_and_labels
from .plan import PROVENANCE, Kept, Plan
from .receipts import DONE, Outcome, Receipt, read_receipt, store_digest
from .receipts import FOLDER as RECEIPTS
from .storage import Storage
from .table import Table
from .tally import Tally

if TYPE_CHECKING:
    import xarray

NOT_DONE = "not done"


@dataclass(frozen=True, eq=False)
class Contents:
    """The files of a store as what they are.

    Attributes:
        storage: Where it lies.
        plan: What made it.
    """

    storage: Storage = field(repr=False)
    plan: Plan = field(repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of the layers."""
        return tuple(map(reading.path_of, self.plan.layers))

    @cached_property
    def receipts(self) -> tuple[Receipt | None, ...]:
        """What each unit has left; `None` for those that aren't done."""
        return tuple(read_receipt(self.storage, unit) for unit in range(self.plan.units))

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The images that are missing or broken, each with its reason."""
        return tuple(image for receipt in self.receipts if receipt is not None for image in receipt.failures)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of its numbers: the layers whose kept maps aren't what the model gave."""
        lost = ((reading.path_of(kept), self._lost(kept)) for kept in self.plan.layers)
        wide = option("dtype", "float32")
        return tuple(f"{path}: {words} in kept maps; a scan with {wide} keeps them" for path, words in lost if words)

    def _lost(self, kept: Kept) -> str:
        """What has become of values of a layer in its kept maps, in words."""
        narrow = self.plan.keep == "maps" and self.plan.dtype == "float16"
        return loss(self.tally(reading.path_of(kept))) if narrow else ""

    @property
    def provenance(self) -> dict[str, Any]:
        """When, where and how the runs of the scan were made."""
        try:
            about: dict[str, Any] = json.loads(self.storage.get(PROVENANCE))
        except FileNotFoundError:
            return {"runs": []}
        return about

    @property
    def outcomes(self) -> dict[str, int]:
        """What became of every image in the last run that came to its end, each counted once.

        `done` in that run, `already there`, `changed since` (and done again), `missing` or `broken`. Before a run has come to
        its end: `done`, `missing`, `broken` and `not done`.

        >>> from layerscope.store.example import example_store
        >>> example_store().outcomes["broken"]
        0
        """
        if runs := self.provenance["runs"]:
            counts: dict[str, int] = runs[-1]["outcomes"]
            return counts
        done = [image.outcome for receipt in self.receipts if receipt is not None for image in receipt.images]
        return {**Counter(done), NOT_DONE: len(self.ids) - len(done)}

    @property
    def digest(self) -> str:
        """What tells its results from others: the checksums of all files in order."""
        return store_digest(self.storage, self.plan.units)

    @cached_property
    def manifest(self) -> list[bytes]:
        """A line of JSON for each image, in their order: one of a million is looked at without all others."""
        return manifest_lines(self.storage)

    @cached_property
    def _names(self) -> tuple[list[str], list[str | None]]:
        return names_and_labels(self.manifest)

    @property
    def ids(self) -> list[str]:
        """The names of the images in their order."""
        return self._names[0]

    @property
    def labels(self) -> list[str | None]:
        """The class of each image; `None` for those without one."""
        return self._names[1]

    @property
    def images(self) -> Table:
        """Every image with its class and what became of it: `done`, `missing` or `broken`, and why."""
        outcomes = {
            receipt.first + row: outcome
            for receipt in self.receipts
            if receipt is not None
            for row, outcome in enumerate(receipt.images)
        }
        found = [outcomes.get(row) for row in range(len(self.ids))]
        columns: dict[str, Any] = {"image": self.ids}
        if any(self.labels):
            columns["label"] = self.labels
        columns["outcome"] = [NOT_DONE if one is None else one.outcome for one in found]
        columns["reason"] = ["" if one is None else one.reason for one in found]
        done = sum(one is not None and one.outcome == DONE for one in found)
        return Table(columns, f"{counted(len(found), 'image')}, {done} of them done")

    def tally(self, layer: str | None = None) -> Tally:
        """The exact counts, sums, histogram and top images of a layer, of which `stats` makes figures.

        >>> from layerscope.store.example import example_store
        >>> example_store().tally("conv1").count.tolist()
        [768, 768, 768, 768]

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.

        Raises:
            LayerNotFound: The store has no such layer, or several.
        """
        kept, held = self._kept(layer), self._tallies
        if kept.name not in held:
            held[kept.name] = reading.tally(self.storage, self.plan, kept, lambda: self.receipts)
        return held[kept.name]

    def _kept(self, layer: Any, of: str = "the store") -> Kept:
        return reading.layer_named(self.plan, layer, of)

    def _so_far(self, table: Table) -> Table:
        """The table, which says in its last line if the scan isn't finished."""
        return replace(table, notes=(*table.notes, self._unfinished)) if self._unfinished else table

    @cached_property
    def _unfinished(self) -> str:
        done = len(self.storage.sizes(RECEIPTS))
        whole = counted(self.plan.units, "unit")
        return f"unfinished: {done:,} of {whole} done so far; the same scan goes on" if done < self.plan.units else ""

    @cached_property
    def _tallies(self) -> dict[str, Tally]:
        return {}

    def vectors(self, layer: str | None = None, by: str = "mean") -> np.ndarray:
        """float32 `[image, channel]`: one number for each channel of each image; NaN for images that couldn't be read.

        >>> from layerscope.store.example import example_store
        >>> example_store().vectors("conv1").shape
        (12, 4)

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.
            by: `"mean"` or `"max"` over the positions of the map.

        Raises:
            BadOption: The store holds statistics alone.
            LayerNotFound: The store has no such layer, or several.
        """
        return reading.pooled(self.storage, self.plan, self._kept(layer), one_of("by", by, ("mean", "max")))

    def maps(self, layer: str | None = None) -> xarray.DataArray:
        """The maps of a layer as an `xarray.DataArray` over image, channel and position, read as they are asked for.

        >>> from layerscope.store.example import example_store
        >>> example_store().maps("conv1").dims  # doctest: +SKIP
        ('image', 'conv1_channel', 'conv1_y', 'conv1_x')

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.

        Raises:
            BadOption: The store was filled without `keep="maps"`.
            LibraryMissing: xarray isn't installed.
            LayerNotFound: The store has no such layer, or several.
        """
        if words := self._lost(self._kept(layer)):
            warnings.warn(
                LayerscopeWarning(f"{reading.path_of(self._kept(layer))}: {words} in kept maps"), stacklevel=2
            )
        return reading.data_array(self.storage, self.plan, self._kept(layer), self.ids)

    @keywords
    def feature_map(
        self,
        layer: str | None = None,
        images: Any = 0,
        *,
        channels: Sequence[int] | None = None,
        photos: bool = False,
    ) -> FeatureMap:
        """The maps of some images as `Scope.capture` gives them: `sheet` and all others draw it.

        >>> from layerscope.store.example import example_store
        >>> example_store().feature_map("conv1", [0, 3], channels=[2])
        <FeatureMap conv1 (Conv) [2, 8, 8, 1]>

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.
            images: The number of an image or its name, or several.
            channels: The true numbers of the channels to read; `None` for all.
            photos: Whether they come with what the model saw of the images, on which `overlay` lays them.

        Raises:
            BadOption: The store was filled without `keep="maps"`, or has no such image, or no photo of it.
            LayerNotFound: The store has no such layer, or several.
            BadChannels: The store has no such channel of it.
        """
        kept = self._kept(layer)
        fm = reading.feature_map(self.storage, self.plan, kept, ids=self.ids, images=images, channels=channels)
        words = self._lost(kept)
        if words and (np.isinf(fm.values).any() or np.abs(fm.values).max() < SMALLEST):
            fm = replace(fm, notes=(Note("float16", f"The store keeps float16: over the data set {words}"),))
        return self._with_photos(fm) if flag("photos", photos) else fm

    def _with_photos(self, fm: FeatureMap) -> FeatureMap:
        pairs = []
        for id in fm.ids:
            row = image_index(self.ids, id)
            photo = self.gallery.photo(row)
            if photo is None:
                raise BadOption(
                    f"the store has no photo of {id!r}: it keeps those of the images that channels are shown with"
                )
            pairs.append((photo, self.gallery.placement(row, photo)))
        photos, placement = zip(*pairs, strict=True)
        recipe = self.plan.preprocess.partition(": ")[0]
        fed = Note("fed", f"as the model saw {'it' if len(pairs) == 1 else 'them'}, {recipe} preprocessing")
        return replace(fm, photos=photos, placement=placement, notes=(*fm.notes, fed))

    @cached_property
    def gallery(self) -> Held:
        """The photos and maps of top images, which the last stage of a scan has left."""
        try:
            return Held.of(self.storage, self.plan)
        except FileNotFoundError:
            raise BadOption(
                "this scan isn't finished, and which images come first is known at its end",
                "the same scan goes on with it",
            ) from None

    def __repr__(self) -> str:
        return f"<Store of {counted(self.plan.images, 'image')}, {counted(len(self.plan.layers), 'layer')}>"
