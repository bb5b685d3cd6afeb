"""The demo, and the package as a stranger gets it."""

import json
import os
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import wording
from layerscope.cli import demo

ROOT = Path(__file__).parents[2]


def test_the_demo_writes_every_picture_it_names(tmp_path):
    printed = []
    written = demo.run(tmp_path / "out", printed.append)
    text = "\n".join(printed)
    wording(text)
    assert len(written) == 8
    for path in written:
        assert path.name in text
    *pictures, report = written
    assert report.stat().st_size < 5_000_000
    assert report.read_text("utf-8").startswith("<!doctype html>")
    for path in pictures:
        with Image.open(path) as image:
            assert image.width > 300
            assert json.loads(image.text["layerscope"])["model"] == "efficientnet-lite0"
    with Image.open(written[2]) as image:
        assert json.loads(image.text["layerscope"])["channels"] == "1280 of 1280"


def test_the_command_that_works_here_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", [".venv/bin/layerscope", "demo"])
    assert demo.command() == str(Path(".venv/bin/layerscope"))
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert demo.command() == "layerscope"


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_runs_the_demo(tmp_path, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert any(name.endswith("assets/efficientnet-lite0.onnx") for name in names)
        assert any("NOTICE" in name for name in names)
        assert not any(name.startswith("tests") for name in names)
    venv.create(tmp_path / "env", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "env"), "--disable-pip-version-check"]
    pins = ["--no-compile", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "install", "--quiet", *pins, f"{wheel}[demo]"], check=True, capture_output=True, text=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.run(
        [tmp_path / "env" / "bin" / "layerscope", "demo"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "tiger cat" in process.stdout, "the label of the photo"
    assert len(list((tmp_path / "demo-out").glob("*.png"))) == 7
    packages = subprocess.run([*pip, "list"], check=True, capture_output=True, text=True).stdout.lower()
    assert (tmp_path / "demo-out" / "8-report.html").exists()
    view = subprocess.Popen(
        [tmp_path / "env" / "bin" / "layerscope", "view", "demo", "--no-browser"],
        cwd=tmp_path,
        env=clean,
        stdout=subprocess.PIPE,
        text=True,
    )
    with view:
        address = view.stdout.readline().strip()
        try:
            with urllib.request.urlopen(address, timeout=20) as page:
                assert b'<div id="layerscope">' in page.read()
        finally:
            view.kill()
    assert "torch" not in packages
    assert "tensorflow" not in packages


def test_coffee_is_seen_as_espresso():
    data = pytest.importorskip("skimage.data", reason="brings the photo")
    (top,) = ls.open("demo").predict(np.asarray(data.coffee()), top=1)
    assert top[0].label == "espresso"
