"""Which pixels a model takes that scales them itself, told from its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def takes(scale: Any, offset: Any) -> str | None:
    """The recipe whose pixels `x * scale + offset` is made for: "raw" (0–255) or "unit" (0–1), `None` where that's unclear.

    What becomes zero is a value in the middle of the input's range; without an offset, the scale is a division by the range.

    >>> takes(1 / 127.5, -1), takes([2, 2, 2], -1), takes(1 / 255, 0), takes(1, -0.001)
    ('raw', 'unit', 'raw', None)
    """
    factors, offsets = np.broadcast_arrays(np.asarray(scale, np.float64), np.asarray(offset, np.float64))
    factors, offsets = factors.reshape(-1), offsets.reshape(-1)
    if not factors.size or not np.isfinite([factors, offsets]).all() or not factors.all():
        return None
    factor = float(np.abs(factors).mean())
    if not offsets.any():
        return "raw" if factor <= 0.1 else "unit" if factor >= 100 else None
    middle = float((-offsets / factors).mean())
    if middle > 2:
        return "raw"
    return "unit" if 0.05 < middle <= 1 else None
