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
from layerscope.core.placement import Placement
from layerscope.core.receptive_field import Field, Line, window
from layerscope.core.unit_grid import UnitGrid
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


def written(x: torch.Tensor, size: tuple[int, int], start: tuple[int, int], step: int) -> torch.Tensor:
    """A picture written into one of zeros."""
    whole = x.new_zeros(len(x), x.shape[1], *size)
    rows, columns = (slice(at, at + step * (side - 1) + 1, step) for at, side in zip(start, x.shape[2:], strict=True))
    whole[:, :, rows, columns] = x
    return whole


def in_windows(x: torch.Tensor) -> torch.Tensor:
    """Windows of 5 × 5 of a picture that is padded to them, weighed by a linear layer, and the picture again."""
    rows, columns = (-size % 5 for size in x.shape[2:])
    x, size = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, columns, 0, rows)), x.shape
    across = x.shape[2] // 5
    windows = x.reshape(len(x), -1, 5, across, 5, 2).transpose(2, 3).contiguous().reshape(-1, 5, 5, 2)
    x = nn.Linear(2, 2, bias=False)(windows).reshape(size[0], -1, across, 5, 5, 2).transpose(2, 3).contiguous()
    return x.reshape(size[0], -1, 5 * across, 2)[:, : size[2], : size[3]].contiguous().permute(0, 3, 1, 2)


def put_together(x: torch.Tensor) -> torch.Tensor:
    """The left and the right half, one after the other."""
    whole = torch.empty_like(x)
    whole[..., :10] = x[..., :10] * 2
    whole[..., 10:] = x[..., 10:] * 2
    return whole


def blanked(x: torch.Tensor, *indices: Any) -> torch.Tensor:
    """A copy in which numbers are overwritten by one."""
    whole = x.clone()
    whole[indices] = 0.5
    return whole


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
    "antialiased": (lambda x: F.interpolate(x, (40, 50), mode="bilinear", antialias=True), conv(1, 2, 3)),
    "antialiased bicubic": (lambda x: F.interpolate(x, (40, 50), mode="bicubic", antialias=True), conv(1, 2, 3)),
    "the nearest of odd sizes": (lambda x: F.interpolate(x, (41, 53)), conv(1, 2, 3)),
    "the nearest at the centre": (lambda x: F.interpolate(x, (41, 53), mode="nearest-exact"), conv(1, 2, 3)),
    "Tensor.unfold": (lambda x: x.unfold(2, 7, 3).unfold(3, 5, 2).sum((-1, -2)),),
    "Tensor.unfold into channels": (
        lambda x: x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 1, 4, 5, 2, 3).flatten(1, 3),
        conv(64, 3, 1),
    ),
    "unfolded and folded": (
        conv(1, 2, 4, stride=4),
        lambda x: F.fold(F.unfold(x, 3, stride=2, padding=1), (16, 24), 3, stride=2, padding=1),
    ),
    "circular": (nn.CircularPad2d((2, 1, 3, 2)), conv(1, 2, 4, stride=2)),
    "circular convolutions": (
        conv(1, 2, 3, padding=1, padding_mode="circular"),
        conv(2, 2, 3, stride=2, padding=1, padding_mode="circular"),
    ),
    "replicated and reflected": (
        conv(1, 2, 3, padding=1, padding_mode="replicate"),
        lambda x: F.pad(x, (2, 1, 3, 2), mode="reflect"),
        conv(2, 2, 4, stride=2),
    ),
    "half a turn": (lambda x: x.rot90(2, (2, 3)), conv(1, 2, 5, stride=4)),
    "a quarter turn and back": (
        conv(1, 2, 4, stride=4),
        lambda x: x.rot90(1, (2, 3)),
        conv(2, 2, 3),
        lambda x: x.rot90(3, (2, 3)),
    ),
    "written into zeros": (conv(1, 2, 4, stride=4), lambda x: written(x, (20, 26), (2, 1), 1), conv(2, 2, 3)),
    "blank rows": (conv(1, 2, 4, stride=4), lambda x: blanked(x, slice(None), slice(None), slice(0, 3)), conv(2, 2, 3)),
    "blank where small": (conv(1, 2, 4, stride=4), lambda x: blanked(x, x < 0.1), conv(2, 2, 3)),
    "masked tokens": (conv(1, 2, 8, stride=8), lambda x: blanked(tokens(x), slice(None), torch.arange(96) < 9)),
    "zeros between pixels": (conv(1, 2, 4, stride=4), lambda x: written(x, (32, 48), (0, 1), 2), conv(2, 2, 3)),
    "tiles put together": (conv(1, 2, 4, stride=4), put_together, conv(2, 2, 3)),
    "pixels in channels, weighed": (nn.PixelUnshuffle(4), conv(16, 2, 1)),
    "tokens": (conv(1, 2, 8, stride=8), tokens),
    "tokens by columns": (conv(1, 2, 8, stride=8), lambda x: tokens(x.transpose(2, 3))),
    "tokens that are flipped": (conv(1, 2, 8, stride=8), lambda x: tokens(x).flip(1)),
    "tokens that are rolled": (conv(1, 2, 8, stride=8), lambda x: tokens(x).roll(5, 1)),
    "pooled behind a class token": (
        conv(1, 2, 8, stride=8),
        lambda x: with_extra(tokens(x), 0),
        lambda x: torch.cat([x[:, :1], tokens(F.avg_pool2d(x[:, 1:].transpose(1, 2).reshape(-1, 2, 8, 12), 2))], 1),
    ),
    "gathered": (
        conv(1, 2, 8, stride=8),
        lambda x: tokens(x).gather(1, torch.arange(96).flip(0)[None, :, None].expand(len(x), -1, 2)),
    ),
    "chosen by a mask": (conv(1, 2, 8, stride=8), lambda x: tokens(x)[:, torch.arange(96) % 2 == 0]),
    "windows with a border": (conv(1, 2, 4, stride=4), in_windows),
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


class UNet(nn.Module):
    """Pools three times and comes back, with maps of the sizes on the way down beside those on the way up."""

    def __init__(self, back: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self.back, self.first = back, conv(1, 2, 3, padding=1)
        self.down = nn.ModuleList(conv(2, 2, 3, padding=1) for _ in range(3))
        self.up = nn.ModuleList(conv(4, 2, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, beside = self.first(x), []
        for down in self.down:
            beside.append(x)
            x = down(F.avg_pool2d(x, 2))
        for up in self.up:
            x = up(torch.cat(self.back(x, beside.pop()), 1))
        return x


def resized(**options: Any) -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    return lambda x, beside: (F.interpolate(x, beside.shape[2:], **options), beside)


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pad_to(x: torch.Tensor, beside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = (large - 2 * small for large, small in zip(beside.shape[2:], x.shape[2:], strict=True))
    return F.pad(doubled(x), (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)), beside


def crop_to(x: torch.Tensor, beside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    top, left = ((large - 2 * small) // 2 for large, small in zip(beside.shape[2:], x.shape[2:], strict=True))
    return doubled(x), beside[:, :, top : top + 2 * x.shape[2], left : left + 2 * x.shape[3]]


@pytest.mark.parametrize(
    "back",
    [
        resized(), resized(mode="bilinear"), resized(mode="bilinear", align_corners=True), resized(mode="bicubic"),
        pad_to, crop_to,
    ],
    ids=["nearest", "bilinear", "corners", "bicubic", "padded", "cropped"],
)  # fmt: skip
@pytest.mark.parametrize("size", [(64, 96), (71, 99), (150, 113)])
def test_units_of_a_u_net_lie_where_they_are_for_photos_of_any_size(back: Any, size: tuple[int, int]) -> None:
    """Where branches of strides 0.947 and 1 meet, units lie where those of the finer one do."""
    model = UNet(back)
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    rows = {layer.path: layer for layer in TorchBackend().layers(model, np.zeros((1, 1, *size), np.float32))}
    cropped = 3 if back is crop_to else 0  # at most, in front, and what deep maps lie beside the fine ones
    for path, spacing in (("up.0", 4), ("up.1", 2), ("up.2", 1)):
        for line in rows[path].lines or (None, None):
            assert line is not None and line.spacing == spacing
            assert abs(line.origin - spacing / 2) <= cropped


@pytest.mark.parametrize("join", [lambda one, two: torch.cat([one, two], 1), torch.add])
def test_branches_that_lie_apart_have_no_one_place(join: Callable[..., Any]) -> None:
    """The middle of a photo, enlarged, beside all of it: no place is right for both."""
    two = Step(lambda x: join(x, F.interpolate(x[..., 16:48, 24:72], x.shape[2:], mode="bilinear")))
    model = network((two, nn.LazyConv2d(2, 3)))
    model(torch.zeros(1, 1, HEIGHT, WIDTH))
    layer = TorchBackend().layers(model, np.zeros((1, 1, HEIGHT, WIDTH), np.float32))[-1]
    assert layer.lines == (None, None)
    assert layer.receptive is not None
    assert layer.receptive[0].unknown


@pytest.mark.parametrize(
    "turn", [lambda x: x.transpose(2, 3), lambda x: x.rot90(1, (2, 3)), lambda x: x.permute(0, 1, 3, 2)]
)
@pytest.mark.parametrize("function", [False, True])
def test_a_picture_whose_height_and_width_a_model_exchanges_is_drawn_upright(
    turn: Callable[..., Any], function: bool
) -> None:
    last = Step(lambda x: F.avg_pool2d(x, 4)) if function else nn.AvgPool2d(4)
    model = nn.Sequential(Step(lambda x: turn(x)), last)
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    photo[8:16, 80:92] = 255
    scope = ls.open(model.eval(), preprocess=Recipe("unit", divide=255.0, resize="squash", size=(HEIGHT, WIDTH)))
    fm = ls.mean(scope.capture(photo, "1")["1"])
    assert fm.spatial == (HEIGHT // 4, WIDTH // 4)
    grid = fm.unit_grid()
    assert not grid.unknown
    places = [grid.centre(y, x) for y, x in np.argwhere(fm.values[0, ..., 0] > 0)]
    np.testing.assert_allclose(np.mean(places, 0), (12, 86))


def test_a_model_that_takes_channels_last_is_placed_by_rows_and_columns() -> None:
    turned = Step(lambda x: x.permute(0, 3, 1, 2))
    rows = TorchBackend().layers(network((turned, nn.Conv2d(3, 2, 3, 2))), np.zeros((1, 40, 60, 3), np.float32))
    assert [(row.axes, row.lines) for row in rows if row.path in "01"] == [
        ("bchw", (Line(0.5, 1.0), Line(0.5, 1.0))),
        ("bchw", (Line(1.5, 2.0), Line(1.5, 2.0))),
        ("bchw", (Line(1.5, 2.0), Line(1.5, 2.0))),
    ]


@pytest.mark.parametrize(
    "choose",
    [
        lambda x, order: x[:, order[0]],
        lambda x, order: x.gather(1, order[:, :, None].expand(-1, -1, 2)),
        lambda x, order: x.index_select(1, order[0]),
    ],
)
@pytest.mark.parametrize("order", [lambda x: torch.rand(1, 96).argsort(1), lambda x: x.detach().sum(-1).argsort(1)])
def test_an_order_of_tokens_that_is_another_one_in_the_next_run_gives_no_grid(choose: Any, order: Any) -> None:
    """Shuffled by random numbers, as masked autoencoders do, or sorted by what the image is."""
    model = network((conv(1, 2, 8, stride=8), lambda x: choose(tokens(x), order(tokens(x)))))
    layer = TorchBackend().layers(model, np.zeros((1, 1, HEIGHT, WIDTH), np.float32))[-1]
    assert (layer.grid, layer.lines) == (None, None)


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
    pictures = [ls.overlay(fm, alpha=alpha, smooth=smooth, colors="gray", zoom=1) for alpha in (1.0, 0.0)]
    shown, under = (
        picture.rgb()[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width].astype(float).sum(-1)
        for picture in pictures
        for cell in picture.cells
    )
    inside = fm.unit_grid()
    bare = (inside.rows < 0)[:, None] | (inside.columns < 0)[None]
    assert bare.any()  # the edges that no unit lies on
    assert (shown == under)[bare].all()
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


def test_lines_that_a_layer_leaves_out_are_not_those_of_the_fields() -> None:
    """The rows of the map run along another axis than the first receptive field."""
    whole, field = Placement.whole((64, 64), (64, 64)), window(Field(), 4, 4)
    assert UnitGrid.of(whole, (16, 16), (None, None), (field, field)).unknown
    assert not UnitGrid.of(whole, (16, 16), None, (field, field)).unknown
