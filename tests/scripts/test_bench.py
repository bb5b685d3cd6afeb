"""The benchmark takes apart what runs."""

import numpy as np
import pytest
from bench import drawing, measure, peers

import layerscope as ls


def test_each_part_of_a_sheet_is_clocked(tmp_path):
    values = np.random.default_rng(0).random((1, 14, 14, 8), np.float32)
    times = measure.parts_of(lambda: ls.sheet(values).save(tmp_path / "sheet.png"), drawing.PARTS, rounds=1)
    assert set(times) == {*drawing.PARTS, "rest", "whole"}
    assert all(time.median > 0 for time in times.values())


@pytest.mark.slow
def test_the_peers_beside_torchvision_are_found(capsys):
    """A peer that can't be imported is left out of the tables with a line, which nobody reads."""
    for module in ("torchvision.utils", "pytorch_grad_cam.feature_factorization.deep_feature_factorization"):
        assert peers.beside_torchvision(module) is not None, capsys.readouterr().out
