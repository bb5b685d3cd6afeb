"""Whose fault an error is that comes out of a run of a PyTorch model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls

BATCH = np.zeros((2, 3, 8, 8), np.float32)


def fail(*_, **__):
    return [][1]


@pytest.mark.parametrize("place", ["axes.Axes.layer", "field.Fields.get", "table.Record._parameters"])
def test_a_fault_in_our_hooks_is_ours(monkeypatch, place):
    monkeypatch.setattr(f"layerscope.backends.torch.{place}", fail)
    with pytest.raises(ls.InternalError) as raised:
        ls.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), preprocess=None).layers(BATCH)
    assert isinstance(raised.value.__cause__, IndexError)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 4, 3),
        nn.Linear(3, 3),
        nn.MultiheadAttention(5, 1),
        nn.TransformerEncoderLayer(6, 2),
        Function(lambda x: x @ x.flatten(1)),
        Function(lambda x: nn.functional.scaled_dot_product_attention(x, x, x[..., :3, :3])),
        Function(lambda x: torch.einsum("ab,bc->ac", x, x)),
        Function(lambda x: x.unknown()),
        Function(lambda x: [][1]),
        Function(lambda x: x[:, 7]),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_model_that_fails_is_to_blame_itself(module):
    scope = ls.open(nn.Sequential(nn.Identity(), module).eval(), preprocess=None)
    with pytest.raises(ls.ModelNotReadable):
        scope.layers(BATCH)


@pytest.mark.parametrize("batch", [np.array([["a"]]), np.array([[None]]), np.zeros((1, 3), np.complex64)])
def test_a_batch_that_torch_does_not_take_is_no_fault_of_ours(batch):
    with pytest.raises(ls.ModelNotReadable):
        ls.open(nn.Linear(3, 3), preprocess=None).layers(batch)
