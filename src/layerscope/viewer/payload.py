"""One container for everything that travels: named arrays and a JSON object, in the layout of safetensors.

    8 bytes   length of the header, little-endian
    header    JSON, padded with spaces to a multiple of 8:
              {"__metadata__": {"layerscope": "<JSON>"}, name: {"dtype": "F32", "shape": [64, 49], "data_offsets": [0, 12544]}}
    arrays    one after another without gaps, those of the widest type first, so that each lies at a multiple of its item size

The library safetensors reads it, as does a page without copying: its typed arrays are views of the bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import BadOption

META = "layerscope"  # the key under `__metadata__`
DTYPES = {"F64": "<f8", "F32": "<f4", "I32": "<i4", "F16": "<f2", "U8": "|u1"}  # the widest first, as they are stored
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
MOST_HEADER = 1 << 24


def pack(meta: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a container.

    >>> data = pack({"layer": "conv1"}, {"values": np.zeros((2, 3), np.float16)})
    >>> unpack(data)[0], unpack(data)[1]["values"].shape
    ({'layer': 'conv1'}, (2, 3))

    Args:
        meta: What the arrays are, in values that JSON has. NaN and inf aren't among them: they raise `BadOption`.
        tensors: float64, float32, int32, float16 or uint8 by name.
    """
    order = sorted(tensors, key=lambda name: -_dtype(name, tensors[name]).itemsize)
    header: dict[str, Any] = {"__metadata__": {META: json_of(meta)}}
    parts, end = [], 0
    for name in order:
        array = np.ascontiguousarray(tensors[name], _dtype(name, tensors[name]).newbyteorder("<"))
        start, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(array.data.cast("B") if array.size else b"")
    text = json_of(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def unpack(data: bytes | bytearray | memoryview) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` was given: the JSON object, and the arrays by name, read-only views of `data`.

    Raises `BadOption` for what is no such container.
    """
    view = memoryview(data).cast("B").toreadonly()
    size = int.from_bytes(view[:8], "little")
    if len(view) < 8 or not 2 <= size <= min(MOST_HEADER, len(view) - 8):
        raise BadOption(f"{len(view)} bytes aren't a container of arrays: they have no header")
    body = view[8 + size :]
    try:
        header = json.loads(bytes(view[8 : 8 + size]))
        meta = json.loads(header.pop("__metadata__")[META])
        tensors = {name: _array(body, **entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadOption(f"the header of these {len(view)} bytes can't be read: {error}") from error
    if not isinstance(meta, dict):
        raise BadOption("the header of these bytes holds no object")
    return meta, tensors


def json_of(value: Any) -> str:
    """`value` as ASCII JSON without spaces; raises `BadOption` for NaN, inf and what JSON doesn't have.

    >>> json_of({"name": "é", "size": [1, 2]})
    '{"name":"\\\\u00e9","size":[1,2]}'
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadOption(f"this can't be written as JSON: {error}") from error


def _dtype(name: str, array: np.ndarray) -> np.dtype[Any]:
    dtype = array.dtype.newbyteorder("=")
    if dtype not in NAMES:
        raise BadOption(f"{name!r} is {array.dtype}: a container holds {', '.join(DTYPES)}")
    return dtype


def _array(body: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    start, end = data_offsets
    kind = np.dtype(DTYPES[dtype])
    if not all(isinstance(side, int) and side >= 0 for side in (*shape, start, end)):
        raise ValueError("sizes and offsets are whole numbers from 0")
    if not start <= end <= len(body) or math.prod(shape) * kind.itemsize != end - start:
        raise ValueError(f"{shape} of {dtype} doesn't lie in the bytes {start} to {end} of {len(body)}")
    return np.frombuffer(body[start:end], kind).reshape(shape)
