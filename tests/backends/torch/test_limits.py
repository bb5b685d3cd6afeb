"""Rows of docs/limits.md on PyTorch: each is provoked, and the answer is the one that it promises."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from helpers.limits import FIRST, rows
from helpers.wording import wording

torch.set_num_threads(1)


@pytest.mark.limit("TorchScript")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch calls its own jit deprecated
def test_torchscript(limit, tmp_path):
    script = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.from_numpy(FIRST))
    with limit.raises("TorchScript", "nn.Module", "torch.export"):
        ls.open(script)
    torch.jit.save(script, tmp_path / "script.pt")
    with limit.raises("script.pt", "torch.export"):
        ls.open(tmp_path / "script.pt")


class Odd(nn.Module):
    """Modules that never run as such."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])
        self.direct = nn.Conv2d(3, 3, 1)
        self.used = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.conv2d(self.direct.forward(x), self.used.weight)


@pytest.mark.limit("a module that is never called")
def test_modules_that_never_run(limit):
    scope = ls.open(Odd(), preprocess=None)
    noted = {layer.path: layer for layer in scope.layers(FIRST)}
    limit.notes(noted["blocks"])
    for path in ("direct", "used"):
        limit.notes(noted[path], ".forward()")
    with limit.raises("'blocks.0'", "'blocks.1'"):
        scope.capture(FIRST, "blocks")
    with limit.raises("'direct'"):
        scope.capture(FIRST, "direct")


class Functional(nn.Module):
    """Functions of every sort in the forward of a module."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = F.pad(F.relu(self.conv(x)), (1, 1, 1, 1))[:, :, 1:-1, 1:-1] * (x > 0)
        flat = y.flatten(2)
        return self.norm((flat @ flat.transpose(1, 2)).mean() * x + y)


@pytest.mark.limit("functions in a PyTorch module's forward")
def test_functions_of_torch(limit):
    functions = [path for path in rows(Functional(), FIRST) if path.endswith("()")]
    assert "block.relu()" in functions and "block.add()" in functions
    assert not [path for path in functions if any(name in path for name in ("pad", "flatten", "matmul", "gt"))]
    assert not [path for path in functions if path.startswith(("block.conv", "block.norm"))]
    limit.shows(f"{functions} but not pad")


@pytest.mark.limit("`.pt` files with a whole pickled module")
def test_a_pickled_module(limit, tmp_path):
    torch.save(nn.Conv2d(3, 4, 1), tmp_path / "whole.pt")
    with limit.raises("whole.pt", "trust=True"):
        ls.open(tmp_path / "whole.pt")
    ls.open(tmp_path / "whole.pt", trust=True, preprocess=None)


@pytest.mark.limit("a state dict")
def test_a_state_dict(limit, tmp_path):
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "weights.pth")
    with limit.raises("package.module:factory", "weights="):
        ls.open(tmp_path / "weights.pth")


class Unmarked(nn.Module):
    """Attention by hand, in a module of another name, over three axes."""

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens


@pytest.mark.limit("attention that isn't torch's own")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's unflatten trips over its own deprecation
def test_attention_by_hand(limit):
    model = nn.Sequential(nn.Conv2d(3, 4, 2, 2), Unmarked())
    assert not [layer for layer in rows(model, FIRST).values() if layer.kind == "AttentionMap"]
    own = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    exported = torch.export.export(own, (torch.ones(1, 5, 4),))
    for encoder in (own, exported):
        layers = rows(encoder, np.ones((1, 5, 4), np.float32)).values()
        (attention,) = (layer for layer in layers if layer.kind == "AttentionMap")
        assert attention.path.endswith("attention_map")
    limit.shows("attention_map")


def test_steps_of_a_transform():
    pytest.importorskip("helpers.torchvision_ops", reason="torchvision needs it beside this torch")
    transforms = pytest.importorskip("torchvision.transforms", reason="the transform is torchvision's")
    steps = [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor(), transforms.Grayscale(3)]
    scope = ls.open(nn.Conv2d(3, 4, 3), preprocess=transforms.Compose(steps))
    wording(scope.preprocess.describe(), "3", "Grayscale")
    (fm,) = scope.capture(ls.demo_photo(), "output").values()
    assert fm.placement[0].box == (0.0, 0.0, 300.0, 451.0), "the whole photo"


@pytest.mark.limit("replacing values (`ablation_cam`)")
def test_weights_of_an_attention_that_cannot_be_changed(limit):
    class Multihead(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.mha(x, x, x)[0].mean(1)

    scope = ls.open(Multihead().eval(), preprocess=None)
    with limit.raises("mha.attention_map"):
        scope.backend.scores(
            scope.model, np.ones((1, 3, 4), np.float32), lambda out: 1.0, {"mha.attention_map": np.copy}
        )
