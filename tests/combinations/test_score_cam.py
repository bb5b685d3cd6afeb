"""Score-CAM and Ablation-CAM against torch-cam and pytorch-grad-cam; averages over noise and mirror images by hand."""

import functools
import inspect
from dataclasses import replace

import numpy as np
import pytest

import layerscope as ls
from helpers.shared import SharedList
from helpers.wording import raises, wording
from layerscope.core.feature_map import FeatureMap
from layerscope.core.note import kind_of

CLASS = 3


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch", reason="the peers are torch packages")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def model(torch):
    from torch import nn

    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(4),
        nn.Conv2d(6, 9, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(9, 5),
    ).eval()
    # So large that the channels differ in their scores, and above 0, where the peer's signs are ours.
    model[7].weight.data *= 30
    model[7].bias.data += 20
    return model


@pytest.fixture(scope="module")
def images(torch):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def scope(model):
    return ls.open(model, preprocess=None, labels=["a", "b", "c", "d", "e"])


@pytest.fixture(scope="module")
def fm(scope, images):
    return scope.capture(images, "4", target=CLASS)["4"]


def test_score_cam_as_torch_cam(model, images, fm):
    methods = pytest.importorskip("torchcam.methods", reason="torch-cam is the peer")
    cams = ls.score_cam(fm, positive=True).values[..., 0]
    for index, image in enumerate(images):
        with methods.ScoreCAM(model, target_layer="4", batch_size=4) as extractor:
            scores = model(image[None])
            (expected,) = extractor(CLASS, scores, normalized=False)
        np.testing.assert_allclose(cams[index], expected[0].detach().numpy(), rtol=1e-3, atol=1e-6)


def test_score_cam_by_hand(torch, model, images, fm):
    """The definition, step by step in torch, for the last channel of the second image."""
    values = torch.from_numpy(np.moveaxis(fm.values[1], -1, 0).copy())
    masks = torch.nn.functional.interpolate(values[None], size=(32, 32), mode="bilinear", align_corners=False)[0]
    low, high = values.amin((1, 2)), values.amax((1, 2))
    masks = (masks - low[:, None, None]) / (high - low).clamp(min=1e-9)[:, None, None]
    with torch.no_grad():
        weights = model(images[1] * masks[:, None])[:, CLASS].softmax(0)
    expected = (weights[:, None, None] * values).sum(0)
    np.testing.assert_allclose(ls.score_cam(fm).values[1, ..., 0], expected.numpy(), rtol=1e-4, atol=1e-6)


def test_scores_that_hardly_differ_are_noted_to_give_the_mean(torch, model, images, fm):
    from torch import nn

    assert "nearly-mean" not in map(kind_of, ls.score_cam(fm).notes)
    soft = nn.Sequential(*model, nn.Softmax(-1))
    flat = ls.open(soft, preprocess=None).capture(images, "4", target=CLASS)["4"]
    cam = ls.score_cam(flat, lambda output: output[:, CLASS] * 0.02)
    mean = flat.values.mean(-1, keepdims=True)
    np.testing.assert_allclose(cam.values, mean, rtol=0.05, atol=0.05 * mean.max())
    (note,) = [note for note in cam.notes if kind_of(note) == "nearly-mean"]
    assert all(id in note for id in cam.ids)
    assert "nearly-mean" not in map(kind_of, ls.score_cam(flat.select([2]), CLASS).notes)


def test_attention_weights_are_no_mask(torch):
    pytest.importorskip("helpers.torchvision_ops", reason="torchvision, which timm imports, is imported with its help")
    timm = pytest.importorskip("timm", reason="a vision transformer")
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, embed_dim=12, num_heads=2, num_classes=5)
    maps = ls.open(model.eval(), preprocess=None).capture(torch.randn(1, 3, 32, 32), "kind:AttentionMap")
    with raises(ls.BadLayout):
        ls.score_cam(next(iter(maps.values())), 1)


def test_a_bfloat16_batch_is_run_again_as_it_was(torch):
    from torch import nn

    torch.manual_seed(1)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    model = nn.Sequential(*layers).eval().to(torch.bfloat16)
    batch = torch.randn(2, 3, 16, 16).to(torch.bfloat16)
    fm = ls.open(model, preprocess=None).capture(batch, "1")["1"]
    with torch.no_grad():
        expected = [int(index) for index in model(batch).argmax(-1)]
    assert [fm.origin.image(index).aimed(None)[0] for index in range(2)] == expected
    np.testing.assert_array_equal(fm.origin.inputs, batch.float().numpy())
    np.testing.assert_array_equal(fm.origin.captured(fm.origin.inputs).values, fm.values)
    assert np.isfinite(ls.score_cam(fm).values).all()


def test_ablation_cam_as_pytorch_grad_cam(model, images, fm):
    pytest.importorskip(
        "helpers.torchvision_ops", reason="torchvision, which the peer imports, is imported with its help"
    )
    peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is the peer")
    targets = [peer.utils.model_targets.ClassifierOutputTarget(CLASS)] * len(images)
    with peer.AblationCAM(model=model, target_layers=[model[4]]) as cam:
        cam(input_tensor=images, targets=targets)
        activations = cam.activations_and_grads.activations[0].numpy()
        expected = cam.get_cam_image(images, model[4], targets, activations, None, False)
    np.testing.assert_allclose(ls.ablation_cam(fm).values[..., 0], expected, rtol=1e-3, atol=1e-6)


def test_ablation_weights_add_up_behind_a_linear_head(model, images, fm):
    """Without a channel the score loses what the head gives it: its weight times its mean."""
    means_of_cam = ls.ablation_cam(fm).values[..., 0].mean((1, 2))
    scores = model(images).detach().numpy()[:, CLASS]
    # Each channel's loss is weight · mean; the map's mean is the sum over channels of loss · mean / score.
    head = model[7].weight.detach().numpy()[CLASS]
    means = fm.values.mean((1, 2))
    np.testing.assert_allclose(means_of_cam, (means**2 * head).sum(1) / np.abs(scores), rtol=1e-4)


def test_another_target_than_the_capture_by_index_label_and_function(scope, images, fm):
    by_index = ls.ablation_cam(fm, 1).values
    np.testing.assert_allclose(ls.ablation_cam(fm, "b").values, by_index)
    np.testing.assert_allclose(ls.ablation_cam(fm, lambda out: out[:, 1]).values, by_index)
    # One number for the whole batch is asked for image by image.
    np.testing.assert_allclose(ls.ablation_cam(fm, lambda out: out[:, 1].sum()).values, by_index)
    assert np.abs(by_index - ls.ablation_cam(fm).values).max() > 1e-3
    assert ls.ablation_cam(fm, 1).rule == 'Ablation-CAM for "b"'


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (None, "class 3"),
        (list("abcde"), '"d"'),
        (list("abdde"), '"d" (class 3)'),
        (["a", "b", "c", "", "e"], "class 3"),
    ],
)
def test_a_class_is_named_by_its_label_and_counted_where_that_is_not_enough(model, images, labels, name):
    scope = ls.open(model, preprocess=None, labels=labels)
    cam = ls.ablation_cam(scope.capture(images[:1], "4", channels=[0])["4"], 3)
    assert cam.rule == f"Ablation-CAM for {name}"
    assert (cam.provenance["target"], cam.provenance["class"]) == (name, 3)


def test_a_class_without_a_label_goes_by_its_number(model, images):
    scope = ls.open(model, preprocess=None, labels=list("abc"))
    with pytest.warns(ls.LayerscopeWarning, match="3 names"):
        cam = ls.ablation_cam(scope.capture(images[:1], "4", channels=[0])["4"], 3)
    assert cam.provenance["target"] == "class 3"


def test_without_a_target_each_image_has_its_own_top_1_class(scope, model, images):
    fm = scope.capture(images, "4")["4"]
    classes = model(images).argmax(1).tolist()
    cam = ls.score_cam(fm)
    for index, target in enumerate(classes):
        np.testing.assert_allclose(cam.values[index], ls.score_cam(fm, target).values[index])


def test_a_target_that_does_not_exist(fm):
    with raises(ls.BadOption, "'bb'", "'b'"):
        ls.score_cam(fm, "bb")
    with raises(ls.BadOption, "5", "0", "4"):
        ls.score_cam(fm, 5)


@pytest.mark.limit("`score_cam`, `ablation_cam` and `smooth=` on a map from a file")
def test_a_map_without_its_model_is_refused_with_a_remedy(fm, limit, tmp_path):
    for content in (
        np.ones((1, 4, 4, 3)),
        FeatureMap.of_array(np.ones((1, 4, 4, 3))),
        ls.load(fm.save(tmp_path / "a.npz")),
    ):
        for method in (ls.score_cam, ls.ablation_cam, functools.partial(ls.grad_cam, smooth=2)):
            with limit.raises():
                method(content)


def test_a_dense_layer_is_no_mask(scope, images):
    dense = scope.capture(images, "7")["7"]
    with raises(ls.BadLayout):
        ls.score_cam(dense)
    assert ls.ablation_cam(dense, 2).shape == (2, 1)


def test_a_dead_channel_is_a_mask_of_zeros(fm, model, images):
    assert np.isfinite(ls.score_cam(fm).values).all()
    dead = replace(fm, values=np.where(np.arange(9) == 2, 0, fm.values).astype(np.float32))
    assert np.isfinite(ls.score_cam(dead).values).all()


@pytest.mark.parametrize("batch", [0, True, 2.5])
def test_a_batch_is_a_whole_number(fm, batch):
    with raises(ls.BadOption, "batch="):
        ls.score_cam(fm, batch=batch)


def test_batches_change_nothing(fm):
    np.testing.assert_allclose(ls.score_cam(fm, batch=4).values, ls.score_cam(fm, batch=100).values, rtol=1e-5)
    np.testing.assert_allclose(ls.ablation_cam(fm, batch=1).values, ls.ablation_cam(fm).values, rtol=1e-5)


@pytest.mark.parametrize("raising", ["scores", "change"])
def test_the_model_is_left_as_found_also_when_it_fails(torch, model, scope, images, fm, raising):
    model.train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def target(output):
        raise RuntimeError("in the middle")

    try:
        run = {
            "scores": lambda: ls.ablation_cam(fm, target),
            "change": lambda: fm.origin.scores(fm.origin.inputs, CLASS, target),
        }[raising]
        with raises(ls.LayerscopeError):
            run()
        assert model.training
        assert all(not module._forward_hooks for module in model.modules())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    finally:
        model.eval()


def test_a_smooth_map_is_the_mean_over_noisy_inputs(scope, images, fm):
    cam = ls.grad_cam(fm, smooth=3, noise=0.2, seed=5)
    random = np.random.default_rng(5)
    image = images[1:].numpy()
    total = 0
    for _ in range(3):
        noisy = image + random.normal(0, 0.2 * (image.max() - image.min()), image.shape).astype(np.float32)
        total = total + ls.grad_cam(scope.capture(noisy.astype(np.float32), "4", target=CLASS)["4"]).values[0]
    np.testing.assert_allclose(cam.values[1], total / 3, rtol=1e-4, atol=1e-6)
    wording(cam.notes, "3", "0.2", "5")
    np.testing.assert_array_equal(cam.values, ls.grad_cam(fm, smooth=3, noise=0.2, seed=5).values)


def test_noisy_inputs_run_some_at_a_time(scope, images, fm, monkeypatch):
    expected = ls.grad_cam(fm, smooth=20, flip=True, seed=5)
    sizes = sizes_of_runs(monkeypatch, "capture")
    cam = ls.grad_cam(fm, smooth=20, flip=True, seed=5)
    assert sizes == [16, 16, 8] * 2
    np.testing.assert_array_equal(cam.values, expected.values)
    # A function that looks at one image alone has no gradient for others beside it.
    of_one = scope.capture(images, "4", target=lambda output: output[0, CLASS])["4"].image(0)
    sizes.clear()
    single = ls.grad_cam(of_one, smooth=20, flip=True, seed=5)
    assert sizes == [1] * 40
    np.testing.assert_allclose(single.values[0], expected.values[0], rtol=1e-4, atol=1e-5)


def sizes_of_runs(monkeypatch, verb):
    """How many images each further run has, once there are any."""
    from layerscope.backends.torch.backend import TorchBackend

    sizes, run = [], getattr(TorchBackend, verb)

    def counted(self, model, batch, *args, **options):
        sizes.append(len(batch))
        return run(self, model, batch, *args, **options)

    monkeypatch.setattr(TorchBackend, verb, counted)
    return sizes


@pytest.mark.parametrize("method", [ls.score_cam, ls.ablation_cam])
def test_as_many_images_run_at_a_time_as_fit_into_memory(fm, monkeypatch, method):
    expected = method(fm.image(0))
    sizes = sizes_of_runs(monkeypatch, "scores")
    method(fm.image(0))
    assert max(sizes) == 9
    sizes.clear()
    # The largest layer has 6 × 32 × 32 values: two of them, and three copies of the input, take 86 kB.
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "200kB")
    few = method(fm.image(0))
    assert max(sizes) == 2
    np.testing.assert_allclose(few.values, expected.values, rtol=1e-4, atol=1e-6)


def test_changed_pixels_of_whole_numbers_do_not_wrap_round(torch):
    from torch import nn

    class Pixels(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.seen = nn.Conv2d(3, 2, 3), SharedList()

        def forward(self, x):
            self.seen.append(x.clone())
            return self.conv(x.float() / 255).mean((2, 3))

    model = Pixels().eval()
    pixels = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    pixels[..., 8:] = 255
    fm = ls.open(model, preprocess=None).capture(pixels, "conv", target=1)["conv"]
    model.seen.clear()
    ls.grad_cam(fm, smooth=3)
    changed = [batch for batch in model.seen if not torch.equal(batch, pixels)]
    assert sum(map(len, changed)) >= 3
    for batch in changed:
        assert batch.dtype == torch.uint8
        # Ten standard deviations of the noise are 255.
        assert batch[..., :8].max() < 128 < batch[..., 8:].min()
    model.seen.clear()
    ls.score_cam(fm, 1)
    masked = max(model.seen, key=len).numpy()
    low, high = fm.values[0].min((0, 1)), fm.values[0].max((0, 1))
    # The corner sees the first unit alone.
    share = (fm.values[0, 0, -1] - low) / (high - low)
    np.testing.assert_array_equal(masked[:, 0, 0, -1], np.rint(share * 255))


def test_a_flipped_map_is_the_mean_with_the_mirrored_image(scope, images, fm):
    cam = ls.eigen_cam(fm, flip=True)
    mirrored = scope.capture(images.flip(3), "4", target=CLASS)["4"]
    expected = (ls.eigen_cam(fm).values + ls.eigen_cam(mirrored).values[:, :, ::-1]) / 2
    np.testing.assert_allclose(cam.values, expected, rtol=1e-5, atol=1e-6)
    wording(cam.notes)


@pytest.mark.parametrize(
    "method",
    [
        ls.grad_cam,
        ls.grad_cam_pp,
        ls.xgrad_cam,
        ls.hires_cam,
        ls.layer_cam,
        ls.eigen_cam,
        ls.score_cam,
        ls.ablation_cam,
    ],
)
def test_every_method_takes_the_averages(fm, method):
    assert {"smooth", "noise", "flip", "seed"} <= set(inspect.signature(method).parameters)
    cam = method(fm.image(0), smooth=2, flip=True)
    assert cam.shape == method(fm.image(0)).shape
    assert not np.array_equal(cam.values, method(fm.image(0)).values)
    assert cam.rule == method(fm.image(0)).rule


@pytest.mark.parametrize(
    "options", [{"smooth": -1}, {"smooth": True}, {"smooth": 2, "noise": 0.0}, {"flip": True, "noise": np.nan}]
)
def test_bad_averages_are_named(fm, options):
    with raises(ls.BadOption):
        ls.grad_cam(fm, **options)


def test_an_average_needs_the_model():
    gradient = np.ones((1, 2, 2, 3), np.float32)
    fm = replace(FeatureMap.of_array(gradient), gradient=gradient)
    with raises(ls.BadOption):
        ls.grad_cam(fm, smooth=2)


def test_a_selection_is_averaged_over_its_own_channels(scope, images, fm):
    some = fm.select([6, 2])
    random = np.random.default_rng(0)
    noisy = images.numpy()[:1]
    noisy = (noisy + random.normal(0, 0.1 * (noisy.max() - noisy.min()), noisy.shape)).astype(np.float32)
    expected = ls.hires_cam(scope.capture(noisy, "4", target=CLASS)["4"].select([6, 2]))
    np.testing.assert_allclose(ls.hires_cam(some.image(0), smooth=1).values, expected.values, rtol=1e-4, atol=1e-6)
    assert ls.ablation_cam(some).shape == (*fm.shape[:-1], 1)


def test_what_was_made_of_a_layer_does_not_run_the_model_again(fm):
    """It would give the layer itself."""
    with raises(ls.BadOption):
        ls.eigen_cam(ls.mean(fm), smooth=2)


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "gives-one-row"])
@pytest.mark.parametrize("method", [ls.score_cam, ls.ablation_cam, ls.grad_cam])
def test_a_model_that_takes_one_image_only_is_run_image_by_image(torch, model, method, refuses):
    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, image):
            if refuses and len(image) > 1:
                raise ValueError("one image at a time")
            return self.net(image)[:1]

    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    options = {"smooth": 3} if method is ls.grad_cam else {}
    expected, got = (
        method(ls.open(net.eval(), preprocess=None).capture(image, layer, target=CLASS)[layer], **options).values
        for net, layer in ((model, "3"), (One(), "net.3"))
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
