"""A Flax NNX model: its layers, one as a sheet and with Grad-CAM, despite `nnx.jit` and dropout in training mode."""

from flax import nnx

import layerscope as ls


class Block(nnx.Module):
    def __init__(self, features, out, rngs):
        self.conv = nnx.Conv(features, out, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(out, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(nnx.relu(self.norm(self.conv(x))))


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([Block(3, 16, rngs), Block(16, 32, rngs)])
        self.head = nnx.Linear(32, 10, rngs=rngs)

    @nnx.jit
    def __call__(self, x):
        for block in self.blocks:
            x = nnx.max_pool(block(x), (2, 2), strides=(2, 2))
        return self.head(x.mean((1, 2)))


scope = ls.open(Classifier(nnx.Rngs(0)), preprocess="imagenet", size=96)
print(scope.layers())
fm = scope.capture(ls.demo_photo(), "blocks.1.conv", target=3)["blocks.1.conv"]
print(ls.sheet(fm).save("nnx-conv.png"))
print(ls.overlay(ls.weighted(fm, fm.gradient.mean((0, 1, 2)))).save("nnx-grad-cam.png"))
