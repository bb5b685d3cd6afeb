"""Feature maps as `.npz` files without pickles: arrays, and a JSON text `about` with everything else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from ..errors import BadOption
from ..files import open_regular, writing
from .layer import Layer
from .linear import Linear
from .note import Note, kind_of
from .placement import Placement
from .receptive_field import Field

FORMAT = 1
ARRAYS = ("values", "gradient", "tokens")


Map = Any  # a `FeatureMap`, which itself imports this module
Made = TypeVar("Made")


def write(fm: Map, path: Path) -> Path:
    """Write values and what describes them, without the photos and the model. Raises `BadOption`."""
    if path.suffix != ".npz":
        raise BadOption(f"{path.name!r}: values are saved as .npz")
    about = {
        "format": FORMAT,
        "layer": asdict(fm.layer),
        "ids": fm.ids,
        "channels": fm.channels,
        "placement": fm.placement and [asdict(placement) for placement in fm.placement],
        "rule": fm.rule,
        "method": fm.method,
        "role": fm.role,
        "names": fm.names,
        "of": fm.of,
        "dtype": fm.dtype,
        "notes": fm.notes,
        "note_kinds": [kind_of(note) for note in fm.notes],
        "rows": fm.rows,
        "provenance": dict(fm.provenance),
        "linear": fm.linear and {"channels": fm.linear.channels, "post": fm.linear.post},
    }
    arrays = {name: getattr(fm, name) for name in ARRAYS if getattr(fm, name) is not None}
    if fm.linear:
        arrays.update(linear_weights=fm.linear.weights, linear_bias=fm.linear.bias)
    with writing(path) as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
    return path


def read(path: str | Path, make: Callable[..., Made]) -> Made:
    """What `make` makes of the fields in a file. Raises `BadOption` where the file holds none, or `make` doesn't take them."""
    source = nullcontext(path) if hasattr(path, "read") else open_regular(path, what="feature map")
    with source as opened:
        try:
            with np.load(opened, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                arrays = {name: archive[name] for name in ARRAYS if name in archive}
                linear = _linear(about.get("linear"), archive)
            if about["format"] != FORMAT:
                raise BadOption(f"{path} has the format {about['format']}, this version of layerscope reads {FORMAT}")
            return make(**_fields(about), **arrays, linear=linear)
        except (KeyError, ValueError, TypeError, EOFError, OSError, BadZipFile) as error:
            if isinstance(error, BadOption):
                raise
            raise BadOption(f"{path} is not a feature map saved by layerscope: {error}") from error


def _fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a feature map; older files lack those that are read with a default."""
    return {
        "layer": _layer(about["layer"]),
        "ids": tuple(about["ids"]),
        "channels": tuple(about["channels"]),
        "placement": about["placement"] and tuple(_placement(fields) for fields in about["placement"]),
        "rule": about["rule"],
        "method": about.get("method", ""),
        "role": about.get("role", ""),
        "names": tuple(about.get("names", ())),
        "of": about["of"],
        "dtype": about["dtype"],
        "notes": _notes(about["notes"], about.get("note_kinds", ())),
        "rows": about.get("rows", "image"),
        "provenance": about["provenance"],
    }


def _notes(texts: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """The notes with their kinds; a text whose kind isn't known stays plain."""
    return tuple(Note(kind, text) if kind else text for text, kind in zip_longest(texts, kinds, fillvalue=""))


def _linear(fields: Mapping[str, Any] | None, archive: Mapping[str, np.ndarray]) -> Linear | None:
    if not fields:
        return None
    return Linear(archive["linear_weights"], archive["linear_bias"], tuple(fields["channels"]), fields["post"])


def _layer(fields: Mapping[str, Any]) -> Layer:
    fields = dict(fields)
    for name in ("shape", "grid"):
        fields[name] = fields[name] and tuple(fields[name])
    for name in ("aliases", "prefix"):
        fields[name] = tuple(fields.get(name) or ())
    fields["per_call"] = tuple(_layer(call) for call in fields["per_call"])
    if fields.get("receptive"):
        fields["receptive"] = tuple(
            Field(**{**axis, "starts": tuple(axis["starts"]), "ends": tuple(axis["ends"])})
            for axis in fields["receptive"]
        )
    return Layer(**fields)


def _placement(fields: Mapping[str, Any]) -> Placement:
    return Placement(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
