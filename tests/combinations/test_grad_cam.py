"""Class activation maps: number by number against torch-cam, pytorch-grad-cam and Captum, and by hand where none has them."""

from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, wording
from layerscope.core.feature_map import FeatureMap
from layerscope.core.note import kind_of

CLASS = 3


def pair(values, gradient, target="class 3"):
    fm = FeatureMap.of_array(np.asarray(values, np.float32))
    return replace(fm, gradient=np.asarray(gradient, np.float32), provenance={"target": target})


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch", reason="the peers are torch packages")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def model(torch):
    from torch import nn

    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 10, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(360, 20),
        nn.ReLU(),
        nn.Linear(20, 5),
    ).eval()


@pytest.fixture(scope="module")
def images(torch):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def captured(model, images):
    # A layer before the activation has both signs, which the formulas with ratios must stand.
    return ls.open(model, preprocess=None).capture(images, ["4", "5", "8"], target=CLASS)


@pytest.fixture(scope="module")
def steep(model, images):
    """For the peer that adds 1e-6 to what it divides by, which is much beside the square of a small gradient."""
    return ls.open(model, preprocess=None).capture(images, ["4", "5", "8"], target=lambda out: 1000 * out[:, CLASS])


@pytest.mark.parametrize("layer", ["4", "5", "8"])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(ls.grad_cam, "GradCAM"), (ls.layer_cam, "LayerCAM"), (ls.xgrad_cam, "XGradCAM")]
)
def test_as_torch_cam(model, images, captured, layer, ours, theirs):
    methods = pytest.importorskip("torchcam.methods", reason="torch-cam is the peer")
    cams = ours(captured[layer], positive=True).values[..., 0]
    for index, image in enumerate(images):
        tensor = image[None].clone().requires_grad_()
        with getattr(methods, theirs)(model, target_layer=layer) as extractor:
            (expected,) = extractor(CLASS, model(tensor), normalized=False)
        np.testing.assert_allclose(cams[index], expected[0].detach().numpy(), rtol=2e-4, atol=2e-7)


@pytest.mark.parametrize("layer", ["4", "5", "8"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ls.grad_cam, "GradCAM"),
        (ls.grad_cam_pp, "GradCAMPlusPlus"),
        (ls.hires_cam, "HiResCAM"),
        (ls.layer_cam, "LayerCAM"),
        (ls.xgrad_cam, "XGradCAM"),
    ],
)
def test_as_pytorch_grad_cam(model, images, steep, layer, ours, theirs):
    pytest.importorskip(
        "helpers.torchvision_ops", reason="torchvision, which the peer imports, is imported with its help"
    )
    peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is the peer")
    targets = [lambda scores: 1000 * scores[CLASS]] * len(images)
    with getattr(peer, theirs)(model=model, target_layers=[dict(model.named_modules())[layer]]) as cam:
        cam(input_tensor=images, targets=targets)
        hooks = cam.activations_and_grads
        activations, gradients = (arrays[0].numpy() for arrays in (hooks.activations, hooks.gradients))
        expected = cam.get_cam_image(images, cam.target_layers[0], targets, activations, gradients, False)
    cams = ours(steep[layer]).values[..., 0]
    np.testing.assert_allclose(cams, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("layer", ["4", "5", "8"])
def test_as_captum_with_the_sign_kept(model, images, captured, layer):
    attr = pytest.importorskip("captum.attr", reason="Captum is the peer")
    module = dict(model.named_modules())[layer]
    expected = attr.LayerGradCam(model, module).attribute(images, target=CLASS).detach().numpy()
    np.testing.assert_allclose(ls.grad_cam(captured[layer]).values[..., 0], expected[:, 0], rtol=2e-4, atol=2e-7)
    product = attr.LayerGradientXActivation(model, module).attribute(images, target=CLASS).detach().numpy()
    np.testing.assert_allclose(ls.hires_cam(captured[layer]).values[..., 0], product.sum(1), rtol=2e-4, atol=2e-7)


@pytest.mark.parametrize("layer", ["4", "5", "8"])
def test_eigen_cam_as_pytorch_grad_cam_up_to_the_sign(captured, layer):
    pytest.importorskip(
        "helpers.torchvision_ops", reason="torchvision, which the peer imports, is imported with its help"
    )
    svd = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations", reason="pytorch-grad-cam is the peer")
    values = captured[layer].values
    expected = svd.get_2d_projection(np.moveaxis(values, -1, 1).copy())
    maps = ls.eigen_cam(captured[layer], center=True).values[..., 0]
    for ours, theirs in zip(maps, expected, strict=True):
        sign = np.sign((ours * theirs).sum())
        np.testing.assert_allclose(ours, sign * theirs, rtol=1e-3, atol=1e-5)


def test_eigen_cam_as_a_singular_value_decomposition():
    values = np.random.default_rng(1).normal(size=(3, 5, 6, 9)).astype(np.float32)
    for image, cam in zip(values, ls.eigen_cam(values).values, strict=True):
        flat = image.reshape(-1, 9)
        expected = flat @ np.linalg.svd(flat, full_matrices=False)[2][0]
        # Pointing where the channels sum to more.
        expected *= np.sign(expected @ flat.sum(1))
        np.testing.assert_allclose(cam.ravel(), expected, rtol=1e-4, atol=1e-5)


def test_eigen_cam_with_fewer_places_than_channels():
    values = np.random.default_rng(1).normal(size=(1, 2, 3, 40)).astype(np.float32)
    flat = values.reshape(-1, 40)
    expected = flat @ np.linalg.svd(flat, full_matrices=False)[2][0]
    cam = ls.eigen_cam(values).values.ravel()
    np.testing.assert_allclose(cam, expected * np.sign(expected @ flat.sum(1)), rtol=1e-4, atol=1e-5)


def test_eigen_cam_of_broken_places_is_nan():
    values = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
    values[..., 1] = 0  # a dead channel has the weight 0, which looks at no value
    values[0, 1, 2, 1], values[1] = np.inf, np.nan
    cam = ls.eigen_cam(values).values
    assert np.isnan(cam[0, 1, 2]).all() and np.isfinite(cam[0]).sum() == 15
    assert np.isnan(cam[1]).all(), "not zeros, as of a dead layer"


def test_eigen_cam_of_a_dead_layer_is_zero():
    assert not ls.eigen_cam(np.zeros((1, 4, 4, 3))).values.any()


def test_the_formulas_by_hand():
    fm = pair([[[[1.0, 2.0]], [[3.0, 4.0]]]], [[[[1.0, 0.0]], [[1.0, -1.0]]]])
    # mean gradients 1 and -1/2
    assert ls.grad_cam(fm).values.ravel().tolist() == [0.0, 1.0]
    assert ls.hires_cam(fm).values.ravel().tolist() == [1.0, -1.0]
    assert ls.layer_cam(fm).values.ravel().tolist() == [1.0, 3.0]
    # (1·1 + 1·3) / 4 = 1 and (−1·4) / 6 = −2/3
    np.testing.assert_allclose(ls.xgrad_cam(fm).values.ravel(), [1 - 4 / 3, 3 - 8 / 3], rtol=1e-6)
    # channel 0: a = 1 / (2 + 4) at both positions, channel 1: no positive gradient
    np.testing.assert_allclose(ls.grad_cam_pp(fm).values.ravel(), [1 / 3, 1.0], rtol=1e-6)


@pytest.mark.parametrize("method", [ls.grad_cam, ls.grad_cam_pp, ls.xgrad_cam, ls.hires_cam, ls.layer_cam])
@pytest.mark.parametrize("spatial", [(), (5,), (4, 3), (2, 3, 4)])
def test_every_rank(method, spatial):
    random = np.random.default_rng(0)
    values = random.normal(size=(2, *spatial, 6)).astype(np.float32)
    layout = "b" + {0: "", 1: "n", 2: "hw", 3: "dhw"}[len(spatial)] + "c"
    fm = replace(FeatureMap.of_array(values, layout), gradient=random.normal(size=values.shape).astype(np.float32))
    cam = method(fm)
    assert cam.shape == (2, *spatial, 1)
    assert cam.values.dtype == np.float32
    assert np.isfinite(cam.values).all()


def test_no_positive_evidence_is_noted_and_nothing_is_cut_off():
    fm = pair(np.ones((1, 2, 2, 3)), -np.ones((1, 2, 2, 3)), "class 3, dog")
    cam = ls.grad_cam(fm)
    assert (cam.values == -3).all()
    wording(cam.notes, "3", "0")
    cut = ls.grad_cam(fm, positive=True)
    assert not cut.values.any()
    wording(cut.notes, "3", "0")
    wording(" ".join(ls.heatmap(cam).lines))


def test_no_positive_evidence_names_the_images_it_is_missing_in():
    gradient = np.stack([-np.ones((2, 2, 3)), np.ones((2, 2, 3))])
    cam = ls.hires_cam(pair(np.ones((2, 2, 2, 3)), gradient))
    (note,) = [note for note in cam.notes if kind_of(note) == "no-evidence"]
    wording(note, "image 0")
    assert cam.ids[1] not in note


def test_a_map_without_gradients_is_refused_with_a_remedy(captured):
    for content in (np.ones((1, 2, 2, 3)), FeatureMap.of_array(np.ones((1, 2, 2, 3)))):
        with raises(ls.GradientsUnavailable, "target="):
            ls.grad_cam(content)


@pytest.mark.parametrize("method", [ls.grad_cam, ls.hires_cam, ls.layer_cam])
def test_nan_is_not_reported_as_no_evidence(method):
    gradient = np.ones((1, 2, 2, 3))
    gradient[:] = np.nan
    cam = method(pair(np.ones((1, 2, 2, 3)), gradient))
    assert np.isnan(cam.values).all()
    assert "evidence" not in " ".join(cam.notes)


def test_a_combination_is_not_reported_as_lacking_a_target(captured):
    with raises(ls.GradientsUnavailable, "12"):
        ls.grad_cam(ls.mean(captured["5"]))


def test_a_class_token_that_is_picked_leaves_the_patches_without_gradients(torch):
    """Behind the last block of a vision transformer only the class token is passed on: a black map isn't "no evidence"."""
    fm = pair(np.ones((2, 2, 2, 3)), np.stack([np.zeros((2, 2, 3)), -np.ones((2, 2, 3))]), "class 3")
    notes = ls.grad_cam(fm).notes
    wording(notes, "0", "3")
    wording(notes, "3", "1", "0")
    pytest.importorskip("helpers.torchvision_ops", reason="torchvision, which timm imports, is imported with its help")
    timm = pytest.importorskip("timm", reason="a vision transformer")
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=12, num_heads=2, num_classes=5)
    scope = ls.open(model.eval(), preprocess=None)
    maps = scope.capture(torch.randn(1, 3, 32, 32), ["blocks.0", "blocks.1"], target=1)
    (note,) = [note for note in ls.grad_cam(maps["blocks.1"]).notes if kind_of(note) == "zero-gradient"]
    wording(note)
    assert "zero-gradient" not in map(kind_of, ls.grad_cam(maps["blocks.0"]).notes)
    # The mean over noisy inputs doesn't keep what is true of one.
    assert "zero-gradient" not in map(kind_of, ls.grad_cam(maps["blocks.1"], smooth=2).notes)


def test_a_part_of_the_channels_is_noted(model, images):
    fm = ls.open(model, preprocess=None).capture(images, "5", target=CLASS, channels=[1, 4])["5"]
    wording(ls.grad_cam(fm).notes, "2", "12")


def test_a_linear_head_is_explained_wholly_by_hires_cam(torch):
    """Its sum over the positions is the score without the bias: what Draelos and Carin prove."""
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4)).eval()
    image = torch.randn(1, 3, 8, 8)
    fm = ls.open(model, preprocess=None).capture(image, "1", target=2)["1"]
    score = model(image)[0, 2] - model[3].bias[2]
    np.testing.assert_allclose(ls.hires_cam(fm).values.sum(), score.item(), rtol=1e-4)


def test_a_target_by_function_on_a_segmentation(torch):
    """The score of one class inside a region, as for any output that isn't a list of classes."""
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1)).eval()
    image = torch.randn(1, 3, 8, 8)

    def upper_left(output):
        return output[:, 2, :4, :4].sum()

    fm = ls.open(model, preprocess=None).capture(image, "1", target=upper_left)["1"]
    cam = ls.hires_cam(fm)
    weights = model[2].weight.detach().numpy()[2, :, 0, 0]
    expected = fm.values[0] @ weights
    expected[4:] = expected[:, 4:] = 0
    np.testing.assert_allclose(cam.values[0, ..., 0], expected, rtol=1e-5, atol=1e-6)
    assert cam.rule == "HiRes-CAM for upper_left"
    # A class index on a segmentation means that class at every position.
    whole = ls.open(model, preprocess=None).capture(image, "1", target=2)["1"]
    np.testing.assert_allclose(ls.hires_cam(whole).values[0, ..., 0], whole.values[0] @ weights, rtol=1e-5, atol=1e-6)


def test_a_target_by_function_on_detections(torch):
    """Boxes and scores in a dict, the best score of one kind."""
    from torch import nn

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            cells = self.body(x).relu().flatten(2).transpose(1, 2)
            rows = self.head(cells)
            return {"boxes": rows[..., :4], "scores": rows[..., 4]}

    torch.manual_seed(0)
    model, image = Detector().eval(), torch.randn(1, 3, 6, 6)
    fm = ls.open(model, preprocess=None).capture(image, "body", target=lambda out: out["scores"].max(1).values)["body"]
    best = int(model(image)["scores"].argmax())
    inside = ls.hires_cam(fm).values.ravel()
    assert np.flatnonzero(inside).tolist() == [best]
