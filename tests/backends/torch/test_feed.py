"""PyTorch: what a model is given is what its owner gave, in containers of any depth, and stays as it was."""

import copy
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from helpers.wording import raises
from layerscope.backends.torch.backend import TorchBackend

torch.set_num_threads(1)
BACKEND = TorchBackend()
Pair = namedtuple("Pair", "image other")


def images(count=2):
    return torch.from_numpy(np.random.default_rng(1).standard_normal((count, 3, 8, 8)).astype(np.float32))


class Reads(nn.Module):
    """Runs a convolution on what `read` finds in its arguments, and writes into it."""

    def __init__(self, read):
        super().__init__()
        self.conv, self.read = nn.Conv2d(3, 4, 3), read

    def forward(self, *args, **kwargs):
        return [
            self.conv(image.mul_(2) if image.ndim == 4 else image.mul_(2)[None]) for image in self.read(*args, **kwargs)
        ]


BATCHES = {
    "list of dicts": (
        ([{"image": images()[0]}, {"image": images()[1]}],),
        lambda items: [item["image"] for item in items],
    ),
    "one dict": (({"image": images()},), lambda given: [given["image"]]),
    "dict in a dict": ({"x": {"deep": {"image": images()}}}, lambda x: [x["deep"]["image"]]),
    "list of one": (([images()],), lambda given: [given.pop()]),
    "list of pictures": (
        ([images()[0], images()[1], images()[0, :, :6]],),
        lambda given: [given.pop(0) for _ in range(3)],
    ),
    "tuple": (((images(), 3),), lambda given: [given[0]]),
    "named": ((Pair(images(), None),), lambda given: [given.image]),
    "ordered": ((OrderedDict(b=images(), a=1),), lambda given: [next(iter(given.values()))]),
    "beside numbers": ((images(), 3, "word", None, [1, 2]), lambda x, *rest: [x] * (rest == (3, "word", None, [1, 2]))),
    "twice": ((images(),) * 2, lambda x, y: [x] * (x is y)),
}


@pytest.mark.parametrize("name", BATCHES)
def test_containers_reach_the_model_as_they_are_and_stay_so(name):
    batch, read = BATCHES[name]
    model = Reads(read).eval()
    before = repr(batch)
    with torch.no_grad():
        direct = model(*copy.deepcopy(batch)) if isinstance(batch, tuple) else model(**copy.deepcopy(batch))
    scope = ls.open(model, preprocess=None)
    assert scope.layers(batch)[0].calls == len(direct)
    maps = scope.capture(batch, "conv")
    assert repr(batch) == before
    assert len(maps) == len(direct)
    for fm, output in zip(maps.values(), direct, strict=True):
        np.testing.assert_array_equal(fm.values, output.permute(0, 2, 3, 1).numpy())


class Denoiser(nn.Module):
    """A float32 scale in front of layers of another type; the time step goes through `step`."""

    def __init__(self, kind):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.conv, self.step = nn.Conv2d(3, 4, 3).to(kind), nn.Identity()

    def forward(self, x, step=None):
        out = self.conv(x) * self.scale.to(self.conv.weight.dtype)
        return out if step is None else out + self.step(step).reshape(-1, 1, 1, 1).to(out.dtype)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "step", [torch.tensor([981.0, 999.0]), torch.tensor([981, 7]), np.float32([981, 977])], ids=str
)
def test_tensors_keep_their_type(kind, step):
    batch = images().to(kind), step
    captured = BACKEND.capture(Denoiser(kind).eval(), batch, ["step", "conv"], None)
    np.testing.assert_array_equal(captured["step"].values, np.asarray(step))
    assert captured["conv"].dtype == str(kind).removeprefix("torch.")


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_pictures_get_the_type_of_the_first_layer(kind):
    model = Denoiser(kind).eval()
    for batch in (images().numpy(), images().numpy().astype(np.float64), (images().numpy(), None)):
        captured = BACKEND.capture(model, batch, ["conv"], None)
        with torch.no_grad():
            direct = model.conv(images().to(kind))
        np.testing.assert_array_equal(captured["conv"].values, direct.double().numpy())
    scope = ls.open(model, preprocess="unit", size=16)
    assert scope.capture(ls.demo_photo(), "conv")["conv"].shape == (1, 14, 14, 4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_tensor_that_is_alone_keeps_its_type_up_to_the_first_layer_that_has_another(kind):
    model = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3).to(kind), nn.ReLU()).eval()
    batch = torch.full((1, 3, 8, 8), 981.0)
    captured = BACKEND.capture(model, batch, ["0", "1"], None)
    assert (captured["0"].values == 981).all() and captured["0"].dtype == "float32"
    with torch.no_grad():
        direct = model[1](batch.to(kind))
    np.testing.assert_array_equal(captured["1"].values, direct.double().numpy())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("given", [torch.float32, torch.float64, torch.float16], ids=str)
def test_layers_get_second_inputs_in_their_own_type(given):
    class Styled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.seen, self.style = nn.Conv2d(3, 4, 3), nn.Identity(), nn.Linear(5, 4)

        def forward(self, x, style):
            return self.conv(x) + self.style(self.seen(style))[:, :, None, None]

    model, style = Styled().bfloat16().eval(), torch.randn(2, 5).to(given)
    for second in (style, style.numpy()):
        captured = BACKEND.capture(model, (images().bfloat16(), second), ["seen", "style"], None)
        if second is style:
            np.testing.assert_array_equal(captured["seen"].values, style.numpy())
        np.testing.assert_array_equal(captured["style"].values, model.style(style.bfloat16()).detach().float().numpy())


def test_vectors_of_numpy_fit_a_layer():
    """numpy's own float64 is no wish."""
    seen = []

    class Notes(nn.Module):
        def forward(self, x):
            seen.append(x.dtype)
            return x

    linear = nn.Linear(5, 3)
    vectors = np.random.default_rng(0).standard_normal((2, 5))
    captured = BACKEND.capture(nn.Sequential(Notes(), linear).eval(), (vectors,), [""], None)[""]
    np.testing.assert_allclose(
        captured.values, vectors @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), 1e-4
    )
    assert set(seen) == {torch.float32}, "in front of the first layer as well"


def test_arrays_that_hold_no_row_for_each_image_stay_whole():
    class ZeroShot(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.similarity = nn.Conv2d(3, 8, 4, 4), nn.Identity()

        def forward(self, image, classes):
            return self.similarity(torch.einsum("bdhw,kd->bkhw", self.encoder(image), classes))

    model, (pictures, classes) = ZeroShot().eval(), (images(), torch.randn(5, 8))
    for count in (1, 2, 5):
        batch = pictures, classes[:count]
        layers = {layer.path: layer for layer in BACKEND.layers(model, batch)}
        assert layers["similarity"].shape == (1, count, 2, 2)
        assert layers["encoder"].shape == (1, 8, 2, 2)
        fm = ls.open(model, preprocess=None).capture(batch, "similarity")["similarity"]
        np.testing.assert_array_equal(fm.values, model(*batch).detach().permute(0, 2, 3, 1).numpy())


class Nested:
    """As DETR's `NestedTensor`."""

    def __init__(self, tensors):
        self.tensors = tensors


@pytest.mark.parametrize("wrap", [Nested, lambda image: (Nested(image),), lambda image: Pair(image, None)])
def test_an_object_of_the_models_own_is_its_only_argument(wrap):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, batch):
            return self.conv((batch.tensors if isinstance(batch, Nested) else batch.image).mul_(2))

    net, image = Net().eval(), torch.randn(3, 3, 8, 8)
    scope, before = ls.open(net, preprocess=None), image.clone()
    for batch in (None, 2):
        maps = scope.capture(wrap(image), "conv", batch=batch)
        np.testing.assert_allclose(
            maps["conv"].values, net.conv(before * 2).detach().permute(0, 2, 3, 1), rtol=1e-5, atol=1e-6
        )
    assert torch.equal(image, before)
    assert len(scope.layers(wrap(image))) >= 1


class TimeFirst(nn.Module):
    """A sequence model whose first axis is time; it needs three steps."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 5), nn.Linear(5, 3)

    def forward(self, steps):
        states, _ = self.lstm(steps)
        return self.head(states[0] + states[2])


def test_a_model_that_takes_no_single_row_is_listed_from_the_whole_batch():
    steps = torch.randn(4, 2, 6)
    sequences = TimeFirst().eval()
    values = ls.open(sequences, preprocess=None).capture(steps, "lstm")["lstm"].values
    assert np.allclose(values, sequences.lstm(steps)[0].detach().transpose(0, 1), atol=1e-6)
    with raises(ls.errors.ModelNotReadable):
        ls.open(sequences, preprocess=None).capture(steps[:2], "lstm")


@pytest.mark.limit("nested tensors of PyTorch")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
def test_a_nested_tensor_is_refused_by_its_name(layout):
    images = torch.nested.nested_tensor([torch.rand(3, 8), torch.rand(5, 8)], layout=layout)
    with raises(ls.errors.BadOption):
        ls.open(nn.Linear(8, 4).eval(), preprocess=None).capture(images, "output")
