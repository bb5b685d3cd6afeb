"""What `predict` makes of a PyTorch model's output: by the activation that the head really has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from helpers.wording import raises

IMAGES = np.random.default_rng(0).random((2, 3, 12, 12)).astype(np.float32)


class After(nn.Module):
    """A network with a function behind its last layer."""

    def __init__(self, units, function):
        super().__init__()
        self.body = body(units)
        self.function = function

    def forward(self, x):
        return self.function(self.body(x))


def body(units, *tail):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, units), *tail).eval()


def open_ready(model, labels=None):
    return ls.open(model.eval(), preprocess=None, labels=labels)


def numbers(model, labels=None):
    """`[image, class]` in the order of the output, and the kind of the first note."""
    predicted = open_ready(model, labels).predict(IMAGES, top=None)
    ordered = [sorted(row, key=lambda one: one.index) for row in predicted]
    kind = getattr(predicted[0][0].note, "kind", "")
    return np.array([[one.probability for one in row] for row in ordered]), kind


def in_unit(network):
    """With scores between 0 and 1 by chance."""
    nn.init.uniform_(network[-1].weight, 0, 0.01), nn.init.uniform_(network[-1].bias, 0.2, 0.8)
    return network


def written_out(x):
    raised = torch.exp(x - x.amax(1, keepdim=True))
    return torch.log(raised / raised.sum(1, keepdim=True))


def written_into(x):
    x[:, :1], x[:, 1:] = torch.sigmoid(x[:, :1]), torch.sigmoid(x[:, 1:])
    return x


@pytest.mark.parametrize(
    ("model", "labels", "kind", "expected"),
    [
        (body(1, nn.Sigmoid()), None, "", lambda x: x),
        (body(5, nn.Sigmoid()), None, "", lambda x: x),
        (body(5, nn.Sigmoid()), "abcde", "", lambda x: x),
        (After(5, lambda x: torch.sigmoid(x).flatten(1)), "abcde", "", lambda x: x),
        (After(5, lambda x: (x.sigmoid() + x.sigmoid()) / 2), "abcde", "", lambda x: x),
        (body(5, nn.Softmax(1)), None, "", lambda x: x),
        (body(5, nn.LogSoftmax(1)), None, "exponential", np.exp),
        (After(5, nn.functional.logsigmoid), "abcde", "exponential", np.exp),
        (After(3, written_out), "abc", "exponential", np.exp),
        (After(3, lambda x: x - x.logsumexp(1, keepdim=True)), None, "exponential", np.exp),
        (After(3, written_into), "abc", "own-numbers", lambda x: x),
        (After(3, lambda x: torch.sigmoid(x)[..., None, None]), "abc", "", lambda x: x[..., 0, 0]),
        (body(1), None, "own-numbers", lambda x: x),
        (body(4), None, "own-numbers", lambda x: x),
        (body(4, nn.Tanh()), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: 100 * torch.sigmoid(x)), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: -torch.log_softmax(x, 1)), "abcd", "own-numbers", lambda x: x),
        # for which every number lies between 0 and 1 by chance
        (After(4, lambda x: 100 * torch.sigmoid(x - 9)), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: 0.5 * torch.softmax(x, 1)), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: torch.softmax(x, 0)), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: torch.softmax(x[..., None], -1)[..., 0]), "abcd", "own-numbers", lambda x: x),
        (After(4, lambda x: torch.softmax(x, 1)[:, 1:]), "bcd", "", lambda x: x),
        (After(4, lambda x: torch.softmax(x / 3, -1)), "abcd", "", lambda x: x),
        (After(4, lambda x: x[:, 0]), None, "own-numbers", lambda x: x[:, None]),
        (After(4, lambda x: torch.sigmoid(x[:, 0])), None, "", lambda x: x[:, None]),
        (After(4, lambda x: x.argmax(1)), None, "own-numbers", lambda x: x[:, None]),
        (body(4), "abcd", "softmax", lambda x: torch.softmax(torch.from_numpy(x), 1).numpy()),
        (in_unit(body(4)), "abcd", "softmax", lambda x: torch.softmax(torch.from_numpy(x), 1).numpy()),
        (After(4, lambda x: x / 2), "abcd", "softmax", lambda x: torch.softmax(torch.from_numpy(x), 1).numpy()),
    ],
)
def test_the_head_decides(model, labels, kind, expected):
    with torch.no_grad():
        output = model(torch.from_numpy(IMAGES)).numpy()
    values, note = numbers(model, list(labels) if labels else None)
    np.testing.assert_allclose(values, expected(output), atol=1e-6)
    assert note == kind


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification", "regression"])
def test_what_the_configuration_says_of_the_scores(problem):
    model = body(3)
    model.config = type("Config", (), {"problem_type": problem})()
    with torch.no_grad():
        output = model(torch.from_numpy(IMAGES))
    expected = {"multi_label_classification": torch.sigmoid(output), "regression": output}
    values, _ = numbers(model, list("abc"))
    np.testing.assert_allclose(values, expected.get(problem, torch.softmax(output, 1)).numpy(), atol=1e-6)


@pytest.mark.parametrize("tail", [(), (nn.Sigmoid(),)])
def test_one_output_with_two_labels_stands_for_the_second(tail):
    model = body(1, *tail)
    with torch.no_grad():
        probability = torch.sigmoid(body(1)(torch.from_numpy(IMAGES))).numpy()[:, 0]
    for row, expected in zip(open_ready(model, ["cat", "dog"]).predict(IMAGES), probability, strict=True):
        values = {one.label: one.probability for one in row}
        assert values == pytest.approx({"dog": expected, "cat": 1 - expected})
        assert row[0].probability >= row[1].probability


def test_a_target_of_one_output_with_two_labels():
    scope = open_ready(body(1, nn.Sigmoid()), ["cat", "dog"])
    second, first = (scope.capture(IMAGES, "0", target=target)["0"] for target in ("dog", 0))
    np.testing.assert_array_equal(second.gradient, first.gradient)
    assert second.notes == first.notes
    assert "dog" in second.notes[-1]
    assert "cat" not in second.notes[-1]
    for target in ("cat", 1):
        with raises(ls.BadOption):
            scope.capture(IMAGES, "0", target=target)
    with raises(ls.BadOption):
        ls.score_cam(scope.capture(IMAGES, "0")["0"], "cat")


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"score": x}])
def test_one_number_for_each_image_in_a_container(wrap):
    with torch.no_grad():
        expected = body(1)(torch.from_numpy(IMAGES)).numpy()
    values, kind = numbers(After(1, lambda x: wrap(x[:, 0])))
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert kind == "own-numbers"


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.boxes, self.scores = body(4), body(3)

    def forward(self, x):
        return {"boxes": self.boxes(x), "scores": self.scores(x)}


def test_the_output_that_is_meant_is_named_on_the_maps(tmp_path):
    scope = open_ready(Several())
    maps = scope.capture(IMAGES, ["output", "scores.0"], target=0)
    (note,) = [note for note in maps["output"].notes if getattr(note, "kind", "") == "main-output"]
    assert ".boxes" in note
    (target,) = [note for note in maps["scores.0"].notes if getattr(note, "kind", "") == "target"]
    assert ".boxes" in target
    assert not [note for note in maps["scores.0"].notes if getattr(note, "kind", "") == "main-output"]
    loaded = ls.load(maps["output"].save(tmp_path / "map.npz"))
    assert loaded.notes == maps["output"].notes


@pytest.mark.parametrize("function", [lambda x: torch.tanh(x * 0 + 0.3), lambda x: torch.relu(x * 0 + 0.3)])
def test_a_number_that_is_no_probability_leaves_nothing_to_another_class(function):
    [(only,), _] = open_ready(After(1, function), ["cat", "dog"]).predict(IMAGES)
    assert only.label == "dog"
    assert only.note.kind == "own-numbers"


def test_boxes_are_no_scores_of_classes():
    with torch.no_grad():
        expected = Several()(torch.from_numpy(IMAGES))["boxes"].numpy()
    values, kind = numbers(Several(), list("abcd"))
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert kind == "own-numbers"
