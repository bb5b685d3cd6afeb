"""Feature maps as `.npz` files without pickles: arrays, and a JSON text `about` with everything else."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np

from ..errors import BadOption, LayerscopeError
from ..files import check_unpacked, open_regular, parsing
from ..writing import replacing
from .layer import Layer
from .linear import Linear
from .note import Note, kind_of
from .placement import Placement
from .receptive_field import Field, Line
from .typed import check, checked

FORMAT = 1
ARRAYS = ("values", "gradient", "tokens")
PLAIN: dict[str, Any] = {
    "ids": tuple[str, ...],
    "channels": tuple[int, ...],
    "rule": str,
    "method": str,
    "role": str,
    "names": tuple[str, ...],
    "of": int,
    "dtype": str,
    "rows": Literal["image", "row"],
}

Map = Any  # a `FeatureMap`, which itself imports this module
Made = TypeVar("Made")


def write(fm: Map, path: Path) -> Path:
    """Write values and what describes them, without the photos and the model; as `.npy` and `.csv` the values alone.

    Raises `BadOption`.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        fm.to_csv(path)
        return path
    if suffix == ".npy":
        with replacing(path) as file:
            np.save(file, fm.values, allow_pickle=False)
        return path
    if suffix != ".npz":
        raise BadOption(f"{path.name!r}: the file name must end in .npz, .npy or .csv")
    about = {
        "format": FORMAT,
        "layer": layer_fields(fm.layer),
        "placement": fm.placement and [asdict(placement) for placement in fm.placement],
        **{name: getattr(fm, name) for name in PLAIN},
        "notes": fm.notes,
        "note_kinds": [kind_of(note) for note in fm.notes],
        "provenance": dict(fm.provenance),
        "linear": fm.linear and {"channels": fm.linear.channels, "post": fm.linear.post},
    }
    arrays = {name: getattr(fm, name) for name in ARRAYS if getattr(fm, name) is not None}
    if fm.linear:
        arrays.update(linear_weights=fm.linear.weights, linear_bias=fm.linear.bias)
    with replacing(path) as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
    return path


def read(path: str | Path, make: Callable[..., Made]) -> Made:
    """What `make` makes of the fields in a file. Raises `BadOption` where the file holds none, or `make` doesn't take them."""
    with archive_in(path, "feature map", "a feature map saved by layerscope") as archive:
        about = json.loads(str(array_in(archive, "about")))
        if about["format"] != FORMAT:
            raise BadOption(f"it has the format {about['format']}, this version of layerscope reads {FORMAT}")
        names = {entry.removesuffix(".npy") for entry in archive.namelist()}
        arrays = {name: array_in(archive, name) for name in ARRAYS if name in names}
        return make(**_fields(about), **arrays, linear=_linear(about.get("linear"), archive))


@contextmanager
def archive_in(path: Any, kind: str, what: str) -> Iterator[zipfile.ZipFile]:
    """The archive in a file, or in one that is open; whatever is raised inside becomes a `BadOption` with the file's name.

    `kind` names the file where there is none, `what` says what it isn't.
    """
    name = Path(path) if isinstance(path, str | Path) else Path("the file")
    with (
        nullcontext(path) if hasattr(path, "read") else open_regular(path, what=kind) as opened,
        parsing(name, what),
    ):
        try:
            with zipfile.ZipFile(opened) as archive:
                check_unpacked(archive, name, BadOption)
                yield archive
        except LayerscopeError as error:
            raise BadOption(f"{name.name} can't be read as {what}: {error}") from error


def array_in(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of that name in an `.npz`, which holds no pickle."""
    with archive.open(f"{name}.npy") as file:
        return array_of(file, f"'{name}'")


def array_of(file: IO[bytes], name: str) -> np.ndarray:
    """The array in an `.npy`. Raises `ValueError` for one of Python objects, which would be a pickle."""
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:  # numpy's own words would advise to load a pickle unsafely
        if _holds_objects(file):
            raise ValueError(
                f"{name} holds Python objects, which are never unpickled: save an array of numbers"
            ) from error
        raise ValueError(f"{name} is no .npy array, or one that is cut short") from error


def _holds_objects(file: IO[bytes]) -> bool:
    """Whether an `.npy` says in its head that what follows is a pickle."""
    try:
        file.seek(0)
        major, _ = np.lib.format.read_magic(file)
        head = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        return bool(head(file)[2].hasobject)
    except ValueError:
        return False


def _fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a feature map; older files lack some of the plain ones."""
    plain = {name: _tuples(about[name]) for name in PLAIN if name in about}
    for name, value in plain.items():
        check(PLAIN[name], value, name)
    check(Mapping[str, Any], about["provenance"], "provenance")
    placement = about["placement"] and tuple(Placement(**fields) for fields in _tuples(about["placement"]))
    return {
        **plain,
        "layer": layer_of(about["layer"]),
        "placement": placement and tuple(map(checked, placement)),
        "notes": _notes(about["notes"], about.get("note_kinds", ())),
        "provenance": about["provenance"],
    }


def _tuples(value: Any) -> Any:
    """Tuples, as the fields have them, for the lists of JSON."""
    if isinstance(value, Mapping):
        return {name: _tuples(part) for name, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _notes(texts: Any, kinds: Any) -> tuple[str, ...]:
    """The notes with their kinds; a text whose kind isn't known stays plain."""
    check(tuple[str, ...], _tuples(texts), "notes")
    check(tuple[str, ...], _tuples(kinds), "note_kinds")
    return tuple(Note(kind, text) if kind else text for text, kind in zip_longest(texts, kinds, fillvalue=""))


def _linear(fields: Mapping[str, Any] | None, archive: zipfile.ZipFile) -> Linear | None:
    if not fields:
        return None
    weights, bias = (array_in(archive, f"linear_{name}") for name in ("weights", "bias"))
    linear = checked(Linear(weights, bias, tuple(fields["channels"]), fields["post"]))
    if (
        weights.ndim < 2
        or weights.shape[-2] != len(linear.channels)
        or bias.shape != (*weights.shape[:-2], weights.shape[-1])
    ):
        raise ValueError(f"weights of the shape {weights.shape} and a bias of {bias.shape} don't fit")
    return linear


def layer_fields(layer: Layer) -> dict[str, Any]:
    """A layer as files hold it: fields that JSON can write."""
    return _without_part(asdict(layer))


def layer_of(fields: Any) -> Layer:
    """The layer that a file holds. Raises `ValueError` and its like where the fields are none of a layer."""
    return _layer(_tuples(fields))


def _without_part(layer: dict[str, Any]) -> dict[str, Any]:
    """The fields of a layer as files have them: which of several outputs it is, and doubt, stand among the notes."""
    del layer["part"], layer["doubt"]
    if not layer["usual_name"]:
        del layer["usual_name"]
    for axis in layer["receptive"] or ():
        del axis["grain"]  # only needed to follow the units further
        if axis["place"] is None:
            del axis["place"]
    return {**layer, "per_call": [_without_part(call) for call in layer["per_call"]]}


def _layer(fields: Mapping[str, Any]) -> Layer:
    receptive, lines = fields.get("receptive"), fields.get("lines")
    parts = {
        "per_call": tuple(map(_layer, fields["per_call"])),
        "receptive": receptive and tuple(checked(Field(**axis)) for axis in receptive),
        "lines": lines and tuple(line and Line(*line) for line in lines),
    }
    layer = checked(Layer(**{**fields, **parts}))
    if layer.shape and layer.axes and len(layer.shape) != len(layer.axes):
        raise ValueError(f"the layer has the axes {layer.axes!r} and the shape {layer.shape}")
    return layer
