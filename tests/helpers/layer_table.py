"""A table of layers that no model has: nested names, calls, another output, a layer that never ran."""

import layerscope as ls


def layer(path, index, shape=(1, 8, 8, 4), kind="Conv2D", calls=1, axes="bhwc", **more):
    if calls == 0:
        return ls.Layer(path, kind, index=index, note=more.pop("note", ""), **more)
    return ls.Layer(path, kind, axes if len(shape) == 4 else "bc", shape, index, calls, **more)


RELU = tuple(layer(f"act/relu:{call}", 4, (1, size, size, 4), "ReLU") for call, size in enumerate((8, 4)))
TABLE = ls.LayerTable(
    [
        layer("vgg16/block1_conv1", 0, (1, 16, 16, 4), "Conv2D+relu"),
        layer("vgg16/block1_conv2", 1, (1, 16, 16, 4), "Conv2D+relu"),
        layer("vgg16/block1_pool", 2, (1, 8, 8, 4), "MaxPooling2D"),
        layer("mobilenetv2_1.00_224/Conv1", 3, (1, 8, 8, 4)),
        layer("act/relu", 4, (1, 8, 8, 4), "ReLU", calls=2, per_call=RELU),
        layer("features.0", 5, (1, 4, 4, 4), aliases=("conv", "getitem_6")),
        layer("features.10", 6, (1, 4, 4, 4)),
        layer("logits_conv", 7, (1, 1, 1, 10)),
        layer("head/pool", 8, (1, 4), "Pool"),
        layer("", 9, (1, 10), "Model"),
        layer("spare", 10, calls=0, note="a container: its members run, not the container itself"),
    ]
)
