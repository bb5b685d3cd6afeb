"""What lies in a store as numpy arrays: vectors of images, maps, statistics; by names of layers as people give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..core.feature_map import FeatureMap
from ..core.selection import choose
from ..core.tables import library
from ..core.words import image_index
from ..errors import BadChannels, BadOption, LayerNotFound, near
from ..files import parsing
from ..surface import by_surface, option
from .arrays import MAPS, POOLED, import_zarr
from .plan import Kept, Plan
from .quantised import Quantised
from .receipts import FOLDER as RECEIPTS
from .receipts import Receipt, name_of, read_receipt
from .storage import Storage
from .summary import DAMAGED, read_summary
from .tally import Tally, decode, merged
from .unit import TALLIES

POOLS = ("mean", "max", "argmax")


def path_of(kept: Kept) -> str:
    """The layer's path; of the model's output, which has none, the word for it."""
    return kept.layer.path or "output"


def layer_named(plan: Plan, name: Any, of: str = "the store") -> Kept:
    """The layer of that path, or the only one that a part of its path or a rule names; `None` where there is one alone.

    `of` says in messages what has these layers.
    """
    if name is None and len(plan.layers) == 1:
        return plan.layers[0]
    paths = [path_of(kept) for kept in plan.layers]
    if isinstance(name, str):
        exact = [kept for kept in plan.layers if name in (path_of(kept), *kept.layer.aliases)]
        fitting = exact or _by_rule(plan, name) or [kept for kept in plan.layers if name and name in path_of(kept)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise LayerNotFound(f"{name!r} names {', '.join(map(path_of, fitting))}: give one of them")
    listed = ", ".join(paths[:8]) + (", …" if len(paths) > 8 else "")
    if name is None:
        way = by_surface("layer=", "-l", "the list of layers")
        raise LayerNotFound(f"{of} holds {len(paths)} layers, {listed}: choose one with {way}")
    raise LayerNotFound(f"{of} has no layer {name!r}; it holds {listed}{near(str(name), paths)}")


def _by_rule(plan: Plan, name: str) -> list[Kept]:
    """The layers of a store that words of a scan select among them: `last`, `stages`, `kind:Conv2D`, a glob."""
    if name not in ("last", "stages") and not name.startswith("kind:") and not set(name) & set("*?["):
        return []
    try:
        chosen = {layer.path for layer in choose([kept.layer for kept in plan.layers], name)}
    except LayerNotFound:
        return []
    return [kept for kept in plan.layers if kept.layer.path in chosen]


def row_of(ids: Sequence[str], image: Any) -> int:
    """The row of an image, by its number or its name."""
    return image_index(ids, image, of="the store")


def channel_at(kept: Kept, channel: Any) -> int:
    """Where a channel, by its true number or its class, stands among those kept."""
    if isinstance(channel, str) and channel in kept.labels:
        return kept.labels.index(channel)
    if not isinstance(channel, int | np.integer) or isinstance(channel, bool):
        raise BadChannels(f"channel={channel!r}: give the number of a channel{near(str(channel), kept.labels)}")
    if channel not in kept.channels:
        in_order = kept.channels == tuple(range(len(kept.channels)))
        held = f"0 to {kept.channels[-1]}" if in_order else ", ".join(map(str, kept.channels[:8]))
        raise BadChannels(f"the store has no channel {channel} of {path_of(kept)!r}; it holds {held}")
    return kept.channels.index(int(channel))


def pooled_name(plan: Plan, kept: Kept, by: str) -> str:
    """The array of a layer by `POOLS`. Raises `BadOption` where there is none."""
    if plan.keep == "stats":
        raise BadOption(
            "the store holds statistics alone, no numbers of single images", f"scan with {option('keep', 'pooled')}"
        )
    return f"{POOLED}/{kept.name}/{by}"


def pooled(storage: Storage, plan: Plan, kept: Kept, by: str) -> np.ndarray:
    """`[image, channel]` of a layer by `POOLS`, a row of NaN (or -1) for each image that couldn't be read or isn't done."""
    name, done = pooled_name(plan, kept, by), storage.sizes(RECEIPTS)
    with _whole(storage, name):
        array: np.ndarray = _open(storage, name)[:]
    for unit in range(plan.units):
        if name_of(unit) not in done:  # what lies there may be half of a unit, or damaged
            array[unit * plan.unit : (unit + 1) * plan.unit] = np.nan if array.dtype.kind == "f" else -1
    return array


def pooled_at(storage: Storage, plan: Plan, kept: Kept, rows: np.ndarray, *, at: int, by: str) -> np.ndarray:
    """`[row]`: the numbers of one channel in these images."""
    name = pooled_name(plan, kept, by)
    with _whole(storage, name):
        column: np.ndarray = _open(storage, name).oindex[rows, at]
    return column


def pooled_rows(storage: Storage, kept: Kept, rows: np.ndarray) -> np.ndarray:
    """float32 `[image, channel]`: the largest values of some images, by their rows."""
    array = _open(storage, f"{POOLED}/{kept.name}/max")
    return np.stack([array[int(row)] for row in rows]) if len(rows) < array.shape[0] else np.asarray(array[:])


def map_array(storage: Storage, plan: Plan, kept: Kept) -> Any:
    """The array `[image, channel, *spatial]` of a layer's maps, read as it is indexed: of zarr, or of bytes on their scales."""
    if plan.keep != "maps":
        raise BadOption(
            f"the store holds no maps: it was filled with keep={plan.keep!r}", f"scan with {option('keep', 'maps')}"
        )
    with _whole(storage, f"{MAPS}/{kept.name}"):
        array = _open(storage, f"{MAPS}/{kept.name}")
        if not plan.quantised:
            return array
        return Quantised(array, *(_open(storage, f"{POOLED}/{kept.name}/{end}") for end in ("min", "max")))


def feature_map(
    storage: Storage, plan: Plan, kept: Kept, *, ids: Sequence[str], images: Any, channels: Any
) -> FeatureMap:
    """The maps of some images as a capture gives them, without photos."""
    array = map_array(storage, plan, kept)
    chosen, channels = (
        [each] if isinstance(each, int | str | np.integer) else each if each is None else list(each)
        for each in (images, channels)
    )
    if not chosen or channels == []:
        raise BadOption(f"there is no {'image' if not chosen else 'channel'} in the list: give at least one")
    rows = [row_of(ids, one) for one in chosen]
    for row in rows:
        if read_receipt(storage, row // plan.unit) is None:
            there(storage)
            raise BadOption(f"{ids[row]} isn't done yet", "the same scan goes on with it")
    at = range(len(kept.channels)) if channels is None else [channel_at(kept, number) for number in channels]
    picked = list(at)
    # zarr reads neighbouring channels in one go.
    span = slice(min(picked), max(picked) + 1)
    with _whole(storage, f"{MAPS}/{kept.name}"):
        read = [array[row, span] for row in rows]
    values = np.stack(read)[:, [number - span.start for number in picked]]
    return FeatureMap(
        np.ascontiguousarray(np.moveaxis(values, 1, -1), np.float32),
        kept.layer,
        tuple(ids[row] for row in rows),
        tuple(kept.channels[number] for number in picked),
        of=kept.layer.channels or len(kept.channels),
        dtype=kept.dtype,
        provenance={"model": plan.model, "preprocess": plan.preprocess},
    )


def tally(storage: Storage, plan: Plan, kept: Kept, receipts: Callable[[], Sequence[Receipt | None]]) -> Tally:
    """The figures of a layer over all images, or over those of the units that are done while a scan isn't finished."""
    try:
        return read_summary(storage, kept)
    except FileNotFoundError:
        there(storage)
        done = [receipt.unit for receipt in receipts() if receipt is not None]
        with parsing(f"{TALLIES}/*.npz", DAMAGED):
            tallies = (decode(storage.get(f"{TALLIES}/{unit:06d}.npz"), kept.name) for unit in done)
            return merged(tallies, len(kept.channels), plan.top)


def there(storage: Storage) -> None:
    """Raises `BadOption` where the store has been moved or removed since it was opened."""
    if Plan.read(storage) is None:
        raise BadOption(f"{storage}: the store isn't here any more", "open it where it is now")


@contextmanager
def _whole(storage: Storage, name: str) -> Iterator[None]:
    """Around what is read of an array: it is damaged, or the whole store is gone."""
    try:
        with parsing(name, DAMAGED):
            yield
    except BadOption:
        there(storage)
        raise


def _open(storage: Storage, name: str) -> Any:
    return import_zarr().open_array(storage.zarr(), path=name, mode="r")


def data_array(storage: Storage, plan: Plan, kept: Kept, ids: Sequence[str]) -> Any:
    """The maps of a layer for xarray, which reads what is looked at."""
    array = map_array(storage, plan, kept)  # raises where there are none
    xarray = library("xarray", "maps()", "; feature_map() needs none")
    if isinstance(array, Quantised):
        data = xarray.DataArray(xarray.Variable(array.dimensions, array.lazily()), name=kept.name)
    else:
        data = xarray.open_zarr(storage.zarr(), group=MAPS, consolidated=False, chunks=None)[kept.name]
    return data.assign_coords({"image": list(ids), data.dims[1]: list(kept.channels)})
