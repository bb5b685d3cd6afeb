"""Models of transformers and timm as they come: their own preprocessing, labels, outputs; nothing from the network."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision
from helpers.shared import SharedList
from helpers.wording import raises, warns, wording

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
PHOTO = Image.fromarray(data.chelsea())


def saved(folder, kind, processor, **options):
    config = getattr(transformers, f"{kind.removesuffix('ForImageClassification').removesuffix('Model')}Config")
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config(**options)).eval()
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return model


VIT = {**SIZES, "patch_size": 16, "image_size": 64}
PROCESSORS = {
    "ViT, squashed": ("ViTModel", VIT, "ViTImageProcessor", {"size": {"height": 64, "width": 64}}),
    "CLIP, shortest edge and centre crop": (
        "CLIPVisionModel",
        VIT,
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
    ),
    "an odd centre crop": (
        "CLIPVisionModel",
        VIT,
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 67}, "crop_size": {"height": 64, "width": 64}},
    ),
    "ConvNeXT, crop_pct": (
        "ConvNextModel",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 64},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 64}},
    ),
    "DINOv2": (
        "Dinov2Model",
        VIT,
        "BitImageProcessor",
        {"size": {"shortest_edge": 73}, "crop_size": {"height": 64, "width": 64}, "image_std": [0.2, 0.3, 0.4]},
    ),
    "not normalised": (
        "ViTModel",
        VIT,
        "ViTImageProcessor",
        {"size": {"height": 64, "width": 64}, "do_normalize": False},
    ),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_the_batch_is_the_processors_own(case, tmp_path):
    kind, options, name, fields = PROCESSORS[case]
    processor = getattr(transformers, name)(**fields)
    saved(tmp_path, kind, processor, **options)
    scope = ls.open(f"hf:{tmp_path}")
    assert scope.plan.known
    wording(scope.plan.note)
    batches = SharedList()
    handle = scope.model.register_forward_pre_hook(
        lambda _, args, kwargs: batches.append(kwargs["pixel_values"]), with_kwargs=True
    )
    scope.capture(PHOTO, "last")
    handle.remove()
    mine = batches[-1].numpy()
    std = np.array(fields.get("image_std", processor.image_std)) if processor.do_normalize else np.ones(3)
    level = (1 / 255 / std).max()
    pil = getattr(transformers, name + "Pil")(**fields)(PHOTO, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(mine, pil, atol=level * 1e-3)
    # The torchvision backend rounds a resized pixel differently: at most two of 255 levels.
    own = processor(PHOTO, return_tensors="pt")["pixel_values"].numpy()
    np.testing.assert_allclose(mine, own, atol=2.01 * level)


def test_labels_outputs_and_parts(tmp_path):
    options = {**VIT, "id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    model = saved(tmp_path, "ViTForImageClassification", processor, **options)
    scope = ls.open(f"hf:{tmp_path}")
    assert scope.labels == ("cat", "dog")
    pixels = processor(PHOTO, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        own = model(pixels, output_hidden_states=True)
    ready = ls.open(scope.model, preprocess=None)
    np.testing.assert_allclose(ready.capture(pixels.numpy(), "output")[""].values, own.logits, atol=1e-6)
    scope.model.config.output_hidden_states = True
    maps = ls.open(scope.model, preprocess=None).capture(pixels.numpy(), ".hidden_states[1]")
    fm = next(iter(maps.values()))
    assert fm.shape == (1, 4, 4, 24)
    np.testing.assert_allclose(fm.values.reshape(16, 24), own.hidden_states[1][0, 1:], atol=1e-6)
    assert fm.layer.prefix == ("cls",)
    assert scope.predict(PHOTO)[0][0].label in ("cat", "dog")


def test_a_model_object_finds_the_processor_of_its_folder(tmp_path):
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64}, image_mean=[0.1, 0.2, 0.3])
    saved(tmp_path, "ViTModel", processor, **VIT)
    scope = ls.open(transformers.ViTModel.from_pretrained(tmp_path))
    assert scope.preprocess.mean == (0.1, 0.2, 0.3)
    fresh = ls.open(transformers.ViTModel(transformers.ViTConfig(**VIT)))
    assert not fresh.plan.known
    assert fresh.plan.size == (64, 64)


def test_a_processor_with_other_steps_is_not_half_read(tmp_path):
    """An edge without a crop leaves the picture's own proportions, which no fixed input has."""
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, do_center_crop=False)
    saved(tmp_path, "CLIPVisionModel", processor, **VIT)
    assert not ls.open(f"hf:{tmp_path}").plan.known


def test_files_that_are_not_on_this_machine_are_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with raises(ls.ModelNotReadable):
        ls.open("hf:nobody/nothing")
    original = saved(tmp_path, "ViTModel", None, **VIT)
    (tmp_path / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    with warns(ls.RandomWeights, "weights="):
        ls.open(f"hf:{tmp_path}")
    reloaded = ls.open(f"hf:{tmp_path}", weights=tmp_path / "elsewhere.safetensors")
    own = original.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in reloaded.model.state_dict().items())
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "other.pth")
    with raises(ls.ModelNotReadable):
        ls.open(f"hf:{tmp_path}", weights=tmp_path / "other.pth")
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["ViTModel"]


def test_timm_by_name(tmp_path):
    model = timm.create_model("resnet10t")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    scope = ls.open("timm:resnet10t", weights=tmp_path / "w.pth")
    assert torch.equal(scope.model.conv1[0].weight, model.conv1[0].weight)
    assert scope.plan.known
    with warns(ls.RandomWeights, "pretrained=True"):
        ls.open("timm:resnet10t")
    with raises(ls.ModelNotReadable, "'resnet10x'"):
        ls.open("timm:resnet10x")


def test_timm_built_for_another_size_gets_that_size():
    scope = ls.open(timm.create_model("vit_tiny_patch16_224", img_size=(64, 96), depth=1))
    assert scope.plan.size == (64, 96)
    (fm,) = scope.capture(PHOTO, "last").values()
    assert fm.spatial == (4, 6)


@pytest.mark.limit("image processors with steps")
def test_processors_with_other_steps(limit, tmp_path):
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, do_center_crop=False)
    padding = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    for name, kind, image_processor in (("edge", "CLIPVisionModel", processor), ("padded", "ViTModel", padding)):
        saved(tmp_path / name, kind, image_processor, **VIT)
    config = tmp_path / "padded" / "preprocessor_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "do_pad": True}))
    for name in ("edge", "padded"):
        with limit.warns("preprocess="):
            ls.open(f"hf:{tmp_path / name}").capture(ls.demo_photo())


@pytest.mark.limit("`hf:` and `timm:` models")
def test_models_that_are_not_here(limit, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with limit.raises():
        ls.open("hf:nobody/nothing")
    with limit.warns("weights="):
        ls.open("timm:resnet10t")
