"""Receptive fields by trial: which rows and columns of the input move a unit of a linear network with positive weights."""

import numpy as np
from hypothesis import strategies as st

from layerscope.core.receptive_field import Field

SIZE = (44, 40)


def line_images(size=SIZE):
    """A picture for each row and each column of the image: zero but for that line. `[rows + columns, 1, h, w]`."""
    height, width = size
    rows = np.zeros((height, 1, height, width), np.float32)
    rows[range(height), 0, range(height)] = 1
    columns = np.zeros((width, 1, height, width), np.float32)
    columns[range(width), 0, :, range(width)] = 1
    return np.concatenate([rows, columns])


EDGE = 24


def check_boxes(values, fields, network=(), size=SIZE):
    """`values [rows + columns, channel, h, w]` of the line images against the fields; returns how many boxes were compared.

    A transposed convolution leaves units that see nothing, or cuts some off that see pixels of the image; what pads its output
    is blind there: in such a network only the boxes of units away from the edge must be equal.
    """
    padded = any(isinstance(options, dict) and options["pad"] for _, options in network)
    edge = EDGE if padded and any(name == "turned" for name, _ in network) else 0
    height, _ = size
    moved = np.asarray(values).max(1) > 0
    compared = 0
    if not moved.any():
        # A transposed convolution leaves holes, and a stride may read only those.
        assert any(field.known and field.size is None for field in fields)
        return 0
    for axis, (part, extent) in enumerate(((moved[:height], height), (moved[height:], size[1]))):
        reached = part.any(axis=2 - axis)  # [line of the image, unit along this axis]
        field: Field = fields[axis]
        if field.unknown:
            continue
        for unit in range(reached.shape[1]):
            lines = np.flatnonzero(reached[:, unit])
            low, high = (0, extent - 1) if field.whole else field.box(unit)
            if 0 <= low <= high < extent and edge <= unit < reached.shape[1] - edge:
                assert len(lines), (axis, unit, field)
                assert (lines[0], lines[-1]) == (low, high), (axis, unit, field)
                compared += 1
            elif len(lines):
                assert low <= lines[0], (axis, unit, field)
                assert lines[-1] <= high, (axis, unit, field)
    return compared


window = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pad": st.integers(0, 1),
    }
)
step = st.one_of(
    st.tuples(st.just("conv"), window),
    st.tuples(st.just("conv"), window),
    st.tuples(st.sampled_from(["max", "avg"]), window),
    st.tuples(st.just("up"), st.sampled_from(["nearest", "linear"])),
    st.tuples(st.just("turned"), window),
    st.tuples(st.sampled_from(["add", "cat"]), st.tuples(st.integers(0, 2), st.integers(0, 2))),
)
networks = st.lists(step, min_size=1, max_size=4)
