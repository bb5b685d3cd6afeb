"""The benchmark takes apart what runs."""

import numpy as np
from bench import drawing, measure

import layerscope as ls


def test_each_part_of_a_sheet_is_clocked(tmp_path):
    values = np.random.default_rng(0).random((1, 14, 14, 8), np.float32)
    times = measure.parts_of(lambda: ls.sheet(values).save(tmp_path / "sheet.png"), drawing.PARTS, rounds=1)
    assert set(times) == {*drawing.PARTS, "rest", "whole"}
    assert all(time.median > 0 for time in times.values())
