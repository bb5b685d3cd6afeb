"""The numbers of maps and tables for other programs: data frames, CSV, arrays in files, feature vectors."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import layerscope as ls
from helpers.arrays import noise, planes_first
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.testing import TinyBackend, tiny_model

LAYOUTS = {"bc": (2, 5), "bnc": (2, 4, 5), "bhwc": (2, 3, 4, 5), "bdhwc": (1, 2, 3, 4, 5)}


def odd_values(*shape):
    """Numbers whose shortest text differs from that of float64, and those that are none."""
    values = noise(*shape, seed=4) * np.float32(1e-3) + np.float32(0.1)
    values.ravel()[:5] = (np.nan, np.inf, -np.inf, 1e-45, 3.4028235e38)
    return values


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planes", [False, True])
def test_a_frame_and_the_csv_have_a_row_for_each_place(layout, planes):
    pandas = pytest.importorskip("pandas", reason="it makes the frame")
    values = odd_values(*LAYOUTS[layout])
    fm = ls.FeatureMap.of_array(planes_first(values) if planes else values, layout).select([4, 1])
    frame = fm.to_dataframe()
    assert frame.index.names == ["image", *layout[1:-1]]
    assert frame.columns.tolist() == [4, 1]
    assert np.array_equal(frame.to_numpy().reshape(fm.shape), fm.values, equal_nan=True)
    for place in np.ndindex(fm.shape[:-1]):
        at = (fm.ids[place[0]], *place[1:])
        assert np.array_equal(frame.loc[at if len(at) > 1 else at[0]], fm.values[place], equal_nan=True)
    levels = ["image", *layout[1:-1]]
    read = pandas.read_csv(io.StringIO(fm.to_csv()), index_col=levels, dtype=dict.fromkeys("41", np.float32))
    assert read.index.equals(frame.index)
    assert np.array_equal(read.to_numpy(), frame.to_numpy(), equal_nan=True)
    frame.iloc[:] = 0
    assert fm.values.ravel()[-1] != 0, "the frame is a copy"


@settings(deadline=None)
@given(npst.arrays(np.float32, 50, elements=st.floats(width=32)))
def test_the_text_of_a_number_is_the_value_and_short(values):
    texts = ls.FeatureMap.of_array(values[None], "bc").to_csv().splitlines()[1].split(",")[1:]
    assert np.array_equal(np.array(texts).astype(np.float32), values, equal_nan=True)
    usual = (np.abs(values) > 1e-10) & (np.abs(values) < 1e7)
    assert (
        max((len(text) for text, so in zip(texts, usual, strict=True) if so), default=0) <= 15
    )  # 9 digits, -, ., e-10


def test_decimals_stay_short_and_names_are_quoted():
    fm = ls.FeatureMap.of_array(np.array([[0.1, 123.456, 1e-7, -2.5e30, 16777215]], np.float32), "bc")
    fm = replace(fm, ids=('a "b", c\n.png',))
    assert fm.to_csv().partition("\n")[2] == '"a ""b"", c\n.png",0.1,123.456,1e-07,-2.5e+30,16777215\n'


def test_csv_of_many_lines_is_in_order():
    fm = ls.FeatureMap.of_array(np.arange(2 * 70 * 70, dtype=np.float32).reshape(2, 70, 70, 1))
    lines = fm.to_csv().splitlines()
    assert lines[0] == "image,h,w,0"
    assert lines[1:] == [f"image {n // 4900},{n // 70 % 70},{n % 70},{n}" for n in range(9800)]


def test_prefix_tokens_have_their_names(tmp_path):
    fm = ls.FeatureMap.of_array(noise(1, 7, 3), "bnc").on_grid((2, 3), prefix=["cls"])
    assert [line.split(",")[1] for line in fm.prefix().to_csv().splitlines()] == ["n", "cls"]
    assert fm.to_csv().startswith("image,h,w,0,1,2\n")


def test_values_are_saved_as_the_suffix_says(tmp_path):
    fm = ls.FeatureMap.of_array(odd_values(2, 3, 4, 5))
    assert fm.save(tmp_path / "a.npy") == tmp_path / "a.npy"
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), fm.values, equal_nan=True)
    assert fm.save(tmp_path / "a.csv").read_text("utf-8") == fm.to_csv()
    assert np.array_equal(ls.load(fm.save(tmp_path / "A.NPZ")).values, fm.values, equal_nan=True)
    with raises(ls.BadOption, ".npy", "map.txt"):
        fm.save(tmp_path / "map.txt")


def test_statistics_as_a_frame():
    pandas = pytest.importorskip("pandas", reason="it makes the frame")
    table = ls.statistics(noise(2, 3, 4, 5))
    frame = table.to_dataframe()
    read = pandas.read_csv(io.StringIO(table.to_csv()))
    pandas.testing.assert_frame_equal(frame, read)
    assert np.array_equal(frame.peak_x, table["peak"][:, 2])
    assert table.csv() == table.to_csv()
    frame.loc[0, "mean"] = 7
    assert table["mean"][0] != 7


def test_the_table_of_layers_as_a_frame(tmp_path):
    pandas = pytest.importorskip("pandas", reason="it makes the frame")
    table = ls.open("demo").layers()
    frame = table.to_dataframe()
    assert frame.path.tolist() == [layer.path for layer in table]
    assert frame["shape"].tolist() == [layer.shape for layer in table]
    known = [layer.parameters for layer in table if layer.parameters is not None]
    assert int(frame.parameters.sum()) == sum(known)
    stem = frame[frame.path == "_conv_stem"].iloc[0]
    assert (stem.channels, stem.field, stem.stride, stem.mark) == (32, 3, 2.0, "picture")
    assert pandas.isna(frame.field.iloc[-1])
    read = pandas.read_csv(table.to_csv(tmp_path / "layers.csv"), keep_default_na=False)
    assert (tmp_path / "layers.csv").read_text("utf-8") == table.to_csv()
    assert read.columns.tolist() == frame.columns.tolist()
    assert read["shape"][0] == "1×32×112×112"
    assert read.note.tolist() == frame.note.tolist()


def test_what_a_library_is_needed_for_names_it(monkeypatch):
    for name in ("pandas", "xarray"):
        monkeypatch.setitem(sys.modules, name, None)
    fm = ls.FeatureMap.of_array(noise(1, 2, 2, 3))
    for call in (fm.to_dataframe, ls.statistics(fm).to_dataframe, ls.LayerTable([ls.Layer("a", "Conv")]).to_dataframe):
        with raises(ls.LibraryMissing, "pip install pandas", "to_csv()"):
            call()
    with raises(ls.LibraryMissing, "pip install xarray"):
        fm.to_xarray()
    assert fm.to_csv() and ls.statistics(fm).to_csv(), "text needs neither"


@pytest.mark.parametrize("how", ["mean", "max", "gem"])
@pytest.mark.parametrize("layout", ["bnc", "bhwc", "bdhwc"])
def test_pooled_is_a_vector_for_each_image(how, layout):
    values = noise(*LAYOUTS[layout], seed=1)
    fm = ls.FeatureMap.of_array(planes_first(values), layout).select([4, 0])
    pooled = fm.pooled(how)
    axes = tuple(range(1, values.ndim - 1))
    kept = values[..., [4, 0]].astype(np.float64)
    expected = {
        "mean": kept.mean(axes),
        "max": kept.max(axes),
        "gem": (np.maximum(kept, 1e-6) ** 3).mean(axes) ** (1 / 3),
    }
    np.testing.assert_allclose(pooled.values, expected[how], rtol=1e-6)
    assert (pooled.channels, pooled.ids, pooled.layer.axes, pooled.spatial) == ((4, 0), fm.ids, "bc", ())
    assert pooled.pooled("max") is pooled
    wording(pooled.notes[-1])
    assert ls.sheet(pooled).png()


def test_pooled_says_what_it_leaves_out():
    fm = ls.FeatureMap.of_array(noise(1, 7, 3), "bnc").on_grid((2, 3), prefix=["cls"])
    pooled = fm.pooled()
    assert [kind_of(note) for note in pooled.notes[-2:]] == ["pooled", "tokens-left-out"]
    assert pooled.tokens is None and pooled.prefix() is None
    np.testing.assert_allclose(pooled.values[0], fm.values.reshape(6, 3).mean(0), rtol=1e-6)
    with raises(ls.BadOption, "median"):
        fm.pooled("median")


def test_pooled_of_a_capture_is_a_file_like_any_other(tmp_path):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    fm = scope.capture(noise(3, 3, 8, 8), "conv1")["conv1"]
    pooled = ls.load(fm.pooled().save(tmp_path / "vectors.npz"))
    assert pooled.shape == (3, fm.shape[-1])
    assert np.array_equal(pooled.values, fm.pooled().values)
