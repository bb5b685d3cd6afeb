"""Ready batches of several arrays: `batch=` changes no value, whether or not each array holds a row for each image."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import layerscope as ls

torch.set_num_threads(1)


class Two(nn.Module):
    """A convolution and what `rule` makes of it and a second input."""

    def __init__(self, rule):
        super().__init__()
        self.conv, self.out, self.rule = nn.Conv2d(3, 8, 3), nn.Identity(), rule

    def forward(self, image, other):
        return self.out(self.rule(self.conv(image), other))


def memory(maps, other):
    tokens = maps.flatten(2).transpose(1, 2)
    weights = (tokens @ other.T).softmax(-1)
    return weights @ other


def modulated(maps, style):
    count = len(maps)
    weight = style[:, :, None, None, None].expand(count, 8, 1, 3, 3).reshape(count * 8, 1, 3, 3)
    return functional.conv2d(maps.reshape(1, count * 8, 6, 6), weight, groups=count * 8)


RULES = {
    "classes": (lambda maps, other: torch.einsum("bdhw,kd->bkhw", maps, other), (8,)),
    "memory": (memory, (8,)),
    "mean of classes": (lambda maps, other: maps * other.mean(0)[:, None, None], (8,)),
    "a factor for each image": (lambda maps, other: maps * other[:, :, None, None], (8,)),
    "a step for each image": (lambda maps, other: maps + other[:, None, None, None], ()),
    "a style for groups": (modulated, (8,)),
    "a second picture": (
        lambda maps, other: maps + functional.avg_pool2d(other, 3, 1).mean(1, keepdim=True),
        (3, 8, 8),
    ),
}
PER_IMAGE = ("a factor for each image", "a step for each image", "a second picture")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("rows", [4, 3, 7])
@pytest.mark.parametrize("rule", RULES)
def test_values_are_those_of_the_whole_batch(rule, rows, named):
    apply, shape = RULES[rule]
    if rows != 4 and (rule in PER_IMAGE or rule == "a style for groups"):
        rows = 4
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(4, 3, 8, 8, generator=generator), torch.randn(rows, *shape, generator=generator)
    model = Two(apply).eval()
    with torch.no_grad():
        expected = model(*batch)
    expected = (expected.permute(0, 2, 3, 1) if expected.ndim == 4 else expected).numpy()
    scope = ls.open(model, preprocess=None)
    ready = dict(zip(("image", "other"), batch, strict=True)) if named else batch
    for size in (1, 2, 3, None):
        fm = scope.capture(ready, "out", batch=size)["out"]
        # the tokens of the image lie on its grid
        np.testing.assert_allclose(fm.values.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", PER_IMAGE)
def test_rows_of_images_are_run_a_few_at_a_time(rule):
    apply, shape = RULES[rule]
    batch = torch.randn(6, 3, 8, 8), torch.randn(6, *shape)
    scope = ls.open(Two(apply).eval(), preprocess=None)
    assert [maps["out"].shape[0] for maps in scope.stream(batch, "out", batch=4)] == [4, 2]


def test_one_argument_with_several_pictures_is_cut_at_once():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, pictures):
            return [self.conv(picture[None]) for picture in pictures]

    pictures = [torch.randn(3, 8, 8) for _ in range(3)]
    scope = ls.open(Listed().eval(), preprocess=None)
    assert [len(maps) for maps in scope.stream((pictures,), "conv", batch=2)] == [2, 1]
