"""Models that call a layer once for each image or step: every call comes back, though the table was made from one image."""

import functools
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls

torch.set_num_threads(1)


class Loop(nn.Module):
    """A convolution in a loop over what `parts` makes of the batch."""

    def __init__(self, parts, then=torch.cat):
        super().__init__()
        self.conv, self.act, self.parts, self.then = nn.Conv2d(3, 4, 3), nn.ReLU(), parts, then

    def forward(self, x):
        return self.then([self.act(self.conv(part)) for part in self.parts(x)])


class Cell(nn.Module):
    """A recurrent cell over steps that come first."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(5, 7)

    def forward(self, x):
        state = torch.zeros(x.shape[1], 7)
        for step in x:
            state = self.cell(step, state)
        return state


LOOPS = {
    "image": lambda x: [one[None] for one in x],
    "image without its axis": list,
    "image and its mirror": lambda x: [view for one in x[:, None] for view in (one, one.flip(3))],
    "two at a time": lambda x: x.split(2),
    "halves of each": lambda x: [half for one in x for half in (one[None, :, :5], one[None, :, 3:])],
    "all but the last": lambda x: [one[None] for one in x[: max(1, len(x) - 1)]],
    "all at once": lambda x: [x],
    "all, twice": lambda x: [x, x + 1],
}


def reference(model, x, path):
    """What the framework's own hook sees, `[row, y, x, channel]`, call by call."""
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    with torch.no_grad():
        model(x)
    handle.remove()
    return [(call if call.ndim != 3 else call[None]).movedim(1, -1).numpy() for call in kept]


def batch(count):
    return torch.from_numpy(np.random.default_rng(3).standard_normal((count, 3, 8, 8)).astype(np.float32))


def concatenated(maps):
    return np.concatenate([fm.values for fm in maps.values()])


@pytest.mark.parametrize("size", [None, 2, 1])
@pytest.mark.parametrize("loop", LOOPS)
def test_every_row_of_the_run_comes_back(loop, size):
    then = torch.stack if loop == "image without its axis" else torch.cat
    model, x = Loop(LOOPS[loop], then).eval(), batch(4)
    scope, asked = ls.open(model, preprocess=None), size
    if loop == "all but the last" or (loop == "image without its axis" and size == 1):
        size = None  # there is no row for each image of a part
    for layers in ("conv", ["conv", "act"], "conv"):
        maps = scope.capture(x, layers, batch=asked)
        parts = [x[start : start + (size or 4)] for start in range(0, 4, size or 4)]
        for path in ("conv", "act")[: 1 if layers == "conv" else 2]:
            own = {name: fm for name, fm in maps.items() if name.split(":")[0] == path}
            expected = np.concatenate([call for part in parts for call in reference(model, part, path)])
            got = concatenated(own)
            assert got.shape == expected.shape
            np.testing.assert_array_equal(_rows(got), _rows(expected))


def _rows(values):
    """Rows in an order of their own: several batches are joined call by call."""
    return np.array(sorted(row.tolist() for row in values.reshape(len(values), -1)))


def test_a_call_for_each_image_gives_a_row_for_each_image():
    model, x = Loop(LOOPS["image"]).eval(), batch(4)
    scope = ls.open(model, preprocess=None)
    for channels in (None, [2, 0]):
        fm = scope.capture(x, "conv", channels=channels)["conv"]
        assert fm.rows == "image" and fm.ids == tuple(f"image {index}" for index in range(4))
        expected = np.concatenate(reference(model, x, "conv"))
        np.testing.assert_array_equal(fm.values, expected if channels is None else expected[..., channels])
    assert list(scope.capture(x[:3], "conv")) == list(scope.capture(x[:1], "conv")) == ["conv"]
    assert scope.capture(x, "*")["act"].shape == (4, 6, 6, 4)


def test_other_numbers_of_images_may_be_called_more_often():
    model = Loop(LOOPS["all but the last"]).eval()
    scope = ls.open(model, preprocess=None)
    for count in (2, 4, 2, 3):
        rows = sum(len(fm.values) for fm in scope.capture(batch(count), "conv").values())
        assert rows == count - 1


def test_a_single_call_is_that_call():
    model, x = Loop(LOOPS["image and its mirror"]).eval(), batch(3)
    scope = ls.open(model, preprocess=None)
    calls = reference(model, x, "conv")
    assert list(scope.capture(x, "conv")) == [f"conv:{call}" for call in range(6)]
    for _ in range(2):
        maps = scope.capture(x, "conv:1")
        assert list(maps) == ["conv:1"]
        np.testing.assert_array_equal(maps["conv:1"].values, calls[1])


def test_gradients_of_every_call():
    model, x = Loop(LOOPS["image"], lambda maps: torch.cat(maps).mean((2, 3))).eval(), batch(3)
    fm = ls.open(model, preprocess=None).capture(x, "conv", target=1)["conv"]
    expected = np.zeros((3, 6, 6, 4), np.float32)
    expected[..., 1] = (fm.values[..., 1] > 0) / 36
    np.testing.assert_allclose(fm.gradient, expected, rtol=1e-6)


def test_maps_of_every_call_are_run_again_as_one():
    def scores(together):
        return lambda maps: torch.cat(maps).mean((2, 3)) @ together

    weights, x = torch.randn(4, 3), batch(3)
    loop, whole = (Loop(LOOPS[parts], scores(weights)).eval() for parts in ("image", "all at once"))
    whole.load_state_dict(loop.state_dict())
    one, other = (ls.open(model, preprocess=None).capture(x, "conv", target=1)["conv"] for model in (loop, whole))
    for method in (ls.ablation_cam, ls.score_cam, ls.grad_cam):
        np.testing.assert_allclose(method(one).values, method(other).values, rtol=1e-3, atol=1e-5)


def test_photos_belong_to_their_rows():
    model = Loop(LOOPS["image"]).eval()
    photos = [np.full((20, 20, 3), level, np.uint8) for level in (10, 100, 200)]
    fm = ls.open(model, preprocess="unit", size=8).capture(photos, "conv")["conv"]
    assert [photo.mean() for photo in fm.photos] == [10, 100, 200]
    levels = fm.values.mean((1, 2))
    with torch.no_grad():
        direct = [model.conv(torch.full((1, 3, 8, 8), level / 255)).mean((2, 3)).numpy() for level in (10, 100, 200)]
    np.testing.assert_allclose(levels, np.concatenate(direct), rtol=1e-4)


def test_time_steps_are_calls():
    model = Cell().eval()
    x = torch.randn(6, 2, 5)
    maps = ls.open(model, preprocess=None).capture(x, "cell")
    assert list(maps) == [f"cell:{step}" for step in range(6)]
    for fm, expected in zip(maps.values(), reference(model, x, "cell"), strict=True):
        np.testing.assert_array_equal(fm.values, expected)


def test_a_table_of_positions_runs_once(monkeypatch):
    """A layer that gives the same rows for any number of images costs no second run."""
    model = nn.Module()
    model.table, model.conv = nn.Embedding(9, 3), nn.Conv2d(3, 3, 1)
    model.forward = lambda x: model.conv(x) + model.table(torch.arange(9)).T.reshape(1, 3, 3, 3)
    scope = ls.open(model.eval(), preprocess=None)
    runs = []
    capture = type(scope.backend).capture
    monkeypatch.setattr(
        type(scope.backend), "capture", lambda *args, **options: runs.append(1) or capture(*args, **options)
    )
    for expected in (1, 2, 3):
        maps = scope.capture(torch.randn(4, 3, 3, 3), ["table", "conv"])
        assert len(runs) == expected and len(maps["conv"].ids) == 4


class Depth(nn.Module):
    """A convolution as often as the values say, and a head."""

    def __init__(self, depth):
        super().__init__()
        self.conv, self.head, self.depth, self.ran = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 2, 1), depth, 0

    def forward(self, x):
        for _ in range(self.depth(x)):
            x = torch.tanh(self.conv(x))
        return self.head(x)


DEPTHS = {
    "int": lambda x: int(x.max()),
    "item": lambda x: round(x.max().item()),
    "numpy": lambda x: int(x.numpy().max()),
    "list": lambda x: int(max(x.flatten().tolist())),
    "mask": lambda x: len(x[x >= 1]),
    "size": lambda x: len(torch.zeros(x.max().long())),
    "while": lambda x: next(n for n in range(1, 9) if (x < n + 1).all()),
    "images": lambda x: len(x),
}


def peaks(*values):
    """An image for each value, which is its highest."""
    x = torch.rand(len(values), 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.1
    x[:, 0, 0, 0] = torch.tensor(values, dtype=torch.float32)
    return x


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_call_of_the_run_comes_back_whatever_the_table_knows(depth):
    model = Depth(DEPTHS[depth]).eval()
    kept = ls.open(model, preprocess=None)
    for values in ([2], [1], [4], [1, 3], [3, 1, 2], [1], [1, 1]):
        expected = reference(model, peaks(*values), "conv")
        for scope in (kept, ls.open(model, preprocess=None)):
            for layers in (["conv"], "kind:Conv2d", ["conv", "head"]):
                maps = scope.capture(peaks(*values), layers)
                own = {path: fm for path, fm in maps.items() if path != "head"}
                assert list(own) == ([f"conv:{n}" for n in range(len(expected))] if len(expected) > 1 else ["conv"])
                for fm, call in zip(own.values(), expected, strict=True):
                    np.testing.assert_array_equal(fm.values, call)


def test_the_last_call_is_the_last_of_the_run():
    model = Depth(lambda x: 1 + int(x.max())).eval()
    model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.forward = lambda x: model.head(functools.reduce(lambda y, _: model.conv(y), range(model.depth(x)), x))
    scope = ls.open(model, preprocess=None)
    for values in ([1], [3], [2], [1, 3]):
        assert list(scope.capture(peaks(*values), "last")) == [f"conv:{max(values)}"]


def test_images_with_other_numbers_of_calls_are_joined_call_by_call():
    model = Depth(DEPTHS["int"]).eval()
    scope, x = ls.open(model, preprocess=None), peaks(1, 3, 2, 1)
    for target in (None, lambda output: output.mean((1, 2, 3))):
        maps = scope.capture(x, "conv", batch=1, target=target)
        ids = {path: [int(id.split()[1]) for id in fm.ids] for path, fm in maps.items()}
        assert ids == {"conv:0": [0, 1, 2, 3], "conv:1": [1, 2], "conv:2": [1]}
        assert "not-every-image" in [note.kind for note in maps["conv:2"].notes]
        for path, fm in maps.items():
            for row, image in enumerate(ids[path]):
                call = reference(model, x[image : image + 1], "conv")[int(path[-1])]
                np.testing.assert_array_equal(fm.values[row : row + 1], call)


def test_changed_inputs_may_take_another_number_of_calls():
    model = Depth(DEPTHS["int"]).eval()
    model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    scope = ls.open(model, preprocess=None)
    for first, second in ((1, 3), (3, 1)):
        fm = list(scope.capture(peaks(first), "conv", target=1).values())[-1]
        scope.capture(peaks(second), "conv")
        assert ls.ablation_cam(fm).shape == (1, 6, 6, 1)


def test_a_model_that_reads_no_values_stops_after_the_last_call(monkeypatch):
    ran, relu = [], nn.ReLU.forward
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: ran.append(1) or relu(self, x))
    scope = ls.open(Loop(LOOPS["all, twice"]).eval(), preprocess=None)
    scope.capture(batch(1), "conv")
    ran.clear()
    scope.capture(batch(1), "conv")
    assert len(ran) == 1  # between both calls of the convolution


EXTRA = 0


class Flagged(nn.Module):
    """Calls its layers as its attributes say."""

    more = 0

    def __init__(self):
        super().__init__()
        self.act, self.blocks, self.aux = nn.ReLU(), nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1)]), nn.Conv2d(3, 3, 1)
        self.depth, self.use_aux, self.stages = 2, False, [1]
        self.options, self.config = {"again": 0}, Config()
        self.slots, self.nested, self.kind = Slots(), {"encoder": {"depth": [0]}}, Settings

    def forward(self, x):
        extra = self.more + self.slots.extra + self.nested["encoder"]["depth"][0] + self.kind.extra + EXTRA
        for _ in range(self.depth + sum(self.stages) + self.options["again"] + self.config.extra + extra):
            x = self.act(x)
        if self.use_aux:
            x = self.act(self.aux(x))
        for block in self.blocks:
            x = self.act(block(x))
        return x


class Config:
    """Settings in an object of their own."""

    def __init__(self):
        self.extra = 0


class Slots:
    """Settings without a `__dict__`."""

    __slots__ = ("extra",)

    def __init__(self):
        self.extra = 0


class Settings:
    """Settings in a class."""

    extra = 0


class Set(NamedTuple):
    """What is set for one test, as it isn't the model's alone."""

    owner: Any
    name: str
    value: int


def doubled_act(model):
    forward = model.forward
    model.forward = lambda x: model.act(forward(x))


CHANGES = {
    "number": lambda model: setattr(model, "depth", 4),
    "flag": lambda model: setattr(model, "use_aux", True),
    "list": lambda model: model.stages.append(1),
    "dict": lambda model: model.options.update(again=1),
    "object": lambda model: setattr(model.config, "extra", 1),
    "modules": lambda model: model.blocks.append(nn.Conv2d(3, 3, 1)),
    "the same module again": lambda model: model.blocks.append(model.blocks[0]),
    "forward": doubled_act,
    "an attribute of the class": lambda model: Set(Flagged, "more", 1),
    "an object with slots": lambda model: setattr(model.slots, "extra", 1),
    "three levels deep": lambda model: model.nested["encoder"]["depth"].__setitem__(0, 1),
    "a class of settings": lambda model: Set(Settings, "extra", 1),
    "a name in its file": lambda model: Set(sys.modules[__name__], "EXTRA", 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_changed_between_two_captures(change, monkeypatch):
    model, x = Flagged().eval(), torch.randn(2, 3, 6, 6)
    scope = ls.open(model, preprocess=None)
    before = scope.capture(x, "act")
    scope.capture(x, "act")
    changed = CHANGES[change](model)
    if isinstance(changed, Set):
        monkeypatch.setattr(*changed)
    maps, expected = scope.capture(x, "act"), reference(model, x, "act")
    assert len(expected) > len(before) and list(maps) == [f"act:{index}" for index in range(len(expected))]
    for fm, values in zip(maps.values(), expected, strict=True):
        np.testing.assert_array_equal(fm.values, values)
    assert next(layer.calls for layer in scope.layers(x) if layer.path == "act") == len(expected)


def test_a_table_is_kept_where_a_model_trains_in_between():
    model, x = Flagged(), torch.randn(2, 3, 6, 6)
    scope = ls.open(model, preprocess=None)
    scope.capture(x, "act")
    kept = list(scope._cache.tables.values())
    model.eval()
    model.train()(x).sum().backward()
    scope.capture(x, "act")
    assert [one is other for one, other in zip(kept, scope._cache.tables.values(), strict=True)] == [True]
