"""Attention weights as layers of their own, each against what the framework itself returns."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision
from helpers.wording import raises, wording

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
WEIGHTS = "kind:AttentionMap"


def pixels(height=64, width=48, images=2):
    return np.random.default_rng(0).standard_normal((images, 3, height, width)).astype(np.float32)


def channels_last(tensor):
    return tensor.detach().permute(0, 2, 3, 1).numpy()


def timm_weights(model, x):
    """The dropout behind the softmax sees the weights when timm's attention isn't fused."""
    weights, handles = [], []
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
            handles.append(module.attn_drop.register_forward_hook(lambda _, __, out: weights.append(out)))
    with torch.no_grad():
        model(torch.from_numpy(x))
    for handle in handles:
        handle.remove()
    return weights


@pytest.mark.parametrize(
    ("name", "options", "prefix"),
    [
        ("vit_tiny_patch16_224", {"img_size": (64, 48)}, ("cls",)),
        ("vit_tiny_patch16_224", {"img_size": (64, 48), "qk_norm": True, "reg_tokens": 2}, ("cls", "reg1", "reg2")),
        ("eva02_tiny_patch14_224", {"img_size": (70, 42), "depth": 2}, ("cls",)),
        ("vit_small_patch16_dinov3", {"img_size": (64, 48), "depth": 2}, ("cls", "reg1", "reg2", "reg3", "reg4")),
    ],
)
def test_timm_fused_and_not(name, options, prefix):
    torch.manual_seed(0)
    model = timm.create_model(name, **{"depth": 2, **options}).eval()
    x = pixels(*options["img_size"])
    scope = ls.open(model, preprocess=None)
    fused = scope.capture(x, WEIGHTS)
    assert list(fused) == ["blocks.0.attn.attention_map", "blocks.1.attn.attention_map"]
    flags = [module.fused_attn for module in model.modules() if hasattr(module, "fused_attn")]
    assert flags == [True, True]
    again = timm_weights(model, x)
    plain = ls.open(model, preprocess=None).capture(x, WEIGHTS)
    for fm, other, own in zip(fused.values(), plain.values(), again, strict=True):
        np.testing.assert_allclose(fm.values, channels_last(own), atol=1e-6)
        assert (other.values == channels_last(own)).all()
        assert fm.layer.prefix == prefix
        wording(fm.layer.note)
        wording(other.layer.note)
        patch = 14 if "14" in name else 16
        assert fm.layer.grid == (options["img_size"][0] // patch, options["img_size"][1] // patch)
        assert ls.attention(fm).shape == (2, *fm.layer.grid, own.shape[1])


SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}


def tiny(kind, **options):
    config = getattr(transformers, f"{kind.removesuffix('Model')}Config")
    torch.manual_seed(0)
    return getattr(transformers, kind)(config(**{**SIZES, **options})).eval()


@pytest.mark.parametrize(
    ("kind", "options", "grid"),
    [
        ("ViTModel", {"image_size": (64, 48), "patch_size": 16}, (4, 3)),
        ("DeiTModel", {"image_size": (64, 48), "patch_size": 16}, (4, 3)),
        ("Dinov2Model", {"image_size": 64, "patch_size": 16}, (4, 3)),
        ("CLIPVisionModel", {"image_size": 64, "patch_size": 16}, (4, 4)),
        ("BeitModel", {"image_size": 64, "patch_size": 16, "use_relative_position_bias": True}, (4, 4)),
        ("SiglipVisionModel", {"image_size": 64, "patch_size": 16, "vision_use_head": False}, (4, 4)),
    ],
)
@pytest.mark.parametrize("way", ["sdpa", "eager"])
def test_transformers_return_the_same(kind, options, grid, way):
    model = tiny(kind, **options)
    x = pixels(grid[0] * 16, grid[1] * 16)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        own = model(torch.from_numpy(x), output_attentions=True).attentions
    assert own is not None
    model.set_attn_implementation(way)
    maps = ls.open(model, preprocess=None).capture(x, WEIGHTS)
    assert len(maps) == len(own) == 2
    for fm, weights in zip(maps.values(), own, strict=True):
        np.testing.assert_allclose(fm.values, channels_last(weights), atol=1e-6)
        assert fm.layer.axes == "bcqk"
        assert fm.layer.grid == grid
        assert ("recomputed" in fm.layer.note) == (way == "sdpa")


def test_windows_are_rows_and_not_a_picture_of_the_image():
    sizes = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    torch.manual_seed(0)
    model = transformers.SwinModel(transformers.SwinConfig(**sizes)).eval()
    x = pixels(64, 64)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        own = model(torch.from_numpy(x), output_attentions=True).attentions
    scope = ls.open(model, preprocess=None)
    maps = list(scope.capture(x, WEIGHTS).values())
    for fm, weights in zip(maps, own, strict=True):
        np.testing.assert_allclose(fm.values, channels_last(weights), atol=1e-6)
    first = maps[0]
    assert first.shape == (2 * 16, 16, 16, 2)
    assert first.layer.grid is None
    wording(first.layer.note, "16")
    assert len(ls.sheet(first, image=17).cells) == 2
    with raises(ls.BadLayout):
        ls.attention(first)


class Encoder(nn.Module):
    """Patches, a class token and the encoder layers of torch, which run fused in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 16, 16)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.encoder(torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1))


def test_the_fused_encoder_layers_of_torch():
    torch.manual_seed(0)
    model, x = Encoder().eval(), pixels()
    scope = ls.open(model, preprocess=None)
    table = {row.path: row for row in scope.layers(x)}
    assert table["encoder.layers.0.self_attn.attention_map"].grid == (4, 3)
    steps = [row.path for row in scope.layers(x) if row.showable]
    assert steps.index("encoder.layers.0.self_attn.attention_map") < steps.index("encoder.layers.0")
    maps = scope.capture(x, [WEIGHTS, "encoder.layers.0"])
    with torch.no_grad():
        tokens = model.patch(torch.from_numpy(x)).flatten(2).transpose(1, 2)
        tokens = torch.cat([model.cls_token.expand(2, -1, -1), tokens], 1)
        for index, layer in enumerate(model.encoder.layers):
            _, own = layer.self_attn(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
            fm = maps[f"encoder.layers.{index}.self_attn.attention_map"]
            np.testing.assert_allclose(fm.values, channels_last(own), atol=1e-6)
            tokens = layer(tokens)
    assert "MultiheadAttention" in fm.layer.note and "need_weights" not in fm.layer.note
    assert fm.layer.prefix == ("cls",)


class Masked(nn.Module):
    """One head group for two of queries, a causal mask or one given, and a scale of its own."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, x):
        q = x.reshape(1, 4, 5, 6)
        k = q[:, ::2] if self.options.get("enable_gqa") else q
        return functional.scaled_dot_product_attention(q, k, k.roll(1, -1), **self.options)


KEEP = torch.ones(5, 5, dtype=torch.bool).tril(1)
KEEP[2] = False


@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": KEEP},
        {"attn_mask": torch.randn(4, 5, 5)},
        {"enable_gqa": True},
    ],
    ids=["causal", "scale", "mask", "bias", "gqa"],
)
def test_the_weights_times_the_values_are_the_fused_result(options):
    """Whatever the options: weights that give torch's own output for any values are torch's own weights."""
    torch.manual_seed(0)
    model, x = Masked(**options), torch.randn(1, 4, 5, 6)
    fm = ls.open(model, preprocess=None).capture(x, "attention_map")["attention_map"]
    v = (x[:, ::2] if "enable_gqa" in options else x).roll(1, -1).numpy()
    v = v.repeat(4 // v.shape[1], axis=1)
    np.testing.assert_allclose(np.einsum("bqkh,bhkd->bhqd", fm.values, v), model(x).numpy(), atol=1e-5)


def test_gradients_of_a_score_with_respect_to_the_weights():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=(64, 48), depth=2, num_classes=3).eval()
    x = pixels()
    scope = ls.open(model, preprocess=None)
    fused = scope.capture(x, WEIGHTS, target=1)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    weights = []
    for block in model.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _, __, out: weights.append(out))
    model(torch.from_numpy(x))[:, 1].sum()
    own = torch.autograd.grad(model(torch.from_numpy(x))[:, 1].sum(), weights[2:])
    for fm, gradient in zip(fused.values(), own, strict=True):
        np.testing.assert_allclose(fm.gradient, channels_last(gradient), atol=1e-5)
        assert np.abs(fm.gradient).max() > 1e-6
    with raises(ls.GradientsUnavailable):
        ls.open(Encoder().eval(), preprocess=None).capture(x, WEIGHTS, target=lambda out: out.sum())


def test_the_run_stops_behind_the_attention_and_leaves_nothing():
    model = timm.create_model("vit_tiny_patch16_224", img_size=(64, 48), depth=2).eval()
    scope, x, ran = ls.open(model, preprocess=None), pixels(), []
    scope.layers(x)
    handle = model.blocks[0].attn.proj.register_forward_hook(lambda *_: ran.append(1))
    scope.capture(x, "blocks.0.attn.attention_map")
    assert not ran
    handle.remove()

    def fail(*_):
        raise RuntimeError("in the middle")

    handle = model.blocks[1].register_forward_hook(fail)
    with raises(ls.ModelNotReadable):
        scope.capture(x, [WEIGHTS, "head"])
    handle.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.overrides._get_current_function_mode() is None
    with raises(ls.LayerNotFound):
        scope.capture(x, "blocks.7.attn.attention_map")


def test_what_attention_makes_of_heads_is_no_picture():
    model = timm.create_model("vit_tiny_patch16_224", img_size=(64, 48), depth=1, qk_norm=True).eval()
    table = {row.path: row for row in ls.open(model, preprocess=None).layers(pixels())}
    for name in ("q_norm", "k_norm"):
        row = table[f"blocks.0.attn.{name}"]
        assert not row.axes
        wording(row.note)


def test_torchvision_asks_for_no_weights_and_they_are_there():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(64, 16, 2, 2, 16, 32).eval()
    x, inputs = pixels(64, 64), []
    handles = [
        block.self_attention.register_forward_pre_hook(lambda module, args: inputs.append((module, args)))
        for block in model.encoder.layers
    ]
    with torch.no_grad():
        model(torch.from_numpy(x))
        for handle in handles:
            handle.remove()
        own = [module(*args, need_weights=True, average_attn_weights=False)[1] for module, args in inputs]
    maps = ls.open(model, preprocess=None).capture(x, WEIGHTS)
    for fm, weights in zip(maps.values(), own, strict=True):
        np.testing.assert_allclose(fm.values, channels_last(weights), atol=1e-6)
        assert (fm.layer.grid, fm.layer.prefix) == ((4, 4), ("cls",))


@pytest.mark.limit("windowed attention")
def test_attention_without_a_grid(limit):
    windowed = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 4}
    masked = {"image_size": 64, "patch_size": 16, "decoder_num_hidden_layers": 1, **SIZES}
    swin = transformers.SwinModel(transformers.SwinConfig(**windowed)).eval()
    mae = transformers.ViTMAEModel(transformers.ViTMAEConfig(**masked)).eval()
    for model in (swin, mae):
        maps = ls.open(model, preprocess=None).capture(pixels(64, 64), "kind:AttentionMap")
        for fm in maps.values():
            assert len(ls.sheet(fm).cells) == fm.shape[-1]
        with limit.raises():
            ls.attention(fm)
        with limit.raises():
            ls.attention_rollout(maps)
    sizes = {"depths": [1], "sr_ratios": [2], "hidden_sizes": [8], "num_attention_heads": [2], "mlp_ratios": [2]}
    segformer = transformers.SegformerConfig(num_encoder_blocks=1, patch_sizes=[3], strides=[4], **sizes)
    model = transformers.SegformerModel(segformer).eval()
    pooled = ls.open(model, preprocess=None).capture(pixels(64, 64), "kind:AttentionMap")
    (fm,) = pooled.values()
    assert fm.shape[1:3] == (256, 64), "queries, and a quarter as many keys"
    assert ls.attention(fm, "mean").shape[1:3] == (8, 8)
    with limit.raises():
        ls.attention_rollout(pooled)
    limit.shows("sheet attention attention_rollout")


@pytest.mark.limit("gradients of `nn.MultiheadAttention`")
def test_gradients_of_torchs_attention(limit):
    scope = ls.open(Encoder().eval(), preprocess=None)
    with limit.raises("MultiheadAttention"):
        scope.capture(pixels(), "kind:AttentionMap", target=lambda out: out.sum())
