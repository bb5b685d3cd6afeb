"""PyTorch: settings of a model that decide which layers run; a change of them makes the table anew."""

from collections import OrderedDict, deque, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from layerscope.backends.torch.backend import TorchBackend
from layerscope.backends.torch.tree import settings_of

Pair = namedtuple("Pair", "first second")
GLOBAL = {"deep": False}


class Kept(nn.Module):
    """Keeps a value; reads another from its file."""

    def __init__(self, value):
        super().__init__()
        self.value = value
        self.layer = nn.Linear(2, 2)

    @property
    def depth(self):
        return 2 if GLOBAL["deep"] else 1

    def forward(self, x):
        return self.layer(x) * self.depth


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({1}, {2}),
        (frozenset("a"), frozenset("b")),
        ({"one": None}, {"two": None}),
        (Pair(1, 2), Pair(1, 3)),
        (OrderedDict(n=1), OrderedDict(n=2)),
        (deque([1]), deque([2])),
        (range(1), range(2)),
        (np.int64(1), np.int64(2)),
        (torch.Size([1]), torch.Size([2])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_any_kind_are_told_apart(before, after):
    model = Kept(before)
    first = settings_of(model)
    assert settings_of(model) == first
    model.value = after
    assert settings_of(model) != first


def test_a_container_that_a_property_reads_is_a_setting(monkeypatch):
    model = Kept(1)
    first = settings_of(model)
    monkeypatch.setitem(GLOBAL, "deep", True)
    assert settings_of(model) != first


def test_another_function_of_the_class_is_a_setting(monkeypatch):
    model = Kept(1)
    first = settings_of(model)
    monkeypatch.setattr(Kept, "forward", lambda self, x: x)
    assert settings_of(model) != first


def test_a_capture_is_no_change_of_settings():
    class Fresh(Kept):
        pass

    model = Fresh(1)
    first = settings_of(model)
    TorchBackend().capture(model, torch.zeros(1, 2), ["layer"])
    assert settings_of(model) == first


def test_a_container_that_many_read_is_looked_at_once(monkeypatch):
    monkeypatch.setitem(GLOBAL, "names", [str(number) for number in range(500)])
    kinds = [type(f"Kind{index}", (Kept,), {"depth": property(lambda self: GLOBAL["deep"])}) for index in range(20)]
    assert len(settings_of(nn.Sequential(*[kind(1) for kind in kinds]))) < 2_000
