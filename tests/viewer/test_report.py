"""The report: what the file holds is what the model computed, how small it is, what it does when there is too much, and that
no name gets out of its place."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, warns
from layerscope.combinations.registry import combined
from layerscope.testing import TinyBackend, tiny_model
from layerscope.testing.tiny import Step, TinyModel
from layerscope.viewer import report as reports
from layerscope.viewer.payload import unpack
from layerscope.viewer.report import pack_text, unpack_text


def held(path):
    """The manifest and the parts of a report."""
    (text,) = re.findall('<script type="application/json" id="layerscope-data">(.*?)</script>', path.read_text("utf-8"))
    data = json.loads(text)
    return data["manifest"], data["parts"]


def tiny(**steps):
    """A scope on steps by name, each a function of `[image, 3, 224, 224]`."""
    model = TinyModel([Step(name, "Conv", "bchw", run) for name, run in steps.items()])
    return ls.open(model, backend=TinyBackend(), preprocess="unit", size=224)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    with Image.open(ls.demo_photo()) as image:
        image.convert("RGB").resize((320, 240)).save(path)
    return path


@pytest.fixture(scope="module")
def scope():
    return ls.open("demo")


@pytest.fixture(scope="module")
def written(scope, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "r.html"
    assert ls.report(scope, ls.demo_photo(), ["_conv_stem", "_swish:1"], path) == path
    return path


def test_it_holds_the_values_of_the_layers(scope, written):
    manifest, parts = held(written)
    assert [layer["path"] for layer in manifest["layers"]] == ["_conv_stem", "_swish:1"]
    maps = scope.capture(ls.demo_photo(), ["_conv_stem", "_swish:1"])
    for layer in manifest["layers"]:
        meta, tensors = unpack(unpack_text(parts[f"map:i0:{layer['id']}"]))
        values = np.moveaxis(maps[layer["path"]].values[0], -1, 0)
        read = tensors["values"].astype(np.float32) * 2.0 ** meta["exponent"]
        if "offsets" in tensors:
            read += tensors["offsets"][:, None, None]
        assert np.abs(read - values).max() <= np.ptp(values) / 240
        mean = dict(zip(meta["figures"], tensors["statistics"], strict=True))["mean"]
        assert np.allclose(mean, values.mean((1, 2)), rtol=1e-5, atol=1e-7)
    meta, tensors = unpack(unpack_text(parts["photo:i0"]))
    assert meta["photo"] == [300, 451]
    assert tensors["image"].tobytes()[:3] == b"\xff\xd8\xff"


def test_it_needs_no_server_and_asks_nobody(written):
    manifest, _ = held(written)
    assert manifest["caps"] == {"request": False, "upload": False, "exact": False}
    text = written.read_text("utf-8")
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*?)">', text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#x27;", "'").split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    for element in ("script", "style"):
        (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[f"{element}-src"] == f"'sha256-{digest}'"
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=\"(?!data:,)", text)


def test_predictions_and_combinations_are_in_it(scope, written):
    manifest, parts = held(written)
    top = manifest["inputs"][0]["predictions"][0]
    assert top["label"] == "tiger cat"
    offered = {rule["name"] for rule in manifest["combinations"]}
    assert "pca" in offered and "score-cam" not in offered
    for name in offered:
        assert any(key.startswith("combine:") and key.split(":")[3] == name for key in parts), name
    meta, tensors = unpack(unpack_text(parts["combine:i0:l0:pca"]))
    assert meta["linear"] and tensors["weights"].shape == (3, 32)
    assert {"grad-cam", "max", "norm", "deviation", "layer-cam"} & offered == {"max", "norm", "deviation"} | (
        {"grad-cam", "layer-cam"} if scope.backend.gradients else set()
    )
    for name in ("max", "norm", "deviation"):
        meta, tensors = unpack(unpack_text(parts[f"combine:i0:l0:{name}"]))
        expected = combined(scope.capture(ls.demo_photo(), "_conv_stem")["_conv_stem"], name).values[0]
        assert not meta["linear"] and tensors["values"].dtype == np.float16
        assert np.abs(tensors["values"][0] - expected[..., 0]).max() <= np.ptp(expected) / 480
    assert parts[f"combine:i0:l1:cam:{top['index']}"] == "combine:i0:l1:cam"
    assert parts["combine:i0:l0:cam"].startswith("!The last dense layer, ")
    reasons = {group["reason"]: group["labels"] for group in manifest["absent"]}
    assert "Score-CAM" in reasons["Only in layerscope view"] and "Mean" not in reasons["Only in layerscope view"]


@pytest.mark.parametrize(("after", "most"), [("noise", 8e6), ("relu", 5e6)])
def test_64_channels_of_224_pixels_are_small(tmp_path, photo, after, most):
    """Noise, which packs worst of all values."""
    noise = np.random.default_rng(0).standard_normal((1, 64, 224, 224)).astype(np.float32)
    scope = tiny(noise=lambda _: noise, relu=lambda _: np.maximum(noise, 0))
    path = ls.report(scope, photo, after, tmp_path / "r.html")
    assert path.stat().st_size < most
    _, tensors = unpack(unpack_text(held(path)[1]["map:i0:l0"]))
    assert tensors["values"].dtype == np.float16


def test_too_much_gets_8_bits_then_fewer_layers_and_says_so(tmp_path, photo, monkeypatch):
    noise = np.random.default_rng(0).standard_normal((1, 16, 224, 224)).astype(np.float32)
    steps = {f"conv{n}": (lambda _, n=n: noise[:, : 4 * n]) for n in (3, 1, 2)}
    sizes = {}
    for most in (50_000_000, 2_000_000, 1_300_000):
        monkeypatch.setattr(reports, "MOST", most)
        path = tmp_path / f"{most}.html"
        if most == 50_000_000:
            ls.report(tiny(**steps), photo, "*", path)
        else:
            with warns(ls.LayerscopeWarning):
                ls.report(tiny(**steps), photo, "*", path)
        manifest, parts = held(path)
        sizes[most] = path.stat().st_size
        assert sizes[most] <= most
        kept = [layer["path"] for layer in manifest["layers"]]
        kinds = {unpack(unpack_text(parts[key]))[1]["values"].dtype for key in parts if key.startswith("map:")}
        if most == 50_000_000:
            assert kinds == {np.dtype(np.float16)} and len(kept) == 3
            assert not manifest["notes"]
        elif most == 2_000_000:
            assert kinds == {np.dtype(np.uint8)} and len(kept) == 3
            assert "8 bits" in manifest["notes"][-1]
        else:
            assert kept == ["conv1", "conv2"], "the largest is left out, the others keep their order"
            assert "conv3" in manifest["notes"][-1]
        assert manifest["first"]["layer"] in [layer["id"] for layer in manifest["layers"]]
    monkeypatch.setattr(reports, "MOST", 300_000)
    with raises(ls.BadOption):
        ls.report(tiny(**steps), photo, "*", tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_hostile_names_stay_text(tmp_path):
    hostile = "</script><img src=x onerror=alert(1)><!--\u2028\u202e'\"&amp;"
    values = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    model = TinyModel([Step(hostile.replace("/", "|"), "<b>Conv</b>", "bchw", lambda _: values)])
    scope = ls.open(model, backend=TinyBackend(), preprocess="unit", size=8, labels=[hostile] * 3)
    object.__setattr__(scope, "name", hostile)
    photo = tmp_path / f"{hostile.replace('/', '|')}.png"
    Image.new("RGB", (8, 8), "teal").save(photo)
    path = ls.report(scope, photo, 0, tmp_path / "r.html")
    text = path.read_text("utf-8")
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in re.sub("(?s)<script>.*?</script>", "", text)
    assert "\u202e" not in text and "\u2028" not in text
    manifest, _ = held(path)
    assert manifest["layers"][0]["path"] == hostile.replace("/", "|")
    assert manifest["model"]["name"] == hostile


def test_where_files_lie_stays_here(tmp_path, photo):
    path = ls.report(ls.demo_model(), photo, "_conv_stem", tmp_path / "r.html")
    manifest, _ = held(path)
    assert f'ls.open("{ls.demo_model().name}")' in manifest["model"]["opening"]
    assert manifest["inputs"][0]["source"] == photo.name
    assert str(tmp_path) not in path.read_text("utf-8")


def test_other_files_are_refused_before_anything_is_loaded(tmp_path):
    for name in ("r.png", "r", "r.html.txt"):
        with raises(ls.BadOption):
            ls.report("no-such-model.onnx", ls.demo_photo(), "last", tmp_path / name)


def test_several_photos_and_what_has_no_pixels(tmp_path, photo):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    manifest, parts = held(ls.report(scope, [photo, ls.demo_photo()], "*", tmp_path / "r.html"))
    assert [entry["id"] for entry in manifest["inputs"]] == ["i0", "i1"]
    for layer in manifest["layers"]:
        assert {f"map:i0:{layer['id']}", f"map:i1:{layer['id']}"} <= set(parts)


@pytest.mark.parametrize("size", [0, 1, 2, 1001, 4096])
def test_packing_loses_nothing(size):
    data = np.random.default_rng(size).integers(0, 4, size, np.uint8).tobytes()
    for halves in (False, True):
        assert unpack_text(pack_text(data, halves=halves)) == data


def test_the_same_report_twice_is_the_same_file(tmp_path, scope, written):
    again = ls.report(scope, ls.demo_photo(), ["_conv_stem", "_swish:1"], tmp_path / "again.html")
    assert again.read_bytes() == written.read_bytes()
