"""Model input from a function of your own, or from batches that your own code has prepared."""

import numpy as np
from PIL import Image

import layerscope as ls


def prepare(pixels):
    """The model input for one photo, RGB as uint8: here a centre crop, as float32 from −1 to 1, channels first."""
    top, left = (pixels.shape[0] - 224) // 2, (pixels.shape[1] - 224) // 2
    middle = pixels[top : top + 224, left : left + 224]
    return (middle.astype(np.float32).transpose(2, 0, 1) - 127) / 128


scope = ls.open(ls.demo_model(), preprocess=prepare)
fm = scope.capture(ls.demo_photo(), "_conv_stem")["_conv_stem"]
print(ls.sheet(fm).save("own-function.png"))

batch = prepare(np.asarray(Image.open(ls.demo_photo()).convert("RGB")))[None]
scope = ls.open(ls.demo_model(), preprocess=None)  # no photo is read: the batch goes into the model as it is
same = scope.capture(batch, "_conv_stem")["_conv_stem"]
print(ls.heatmap(ls.mean(same)).save("ready-batch.png"))
assert np.array_equal(fm.values, same.values)
