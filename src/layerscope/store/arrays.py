"""Arrays of a store in Zarr 3: one shard holds one unit. Shards are encoded in memory and then written whole.

zarr's own way of writing reads an existing shard first, so that a torn one could never be replaced, and two writers of one
shard lose values in silence. So workers never write through zarr, nor touch what describes an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import LibraryMissing
from .plan import Kept, Plan
from .quantised import HOLE

MAPS, POOLED = "maps.zarr", "pooled.zarr"
CHUNK = 100_000  # bytes before they are packed
TOGETHER = 8  # images in a chunk, and channels of small maps
AXES = {0: (), 1: ("n",), 2: ("y", "x"), 3: ("d", "y", "x")}
POOLS = {"mean": "float32", "max": "float32", "argmax": "int32"}
ENDS = {"min": "float32"}  # with the maximum, the scale of maps in bytes


@dataclass(frozen=True)
class Array:
    """One array of a store: its name, the shape of one unit of it, its type, and what it is said to be."""

    name: str
    unit: tuple[int, ...]
    dtype: str
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fill(self) -> Any:
        """What stands where there is nothing: NaN, the code of it in a byte, or -1 in other whole numbers."""
        return np.nan if np.dtype(self.dtype).kind == "f" else HOLE if self.dtype == "uint8" else -1

    @property
    def chunks(self) -> tuple[int, ...]:
        """Images × channels × whole maps, of about `CHUNK` bytes."""
        images, channels, *spatial = self.unit
        together = max(size for size in range(1, TOGETHER + 1) if images % size == 0) if spatial else images
        one = together * int(np.prod(spatial)) * np.dtype(self.dtype).itemsize
        return (together, max(1, min(channels, CHUNK // one)), *spatial)

    @property
    def shards(self) -> tuple[int, ...]:
        """One unit, its channels rounded up to whole chunks."""
        images, channels, *spatial = self.unit
        step = self.chunks[1]
        return (images, -(-channels // step) * step, *spatial)

    def shard(self, unit: int) -> str:
        """The name of a unit's shard."""
        return "/".join((self.name, "c", str(unit), *["0"] * (len(self.unit) - 1)))

    def empty(self) -> np.ndarray:
        """Room for a unit, filled with holes."""
        return np.full(self.unit, self.fill, self.dtype)

    def encode(self, values: np.ndarray) -> bytes | None:
        """The shard of one unit; `None` where it holds nothing but holes."""
        stored, array = self._in_memory(self.unit[0])
        array[...] = values
        shard = stored.get(self.shard(0).removeprefix(f"{self.name}/"))
        return None if shard is None else bytes(shard.to_bytes())

    def metadata(self, images: int) -> bytes:
        """What describes the array, for so many images."""
        stored, _ = self._in_memory(images)
        return bytes(stored["zarr.json"].to_bytes())

    def _in_memory(self, images: int) -> tuple[dict[str, Any], Any]:
        zarr = import_zarr()
        stored: dict[str, Any] = {}
        array = zarr.create_array(
            zarr.storage.MemoryStore(stored),
            shape=(images, *self.unit[1:]),
            dtype=self.dtype,
            chunks=self.chunks,
            shards=self.shards,
            compressors=zarr.codecs.ZstdCodec(level=1),
            fill_value=self.fill,
            dimension_names=self.dimensions,
            attributes=dict(self.attributes),
        )
        return stored, array


def import_zarr() -> Any:
    """zarr, or raises `LibraryMissing`."""
    try:
        import zarr
        import zarr.codecs
        import zarr.storage
    except ImportError as error:
        raise LibraryMissing('a store needs zarr, which isn\'t installed: pip install "layerscope[store]"') from error
    return zarr


def map_array(plan: Plan, kept: Kept) -> Array:
    """The array of a layer's maps."""
    axes = AXES.get(len(kept.spatial), ())
    names = ("image", f"{kept.name}_channel", *(f"{kept.name}_{axis}" for axis in axes))
    shape = (plan.unit, len(kept.channels), *kept.spatial)
    return Array(f"{MAPS}/{kept.name}", shape, plan.dtype, names, _about(kept))


def pooled_arrays(plan: Plan, kept: Kept) -> dict[str, Array]:
    """The arrays of what each image's maps come to: mean, maximum and its place, the minimum with maps in bytes."""
    names, shape = ("image", f"{kept.name}_channel"), (plan.unit, len(kept.channels))
    pools = POOLS | (ENDS if plan.quantised else {})
    return {
        name: Array(f"{POOLED}/{kept.name}/{name}", shape, dtype, names, _about(kept)) for name, dtype in pools.items()
    }


def _about(kept: Kept) -> dict[str, Any]:
    return {"layer": kept.layer.path, "kind": kept.layer.kind, "channels": list(kept.channels)}


def arrays_of(plan: Plan) -> Iterator[Array]:
    """Every array that each unit has a shard of."""
    for kept in plan.layers:
        if plan.keep == "maps":
            yield map_array(plan, kept)
        if plan.keep != "stats":
            yield from pooled_arrays(plan, kept).values()


def descriptions(plan: Plan) -> Iterator[tuple[str, bytes]]:
    """The files that describe the arrays, and the groups that they lie in."""
    groups: set[str] = set()
    for array in arrays_of(plan):
        parts = array.name.split("/")[:-1]
        groups.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        yield f"{array.name}/zarr.json", array.metadata(plan.images)
    if groups:
        zarr = import_zarr()
        stored: dict[str, Any] = {}
        zarr.create_group(zarr.storage.MemoryStore(stored))
        for group in sorted(groups):
            yield f"{group}/zarr.json", bytes(stored["zarr.json"].to_bytes())
