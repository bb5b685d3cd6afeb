"""Models that write to their own weights, or to memory that they share: each capture is a fresh run, and all stays as found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import layerscope as ls


class Net(nn.Module):
    """A convolution whose forward first does something to itself."""

    def __init__(self, write, prepare=lambda net: None):
        super().__init__()
        self.conv, self.factor, self.write = nn.Conv2d(3, 3, 1), torch.ones(1), write
        prepare(self)

    def forward(self, x):
        with torch.no_grad():
            self.write(self, x)
        return self.conv(x) * self.factor


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        with torch.no_grad():
            self.scale.mul_(2)
        return x * self.scale


def renorm(net, x):
    net.conv.weight.data = F.normalize(net.conv.weight.data, dim=1) * 1.3


def fill(net, x):
    net.conv.weight[0] = 3.0


def in_numpy(net, x):
    net.conv.weight.detach().numpy()[...] *= 2


def step(net, x):
    with torch.enable_grad():
        net.optimizer.zero_grad()
        net.conv(x).square().mean().backward()
        net.optimizer.step()


def as_array(net):
    net.array = np.ones((1, 3, 1, 1), np.float32)
    net.factor = torch.from_numpy(net.array)


WRITES = {
    "mul_": [lambda net, x: net.conv.weight.mul_(1.5)],
    "data": [renorm],
    "data.add_": [lambda net, x: net.conv.weight.data.add_(1)],
    "setitem": [fill],
    "a view": [lambda net, x: net.conv.weight.view(-1)[:5].fill_(2)],
    "out": [lambda net, x: torch.mul(net.conv.weight, 2, out=net.conv.weight)],
    "foreach": [lambda net, x: torch._foreach_mul_([net.conv.weight, net.conv.bias], 2.0)],
    "init": [lambda net, x: nn.init.constant_(net.conv.weight, 0.2)],
    "load_state_dict": [lambda net, x: net.conv.load_state_dict({k: v * 2 for k, v in net.conv.state_dict().items()})],
    "requires_grad_": [lambda net, x: net.conv.weight.requires_grad_(False)],
    "max_norm": [
        lambda net, x: net.factor.copy_(net.table(torch.tensor([1])).sum()),
        lambda net: setattr(net, "table", nn.Embedding(4, 5, max_norm=0.1)),
    ],
    "numpy": [in_numpy],
    "an array of a weight": [
        lambda net, x: np.multiply(net.array, 2, net.array),
        lambda net: setattr(net, "array", net.conv.weight.detach().numpy()),
    ],
    "an array of a tensor": [lambda net, x: np.add(net.array, 1, net.array), as_array],
    "an optimizer": [step, lambda net: setattr(net, "optimizer", torch.optim.Adam(net.conv.parameters(), lr=0.5))],
    "TorchScript": [
        lambda net, x: net.factor.copy_(net.child(torch.ones(1))),
        lambda net: setattr(net, "child", torch.jit.script(Scripted())),
    ],
}


def state(net):
    """All that the user sees of the weights and of what stands beside them."""
    weights = [
        (name, id(weight), weight.data_ptr(), weight._version, weight.requires_grad, weight.grad, weight.tolist())
        for name, weight in net.named_parameters()
    ]
    slots = len(net.optimizer.state) if hasattr(net, "optimizer") else 0
    return weights, net.factor.tolist(), getattr(net, "array", np.zeros(1)).tolist(), slots


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*:DeprecationWarning", "ignore:.*torch.jit.script.*:FutureWarning"
)
@pytest.mark.parametrize("write", WRITES)
def test_each_capture_equals_a_fresh_run_and_the_weights_stay(write):
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(Net(*WRITES[write]).eval())
    (net, fresh), x = nets, torch.rand(1, 3, 4, 4)
    before = state(net)
    with torch.no_grad():
        expected = fresh(x).movedim(1, -1).numpy()
    for target in (None, None, lambda output: output.mean()):
        scope = ls.open(net, preprocess=None)
        for _ in range(2):
            np.testing.assert_allclose(scope.capture(x, "output", target=target)[""].values, expected, rtol=1e-5)
            assert state(net) == before


def test_models_that_write_nothing_share_their_weights():
    from layerscope.backends.torch.isolation import CHANGING, WRITING

    net = Net(lambda net, x: net.factor.add_(1)).eval()
    ls.open(net, preprocess=None).capture(torch.rand(1, 3, 4, 4), "conv")
    assert not WRITING.get(net) and not CHANGING.get(net)
