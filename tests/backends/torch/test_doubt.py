"""Axes of PyTorch layers that are a guess, those of heads and of recurrent states; doubt goes on to the layers behind."""

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls

pytestmark = pytest.mark.frameworks


def rows(model, *shape):
    torch.manual_seed(0)
    batch = torch.rand(*shape)
    scope = ls.open(model.eval(), preprocess=None)
    return scope, batch, {row.path: row for row in scope.layers(batch)}


class Detour(nn.Module):
    """A layer through numpy, where axes can't be followed."""

    def forward(self, x):
        return torch.as_tensor(x.detach().numpy().reshape(-1, 4, 9, 4))


def test_a_guess_of_axes_is_noted_on_the_maps_and_on_those_behind():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), Detour(), nn.ReLU(), nn.Hardtanh())
    scope, batch, table = rows(model, 2, 3, 8, 8)
    assert [bool(table[path].doubt) for path in "0123"] == [False, True, True, True]
    maps = scope.capture(batch, ["1", "2", "3"])
    assert [[note.kind for note in maps[path].notes] for path in "123"] == [["axes"]] * 3


class Moved(nn.Module):
    """An image whose axes are moved where nothing can be followed."""

    def __init__(self, order, flat=False):
        super().__init__()
        self.order, self.flat = order, flat

    def forward(self, x):
        values = (x.flatten(2) if self.flat else x).detach().numpy()
        return torch.from_numpy(np.ascontiguousarray(values.transpose(self.order)))


class Reader(nn.Module):
    """A function and a module between what is guessed and what reads it."""

    def __init__(self, moved, between, last):
        super().__init__()
        self.moved, self.act, self.between, self.last = moved, nn.GELU(), between, last

    def forward(self, x):
        return self.last(self.between(torch.relu(self.act(self.moved(x))) + 1))


class Turn(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


READERS = {
    "a convolution": (Moved((0, 2, 3, 1)), Turn(), nn.Conv2d(3, 4, 3), "bhwc"),
    "a pool": (Moved((0, 2, 3, 1)), Turn(), nn.MaxPool2d(2), "bhwc"),
    "a convolution as guessed": (Moved((0, 1, 2, 3)), nn.Identity(), nn.Conv2d(3, 4, 3), "bchw"),
    "a convolution of sequences": (Moved((0, 1, 2), flat=True), nn.Identity(), nn.Conv1d(3, 4, 3), "bcn"),
    "steps first": (Moved((2, 0, 1), flat=True), nn.Identity(), nn.LSTM(3, 4), "nbc"),
    "images first": (Moved((0, 2, 1), flat=True), nn.Identity(), nn.GRU(3, 4, batch_first=True), "bnc"),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_a_guess_corrects_it_and_what_it_was_made_into(reader):
    *parts, axes = READERS[reader]
    scope, batch, table = rows(Reader(*parts), 2, 3, 8, 12)
    for path in ("moved", "act", "relu()", "add()"):
        assert (table[path].axes, table[path].doubt) == (axes, "")
    maps = scope.capture(batch, ["moved", "act"])
    image = batch.permute(0, 2, 3, 1).numpy()
    expected = image if len(axes) == 4 else image.reshape(2, -1, 3)
    np.testing.assert_array_equal(maps["moved"].values, expected)
    assert not any(note.kind == "axes" for note in maps["act"].notes)


def test_what_lies_on_the_image_is_no_guess():
    class Largest(nn.Module):
        def forward(self, x):
            return x.max(1)[0]

    _, _, table = rows(nn.Sequential(nn.Conv2d(3, 4, 4, 4), Largest(), nn.Tanh()), 1, 3, 8, 12)
    assert [(table[path].axes, table[path].doubt) for path in "12"] == [("bhw", ""), ("bhw", "")]


def test_steps_that_are_packed_belong_to_no_one_image():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.LSTM(8, 6, batch_first=True)

        def forward(self, x):
            lengths = torch.full((len(x),), x.shape[1])
            packed, _ = self.steps(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))
            return nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]

    scope, batch, table = rows(Packed(), 2, 5, 8)
    assert not table["steps"].showable
    with pytest.raises(ls.LayerNotCalled):
        scope.capture(batch, "steps")
    assert "steps[1][0]" in scope.capture(batch, "*")


def test_attention_to_one_image_without_an_axis_of_images():
    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.MultiheadAttention(8, 2)

        def forward(self, x):
            return self.look(x[0], x[0], x[0])[0]

    scope, batch, table = rows(Alone(), 1, 5, 8)
    assert [table[path].axes for path in ("look", "look[1]", "look.attention_map")] == ["nc", "qk", "cqk"]
    assert scope.capture(batch, "look.attention_map")["look.attention_map"].shape == (1, 5, 5, 2)


def test_a_dimension_of_one_that_is_squeezed_takes_its_axis_along():
    class Steps(nn.Module):
        def forward(self, x):
            return x.squeeze(2).permute(2, 0, 1).log_softmax(2)

    model = nn.Sequential(nn.Conv2d(3, 5, (8, 3)), Steps())
    scope, batch, table = rows(model, 2, 3, 8, 12)
    assert (table["1"].axes, table["1"].doubt) == ("wbc", "")
    with torch.no_grad():
        expected = model(batch).transpose(0, 1).numpy()
    np.testing.assert_array_equal(scope.capture(batch, "1")["1"].values, expected)


def test_a_linear_layer_says_only_where_the_channels_are():
    _, _, table = rows(Reader(Moved((0, 2, 3, 1)), nn.Identity(), nn.Linear(3, 4)), 1, 3, 8, 12)
    assert (table["moved"].axes, table["relu()"].axes) == ("bhwc", "bhwc")
    assert table["moved"].doubt


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_of_recurrent_layers_count_layers_and_directions_whatever_comes_first(recurrent, batch_first):
    model = recurrent(8, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
    scope, batch, table = rows(model, *((3, 9, 8) if batch_first else (9, 3, 8)))
    state = "[1][0]" if recurrent is nn.LSTM else "[1]"
    assert table[""].axes == ("bnc" if batch_first else "nbc")
    assert table[state].axes == "nbc"
    fm = scope.capture(batch, state)[state]
    with torch.no_grad():
        expected = model(batch)[1]
    expected = expected[0] if recurrent is nn.LSTM else expected
    assert np.array_equal(fm.values, expected.transpose(0, 1).numpy())


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.norm, self.drop, self.out = nn.Linear(16, 48), nn.LayerNorm(4), nn.Dropout(), nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = (self.norm(t.reshape(*x.shape[:2], 4, 4).transpose(1, 2)) for t in self.qkv(x).chunk(3, -1))
        weights = self.drop((q @ k.transpose(-1, -2)).softmax(-1))
        return self.out((weights @ v).transpose(1, 2).reshape(x.shape))


class Heads(nn.Module):
    """An unknown layer that gives queries, keys and values of each head, as MONAI's attention has."""

    def forward(self, x):
        return x.reshape(*x.shape[:2], 3, 4, 4).permute(2, 0, 3, 1, 4)


class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch, self.qkv, self.heads, self.out = (
            nn.Conv3d(1, 16, 8, 8),
            nn.Linear(16, 48),
            Heads(),
            nn.Conv3d(16, 2, 1),
        )

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.heads(self.qkv(tokens))
        tokens = tokens + nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(tokens.transpose(1, 2).reshape(-1, 16, 2, 2, 2))


def test_heads_are_no_axis_of_the_image():
    patches = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(2))
    model = nn.Sequential(patches, Transposed(), Mixer())
    scope, batch, table = rows(model, 1, 3, 32, 32)
    assert (table["2.norm"].axes, table["2.drop"].axes) == ("bdnc", "bcqk")
    assert list(scope.capture(batch, "stages")) == ["2"]


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


@pytest.mark.parametrize("volumes", [1, 2])
def test_heads_of_an_unknown_layer_are_no_volume(volumes):
    scope, batch, table = rows(Volumes(), volumes, 1, 16, 16, 16)
    assert not table["heads"].showable
    assert table["qkv"].grid == (2, 2, 2)
    stages = scope.capture(batch, "stages")
    assert list(stages) == ["out"]
    assert stages["out"].shape == (volumes, 2, 2, 2, 2)


class StepsFirst(nn.Module):
    """A recurrent layer over steps that come first, an attention, and the last step alone."""

    def __init__(self):
        super().__init__()
        self.steps, self.attention, self.head = nn.GRU(8, 6), nn.TransformerEncoderLayer(6, 2, 8), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.attention(self.steps(x)[0])[-1])


def test_images_behind_their_steps_are_no_windows():
    scope, batch, table = rows(StepsFirst(), 9, 3, 8)
    assert not any("windows" in layer.note for layer in scope.layers(batch))
    assert [table[path].shape for path in ("steps", "attention.linear1", "head")] == [(1, 1, 6), (1, 1, 8), (1, 3)]
    assert scope.capture(batch, "attention")["attention"].shape == (3, 9, 6)


AFTER = {
    "columns stacked as rows": (lambda y: torch.stack(y.unbind(3), 2), "bcwh", False),
    "indices stacked": (lambda y: torch.stack([y[..., column] for column in range(y.shape[3])], dim=-2), "bcwh", False),
    "single images stacked": (lambda y: torch.stack(list(y)), "bchw", False),
    "a copy in another order": (lambda y: torch.transpose_copy(y, 2, 3), "bcwh", False),
    "other strides": (lambda y: y.as_strided((1, 4, 8, 8), (256, 64, 1, 8)).relu(), "bcwh", False),
    "rows that overlap": (lambda y: y.as_strided((1, 4, 8, 8), (256, 63, 8, 1)), "bchw", True),
    "weights in front": (lambda y: torch.ones(8, 8) @ y, "bchw", False),
    "each row with each": (lambda y: y @ y.transpose(2, 3), "bchw", True),
    "columns joined as rows": (lambda y: torch.cat(y.unsqueeze(2).split(1, -1), 2).squeeze(-1), "bchw", True),
    "a grid of indices": (lambda y: y[:, :, torch.arange(8)[None], torch.arange(8)[:, None]], "bchw", True),
    "summed over rows": (lambda y: torch.tensordot(y, torch.ones(8, 8), dims=([2], [0])), "bchw", True),
}


@pytest.mark.parametrize("case", AFTER)
def test_what_is_not_followed_is_a_guess_whatever_the_sizes_are(case):
    """A square map: its sizes tell no axis from another."""
    function, axes, doubtful = AFTER[case]

    class Changed(nn.Module):
        def forward(self, x):
            return function(x)

    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Changed(), nn.Identity()).eval()
    table = {layer.path: layer for layer in ls.open(model, preprocess=None).layers(torch.zeros(1, 3, 8, 8))}
    assert [(table[path].axes, bool(table[path].doubt)) for path in "12"] == [(axes, doubtful)] * 2
