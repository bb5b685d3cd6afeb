"""Page, report and widget of one model and one photo: what each is told of where they come from."""

import json
import re
import shlex
from pathlib import Path

import comm
import numpy as np
import pytest
from comm.base_comm import BaseComm

import layerscope as ls
from layerscope import cli
from layerscope.cli import commands
from layerscope.plots import show
from layerscope.viewer.opening import Opening

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


def test_the_lines_of_python_name_model_and_photo(manifest_of):
    manifest = manifest_of("demo", ls.demo_photo())
    assert manifest["model"]["opening"] == 'import layerscope as ls\n\nscope = ls.open("demo")'
    assert manifest["inputs"][0]["source"].endswith("chelsea.png")
    path = ls.demo_model()
    opening = manifest_of(path, ls.demo_photo())["model"]["opening"]
    assert opening.endswith((f'ls.open("{path}")', f'ls.open("{path.name}")'))


def test_a_scope_that_no_text_opens_is_named(manifest_of):
    model = manifest_of(ls.open("demo"), ls.demo_photo())["model"]
    assert model["opening"].endswith("# scope: the ls.open(…) shown here")
    assert "command" not in model


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
    monkeypatch.setattr(show, "scope_of", opened)
    monkeypatch.setattr(show, "check_reference", lambda _: None)
    manifest_of("net.onnx", ls.demo_photo(), **options)
    assert given == options


def test_the_lines_of_python_open_the_model_with_the_options_of_the_page(manifest_of):
    options = {
        "preprocess": {"name": "unit", "range": (0, 128)},
        "size": 224,
        "labels": "imagenet",
        "device": "cpu",
    }
    manifest = manifest_of("demo", ls.demo_photo(), **options)
    given = {}
    exec(manifest["model"]["opening"], given)
    path = ls.demo_photo()
    shown = ls.open("demo", **options).capture(path, "_conv_stem")["_conv_stem"]
    np.testing.assert_array_equal(given["scope"].capture(path, "_conv_stem")["_conv_stem"].values, shown.values)
    assert given["scope"].labels[285] == "Egyptian cat"
    assert given["scope"].preprocess == ls.open("demo", **options).preprocess


def test_what_has_no_text_is_named_in_a_comment(manifest_of):
    recipe = ls.open("demo").preprocess
    opening = manifest_of("demo", ls.demo_photo(), preprocess=recipe, labels=LABELS)["model"]["opening"]
    line = opening.splitlines()[-1]
    assert line == 'scope = ls.open("demo", preprocess=preprocess, labels=labels)  # preprocess, labels: as given here'


@pytest.mark.parametrize(
    ("model", "options", "command"),
    [
        ("my:net", {"preprocess": "imagenet", "size": (224, 192)}, "--preprocess imagenet --size 224x192 my:net"),
        (
            "a b.pt",
            {"preprocess": None, "trust": True, "device": "cpu"},
            "--preprocess none --trust --device cpu 'a b.pt'",
        ),
        ("n.onnx", {"preprocess": {"name": "auto", "range": (0, 4095)}}, "--range 0:4095 --preprocess auto n.onnx"),
        ("n.onnx", {"labels": "names.txt", "weights": Path("w.pt")}, "--labels names.txt --weights w.pt n.onnx"),
        ("n.onnx", {"labels": ["a", "b"]}, None),
        ("n.onnx", {"backend": "onnx"}, None),
        (object(), {}, None),
    ],
)
def test_the_command_of_a_report_has_the_options_that_it_can_have(model, options, command):
    assert Opening(model, options).command() == (command and f"layerscope report {command}")
    if command:
        read = cli.parser().parse_args([*shlex.split(f"report {command} cat.png")])
        for name, value in options.items():
            if name != "preprocess":
                assert str(getattr(read, name)) == str(value)
        assert commands.preprocess_of(read) == options.get("preprocess", "auto")


def test_the_command_line_says_how_its_page_was_opened(capsys):
    photo = str(ls.demo_photo())
    given = ["view", "demo", photo, "--labels", "imagenet", "--size", "64x64", "--import", "json"]
    session = commands._session(cli.parser().parse_args(given), None)
    assert session.opening.python().splitlines() == [
        "import layerscope as ls",
        "import json",
        "",
        'scope = ls.open("demo", size=(64, 64), labels="imagenet")',
    ]
    assert session.opening.command() == "layerscope report --import json --size 64x64 --labels imagenet demo"
    assert "64 × 64" in capsys.readouterr().err
