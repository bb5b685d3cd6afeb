"""Transforms of torchvision and timm as recipes: the batch is that of the transform itself, and what isn't read is named."""

import enum
import warnings

import numpy as np
import pytest
from skimage import data

from helpers.wording import raises, warns, wording

torch = pytest.importorskip("torch", reason="transforms of torchvision give torch tensors")
from helpers import torchvision_ops  # noqa: F401, E402  # makes torchvision importable

pytest.importorskip("torchvision", reason="its own transforms are what ours are compared with")
from PIL import Image  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.transforms import InterpolationMode as Mode  # noqa: E402
from torchvision.transforms import transforms as v1  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

import layerscope as ls  # noqa: E402
from layerscope.inputs.photo import read  # noqa: E402
from layerscope.inputs.preprocess import InputPlan, batch, choose  # noqa: E402
from layerscope.inputs.transforms import from_transform  # noqa: E402

PHOTOS = [data.chelsea(), data.rocket()[:201], data.astronaut()[:, :301], data.coffee()[:77, :60]]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ours(transform, pixels):
    """The model input that layerscope makes, channels first."""
    recipe, plan = choose(transform, ls.open(torch.nn.Conv2d(3, 1, 1)).facts)
    assert recipe.function is None, recipe.name
    array, _ = batch([read(pixels)], recipe, plan)
    return array[0]


def theirs(transform, pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of read-only arrays, by torch
        return np.asarray(transform(Image.fromarray(pixels)))


@pytest.mark.parametrize("pixels", PHOTOS, ids=["cat", "rocket", "astronaut", "small coffee"])
@pytest.mark.parametrize(
    "weights",
    [
        models.VGG16_Weights.IMAGENET1K_V1,
        models.VGG16_Weights.IMAGENET1K_FEATURES,
        models.ResNet50_Weights.IMAGENET1K_V2,
        models.EfficientNet_B1_Weights.DEFAULT,
        models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1,
    ],
    ids=lambda weights: str(weights),
)
def test_the_model_input_is_that_of_the_weights_own_transforms(weights, pixels):
    for expected in (weights, weights.transforms()):
        np.testing.assert_allclose(ours(expected, pixels), theirs(weights.transforms(), pixels), atol=2e-5)


COMPOSED = {
    "classic": v1.Compose([v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)]),
    "squash": v1.Compose([v1.Resize((96, 128), Mode.BICUBIC), v1.ToTensor()]),
    "nested, minus one to one": v1.Compose([v1.Compose([v1.Resize(40), v1.CenterCrop((32, 36))]), v1.PILToTensor(),
                                            v1.ConvertImageDtype(torch.float32), v1.Normalize(0.5, 0.5)]),
    "v2": v2.Compose([v2.ToImage(), v2.Identity(), v2.ToDtype(torch.float32, scale=True)]),
    "v2 classic": v2.Compose([v2.Resize(232), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
                              v2.Normalize(MEAN, STD)]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_transforms_are_followed_step_by_step(name):
    transform = COMPOSED[name]
    for pixels in PHOTOS:
        np.testing.assert_allclose(ours(transform, pixels), theirs(transform, pixels), atol=2e-5)


def test_timms_transform_is_followed():
    pytest.importorskip("timm", reason="its transform is what ours is compared with")
    from timm.data import create_transform

    transform = create_transform((3, 224, 224), mean=MEAN, std=STD, interpolation="bicubic", crop_pct=0.9)
    recipe = from_transform(transform)
    assert (recipe.mean, recipe.std, recipe.short) == (MEAN, STD, 248)
    np.testing.assert_allclose(ours(transform, PHOTOS[0]), theirs(transform, PHOTOS[0]), atol=2e-5)


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([v1.Resize(64), v1.CenterCrop(64), v1.ToTensor(), v1.Grayscale(3)], "step 3, Grayscale"),
        ([v1.Resize((64, 64)), v1.ToTensor(), lambda image: image * 2], "step 2, function"),
        ([v1.CenterCrop(64), v1.ToTensor()], "step 0, CenterCrop"),
        ([v1.ToTensor(), v1.Resize((64, 64))], "step 1, Resize"),
        ([v1.Resize((64, 64)), v1.PILToTensor()], "doesn't scale"),
        ([v1.Resize((64, 64)), v1.ToTensor(), v1.Normalize(0.1, 2), v1.Normalize(0.1, 2)], "step 3, Normalize"),
    ],
)
def test_steps_that_no_recipe_has_make_it_a_function_and_are_named(steps, named):
    transform = v1.Compose(steps)
    recipe = from_transform(transform)
    assert named in recipe.describe()
    array, _ = batch([read(data.chelsea())], recipe, InputPlan("bchw"))
    np.testing.assert_array_equal(array[0], theirs(transform, data.chelsea()))


def test_the_presets_of_other_tasks_are_functions():
    transform = models.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms()
    assert from_transform(transform).function is not None


def test_the_class_of_the_weights_is_not_one_of_them():
    with raises(ls.PreprocessUnknown):
        from_transform(models.VGG16_Weights)


def test_other_things_are_left_to_others():
    class Colour(enum.Enum):
        RED = 1

    for transform in ("unit", None, Colour.RED, Colour, lambda pixels: pixels, {"mean": 1}):
        assert from_transform(transform) is None


def test_a_model_by_name_has_its_weights_transforms_and_labels(tmp_path):
    torch.manual_seed(0)
    saved = models.squeezenet1_1(weights=None).eval()
    file = tmp_path / "squeeze.pth"
    torch.save(saved.state_dict(), file)
    scope = ls.open("torchvision:squeezenet1_1", weights=file)
    default = models.SqueezeNet1_1_Weights.DEFAULT
    assert scope.labels == tuple(default.meta["categories"])
    assert (scope.preprocess.short, scope.preprocess.size) == (256, (224, 224))
    assert "SqueezeNet1_1_Weights.IMAGENET1K_V1" in repr(scope)
    with torch.no_grad():
        expected = saved(default.transforms()(Image.fromarray(data.chelsea()))[None])
    output = scope.capture(data.chelsea(), "output")[""].values
    np.testing.assert_allclose(output, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_a_model_by_name_without_weights_warns_that_they_are_random(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with warns(ls.RandomWeights):
        ls.open("torchvision:squeezenet1_1")
    with raises(ls.ModelNotReadable, "'resnet81'", "'resnet18'"):
        ls.open("torchvision:resnet81")


def test_given_labels_win_over_those_of_the_weights():
    scope = ls.open(torch.nn.Conv2d(3, 1, 1), preprocess=models.VGG16_Weights.DEFAULT, labels=["one"])
    assert scope.labels == ("one",)
    wording(scope.plan.note)
