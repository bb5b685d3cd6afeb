"""Where units lie: the pixels that the gradient of one unit of a network of ones reaches, and planted squares."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from layerscope.backends.torch.backend import TorchBackend
from layerscope.inputs.preprocess import Recipe

HEIGHT, WIDTH = 64, 96


class Step(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def network(parts: tuple[nn.Module | Callable[..., Any], ...]) -> nn.Module:
    return nn.Sequential(*(part if isinstance(part, nn.Module) else Step(part) for part in parts))


def conv(channels: int, out: int, kernel: int, **options: Any) -> nn.Module:
    return nn.Conv2d(channels, out, kernel, bias=False, **options)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def with_extra(x: torch.Tensor, at: int) -> torch.Tensor:
    return torch.cat([x[:, :at], torch.zeros(len(x), 1, x.shape[2]), x[:, at:]], 1)


def shifted_windows(x: torch.Tensor) -> torch.Tensor:
    """Swin's way there and back: rolled, cut into windows, and all of it undone."""
    x = x.permute(0, 2, 3, 1).roll((-2, -2), (1, 2)).reshape(-1, 4, 4, 6, 4, 2).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, 16, 2) * 1.0
    x = x.reshape(-1, 4, 6, 4, 4, 2).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 24, 2)
    return x.roll((2, 2), (1, 2)).permute(0, 3, 1, 2)


NETWORKS: dict[str, tuple[nn.Module | Callable[..., Any], ...]] = {
    "valid convolutions and pools": (conv(1, 2, 3), nn.AvgPool2d(2), conv(2, 2, 3), nn.AvgPool2d(2)),
    "odd paddings": (conv(1, 2, 3, padding=(2, 1), stride=2), conv(2, 2, 5)),
    "padding on one side": (nn.ZeroPad2d((0, 3, 1, 0)), conv(1, 2, 4, stride=2)),
    "a strided stem": (conv(1, 2, 7, stride=2, padding=3), nn.AvgPool2d(3, 2, 1)),
    "pools that reach beyond": (conv(1, 2, 3), nn.AvgPool2d(3, 2, ceil_mode=True)),
    "dilated": (conv(1, 2, 3, dilation=3), conv(2, 2, 3, dilation=2, padding=1, stride=2)),
    "transposed": (conv(1, 2, 4, stride=4), nn.ConvTranspose2d(2, 2, 3, 2, 1, output_padding=1, bias=False)),
    "a crop of its own": (lambda x: x[:, :, 5:-7, 10:-2], conv(1, 2, 3, stride=2)),
    "every third row": (lambda x: x[:, :, 1::3, 2::2], conv(1, 2, 3)),
    "a pad of its own": (lambda x: F.pad(x, (3, 1, 7, 2)), conv(1, 2, 4, stride=3)),
    "a resize of its own": (lambda x: F.interpolate(x, scale_factor=0.5), conv(1, 2, 3)),
    "upsampled": (conv(1, 2, 4, stride=4), lambda x: F.interpolate(x, scale_factor=2), conv(2, 2, 3)),
    "repeated": (conv(1, 2, 4, stride=4), lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), conv(2, 2, 3)),
    "pixels moved into channels": (nn.PixelUnshuffle(4), conv(16, 2, 3)),
    "the same by a reshape": (
        lambda x: x.reshape(-1, 1, 16, 4, 24, 4).permute(0, 1, 3, 5, 2, 4).reshape(-1, 16, 16, 24),
        conv(16, 2, 3),
    ),
    "flipped": (lambda x: x.flip(3), conv(1, 2, 4, stride=4)),
    "windows that are shifted": (conv(1, 2, 4, stride=4), shifted_windows),
    "patches by unfold": (nn.Unfold(7, stride=4, padding=2), lambda x: x.transpose(1, 2), nn.Linear(49, 3, bias=False)),
    "tokens": (conv(1, 2, 8, stride=8), tokens),
    "tokens by columns": (conv(1, 2, 8, stride=8), lambda x: tokens(x.transpose(2, 3))),
    "tokens that are flipped": (conv(1, 2, 8, stride=8), lambda x: tokens(x).flip(1)),
    "tokens that are rolled": (conv(1, 2, 8, stride=8), lambda x: tokens(x).roll(5, 1)),
    "a class token in the middle": (conv(1, 2, 8, stride=8), lambda x: with_extra(tokens(x), 40)),
    "a token at the end": (conv(1, 2, 8, stride=8), lambda x: with_extra(tokens(x), 96)),
    "tokens and back": (conv(1, 2, 8, stride=8), tokens, lambda x: x.transpose(1, 2).reshape(-1, 2, 8, 12)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_lies_at_the_centre_of_the_pixels_that_it_depends_on(name: str) -> None:
    model = network(NETWORKS[name])
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    last = TorchBackend().layers(model, np.zeros((1, 1, HEIGHT, WIDTH), np.float32))[-1]
    image = torch.rand(1, 1, HEIGHT, WIDTH, requires_grad=True)
    output = model(image)
    if last.grid:
        count = int(np.prod(last.grid))
        order = last.order or tuple(range(output.shape[1] - count, output.shape[1]))
        output = output[:, list(order)].reshape(1, *last.grid, -1).permute(0, 3, 1, 2)
    assert last.lines is not None
    rows, columns = output.shape[2:]
    for unit in ((rows // 2, columns // 2), (rows // 3, columns // 2 - 1)):
        (moved,) = torch.autograd.grad(output[0, :, unit[0], unit[1]].sum(), image, retain_graph=True)
        for axis, (line, index) in enumerate(zip(last.lines, unit, strict=True)):
            pixels = np.flatnonzero(moved[0, 0].abs().sum(1 - axis).numpy())
            assert line is not None
            centre = (pixels[0] + pixels[-1] + 1) / 2
            assert abs(line.origin + index * line.spacing - centre) <= abs(line.spacing) / 2


def test_queries_that_start_from_a_parameter_have_no_grid() -> None:
    class Queries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.look = conv(3, 8, 8, stride=8), nn.MultiheadAttention(8, 1, batch_first=True)
            self.queries = nn.Parameter(torch.randn(1, 96, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            patches = tokens(self.patches(x))
            return self.look(self.queries.expand(len(x), -1, -1), patches, patches)[0]

    rows = {row.path: row for row in TorchBackend().layers(Queries(), np.zeros((1, 3, HEIGHT, WIDTH), np.float32))}
    assert rows["look"].shape == (1, 96, 8)
    assert rows["look"].grid is None


@pytest.mark.parametrize("smooth", [False, True])
def test_an_overlay_behind_valid_convolutions_is_bright_where_the_photo_is(smooth: bool) -> None:
    parts = [layer for _ in range(4) for layer in (nn.LazyConv2d(4, 3, bias=False), nn.MaxPool2d(2))]
    model = nn.Sequential(*parts)
    model(torch.zeros(1, 3, 150, 150))
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    photo = np.zeros((150, 150, 3), np.uint8)
    photo[116:124, 116:124] = 255
    scope = ls.open(model.eval(), preprocess=Recipe("unit", divide=255.0, resize="squash", size=(150, 150)))
    fm = ls.mean(scope.capture(photo, "last")[scope.layers(photo).choose("last")[0].path])
    picture = ls.overlay(fm, alpha=1.0, smooth=smooth, colors="gray")
    cell = picture.cells[0]
    shown = picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(float).sum(-1)
    inside = fm.unit_grid()
    bare = (inside.rows < 0)[:, None] | (inside.columns < 0)[None]
    assert bare.any()  # the edges that no unit lies on
    assert (shown[bare] == photo.astype(float).sum(-1)[bare]).all()
    bright = np.argwhere(np.where(bare, -1, shown) >= shown[~bare].max() * 0.98)
    assert np.abs((bright.min(0) + bright.max(0) + 1) / 2 - 120).max() <= inside.lines[0].spacing / 2
    assert ls.similarity(fm, photo=(119, 119)).provenance["query"]["at"] == list(inside.unit_at(119, 119) or ())


def test_where_units_lie_is_said_to_be_unknown_where_it_is() -> None:
    model = nn.Sequential(conv(3, 4, 4, stride=4), Step(lambda x: x.roll(1, 2)), conv(4, 4, 3))
    photo = np.zeros((64, 64, 3), np.uint8)
    scope = ls.open(model.eval(), preprocess=Recipe("unit", divide=255.0, resize="squash", size=(64, 64)))
    assert ls.mean(scope.capture(photo, "2")["2"]).unit_grid().unknown
    assert not ls.mean(scope.capture(photo, "0")["0"]).unit_grid().unknown


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_resize_by_a_factor_places_units_by_the_factor(mode: str) -> None:
    """28 of 48 pixels by 0.6: the units are 1/0.6 pixels apart, not 48/28."""
    model = network((lambda x: F.interpolate(x, scale_factor=0.6, mode=mode), conv(1, 1, 1)))
    layer = TorchBackend().layers(model, np.zeros((1, 1, 48, 48), np.float32))[-1]
    assert layer.shape == (1, 1, 28, 28)
    assert [line.spacing for line in layer.lines or () if line] == pytest.approx([1 / 0.6] * 2)


TILES: dict[str, tuple[nn.Module | Callable[..., Any], ...]] = {
    "concatenated as images": (lambda x: torch.cat([x[:, :, :32], x[:, :, 32:]]), conv(1, 2, 4, stride=4)),
    "concatenated as channels": (lambda x: torch.cat([x[:, :, :32], x[:, :, 32:]], 1), conv(2, 2, 4, stride=4)),
    "stacked": (lambda x: torch.stack([x[:, :, :32], x[:, :, 32:]], 1).flatten(0, 1), conv(1, 2, 4, stride=4)),
    "by a reshape": (lambda x: x.reshape(1, 1, 2, 32, 96).transpose(1, 2).flatten(0, 1), conv(1, 2, 4, stride=4)),
}


@pytest.mark.parametrize("name", TILES)
def test_units_of_tiles_have_no_one_place(name: str) -> None:
    """The first row or channel sees the upper half, the second the lower: no place on the photo is right for both."""
    layer = TorchBackend().layers(network(TILES[name]), np.zeros((1, 1, 64, 96), np.float32))[-1]
    assert layer.lines is not None and layer.lines[0] is None
    assert layer.receptive is not None
    assert layer.receptive[0].unknown == "different parts of the image lie in its rows or channels"


class Clip(nn.Module):
    """Frames in front of the channels, as video models of transformers have them; tokens by patch, then by frame, or so."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.patches = nn.Conv2d(3, 4, 8, 8)
        self.out = nn.Identity()

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        tokens = (
            self.patches(clip.flatten(0, 1)).flatten(2).unflatten(0, clip.shape[:2])
        )  # [clip, frame, channel, patch]
        return self.out(tokens.permute((0, 3, 1, 2) if self.order == "patch" else (0, 1, 3, 2)).flatten(1, 2))


@pytest.mark.parametrize("order", ["patch", "frame"])
def test_tokens_of_a_clip_lie_on_a_grid_of_frames_rows_and_columns(order: str) -> None:
    torch.manual_seed(0)
    model, clip = Clip(order).eval(), torch.randn(1, 5, 3, 16, 24)
    maps = ls.open(model, preprocess=None).capture(clip.numpy(), "out")
    with torch.no_grad():
        frames = model.patches(clip[0]).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(maps["out"].values[0], frames, atol=1e-6)


def test_tokens_that_share_a_place_form_no_grid() -> None:
    """Several tokens for each patch, as of several scales: they aren't columns of a wider picture."""
    several = Step(lambda x: tokens(x)[:, :, None].expand(-1, -1, 4, -1).flatten(1, 2) * 1.0)
    model = network((conv(1, 2, 8, stride=8), several))
    layer = TorchBackend().layers(model, np.zeros((1, 1, 16, 24), np.float32))[-1]
    assert layer.shape == (1, 24, 2)
    assert layer.grid is None
