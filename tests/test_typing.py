"""A script of a user passes `mypy --strict` and pyright against the installed wheel, and its mistakes are found."""

from __future__ import annotations

import importlib.metadata
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


def checkers(python: Path, file: Path) -> dict[str, list[str]]:
    """The command of each type checker for one file."""
    tools = Path(sys.executable).parent
    mypy = [str(tools / "mypy"), "--strict", "--config-file", "", "--python-executable", str(python)]
    return {
        "mypy": [*mypy, "--cache-dir", str(python.parents[2] / "cache"), file.name],
        "pyright": [str(tools / "pyright"), "--pythonpath", str(python), file.name],
    }


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_type_checker_sees_the_public_names_and_their_parameters(python: Path, tmp_path: Path, checker: str) -> None:
    outcomes = []
    for text in (SCRIPT, MISTAKES):
        file = tmp_path / "script.py"
        file.write_text(text, "utf-8")
        command = checkers(python, file)[checker]
        outcomes.append(subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False))
    right, wrong = outcomes
    assert right.returncode == 0, right.stdout + right.stderr
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "colums" in wrong.stdout and "sheeet" in wrong.stdout
