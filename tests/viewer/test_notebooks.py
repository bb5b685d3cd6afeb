"""The widget in JupyterLab and marimo, in a real browser: what only notebooks have (frontend/test/browser/notebook.mjs), and in
JupyterLab the specification of page and report."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import layerscope as ls
from helpers import browser, specification

TOKEN = "of-this-test"
LAYERS = ["_conv_stem", "_blocks.1._expand_conv"]
CELLS = [
    # Answers are cut small, so that they come in pieces.
    f"""import json
import layerscope as ls
from layerscope.viewer import channel
channel.PIECE = 300_000
old = globals().get("w")
w = ls.open("demo").widget(ls.demo_photo(), {LAYERS})
w.view = {{"layer": "_conv_stem"}}
w""",
    f"""v = ls.open("demo").widget(ls.demo_photo(), {LAYERS})
v.view = {{"layer": "_conv_stem"}}
v._channel._send = lambda message, buffers: v.send(message, [])
v""",
    "print(json.dumps(w.view))",
    """w.view = {"layer": "_blocks.1._expand_conv", "norm": "symlog", "weights": {3: 0.5, 7: -1}}""",
    """w.view = {"layer": "nowhere"}""",
    """print(old._session._cache.nbytes, "bytes,", len(old._channel._lanes), "threads")""",
]
# The checks of the specification that are made each time in JupyterLab, where each takes three times as long: those that its
# shadow root, its keys, its messages and its pasteboard could break. `ONLY=.` makes all of them.
USUAL = "sheets of odd|pointing at any|picked, dropped|done by keys|Tab reaches|names of layers|histogram|two layers"
# The models of the specification, each in the cell of its place in the facts.
MODELS = [
    """import layerscope as ls
from helpers import browser
cat = ls.widget("demo", ls.demo_photo(), browser.CAT)
cat""",
    """from helpers import browser
slow = browser.Slow()
shapes = browser.shapes_scope(slow).widget(["plain.png", f"{browser.HOSTILE}.png"])
slow.seconds = 0.7
shapes""",
]
MARIMO = f"""import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import layerscope as ls

    widget = ls.open("demo").widget(ls.demo_photo(), {LAYERS})
    widget.view = {{"layer": "_conv_stem"}}
    widget
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with a notebook of each kind, a photo to add, and what numpy has of the layer."""
    browser.check_installed()
    folder = tmp_path_factory.mktemp("notebooks")
    for name, cells in {"widget": CELLS, "models": MODELS}.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook(cells)))
    (folder / "widget.py").write_text(MARIMO)
    (folder / "facts.json").write_text(json.dumps(browser.all_facts(browser.photos(folder))))
    fm = ls.open("demo").capture(ls.demo_photo(), LAYERS[0])[LAYERS[0]]
    (folder / "layer.json").write_text(json.dumps(browser.layer_facts(fm, [{}, {"norm": "symlog", "scale": "layer"}])))
    return folder


def notebook(sources):
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for n, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


@contextlib.contextmanager
def served(command, port, folder, path):
    """A server in a process of its own, whose settings lie in the folder, until the block ends."""
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR")
    homes = ("JUPYTERLAB_WORKSPACES_DIR", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    environment = {**os.environ, **{name: str(folder / "home" / name) for name in (*places, *homes)}}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(Path(ls.__file__).parents[1]), str(Path(__file__).parents[1]), environment.get("PYTHONPATH")))
    )
    (folder / "home/HOME").mkdir(parents=True, exist_ok=True)
    log = folder / f"{command[0]}.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None and time.monotonic() < until, log.read_text(errors="replace")
                time.sleep(0.2)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(20)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_the_widget_in_jupyterlab(staged):
    pytest.importorskip("jupyterlab")
    port = free_port()
    command = [
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={TOKEN}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True",
    ]
    with served(command, port, staged, f"/api?token={TOKEN}"):
        at = f"http://127.0.0.1:{port}"
        given = {"token": TOKEN, "folder": str(staged), "added": str(staged / "added.png")}
        own = {"url": f"{at}/lab/tree/widget.ipynb?token={TOKEN}", "facts": str(staged / "layer.json")}
        shared = {"url": f"{at}/doc/tree/models.ipynb?token={TOKEN}", "facts": str(staged / "facts.json")}
        specification.run(staged, "jupyter", "notebook.mjs", **given, **own)
        specification.run(staged, "jupyter", usual=USUAL, **given, **shared)
    specification.check_lines(staged, "jupyter", 1)
    saved = json.loads((staged / "widget.ipynb").read_text())
    for cell in saved["cells"][:2]:
        held = [{*output["data"]} - {"text/plain"} for output in cell["outputs"]]
        assert held == [{"image/png"}, {"application/vnd.jupyter.widget-view+json"}]
    assert "widgets" not in saved["metadata"]


@pytest.mark.slow
def test_the_widget_in_marimo(staged):
    pytest.importorskip("marimo")
    port = free_port()
    command = ["marimo", "run", "widget.py", "--headless", "--no-token", "--host=127.0.0.1", f"--port={port}"]
    with served(command, port, staged, "/health"):
        given = {"url": f"http://127.0.0.1:{port}/", "folder": str(staged), "facts": str(staged / "layer.json")}
        specification.run(staged, "marimo", "notebook.mjs", **given)
