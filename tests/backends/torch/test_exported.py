"""Exported models (`torch.export`) are read as the models they were made from: rows, axes, functions and attention weights."""

import warnings

import numpy as np
import pytest
import torch

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
torch.set_num_threads(1)
IMAGES = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
MODELS = {
    "vit": lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1),
    "swin": lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(1, 1, 1, 1)),
    "torchvision vit": lambda: torchvision.models.VisionTransformer(64, 16, 1, 2, 16, 32),
}


# torch's unflatten trips over its own deprecation
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_model_is_read_as_the_original(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    original = ls.open(model, preprocess=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's exporter, which no user of ours can change
        program = torch.export.export(model, (torch.from_numpy(IMAGES),))
    exported = ls.open(program, preprocess=None)
    before = {layer.path: layer for layer in original.layers(IMAGES) if layer.showable}
    after = {layer.path: layer for layer in exported.layers(IMAGES) if layer.showable}
    inside = [path for path, layer in before.items() if layer.attention or path.endswith("()")]
    assert any(before[path].attention for path in inside)
    assert not set(inside) - set(after)
    for path in before.keys() & after.keys():
        # The grid of tokens that heads were joined to isn't known there: an exported convolution doesn't say its stride.
        for what in ("axes", "shape") if "att" in path or "dropout" in path else ("axes", "shape", "grid", "spatial"):
            assert getattr(after[path], what) == getattr(before[path], what), path
    assert [after[path].kind for path in inside] == [before[path].kind for path in inside]
    assert exported.layers(IMAGES).explained("last") == original.layers(IMAGES).explained("last")
    expected, captures = original.capture(IMAGES, inside), exported.capture(IMAGES, inside)
    for path, fm in expected.items():
        np.testing.assert_allclose(captures[path].values, fm.values, atol=1e-6)


# torch's unflatten trips over its own deprecation
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("kind", ["object", "file"])
def test_the_input_of_an_exported_model_has_the_size_that_it_was_exported_for(kind, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    free = {0: torch.export.Dim("images")}
    for dynamic, first in ((None, 1), ((free,), None)):
        count = 1 if dynamic is None else 2
        program = torch.export.export(model, (torch.zeros(count, 3, 96, 64),), dynamic_shapes=dynamic)
        if kind == "file":
            torch.export.save(program, tmp_path / "small.pt2")
        scope = ls.open(program if kind == "object" else tmp_path / "small.pt2", preprocess="unit")
        (image,) = scope.facts.inputs
        assert (image.axes, image.shape) == ("bchw", (first, 3, 96, 64))
        assert scope.capture([ls.demo_photo()] * 2, "1")["1"].shape == (2, 94, 62, 4)
