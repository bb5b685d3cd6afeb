"""PyTorch: each path of the table leads to what its row shows, whatever the keys of an output and the names of modules are."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls

torch.set_num_threads(1)


class Pyramid(nn.Module):
    """Gives what its children give under other names: `keys` by child."""

    def __init__(self, keys, wrap=lambda parts: parts):
        super().__init__()
        self.keys, self.wrap = keys, wrap
        for width, name in enumerate(keys.values(), 4):
            self.add_module(name, nn.Conv2d(3, width, 3))

    def forward(self, x):
        return self.wrap({key: getattr(self, name)(x) for key, name in self.keys.items()})


class Within(nn.Module):
    """A pyramid beside a module whose path a part of it could have."""

    def __init__(self, keys, wrap):
        super().__init__()
        self.p, self.neck = Pyramid(keys, wrap), nn.Module()
        self.neck.add_module("out", nn.Conv2d(3, 9, 1))

    def forward(self, x):
        self.neck.out(x)
        return self.p(x)


KEYS = {
    "numbers of other children": {"0": "2", "1": "0", "2": "1"},
    "names of children": {"conv2": "conv1", "conv1": "conv2"},
    "names of nobody": {"a": "b", "c": "d"},
    "a child's own": {"weight": "conv", "x": "bias"},
    "a call": {"x:0": "a", "x:1": "b"},
    "points": {"a.b": "a", "c.d": "b"},
    "functions": {"add()": "a", "attention_map": "b"},
}
WRAPS = {
    "dict": lambda parts: parts,
    "in a list": lambda parts: [parts, {key: part * 2 for key, part in parts.items()}],
    "in a dict": lambda parts: {next(iter(parts)): parts},
    "beside": lambda parts: (next(iter(parts.values())) + 1, parts),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("keys", KEYS)
def test_each_row_gives_what_it_shows(keys, wrap):
    model, x = Within(KEYS[keys], WRAPS[wrap]).eval(), torch.randn(2, 3, 8, 8)
    scope = ls.open(model, preprocess=None)
    table = [layer for layer in scope.layers(x) if layer.showable]
    assert Counter(layer.path for layer in table).most_common(1)[0][1] == 1
    outputs = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, inputs, output, name=name: outputs.__setitem__(name, output))
    with torch.no_grad():
        model(x)
    found = 0
    for layer in table:
        (fm,) = scope.capture(x, layer).values()
        assert fm.shape[-1] == layer.channels == scope.capture(x, layer.path)[layer.path].shape[-1]
        kept = outputs.get(layer.path)
        if isinstance(kept, torch.Tensor):
            np.testing.assert_array_equal(fm.values, kept.permute(0, 2, 3, 1).numpy())
            found += 1
    assert found >= len(KEYS[keys]) + 1
    tensors = list(_tensors(outputs["p"]))
    captured = [fm.values for fm in scope.capture(x, [layer for layer in table if layer.kind == "Pyramid"]).values()]
    assert len(captured) == len(tensors)
    for tensor in tensors:
        assert any(np.array_equal(values, tensor.permute(0, 2, 3, 1).numpy()) for values in captured)


def _tensors(output):
    if isinstance(output, torch.Tensor):
        yield output
    else:
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


class Gives(nn.Module):
    """Copies of its input, each so many times as large, in whatever `wrap` makes of them."""

    def __init__(self, wrap):
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(3, 2, 3), wrap

    def forward(self, x):
        x = self.conv(x)
        return self.wrap(*(x * times for times in (1, 2, 3)))


COLLIDING = {
    "a point in a key": lambda a, b, c: {"a.b": a, "a": {"b": b, "c": c}},
    "an index in a key": lambda a, b, c: {"x": [{"y": a}, b], "x[0].y": c},
    "numbers and digits": lambda a, b, c: {0: a, "0": b, 1.5: {"1.5": c}},
    "an answer and its name": lambda a, b, c: {None: a, "None": b, True: c},
}


@pytest.mark.parametrize("wrap", COLLIDING)
def test_keys_that_would_be_read_alike_have_names_of_their_own(wrap):
    model = nn.Sequential(Gives(COLLIDING[wrap]), nn.Identity()).eval()
    model[1].forward = lambda output: next(iter(output.values()))
    image = np.random.default_rng(0).random((1, 3, 6, 6), np.float32)
    maps = ls.open(model, preprocess=None).capture(image, "*")
    named = {path: fm.values for path, fm in maps.items() if path.startswith("0") and "mul" not in path}
    once = named.pop("0.conv")
    factors = [round(float((values / once).mean())) for values in named.values()]
    assert sorted(factors) == [1, 2, 3]
    for path, values in named.items():
        np.testing.assert_array_equal(ls.open(model, preprocess=None).capture(image, path)[path].values, values)
