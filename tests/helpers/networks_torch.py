"""A random network of `networks` in PyTorch."""

import torch
from torch import nn

from helpers.networks import weights


class Plus(nn.Module):
    def forward(self, a, b):
        return a.add_(b)


class Joined(nn.Module):
    def forward(self, a, b):
        return torch.cat([a, b], 1)


class Head(nn.Module):
    """The mean over the pixels, then a dense layer: one layer in the tree, `head`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.mean((2, 3)))


class Network(nn.Module):
    """Steps as submodules of their own names; `act` is one in-place ReLU for all of the network's calls."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self._add(steps)

    def _add(self, steps):
        for step in steps:
            if step.kind == "inner":
                self.add_module(step.name, Network(step.branches[0]))
                continue
            for branch in step.branches:
                self._add(branch)
            if not hasattr(self, step.name):
                self.add_module(step.name, layer(step))

    def forward(self, x):
        return self._run(self.steps, x)

    def _run(self, steps, x):
        for step in steps:
            if step.branches and step.kind != "inner":
                # Each branch gets a tensor of its own, since layers of the first may write into theirs.
                x = getattr(self, step.name)(*[self._run(branch, x.clone()) for branch in step.branches])
            else:
                x = getattr(self, step.name)(x)
        return x


def layer(step):
    module = {
        "conv": lambda: nn.Conv2d(
            step["before"], step["after"], step["kernel"], step["stride"], step["padding"], step["dilation"]
        ),
        "depthwise": lambda: nn.Conv2d(step["channels"], step["channels"], 3, padding=1, groups=step["channels"]),
        "transposed": lambda: nn.ConvTranspose2d(step["before"], step["after"], 3, 2),
        "norm": lambda: nn.BatchNorm2d(step["channels"], eps=1e-3),
        "relu": lambda: nn.ReLU(inplace=True),
        "pool": lambda: nn.MaxPool2d(2),
        "mean_pool": lambda: nn.AvgPool2d(2),
        "up": lambda: nn.Upsample(scale_factor=2),
        "add": Plus,
        "cat": Joined,
        "head": lambda: nn.Linear(step["features"], step["units"]),
    }[step.kind]()
    arrays = weights(step)
    names = {"weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for name, value in arrays.items():
        getattr(module, names[name]).data.copy_(torch.from_numpy(value))
    return Head(module) if step.kind == "head" else module


def build(steps):
    return Network(steps).train()  # a capture evaluates, whatever the flag says
