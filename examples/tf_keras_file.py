"""A model saved by tf.keras 2, here an `.h5` file written with tf_keras: one layer as a sheet, and Grad-CAM on the photo.

A `.keras` file and a SavedModel folder are opened in the same way. Files that Keras 3 can't read are read by tf_keras.
"""

import tensorflow as tf
import tf_keras

import layerscope as ls

tf_keras.utils.set_random_seed(0)
layers = tf_keras.layers
photo = tf_keras.Input((150, 226, 3))
x = tf.nn.relu(layers.Conv2D(8, 3, strides=2, name="edges")(photo * 2.0 - 1.0))
x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, name="shapes")(x))
tf_keras.Model(photo, layers.Dense(3, name="head")(x)).save("old.h5", save_format="h5")

scope = ls.open("old.h5", preprocess="unit")
print(scope.facts.framework)
print(scope.layers())
fm = scope.capture(ls.demo_photo(), "shapes", target=0)["shapes"]
print(ls.sheet(fm).save("tf-keras-sheet.png"))
print(ls.overlay(ls.weighted(fm, fm.gradient.mean((0, 1, 2)))).save("tf-keras-grad-cam.png"))
