"""PyTorch: what a capture of many layers does grows with their number, and no faster."""

import copy
import sys

import pytest
import torch
from torch import nn

import layerscope as ls
from layerscope.backends.torch.facts import digest

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


CHANGES = {
    "one number, past the count": lambda model: model[7].weight.data[0, 0].add_(1),
    "other memory": lambda model: setattr(model[7].weight, "data", torch.ones(4, 4)),
    "another weight": lambda model: setattr(model[7], "bias", nn.Parameter(torch.ones(4))),
    "another shape": lambda model: setattr(model[7].weight, "data", model[7].weight.data.view(2, 8)),
    "a name": lambda model: model.add_module("last", model._modules.pop("9")),
    "a buffer": lambda model: model[8].register_buffer("scale", torch.ones(3)),
    "a buffer's number": lambda model: model._modules["10"].running_mean.data.fill_(3),
    "order in memory": lambda model: setattr(model[7].weight, "data", model[7].weight.data.t().contiguous().t()),
}


def test_the_digest_tells_every_change():
    model = chain(10).append(nn.BatchNorm1d(4))
    before = digest(model)
    assert digest(model) == before
    for name, change in CHANGES.items():
        change(model)
        assert digest(model) == digest(copy.deepcopy(model)), name
        if name != "order in memory":
            assert digest(model) != before, name
        before = digest(model)
    with torch.no_grad():
        model[7].weight.data[0, 0].add_(1)
    assert digest(model) != before
