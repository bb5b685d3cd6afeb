"""The command line with arrays instead of photos, with layers of several rows, and its errors before a model is opened."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import wording
from layerscope import cli

onnx = pytest.importorskip("onnx")
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
RANDOM = np.random.default_rng(0)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out.split(), err

    return run


def save(path, nodes, inputs, shape, **weights):
    """An ONNX file; `weights` are constants."""
    values = [onnx.helper.make_tensor_value_info(name, FLOAT, sizes) for name, sizes in inputs.items()]
    out = [onnx.helper.make_tensor_value_info("out", FLOAT, shape)]
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = onnx.helper.make_graph([onnx.helper.make_node(*node) for node in nodes], "g", values, out, constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def two_inputs(tmp_path):
    """Sound with a style: a convolution over time, and what is added to it."""
    weights = RANDOM.normal(size=(4, 1, 3)).astype(np.float32)
    nodes = [("Conv", ["sound", "w"], ["c"]), ("Add", ["c", "style"], ["out"])]
    save(tmp_path / "two.onnx", nodes, {"sound": ["n", 1, 100], "style": ["n", 4, 98]}, ["n", 4, 98], w=weights)
    return weights


@pytest.fixture
def rows(tmp_path):
    """Two rows for each image, as windows are."""
    nodes = [("Conv", ["x", "w"], ["c"]), ("Reshape", ["c", "sizes"], ["r"]), ("Relu", ["r"], ["out"])]
    weights = RANDOM.normal(size=(4, 3, 1, 1)).astype(np.float32)
    save(tmp_path / "rows.onnx", nodes, {"x": ["n", 3, 16, 16]}, None, w=weights, sizes=np.array([-1, 2, 16, 16]))
    for name in "abc":
        Image.fromarray(RANDOM.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")


def test_a_model_without_photos_is_listed_on_zeros(run, two_inputs):
    code, out, _ = run("layers", "two.onnx")
    assert code == 0
    assert "1×4×98" in out


def test_several_inputs_come_by_name_from_an_npz(run, two_inputs):
    sound, style = RANDOM.normal(size=(2, 1, 100)).astype(np.float32), np.ones((2, 4, 98), np.float32)
    np.savez("two.npz", style=style, sound=sound)
    code, out, _ = run(
        "show", "two.onnx", "two.npz", "--preprocess", "none", "-l", "#0", "-o", "out", "--values", "v.npz"
    )
    assert code == 0
    assert len(set(out)) == 3
    expected = np.stack([[np.correlate(row[0], kernel[0], "valid") for kernel in two_inputs] for row in sound])
    np.testing.assert_allclose(ls.load("v.npz").values, expected.transpose(0, 2, 1), rtol=1e-5, atol=1e-6)


def test_an_array_is_a_batch_that_is_ready(run):
    batch = RANDOM.normal(size=(3, 3, 224, 224)).astype(np.float32)
    np.save("batch.npy", batch)
    np.savez("one.npz", anything=batch)
    for file in ("batch.npy", "one.npz"):
        arguments = ("show", "demo", file, "--preprocess", "none", "-l", "_conv_stem", "--channels", "0", "-o", "out")
        code, out, _ = run(*arguments, "--values", "v.npz")
        assert code == 0
        assert len(out) == 4
        expected = ls.open("demo", preprocess=None).capture(batch, "_conv_stem", channels=[0])["_conv_stem"]
        assert np.array_equal(ls.load("v.npz").values, expected.values)
    assert run("layers", "demo", "batch.npy", "--preprocess", "none")[0] == 0
    assert (
        run("show", "demo", "batch.npy", "batch.npy", "--preprocess", "none", "-l", "_conv_stem", "-o", "out")[0] == 0
    )


def test_combinations_of_single_images_keep_the_batch_apart(run):
    np.save("batch.npy", RANDOM.normal(size=(2, 3, 224, 224)).astype(np.float32))
    code, out, _ = run("show", "demo", "batch.npy", "--preprocess", "none", "--combine", "cam", "-o", "out")
    assert code == 0
    assert len(set(out)) == 2


def test_an_array_of_pixels_is_a_photo(run):
    pixels = RANDOM.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    np.save("photo.npy", pixels)
    Image.fromarray(pixels).save("photo.png")
    code, _, _ = run("show", "demo", "photo.npy", "photo.png", "-l", "_conv_stem", "--values", "v.npz", "-o", "out")
    first, second = ls.load("v.npz").values
    assert code == 0
    assert np.array_equal(first, second)


def test_pictures_of_arrays_in_files_are_named_after_the_files(run):
    for name, shape in (("one", (30, 40, 3)), ("two", (30, 40, 3)), ("three", (2, 30, 40, 3))):
        np.save(f"{name}.npy", RANDOM.integers(0, 255, shape, dtype=np.uint8))
    shown = ("-l", "_conv_stem", "--channels", "0", "-o", "out")
    written = []
    for files in (["one.npy"], ["two.npy", "three.npy"]):
        code, out, _ = run("show", "demo", *files, *shown)
        assert code == 0
        written += [Path(path).name for path in out]
    assert written == [f"{name}-_conv_stem.png" for name in ("one", "two", "three-0", "three-1")]


def test_pictures_of_ready_batches_are_named_after_the_files(run):
    for name, count in (("one", 1), ("two", 2)):
        np.save(f"{name}.npy", RANDOM.normal(size=(count, 3, 224, 224)).astype(np.float32))
    for more in ([], ["--combine", "cam"]):
        layer = [] if more else ["-l", "_conv_stem", "--channels", "0"]
        code, out, _ = run(
            "show", "demo", "one.npy", "two.npy", "one.npy", "--preprocess", "none", *layer, *more, "-o", "out"
        )
        assert code == 0
        names = [Path(path).name.partition("-_")[0] for path in out]
        assert (names[:3], len(set(names))) == (["one", "two-0", "two-1"], 4)
        with Image.open(out[1]) as picture:
            assert json.loads(picture.info["layerscope"])["images"] == ["two-0"]


def test_arrays_that_do_not_fit_are_named(run, two_inputs, tmp_path):
    np.save("a.npy", np.zeros((1, 3, 224, 224), np.float32))
    np.save("b.npy", np.zeros((1, 3, 9, 9), np.float32))
    np.save("objects.npy", np.array([None]), allow_pickle=True)
    np.savez("empty.npz")
    Image.new("RGB", (9, 9)).save("photo.png")
    for files in (["a.npy", "b.npy"], ["photo.png"], ["objects.npy"], ["empty.npz"], ["missing.npy"]):
        code, _, err = run("show", "demo", *files, "--preprocess", "none", "-o", "out")
        assert code == 1
        assert err.count("error: ") == 1
        wording(err.splitlines()[-1])


def test_rows_of_each_photo_have_files_of_their_own(run, rows):
    for layers in (["relu", "conv"], ["conv", "relu"], ["relu"], ["*"]):
        names = [option for layer in layers for option in ("-l", {"relu": "#2", "conv": "#0"}.get(layer, layer))]
        code, out, _ = run("show", "rows.onnx", "a.png", "b.png", "c.png", "--preprocess", "unit", *names, "-o", "out")
        assert code == 0
        assert len(out) == len(set(out))
        for name in "abc":
            assert sum(f"/{name}" in path for path in out) * 3 == len(out)


def test_rows_do_not_go_into_one_file(run, rows):
    code, _, err = run("show", "rows.onnx", "a.png", "--preprocess", "unit", "-l", "#2", "-o", "one.png")
    assert code == 1
    wording(err.splitlines()[-1])


def test_rows_of_photos_that_were_captured_alone_are_named_by_them(rows, tmp_path):
    scope = ls.open(tmp_path / "rows.onnx", preprocess="unit")
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    (fm,) = scope.capture(photos, "#2", batch=1).values()
    assert fm.ids == ("a.png row 0", "a.png row 1", "b.png row 0", "b.png row 1")
    (fm,) = scope.capture(photos, "#2").values()
    assert fm.ids == ("row 0", "row 1", "row 2", "row 3")
    maps = scope.capture(photos, "*", batch=1)
    assert maps.images == ("a.png", "b.png")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "MODEL", "missing.png"),
        ("show", "MODEL", "missing*.png"),
        ("layers", "MODEL", "missing.png"),
        ("show", "MODEL", "here.png", "--labels", "missing.txt"),
        ("show", "MODEL", "here.png", "--weights", "missing.h5"),
        ("show", "MODEL", "here.png", "--combine", "weights:missing.npy"),
        ("show", "MODEL", "here.png", "--combine", "meen"),
        ("show", "MODEL", "here.png", "--values", "v.txt"),
        ("show", "MODEL", "here.png", "-o", "here.png"),
        ("show", "MODEL", "damaged.png"),
        ("show", "MODEL", "damaged.png", "empty.jpg"),
        ("show", "MODEL", "here.png", "--preprocess", "imagnet"),
        ("show", "MODEL", "here.png", "--preprocess", "none", "--range", "0:4095"),
        ("show", "MODEL", "here.png", "--labels", "damaged.json"),
        ("show", "MODEL", "here.png", "--combine", "weights:damaged.npy"),
        ("show", "nowhere.onnx", "here.png"),
        ("show", "here.png", "here.png"),
        ("show", "https://example.org/m.onnx", "here.png"),
        ("layers", "kers:VGG 16"),
        ("layers", "keras:VGG17"),
    ],
)
def test_names_are_checked_before_a_model_is_opened(run, monkeypatch, arguments):
    Image.new("RGB", (9, 9)).save("here.png")
    for name in ("damaged.png", "damaged.json", "damaged.npy"):
        Path(name).write_bytes(b"{no picture")
    Path("empty.jpg").touch()
    monkeypatch.setattr("layerscope.scope.open.open", lambda *_, **__: pytest.fail("the model was opened"))
    arguments = ["keras:VGG16" if argument == "MODEL" else argument for argument in arguments]
    code, _, err = run(*arguments, "--import", "module_of_mine")
    assert code == 1
    wording(err)


def test_an_empty_layer_is_wrong_usage(run):
    with pytest.raises(SystemExit) as stop:
        run("show", "demo", ls.demo_photo(), "-l", "")
    assert stop.value.code == 2


def test_show_looks_for_the_photo_first(monkeypatch):
    monkeypatch.setattr("layerscope.plots.show.scope_of", lambda *_, **__: pytest.fail("the model was opened"))
    with pytest.raises(ls.ImageNotReadable):
        ls.show("keras:VGG16", "missing.png")


def test_a_range_is_said_on_the_command_line(run):
    ramp = np.linspace(0, 4095, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(ramp).save("deep.png")
    code, _, err = run("show", "demo", "deep.png", "-l", "_conv_stem", "-o", "a.png")
    assert code == 0
    for line in err.splitlines()[1:]:
        wording(line, "4,095")
    code, _, err = run("show", "demo", "deep.png", "-l", "_conv_stem", "-o", "b.png", "--range", "0:4095")
    assert code == 0
    assert "warning" not in err


@pytest.mark.parametrize("model", ["https://example.org/m.onnx", ".", "weights.safetensors", "run.1"])
def test_what_is_no_model_file_is_said(run, tmp_path, model):
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "run.1").mkdir()
    code, _, err = run("layers", model)
    assert code == 1
    wording(err)


def test_an_installed_plugin_of_pillow_is_registered(run, tmp_path, monkeypatch):
    registered = []
    plugin = SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    Image.new("RGB", (9, 9)).save("photo.png")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    run("show", "demo", "photo.png", "-l", "_conv_stem", "-o", "a.png")
    assert not registered
    code, _, err = run("show", "demo", "photo.heic", "-l", "_conv_stem", "-o", "a.png")
    assert code == 1
    wording(err.splitlines()[-1])
    assert registered


FAILS = "def list_models(): return ['resnet18']\ndef create_model(*_, **__): raise RuntimeError"


@pytest.mark.parametrize("code", ["raise RuntimeError('no operator\\nmore')", FAILS])
def test_a_library_that_fails_is_one_line(run, tmp_path, monkeypatch, code):
    pytest.importorskip("torch")
    (tmp_path / "timm.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    code, _, err = run("layers", "timm:resnet18")
    sys.modules.pop("timm", None)  # not by monkeypatch, which would put it back for all tests that follow
    assert code == 1
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_range_is_advised_with_the_option_and_the_numbers_of_the_file(run, tmp_path):
    np.save(tmp_path / "wide.npy", np.arange(192).reshape(8, 8, 3) * 20)
    code, _, err = run("show", "demo", "wide.npy", "-o", "out")
    assert code == 1
    assert "--range 0:4095" in err


def test_the_demo_is_written_though_nobody_reads_what_it_says(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    cli.main(["demo", "-o", str(tmp_path / "demo")])
    assert len(list((tmp_path / "demo").glob("*.png"))) == 7


def test_show_of_the_demo_has_its_photo(run):
    code, out, _ = run("show", "demo", "-l", "_conv_stem", "--channels", "0", "-o", "out")
    assert (code, [Path(path).name for path in out]) == (0, ["chelsea-_conv_stem.png"])
    assert run("show", "keras:VGG16", "-l", "block1_conv1")[0] == 1


@pytest.mark.parametrize(("option", "said"), [("--figsize", "--width-mm"), ("--vmin", "--scale LOW:HIGH")])
def test_options_of_matplotlib_are_answered_with_ours(capsys, option, said):
    with pytest.raises(SystemExit):
        cli.main(["show", "demo", option, "3"])
    assert said in capsys.readouterr().err
