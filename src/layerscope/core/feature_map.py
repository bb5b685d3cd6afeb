"""`FeatureMap`: what a layer produced for some images, with everything needed to draw it and to say what it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ..errors import BackendMissing, BadChannels, BadLayout, BadOption, LayoutWarning, caller_level
from . import axes as _axes
from . import npz
from .layer import Layer
from .note import Note
from .placement import Placement

if TYPE_CHECKING:
    import torch
    import xarray


class Origin(Protocol):
    """The model and the inputs that a map came from, for combinations that ask the model again.

    `inputs` is what the model was fed, one row an image, with the axes `axes` (`"bchw"` …).
    """

    @property
    def inputs(self) -> np.ndarray: ...

    @property
    def axes(self) -> str: ...

    def image(self, at: int) -> Origin:
        """The same for one of the images."""
        ...

    def select(self, channels: tuple[int, ...]) -> Origin:
        """The same for some of the channels."""
        ...

    def captured(self, inputs: np.ndarray) -> FeatureMap:
        """The map of the same layer, with gradients of the same target, for other inputs."""
        ...

    def aimed(self, target: Any) -> tuple[Any, str]:
        """What `scores` takes as its target, and its words; for `None` that of the capture, or the model's own first class."""
        ...

    def scores(
        self, inputs: np.ndarray, target: Any, change: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> np.ndarray:
        """float64 `[image]`: the target's number for each input.

        `change` is given what the layer returns, in its own axes (`layer.axes`), and says what the model goes on with.
        """
        ...


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What a layer produced: `values` is float32 `[image, *spatial, channel]`, read-only.

    `layer` names it, `ids` the images, `channels` the true channel numbers. `photos` are the originals (uint8
    `[height, width, 3]`) and `placement` where the model's input lies on them; both `None` where unknown. `gradient` has
    the shape of `values`. `rule` says what was done to the channels (`""`: nothing), `of` how many the layer has.
    `tokens` are the prefix tokens of a transformer, float32 `[image, token, channel]`. `dtype` is the type the model
    itself computed in. `role` says what the channels of a combination are to a picture: `""` (numbers with a scale), `"rgb"`
    (three colours), `"factors"` (non-negative parts, each with a colour of its own) `"labels"` (whole numbers of groups) or
    `"weights"` (no output, but a layer's own weights; each channel a filter).
    `notes` is what a caption must say (each a `Note` that knows its kind), `provenance` what a file must remember. `rows` is
    `"row"` where the first axis of `values` isn't the images, but detection boxes or windows.
    `origin` can run the model again; a map of a
    file, of `Scope.stream` or of a bare array has none. `names` are the names of the channels where they have some, as the
    classes of a model's output do; else empty.
    """

    values: np.ndarray
    layer: Layer
    ids: tuple[str, ...]
    channels: tuple[int, ...]
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

    def __post_init__(self) -> None:
        if self.values.ndim < 2 or self.values.dtype != np.float32:
            raise BadLayout(
                f"a feature map is float32 [image, *spatial, channel]; this is {self.values.dtype} {self.values.shape}"
            )
        if len(self.ids) != self.values.shape[0] or len(self.channels) != self.values.shape[-1]:
            raise BadLayout(
                f"{len(self.ids)} ids and {len(self.channels)} channel numbers for values of shape {self.values.shape}"
            )
        if self.names and len(self.names) != self.values.shape[-1]:
            raise BadLayout(f"{len(self.names)} names for {self.values.shape[-1]} channels")
        view = self.values.view()
        view.flags.writeable = False
        object.__setattr__(self, "values", view)
        if not self.of:
            object.__setattr__(self, "of", len(self.channels))

    @classmethod
    def of_array(cls, array: Any, layout: str | None = None) -> FeatureMap:
        """A bare array as a feature map.

        Read by its library's convention (numpy, TensorFlow, JAX: channels last; torch: channels first) or by `layout`,
        one letter an axis: `"bchw"`, `"hwc"`, `"bnc"`. Gives a `LayoutWarning` where the sizes speak for the other
        convention. Raises `BadLayout`.
        """
        library = type(array).__module__.partition(".")[0]
        library = "numpy" if library == "builtins" else library
        values = as_numpy(array)
        first = library == "torch"
        if layout is None:
            known = _axes.CHANNELS_FIRST if first else _axes.CHANNELS_LAST
            if values.ndim not in known:
                raise BadLayout(f"an array of rank {values.ndim}, shape {values.shape}: give one of rank 1 to 5")
            layout = known[values.ndim]
            said = f"read as {layout} by the convention of {library}"
            other = _axes.sizes_speak_against(layout, values.shape)
            if other:
                warnings.warn(
                    f"shape {values.shape} was {said}, but its sizes look like {other}: pass layout={other!r} if so",
                    LayoutWarning,
                    stacklevel=caller_level(),
                )
        else:
            said = f"read as {layout} as asked"
        if 0 in values.shape:
            raise BadLayout(f"the array is empty: shape {values.shape}")
        shape, dtype = values.shape, str(values.dtype)
        values, notes = as_float32(_axes.channels_last(values, layout))
        images = values.shape[0]
        return cls(
            values,
            Layer("array", f"{library} array", layout, tuple(shape), 0, 1),
            tuple(f"image {each}" for each in range(images)),
            tuple(range(values.shape[-1])),
            dtype=dtype,
            notes=(Note("layout", said), *notes),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`."""
        return self.values.shape

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the spatial axes."""
        return self.values.shape[1:-1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy) if copy is not None else np.asarray(self.values, dtype)

    def __getstate__(self) -> dict[str, Any]:
        # A copy for another process is the numbers, not the model they came from.
        return {**vars(self), "origin": None}

    def __repr__(self) -> str:
        rule = f", {self.rule}" if self.rule else ""
        return f"<FeatureMap {self.layer.path or 'output'} ({self.layer.kind}) {list(self.shape)}{rule}>"

    def select(self, channels: Sequence[int] | slice | None) -> FeatureMap:
        """The same map with these channels (true numbers) only, in the order given. Raises `BadChannels`."""
        if channels is None:
            return self
        if isinstance(channels, slice):
            channels = range(max(self.channels) + 1)[channels]
        where = {channel: at for at, channel in enumerate(self.channels)}
        missing = [each for each in channels if each not in where]
        if missing or not len(channels):
            held = (
                f"0 to {self.channels[-1]}" if self.channels == tuple(range(len(self.channels))) else str(self.channels)
            )
            raise BadChannels(
                f"channels {list(missing)} are not in {self.layer.path!r}, which holds {held}"
                if missing
                else f"channels={list(channels)!r} names none; {self.layer.path!r} holds {held}"
            )
        at = [where[each] for each in channels]
        return replace(
            self,
            values=self.values[..., at],
            channels=tuple(int(each) for each in channels),
            gradient=None if self.gradient is None else self.gradient[..., at],
            tokens=None if self.tokens is None else self.tokens[..., at],
            role="" if self.role == "rgb" and len(at) != 3 else self.role,
            origin=self.origin and self.origin.select(tuple(int(each) for each in channels)),
            names=tuple(self.names[each] for each in at) if self.names else (),
        )

    def image(self, at: int) -> FeatureMap:
        """The same map for one of its images only."""
        if not isinstance(at, int | np.integer) or not -len(self.ids) <= at < len(self.ids):
            raise BadOption(f"image={at!r}: this map holds {len(self.ids)}, 0 to {len(self.ids) - 1}")
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
        )

    def combined(self, values: np.ndarray, rule: str, notes: Sequence[str] = (), role: str = "") -> FeatureMap:
        """A map made from this one by a rule over its channels; its channels are numbered anew.

        Prefix tokens have no place on a map, so they stay behind, and a note says so; `prefix()` before combining has them.
        """
        left_out: tuple[str, ...] = ()
        if self.prefix() is not None:
            left_out = (Note("tokens-left-out", f"prefix tokens left out: {', '.join(self.layer.prefix)}"),)
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
            rule=rule if not self.rule else f"{rule} of {self.rule}",
            role=role,
            of=self.of,
            notes=(*self.notes, *notes, *left_out),
        )

    def prefix(self) -> FeatureMap | None:
        """The prefix tokens (class, distillation, registers) `[image, token, channel]`, or `None` where there are none.

        Their names are `layer.prefix`; `strip` draws a labelled row of channels for each.
        """
        if self.tokens is None or not self.tokens.shape[1]:
            return None
        count = self.tokens.shape[1]
        layer = replace(
            self.layer,
            axes="bnc",
            shape=(1, count, self.of),
            grid=None,
            prefix=_axes.prefix_names(count, self.layer.prefix),
        )
        notes = (*self.notes, Note("tokens", "prefix tokens"))
        return replace(
            self, values=self.tokens, layer=layer, tokens=None, gradient=None, placement=None, notes=notes, origin=None
        )

    def to_xarray(self) -> xarray.DataArray:
        """An `xarray.DataArray` with the dimensions image, d, h, w (or n; q, k for attention weights), channel.

        Prefix tokens have no place on the grid: `fm.prefix().to_xarray()` has them, with their names along n.
        """
        import xarray

        names = tuple(self._letters()[1:-1])
        named = {"n": list(self.layer.prefix)} if names == ("n",) and len(self.layer.prefix) == self.shape[1] else {}
        return xarray.DataArray(
            self.values,
            dims=("image", *names, "channel"),
            coords={"image": list(self.ids), "channel": list(self.channels), **named},
            name=self.layer.path or "output",
            attrs={"kind": self.layer.kind, "rule": self.rule, **self.provenance},
        )

    def _letters(self) -> str:
        """The axes of `values`, one letter each."""
        spatial = "qk" if self.layer.attention and len(self.spatial) == 2 else ("", "n", "hw", "dhw")[len(self.spatial)]
        return f"b{spatial}c"

    def to_numpy(self, layout: str | None = None) -> np.ndarray:
        """A copy of the values as float32 in `layout`, such as `"bchw"`; `None`: channels last, as in `values`.

        `layout` has one letter an axis: `b` and `c`, and for space `n`, `hw` or `dhw`, each once. Raises `BadLayout`.

        >>> FeatureMap.of_array(np.zeros((1, 5, 6, 3))).to_numpy("bchw").shape
        (1, 3, 5, 6)
        """
        own = self._letters()
        return self.values.transpose(_axes.order(own, layout or own)).copy("C")

    def to_torch(self, layout: str | None = None) -> torch.Tensor:
        """A copy of the values as a float32 `torch.Tensor` on the CPU in `layout`; `None`: channels first, as torch has them.

        The tensor is yours to change: `values` are read-only. Raises `BadLayout`, and `BackendMissing` without torch.
        """
        own = self._letters()
        order = _axes.order(own, layout or f"bc{own[1:-1]}")
        try:
            import torch
        except ImportError as error:
            raise BackendMissing(f"to_torch() needs torch ({error}): pip install torch") from error
        return torch.from_numpy(self.values.transpose(order).copy("C"))

    def save(self, path: str | Path) -> Path:
        """Write values and what describes them as an `.npz` without pickles; `load` reads it. Photos aren't kept."""
        return npz.write(self, Path(path))


def load(path: str | Path) -> FeatureMap:
    """The feature map that `FeatureMap.save` wrote. Raises `BadOption` where the file is not one."""
    return npz.read(path, FeatureMap)


def as_map(values: Any, layout: str | None = None) -> FeatureMap:
    """A feature map as it is, a bare array by its convention."""
    return values if isinstance(values, FeatureMap) else FeatureMap.of_array(values, layout)


def as_numpy(array: Any) -> np.ndarray:
    """Any framework's array on the host; bfloat16 of torch becomes float32, as numpy has no such type."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":
            array = array.float()
        return np.asarray(array.numpy())
    values = np.asarray(array)
    if values.dtype == object or values.dtype.kind in "SUMm":
        raise BadLayout(f"an array of numbers is needed, not {values.dtype} from a {type(array).__name__}")
    return values


def as_float32(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """`values` as float32, with a note where that loses something. No copy where they are float32 already."""
    if values.dtype == np.float32:
        return values, ()
    if values.dtype.kind == "c":
        return np.abs(values).astype(np.float32), (Note("magnitude", f"magnitude of {values.dtype} values"),)
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32)
    if values.dtype == np.float64 and np.isinf(converted).sum() > np.isinf(values).sum():
        return converted, (Note("overflow", "values beyond float32 became ±inf"),)
    return converted, ()
