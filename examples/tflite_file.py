"""A TFLite file with int8 weights and activations: its layers' values, dequantised, for the photo.

The file is made here with TensorFlow's converter; opening your own .tflite file needs no TensorFlow.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras
import numpy as np
import tensorflow as tf

import layerscope as ls

# Four filters that respond to edges in four directions, and max pooling over 2 × 2 pixels.
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8
filters = np.stack([edge, -edge, edge.T, -edge.T], -1)[:, :, None].repeat(3, 2)
photo = keras.Input((150, 226, 3), name="photo")
edges = keras.layers.Conv2D(4, 3, activation="relu", name="edges")(photo)
model = keras.Model(photo, keras.layers.MaxPooling2D(name="coarse")(edges), name="sobel")
model.get_layer("edges").set_weights([filters, np.zeros(4, np.float32)])

calibration = np.linspace(0, 1, 150 * 226 * 3, dtype=np.float32).reshape(1, 150, 226, 3)
noise = np.random.default_rng(0).random(calibration.shape).astype(np.float32)
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: iter([[calibration], [noise]])
converter.inference_input_type = tf.int8
Path("sobel.tflite").write_bytes(converter.convert())

scope = ls.open("sobel.tflite")  # the range of the quantised input says that pixels go from 0 to 1
print(scope.layers())
fm = scope.capture(ls.demo_photo(), "edges")["sobel/edges"]  # the codes times their scale: real values again
print(ls.sheet(fm, columns=2, scale="layer").save("tflite-edges.png"))
print(ls.overlay(ls.maximum(fm)).save("tflite-overlay.png"))
