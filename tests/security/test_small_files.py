"""Labels, weights of channels, saved maps and bases: damage and lies in them are named errors, and no pickle in them runs."""

import contextlib
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.testing import TinyBackend, tiny_model

MAP = ls.FeatureMap.of_array(np.arange(96, dtype=np.float32).reshape(2, 4, 4, 3))


def labelled(path):
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess=None, labels=path).labels


def basis(path):
    return ls.pca(MAP, basis=path)


def weighted(path):
    return ls.weighted(MAP, path)


READERS = {
    "labels": (labelled, ".txt", ls.BadOption),
    "labels as JSON": (labelled, ".json", ls.BadOption),
    "weights": (weighted, ".npy", ls.BadWeights),
    "weights as text": (weighted, ".csv", ls.BadWeights),
    "maps": (ls.load, ".npz", ls.BadOption),
    "basis": (basis, ".npz", ls.BadOption),
}


def saved(function, *arguments):
    buffer = io.BytesIO()
    function(buffer, *arguments)
    return buffer.getvalue()


def sound(tmp_path):
    """The bytes of a file of each kind that can be read."""
    MAP.save(tmp_path / "sound.npz")
    ls.pca_basis(MAP).save(tmp_path / "basis.npz")
    return {
        "labels": b"cat\ndog\n",
        "labels as JSON": b'["cat", "dog"]',
        "weights": saved(np.save, np.ones(3)),
        "weights as text": b"0,1\n1,2\n2,3\n",
        "maps": (tmp_path / "sound.npz").read_bytes(),
        "basis": (tmp_path / "basis.npz").read_bytes(),
    }


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read(name, tmp_path):
    read, suffix, _ = READERS[name]
    for ending in (suffix, suffix.upper()):
        if suffix == ".npz" and ending != suffix:
            continue
        path = tmp_path / f"file{ending}"
        path.write_bytes(sound(tmp_path)[name])
        read(path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "labels"])
def test_damaged_files_are_named_errors(name, tmp_path):
    """Cut anywhere, bytes turned over anywhere, something else entirely."""
    read, suffix, error = READERS[name]
    data, rng, path = sound(tmp_path)[name], np.random.default_rng(0), tmp_path / f"damaged{suffix}"
    cases = [b"", b"\x00" * 64, b"\xff\xfe", pickle.dumps({"a": 1}), b"[" * 100_000, data[::-1]]
    cases += [data[: int(len(data) * share)] for share in rng.random(12)]
    for _ in range(40):
        turned = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            turned[place] = rng.integers(256)
        cases.append(bytes(turned))
    failed = 0
    for case in cases:
        path.write_bytes(case)
        try:
            read(path)
        except error as caught:
            failed += "damaged" in str(caught) or isinstance(caught, ls.BadWeights)
    assert failed > 6


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_a_named_error(name, tmp_path):
    read, suffix, error = READERS[name]
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    for stem in ("pipe", "folder", "loop", "x" * 300, "a\0b", "nowhere"):
        with pytest.raises(error):
            read(tmp_path / f"{stem}{suffix}")


@pytest.mark.parametrize("name", ["weights", "maps", "basis"])
def test_a_pickle_in_an_array_is_not_run(name, canary, tmp_path):
    read, suffix, error = READERS[name]
    hostile = np.empty(1, object)
    hostile[0] = canary.pickled()
    path = tmp_path / f"hostile{suffix}"
    if suffix == ".npy":
        path.write_bytes(saved(np.save, hostile))
    else:
        entries = dict.fromkeys(("about", "values", "mean", "components", "variance"), hostile)
        np.savez(path, **entries)
    with canary.refused(error, "hostile"):
        read(path)
    (tmp_path / f"bare{suffix}").write_bytes(pickle.dumps(canary.pickled()))
    with canary.refused(error, "bare"):
        read(tmp_path / f"bare{suffix}")
    with canary.sung():
        np.load(path, allow_pickle=True)["about" if suffix == ".npz" else 0]


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "1MB")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.npy", bytes(5_000_000))
    for read in (ls.load, basis):
        with raises(ls.BadOption, "5.0 MB"):
            read(tmp_path / "bomb.npz")


def lying(shape, dtype="<f8"):
    """An array's file whose header promises more than there is."""
    return saved(
        np.lib.format.write_array_header_1_0, {"descr": dtype, "fortran_order": False, "shape": shape}
    ) + bytes(24)


@pytest.mark.parametrize("shape", [(10,), (10**9, 10**9), (0,), (), (-3,), (2**63,), (3, 2)], ids=repr)
def test_weights_whose_header_lies(shape, tmp_path):
    (tmp_path / "lying.npy").write_bytes(lying(shape))
    with raises(ls.BadWeights):
        weighted(tmp_path / "lying.npy")


@pytest.mark.parametrize(
    "text",
    [
        "inf,1\n2,3\n",
        "nan,1\n2,3\n",
        "0,1\n0,2\n",
        "1e300,1\n2,3\n",
        "0,inf\n1,2\n",
        "\n\n",
        "# only\n",
        "a\n",
        "1\n2\n",
        "0x1\n",
    ],
    ids=repr,
)
def test_tables_of_weights_that_are_none(text, tmp_path):
    (tmp_path / "table.csv").write_text(text, "utf-8")
    with raises(ls.BadWeights):
        weighted(tmp_path / "table.csv")


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    """A byte order mark, line ends of Windows."""
    (tmp_path / "table.csv").write_bytes(b"\xef\xbb\xbf0,1\r\n2,3\r\n")
    np.testing.assert_array_equal(weighted(tmp_path / "table.csv").linear.weights.ravel(), [1, 0, 3])


def test_labels_are_the_lines_of_a_text_file(tmp_path):
    """Without a byte order mark; a line separator of Unicode is part of a name."""
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffa\u2028b\r\nc\x1cd\r\n\r\ne".encode())
    assert labelled(path) == ("a\u2028b", "c\x1cd", "", "e")
    path.write_bytes(b"")
    assert labelled(path) == ()
    (tmp_path / "labels.JSON").write_bytes(b'\xef\xbb\xbf["a", 1]')
    assert labelled(tmp_path / "labels.JSON") == ("a", "1")


@pytest.mark.parametrize("content", [[["a"]], [None], [True], [{"a": 1}], {"0": "a"}, "a", 3], ids=repr)
def test_labels_that_are_no_names(content, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps(content), "utf-8")
    with raises(ls.BadOption, "labels.json"):
        labelled(tmp_path / "labels.json")


def test_labels_without_end_are_refused(tmp_path):
    with open(tmp_path / "labels.txt", "wb") as file:
        file.truncate(1 << 30)
    with raises(ls.BadOption, "labels.txt"):
        labelled(tmp_path / "labels.txt")


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, [None], 1e300], ids=repr)
def test_every_field_of_a_map_may_lie(junk, tmp_path):
    """A named error when it is read, or a map that can be shown."""
    MAP.save(tmp_path / "sound.npz")
    with np.load(tmp_path / "sound.npz") as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays.pop("about")))
    for path in [(name,) for name in about] + [("layer", name) for name in about["layer"]]:
        fields = json.loads(json.dumps(about))
        inner = fields["layer"] if len(path) == 2 else fields
        inner[path[-1]] = junk
        np.savez(tmp_path / "lying.npz", about=np.array(json.dumps(fields)), **arrays)
        with contextlib.suppress(ls.LayerscopeError):
            fm = ls.load(tmp_path / "lying.npz")
            repr(fm), ls.sheet(fm), ls.statistics(fm)
