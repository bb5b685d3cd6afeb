"""Ctrl-C while the command line works: exit 130, one line on stderr, and no file that is half written."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import layerscope as ls

SHOW = [sys.executable, "-m", "layerscope", "show", "demo"]


def interrupt(arguments, when, folder):
    """(exit code, stderr) of a command that gets SIGINT once `when` is true."""
    process = subprocess.Popen(
        [*SHOW, *map(str, arguments)], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1].decode()
    finally:
        process.kill()
    return process.returncode, error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_folder_that_is_interrupted_keeps_whole_pictures_only(tmp_path):
    Image.open(ls.demo_photo()).save(tmp_path / "0.png")
    for number in range(1, 400):
        (tmp_path / f"{number}.png").symlink_to(tmp_path / "0.png")
    out = tmp_path / "out"
    code, error = interrupt(
        [tmp_path / "*.png", "-l", "_conv_stem", "-o", out], lambda: len([*out.glob("*.png")]) > 2, tmp_path
    )
    assert code == 130, error
    assert error.splitlines()[-1] == "layerscope: interrupted; the same command with --resume goes on from here"
    assert "Traceback" not in error
    pictures = list(out.iterdir())
    assert 2 < len(pictures) < 400
    for picture in pictures:
        assert picture.suffix == ".png", "nothing unfinished is left"
        with Image.open(picture) as image:
            image.load()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_method_that_runs_for_long_writes_nothing(tmp_path):
    """The layer's own values are written before; the map by scores of 1,280 channels takes minutes."""
    np.save(tmp_path / "old.npy", np.zeros(3))
    values = tmp_path / "values.npz"
    arguments = [ls.demo_photo(), "-l", "_conv_head", "--combine", "score-cam", "-o", "old.npy", "--values", values]
    code, error = interrupt(arguments, values.exists, tmp_path)
    assert code == 130, error
    assert error.splitlines()[-1] == "layerscope: interrupted"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.npy", "values.npz"]
    assert np.array_equal(np.load(tmp_path / "old.npy"), np.zeros(3)), "the old file is whole"
    assert ls.load(values).shape[-1] == 1280
