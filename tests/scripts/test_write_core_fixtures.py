"""The numbers that the front end's tests compare with are those that Python gives today."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_core_fixtures.py"))


def same(written: Any, now: Any) -> bool:
    """Equal, but for the last digits of floats, which another machine may add up in another order."""
    if isinstance(now, list):
        return len(written) == len(now) and all(map(same, written, now))
    if isinstance(now, dict):
        return written.keys() == now.keys() and all(same(written[name], now[name]) for name in now)
    try:
        return written == now or float(written) == pytest.approx(float(now), rel=1e-12, abs=1e-15)
    except (TypeError, ValueError):
        return False


@pytest.fixture(scope="module")
def now() -> Any:
    return json.loads(SCRIPT["page"](SCRIPT["fixtures"]()))


@pytest.mark.parametrize("part", json.loads(SCRIPT["TARGET"].read_text("utf-8")))
def test_fixtures_are_current(part: str, now: Any) -> None:
    """`python scripts/write_core_fixtures.py` renews them."""
    assert same(json.loads(SCRIPT["TARGET"].read_text("utf-8"))[part], now[part])


def test_a_change_is_seen(now: Any) -> None:
    changed = json.loads(json.dumps(now))
    changed["numbers"][0][1] = "0.126"
    assert same(now, now) and not same(now, changed)
