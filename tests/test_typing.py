"""A script of a user passes `mypy --strict` and pyright against the installed wheel, and its mistakes are found."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

# What the wheel depends on, without the frameworks, which mypy would follow for minutes.
DEPENDENCIES = ("numpy", "Pillow", "cmap", "rich", "isal")
SCRIPT = """\
import numpy as np

import layerscope as ls

scope: ls.Scope = ls.open("model.onnx", size=(224, 224))
maps: ls.Maps = scope.capture(["cat.jpg"], ["block1_conv2"], target=281)
fm: ls.FeatureMap = maps["block1_conv2"]
picture: ls.Picture = ls.sheet(fm, columns=8, scale="layer")
picture = ls.heatmap(ls.weighted(fm, np.ones(64)), colors="viridis")
picture = ls.overlay(ls.grad_cam(fm), alpha=0.4)
picture = ls.show("demo", "cat.jpg", "last", preprocess="imagenet", size=224)
shape: tuple[int, ...] = fm.shape
names: list[str] = [layer.path for layer in scope.layers()]
picture.save("out.png")
try:
    ls.load("map.npz")
except ls.BadOption:
    ls.terminal.draw(picture)
"""
MISTAKES = """\
import layerscope as ls

ls.sheet(ls.load("map.npz"), colums=8)
ls.sheeet(ls.load("map.npz"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The interpreter of an environment with the wheel installed."""
    folder = tmp_path_factory.mktemp("typing")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        assert "layerscope/py.typed" in archive.namelist() and "layerscope/__init__.pyi" in archive.namelist()
        archive.extractall(site)
    for name in DEPENDENCIES:
        for top in {file.parts[0] for file in importlib.metadata.files(name) or () if ".." not in file.parts}:
            (site / top).symlink_to(Path(importlib.metadata.distribution(name).locate_file(top)))
    return folder / "venv" / "bin" / "python"


def checkers(python: Path, *files: Path) -> dict[str, list[str]]:
    """The command of each type checker for some files."""
    names = [file.name for file in files]
    tools = Path(sys.executable).parent
    mypy = [str(tools / "mypy"), "--strict", "--config-file", "", "--python-executable", str(python)]
    return {
        "mypy": [*mypy, "--cache-dir", str(python.parents[2] / "cache"), *names],
        "pyright": [str(tools / "pyright"), "--pythonpath", str(python), *names],
    }


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_type_checker_sees_the_public_names_and_their_parameters(python: Path, tmp_path: Path, checker: str) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(SCRIPT, "utf-8"), wrong.write_text(MISTAKES, "utf-8")
    command = checkers(python, right, wrong)[checker]
    outcome = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    lines = [line for line in outcome.stdout.splitlines() if re.search(r"\berror\b", line) and ".py:" in line]
    assert outcome.returncode == 1 and len(lines) == 2, outcome.stdout + outcome.stderr
    assert all("wrong.py" in line for line in lines), outcome.stdout
    assert "colums" in lines[0] and "sheeet" in lines[1]
