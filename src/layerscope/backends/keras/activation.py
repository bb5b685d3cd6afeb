"""What the numbers of a Keras model's output are: the activation of its head."""

from __future__ import annotations

from typing import Any

from ..common.activation import follow
from ..common.run import dry_run
from .model import KerasModel
from .tree import is_library_class
from .watch import Call, run


def activation(model: KerasModel, batch: Any) -> str:
    """As `Backend.activation`, from one run of the first image with every layer and operation followed."""
    engine = model.engine
    known: dict[int, tuple[Any, str]] = {}  # a tensor's numbers, with the tensor, so that its identity stays its own
    outputs: list[Any] = []

    def record(call: Call) -> None:
        inputs = [known[id(tensor)][1] for tensor in engine.tensors_in(call.arguments) if id(tensor) in known]
        numbers = follow_layer(call.layer, inputs)
        for part in engine.parts_of(call.output):
            # A model gives what the last layer in it gave.
            known.setdefault(id(part.tensor), (part.tensor, numbers))

    dry_run(
        batch,
        lambda part, _: run(model, lambda: outputs.append(model.forward(part)), record),
        model.part_for_dry_run,
    )
    parts = engine.parts_of(outputs[0]) if outputs else []
    return known.get(id(parts[0].tensor), (None, ""))[1] if parts else ""


def follow_layer(layer: Any, inputs: list[str]) -> str:
    """What one layer gives: its own step, and then the activation inside it."""
    kind = type(layer).__name__
    if kind in ("TFOpLambda", "SlicingOpLambda"):  # functions in a model of tf_keras
        kind = str(getattr(layer, "symbol", "")).rpartition(".")[2]
    elif not is_library_class(type(layer)):
        return ""  # its name says nothing of what it computes
    if kind in ("Softmax", "LogSoftmax") and getattr(layer, "axis", -1) == 0:
        return ""  # over the images
    numbers = follow(kind, inputs)
    function = getattr(layer, "activation", None)
    # One without a name, such as an object of the user's, may be anything.
    inside = "linear" if function is None else getattr(getattr(function, "func", function), "__name__", "")
    # That of a recurrent layer is somewhere in the middle.
    stands_last = numbers or kind == "Activation"
    return follow(inside, [numbers]) if stands_last and inside != "linear" else numbers
