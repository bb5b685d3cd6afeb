"""Axes, grids and prefix tokens of real architectures: timm, torchvision and transformers, with random weights.

The inputs aren't square, so a map whose axes are read wrong has the wrong proportions; and a bright corner of the image
must come back in that corner.
"""

import functools
from math import isclose

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision
from helpers.wording import wording

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
torchvision = pytest.importorskip("torchvision")
torch.set_num_threads(1)
CLS, REG = ("cls",), ("cls", "reg1", "reg2", "reg3", "reg4")
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
STAGES = {"depths": [1, 1], "num_heads": [2, 2], "embed_dim": 8, "window_size": 4, "patch_size": 4}


def from_timm(name, **options):
    return lambda: timm.create_model(name, **options)


def from_transformers(kind, **options):
    def build():
        config = getattr(transformers, f"{kind.removesuffix('Model')}Config")(**options)
        return getattr(transformers, kind)(config)

    return build


def vit(kind, **options):
    return from_transformers(kind, **{**SIZES, "patch_size": 16, "image_size": (64, 96), **options})


def torchvision_swin():
    return torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 2], [4, 4])


def torchvision_convnext():
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([block(8, 16, 1), block(16, None, 1)])


def torchvision_vit():
    return torchvision.models.VisionTransformer(64, 16, 2, 2, 16, 32)


# (model, its input, the patch embedding, a later layer on the grid, its grid, the names of the prefix tokens)
MODELS = {
    "timm vit": (
        from_timm("vit_tiny_patch16_224", img_size=(64, 96), depth=2),
        (64, 96), "patch_embed", "blocks.1", (4, 6), CLS,
    ),
    "timm deit": (
        from_timm("deit_tiny_distilled_patch16_224", img_size=(64, 96), depth=2),
        (64, 96), "patch_embed", "blocks.1", (4, 6), ("cls", "dist"),
    ),
    "timm dinov2": (
        from_timm("vit_small_patch14_reg4_dinov2", img_size=(56, 84), depth=2),
        (56, 84), "patch_embed", "blocks.1", (4, 6), REG,
    ),
    "timm dinov3": (
        from_timm("vit_small_patch16_dinov3", img_size=(64, 96), depth=2),
        (64, 96), "patch_embed", "blocks.1", (4, 6), REG,
    ),
    "timm beit": (
        from_timm("beit_base_patch16_224", img_size=(64, 96), depth=1),
        (64, 96), "patch_embed", "blocks.0", (4, 6), CLS,
    ),
    "timm siglip": (
        from_timm("vit_base_patch16_siglip_224", img_size=(64, 96), depth=1),
        (64, 96), "patch_embed", "blocks.0", (4, 6), (),
    ),
    "timm swin": (
        from_timm("swin_tiny_patch4_window7_224", img_size=(64, 96), window_size=4, depths=(2, 2, 2, 2)),
        (64, 96), "patch_embed", "layers.1", (8, 12), (),
    ),
    "timm swinv2": (
        from_timm("swinv2_tiny_window8_256", img_size=(64, 96), window_size=4, depths=(2, 2, 2, 2)),
        (64, 96), "patch_embed", "layers.1", (8, 12), (),
    ),
    "timm swinv2 cr": (
        from_timm("swinv2_cr_tiny_224", img_size=(64, 96), window_size=4, depths=(2, 2, 2, 2)),
        (64, 96), "patch_embed", "stages.1", (8, 12), (),
    ),
    "timm convnext": (from_timm("convnext_atto"), (64, 96), "stem", "stages.1", (8, 12), ()),
    "timm pvt": (from_timm("pvt_v2_b0"), (64, 96), "patch_embed", "stages.1", (8, 12), ()),
    "timm mobilevit": (from_timm("mobilevit_xxs"), (64, 96), "stem", "stages.2", (8, 12), ()),
    "timm maxvit": (
        from_timm("maxvit_rmlp_pico_rw_256"),
        (256, 256), "stem", "stages.0.blocks.0.conv", (64, 64), (),
    ),
    "timm coatnet": (
        from_timm("coatnet_nano_rw_224"),
        (224, 224), "stem", "stages.1", (28, 28), (),
    ),
    "torchvision vit": (torchvision_vit, (64, 64), "conv_proj", "encoder", (4, 4), CLS),
    "torchvision swin": (torchvision_swin, (64, 96), "features.0", "features.3", (8, 12), ()),
    "torchvision convnext": (torchvision_convnext, (64, 96), "features.0", "features.3", (8, 12), ()),
    "transformers vit": (vit("ViTModel"), (64, 96), "embeddings.patch_embeddings", "layers.1", (4, 6), CLS),
    "transformers deit": (vit("DeiTModel"), (64, 96), "embeddings.patch_embeddings", "layers.1", (4, 6), ("cls", "dist")),
    "transformers dinov2": (
        vit("Dinov2Model", image_size=96), (64, 96), "embeddings.patch_embeddings", "layer.1", (4, 6), CLS,
    ),
    "transformers dinov2 with registers": (
        vit("Dinov2WithRegistersModel", image_size=96, num_register_tokens=4),
        (64, 96), "embeddings.patch_embeddings", "layer.1", (4, 6), REG,
    ),
    "transformers dinov3": (
        vit("DINOv3ViTModel", image_size=96, num_register_tokens=4),
        (64, 96), "embeddings.patch_embeddings", "layer.1", (4, 6), REG,
    ),
    "transformers beit": (
        vit("BeitModel", image_size=64), (64, 64), "embeddings.patch_embeddings", "layers.1", (4, 4), CLS,
    ),
    "transformers clip": (
        vit("CLIPVisionModel", image_size=64), (64, 64), "embeddings.patch_embedding", "layers.1", (4, 4), CLS,
    ),
    "transformers siglip": (
        vit("SiglipVisionModel", image_size=64), (64, 64), "embeddings.patch_embedding", "layers.1", (4, 4), (),
    ),
    "transformers swin": (
        from_transformers("SwinModel", image_size=(64, 96), **STAGES),
        (64, 96), "embeddings", "encoder", (8, 12), (),
    ),
    "transformers convnext": (
        from_transformers("ConvNextModel", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
        (64, 96), "embeddings", "encoder", (8, 12), (),
    ),
}  # fmt: skip


@functools.cache
def scope_of(name):
    torch.manual_seed(0)
    return ls.open(MODELS[name][0]().eval(), preprocess=None)


@functools.cache
def table_of(name):
    """The layers of a model for three dark images."""
    return scope_of(name).layers(np.concatenate([dark(*MODELS[name][1])] * 3))


@pytest.fixture(scope="module", autouse=True)
def freed():
    yield
    scope_of.cache_clear()
    table_of.cache_clear()


def layer_at(table, end):
    """The layer of that path, or the one whose path ends so."""
    return next(row for row in table if row.path == end or row.path.endswith("." + end))


def dark(height, width):
    return np.zeros((1, 3, height, width), np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_channels_are_those_of_the_module(name):
    """Where the module itself states its number of channels, the axis called c has that size."""
    modules = dict(scope_of(name).model.named_modules())
    checked = 0
    for layer in table_of(name):
        module = modules.get(layer.path)
        known = {
            nn.Linear: "out_features", nn.Conv2d: "out_channels", nn.BatchNorm2d: "num_features",
        }  # fmt: skip
        attribute = known.get(type(module))
        if layer.showable and attribute:
            assert layer.channels == getattr(module, attribute), layer
            checked += 1
        if layer.showable and type(module) is nn.LayerNorm:
            assert layer.channels == module.normalized_shape[-1], layer
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("name", MODELS)
def test_every_map_has_the_proportions_of_the_image(name):
    _, (height, width), *_ = MODELS[name]
    maps = [row for row in table_of(name) if row.showable and len(row.spatial) == 2 and not row.attention]
    assert len(maps) >= 5
    for layer in maps:
        rows, columns = layer.spatial
        if (rows, columns) == (1, 1) or layer.shape[layer.axes.index("b")] != 3:  # windows
            continue
        assert isclose(rows * width, columns * height, rel_tol=0.34 if rows < 4 else 0.01), layer


@pytest.mark.parametrize("name", MODELS)
def test_the_grid_and_the_tokens_in_front_of_it(name):
    *_, end, grid, prefix = MODELS[name]
    table = table_of(name)
    layer = layer_at(table, end)
    assert layer.spatial == grid, layer
    assert layer.prefix == prefix, layer
    assert table.choose("last")[0].spatial[0] > 1
    assert all(not layer.attention for layer in table.choose("stages"))


@pytest.mark.parametrize("name", MODELS)
def test_a_bright_corner_stays_in_its_corner(name):
    _, (height, width), first, end, _, _ = MODELS[name]
    images = np.concatenate([dark(height, width)] * 3)
    step = 14 if height % 16 else 16
    bright = np.random.default_rng(0).normal(size=(3, step, step)) * 4
    images[1, :, :step, -step:] = bright
    images[2, :, -step:, :step] = bright
    paths = [layer_at(table_of(name), path).path for path in (first, end)]
    for path, fm in scope_of(name).capture(images, paths).items():
        changes = np.abs(fm.values[1:] - fm.values[0]).sum(-1)
        assert changes.ndim == 3
        top_right, bottom_left = (np.unravel_index(change.argmax(), change.shape) for change in changes)
        rows, columns = changes.shape[1:]
        assert top_right[0] < rows / 2 and top_right[1] >= columns / 2, path
        assert bottom_left[0] >= rows / 2 and bottom_left[1] < columns / 2, path


def test_a_masked_autoencoder_has_no_grid_and_a_reason():
    torch.manual_seed(0)
    options = {**SIZES, "image_size": 64, "patch_size": 16, "decoder_num_hidden_layers": 1}
    model = transformers.ViTMAEModel(transformers.ViTMAEConfig(**options)).eval()
    table = ls.open(model, preprocess=None).layers(dark(64, 64))
    tokens = [row for row in table if row.axes == "bnc" and "layer" in row.path]
    assert tokens
    for layer in tokens:
        assert layer.grid is None
        wording(layer.note)


def test_tokens_in_the_order_of_windows_are_laid_on_their_grid():
    """Hiera keeps its tokens window by window: a bright patch comes out where it was."""
    model = timm.create_model("hiera_tiny_224", embed_dim=16, num_heads=1, stages=(1, 1, 1, 1))
    scope = ls.open(model, preprocess=None)
    rows = {layer.path: layer for layer in scope.layers(dark(224, 224))}
    assert rows["blocks.0"].grid == (56, 56)
    assert rows["blocks.0"].order
    picture = dark(224, 224)
    picture[:, :, 100:104, 60:64] = 5
    maps = [scope.capture(images, "patch_embed")["patch_embed"].values for images in (picture, dark(224, 224))]
    changed = np.abs(maps[0] - maps[1]).sum(-1)[0]
    assert np.unravel_index(changed.argmax(), changed.shape) == (25, 15)


def test_a_linear_layer_keeps_the_axes_that_it_does_not_touch():
    """CaiT mixes the heads of its attention weights by linear layers: they stay attention weights."""
    model = timm.create_model("cait_xxs24_224", img_size=64, depth=1, embed_dim=16, num_heads=2)
    rows = {layer.path: layer for layer in ls.open(model, preprocess=None).layers(dark(64, 64))}
    assert rows["blocks.0.attn.proj_w"].axes == "bqkc"
    assert rows["blocks.0.attn.attn_drop"].axes == "bcqk"

    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            return self.linear(self.norm(self.conv(x).flatten(2).permute(2, 0, 1)))

    scope = ls.open(SequenceFirst(), preprocess=None)
    assert [layer.axes for layer in scope.layers(dark(8, 12))] == ["bchw", "nbc", "nbc", "nbc"]
    assert scope.capture(np.zeros((2, 3, 8, 12), np.float32), "linear")["linear"].values.shape == (2, 2, 3, 5)


@pytest.mark.parametrize(
    ("build", "last", "stages"),
    [
        (lambda: torchvision.models.resnet18(), "layer4", [32, 16, 8, 4, 2]),
        (torchvision_vit, "encoder", [4]),
        # Its classifier has a 1 × 1 picture, which is not what anybody wants to look at.
        (lambda: torchvision.models.mobilenet_v3_small(), "features", [32, 16, 8, 4, 2]),
        # `stages` is a module there, and the word all the same.
        (from_timm("convnext_atto"), "norm_pre", [16, 8, 4, 2]),
    ],
)
def test_last_and_stages_of_real_models(build, last, stages):
    table = ls.open(build(), preprocess=None).layers(dark(64, 64))
    assert [layer.path for layer in table.choose("last")] == [last]
    assert [layer.spatial for layer in table.choose("stages")] == [(layer, layer) for layer in stages]


def test_a_count_that_does_not_factor_is_a_sequence():
    class Dropped(nn.Module):
        """Keeps 13 of 24 patches, as pruning does."""

        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 8, 16, 16)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
            self.norm = nn.LayerNorm(8)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)[:, :13]
            return self.norm(torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1))

    fm = ls.open(Dropped().eval(), preprocess=None).capture(dark(64, 96), "norm")["norm"]
    assert fm.layer.grid is None
    assert fm.shape == (1, 14, 8)
    assert len(ls.sheet(fm).cells) == 8
