"""A Flax linen module with its variables: compact submodules by name, in inference mode without a flag."""

import jax
import jax.numpy as jnp
from flax import linen as nn

import layerscope as ls


class Classifier(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        for features in (16, 32):
            x = nn.Conv(features, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10)(x.mean((1, 2)))


model = Classifier()
variables = model.init(jax.random.key(0), jnp.zeros((1, 96, 96, 3)), train=False)
scope = ls.open((model, variables), preprocess="imagenet", size=96)  # or model.bind(variables), or a TrainState
print(scope.layers())
print(ls.sheet(scope.capture(ls.demo_photo(), "Conv_0")["Conv_0"]).save("linen-conv.png"))
