"""`FeatureMap`: what a layer produced for some images, with everything needed to draw and to describe it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..checks import file_path, listed, one_of
from ..errors import BadChannels, BadLayout, BadOption
from ..safe_text import counted, printable, writable
from . import axes as _axes
from . import npz, tables
from .conversion import as_float32, as_numpy, library_of, only_map, require_array, require_known
from .display import as_html
from .layer import Layer
from .linear import Linear
from .note import Note
from .numbers import Numbers
from .origin import Origin
from .placement import Placement
from .record import at_once
from .tokens import lay_on_grid
from .unit_grid import UnitGrid, grid_of
from .words import image_index

if TYPE_CHECKING:
    import xarray


# How the vectors `[place, channel]` of an image become one, in float64.
POOLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda vectors: vectors.mean(0, dtype=np.float64),
    "max": lambda vectors: vectors.max(0),
    "gem": lambda vectors: np.cbrt((vectors.clip(1e-6).astype(np.float64) ** 3).mean(0)),
}


@at_once
@dataclass(frozen=True, eq=False)
class FeatureMap(Numbers):
    """What a layer produced for some images: float32 values `[image, *spatial, channel]` and what they are.

    A capture gives one for each layer; every method returns a new one, and `values` are read-only.

    >>> fm = FeatureMap.of_array(np.arange(24).reshape(2, 3, 4))
    >>> fm
    <FeatureMap array (numpy array) [1, 2, 3, 4]>
    >>> fm.channels, fm.ids, fm.values[0, 1, 2].tolist()
    ((0, 1, 2, 3), ('image 0',), [20.0, 21.0, 22.0, 23.0])

    Attributes:
        values: float32 `[image, *spatial, channel]`, read-only.
        layer: The layer that produced them.
        ids: A name for each image.
        channels: The true number of each channel in the layer's output.
        photos: The original photos, uint8 `[height, width, 3]`; `None` where unknown.
        placement: Where the model input lies on each photo; `None` where unknown.
        gradient: The derivative of the target with respect to `values`, in their shape; `None` without a target.
        rule: What was done to the channels, `""` for nothing.
        method: The same in a word or two, without what it was done to: `"mean"` where `rule` is `"mean of 64 channels"`.
        of: How many channels the layer has.
        tokens: The prefix tokens of a transformer, float32 `[image, token, channel]`.
        dtype: The type that the model itself computed in.
        role: What the channels of a combination are to a picture: `""` (numbers with a scale), `"rgb"` (three colours),
            `"factors"` (non-negative parts), `"labels"` (numbers of groups) or `"weights"` (a layer's own, a filter each).
        notes: Notes for captions, each a `Note` with a kind.
        provenance: What files record: model, preprocessing, target.
        origin: Can run the model again; `None` for a map of a file, of `Scope.stream` or of a bare array.
        names: A name for each channel where they have some, as the classes of a model's output do; else empty.
        rows: What the first axis of `values` counts: the images, or other rows such as detection boxes or windows.
        linear: The combination as weights and a bias, where it is linear in the layer's channels; else `None`.

    Raises:
        BadLayout: The values are not float32, or the ids, channels or names don't fit their shape.
    """

    photos: tuple[np.ndarray, ...] | None = None
    placement: tuple[Placement, ...] | None = None
    gradient: np.ndarray | None = None
    rule: str = ""
    of: int = 0
    tokens: np.ndarray | None = None
    dtype: str = "float32"
    role: str = ""
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = field(default=None, repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    rows: Literal["image", "row"] = field(default="image", repr=False)
    linear: Linear | None = field(default=None, repr=False)
    method: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.names and len(self.names) != self.values.shape[-1]:
            raise BadLayout(f"{counted(len(self.names), 'name')} for {counted(self.values.shape[-1], 'channel')}")
        if not self.of:
            object.__setattr__(self, "of", len(self.channels))

    @classmethod
    def of_array(cls, array: Any, layout: str | None = None, grid: Sequence[int] | None = None) -> FeatureMap:
        """A bare array as a feature map.

        >>> FeatureMap.of_array(np.zeros((1, 64, 24, 32)), "bchw").shape
        (1, 24, 32, 64)

        Args:
            array: An array of numpy, torch, TensorFlow or JAX, of rank 1 to 5.
            layout: One letter per axis (`"bchw"`, `"hwc"`, `"bnc"`), in any case, also as frameworks write it (`"NCHW"`,
                `"nhwc"`, `"channels_first"`). `None`: its library's convention, channels first for torch, channels last for
                the others, with a `LayoutWarning` where the sizes contradict it.
            grid: (rows, columns) of the tokens of a layout such as `"bnc"`; the tokens in front of them are the prefix.

        Raises:
            BadLayout: The array is empty, isn't one of numbers, or doesn't fit the layout.
        """
        library = library_of(array)
        values = as_numpy(array)
        reading: tuple[Note, ...] = ()
        if layout is None:
            layout = _axes.convention(values.shape, library)
            reading = (Note("layout", f"array read as {_axes.words(layout, values.shape)}"),)
        layout = _axes.letters_of(layout, values.ndim)
        if 0 in values.shape:
            raise BadLayout(f"the array is empty: shape {values.shape}")
        layer = Layer("array", f"{library} array", layout, values.shape, 0, 1)
        dtype = str(values.dtype)
        values, notes = as_float32(_axes.channels_last(values, layout))
        fm = cls(
            values,
            layer,
            tuple(f"image {index}" for index in range(values.shape[0])),
            tuple(range(values.shape[-1])),
            dtype=dtype,
            notes=(*reading, *notes),
        )
        return fm if grid is None else lay_on_grid(fm, grid)

    def __getstate__(self) -> dict[str, Any]:
        # A copy for another process is the numbers, not the model they came from.
        return {**vars(self), "origin": None}

    def __repr__(self) -> str:
        rule = f", {self.rule}" if self.rule else ""
        path = self.layer.path or "output"
        return writable(printable(f"<FeatureMap {path} ({self.layer.kind}) {list(self.shape)}{rule}>"))

    def _repr_html_(self) -> str:
        return as_html(self)

    def select(self, channels: int | Sequence[int] | slice | None) -> FeatureMap:
        """The same map with some of its channels only, in the order given.

        >>> FeatureMap.of_array(np.zeros((5, 6, 64))).select([40, 3]).channels
        (40, 3)

        Args:
            channels: A true channel number or several; a slice of them; or `None` for all.

        Raises:
            BadChannels: The map doesn't hold one of them, or none is selected.
        """
        if channels is None:
            return self
        if isinstance(channels, slice):
            channels = range(max(self.channels) + 1)[channels]
        try:
            channels = [operator.index(number) for number in listed(channels)]
        except TypeError:
            raise BadChannels(f"channels={channels!r}: use a list of whole numbers, a slice, or None for all") from None
        index_of = {number: index for index, number in enumerate(self.channels)}
        missing = [number for number in channels if number not in index_of]
        if missing or not channels:
            problem = f"channels {missing} are not in" if missing else "channels=[] selects nothing from"
            in_order = self.channels == tuple(range(len(self.channels)))
            held = f"0 to {self.channels[-1]}" if in_order else str(self.channels)
            raise BadChannels(f"{problem} {self.layer.path!r}, which has {held}")
        indices = [index_of[number] for number in channels]
        chosen = tuple(self.channels[index] for index in indices)
        return replace(
            self,
            values=self.values[..., indices],
            channels=chosen,
            gradient=None if self.gradient is None else self.gradient[..., indices],
            tokens=None if self.tokens is None else self.tokens[..., indices],
            role="" if self.role == "rgb" and len(indices) != 3 else self.role,
            origin=self.origin and self.origin.select(chosen),
            names=tuple(self.names[index] for index in indices) if self.names else (),
            linear=self.linear and self.linear.select(indices),
        )

    def __getitem__(self, key: Any) -> FeatureMap:
        raise BadOption("a FeatureMap isn't an array: select(channels), image(at) and values[...] give parts of it")

    __iter__: ClassVar[None] = None  # by numbers there is nothing to go through

    def image(self, at: int | str) -> FeatureMap:
        """The same map for one of its images only.

        >>> FeatureMap.of_array(np.zeros((4, 5, 6, 3))).image(-1).ids
        ('image 3',)

        Args:
            at: Index of the image; negative ones count from the end. Or its id, such as `"cat.jpg"`, or a part of only that.

        Raises:
            BadOption: There is no such image.
        """
        at = image_index(self.ids, at)
        keep = slice(at, at + 1 or None)
        return replace(
            self,
            values=self.values[keep],
            ids=self.ids[keep],
            photos=self.photos and self.photos[keep],
            placement=self.placement and self.placement[keep],
            gradient=None if self.gradient is None else self.gradient[keep],
            tokens=None if self.tokens is None else self.tokens[keep],
            origin=self.origin and self.origin.image(at),
            linear=self.linear and self.linear.image(keep),
        )

    def combined(
        self,
        values: np.ndarray,
        rule: str,
        notes: Sequence[str] = (),
        role: str = "",
        *,
        linear: Linear | None = None,
        over: str = "",
    ) -> FeatureMap:
        """A map made from this one by a rule over its channels, which are numbered anew.

        Prefix tokens aren't part of it, and a note says so; call `prefix()` before combining to get them.

        >>> fm = FeatureMap.of_array(np.ones((5, 6, 3)))
        >>> fm.combined(fm.values.min(-1, keepdims=True), "minimum")
        <FeatureMap array (numpy array) [1, 5, 6, 1], minimum>

        Args:
            values: `[image, *spatial, channel]` with this map's images.
            rule: What was done, in a word or two, for captions.
            notes: Notes for captions, after this map's own.
            role: What the new channels are to a picture, as in `FeatureMap.role`.
            linear: The weights by which it was made from `self.values`, where it is linear in the channels.
            over: What it was done to, such as `"64 channels"`; it stands behind `rule` in captions.
        """
        return replace(
            self,
            values=np.ascontiguousarray(values, np.float32),
            channels=tuple(range(values.shape[-1])),
            gradient=None,
            names=(),
            tokens=None,
            layer=replace(self.layer, prefix=()) if self.tokens is not None else self.layer,
            # Running the model again would give the layer, not what was made of it.
            origin=None,
            rule=_composed(rule, over, self.rule),
            method=rule,
            role=role,
            linear=linear if not self.rule else linear and self.linear and linear.after(self.linear),
            of=self.of,
            notes=(*self.notes, *notes, *self._left_out()),
        )

    def pooled(self, how: str = "mean") -> FeatureMap:
        """One number for each channel over all places, `[image, channel]`: the feature vectors of the images, for retrieval.

        >>> fm = FeatureMap.of_array(np.arange(24).reshape(2, 3, 4))
        >>> fm.pooled().values.tolist(), fm.pooled("max").values.tolist()
        ([[10.0, 11.0, 12.0, 13.0]], [[20.0, 21.0, 22.0, 23.0]])

        NaN anywhere in a channel makes its number NaN. Prefix tokens such as a class token aren't part of it; `prefix()` has
        them.

        Args:
            how: `"mean"` (global average), `"max"`, or `"gem"`, the generalised mean with exponent 3 of values cut at 1e-6
                (Radenović et al. 2018, "Fine-tuning CNN Image Retrieval with No Human Annotation", equation 3).

        Raises:
            BadOption: `how` is another word.
        """
        pool = POOLS[one_of("how", how, POOLS)]
        if not self.spatial:
            return self
        values = np.stack([pool(image.reshape(-1, self.shape[-1])) for image in self.values])
        note = Note("pooled", f"{how.replace('gem', 'GeM')} over {' × '.join(map(str, self.spatial[::-1]))} positions")
        return replace(
            self,
            values=values.astype(np.float32),
            layer=replace(self.layer, axes="bc", shape=(1, self.of), grid=None, prefix=(), receptive=None, lines=None),
            tokens=None,
            gradient=None,
            placement=None,
            notes=(*self.notes, note, *self._left_out()),
            origin=None,
            linear=None,
        )

    def _left_out(self) -> tuple[Note, ...]:
        """The note on prefix tokens, of which a result holds nothing."""
        text = f"prefix tokens left out: {', '.join(self.layer.prefix)}"
        return () if self.prefix() is None else (Note("tokens-left-out", text),)

    def prefix(self) -> FeatureMap | None:
        """The prefix tokens (class, distillation, registers) as a map `[image, token, channel]`; `None` without any.

        Their names are `layer.prefix`; `strip` draws a labelled row of channels for each.

        >>> vit = Layer("block", "Block", "bnc", (1, 7, 8), calls=1, grid=(2, 3), prefix=("cls",))
        >>> values, tokens = np.zeros((1, 2, 3, 8), np.float32), np.zeros((1, 1, 8), np.float32)
        >>> FeatureMap(values, vit, ("cat.jpg",), tuple(range(8)), tokens=tokens).prefix().shape
        (1, 1, 8)
        """
        if self.tokens is None or not self.tokens.shape[1]:
            return None
        count = self.tokens.shape[1]
        names = _axes.prefix_names(count, self.layer.prefix)
        return replace(
            self,
            values=self.tokens,
            layer=replace(self.layer, axes="bnc", shape=(1, count, self.of), grid=None, prefix=names),
            tokens=None,
            gradient=None,
            notes=self.notes,
            origin=None,
        )

    def unit_grid(self, image: int = 0) -> UnitGrid:
        """Where the units of a two-dimensional map lie on a photo.

        >>> whole = Placement.whole((40, 40), (20, 20))
        >>> replace(FeatureMap.of_array(np.zeros((4, 4))), placement=(whole,)).unit_grid().unit_at(15, 25)
        (1, 2)

        Args:
            image: Index of the image.

        Raises:
            BadOption: The map has no photo.
            BadLayout: It isn't two-dimensional.
        """
        return grid_of(self.image(image))

    def on_grid(
        self, grid: Sequence[int], *, prefix: int | Sequence[str] = 0, suffix: int | Sequence[str] = 0
    ) -> FeatureMap:
        """The same tokens as pictures, as the user knows them to lie on the image.

        >>> FeatureMap.of_array(np.zeros((1, 7, 8)), "bnc").on_grid((2, 3), prefix=["cls"]).shape
        (1, 2, 3, 8)

        Args:
            grid: (rows, columns), or (depth, rows, columns), of the tokens that lie on the image, row by row.
            prefix: How many tokens are in front of these, or their names.
            suffix: How many are behind them, or their names.

        Raises:
            BadLayout: The map holds no tokens, or another number of them.
        """
        return lay_on_grid(self, grid, prefix, suffix)

    def to_xarray(self) -> xarray.DataArray:
        """The map as an `xarray.DataArray` with the dimensions image, d, h, w (or n; q, k for attention), channel.

        Prefix tokens aren't on the grid: `fm.prefix().to_xarray()` has them, with their names along n.

        >>> FeatureMap.of_array(np.zeros((5, 6, 3))).to_xarray().dims
        ('image', 'h', 'w', 'channel')

        Raises:
            LibraryMissing: xarray isn't installed.
        """
        places = self._places()
        return tables.library("xarray", "to_xarray()").DataArray(
            self.values,
            dims=(*places, "channel"),
            coords={
                **{axis: list(at) for axis, at in places.items() if not isinstance(at, range)},
                "channel": [*self.channels],
            },
            name=self.layer.path or "output",
            attrs={"kind": self.layer.kind, "rule": self.rule, **self.provenance},
        )

    def save(self, path: str | Path) -> Path:
        """Write the values and what describes them, without photos and pickles, and return the path; `load` reads it.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(FeatureMap.of_array(np.zeros((5, 6, 3))).save(f"{folder}/map.npz")).shape
        (1, 5, 6, 3)

        Args:
            path: A file name that ends in `.npz`; with `.npy` or `.csv` the values alone are written.

        Raises:
            BadOption: The name ends otherwise, or the file can't be written.
        """
        return npz.write(self, file_path(path))


def load(path: str | Path) -> FeatureMap:
    """The feature map that `FeatureMap.save` wrote.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(FeatureMap.of_array(np.zeros((5, 6, 3))).save(f"{folder}/map.npz"))
    <FeatureMap array (numpy array) [1, 5, 6, 3]>

    Args:
        path: The `.npz` file.

    Raises:
        BadOption: The file can't be read, or isn't one of a feature map.
    """
    return npz.read(path, FeatureMap)


def as_map(values: Any, layout: str | None = None, grid: Sequence[int] | None = None) -> FeatureMap:
    """A feature map as it is, also as the only one of a mapping; a bare array by its convention."""
    if isinstance(values := only_map(values), FeatureMap):
        require_known(layout, grid)
        return values
    if hasattr(values, "to_matplotlib"):
        raise BadLayout("this is a finished picture: give the feature map that it was drawn from")
    require_array(values)
    return FeatureMap.of_array(values, layout, grid)


def _composed(rule: str, over: str, inner: str) -> str:
    """What was done in words: `norm of 64 channels`, `norm of the difference of 64 channels`."""
    if inner:
        over = "" if over == "1 channel" or inner.endswith(over) else over
        return f"{rule} of {over} of {inner}" if over else f"{rule} of the {inner}"
    return " of ".join(filter(None, (rule, over)))
