"""A bare array that `plt.imshow` refuses: "Invalid shape (1, 224, 224, 64) for image data"."""

import numpy as np

import layerscope as ls

activations = np.random.default_rng(0).standard_normal((1, 224, 224, 64)).astype(np.float32)
picture = ls.sheet(activations)
print(picture.save("array.png"))
