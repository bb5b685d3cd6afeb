"""Foreign names (of layers, kinds, models, classes, files, options) in everything that is printed, drawn or written."""

import io
import json
import os
import re
import warnings
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import layerscope as ls
from layerscope import cli, terminal
from layerscope.backends.protocol import Facts, Input
from layerscope.callbacks.recorder import Recorder
from layerscope.cli import commands
from layerscope.core.note import Note, kind_of
from layerscope.errors import LayerscopeError, LayerscopeWarning
from layerscope.inputs.images import collect
from layerscope.inputs.recipe import Recipe
from layerscope.safe_text import UNSAFE, json_text, printable
from layerscope.testing import TinyBackend
from layerscope.testing.tiny import Step, TinyModel

SIGNS = "\x1b]0;title\x07\x1b[2J\x9b31m\r\t\x7f\x85\u061c\u202e\u2066\u200b\u2060\xad\ufeff\ufff9\U000e0041\u2028\udce9"
NAME = f"ev{SIGNS}il\nFORGED <b>&\"'[red]$x_1$%s{{0}}]]>-->é"


def check(text):
    """Nothing in it steers a terminal, hides, or begins a line of its own."""
    assert not [sign for sign in UNSAFE.findall(text) if sign != "\n"], ascii(text)
    assert not re.search("^FORGED", text, re.M), ascii(text)
    text.encode()  # raises where it can't be written


class Tags(HTMLParser):
    """The tags of a page, which foreign names add none to."""

    def __init__(self, page):
        super().__init__()
        self.names = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)


def check_html(page):
    check(page)
    assert not Tags(page).names & {"b", "script", "red"}


# ---- the functions


@given(st.text(st.characters() | st.sampled_from(SIGNS)))
def test_what_is_printable_holds_nothing_unsafe_and_is_left_alone(text):
    assert not UNSAFE.search(printable(text))
    assert printable(printable(text)) == printable(text)
    if not UNSAFE.search(text):
        assert printable(text) == text


@given(st.dictionaries(st.text(st.characters(codec=None)), st.text(st.characters(codec=None))), st.booleans())
def test_json_holds_exactly_what_was_given_and_can_be_printed(value, plain):
    text = json_text(value, indent=1, ensure_ascii=plain)
    check(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    ["می‌خواهم", "क्‍ष", "👩‍👩‍👧", "❤️", "葛󠄀", "שָׁלוֹם", "ภาษาไทย", "naïve", "नमस्ते", "٣٫٥", "한국어", "a b　c", "½×µ"],
)
def test_scripts_and_emoji_stay_as_they_are(text):
    assert printable(text) == text


def test_every_unsafe_sign_is_seen():
    for sign in UNSAFE.findall(f"{SIGNS}\u3164\u180e\ufffe"):
        (code,) = re.findall(r"^\\[xuU]0*([0-9a-f]+)$", printable(sign))
        assert int(code, 16) == ord(sign)


# ---- pictures, tables and what they are written into


@pytest.fixture
def scope():
    def pool(x):
        return x.mean((2, 3))

    steps = [
        Step(NAME, NAME, "bchw", lambda x: x),
        Step(f"{NAME}/two", "Conv", "bchw", lambda x: x - 1),
        Step("head", "Head", "bc", pool),
    ]
    model = TinyModel(steps, [Step(f"un{NAME}", NAME, "bchw", pool)])
    model.facts = Facts(NAME, (Input(NAME, "bchw", (None, 3, 8, 8)),), f"sha256:{NAME}", NAME)
    return ls.open(model, backend=TinyBackend(), preprocess="unit", labels=[f"{NAME}{i}" for i in range(3)])


@pytest.fixture
def photo(tmp_path):
    folder = tmp_path / printable(NAME[:2])
    folder.mkdir()
    path = os.path.join(os.fspath(folder), NAME.replace("/", "_") + ".png")
    try:
        Image.new("RGB", (8, 8), "red").save(path)
    except OSError:
        pytest.skip("this file system doesn't take such names")
    return path


def pictures(scope, maps):
    first, second, output = maps.values()
    yield ls.sheet(first, statistics=True)
    yield ls.heatmap(ls.mean(first))
    yield ls.overlay(ls.mean(second))
    yield ls.bars(output, labels=scope.labels)
    yield ls.compare({NAME: first, "two": second})
    yield ls.heatmap(ls.pca(first))
    yield ls.Picture(np.zeros((4, 4, 3), np.uint8), (), None, NAME, (NAME,), {NAME: NAME}, notes=(Note("x", NAME),))


@pytest.mark.slow
def test_pictures_in_every_format(scope, photo, tmp_path):
    maps = scope.capture(photo, [NAME, f"{NAME}/two", "head"])
    for picture in pictures(scope, maps):
        for text in (repr(picture), picture.alt(), picture.svg(), *(line.text for line in picture.texts)):
            check(text)
        _, shown = picture._repr_mimebundle_()
        check(shown["image/png"]["alt"])
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(picture.svg()).iter()}
        assert tags <= {"svg", "title", "desc", "rect", "g", "image", "text"}
        with Image.open(io.BytesIO(picture.png())) as image:
            for text in image.text.values():
                check(text)
            about = json.loads(image.text["layerscope"])
        assert about["title"] == picture.about()["title"]
        assert picture.pdf()
        for axes in picture.to_matplotlib().axes:
            for text in axes.findobj(lambda one: hasattr(one, "get_text")):
                check(text.get_text())
        for protocol in ("none", "blocks"):
            stream = io.StringIO()
            terminal.draw(picture, stream, protocol)
            check(re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue()))
        for tag in ls.to_tensorboard({NAME: picture}, tmp_path / "runs"):
            check(tag)
    film = ls.animate([ls.sheet(maps[NAME])], tmp_path / "film.gif")
    with Image.open(film) as image:
        check(image.info["comment"].decode())


def test_tables_and_values_as_text(scope, photo, tmp_path):
    table = scope.layers(photo)
    maps = scope.capture(photo, [NAME, f"{NAME}/two", "head"])
    fm = maps[NAME]
    texts = [repr(table), str(table), table.plain(), table.json(), repr(scope), repr(maps), repr(fm), repr(table[0])]
    texts += [ls.statistics(fm).plain(), repr(ls.statistics(fm)), ls.statistics(fm).json(), repr(scope.facts)]
    texts += [table.explained(f"{NAME}/two"), table.explained("0"), Recipe(NAME).describe(), repr(Recipe(NAME))]
    texts += [repr(scope.predict(photo)), scope.explained("last"), repr(ls.load(fm.save(tmp_path / "map.npz")))]
    for text in texts:
        check(text)
    for page in (table._repr_html_(), ls.statistics(fm)._repr_html_()):
        check_html(page)
    assert json.loads(table.json())[0]["path"] == NAME
    assert ls.load(tmp_path / "map.npz").ids == fm.ids == (os.path.basename(photo),)


def test_a_note_keeps_its_kind():
    picture = ls.heatmap(np.eye(2))
    assert [kind_of(line) for line in picture.lines] == [kind_of(line) for line in picture.dark().lines]


# ---- errors and warnings


def test_errors_and_warnings_are_safe_whoever_raises_them():
    for kind in (LayerscopeError, ls.BadOption, ls.LayerNotFound, LayerscopeWarning, ls.ImagesSkipped):
        check(str(kind(NAME)))
    error = LayerscopeError(NAME, NAME)
    for text in (str(error), error.problem, error.advice):
        check(text)


def test_names_in_errors(scope, photo, tmp_path):
    fm = scope.capture(photo, NAME)[NAME]
    missing = os.path.join(os.path.dirname(photo), f"{NAME}2.png".replace("/", "_"))
    calls = [
        lambda: ls.open(NAME),
        lambda: ls.open(missing),
        lambda: ls.open(photo),
        lambda: ls.open(scope.model, backend=TinyBackend(), preprocess=NAME),
        lambda: ls.open(scope.model, backend=NAME),
        lambda: ls.open(scope.model, backend=TinyBackend(), labels=missing),
        lambda: ls.open(scope.model, backend=TinyBackend(), weights=missing),
        lambda: scope.layers().choose(f"{NAME}3"),
        lambda: scope.layers().choose(f"kind:{NAME}3"),
        lambda: scope.capture(missing, NAME),
        lambda: scope.capture(os.path.join(missing, "*.png"), NAME),
        lambda: scope.capture(photo, f"un{NAME}"),
        lambda: scope.capture(photo, NAME, target=NAME),
        lambda: collect(f"http://{NAME}"),
        lambda: ls.show(scope.model, photo, NAME, combine=NAME, preprocess="unit", backend=TinyBackend()),
        lambda: ls.sheet(fm, sort=NAME),
        lambda: ls.sheet(fm, channels=NAME),
        lambda: ls.sheet(fm, colors=NAME),
        lambda: ls.sheet(fm, scale=NAME),
        lambda: ls.sheet(fm, channels=[99]),
        lambda: ls.sheet(fm, image=9),
        lambda: ls.bars(fm),
        lambda: ls.heatmap(fm),
        lambda: ls.weighted(fm, missing),
        lambda: ls.load(missing),
        lambda: ls.load(photo),
        lambda: ls.Basis.load(photo),
        lambda: fm.save(missing),
        lambda: fm.save(tmp_path / NAME / "a.npz"),
        lambda: ls.sheet(fm).save(f"{missing}.{NAME}"),
        lambda: ls.sheet(fm).save(tmp_path / NAME / "a.png"),
        lambda: ls.animate(fm, f"{missing}.{NAME}"),
        lambda: terminal.draw(ls.sheet(fm), protocol=NAME),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(LayerscopeError) as caught:
            call()
        check(str(caught.value)), number


def test_names_in_warnings(scope, photo):
    damaged = photo.replace(".png", "2.png")
    with open(damaged, "wb") as file:
        file.write(b"no picture")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scope.capture([photo, damaged], NAME)
        recorder = Recorder(scope, photo, NAME, os.path.dirname(photo), draw=lambda fm: 1 / 0)
        recorder.draw = lambda fm: ls.open(NAME)
        recorder.step(1)
    kinds = {warning.category for warning in caught}
    assert {ls.ImagesSkipped, ls.DrawingFailed} <= kinds
    for warning in caught:
        check(str(warning.message))


# ---- the command line


@pytest.fixture
def model(tmp_path):
    helper = pytest.importorskip("onnx.helper", reason="the model is an ONNX file")
    name = NAME.encode("utf-8", "replace").decode()
    node = [
        helper.make_node("Relu", ["x"], [f"{name}1"], name=f"{name}/a"),
        helper.make_node("Abs", [f"{name}1"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(which, 1, [1, 3, 8, 8]) for which in ("x", "y")]
    graph = helper.make_graph(node, name, values[:1], values[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name=name)
    path = os.path.join(os.fspath(tmp_path), NAME.replace("/", "_") + ".onnx")
    with open(path, "wb") as file:
        file.write(proto.SerializeToString())
    return path


def test_the_command_line_prints_no_name_as_it_is(model, photo, capsys, monkeypatch, tmp_path):
    damaged = photo.replace(".png", "2.png")
    with open(damaged, "wb") as file:
        file.write(b"no picture")
    labels = photo.replace(".png", ".json")
    with open(labels, "w") as file:
        file.write("{")
    usual = ["--preprocess", "unit", "-o", os.path.join(os.path.dirname(photo), NAME.replace("/", "_"))]
    for expected, arguments in [
        (0, ["layers", model]),
        (0, ["layers", model, "--json"]),
        (0, ["show", model, photo, "-l", "0", *usual]),
        (3, ["show", model, photo, damaged, "-l", "last", *usual]),
        (0, ["show", model, photo, "-l", "0", "--terminal", "none", *usual]),
        (1, ["show", model, damaged, *usual]),
        (1, ["show", model, photo, "-l", NAME, *usual]),
        (1, ["show", model, photo, "--labels", labels, *usual]),
        (1, ["show", photo, photo, *usual]),
        (1, ["show", f"module{NAME}:build", photo]),
        (2, ["show", model, photo, "--theme", NAME]),
        (2, ["show", model, photo, "--scale", NAME]),
        (2, ["show", model, photo, "--channels", NAME]),
        (2, ["show", model, photo, "--" + NAME.replace(" ", "")]),
        (2, [NAME]),
    ]:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert code == expected, (arguments, err)
        check(out)
        check(err)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    commands._print_rich(ls.open(model, preprocess="unit").layers())
    check(re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out))


def test_a_runtime_prints_no_name_by_itself(capfd, tmp_path):
    """In C++, beside the error that it raises."""
    helper = pytest.importorskip("onnx.helper", reason="the model is an ONNX file")
    name = NAME.encode("utf-8", "replace").decode()
    shape = helper.make_tensor("shape", 7, [4], [1, 3, 7, 8])
    values = [helper.make_tensor_value_info(which, 1, [1, 3, size, 8]) for which, size in (("x", 8), ("y", 7))]
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name=name)
    proto = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [shape]), ir_version=8)
    proto.opset_import[0].version = 17
    with pytest.raises(ls.ModelNotReadable) as caught:
        ls.open(proto, preprocess=None).capture(np.zeros((1, 3, 8, 8), np.float32))
    check(str(caught.value))
    assert "\x1b" not in "".join(capfd.readouterr())


def test_a_traceback_prints_no_name_as_it_is(capsys):
    try:
        raise ValueError(NAME)
    except ValueError as error:
        cli._print_traceback(ValueError, error, error.__traceback__)
    text = capsys.readouterr().err
    assert not [sign for sign in UNSAFE.findall(text) if sign != "\n"]
    assert "ValueError: ev" in text
