"""Other values in place of what PyTorch modules return: tuples, functions, calls, attention, types."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import layerscope as ls
from helpers.shared import SharedList
from helpers.wording import raises
from layerscope.backends.torch.backend import TorchBackend

torch.set_num_threads(1)
BACKEND = TorchBackend()
BATCH = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def added(values: np.ndarray) -> np.ndarray:
    return values + np.array([[1], [2], [3]], np.float32)


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Two(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "dict":
            return {"left": x, "right": 2 * x}
        return Pair(x, 2 * x) if self.kind == "named" else (x, 2 * x)


class Around(nn.Module):
    """Both parts of what a module returns go into the scores."""

    def __init__(self, kind):
        super().__init__()
        self.two, self.kind = Two(kind), kind

    def forward(self, x):
        pair = self.two(x)
        if self.kind == "dict":
            return pair["left"] + 10 * pair["right"]
        if self.kind == "named":
            return pair.left + 10 * pair.right
        return pair[0] + 10 * pair[1]


@pytest.mark.parametrize("kind", ["tuple", "named", "dict"])
def test_one_part_of_what_a_module_returns(kind):
    right = {"tuple": "two[1]", "named": "two.right", "dict": "two.right"}[kind]
    plain = BATCH.numpy()[:, 1] * 21
    for path, factor in (("two", 1), (right, 10)):
        scores = BACKEND.scores(Around(kind), BATCH, 1, {path: added})
        np.testing.assert_allclose(scores, plain + factor * np.array([1, 2, 3]), rtol=1e-5)


def test_a_call_alone_a_function_and_a_residual():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.scale = nn.ReLU(), nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return F.relu(self.relu(self.scale(self.relu(x))) + x)

    torch.manual_seed(0)
    model = Block()
    with torch.no_grad():
        once = model.scale(model.relu(BATCH)).relu()
        plain, twice = F.relu(once + BATCH), F.relu(once + BATCH + 1)
        second, first = F.relu(torch.full_like(once, 2) + BATCH), F.relu(model.scale(torch.ones(3, 4)).relu() + BATCH)
        both = F.relu(torch.ones(3, 4) + BATCH)
    for changes, expected in (
        ({}, plain),
        ({"relu:1": lambda values: values * 0 + 2}, second),
        ({"relu:0": np.ones_like}, first),
        ({"relu": np.ones_like}, both),
        ({"add()": lambda values: values + 1}, twice),
    ):
        np.testing.assert_allclose(BACKEND.scores(model, BATCH, 2, changes), expected[:, 2], rtol=1e-5, atol=1e-6)


def test_what_is_written_in_place_and_read_where_it_stands():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = x + 0
            self.relu(y)
            return y

    assert BACKEND.scores(Reads(), BATCH, 0, {"relu": lambda values: values * 0 + 7}) == [7, 7, 7]


def test_attention_weights():
    class Attention(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = Attention()

        def forward(self, x):
            return self.attn(x).sum((1, 2))

    tokens = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    scores = BACKEND.scores(
        Model(), tokens, 3, {"attn.attention_map": lambda values: values * 0 + np.eye(3, dtype="f4")}
    )
    np.testing.assert_allclose(scores, tokens.sum((1, 2))[:, 3], rtol=1e-5)

    class Multihead(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.mha(x, x, x)[0].mean(1)

    with raises(ls.BadOption):
        BACKEND.scores(Multihead(), tokens[:, 0], 3, {"mha.attention_map": np.zeros_like})


def test_a_model_in_bfloat16_goes_on_in_it():
    model, dtypes = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).bfloat16().train(), SharedList()
    model[1].register_forward_hook(lambda *args: dtypes.append(args[2].dtype))
    BACKEND.layers(
        model, BATCH
    )  # as always before scores: then it is known that the model writes to none of its weights
    dtypes.clear()
    scores = BACKEND.scores(model, BATCH, 1, {"1": np.zeros_like})
    assert scores == [model[2].bias[1].item()] * 3
    assert dtypes == [torch.bfloat16] and all(module.training for module in model.modules())
    assert len(model[1]._forward_hooks) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch.ao and TypedStorage are old
def test_codes_go_on_as_codes():
    class Codes(nn.Module):
        def forward(self, x):
            return torch.quantize_per_tensor(x, 0.5, 3, torch.quint8)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes = Codes()

        def forward(self, x):
            return self.codes(x).dequantize()

    assert BACKEND.scores(Model(), BATCH, 1, {"codes": lambda values: values * 0 + 1.1}) == [1, 1, 1]


def test_a_compiled_model():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    compiled = torch.compile(model, backend="eager")
    compiled(BATCH)
    assert BACKEND.scores(compiled, BATCH, 1, {"1": np.ones_like}) == [1, 1, 1]


def test_targets_that_are_functions_of_every_kind():
    class Detects(nn.Module):
        """A list with a dictionary for each image, with as many boxes as there are images."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Identity()

        def forward(self, x):
            x = self.conv(x)
            return [{"scores": image[:3] * 0 + image.max()} for image in x]

    def best(detections):
        return max((detection["scores"].max() for detection in detections), default=0)

    np.testing.assert_allclose(BACKEND.scores(Detects(), BATCH, best, {}), BATCH.max(1).values)

    class Named(nn.Module):
        def forward(self, x):
            return {"out": x, "aux": None}

    for target in (
        lambda out: out["out"][:, 1],
        lambda out: out["out"][:, 1].sum(),
        lambda out: out["out"].numpy()[:, 1],
        lambda out: float(out["out"][:, 1].sum()),
    ):
        np.testing.assert_allclose(BACKEND.scores(Named(), BATCH, target, {}), BATCH[:, 1])
    for wrong in (
        lambda out: "x",
        lambda out: None,
        lambda out: out["out"],
    ):
        with raises(ls.LayerscopeError):
            BACKEND.scores(Named(), BATCH, wrong, {})


def test_a_kernel_in_training_takes_no_step_of_its_own():
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    torch.manual_seed(0)
    model = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), weight_norm(nn.Conv2d(4, 2, 1))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kernel = BACKEND.kernel(model, "0", None)
    again = BACKEND.kernel(model, "0", None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(kernel.values, again.values)
    np.testing.assert_array_equal(kernel.values, model.eval()[0].weight.detach())
    assert BACKEND.kernel(model, "1", None).values.shape == (2, 4, 1, 1)
