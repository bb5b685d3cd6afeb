"""PyTorch: outputs that a capture hands over as they are, and those that something writes into after all."""

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from layerscope.backends.torch.keeping import Habits

HELD = []
X = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_outputs_are_kept(monkeypatch):
    monkeypatch.setattr("layerscope.backends.torch.recorder.LEAST", 1 << 14)


class Pair(nn.Module):
    """Two convolutions, with something in between them that may write into what the first one gave."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.relu, self.second = nn.ReLU(inplace=True), nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return self.second(self.between(self.norm(self.first(x)), x))


class Counted(Pair):
    def between(self, y, x):
        return self.relu(y)


class Untouched(Pair):
    def between(self, y, x):
        return y.relu()


class PastTheCount(Pair):
    def between(self, y, x):
        y.data.mul_(3)
        return y


class ByNumpy(Pair):
    def between(self, y, x):
        y.numpy()[:] = 7
        return y


class ByOtherTensor(Pair):
    def between(self, y, x):
        other = torch.empty(0)
        other.data = y
        other.mul_(2)
        return y


class Unseen(Pair):
    """Neither the version count nor a watch of functions tells of this."""

    def between(self, y, x):
        torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(y)).mul_(3)
        return y


class OfBright(Pair):
    """Writes for some images alone."""

    def between(self, y, x):
        return y.fill_(5) if x.mean() > 1 else y


class OfBrightPastTheCount(Pair):
    def between(self, y, x):
        if x.mean() > 1:
            y.data.fill_(5)
        return y


class OfBrightUnseen(Pair):
    """Writes for some images alone, by ways that no watch of functions sees, or none that it knows by the tensor's type."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def between(self, y, x):
        if x.mean() > 1:
            self.way(y)
        return y


def by_set(y):
    other = torch.empty(0)
    other.set_(y.detach())
    other.zero_()


def by_operator(y):
    other = torch.empty(0)
    torch.ops.aten.set_.source_Tensor(other, y.detach())
    other.add_(1)


def unwatched(y):
    with torch._C.DisableTorchFunction():
        y.data.mul_(2)


WAYS = {
    "set_": by_set,
    "operator": by_operator,
    "dlpack": lambda y: torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(y.detach())).zero_(),
    "parameter": lambda y: nn.Parameter(y.detach(), requires_grad=False).data[0, 0, 0, :1].fill_(7),
    "storage": lambda y: y.storage().__setitem__(5, 7.0),
    "unwatched": unwatched,
}


class Held(Pair):
    def between(self, y, x):
        HELD.append(y)
        return y


class Remembering(Pair):
    def between(self, y, x):
        self.last = y
        return y


MODELS = [Counted, Untouched, PastTheCount, ByNumpy, ByOtherTensor, Unseen]
MODELS += [OfBright, OfBrightPastTheCount, Held, Remembering]


def by_hand(model, x):
    values = {}

    def hook(name):
        return lambda module, inputs, output: values.__setitem__(name, output.clone().permute(0, 2, 3, 1).numpy())

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return values


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("layers", ["*", ["first", "norm", "second"]], ids=["all", "modules"])
def test_each_capture_gives_what_hooks_that_copy_give(kind, layers):
    torch.manual_seed(0)
    model = kind().eval()
    scope = ls.open(model, preprocess=None)
    for shift in (0, 0, 9, 0, 9):
        wanted = by_hand(model, X + shift)
        maps = scope.capture(X + shift, layers)
        while HELD:
            HELD.pop().fill_(-1)
        for name in ("first", "norm", "second"):
            assert np.array_equal(maps[name].values, wanted[name]), (name, shift)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("way", WAYS)
def test_a_later_image_is_written_to_by_a_way_that_leaves_no_version(way):
    torch.manual_seed(0)
    model = OfBrightUnseen(WAYS[way]).eval()
    scope = ls.open(model, preprocess=None)
    for shift in (0, 0, 9, 0, 9):
        wanted = by_hand(model, X + shift)
        maps = scope.capture(X + shift, ["first", "norm", "second"])
        for name in ("first", "norm", "second"):
            assert np.array_equal(maps[name].values, wanted[name]), (name, shift)


def test_what_nobody_writes_to_is_not_copied():
    model = Untouched().eval()
    scope = ls.open(model, preprocess=None)
    for _ in range(2):
        scope.capture(X, "*")
    kept = {path for path, *_ in Habits.of(model).kept}
    assert {"first:0", "norm:0"} <= kept


class Passing(nn.Module):
    """Layers that give what they were given: the input, a weight, a buffer, a tensor of the layer before."""

    def __init__(self):
        super().__init__()
        self.input, self.conv, self.same, self.flat = nn.Identity(), nn.Conv2d(3, 3, 1), nn.Identity(), nn.Flatten(2)
        self.weight, self.of_weight = nn.Parameter(torch.randn(1, 3, 80, 80)), nn.Identity()
        self.of_buffer, self.of_part = nn.Identity(), nn.Identity()
        self.register_buffer("buffer", torch.randn(1, 3, 80, 80))

    def forward(self, x):
        y = self.same(self.conv(self.input(x))) + self.of_weight(self.weight) + self.of_buffer(self.buffer)
        return self.flat(y) + self.flat(self.of_part(torch.cat([y, y])[:1]))


def test_maps_share_no_memory_that_anybody_could_write_to():
    model, x = Passing().eval(), torch.randn(1, 3, 80, 80)
    scope = ls.open(model, preprocess=None)
    for _ in range(3):
        maps = list(scope.capture(x, "*").values())
    own = [tensor.detach().numpy() for tensor in (*model.parameters(), *model.buffers(), x)]
    assert not any(np.shares_memory(fm.values, array) for fm in maps for array in own)
    shared = [fm for fm in maps if any(fm is not other and np.shares_memory(fm.values, other.values) for other in maps)]
    assert shared, "a layer that passes on what it is given needs no memory of its own"
    for fm in shared:
        with pytest.raises(ValueError, match="WRITEABLE"):
            fm.values.flags.writeable = True


def test_a_part_of_something_larger_does_not_keep_the_rest_of_it():
    model = Passing().eval()
    scope = ls.open(model, preprocess=None)
    for _ in range(3):
        part = scope.capture(torch.randn(1, 3, 80, 80), ["conv", "of_part"])["of_part"].values
    while isinstance(part.base, np.ndarray):
        part = part.base
    owner = part.base
    assert owner.untyped_storage().nbytes() == part.nbytes
