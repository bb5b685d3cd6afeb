"""What a page is told names what it shows: no option of the command line, and no keyword of Python."""

import ast
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import layerscope as ls
from helpers.stores import small_store
from helpers.viewer import PHOTO, shapes_session, tiny_session
from layerscope import surface
from layerscope.combinations.registry import RULES
from layerscope.errors import LayerscopeError
from layerscope.viewer.session import Session, failure
from layerscope.viewer.stored import StoredSession

SOURCE = Path(ls.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]|(?<![\w.\[(])[a-z_]+=(?![=\d])|\bls\.|\b(?:statistics|layers|bars)\(\)")
# What runs before there is a page, or beside it.
BEFORE = (
    *("cli", "store", "callbacks", "terminal", "testing", "surface.py", "plots/batch_job.py"),
    *("plots/kernels.py", "plots/figure.py", "plots/show.py", "plots/groups.py", "viewer/page.py", "viewer/stored.py"),
    *(
        "backends/registry.py",
        "backends/formats.py",
        "backends/keras",
        "backends/torch/hub.py",
        "backends/torch/load.py",
    ),
    *("scope/open.py", "scope/batches.py", "inputs/recipe.py", "core/selection.py", "core/table_text.py"),
    *("combinations/reduce.py", "picture/export/files.py"),
)


def spoken():
    """The words for a page of each `by_surface` that can be read there, with their place."""
    for file in sorted(SOURCE.rglob("*.py")):
        path = file.relative_to(SOURCE).as_posix()
        if path.startswith(BEFORE):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "by_surface":
                words = node.args[2] if len(node.args) == 3 else node.args[0]
                yield (
                    f"{path}:{node.lineno}",
                    "".join(
                        part.value
                        for part in ast.walk(words)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    ),
                )


def test_what_differs_by_reader_has_words_for_a_page():
    words = dict(spoken())
    assert len(words) > 20
    assert not {place: text for place, text in words.items() if OPTION.search(text)}


def test_every_option_is_named_in_plain_words():
    with surface.command_line(), surface.page():
        for name in surface.OPTIONS:
            assert not OPTION.search(surface.option(name)) and not OPTION.search(surface.option(name, (1, 2)))


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(3 * 64, 5))
    batch = np.zeros((2, 3, 12, 12), np.float32)
    return [
        tiny_session(),
        shapes_session(),
        Session(ls.open(network.eval(), preprocess="unit", size=12), PHOTO),
        Session(ls.open(network.eval(), preprocess=None), batch),
        StoredSession(small_store(tmp_path_factory.mktemp("words"), 4, keep="maps", dtype="float32")),
    ]


NAMES = [
    *(rule.name for rule in RULES),
    "nmf:99",
    "clusters:9999",
    "similarity:99,0",
    "attention:x",
    "gradcam",
    "weights:w.npy",
]
VIEWS = [
    {"find": "mean > 1e9"},
    {"find": "meen > 1"},
    {"scale": "image"},
    {"scale": [2, 1]},
    {"clip": [99, 1]},
    {"scale": "channel", "norm": "cubic"},
    {"norm": "log", "scale": [-1, 1]},
    {"norm": "log", "mode": "pca"},
    {"sort": "size"},
    {"sort": "similarity:99"},
    {"colors": "reddish"},
    {"single": True, "active": 99},
    {"mode": "weights", "weights": {"99": 1}},
    {"mode": "mean", "opacity": 2},
]


def uploads():
    """Files that are no photos, or no usual ones."""
    odd = np.full((8, 8), np.nan, np.float32), np.full((8, 8), 7.5, np.float32), np.full((8, 8), -3, np.int32)
    for values in odd:
        file = io.BytesIO()
        Image.fromarray(values).save(file, "TIFF")
        yield file.getvalue()
    large = io.BytesIO()
    Image.new("1", (9000, 9000)).save(large, "PNG")
    yield from (large.getvalue(), b"", b"GIF89a", b"\x93NUMPY\x01\x00", b"\0\0\0\x18ftypheic", b"no image at all")


def asked(session):
    """Requests of every kind that go wrong, and some that don't."""
    manifest = session.answer("manifest").result
    layers = [layer["id"] for layer in manifest["layers"]]
    for layer in [*layers[:6], "l99"]:
        base = {"input": "i0", "layer": layer}
        yield from (
            ("combine", {**base, "name": name, "target": target}, ()) for name in NAMES for target in (None, 999)
        )
        yield from (("combine", {**base, "name": "grad-cam", "target": target}, ()) for target in (1.5, "x"))
        yield "probe", {**base, "channel": 99}, ()
        yield "probe", {**base, "channel": 0, "position": [99]}, ()
        yield "map", {**base, "encoding": "f8"}, ()
        for what in ("sheet", "combined", "overlay", "all"):
            yield from (("picture", {"view": {**base, **view}, "what": what}, ()) for view in VIEWS)
            yield "picture", {"view": base, "what": what, "page": 9, "dpi": 300}, ()
    yield from (("add", {"name": name}, [data]) for name in ("a.tiff", "b.mp4", "c.heic") for data in uploads())
    yield from (("classes", {"text": text, "one": True}, ()) for text in ("e", "zzz"))
    yield from (("photo", {"input": "i9"}, ()), ("predictions", {"input": "i9"}, ()), ("nothing", {}, ()))


def texts(value):
    """The sentences in an answer, without lines of Python."""
    if isinstance(value, dict):
        return [
            text for key, each in value.items() if key not in ("opening", "call", "command") for text in texts(each)
        ]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::layerscope.LayerscopeWarning")
@pytest.mark.parametrize("number", range(5))
def test_no_answer_names_an_option(sessions, number):
    session, said, told = sessions[number], {}, set()
    with surface.command_line():
        told.update(texts(session.answer("manifest", {"predictions": "all"}).result))
        for op, params, buffers in asked(session):
            try:
                told.update(texts(session.answer(op, params, buffers).result))
            except LayerscopeError as error:
                said[failure(error, op)["message"]] = (op, str(params)[:200])
    print(*said, sep="\n")
    assert len(said) > 15
    wrong = [text for text in said if OPTION.search(text)]
    assert not wrong, "\n".join(wrong)
    assert not [text for text in told if OPTION.search(text) and len(text) < 400]


def test_what_is_wrong_at_the_start_is_said_to_whoever_starts():
    session = Session(ls.open("demo"), ls.demo_photo(), "no_such_layer")
    with surface.command_line(), pytest.raises(ls.LayerNotFound, match="`layerscope layers MODEL`"):
        session.check()
