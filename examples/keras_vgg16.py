"""VGG16 as the base of another model: its layer `block1_conv2` for one photo.

With trained weights instead of `weights=None` the pictures mean something; the calls are the same.
"""

import keras
import numpy as np

import layerscope as ls

photo = ls.demo_photo()
base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
inputs = keras.Input((224, 224, 3))
x = keras.layers.Rescaling(1 / 255)(inputs)
x = keras.layers.GlobalAveragePooling2D()(base(x))
model = keras.Model(inputs, keras.layers.Dense(3)(x))

scope = ls.open(model)
fm = scope.capture(photo, "block1_conv2")["block1_conv2"]
print(fm)
print(ls.sheet(fm).save("keras-sheet.png"))
print(ls.heatmap(ls.mean(fm)).save("keras-mean.png"))
print(ls.heatmap(ls.weighted(fm, np.linspace(-1, 1, 64))).save("keras-weighted.png"))
