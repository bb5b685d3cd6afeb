"""What is printed where the output has few signs or few columns: pipes of Windows, plain ASCII, narrow terminals."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest

import layerscope as ls
from layerscope.cli import commands
from layerscope.core.table_text import HEADER, tree_text
from layerscope.safe_text import PLAIN, writable
from layerscope.testing import TinyBackend, tiny_model

EVERYTHING = """
import io, sys, numpy as np, layerscope as ls
from layerscope.testing import TinyBackend, tiny_model
scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", labels=["caf\\xe9", "\\u6f22", *"cdef"])
photo = np.zeros((8, 8, 3), np.uint8)
maps = scope.capture(photo, ["conv1", "conv2"])
layers = [ls.Layer("\\u5377\\u7a4d/conv \\u2192 1", "Conv", "bchw", (1, 4, 8, 8), 0, 1, note="\\u2265 3")]
table = ls.LayerTable(layers, "mod\\xe8le \\u2212 \\u221e")
for value in (scope, scope.layers(), table, maps, maps["conv1"], ls.statistics(maps["conv1"]), ls.sheet(maps["conv1"])):
    print(value)
    print(str(value) == repr(value))
"""


def run(encoding, *arguments):
    """The text that a process prints in an encoding; it fails where it can't write something."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    result = subprocess.run([sys.executable, *arguments], capture_output=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr.decode(encoding)
    return result.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_everything_that_prints_itself_can_be_written(encoding):
    text = run(encoding, "-c", EVERYTHING)
    assert "False" not in text
    rows = {"utf-8": "1×4×8×8", "cp1252": "1×4×8×8"}
    assert rows.get(encoding, "1x4x8x8") in text
    names = "卷積/conv → 1" if encoding == "utf-8" else r"\u5377\u7a4d/conv -> 1"
    assert names in text
    assert ("▦ picture" if encoding == "utf-8" else "# picture") in text
    assert ("modèle" if encoding != "ascii" else r"mod\xe8le") in text
    assert "?" not in text.replace("field ?", "")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_command_line_writes_plain_signs_on_both_streams(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments in (["layers", "demo"], ["show", "--help"], ["layers", "demo", "卷積.png"]):
        result = subprocess.run([sys.executable, "-m", "layerscope", *arguments], capture_output=True, env=environment)
        text = (result.stdout + result.stderr).decode(encoding)
        assert "Traceback" not in text
        assert " ? " not in text
        assert "1?32" not in text
    assert r"\u5377" in text


def test_signs_become_plain_only_where_they_must():
    text = "".join(PLAIN) + "é漢😀"
    assert writable(text, io.TextIOWrapper(io.BytesIO(), "utf-8")) is text
    for encoding in ("ascii", "cp1252", "latin-1", "cp437", "shift_jis"):
        written = writable(text, io.TextIOWrapper(io.BytesIO(), encoding))
        written.encode(encoding)
        assert writable("×", io.TextIOWrapper(io.BytesIO(), encoding)) in "×x"
    assert writable("×é", io.TextIOWrapper(io.BytesIO(), "cp1252")) == "×é"
    assert writable("漢", io.StringIO()) == "漢"  # no encoding: it takes everything
    assert len(writable("▦▧▤·×–−", io.TextIOWrapper(io.BytesIO(), "ascii"))) == 7


@pytest.fixture
def table():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess=None).layers(np.zeros((1, 3, 8, 8), np.float32))


@pytest.fixture
def screen(monkeypatch):
    """Standard output as a terminal of some columns."""

    def screen(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    return screen


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 120, 400])
def test_a_table_of_layers_fits_the_terminal_and_says_what_is_left_out(table, screen, columns):
    assert repr(table) == tree_text(list(table), table.title)
    screen(columns)
    text = repr(table)
    rows = text.splitlines()[bool(table.title) :][: len(table) + 1]
    assert max(map(len, rows)) <= columns
    assert all(layer.path.rpartition("/")[2] in text for layer in table)
    shown = rows[0].split()
    assert {"path", "output"} <= set(shown)
    missing = {name for name in HEADER if name not in shown}
    (line,) = [line for line in text.splitlines() if line.startswith("left out")] or [""]
    assert all(name in line for name in missing - {"note"})
    assert bool(line) == bool(missing - {"note"})
    assert all(layer.note in text for layer in table)
    assert missing if columns <= 60 else columns < 400 or not missing


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_of_channels_fits_the_terminal_and_says_what_is_left_out(screen, columns):
    statistics = ls.statistics(np.random.default_rng(0).normal(size=(1, 8, 8, 6)) * 1e-6)
    plain = statistics.plain()
    screen(columns)
    text = repr(statistics)
    rows = text.splitlines()[:7]
    assert max(map(len, rows)) <= columns
    assert rows[0].split()[0] == "channel"
    assert "mean" in rows[0]
    assert ("left out" in text) == (max(map(len, plain.splitlines()[:7])) > columns)
    assert statistics.plain() == plain


@pytest.mark.parametrize("columns", [40, 60])
def test_the_command_shows_names_and_sizes_in_a_narrow_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    commands._print_rich(ls.open("demo").layers())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    text = " ".join(lines)
    assert "_conv_stem" in text
    assert "1×32×112×112" in text
