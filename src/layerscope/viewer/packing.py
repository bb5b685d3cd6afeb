"""Payloads as text for a report: packed as small as the browser's own gunzip can read them."""

from __future__ import annotations

import base64
import zlib

APART = "~"  # in front: the even bytes come first, then the odd ones
LEVEL, MEMORY, GZIP = 6, 9, 31


def packed(data: bytes, *, halves: bool = False) -> str:
    """The bytes as base64 of gzip. `halves`: most of them are numbers of two bytes, which pack smaller with these apart.

    Repeats are looked for only where that makes it smaller, which it doesn't in noise with many zeros, as behind a ReLU.

    >>> unpacked(packed(b"12345678")), unpacked(packed(b"12345678", halves=True)), packed(b"", halves=True)[0]
    (b'12345678', b'12345678', '~')
    """
    apart = halves and len(data) % 2 == 0
    stream = data[::2] + data[1::2] if apart else data
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY) if apart else (zlib.Z_DEFAULT_STRATEGY,)
    smallest = min((_deflated(stream, strategy) for strategy in strategies), key=len)
    return (APART if apart else "") + base64.b64encode(smallest).decode()


def unpacked(text: str) -> bytes:
    """What `packed` was given."""
    data = zlib.decompress(base64.b64decode(text.removeprefix(APART)), GZIP)
    if not text.startswith(APART):
        return data
    joined = bytearray(len(data))
    joined[::2], joined[1::2] = data[: len(data) // 2], data[len(data) // 2 :]
    return bytes(joined)


def _deflated(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP, MEMORY, strategy)
    return packer.compress(data) + packer.flush()
