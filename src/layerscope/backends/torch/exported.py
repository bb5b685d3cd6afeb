"""Exported programs (`.pt2`) read as data: what in such a file could run is refused, not evaluated.

`torch.export.load` unpickles, evaluates expressions, imports modules by name, and makes Python source of names in the file.
Here the description of the program is copied value by value into torch's own schema: every type is checked, every text has a
rule, and a text without a rule is refused. Weights and constants are bytes of tensors. Only then torch makes a graph of it.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import threading
import types
import typing
import zipfile
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelNotReadable
from ...files import open_zip
from ...memory import amount, available_text, limit
from ..formats import trust_required
from .exported_rules import DROPPED, KEPT, REFUSED, RULES, Code
from .pickles import require_safe_pickles

WHAT = "an exported program (torch.export)"
FACTORY = "give the code that builds the model, as package.module:factory"
ONE_BY_ONE = threading.Lock()  # torch's deserialiser is a global variable


def read(source: Path) -> Any:
    """The `ExportedProgram` in a file. Raises `TrustRequired` where it would run code, `ModelNotReadable` for another file."""
    with open_zip(source, WHAT, ModelNotReadable) as archive:
        try:
            return _program(archive)
        except Code as error:
            raise trust_required(source, str(error), FACTORY) from error


def _program(archive: zipfile.ZipFile) -> Any:
    try:
        from torch._export.serde import schema
        from torch._export.serde.serialize import ExportedProgramDeserializer
    except ImportError as error:
        raise Code("a program that this version of torch can only read with all that is in it") from error
    names = archive.namelist()
    root = next((name.removesuffix("archive_format") for name in names if name.endswith("/archive_format")), None)
    if root is not None:
        description = archive.read(f"{root}models/model.json")
        state, constants = (_payload(archive, schema, f"{root}data/{kind}/") for kind in ("weights", "constants"))
    elif "serialized_exported_program.json" in names:  # of torch 2.7 and before
        description = archive.read("serialized_exported_program.json")
        state, constants = (_unpickled(archive.read(f"serialized_{kind}.pt")) for kind in ("state_dict", "constants"))
    else:
        raise ValueError("there is no program in the archive")
    _check_sizes(state, constants)
    program = _checked(schema.ExportedProgram, json.loads(description), "ExportedProgram", schema)
    with ONE_BY_ONE:
        # Without the sample inputs, which are a pickle that nothing here needs.
        return ExportedProgramDeserializer().deserialize(program, state, constants, None)


def _payload(archive: zipfile.ZipFile, schema: Any, folder: str) -> dict[str, torch.Tensor]:
    """The tensors of a folder of the archive by their names; several may share one file."""
    if f"{folder}model.pt" in archive.namelist():  # of torch 2.8
        return _unpickled(archive.read(f"{folder}model.pt"))
    kind = folder.rstrip("/").rpartition("/")[2]
    config = json.loads(archive.read(f"{folder}model_{kind}_config.json"))
    entries = _checked(schema.PayloadConfig, config, "PayloadConfig", schema).config
    flat: dict[str, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, entry in entries.items():
        if entry.use_pickle or entry.tensor_meta is None:
            raise Code("pickled weights or constants")
        meta = entry.tensor_meta
        if entry.path_name not in flat:
            flat[entry.path_name] = _flat(archive, folder + entry.path_name, meta)
        sizes, strides = ([size.as_int for size in sizes] for sizes in (meta.sizes, meta.strides))
        tensor = flat[entry.path_name].as_strided(sizes, strides, meta.storage_offset.as_int)
        tensors[name] = torch.nn.Parameter(tensor, requires_grad=meta.requires_grad) if entry.is_param else tensor
    return tensors


def _check_sizes(*parts: dict[str, torch.Tensor]) -> None:
    """Strides of zero make a few bytes a tensor of any size, and each tensor is copied into the model."""
    most, takes = limit(), sum(tensor.numel() * tensor.element_size() for part in parts for tensor in part.values())
    if most is not None and takes > most:
        raise ValueError(f"its weights take {amount(takes)}, and {available_text(most)}")


def _flat(archive: zipfile.ZipFile, path: str, meta: Any) -> torch.Tensor:
    from torch._export.serde.serialize import deserialize_scalar_type

    dtype = deserialize_scalar_type(meta.dtype)
    raw = bytearray(archive.getinfo(path).file_size)
    with archive.open(path) as file:
        file.readinto(raw)  # type: ignore[attr-defined] # of BufferedIOBase, which it is
        if file.read(1):
            raise ValueError(f"{path} is longer than the archive says")
    return torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _unpickled(data: bytes) -> dict[str, torch.Tensor]:
    """Tensors by name from a pickle that may hold tensors alone."""
    require_safe_pickles(Path("the program"))
    if not data:
        return {}
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise Code("pickled weights or constants") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise Code("pickled constants that aren't tensors")
    return content


@functools.cache
def _hints(kind: Any, schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, globalns=vars(schema))


def _checked(kind: Any, value: Any, where: str, schema: Any) -> Any:
    """What `value`, from JSON, describes as a value of the schema's type; `where` is its class and field."""
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(part for part in parameters if part is not type(None))
        return None if value is None else _checked(inner, value, where, schema)
    if dataclasses.is_dataclass(kind):
        return _record(kind, _of(dict, value, where), schema)
    if origin is list:
        return [_checked(parameters[0], part, where, schema) for part in _of(list, value, where)]
    if origin is dict:
        names = [name for name in _of(dict, value, where) if where not in KEPT or name in KEPT[where]]
        rule = _rule(f"{where}[]")
        return {rule(_of(str, name, where)): _checked(parameters[1], value[name], where, schema) for name in names}
    if kind is str:
        return _rule(where)(_of(str, value, where))
    if kind is float:
        return (
            float(value)
            if isinstance(value, int) or value in ("Infinity", "-Infinity", "NaN")
            else _of(float, value, where)
        )
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return kind(_of(int, value, where))
    return _of(kind, value, where)


def _record(kind: Any, value: dict[str, Any], schema: Any) -> Any:
    """A record of the schema; of a union, the only field that there is."""
    hints, name = _hints(kind, schema), kind.__name__
    fields = {
        field: _checked(hints[field], part, f"{name}.{field}", schema)
        for field, part in value.items()
        if field in hints and f"{name}.{field}" not in DROPPED
    }
    if name in REFUSED or (bad := REFUSED.keys() & {f"{name}.{field}" for field in fields}):
        raise Code(REFUSED[name if name in REFUSED else bad.pop()])
    if hasattr(kind, "create"):
        return kind.create(**fields)
    return kind(**fields)


def _of(kind: type, value: Any, where: str) -> Any:
    """The value, which must be of exactly this type: `True` is no `int` here."""
    if type(value) is not kind:
        raise TypeError(f"{where} is {value!r:.60}, where {kind.__name__} is needed")
    return value


def _rule(where: str) -> Callable[[str], str]:
    if where not in RULES:
        raise Code(f"{where}, which this version of layerscope doesn't know")
    return RULES[where]
