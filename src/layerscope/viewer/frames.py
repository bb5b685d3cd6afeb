"""Requests and replies as bytes: the length of a JSON text, the text, and buffers, each from a multiple of 8 bytes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..safe_text import json_text

ALIGNED = 8
MOST_BUFFERS = 64


def pack_frame(message: dict[str, Any], buffers: Sequence[bytes] = ()) -> bytes:
    """A message with its buffers, whose sizes it names.

    >>> unpack_frame(pack_frame({"id": "a-1"}, [b"123", b""]))
    ({'id': 'a-1', 'buffers': [3, 0]}, [b'123', b''])
    """
    text = json_text({**message, "buffers": [len(buffer) for buffer in buffers]}, allow_nan=False).encode()
    text += b" " * (-len(text) % ALIGNED)
    parts = [len(text).to_bytes(8, "little"), text]
    for buffer in buffers:
        parts += [buffer, bytes(-len(buffer) % ALIGNED)]
    return b"".join(parts)


def unpack_frame(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The message of a frame, and its buffers. Raises `ValueError` for anything that isn't one."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("a frame is shorter than it says")
    message = read_object(data[8 : 8 + length])
    sizes = message.get("buffers")
    if not isinstance(sizes, list) or len(sizes) > MOST_BUFFERS or any(type(size) is not int for size in sizes):
        raise ValueError("a frame names the sizes of its buffers")
    buffers, start = [], 8 + length
    for size in sizes:
        if not 0 <= size <= len(data) - start:
            raise ValueError("a frame is shorter than it says")
        buffers.append(data[start : start + size])
        start += size + -size % ALIGNED
    return message, buffers


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object in the bytes. Raises `ValueError`."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("JSON as deep as that isn't read") from None
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
