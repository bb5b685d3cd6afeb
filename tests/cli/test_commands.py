"""The command line, run as a user runs it."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, wording
from layerscope import cli
from layerscope.backends.registry import SPECS
from layerscope.cli import commands
from layerscope.safe_text import writable

LONG = "long" * 100  # more than a file system takes


def run_cli(capsys, *arguments):
    """(exit code, stdout, stderr) of one command, in this process."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def photo():
    return ls.demo_photo()


def test_layers_prints_a_table_that_grep_can_read(capsys):
    code, out, _ = run_cli(capsys, "layers", "demo")
    assert code == 0
    line = next(line for line in out.splitlines() if " _blocks.4._swish " in line)
    assert line.split()[:7] == ["19", "_blocks.4._swish", "Clip", "1×240×28×28", "bchw", "240", "2"]


def test_demo_is_the_embedded_model_beside_a_folder_of_that_name(capsys, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_cli(capsys, "layers", "demo")[0] == 0
    assert run_cli(capsys, "layers", "./demo")[0] != 0


@pytest.mark.parametrize("channels", ["0:3000000000", "0:3000000000,3000000000:0"])
def test_a_run_of_billions_of_channels_is_refused_at_once(capsys, photo, channels):
    code, _, error = run_cli(capsys, "show", "demo", str(photo), "-l", "_conv_stem", "--channels", channels)
    assert code != 0
    assert "no channel" in error


def test_layers_as_json(capsys, photo):
    code, out, _ = run_cli(capsys, "layers", "demo", photo, "--json")
    rows = {row["path"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["_conv_stem"]["shape"] == [1, 32, 112, 112]
    assert rows["_swish"]["call_shapes"] == [[1, 32, 112, 112], [1, 1280, 7, 7]]


def test_the_rich_table_marks_names_that_look_like_markup(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    commands._print_rich(ls.LayerTable([ls.Layer("[red]x", "Conv", "bchw", (1, 2, 3, 4), 0, 1)], "m [b]"))
    assert "[red]x" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_a_tree_that_cuts_nothing(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    table = ls.open(ls.demo_model()).layers()
    commands._print_rich(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    line = next(line for line in lines if line.lstrip().startswith("0 "))
    assert {"1×32×112×112", "896", "3×3", "/2", "@1", "▦"} <= set(line.split())
    assert table[0].note in " ".join(" ".join(lines).split())
    assert "…" not in "".join(lines)


def test_an_output_without_such_signs_gets_plain_ones(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert writable("▦ 3×3 –") == "# 3x3 -"


def test_the_json_of_the_embedded_model_is_what_it_was(capsys):
    """The contract of `layers --json`: keys in this order, and the same text each time."""
    text = [run_cli(capsys, "layers", "demo", "--json")[1] for _ in range(2)]
    assert text[0] == text[1]
    rows = json.loads(text[0])
    keys = "path kind axes shape index channels spatial calls call_shapes note aliases mark parameters receptive"
    assert {" ".join(row) for row in rows} == {keys}
    axis = {"size": 3, "stride": 2.0, "offset": 1.0, "whole": False, "unknown": ""}
    assert rows[0] == {
        "path": "_conv_stem",
        "kind": "Conv",
        "axes": "bchw",
        "shape": [1, 32, 112, 112],
        "index": 0,
        "channels": 32,
        "spatial": [112, 112],
        "calls": 1,
        "call_shapes": [],
        "note": "BatchNorm '_bn0' is folded in: the values are its output",
        "aliases": rows[0]["aliases"],
        "mark": "picture",
        "parameters": 896,
        "receptive": [axis, axis],
    }
    whole = {"size": None, "stride": None, "offset": None, "whole": True, "unknown": ""}
    assert (rows[-1]["mark"], rows[-1]["receptive"]) == ("scalar", [whole, whole])


def test_show_writes_a_sheet_and_prints_its_path(capsys, photo, tmp_path):
    out_file = tmp_path / "new" / "stem.png"
    code, out, err = run_cli(capsys, "show", "demo", photo, "-l", "_conv_stem", "-o", out_file)
    assert (code, out.strip()) == (0, str(out_file))
    wording(err)
    wording(err)
    with Image.open(out_file) as image:
        about = json.loads(image.text["layerscope"])
    assert about["layer"] == "_conv_stem"
    scope = ls.open("demo")
    assert about["preprocess"] == scope.preprocess.describe()
    assert about["preprocess_source"] == scope.plan.note
    assert f"{scope.preprocess.describe()} ({scope.plan.note})" in repr(scope)
    assert about["model_digest"].startswith("sha256:")
    assert about["images"] == ["chelsea.png"]


def test_last_is_explained_without_another_run(capsys, photo, tmp_path, monkeypatch):
    from layerscope.backends.onnx.backend import OnnxBackend

    dry_runs, layers = [], OnnxBackend.layers
    monkeypatch.setattr(OnnxBackend, "layers", lambda *args: dry_runs.append(1) or layers(*args))
    code, _, err = run_cli(capsys, "show", "demo", photo, "-o", tmp_path / "a.png")
    assert code == 0
    wording(err, "'_swish:1'")
    assert dry_runs == [1]


def test_show_takes_every_option(capsys, photo, tmp_path):
    np.save(tmp_path / "w.npy", np.linspace(-1, 1, 32))
    layer = ("show", "demo", photo, "-l", "_conv_stem")
    for name, options in {
        "mean": ["--combine", "mean"],
        "total": ["--combine", "total"],
        "max": ["--combine", "max"],
        "norm": ["--combine", "norm"],
        "pca": ["--combine", "pca"],
        "weights": ["--combine", f"weights:{tmp_path / 'w.npy'}"],
        "overlay": ["--overlay"],
        "tiles": ["--columns", "4", "--channels", "0:3,7", "--scale", "layer", "--colors", "magma", "--sort", "mean"],
        "limits": ["--scale=-1:1"],
        "signed": ["--scale", "-.5:1"],
    }.items():
        target = tmp_path / f"{name}.png"
        code, _, err = run_cli(capsys, *layer, *options, "-o", target)
        assert code == 0, err
        with Image.open(target) as image:
            about = json.loads(image.text["layerscope"])
            caption, scale, title = " ".join(about["caption"]), about["scale"], image.text["Title"]
        expected = {
            "tiles": ("channels 0, 1, 2 and 7 of 32", title),
            "limits": ("fixed range −1…1", scale),
            "signed": ("fixed range −0.5…1", scale),
            "overlay": ("shown in grey", caption),
            "weights": ("Weighted sum of 32 channels", title),
            "pca": ("PCA of 32", title),
        }.get(
            name,
            (
                f"{ {'max': 'Maximum', 'total': 'Sum', 'deviation': 'Standard deviation'}.get(name, name.capitalize()) } of 32",
                title,
            ),
        )
        assert expected[0] in expected[1]


def test_show_finds_channels_and_draws_them_in_pages_for_print(capsys, photo, tmp_path):
    options = ["--channels", "mean > 0.1 and not dead", "--sort", "similarity", "--per-page", "8", "--statistics"]
    options += ["--text", "2", "--dpi", "300", "--theme", "dark"]
    code, out, err = run_cli(capsys, "show", "demo", photo, "-l", "_conv_stem", *options, "-o", tmp_path / "a.png")
    assert code == 0, err
    fm = ls.open("demo").capture(photo, "_conv_stem")["_conv_stem"]
    channels = ls.find_channels(fm, "mean > 0.1 and not dead")
    files = out.split()
    assert len(files) == -(-len(channels) // 8) > 1
    for page, file in enumerate(files):
        options = {"channels": "mean > 0.1 and not dead", "sort": "similarity", "statistics": True, "text": 2}
        expected = ls.sheet(fm, **options, per_page=8, page=page)
        with Image.open(file) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
            assert np.array_equal(np.asarray(image), expected.pixels)
            about = json.loads(image.text["layerscope"])
        assert about["theme"] == "dark"
        wording(about["title"], len(channels), "32", "0.1")
    code, _, err = run_cli(capsys, "show", "demo", photo, "--channels", "dead", "--combine", "mean")
    assert code == 1
    wording(err)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv"])
def test_the_output_may_be_numbers(capsys, photo, tmp_path, suffix):
    """What would be drawn, in place of the picture."""
    file = tmp_path / f"mean{suffix}"
    code, out, _ = run_cli(capsys, "show", "demo", photo, "-l", "_conv_stem", "--combine", "mean", "-o", file)
    assert (code, out.split()) == (0, [str(file)])
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    expected = ls.mean(ls.open("demo").capture(photo, "_conv_stem")["_conv_stem"])
    if suffix == ".csv":
        assert file.read_text() == expected.to_csv()
    else:
        assert np.array_equal(ls.load(file).values if suffix == ".npz" else np.load(file), expected.values)


def test_numbers_of_several_layers_and_images(capsys, photo, tmp_path):
    photos = [photo, tmp_path / "other.png"]
    Image.open(photo).rotate(90).save(photos[1])
    layers = ["-l", "_conv_stem", "-l", "_blocks.4", "--channels", "max > 0 and not dead"]
    code, out, _ = run_cli(
        capsys, "show", "demo", *photos, *layers, "-o", tmp_path / "v.npy", "--values", tmp_path / "w.csv"
    )
    names = ["v-_blocks.4.npy", "v-_conv_stem.npy", "w-_blocks.4.csv", "w-_conv_stem.csv"]
    assert (code, sorted(out.split())) == (0, [str(tmp_path / name) for name in names])
    maps = ls.open("demo").capture(photos, ["_conv_stem", "_blocks.4"])
    for path, fm in maps.items():
        chosen = fm.select(ls.find_channels(fm, "max > 0 and not dead"))
        assert np.array_equal(np.load(tmp_path / f"v-{path}.npy"), chosen.values)
        assert (tmp_path / f"w-{path}.csv").read_text() == fm.to_csv()
    cams = ["-l", "_conv_head", "--combine", "score-cam", "--channels", "0:3", "-o", tmp_path / "cam.npy"]
    code, out, _ = run_cli(capsys, "show", "demo", *photos, *cams)
    assert (code, sorted(out.split())) == (0, [str(tmp_path / f"cam-{name}.npy") for name in ("chelsea", "other")])


def test_values_are_written_as_the_numbers_themselves(capsys, photo, tmp_path):
    code, out, _ = run_cli(
        capsys, "show", "demo", photo, "-l", "_conv_stem", "-o", tmp_path / "a.png", "--values", tmp_path / "v.npz"
    )
    assert code == 0
    assert str(tmp_path / "v.npz") in out
    expected = ls.open("demo").capture(photo, "_conv_stem")["_conv_stem"]
    assert np.array_equal(ls.load(tmp_path / "v.npz").values, expected.values)


def test_without_o_it_writes_into_the_current_folder(capsys, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_cli(capsys, "show", "demo", photo, "-l", "_swish", "-l", "_conv_stem", "--combine", "mean")
    assert code == 0
    assert out.split() == [
        "chelsea-_conv_stem-mean.png",
        "chelsea-_swish_0-mean.png",
        "chelsea-_swish_1-mean.png",
    ]
    assert all((tmp_path / name).is_file() for name in out.split())


def test_a_bad_image_is_skipped_listed_and_shows_in_the_exit_code(capsys, photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.png").write_bytes(photo.read_bytes())
    (folder / "truncated.png").write_bytes(photo.read_bytes()[:5000])
    code, out, err = run_cli(
        capsys, "show", "demo", folder, "-l", "_conv_stem", "--combine", "mean", "-o", tmp_path / "out"
    )
    assert code == 3
    wording(re.sub(r"\d+\.\d s", "0.0 s", err), "truncated.png")
    assert len(out.split()) == 1
    code, _, err = run_cli(capsys, "show", "demo", folder / "truncated.png", "-o", tmp_path / "b.png")
    assert code == 1
    assert err.count("\n") == 1, "no model was opened for it"


def test_images_of_one_name_do_not_overwrite_each_other(capsys, photo, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cat.png").write_bytes(photo.read_bytes())
    with Image.open(photo) as image:
        image.convert("RGB").save(tmp_path / "a" / "cat.jpg")
    png, jpg, other = tmp_path / "a" / "cat.png", tmp_path / "a" / "cat.jpg", tmp_path / "b" / "cat.png"
    for name, images in {"suffixes": (png, jpg), "folders": (png, other)}.items():
        to = tmp_path / name
        code, out, _ = run_cli(capsys, "show", "demo", *images, "-l", "_conv_stem", "--combine", "mean", "-o", to)
        assert code == 0
        assert len(set(out.split())) == len(list(to.iterdir())) == 2


def test_one_range_and_one_basis_for_all_images(capsys, photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, turn in enumerate((0, 180)):
        with Image.open(photo) as image:
            image.rotate(turn).save(folder / f"{index}.png")
    for options in (["--scale", "images"], ["--combine", "pca"]):
        code, out, _ = run_cli(
            capsys, "show", "demo", folder, "-l", "_conv_stem", *options, "-o", tmp_path / options[1]
        )
        assert code == 0
        limits = set()
        for path in out.split():
            with Image.open(path) as image:
                about = json.loads(image.text["layerscope"])
                limits.add(str(about.get("limits") or [note for note in about["notes"] if "basis" in note]))
        assert len(limits) == 1


@pytest.mark.parametrize(
    ("option", "wrong", "right"),
    [("norm", "sym-log", "symlog"), ("theme", "drak", "dark"), ("on", "gray", "grey"), ("terminal", "sixle", "sixel")],
)
def test_a_word_that_an_option_does_not_have_is_answered_by_a_near_one(capsys, photo, option, wrong, right):
    code, _, err = run_cli(capsys, "show", "demo", photo, f"--{option}", wrong)
    assert code == 2
    assert f"Did you mean '{right}'" in err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["show", "demo", "{photo}", "-l", "_conv_stm"], "Did you mean '_conv_stem'"),
        (["show", "demo", "{photo}", "-l", "_conv_stem,last"], "an -l for each"),
        (["show", "nowhere.onnx", "{photo}"], "model nowhere.onnx: no such file"),
        (["show", "demo", "nowhere.jpg"], "nowhere.jpg"),
        (["show", "demo", "{photo}", "--combine", "meen"], "Did you mean 'mean'"),
        (["show", "demo", "{photo}", "--colors", "virids"], "Did you mean 'viridis'"),
        (["show", "demo", "{photo}", "-l", "_conv_stem", "--channels", "99"], "0 to 31"),
        (["show", "demo", "{photo}", "--preprocess", "imagnet"], "imagenet"),
        (["show", "demo", "{photo}", "-l", "stages", "-o", "{tmp}/a.png"], "name a folder"),
        (["show", "demo", "{photo}", "--values", "v.txt"], ".npz"),
        (["show", "demo", "{photo}", "-l", "0", "--combine", "mean", "-o", "{photo}/a.png"], "can't make the folder"),
        (
            ["show", "demo", "{tmp}/cat.png", "-l", "0", "--combine", "mean", "-o", "{tmp}/cat.png"],
            "is an input",
        ),
        (["show", "demo", "{photo}", "-l", "0", "--combine", "mean", "-o", "{photo}/a"], "can't make the folder"),
        (["show", "demo", "{photo}", "-l", "0", "--values", "{photo}/v.npz", "-o", "{tmp}"], "can't make the folder"),
        (["show", "demo", "{photo}", "-l", "0", "--values", "{tmp}/is.npz", "-o", "{tmp}"], "can't write"),
        (["layers", "demo", "nowhere.jpg"], "nowhere.jpg"),
        (["show", "demo", "{photo}", "--combine", "weights:no.npy"], "no.npy: no such file"),
        (["show", "demo", "{photo}", "--combine", "weights:{tmp}/empty.npy"], "as numbers"),
        (["layers", f"{LONG}.onnx"], "no such file"),
        (["show", "demo", f"{LONG}.png"], "too long"),
        (["show", "demo", "{photo}", "-l", "0", "-o", f"{LONG}.png"], "can't write"),
        (["show", "demo", "{photo}", "-l", "0", "-o", LONG], "can't make the folder"),
        (["demo", "-o", "{tmp}/cat.png"], "can't make the folder"),
        (["show", "demo", "{photo}", "--values", "v.npz", "-o", "v.npz"], "v.npz"),
        (["show", "demo", "{photo}", "_blocks.4"], "-l _blocks.4"),
        (["show", "{photo}", "demo"], "give MODEL first"),
        (["show", "demo", "{photo}", "-o", "x.mp4"], "ls.animate"),
        (["show", "demo", "{photo}", "-o", "x.gif2"], "Did you mean '.gif'"),
        (["show", "demo", "{photo}", "--by", "max"], "--figure"),
        (["show", "demo", "{photo}", "--overlay", "--sort", "mean"], "--sort mean is for a sheet"),
        (["show", "demo", "{photo}", "-l", "0", "--combine", "mean", "--columns", "3"], "--columns 3 is for a sheet"),
        (["show", "demo", "{photo}", "-l", "0", "--statistics", "-o", "{tmp}/x.npz"], ".csv"),
        (["show", "demo", "{photo}", "-l", "0", "--top", "300", "-o", "{tmp}/x.csv"], "--channels"),
        (["show", "demo", "{photo}", "--overlay", "--top", "101"], "percentage of units to colour"),
    ],
)
def test_errors_are_one_line_and_exit_1(capsys, photo, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "is.npz").mkdir()
    (tmp_path / "empty.npy").touch()
    (tmp_path / "cat.png").write_bytes(photo.read_bytes())
    arguments = [argument.format(photo=photo, tmp=tmp_path) for argument in arguments]
    code, _, err = run_cli(capsys, *arguments)
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("layerscope: error: ")
    assert match in last
    assert "Traceback" not in err
    with raises(ls.LayerscopeError):
        cli.main([*arguments, "--debug"])
    assert (tmp_path / "cat.png").read_bytes() == photo.read_bytes()


def test_the_scale_can_be_cut_at_percentiles(capsys, photo, tmp_path):
    to = tmp_path / "a.png"
    code, _, _ = run_cli(
        capsys, "show", "demo", photo, "-l", "_swish:1", "--combine", "mean", "--clip", "5:90", "-o", to
    )
    assert code == 0
    wording(Image.open(to).text["Description"], "5", "90")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["shw"],
        ["show"],
        ["show", "demo", "a.jpg", "--scale", "5:1"],
        ["show", "demo", "a.jpg", "--clip", "99:1"],
        ["show", "demo", "a.jpg", "--clip", "5"],
        ["show", "demo", "a.jpg", "--channels", "x"],
        ["show", "demo", "a.jpg", "--columns", "0"],
        ["show", "demo", "a.jpg", "--size", "axb"],
        ["show", "demo", "a.jpg", "--sort", "size"],
    ],
)
def test_wrong_usage_exits_2(capsys, arguments):
    code, out, err = run_cli(capsys, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("layerscope: error: ") and "--help`" in err


def test_the_help_names_every_file_and_library_that_open_takes():
    for spec in SPECS:
        for name in (*spec.suffixes, *(f"{library}:" for library in spec.libraries)):
            assert name in cli.MODELS


@pytest.mark.parametrize("command", ["layers", "show", "view", "report", "scan", "check", "top", "demo"])
def test_the_help_tells_what_a_model_is_where_one_is_given(capsys, command):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    usage, _, rest = capsys.readouterr().out.partition("\n\n")
    assert ("MODEL" in usage) == ("MODEL is one of" in rest)
    assert "exit codes: 0 done" in rest


def test_help_and_version_load_nothing_heavy():
    script = (
        "import sys, layerscope.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'PIL', 'rich', 'torch', 'keras', 'onnx') if m in sys.modules], file=sys.stderr)\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stderr.strip() == "[]"
    wording(process.stdout)


def test_the_advice_for_an_unknown_layer_is_a_command(capsys, photo):
    """The message of Python names a method, which a shell doesn't have."""
    code, _, message = run_cli(capsys, "show", "demo", photo, "-l", "_conv_stm")
    assert (code, "layers()" in message, "layerscope layers MODEL" in message) == (1, False, True)


def test_a_pipe_that_closes_early_is_no_error():
    process = subprocess.run(
        f"{sys.executable} -m layerscope layers demo | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr


def test_weights_and_factories_work_from_the_command_line(capsys, photo, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="the factory builds a torch model")
    (tmp_path / "cli_net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    code, _, err = run_cli(
        capsys, "show", "cli_net:build", photo, "--weights", "w.pth", "-l", "0", "--size", "32x48",
        "--values", "v.npz", "-o", "a.png",
    )  # fmt: skip
    assert code == 0, err
    wording(err, "0", "1")
    fm = ls.load(tmp_path / "v.npz")
    assert fm.shape == (1, 30, 46, 4)
    expected = ls.open(model, preprocess="unit", size=(32, 48)).capture(photo, "0")["0"]
    assert np.array_equal(fm.values, expected.values)


def test_statistics_as_a_file_are_the_table(capsys, photo, tmp_path):
    file = tmp_path / "st.csv"
    assert run_cli(capsys, "show", "demo", photo, "-l", "_conv_stem", "--statistics", "-o", file)[0] == 0
    (fm,) = ls.open("demo").capture(photo, "_conv_stem").values()
    assert file.read_text("utf-8") == ls.statistics(fm).to_csv()
