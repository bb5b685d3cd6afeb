"""What a notebook stores of a picture, and where `Picture.show` opens it."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.arrays import noise
from layerscope.picture import display


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return lambda: sorted(tmp_path.glob("layerscope-*.png"))


def test_a_notebook_stores_one_image_once_and_knows_how_large_to_show_it():
    picture = ls.sheet(noise(1, 56, 56, 64), zoom=4)
    assert picture.width > 900
    data, shown = picture._repr_mimebundle_()
    assert sorted(data) == ["image/png", "text/plain"]
    assert base64.b64decode(data["image/png"]) == picture.png()
    assert data["text/plain"] == repr(picture)
    size = shown["image/png"]
    assert size["width"] == 900
    assert size["height"] == pytest.approx(900 * picture.height / picture.width, abs=0.5)
    assert size["alt"] == picture.alt()
    # Whatever else a notebook finds it stores as well.
    others = [name for name in dir(picture) if name.startswith("_repr_") and name.endswith("_")]
    assert others == ["_repr_mimebundle_"]


def test_a_small_picture_is_shown_at_its_own_size():
    picture = ls.Picture(np.zeros((20, 30, 3), np.uint8), (), None, "mine")
    size = picture._repr_mimebundle_()[1]["image/png"]
    assert (size["width"], size["height"]) == (30, 20)


def test_show_displays_it_in_the_notebook_that_runs(monkeypatch, files):
    shown = []
    shell = SimpleNamespace(kernel=object())
    notebook = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    picture = ls.heatmap(np.eye(4))
    picture.show()
    assert shown == [picture]
    assert not files()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the viewer of other systems is found in other ways")
@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_show_opens_a_file_where_no_notebook_runs(monkeypatch, tmp_path, files, shell):
    if shell is not None:  # IPython in a terminal
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    viewer = tmp_path / "xdg-open"
    viewer.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened.part && mv {tmp_path}/opened.part {tmp_path}/opened\n')
    viewer.chmod(viewer.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    picture = ls.heatmap(np.eye(4))
    picture.show()
    (file,) = files()
    until = time.monotonic() + 20
    while not (tmp_path / "opened").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert (tmp_path / "opened").read_text().strip() == str(file)
    assert np.array_equal(np.asarray(Image.open(file)), picture.pixels)


def test_show_says_where_the_file_is_where_there_is_no_display(monkeypatch, files):
    monkeypatch.setattr(display, "_opened", lambda path: False)
    picture = ls.heatmap(np.eye(4))
    with pytest.warns(ls.LayerscopeWarning) as caught:
        picture.show()
    (file,) = files()
    assert str(file) in str(caught[0].message)
    assert file.read_bytes() == picture.png()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these systems always have a display")
def test_without_a_display_no_viewer_is_started(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(display.shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    assert display._opened("picture.png") is False
