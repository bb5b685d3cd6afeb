"""What becomes of infinite and missing numbers in predictions, image by image."""

import math

import numpy as np
import pytest

from layerscope.backends.common.activation import LINEAR, LOG_SOFTMAX, SIGMOID, SOFTMAX
from layerscope.scope.prediction import predictions

INF, NAN = math.inf, math.nan


def predicted(rows, activation=LINEAR, labels=("a", "b", "c")):
    """For each image the numbers in the order of the output, and the kind of its note."""
    given = predictions(np.array(rows, np.float32), lambda: activation, labels=labels, label=str, top=None)
    return [
        ([one.probability for one in sorted(row, key=lambda one: one.index)], getattr(row[0].note, "kind", ""))
        for row in given
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scores", "shares"),
    [
        ([1.0, INF, 5.0], [0, 1, 0]),
        ([INF, 2.0, INF], [0.5, 0, 0.5]),
        ([-INF, 1.0, 1.0], [0, 0.5, 0.5]),
        ([3e38, -3e38, 0.0], [1, 0, 0]),
    ],
)
def test_a_softmax_has_its_limit_at_infinite_scores(scores, shares):
    assert predicted([scores]) == [(shares, "softmax")]


@pytest.mark.filterwarnings("error")
def test_a_sigmoid_has_its_limit_at_infinite_scores():
    rows = predicted([[INF], [-INF], [-1e30]], labels=("no", "yes"))
    assert [sorted(numbers) for numbers, _ in rows] == [[0, 1]] * 3
    kinds = {
        one.label: one.probability
        for one in predictions(np.float32([[INF]]), lambda: LINEAR, labels=("no", "yes"), label=str, top=None)[0]
    }
    assert kinds == {"no": 0, "yes": 1}


@pytest.mark.parametrize("activation", [LINEAR, SOFTMAX, SIGMOID, LOG_SOFTMAX, ""])
@pytest.mark.parametrize("odd", [[0.2, NAN, 0.1], [NAN] * 3, [-INF] * 3])
def test_an_image_without_numbers_says_so_and_leaves_the_others_as_they_are(activation, odd):
    good = [-0.5, -1.5, -2.5] if activation == LOG_SOFTMAX else [0.2, 0.5, 0.25]
    ((alone, kind),) = predicted([good], activation)
    (first, second) = predicted([good, odd], activation)
    assert first == (alone, kind)
    np.testing.assert_array_equal(np.float32(second[0]), np.float32(odd))
    assert second[1] == "own-numbers"


def test_a_softmax_that_is_one_everywhere_went_over_another_axis():
    assert predicted([[1.0, 1.0, 1.0]], SOFTMAX) == [([1, 1, 1], "own-numbers")]
    assert predicted([[1.0, 0.0, 0.0]], SOFTMAX) == [([1, 0, 0], "")]
    assert predicted([[1.0]], SOFTMAX) == [([1], "")]
