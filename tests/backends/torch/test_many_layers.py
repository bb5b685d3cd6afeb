"""PyTorch: what a capture of many layers does grows with their number, and no faster."""

import sys

import pytest
import torch
from torch import nn

import layerscope as ls

torch.set_num_threads(1)


class Cell(nn.Module):
    """Calls one layer again and again."""

    def __init__(self, count):
        super().__init__()
        self.layer, self.count = nn.Linear(4, 4), count

    def forward(self, x):
        for _ in range(self.count):
            x = self.layer(x) + 1
        return x


def chain(count):
    return nn.Sequential(*[nn.Linear(4, 4) for _ in range(count)])


def work(model, layers):
    """How many functions and steps of generators of layerscope run in a capture."""
    scope, x, calls = ls.open(model.eval(), preprocess=None), torch.randn(1, 4), 0
    scope.capture(x, layers)

    def count(frame, event, _):
        nonlocal calls
        calls += event == "call" and "layerscope" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        maps = scope.capture(x, layers)
    finally:
        sys.setprofile(None)
    return calls, len(maps)


@pytest.mark.parametrize(
    ("model", "layers"),
    [(chain, "*"), (chain, "kind:Linear"), (Cell, "layer"), (Cell, "add*"), (Cell, "*")],
    ids=["all", "a kind", "calls", "functions", "calls and functions"],
)
def test_four_times_the_layers_are_four_times_the_work(model, layers):
    (few, small), (many, large) = work(model(50), layers), work(model(200), layers)
    assert large >= 4 * small - 8 >= 192
    assert many < 4.5 * few
