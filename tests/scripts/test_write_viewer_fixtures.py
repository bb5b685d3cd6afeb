"""The payloads that the front end's tests read are those that the session packs today."""

import base64
import json
import runpy
import zlib
from pathlib import Path

import numpy as np
import pytest

from layerscope.viewer.payload import unpack

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_viewer_fixtures.py"))
WRITTEN = json.loads(SCRIPT["TARGET"].read_text("utf-8"))
ADDED_UP = {
    "statistics",
    "percentiles",
    "weights",
    "bias",
    "limits",
}  # of which another machine may have other last digits


@pytest.fixture(scope="module")
def now():
    return json.loads(SCRIPT["page"](SCRIPT["fixtures"]()))


def data(text):
    return zlib.decompress(base64.b64decode(text))


def assert_same(written, today):
    (meta, tensors), (expected, arrays) = unpack(data(written)), unpack(data(today))
    assert meta == expected and tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == tensors[name].dtype
        rough = 1e-5 if name in ADDED_UP or "label" in meta else 0
        np.testing.assert_allclose(tensors[name], array, rtol=rough, atol=rough, err_msg=name)


@pytest.mark.parametrize("name", WRITTEN["maps"])
def test_payloads_are_current(name, now):
    """`python scripts/write_viewer_fixtures.py` renews them."""
    written, today = WRITTEN["maps"][name], now["maps"][name]
    assert written.keys() == today.keys()
    for part in written.keys() - {"bytes"}:
        packed = part in ("values", "true")
        assert data(written[part]) == data(today[part]) if packed else written[part] == today[part]
    assert_same(written["bytes"], today["bytes"])


def test_combinations_are_current(now):
    written, today = WRITTEN["combinations"], now["combinations"]
    assert [part.get("name") for part in written] == [part.get("name") for part in today]
    assert_same(written[0]["of"], today[0]["of"])
    for part, other in zip(written[1:], today[1:], strict=True):
        assert_same(part["bytes"], other["bytes"])


def test_every_encoding_is_among_them():
    kinds = {part["dtype"] for part in WRITTEN["maps"].values()}
    assert kinds == {"float16", "float32", "uint8"}
    assert WRITTEN["maps"]["a power of two"]["meta"]["exponent"] > 0
    assert "offsets" in unpack(data(WRITTEN["maps"]["an offset"]["bytes"]))[1]
    assert sum(path.stat().st_size for path in SCRIPT["TARGET"].parent.iterdir()) < 330_000
