"""The last stage of a scan: what the model saw of the images with a channel's largest values, and the channel's map of each.

So that not only the top is seen, there are images of every eighth of each channel's order too, out of a few that lie evenly
in the manifest. All of them, in the order of the manifest, are cut into parts. A part is one file and then its receipt, so
that a killed stage goes on where it was, and an image is read once more for all layers together.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..core.placement import Placement
from ..core.progress import work
from ..errors import ImageNotReadable
from ..inputs import preprocess
from ..inputs.photo import Photo
from ..inputs.photo import read as read_photo
from .ahead import read_ahead
from .gone import NAME as GONE
from .gone import carried, is_gone, map_of
from .halves import narrow
from .held import BINS, FOLDER, INDEX, Part, all_rows, parts_of
from .passing import Pairs, forget, passed, sample_rows
from .plan import Kept, Plan
from .reading import map_array, pooled_rows
from .receipts import DONE, Outcome, Receipt, checksum, sealed, unsealed
from .sources.origins import digest_of
from .storage import Storage
from .summary import damage, read_summary, units_hash
from .tally import packed
from .unit import Spec, reader_count, run
from .vectors import ranks_of

if TYPE_CHECKING:
    from ..scope.scope import Scope
    from .samples import Listing, Sample

SIDE = 256  # pixels of the longer side of a photo
FEW = 64  # pixels up to which a photo is kept exactly
QUALITY = 85


def rows_by_bins(storage: Storage, plan: Plan, kept: Kept) -> np.ndarray:
    """int64 `[channel, bin]`: of each eighth of the sampled images, by their largest value, the one in its middle.

    The eighth with the largest values comes first; -1 where there are fewer images, or the store has no numbers of them.
    """
    found = np.full((len(kept.channels), BINS), -1, np.int64)
    if plan.keep == "stats":
        return found
    rows = sample_rows(plan.images)
    values = pooled_rows(storage, kept, rows)
    for channel, column in enumerate(values.T):
        parts = ranks_of(column, BINS)
        found[channel, : len(parts)] = [rows[part[len(part) // 2]] for part in parts]
    return found


def shown_rows(storage: Storage, plan: Plan, kept: Kept) -> np.ndarray:
    """int64 `[channel, image]`: the images that a channel of a layer is shown with, its top and one of each eighth."""
    return np.concatenate([read_summary(storage, kept).top_image, rows_by_bins(storage, plan, kept)], 1)


@dataclass(frozen=True)
class Gallery:
    """What the stage works on: the plan and the samples of a scan, and for each layer the images of each channel.

    `shown` is `[channel, image]` by the names of layers, rows of the manifest or -1; `of` tells the summary from others.
    """

    spec: Spec
    samples: Listing
    shown: Mapping[str, np.ndarray]
    receipts: Mapping[int, Receipt]
    of: str

    @classmethod
    def of_scan(cls, spec: Spec, samples: Listing, receipts: Mapping[int, Receipt]) -> Gallery:
        shown = {kept.name: shown_rows(spec.storage, spec.plan, kept) for kept in spec.plan.layers}
        return cls(spec, samples, shown, receipts, units_hash(receipts))

    @property
    def parts(self) -> list[Part]:
        return parts_of(all_rows(self.shown.values(), self.spec.plan.images), self.spec.plan.unit)

    def missing(self) -> list[Part]:
        """The parts that aren't there yet, whole and of this summary."""
        return [part for part in self.parts if not self._is_done(part)]

    def _is_done(self, part: Part) -> bool:
        try:
            about = unsealed(self.spec.storage.get(part.receipt))
        except FileNotFoundError:
            return False
        same = about is not None and about["of"] == self.of and about["rows"] == list(part.rows)
        return same and not list(damage(self.spec.storage, about or {}))

    def sweep(self, *, but: str) -> None:
        """Remove parts of another summary that had more of them, and whatever else isn't of this one `but` that file."""
        names = {INDEX, but, *(name for part in self.parts for name in (part.name, part.receipt))}
        for name in self.spec.storage.sizes(FOLDER):
            if name not in names:
                self.spec.storage.delete(name)

    def gone(self, parts: Sequence[Part]) -> set[int]:
        """The rows of these parts whose images have results and can't be read now."""
        rows = (row for part in parts for row in part.rows)
        return {row for row in rows if self._outcome(row).outcome == DONE and is_gone(self.samples[row])}

    def fill(self, part: Part, scope: Scope, step: Callable[[int], None], *, before: Mapping[str, np.ndarray]) -> None:
        """Read the images of a part, find the maps that are shown of them, and write both; of those gone, as `before`."""
        spec, held = self.spec, self._photos(part.rows, scope, step)
        entries = (f"{kind}/{row}" for row in part.rows for kind in ("photos", "inputs"))
        held |= {entry: before[entry] for entry in entries if entry in before and entry not in held}
        maps: dict[tuple[str, int], list[tuple[int, np.ndarray]]] = {}
        for unit, group in groupby(part.rows, lambda row: row // spec.plan.unit):
            pairs = self._pairs(list(group))
            for name, found in self._maps(unit, pairs, scope).items():
                for row, channel, one in zip(*pairs[name], found, strict=True):
                    if np.isnan(one).all():  # the image is gone
                        one = map_of(before, row, name, channel)
                    if one is not None:
                        maps.setdefault((name, int(channel)), []).append((int(row), one))
        for (name, channel), shown in sorted(maps.items(), key=lambda item: item[0]):
            held[f"rows/{name}/{channel}"] = np.array([row for row, _ in shown], np.int64)
            held[f"maps/{name}/{channel}"] = narrow(np.stack([one for _, one in shown]))
        data = packed(held)
        spec.storage.put(part.name, data)
        about = {"of": self.of, "rows": list(part.rows), "files": {part.name: [len(data), checksum(data)]}}
        spec.storage.put(part.receipt, sealed(about))

    def _photos(self, rows: Sequence[int], scope: Scope, step: Callable[[int], None]) -> dict[str, np.ndarray]:
        """What the model saw of each image, and the size of its input."""
        held: dict[str, np.ndarray] = {}

        def look(row: int) -> tuple[bytes, tuple[int, int]] | None:
            return _seen(self.samples[row], scope, self._outcome(row).digest)

        with ThreadPoolExecutor(1 if self.samples.in_turn else reader_count(), "layerscope-look") as pool:
            for row, seen in zip(rows, pool.map(look, rows), strict=True):
                if seen is not None:
                    held[f"photos/{row}"] = np.frombuffer(seen[0], np.uint8)
                    held[f"inputs/{row}"] = np.array(seen[1])
                step(1)
        return held

    def _outcome(self, row: int) -> Outcome:
        unit = row // self.spec.plan.unit
        return self.receipts[unit].images[row - self.receipts[unit].first]

    def _pairs(self, rows: Sequence[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The rows and channels that are shown of these images in each layer."""
        pairs = {}
        for name, shown in self.shown.items():
            channels, at = np.nonzero(np.isin(shown, rows))
            both = np.unique(np.stack([shown[channels, at], channels], 1), axis=0)
            pairs[name] = both[:, 0], both[:, 1]
        return pairs

    def _maps(self, unit: int, pairs: Pairs, scope: Scope) -> dict[str, np.ndarray]:
        """Their maps, as the scan had them: from the store, from what the unit left, or by running it anew."""
        storage, plan = self.spec.storage, self.spec.plan
        if plan.keep != "maps":
            found = passed(storage, unit, pairs)
            return self._again(unit, pairs, scope) if found is None else found
        found, first = {}, unit * plan.unit
        for kept in plan.layers:
            array = map_array(storage, plan, kept)
            rows, channels = pairs[kept.name]
            if len(rows):
                found[kept.name] = narrow(array[first : first + plan.unit][rows - first, channels])
        if plan.dtype == "float16" and self.receipts[unit].beyond:  # of which the store holds infinity
            again = self._again(unit, pairs, scope)
            for name, maps in found.items():
                known = np.isinf(maps) & ~np.isnan(again[name])
                found[name] = narrow(np.where(known, again[name], maps.astype(np.float32)))
        return found

    def _again(self, unit: int, pairs: Pairs, scope: Scope) -> dict[str, np.ndarray]:
        """By the batches that these images were in; NaN for those that are gone."""
        spec, plan, receipt = self.spec, self.spec.plan, self.receipts[unit]
        good = [receipt.first + at for at, image in enumerate(receipt.images) if image.outcome == DONE]
        wanted = {row for rows, _ in pairs.values() for row in rows.tolist()}
        found = {
            kept.name: np.full((len(pairs[kept.name][0]), *kept.spatial), np.nan, np.float32) for kept in plan.layers
        }
        for start in range(0, len(good), plan.batch):
            rows = good[start : start + plan.batch]
            if wanted.isdisjoint(rows):
                continue
            with closing(read_ahead([self.samples[row] for row in rows], scope, workers=reader_count())) as coming:
                ready = {row: one for row, one in zip(rows, coming, strict=True) if one.array is not None}
            values = run(spec, scope, list(ready.values())) if ready else {}
            for kept in plan.layers if ready else ():
                for at, (row, channel) in enumerate(zip(*pairs[kept.name], strict=True)):
                    if row in ready:
                        place = list(ready).index(row)
                        found[kept.name][at] = values[kept.layer.path][place, channel]
        return {name: narrow(maps) for name, maps in found.items()}


def write_gallery(spec: Spec, samples: Listing, scope: Scope, receipts: Mapping[int, Receipt]) -> None:
    """Do the parts of the stage that aren't done."""
    gallery = Gallery.of_scan(spec, samples, receipts)
    missing = gallery.missing()
    before = carried(spec.storage, gallery.gone(missing))
    gallery.sweep(but=GONE if before else "")
    index = packed(dict(gallery.shown))
    if not _holds(spec.storage, INDEX, index):
        spec.storage.put(INDEX, index)
    with work(sum(len(part.rows) for part in missing), "top images") as step:
        for part in missing:
            gallery.fill(part, scope, step, before=before)
    if before:
        spec.storage.delete(GONE)
    forget(spec.storage)


def _holds(storage: Storage, name: str, data: bytes) -> bool:
    try:
        return storage.get(name) == data
    except FileNotFoundError:
        return False


def _seen(sample: Sample, scope: Scope, digest: str) -> tuple[bytes, tuple[int, int]] | None:
    """What the model saw of a photo, small, as a WebP file, and the size of its input; `None` where it is gone."""
    try:
        content = sample.content()
        if digest_of(content) != digest:
            return None
        photo = read_photo(content, id=sample.id, range=scope.preprocess.range)
    except ImageNotReadable:
        return None
    placement = preprocess.placed(photo, scope.preprocess, scope.plan)
    return _photo(photo, placement, scope.preprocess.fill), placement.input


def _photo(photo: Photo, placement: Placement, fill: tuple[int, int, int]) -> bytes:
    """The part of a photo that the model saw, small, as a WebP file; `fill` is the colour of what was padded."""
    top, left, height, width = placement.box
    share = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    image = Image.fromarray(photo.pixels)
    box = (left, top, left + width, top + height)
    inside = left >= 0 and top >= 0 and left + width <= image.width and top + height <= image.height
    if inside:
        shown = image.resize(size, Image.Resampling.LANCZOS, box)
    else:  # the input was padded there
        edges = [floor(left), floor(top), ceil(left + width), ceil(top + height)]
        padded = Image.new("RGB", (edges[2] - edges[0], edges[3] - edges[1]), fill)
        padded.paste(image, (-edges[0], -edges[1]))
        inner = (left - edges[0], top - edges[1], left - edges[0] + width, top - edges[1] + height)
        shown = padded.resize(size, Image.Resampling.LANCZOS, inner)
    file = io.BytesIO()
    exact = max(size) <= FEW
    shown.save(file, "WEBP", lossless=exact, quality=100 if exact else QUALITY, method=0)
    return file.getvalue()
