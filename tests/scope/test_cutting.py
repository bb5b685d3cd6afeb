"""`batch=` changes no value where arrays or layers hold no row for each image; where images are mixed, it is said."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import layerscope as ls
from helpers.wording import wording
from layerscope.testing import TinyBackend, tiny_model

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


class One(nn.Module):
    """A convolution and what `rule` makes of it."""

    def __init__(self, rule):
        super().__init__()
        self.conv, self.out, self.rule = nn.Conv2d(3, 4, 3), nn.Identity(), rule

    def forward(self, image):
        return self.out(self.rule(self.conv(image)))


NO_ROWS = {
    "a Gram matrix": lambda maps: maps.flatten(1) @ maps.flatten(1).T,
    "the mean of all": lambda maps: maps.mean(0, keepdim=True),
}
MIXED = {
    "what is left without the mean": lambda maps: maps - maps.mean(0),
    "a normalisation over the batch": lambda maps: functional.batch_norm(maps, None, None, training=True),
    "the order of the values": lambda maps: maps.sort(0).values,
}
APART = {
    "each by itself": torch.relu,
    "windows of each image": lambda maps: maps.unfold(2, 3, 3).permute(0, 4, 1, 2, 3).flatten(0, 1),
    "windows, the first of all images in front": lambda maps: torch.cat(maps.chunk(2, 2)),
}


def expected_of(model, batch):
    with torch.no_grad():
        out = model(batch)
    return (out.permute(0, 2, 3, 1) if out.ndim == 4 else out).numpy()


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("rule", NO_ROWS)
def test_a_batch_that_gives_no_row_for_each_image_stays_whole(rule, size, caplog):
    model, batch = One(NO_ROWS[rule]).eval(), torch.randn(5, 3, 8, 8)
    fm = ls.open(model, preprocess=None).capture(batch, "out", batch=size)["out"]
    np.testing.assert_allclose(fm.values, expected_of(model, batch), rtol=1e-4, atol=1e-5)
    wording([record.message for record in caplog.records])


def test_a_sequence_with_its_steps_first_stays_whole():
    model, batch = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    fm = ls.open(model, preprocess=None).capture(batch, "output", batch=2)[""]
    np.testing.assert_allclose(fm.values.transpose(1, 0, 2), model(batch)[0].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
@pytest.mark.parametrize("rule", MIXED)
def test_layers_that_mix_the_images_of_a_batch_say_so(rule, size, caplog):
    model, batch = One(MIXED[rule]).eval(), torch.randn(5, 3, 8, 8)
    maps = ls.open(model, preprocess=None).capture(batch, ["conv", "out"], batch=size)
    parts = [expected_of(model, batch[start : start + size]) for start in range(0, 5, size)]
    np.testing.assert_allclose(maps["out"].values, np.concatenate(parts), rtol=1e-4, atol=1e-5)
    assert not maps["conv"].notes
    assert [note.kind for note in maps["out"].notes] == ["mixed"] * (size < 5)
    wording([*maps["out"].notes, *(record.message for record in caplog.records)])


@pytest.mark.parametrize("rule", APART)
def test_images_that_are_computed_apart_need_no_note(rule, caplog):
    model, batch = One(APART[rule]).eval(), torch.randn(5, 3, 8, 8)
    fm = ls.open(model, preprocess=None).capture(batch, "out", batch=2)["out"]
    assert "mixed" not in [note.kind for note in fm.notes]
    assert not caplog.records


@pytest.mark.parametrize(("size", "noted"), [(1, True), (3, True), (4, True), (5, False), (None, False)])
def test_photos_that_are_mixed_say_how_many_ran_together(size, noted):
    photos = list(np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), np.uint8))
    scope = ls.open(One(MIXED["what is left without the mean"]).eval(), preprocess="unit", size=(8, 8))
    fm = scope.capture(photos, "out", batch=size)["out"]
    assert [note.kind for note in fm.notes] == ["mixed"] * noted
    wording(list(fm.notes))


def test_images_are_compared_once_for_a_table():
    runs = []

    class Counting(TinyBackend):
        def capture(self, model, batch, paths, target=None):
            runs.append(len(batch))
            return super().capture(model, batch, paths, target)

    scope = ls.open(tiny_model(), backend=Counting(), preprocess=None)
    for _ in range(3):
        scope.capture(np.zeros((6, 3, 8, 8), np.float32), "conv1", batch=3)
    assert sorted(runs) == [1, 2, *[3] * 6]
