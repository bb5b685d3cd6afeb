"""The model's output as classes with probabilities, where it means classes; else its own numbers, with a note."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..backends.common.activation import (
    LINEAR,
    LOG_SIGMOID,
    LOG_SOFTMAX,
    REGRESSION,
    SCALED,
    SIGMOID,
    SIGMOID_LOGITS,
    SOFTMAX,
    SOFTMAX_LOGITS,
)
from ..core.note import Note, kind_of
from ..surface import option

TOLERANCE = 1e-3
OWN = "own-numbers"  # the kind of the note on numbers that are no probabilities, or may be none


@dataclass(frozen=True)
class Prediction:
    """One class that the model sees.

    Attributes:
        label: Its name.
        index: Its index in the model's output.
        probability: From 0 to 1; or the model's own number for it, as `note` says, where nothing tells how that becomes
            a probability.
        note: What the number is, where it isn't simply a probability of the model's own; `""` else.
    """

    label: str
    index: int
    probability: float
    note: str = ""


def holds_boxes(part: str) -> bool:
    """Whether the part of an output that is meant is one of boxes, by the name that the model gives it.

    >>> holds_boxes("[0].boxes"), holds_boxes(".pred_logits")
    (True, False)
    """
    return part.lower().endswith(("box", "boxes"))


def predictions(
    values: np.ndarray,
    activation: Callable[[], str],
    *,
    labels: Sequence[str] | None,
    label: Callable[[int], str],
    top: int | None,
) -> list[list[Prediction]]:
    """The best classes of each row of `[image, class]`, by what the head's `activation` says of the numbers."""
    scores, note = values.astype(np.float64), ""
    whole = ~(np.isnan(scores).any(1) | ((scores == -np.inf).all(1) & (scores.shape[1] > 1)))
    if not (_in_unit(scores[whole]) and _is_distribution(scores[whole])):
        scores[whole], note = _meaning(scores[whole], activation(), len(labels or ()))
    notes = [note if row else _missing(numbers) for row, numbers in zip(whole, scores, strict=True)]
    if values.shape[1] == 1 and labels is not None and len(labels) == 2:
        return [[*_two(float(row[0]), labels, note)][:top] for row, note in zip(scores, notes, strict=True)]
    ranks = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [Prediction(label(index), int(index), float(row[index]), note) for index in rank]
        for row, rank, note in zip(scores, ranks, notes, strict=True)
    ]


def _missing(numbers: np.ndarray) -> Note:
    """What there is to say of numbers of which some are NaN, or all are -inf."""
    count = int(np.isnan(numbers).sum())
    which = f"{count} of its {len(numbers)} numbers for this image are NaN" if count else "all of them are -inf"
    return Note(OWN, f"the model's own number: {which}")


def _meaning(scores: np.ndarray, activation: str, labels: int) -> tuple[np.ndarray, str]:
    """The numbers as the model means them, and what there is to say of them; `labels` is how many classes have names."""
    if activation in (LOG_SOFTMAX, LOG_SIGMOID) and (scores <= TOLERANCE).all():
        return np.exp(scores), Note("exponential", f"the exponential of the model's own {activation}")
    single = activation == SOFTMAX and scores.shape[1] > 1 and bool((scores >= 1 - TOLERANCE).all())
    if single:
        return scores, Note(OWN, "the model's own number, not a probability: its softmax doesn't go over the classes")
    if _in_unit(scores) and activation in (SOFTMAX, SIGMOID):
        return scores, ""
    logits = _logits(scores, activation, labels)
    if logits == SOFTMAX_LOGITS:
        return _softmax(scores), Note("softmax", "the softmax of the model's scores")
    if logits == SIGMOID_LOGITS:
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-scores)), Note("sigmoid", "the sigmoid of the model's score")
    return scores, Note(OWN, f"the model's own number, {_why(activation)}")


def _softmax(scores: np.ndarray) -> np.ndarray:
    """The softmax of each row; infinite scores share all of it, which is its limit.

    >>> _softmax(np.array([[0.0, np.inf, 5.0], [-np.inf, 1.0, 1.0]])).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]
    """
    most = scores.max(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        raised = np.where(np.isinf(most), scores == most, np.exp(scores - most))
    shares: np.ndarray = raised / raised.sum(1, keepdims=True)
    return shares


def _logits(scores: np.ndarray, activation: str, labels: int) -> str:
    """How scores become probabilities: as the model says; else those of named classes stand for one class of them."""
    units = scores.shape[1]
    if activation in (SOFTMAX_LOGITS, SIGMOID_LOGITS):
        return activation
    named = labels > 1 and (units > 1 or labels == 2)
    if named and (activation == LINEAR or (not activation and not _in_unit(scores))):
        return SOFTMAX_LOGITS if units > 1 else SIGMOID_LOGITS
    return ""


def _why(activation: str) -> str:
    if activation == REGRESSION:
        return "as its configuration says"
    if activation == LINEAR:
        return f"not a probability: its head has no activation. If its outputs are classes, name them with {option('labels')}"
    if activation.removeprefix(SCALED) in (SOFTMAX, SIGMOID, LOG_SOFTMAX, LOG_SIGMOID):
        return f"not a probability: something follows its {activation.removeprefix(SCALED)}"
    if activation:
        return f"not a probability: its head ends with {activation}"
    return "which may be no probability: its head has no activation that is known"


def _two(probability: float, labels: Sequence[str], note: str) -> Iterator[Prediction]:
    """One unit that tells two classes apart: it stands for the second."""
    second = Prediction(labels[1], 0, probability, note)
    if kind_of(note) == OWN or not 0 <= probability <= 1:
        yield second
        return
    rest = Note("rest", f"what {labels[1]!r} leaves: the model's only output stands for that class")
    yield from sorted((second, Prediction(labels[0], 0, 1 - probability, rest)), key=lambda one: -one.probability)


def _in_unit(scores: np.ndarray) -> bool:
    return bool((scores >= 0).all() and (scores <= 1 + TOLERANCE).all())


def _is_distribution(scores: np.ndarray) -> bool:
    return scores.shape[1] > 1 and bool(np.allclose(scores.sum(1), 1, atol=TOLERANCE))
