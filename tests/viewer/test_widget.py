"""`Scope.widget`: what a notebook holds of it, its view in Python, and what is said where anywidget is missing."""

import base64
import io
import json
import subprocess
import sys

import comm
import numpy as np
import pytest
from comm.base_comm import BaseComm
from PIL import Image

import layerscope as ls
from helpers.wording import raises
from layerscope.testing import TinyBackend, tiny_model
from layerscope.viewer import notebook

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Recorded(BaseComm):
    """A notebook's end of a widget, which keeps what comes."""

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        self.__dict__.setdefault("sent", []).append((msg_type, data, buffers))

    def set(self, **state):
        """What the page sets."""
        self.handle_msg({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})

    def updates(self):
        return [data["state"] for kind, data, _ in self.sent if kind == "comm_msg" and data["method"] == "update"]


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    monkeypatch.setattr(comm, "create_comm", Recorded)


@pytest.fixture(scope="module")
def scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def widget(scope, photo):
    opened = scope.widget(photo)
    yield opened
    opened.close()


def test_a_saved_notebook_has_the_sheet_once(widget, scope, photo):
    data, _ = widget._repr_mimebundle_()
    assert {*data} == {"text/plain", WIDGET_VIEW, "image/png"}
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB"))
    drawn = ls.sheet(scope.capture(photo, "act:0")["act:0"])
    assert np.array_equal(shown, np.asarray(Image.open(io.BytesIO(drawn.png())).convert("RGB")))
    assert data["text/plain"] == "<layerscope widget: tiny · photo.png, act:0>"


@pytest.mark.parametrize("code", [False, True], ids=["Jupyter", "VS Code"])
def test_a_notebook_shows_the_picture_beside_the_widget_which_hides_it(widget, monkeypatch, code):
    for name in notebook.HIDES_NOTHING:
        monkeypatch.delenv(name, raising=False)
    if code:
        monkeypatch.setenv("VSCODE_PID", "1")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    widget._ipython_display_()
    assert [{*data} - {"text/plain"} for data in shown] == (
        [{WIDGET_VIEW, "image/png"}] if code else [{"image/png"}, {WIDGET_VIEW}]
    )
    png = next(data["image/png"] for data in shown if "image/png" in data)
    assert widget.get_state()["_mark"].encode() in base64.b64decode(png[:160])


def test_no_values_are_in_its_traits(widget):
    state = {name: value for name, value in widget.get_state().items() if name not in ("_esm", "_style")}
    assert len(json.dumps({name: value for name, value in state.items() if name != "layout"})) < 1500
    (kind, opened, buffers), *_ = widget.comm.sent
    assert kind == "comm_open" and not buffers and opened["state"]["view"]["layer"] == "l1"


def test_the_page_follows_the_view_that_python_sets(widget):
    widget.view = {"layer": "conv2", "norm": "log", "weights": {3: np.float32(0.5)}, "scale": (0, 1)}
    assert widget.view["layer"] == "conv2" and widget.view["scale"] == [0, 1] and widget.view["clip"] is None
    (update,) = widget.comm.updates()
    assert update["view"] == {**update["view"], "layer": "l2", "norm": "log", "weights": {"3": 0.5}, "scale": [0, 1]}


def test_python_follows_the_view_that_the_page_sets(widget):
    seen = []
    widget.observe(lambda change: seen.append(change["new"]["layer"]), "view")
    state = widget._names.to_page(widget.view)
    widget.comm.set(view={**state, "layer": "l2", "input": "i0", "weights": {"1": -2}, "beside": {"layer": "l0"}})
    assert seen == ["conv2"]
    assert widget.view["weights"] == {1: -2} and widget.view["beside"] == {"layer": "conv1"}
    assert widget.view["input"] == "photo.png"


def test_another_layer_puts_back_what_holds_for_one_alone(widget):
    widget.view = {"active": 2, "unit": [1, 1], "find": "mean > 0", "scale": [0, 1], "norm": "log", "mode": "weights"}
    widget.view = {"layer": "conv2", "unit": (0, 0)}
    now = widget.view
    assert (now["active"], now["unit"], now["find"], now["scale"], now["mode"]) == (
        0,
        [0, 0],
        "mean > 0",
        "channel",
        "weights",
    )
    assert now["norm"] == "log"


@pytest.mark.parametrize(
    "view",
    [
        {"layer": "conv3"},
        {"input": "cat.jpg"},
        {"norm": "lg"},
        {"colour": "viridis"},
        {"colors": "jet"},
        {"active": 99},
        {"weights": {"a": 1}},
        {"weights": {1: float("nan")}},
        {"scale": [2, 1]},
        {"mode": "meen"},
        {"sort": "meen"},
        "conv2",
    ],
    ids=str,
)
def test_a_bad_view_is_refused_and_nothing_is_lost(widget, view):
    widget.view = {"layer": "conv2", "active": 1}
    before, sent = widget.view, len(widget.comm.sent)
    with raises(ls.BadOption):
        widget.view = view
    assert widget.view == before and len(widget.comm.sent) == sent


def test_a_layer_or_an_image_is_named_as_a_page_does_too(widget):
    widget.view = {"layer": "l2", "input": "i0"}
    assert (widget.view["layer"], widget.view["input"]) == ("conv2", "photo.png")


def test_what_cannot_be_drawn_leaves_the_widget(widget):
    widget.view = {"find": "mean >"}
    data, _ = widget._repr_mimebundle_()
    assert "image/png" not in data and "without a picture" in data["text/plain"] and WIDGET_VIEW in data


def test_close_frees_what_it_holds(scope, photo):
    widget = scope.widget(photo)
    widget._repr_mimebundle_()
    session = widget._session
    assert session._cache.nbytes
    widget.close()
    assert not session._cache.nbytes and widget.comm is None
    widget.close()


def test_what_is_wrong_with_layers_is_said_at_once(scope, photo):
    with pytest.raises(ls.LayerNotFound):
        scope.widget(photo, "conv9")


def test_without_anywidget_the_line_to_install_it_is_said(scope, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with raises(ls.LibraryMissing):
        scope.widget(photo)


def test_layerscope_alone_does_not_import_it():
    code = "import layerscope, sys; layerscope.open; assert not {'anywidget', 'ipywidgets', 'IPython'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
