"""The container: what goes in comes out, safetensors reads it, and damaged bytes are refused."""

import contextlib
import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layerscope.errors import BadOption
from layerscope.viewer.payload import pack, unpack

TYPES = st.sampled_from([np.float64, np.float32, np.float16, np.int32, np.uint8])
ARRAYS = TYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_what_goes_in_comes_out_as_it_was(meta, tensors):
    data = pack(meta, tensors)
    again, arrays = unpack(data)
    assert again == meta
    assert arrays.keys() == tensors.keys()
    for name, array in tensors.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=2), st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_the_library_safetensors_reads_it(meta, tensors):
    theirs = safetensors.numpy.load(pack(meta, tensors))
    assert theirs.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(theirs[name], array)


def test_every_array_lies_at_a_multiple_of_its_item_size():
    data = pack({"a": 1}, {name: np.ones(3, name) for name in ("uint8", "float16", "int32", "float32", "float64")})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    starts = {name: 8 + size + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
    assert size % 8 == 0
    assert {name: start % np.dtype(name).itemsize for name, start in starts.items()} == dict.fromkeys(starts, 0)


def test_arrays_of_any_order_in_memory_are_stored_alike():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert pack({}, {"a": array.T}) == pack({}, {"a": array.T.copy()})
    assert pack({}, {"a": array.astype(">f4")}) == pack({}, {"a": array})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_does_not_have_is_refused(bad):
    with pytest.raises(BadOption):
        pack({"value": bad}, {})


def test_other_types_are_refused():
    with pytest.raises(BadOption, match="complex64"):
        pack({}, {"a": np.zeros(2, np.complex64)})


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data):
    with pytest.raises(BadOption):
        unpack(data)


@settings(deadline=None)
@given(st.data())
def test_damaged_bytes_are_read_or_refused(data):
    whole = bytearray(
        pack({"layer": "conv"}, {"values": np.zeros((2, 3), np.float16), "channels": np.zeros(2, np.int32)})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadOption):
        unpack(whole[: data.draw(st.integers(0, len(whole)))])


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 400]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]},
        [],
    ],
)
def test_arrays_that_do_not_lie_in_the_bytes_are_refused(entry):
    header = json.dumps({"__metadata__": {"layerscope": "{}"}, "values": entry}).encode()
    with pytest.raises(BadOption):
        unpack(len(header).to_bytes(8, "little") + header + bytes(8))
