"""Other values in the place of what operators of a TFLite file make, as inputs of what runs after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ...errors import BadOption
from ..common.outputs import changed
from ..graph.codes import CODES
from ..protocol import Change
from .axes import AxesFlow
from .graph import Graph, Tensor
from .run import dequantised, quantised


def replaced(
    graph: Graph,
    changes: Iterable[tuple[str, Tensor, Change]],
    run: Callable[[Sequence[Tensor], Mapping[int, np.ndarray]], list[np.ndarray]],
) -> dict[int, np.ndarray]:
    """The tensors whose values are to be given, in the file's own types: those changed, one after another.

    An operator can't run for one of its outputs alone, so the others are given as they are. `run(tensors, given)` gives
    tensors of the file, with these values in the place of others.
    """
    fixed: dict[int, np.ndarray] = {}
    for path, tensor, change in changes:
        made = [graph.tensors[index] for index in graph.operators[graph.made_by[tensor.index]].outputs]
        _check(path, tensor, made)
        fresh = [each for each in made if each.index not in fixed]
        fixed |= dict(zip([each.index for each in fresh], run(fresh, fixed) if fresh else (), strict=True))
        after = changed(path, change, dequantised(tensor, fixed[tensor.index]))
        fixed[tensor.index] = _codes(path, tensor, after) if tensor.quantised else after
    return fixed


def one_of(fixed: Mapping[int, np.ndarray], at: int, flow: AxesFlow) -> dict[int, np.ndarray]:
    """The given values for one image of several."""
    for index in fixed:
        if "b" not in flow.axes.get(index, "") or not flow.certain(index):
            raise BadOption(
                f"the model takes one image at a time, and {flow.graph.tensors[index].name!r} has no known batch axis to take"
                " one from: change one image at a time"
            )
    return {index: value.take([at], flow.axes[index].index("b")) for index, value in fixed.items()}


def _check(path: str, tensor: Tensor, made: Sequence[Tensor]) -> None:
    odd = next((each for each in made if not each.numeric), None)
    if odd is not None:
        raise BadOption(f"{path!r} can't be changed: its operator makes {odd.name!r} as well, which holds {odd.type}")
    if tensor.quantised and (tensor.scale.size > 1 or tensor.type not in CODES):
        many = "a scale for each channel" if tensor.scale.size > 1 else f"{tensor.type} codes"
        raise BadOption(
            f"{path!r} can't be changed: its values are kept in {many}, which other values can't be put into: change the layer"
            " before it or behind it"
        )


def _codes(path: str, tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """The codes nearest to other values; those beyond the range of the codes become its ends, as in the model itself."""
    if np.isnan(values).any():
        raise BadOption(f"the change for layer {path!r} gave NaN, for which its {tensor.type} codes have no place")
    return quantised(tensor, values)
