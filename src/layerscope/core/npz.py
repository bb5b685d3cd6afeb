"""Feature maps as `.npz` files without pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import BadOption
from .layer import Layer
from .note import Note, kind_of
from .placement import Placement
from .receptive_field import Field

FORMAT = 1


Kept = Any  # a `FeatureMap`, which itself imports this module


Made = TypeVar("Made")


def write(fm: Kept, path: Path) -> Path:
    """Write values and what describes them, without the photos and the model. Raises `BadOption`."""
    if path.suffix != ".npz":
        raise BadOption(f"{path.name!r}: values are saved as .npz")
    about = {
        "format": FORMAT,
        "layer": asdict(fm.layer),
        "ids": fm.ids,
        "channels": fm.channels,
        "placement": fm.placement and [asdict(each) for each in fm.placement],
        "rule": fm.rule,
        "role": fm.role,
        "names": fm.names,
        "of": fm.of,
        "dtype": fm.dtype,
        "notes": fm.notes,
        "note_kinds": [kind_of(note) for note in fm.notes],
        "rows": fm.rows,
        "provenance": dict(fm.provenance),
    }
    arrays = {"values": fm.values}
    for name in ("gradient", "tokens"):
        if getattr(fm, name) is not None:
            arrays[name] = getattr(fm, name)
    try:
        np.savez(path, about=np.array(json.dumps(about)), **arrays)
    except OSError as error:
        raise BadOption(f"can't write {path}: {error.strerror or error}") from error
    return path


def read(path: str | Path, make: Callable[..., Made]) -> Made:
    """What `make` makes of the fields in a file. Raises `BadOption` where the file holds none, or `make` doesn't take them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in ("values", "gradient", "tokens") if name in file}
        if about["format"] != FORMAT:
            raise BadOption(f"{path} has the format {about['format']}, this version of layerscope reads {FORMAT}")
        return make(
            layer=_layer(about["layer"]),
            ids=tuple(about["ids"]),
            channels=tuple(about["channels"]),
            placement=about["placement"] and tuple(_placement(each) for each in about["placement"]),
            rule=about["rule"],
            role=about.get("role", ""),
            names=tuple(about.get("names", ())),
            of=about["of"],
            dtype=about["dtype"],
            notes=_notes(about["notes"], about.get("note_kinds", ())),
            rows=about.get("rows", "image"),
            provenance=about["provenance"],
            **arrays,
        )
    except (KeyError, ValueError, OSError) as error:
        if isinstance(error, BadOption):
            raise
        raise BadOption(f"{path} is not a feature map saved by layerscope: {error}") from error


def _notes(texts: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """The notes with their kinds; plain text where a file of an older version, or a note, has none."""
    return tuple(Note(kind, text) if kind else text for text, kind in zip_longest(texts, kinds, fillvalue=""))


def _layer(fields: Mapping[str, Any]) -> Layer:
    fields = dict(fields)
    for name in ("shape", "grid"):
        fields[name] = fields[name] and tuple(fields[name])
    for name in ("aliases", "prefix"):
        fields[name] = tuple(fields.get(name) or ())
    fields["per_call"] = tuple(_layer(each) for each in fields["per_call"])
    if fields.get("receptive"):
        fields["receptive"] = tuple(
            Field(**{**each, "starts": tuple(each["starts"]), "ends": tuple(each["ends"])})
            for each in fields["receptive"]
        )
    return Layer(**fields)


def _placement(fields: Mapping[str, Any]) -> Placement:
    return Placement(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
