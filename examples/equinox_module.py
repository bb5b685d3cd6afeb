"""An Equinox module that takes one image and has BatchNorm state: layerscope maps it over the batch."""

import equinox as eqx
import jax

import layerscope as ls


class Classifier(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    pool: eqx.nn.MaxPool2d
    head: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(3, 16, 3, padding=1, key=first)
        self.norm = eqx.nn.BatchNorm(16, axis_name="batch", mode="batch")
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.head = eqx.nn.Linear(16, 10, key=second)

    @eqx.filter_jit
    def __call__(self, x, state):
        x, state = self.norm(self.conv(x), state)
        return self.head(self.pool(jax.nn.relu(x)).mean((1, 2))), state


model, state = eqx.nn.make_with_state(Classifier)(jax.random.PRNGKey(0))
scope = ls.open((model, state), preprocess="imagenet", size=96)
print(scope.layers())
print(ls.sheet(scope.capture(ls.demo_photo(), "pool")["pool"]).save("equinox-pool.png"))
