"""Page, report and widget of one model and one photo: what each is told of where they come from."""

import json
import re

import comm
import pytest
from comm.base_comm import BaseComm

import layerscope as ls
from layerscope.plots import show

PREPROCESS = "unit"
LABELS = [f"kind {number}" for number in range(1000)]


def of_page(model, images, **options):
    with ls.view(model, images, "_conv_stem", browser=False, **options) as viewer:
        return viewer._lanes.session.answer("manifest").result


def of_report(model, images, **options):
    path = ls.report(model, images, "_conv_stem", options.pop("path"), **options)
    (text,) = re.findall('<script type="application/json" id="layerscope-data">(.*?)</script>', path.read_text("utf-8"))
    return json.loads(text)["manifest"]


def of_widget(model, images, **options):
    widget = ls.widget(model, images, "_conv_stem", **options)
    manifest = widget._names.manifest
    widget.close()
    return manifest


@pytest.fixture(params=[of_page, of_report, of_widget], ids=["page", "report", "widget"])
def manifest_of(request, monkeypatch, tmp_path):
    monkeypatch.setattr(comm, "create_comm", lambda *_, **keys: BaseComm(**keys))
    monkeypatch.setattr(BaseComm, "publish_msg", lambda *_, **__: None)
    more = {"path": tmp_path / "r.html"} if request.param is of_report else {}
    return lambda *given, **options: request.param(*given, **options, **more)


def test_the_line_of_python_names_model_and_photo(manifest_of):
    manifest = manifest_of("demo", ls.demo_photo())
    assert manifest["model"]["source"] == "demo"
    assert manifest["inputs"][0]["source"].endswith("chelsea.png")
    path = ls.demo_model()
    assert manifest_of(path, ls.demo_photo())["model"]["source"] in (str(path), path.name)


def test_a_model_that_no_text_opens_is_called_model(manifest_of):
    assert "source" not in manifest_of(ls.open("demo"), ls.demo_photo())["model"]


def test_every_option_of_open_gets_there(manifest_of, monkeypatch):
    scope, given = ls.open("demo"), {}

    def opened(model, **options):
        given.update(options)
        return scope

    options = {
        "weights": "w.onnx",
        "preprocess": PREPROCESS,
        "size": 64,
        "labels": LABELS,
        "backend": "onnx",
        "device": "cpu",
        "trust": True,
    }
    opened.__signature__ = show.signature(show.open_scope)
    monkeypatch.setattr(show, "open_scope", opened)
    monkeypatch.setattr(show, "check_reference", lambda _: None)
    manifest_of("net.onnx", ls.demo_photo(), **options)
    assert given == options
