"""Pictures that are cut into windows, and attention between channels: no picture of positions, and a note in the table."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision
from helpers.wording import raises, wording
from layerscope.backends.torch import table as torch_table
from layerscope.backends.torch.axes_factors import Part, reshape
from layerscope.backends.torch.backend import TorchBackend

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
torch.set_num_threads(1)
BACKEND = TorchBackend()


def images(size, channels=3):
    return np.random.default_rng(1).standard_normal((1, channels, *size)).astype(np.float32)


def table(model, batch):
    return {layer.path: layer for layer in BACKEND.layers(model.eval(), batch)}


@pytest.fixture(scope="module")
def maxvit():
    torch.manual_seed(0)
    model = torchvision.models.MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 4, 0.0, num_classes=5)
    return table(model, images((32, 32)))


@pytest.mark.parametrize("kind", ["window_attention", "grid_attention"])
def test_windows_of_torchvisions_maxvit_are_no_picture(maxvit, kind):
    base = f"blocks.0.layers.0.layers.{kind}"
    inside = [layer for path, layer in maxvit.items() if path.startswith(f"{base}.") and "departition_op" not in path]
    assert {"attn_layer.1.merge", "mlp_layer.1", "attn_layer.0"} <= {
        layer.path.removeprefix(f"{base}.") for layer in inside
    }
    for layer in inside:
        if layer.shape is not None:
            assert not layer.showable, layer
    wording(maxvit[f"{base}.mlp_layer.1"].note)
    for whole in (base, f"{base}.departition_op"):
        assert (maxvit[whole].axes, maxvit[whole].shape) == ("bchw", (1, 8, 8, 8)), whole


def test_a_map_that_is_one_window_is_no_picture_either(maxvit):
    base = "blocks.1.layers.0.layers.window_attention"
    assert maxvit[f"{base}.mlp_layer.1"].shape == (1, 1, 16, 64)
    assert not maxvit[f"{base}.mlp_layer.1"].showable
    assert maxvit[base].axes == "bchw"


def test_windows_that_are_rows_stay_small_pictures():
    model = timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64, depths=(1, 1, 1, 1), num_classes=5)
    rows = table(model, images((64, 64)))
    attention = rows["stages.0.blocks.0.attn_block.attn"]
    assert (attention.axes, attention.shape[0] > 1, "windows" in attention.note) == ("bhwc", True, True)
    assert rows["stages.0.blocks.0"].axes == "bchw"


class SpaceToDepth(nn.Module):
    """Four neighbours become channels, as in patch merging: a coarser picture, nothing cut up."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        return self.norm(
            x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)
        )


def test_neighbours_that_become_channels_are_a_picture():
    assert (table(SpaceToDepth(), images((8, 12)))["norm"].axes) == "bhwc"


class Tokens(nn.Module):
    """Patches as tokens, and an attention of another library's over them. As many tokens as a head has channels."""

    def __init__(self, attention, tokens_first=True):
        super().__init__()
        self.embed, self.attn = nn.Conv2d(3, 8, 4, 4), attention

    def forward(self, x):
        return self.attn(self.embed(x).flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    "attention",
    [timm.models.xcit.XCA(8, num_heads=2), timm.models.davit.ChannelAttention(8, num_heads=2)],
    ids=["xcit", "davit"],
)
def test_attention_between_channels_is_not_listed_as_attention_between_tokens(attention):
    model = Tokens(attention)
    row = table(model, images((8, 8)))["attn.attention_map"]
    assert row.shape == (1, 2, 4, 4)  # 4 tokens as well: sizes can't tell
    assert (row.attention, row.showable) == (False, False)
    wording(row.note)
    with raises(ls.errors.LayerNotCalled):
        ls.open(model, preprocess=None).capture(images((8, 8)), "attn.attention_map")


def test_attention_between_as_many_tokens_as_channels_is_attention():
    attention = timm.layers.Attention(8, num_heads=2)
    attention.fused_attn = False
    row = table(Tokens(attention), images((8, 8)))["attn.attention_map"]
    assert (row.axes, row.shape) == ("bcqk", (1, 2, 4, 4))


def test_a_reshape_that_cuts_through_parts_is_not_followed():
    whole = ((Part("h", 1, 6),), (Part("w", 1, 6),))
    assert reshape(whole, (9, 4)) is None
    assert reshape(whole, (36,)) == ((Part("h", 1, 6), Part("w", 1, 6)),)


def test_the_dry_run_watches_the_models_own_calls_alone(monkeypatch):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    functions_seen, own = [], []

    class Own(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            own.append(func)
            return func(*args, **(kwargs or {}))

    class Watched(torch_table.DryRunWatch):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            functions_seen.append(func)
            return super().__torch_function__(func, types, args, kwargs)

    monkeypatch.setattr("layerscope.backends.torch.table.DryRunWatch", Watched)
    batch = torch.from_numpy(images((8, 8)))
    with torch.no_grad(), Own():
        model(batch)
    BACKEND.layers(model, batch)
    # Reads of tensors by the hooks would be seen as well: they were 20 times as many, and most of the time.
    assert len(functions_seen) <= len(own) + 20
