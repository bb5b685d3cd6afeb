"""Writes frontend/test/fixtures/payloads.json: bytes as the session packs them, and what a page must read in them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import layerscope as ls
from layerscope.combinations.registry import combined
from layerscope.core.placement import Placement
from layerscope.core.receptive_field import WHOLE, Field, window
from layerscope.viewer.combine import combination_payload
from layerscope.viewer.encoding import decode
from layerscope.viewer.maps import map_payload
from layerscope.viewer.payload import unpack

TARGET = Path(__file__).resolve().parents[1] / "frontend" / "test" / "fixtures" / "payloads.json"
CROP = Placement((30, 40), (16, 16), (-2.0, 6.5, 34.0, 27.0))
COMBINED = ("mean", "total", "max", "norm", "deviation", "pca", "similarity:1,2")


def noise(*shape: int) -> np.ndarray:
    """Normal numbers of three digits in float32, the same on every machine."""
    return np.round(np.random.default_rng(sum(shape)).normal(size=shape), 3).astype(np.float32)


def map_of(values: np.ndarray, axes: str = "bhwc", **layer: Any) -> ls.FeatureMap:
    fm = ls.FeatureMap.of_array(values[None], axes)
    return replace(fm, layer=replace(fm.layer, **layer))


def special() -> np.ndarray:
    values = noise(4, 5, 3)
    values[0, :3, 0] = np.nan, np.inf, -np.inf
    values[..., 1] = 0
    values[..., 2] = 1.7
    return values


def far() -> np.ndarray:
    values = noise(5, 6, 2)
    values[..., 1] = values[..., 1] / 64 + 500
    return values


def maps() -> Iterator[tuple[str, ls.FeatureMap, str]]:
    """Maps by what is special about them, and the encoding asked for."""
    plain, field = noise(5, 6, 2), window(Field(), 3, 2, padding=1)
    yield "float16", map_of(plain), "auto"
    yield "float32 asked for", map_of(plain), "f32"
    yield "float32 needed", map_of(np.geomspace(1e-12, 1e12, 24, dtype=np.float32).reshape(6, 4, 1)), "auto"
    yield "a power of two", map_of(plain * np.float32(1e7)), "auto"
    yield "an offset", map_of(far()), "auto"
    yield "codes", map_of(special()), "u8"
    yield "special values", map_of(special()), "auto"
    yield "some channels", map_of(plain).select([1]), "auto"
    placed = map_of(noise(8, 8, 1), receptive=(field, field))
    yield "on a photo", replace(placed, placement=(CROP,)), "auto"
    unbounded = map_of(noise(2, 2, 1), receptive=(WHOLE, WHOLE))
    yield "sees everything", replace(unbounded, placement=(CROP,)), "auto"
    yield "a volume", map_of(noise(3, 4, 5, 1), "bdhwc"), "auto"
    yield "a sequence", map_of(noise(7, 2), "bnc"), "auto"
    yield "a vector", map_of(noise(4), "bc"), "auto"
    heads = np.abs(noise(2, 5, 5))
    heads /= heads.sum(-1, keepdims=True)
    attention = {"grid": (2, 2), "prefix": ("cls",)}
    yield "attention", replace(map_of(heads, "bcqk", **attention), placement=(CROP,)), "auto"


def read(one: ls.FeatureMap, encoding: str) -> dict[str, Any]:
    """A payload, with what is in it as numbers."""
    data = map_payload(one, input="i0", layer="l0", encoding=encoding)
    meta, tensors = unpack(data)
    known: dict[str, Any] = {"bytes": text(data), "meta": meta, "dtype": str(tensors["values"].dtype)}
    if encoding != "u8":
        numbers = decode(tensors["values"], meta["exponent"], tensors.get("offsets"))
        known["values"] = text(numbers.astype("<f4").tobytes())
    known["true"] = text(np.moveaxis(one.values[0], -1, 0).astype("<f4").tobytes())
    if "row_cells" in tensors and not one.layer.attention:
        known["photo"] = on_photo(one)
    return known


def on_photo(one: ls.FeatureMap) -> dict[str, Any]:
    """Where units lie, and which lies where, as `FeatureMap.unit_grid` says."""
    grid = one.unit_grid()
    units = [(y, x) for y in range(one.spatial[0]) for x in range(one.spatial[1])]
    places = [(y, x) for y in range(0, 30, 4) for x in range(0, 40, 4)]
    return {
        "boxes": [[*unit, grid.receptive_box(*unit)] for unit in units],
        "unit at": [[*place, grid.unit_at(*place)] for place in places],
    }


def combinations() -> list[dict[str, Any]]:
    """Combinations of one map: the payload, and the values that it stands for."""
    one = map_of(noise(5, 6, 3))
    parts = []
    for name in COMBINED:
        result = combined(one, name)
        numbers = np.moveaxis(result.values[0], -1, 0).astype("<f4")
        data = combination_payload(result, one, name)
        parts.append(
            {"name": name, "bytes": text(data), "values": text(numbers.tobytes()), "limits": limits_of(result)}
        )
    return [{"of": text(map_payload(one))}, *parts]


def limits_of(result: ls.FeatureMap) -> list[list[float]] | None:
    """The values of the darkest and the brightest of three colours."""
    if result.role != "rgb":
        return None
    return np.percentile(result.values[0].reshape(-1, 3), (1, 99), axis=0).T.tolist()


def text(data: bytes) -> str:
    """base64 of the bytes, compressed."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def fixtures() -> dict[str, Any]:
    return {"maps": {name: read(one, encoding) for name, one, encoding in maps()}, "combinations": combinations()}


def page(parts: dict[str, Any]) -> str:
    """The file: a line for each map, so that a change is seen where it is."""
    lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in parts["maps"].items()]
    combined = ",\n".join(map(json.dumps, parts["combinations"]))
    return '{"maps": {\n' + ",\n".join(lines) + '\n}, "combinations": [\n' + combined + "\n]}\n"


if __name__ == "__main__":
    TARGET.write_text(page(fixtures()), "utf-8")
