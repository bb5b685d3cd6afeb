"""A random network of `networks` in Keras."""

import keras

from helpers.networks import weights

K = keras.layers


def build(steps):
    inputs = keras.Input((12, 12, 3))
    return keras.Model(inputs, _run(steps, inputs, K.ReLU(name="act")))


def _run(steps, x, act):
    for step in steps:
        if step.kind == "inner":
            inside = keras.Input(x.shape[1:])
            x = keras.Model(inside, _run(step.branches[0], inside, K.ReLU(name="act")), name=step.name)(x)
        elif step.branches:
            ends = [_run(branch, x, act) for branch in step.branches]
            x = (K.Add if step.kind == "add" else K.Concatenate)(name=step.name)(ends)
        elif step.name == "act":
            x = act(x)
        else:
            x = _layer(step, x)
    return x


def _layer(step, x):
    if step.kind == "conv" and step["padding"]:
        x = K.ZeroPadding2D(step["padding"])(x)
    if step.kind == "head":
        x = K.GlobalAveragePooling2D()(x)
    layer = {
        "conv": lambda: K.Conv2D(
            step["after"], step["kernel"], step["stride"], dilation_rate=step["dilation"], name=step.name
        ),
        "depthwise": lambda: K.DepthwiseConv2D(3, padding="same", name=step.name),
        "transposed": lambda: K.Conv2DTranspose(step["after"], 3, 2, name=step.name),
        "norm": lambda: K.BatchNormalization(epsilon=1e-3, name=step.name),
        "relu": lambda: K.ReLU(name=step.name),
        "pool": lambda: K.MaxPooling2D(2, name=step.name),
        "mean_pool": lambda: K.AveragePooling2D(2, name=step.name),
        "up": lambda: K.UpSampling2D(2, name=step.name),
        "head": lambda: K.Dense(step["units"], name="head"),
    }[step.kind]()
    out = layer(x)
    arrays = weights(step)
    if arrays:
        turned = {
            "conv": (2, 3, 1, 0),
            "depthwise": (2, 3, 0, 1),
            "transposed": (2, 3, 1, 0),
            "head": (1, 0),
            "norm": (0,),
        }
        layer.set_weights(
            [arrays["weight"].transpose(turned[step.kind]), *(arrays[name] for name in arrays if name != "weight")]
        )
    return out
