"""PyTorch: calls that are watched without hooks give what hooks give."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from layerscope.backends.torch.backend import TorchBackend
from layerscope.backends.torch.hooks import INSTEAD, add_hook, add_watch, hooked, looks_at_hooks

torch.set_num_threads(1)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()


def by_hand(model, batch):
    """What forward hooks see, by name."""
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            if isinstance(output, torch.Tensor):
                seen[name] = output.clone().numpy()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    return seen


def check(model, batch, paths):
    expected = by_hand(model, batch)
    captured = TorchBackend().capture(model, batch, paths)
    for path in paths:
        np.testing.assert_array_equal(captured[path].values, expected[path])


def test_a_watched_call_goes_no_way_of_hooks():
    model, order = small(), []
    with hooked() as handles:
        handles.append(add_hook(model[0], lambda *_: order.append("hook"), unseen=True))
        handles += add_watch(model[0], lambda *_: order.append("enter"), lambda *_: order.append("leave"), unseen=True)
        assert not model[0]._forward_hooks
        assert not model[0]._forward_pre_hooks
        model(torch.zeros(1, 4))
    assert order == ["enter", "hook", "leave"]
    assert INSTEAD not in vars(model[0])
    model(torch.zeros(1, 4))
    assert len(order) == 3


def test_leaving_is_seen_where_the_module_fails():
    model, order = small(), []
    add_watch(model[0], lambda *_: order.append("enter"), lambda *_: order.append("leave"), unseen=True)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 5))
    assert order == ["enter", "leave"]


@pytest.mark.parametrize("kind", ["pre", "post", "global"])
def test_what_the_users_hooks_change_is_captured(kind):
    model, batch = small(), torch.ones(1, 4)
    if kind == "pre":
        handle = model[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    elif kind == "post":
        handle = model[2].register_forward_hook(lambda module, inputs, output: output + 1)
    else:
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, inputs, output: output + 1 if isinstance(module, nn.Linear) else None
        )
    try:
        changed = by_hand(model, batch)["2"]
        check(model, batch, ["0", "2"])
    finally:
        handle.remove()
    assert not np.array_equal(by_hand(model, batch)["2"], changed)


def test_what_a_module_calls_in_place_of_its_own_code_is_called():
    model, batch = small(), torch.ones(1, 4)
    own = model[2].forward
    setattr(model[2], INSTEAD, lambda x: own(x) + 1)  # as `module.compile()` does
    np.testing.assert_array_equal(
        TorchBackend().capture(model, batch, ["2"])["2"].values, by_hand(small(), batch)["2"] + 1
    )


class OwnCall(nn.Linear):
    def __call__(self, x):
        return self._call_impl(x * 2)


def test_a_call_of_the_users_own_is_watched_by_a_hook():
    model = nn.Sequential(OwnCall(4, 3), nn.ReLU()).eval()
    check(model, torch.ones(1, 4), ["0", "1"])


class Asking(nn.Module):
    """Goes another way without its layers where nobody has put hooks on them, as a copy of torch's own code would."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        if any(len(getattr(module, "_forward_hooks", {})) for module in self.modules()):
            return self.inner(x)
        return x @ self.inner.weight.T + self.inner.bias


def test_models_that_look_at_hooks_get_hooks():
    model = nn.Sequential(Asking()).eval()
    check(model, torch.ones(1, 4), ["0.inner"])
    assert looks_at_hooks(model)
    assert looks_at_hooks(nn.TransformerEncoderLayer(4, 2, 8))
    assert not looks_at_hooks(nn.Sequential(nn.Conv2d(3, 4, 1), nn.MultiheadAttention(4, 2)))


def test_layers_of_a_transformer_are_not_passed_by():
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    check(model, torch.randn(1, 5, 8), ["layers.0.linear1", "layers.1.norm2", "layers.1"])


class Copying(nn.Module):
    """Runs a copy of its layer beside it, made by one of torch's own ways."""

    def __init__(self, deep):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.act = nn.ReLU()
        self.deep = deep

    def forward(self, x):
        other = copy.deepcopy(self.layer) if self.deep else self.layer._replicate_for_data_parallel()
        other._parameters = {name: weight.detach() * 2 for name, weight in self.layer._parameters.items()}
        return self.act(self.layer(x) + other(x))


@pytest.mark.parametrize("deep", [True, False])
def test_a_copy_that_the_forward_makes_of_a_layer_is_no_call_of_it(deep):
    model, batch = Copying(deep).eval(), torch.ones(1, 4)
    rows = {row.path: row for row in TorchBackend().layers(model, batch)}
    assert rows["layer"].calls == 1
    with torch.no_grad():
        expected = model.act(model.layer(batch) + (batch @ model.layer.weight.T + model.layer.bias) * 2)
    got = TorchBackend().capture(model, batch, ["layer", "act"])["act"].values
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5)


def test_models_that_copy_modules_get_hooks():
    assert looks_at_hooks(nn.Sequential(nn.DataParallel(nn.Linear(1, 1))))
