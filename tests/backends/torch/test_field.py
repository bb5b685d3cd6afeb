"""Receptive fields of PyTorch models, against what moves when a line of the image is changed, and published numbers."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from helpers import field_probe
from helpers.wording import wording
from layerscope.backends.torch.backend import TorchBackend
from layerscope.core.receptive_field import describe

nn = torch.nn
F = nn.functional


class Step(nn.Module):
    def __init__(self, name, options):
        super().__init__()
        self.name, self.options = name, options

    def forward(self, x):
        name, options = self.name, self.options
        channels = x.shape[1]
        if name == "up":
            mode = {"nearest": "nearest", "linear": "bilinear"}[options]
            return F.interpolate(
                x, scale_factor=2, mode=mode, **({} if mode == "nearest" else {"align_corners": False})
            )
        if name in ("add", "cat"):
            first, second = (F.conv2d(x, torch.ones(1, channels, 2 * k + 1, 2 * k + 1), padding=k) for k in options)
            return first + second if name == "add" else torch.cat([first, second], 1)
        kernel, stride, dilation, pad = (options[key] for key in ("kernel", "stride", "dilation", "pad"))
        if name == "conv":
            return F.conv2d(x, torch.ones(1, channels, *kernel), stride=stride, dilation=dilation, padding=pad)
        if name == "turned":
            return F.conv_transpose2d(x, torch.ones(channels, 1, *kernel), stride=stride, dilation=dilation)
        if name == "max":
            return F.max_pool2d(x, kernel, stride, dilation=dilation)
        return F.avg_pool2d(x, kernel, stride)


def test_the_field_is_what_moves_a_unit():
    compared = []

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(field_probe.networks)
    def holds(network):
        model = nn.Sequential(*(Step(*step) for step in network))
        pictures = field_probe.line_images()
        try:
            with torch.no_grad():
                values = model(torch.from_numpy(pictures)).numpy()
        except RuntimeError:  # the image has become smaller than the next kernel
            return
        if 1 not in values.shape[2:]:
            compared.append(
                field_probe.check_boxes(values, TorchBackend().layers(model, pictures)[-1].receptive, network)
            )

    holds()
    assert sum(compared) > 300


def published():
    from helpers import torchvision_ops  # noqa: F401  # before torchvision, whose operators it stands in for

    models = importlib.import_module("torchvision.models")

    # Araujo, Norris and Sim 2019, table 1; ResNet there strides in other places than torchvision's.
    return {
        "alexnet": (models.alexnet, "features.12", 195, 32),
        "vgg16": (models.vgg16, "features.29", 196, 16),
        "vgg16, last pool": (models.vgg16, "features.30", 212, 32),
        "inception v3": (lambda **more: models.inception_v3(init_weights=False, **more), "Mixed_7c", 1311, 32),
    }


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "vgg16, last pool", "inception v3"])
def test_the_numbers_of_the_paper(name):
    make, path, size, stride = published()[name]
    with torch.device("meta"):
        shell = make(weights=None)
    model = shell.to_empty(device="cpu")
    side = 299 if "inception" in name else 224
    table = {layer.path: layer for layer in TorchBackend().layers(model, np.zeros((1, 3, side, side), np.float32))}
    fields = table[path].receptive
    assert [(axis.size, axis.stride) for axis in fields] == [(size, stride)] * 2
    assert describe(table[""].receptive) == "whole image"


class Many(nn.Module):
    """Operations between modules: tokens, attention, gates, slices, statistics."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.tokens = nn.Identity()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.back = nn.Identity()
        self.gated = nn.Identity()
        self.shifted = nn.Identity()
        self.rolled = nn.Identity()
        self.one = nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x):
        patches = self.patches(x)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = self.tokens(torch.cat([self.one.expand(len(x), -1, -1), tokens], 1))
        normed = self.norm(tokens)
        self.attention(normed, normed, normed)
        self.back(normed[:, 1:].transpose(1, 2).reshape(len(x), 8, *patches.shape[2:]))
        self.shifted(patches[:, :, 1:])
        self.rolled(torch.roll(patches, 1, 2))
        return self.gated(patches * patches.mean((2, 3), keepdim=True).sigmoid())


def test_the_field_goes_through_tokens_gates_and_slices():
    for fused in (torch.no_grad, torch.inference_mode):
        with fused():
            rows = TorchBackend().layers(Many(), np.zeros((1, 3, 16, 24), np.float32))
        described = {layer.path: describe(layer.receptive or ()) for layer in rows}
        assert described["patches"] == described["tokens"] == described["norm"] == "4×4 /4 @1.5"
        assert described["shifted"] == "4×4 /4 @5.5,1.5"
        assert described["gated"] == described["attention"] == "whole image"
        assert described["rolled"] == "?"
        reasons = {layer.path: layer.receptive[0].unknown for layer in rows if layer.receptive}
        wording(reasons["rolled"])


def test_a_norm_over_places_sees_the_whole_image_and_one_over_channels_its_own():
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions, self.channels = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.channels(x.norm(dim=1, keepdim=True)) + self.positions(x.norm(2, (2, 3), keepdim=True))

    rows = {layer.path: layer for layer in TorchBackend().layers(Norms(), np.zeros((1, 3, 8, 8), np.float32))}
    assert describe(rows["positions"].receptive) == "whole image"
    assert describe(rows["channels"].receptive) == "1×1 /1 @0"


class Writes(nn.Module):
    """Adds what a wide convolution sees to a part of what a narrow one gave."""

    def __init__(self, part):
        super().__init__()
        self.first, self.wide, self.end = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 5, padding=2), nn.Identity()
        self.part = part

    def forward(self, x):
        features = self.first(x)
        self.part(features).add_(self.part(self.wide(x)))
        return self.end(features)


def field_behind_a_write(part):
    rows = {layer.path: layer for layer in TorchBackend().layers(Writes(part), np.zeros((1, 1, 8, 8), np.float32))}
    return rows["end"].receptive


def test_what_is_written_through_a_view_is_not_claimed():
    wording(field_behind_a_write(lambda features: features.diagonal(0, 2, 3))[0].unknown)


def test_a_slice_that_is_written_to_widens_what_the_whole_may_see():
    assert describe(field_behind_a_write(lambda features: features[:, :, :2])) == "5×5 /1 @0"


def test_a_view_of_what_was_written_to_is_still_followed():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.end = nn.Conv2d(1, 4, 3, padding=1), nn.Identity()

        def forward(self, x):
            features = F.relu_(self.first(x)).permute(0, 2, 3, 1)
            return self.end(features * 2)

    rows = {layer.path: layer for layer in TorchBackend().layers(Views(), np.zeros((1, 1, 8, 8), np.float32))}
    assert describe(rows["end"].receptive) == "3×3 /1 @0"


def test_parameters_are_counted_once():
    shared = nn.Conv2d(3, 3, 1)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.BatchNorm2d(3)), nn.ReLU())
    rows = {layer.path: layer for layer in TorchBackend().layers(model, np.zeros((1, 3, 8, 8), np.float32))}
    assert (rows["0"].parameters, rows["1"].parameters, rows["2"].parameters, rows[""].parameters) == (12, 18, 0, 18)
