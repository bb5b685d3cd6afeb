"""Files are written whole or not at all, at one place."""

import ast
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises
from layerscope import writing
from layerscope.inputs.images import collect
from layerscope.writing import make_folder, replacing, write

SOURCE = Path(ls.__file__).parent
HELPERS = Path(__file__).parent / "helpers"

# Calls by the names of functions that write files, with what they write into where that is no file of the user's.
WRITES = {
    *("open", "save", "savefig", "savez", "savez_compressed", "tofile", "write_text", "write_bytes", "touch", "dump"),
    *("mkdir", "makedirs", "mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory", "ftruncate", "truncate"),
}
ELSEWHERE = {
    "backends/keras/files.py": {"TemporaryDirectory": 1},  # for a link with a suffix that Keras knows
    "callbacks/recorder.py": {"save": 1},  # Picture.save
    "cli/__init__.py": {"open": 3},  # the null device, in place of a stream that is closed
    "cli/demo.py": {"save": 1},  # Picture.save
    "combinations/basis.py": {"savez": 1},  # into `replacing`
    "files.py": {"open": 1},  # for reading
    "cli/store.py": {"save": 1},  # Picture.save
    "core/npz.py": {"save": 1, "savez": 1},  # into `replacing`
    "picture/display.py": {"mkstemp": 1, "open": 1},  # a file of its own for the system's viewer
    "picture/export/figure.py": {"savefig": 1},  # into memory
    "picture/export/files.py": {"save": 1},  # into memory
    "picture/export/tiles.py": {"save": 1},  # Picture.save
    "picture/picture.py": {"save": 1},  # of export/files.py
    "plots/animate.py": {"save": 1},  # into memory
    "plots/batch_writer.py": {"save": 3},  # Picture.save, FeatureMap.save
    "store/example.py": {"TemporaryDirectory": 1, "makedirs": 1, "save": 1},  # images for examples
    "store/gallery.py": {"save": 1},  # into memory
    "store/filesystem.py": {"makedirs": 1},  # of fsspec
    "store/report/parts.py": {"save": 1},  # into memory
    "viewer/inputs.py": {"save": 2},  # into memory
}


def test_no_other_place_writes_files():
    calls = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if name in WRITES and not (name == "open" and _reads(node)):
                found = calls.setdefault(path.relative_to(SOURCE).as_posix(), {})
                found[name] = found.get(name, 0) + 1
    del calls["writing.py"]
    assert calls == ELSEWHERE


def _reads(call):
    """Whether a call of a function named `open` can't write: the builtin with a mode that only reads, or not of a file."""
    if ast.unparse(call.func) != "open":
        return ast.unparse(call.func) not in ("os.open", "io.open")
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return all(isinstance(mode, ast.Constant) and not set(mode.value) & set("wax+") for mode in modes)


def fail_halfway(path, error):
    with replacing(path) as file:
        file.write(b"ne")
        raise error


def test_an_error_on_the_way_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"old")
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            fail_halfway(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_link_stays_and_the_file_keeps_its_permissions(tmp_path, monkeypatch, exchange):
    if not exchange:  # as on other systems than Linux
        monkeypatch.setattr(writing, "_renameat2", lambda: None)
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to("folder/file")
    write(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        assert stat.S_IMODE(write(tmp_path / "a", b"").stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_pipes_and_devices_are_written_directly(tmp_path):
    write("/dev/null", b"x")
    link = tmp_path / "out.npz"
    link.symlink_to("/dev/full")
    with raises(ls.BadOption, "/dev/full"):
        write("/dev/full", b"x")
    with pytest.raises(ls.BadOption):
        ls.FeatureMap.of_array(np.zeros((4, 4, 1))).save(link)
    script = "import layerscope as ls, numpy as np; ls.heatmap(np.eye(3)).save('out.png')"
    (tmp_path / "out.png").symlink_to("/dev/stdout")
    shown = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=True).stdout
    assert shown.startswith(b"\x89PNG")
    assert (tmp_path / "out.png").is_symlink()


def test_a_file_in_a_folder_that_takes_no_new_ones_is_written_all_the_same(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write(path, b"old and longer")
    monkeypatch.setattr(os, "access", lambda name, mode: Path(name) == path)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    monkeypatch.undo()
    with replacing(path):
        (unfinished,) = {*os.listdir(tmp_path)} - {"a.bin"}
        assert re.fullmatch(r"\.layerscope-[0-9a-f]{16}\.part", unfinished)


def test_a_file_that_cannot_be_moved_to_is_written_all_the_same(tmp_path, monkeypatch):
    def busy(*_):
        raise OSError(16, "Device or resource busy")

    path = tmp_path / "a.bin"
    write(path, b"old and longer")
    monkeypatch.setattr(writing, "_renameat2", lambda: None)
    monkeypatch.setattr(os, "replace", busy)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]
    with pytest.raises(ls.BadOption):
        write(tmp_path / "b.bin", b"new")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_that_is_write_protected_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write(path, b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with raises(ls.BadOption, "a.bin"):
        write(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "model.onnx").write_text("")
    with raises(ls.BadOption, "model.onnx"):
        make_folder(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "name", ["", "no-folder/a.png", "zero\0.png", "n" * 300 + ".png", "loop.png", "file.txt/a.png"]
)
def test_what_the_system_refuses_is_a_bad_option(tmp_path, name):
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "file.txt").write_text("")
    with raises(ls.BadOption):
        write(tmp_path / name, b"")
    if name not in ("", "no-folder/a.png"):
        with raises(ls.BadOption):
            make_folder(tmp_path / name / "b")
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "loop.png"]


@pytest.mark.slow
def test_every_format_survives_kills_and_full_disks(tmp_path):
    """A slice: `python tests/helpers/interrupted.py FOLDER 50 20 1` tries more."""
    program = [sys.executable, str(HELPERS / "interrupted.py"), str(tmp_path), "3", "2", "1"]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["wrong"] == [], run.stderr


def test_an_unfinished_file_is_no_picture(tmp_path):
    with replacing(tmp_path / "a.png") as file:
        Image.new("RGB", (4, 4)).save(file, "png")
        file.flush()
        assert len(os.listdir(tmp_path)) == 1
        for pattern in (tmp_path, tmp_path / "*", tmp_path / "**"):
            with pytest.raises(ls.ImageNotReadable):
                collect(pattern)
