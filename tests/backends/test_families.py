"""Families of keras.applications: every one is read, and its last layer with pixels is what Keras itself gives.

Where a stage repeats one kind of block, it has few of them.
"""

from functools import partial

import keras
import numpy as np
import pytest
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.densenet import DenseNet
from keras.src.applications.efficientnet import EfficientNet

import layerscope as ls

pytestmark = [
    pytest.mark.frameworks,
    # Keras's own Variable, when Keras on TensorFlow turns it into an array.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.mark.parametrize(
    ("build", "name", "recipe", "shape"),
    [
        (keras.applications.ResNet50, "resnet50", "caffe", (7, 7, 2048)),
        (keras.applications.MobileNetV2, "mobilenetv2", "tf", (7, 7, 1280)),
        # Its last convolution works on one pixel, which is not what anybody wants to look at.
        (keras.applications.MobileNetV3Small, "MobileNetV3Small", "raw", (7, 7, 576)),
        (partial(EfficientNet, 1.0, 0.3, 224), "efficientnetb0", "raw", (7, 7, 1280)),
        (partial(DenseNet, [2, 2, 2, 2]), "densenet121", "imagenet", (7, 7, 128)),
        (partial(ConvNeXt, [1, 1, 2, 1], [96, 192, 384, 768]), "convnext_tiny", "raw", (7, 7, 768)),
    ],
)
def test_a_family(build, name, recipe, shape):
    keras.utils.set_random_seed(0)
    model = build(weights=None, name=name)
    scope = ls.open(model)
    assert scope.preprocess.name == recipe
    middle = keras.Model(model.inputs, model.layers[len(model.layers) // 2].output)
    assert ls.open(middle).preprocess.name == recipe, "cut in the middle"
    assert scope.plan.known
    (fm,) = scope.capture(ls.demo_photo(), "last").values()
    assert fm.shape == (1, *shape)
    assert len(ls.sheet(fm).cells) == shape[-1]
    # The same input once more, by hand, into Keras's own sub-model.
    from layerscope.inputs import images, preprocess

    batch, _ = preprocess.batch(images.load(ls.demo_photo())[0], scope.preprocess, scope.plan)
    # get_layer() doesn't know operations such as ConvNeXt's additions.
    (step,) = [operation for operation in model.operations if operation.name == fm.layer.path]
    sub_model = keras.Model(model.inputs, step.output)
    expected = np.asarray(keras.ops.convert_to_numpy(sub_model([batch], training=False)))
    np.testing.assert_allclose(fm.values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
