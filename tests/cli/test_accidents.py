"""What goes wrong around the command line: closed streams, full disks, empty arguments, bad settings."""

import os
import subprocess
import sys

import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, wording
from layerscope import cli
from layerscope.checks import setting
from layerscope.cli import arguments
from layerscope.inputs.formats import pixel_limit
from layerscope.memory import limit

LAYERSCOPE = f"{sys.executable} -m layerscope"


def shell(command, **options):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("closed", [">&- <&-", "2>&- <&-"])
def test_closed_streams_change_no_file_and_end_no_run(tmp_path, closed):
    model = tmp_path / "model.onnx"
    model.write_bytes(ls.demo_model().read_bytes())
    command = f"{LAYERSCOPE} show {model} {ls.demo_photo()} -l 0 --combine mean -o out.png {closed}"
    run = shell(command, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert model.read_bytes() == ls.demo_model().read_bytes()
    with Image.open(tmp_path / "out.png") as image:
        image.load()
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "out.png"]
    assert "preprocessing" not in run.stdout, "what belongs to stderr goes nowhere"


def test_an_output_that_cannot_be_printed_is_an_error():
    for command in ("layers demo --json", "layers demo", "--help"):
        run = shell(f"{LAYERSCOPE} {command} > /dev/full")
        assert run.returncode == 1
        assert "Traceback" not in run.stderr
        assert "Exception ignored" not in run.stderr
        wording(run.stderr)


def test_nobody_has_to_read(tmp_path):
    assert shell(f"{LAYERSCOPE} --help | true; exit ${{PIPESTATUS[0]}}", executable="/bin/bash").returncode == 0
    command = f"{LAYERSCOPE} show demo {ls.demo_photo()} -l 0 --combine mean -o {tmp_path}/a.png 2> >(exec <&-)"
    run = shell(command, executable="/bin/bash")
    assert (run.returncode, run.stdout.strip()) == (0, f"{tmp_path}/a.png")


@pytest.mark.parametrize(
    "given",
    [
        ["show", "demo", ""],
        ["show", "", "a.png"],
        ["show", "demo", "a.png", "-o", ""],
        ["show", "demo", "a.png", "--values="],
        ["show", "demo", "a.png", "--labels", ""],
        ["layers", "demo", ""],
        ["layers", "demo", "--weights", ""],
        ["demo", "-o", ""],
    ],
)
def test_an_empty_argument_is_no_name(capsys, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(given)
    assert stop.value.code == 2
    wording(capsys.readouterr().err.splitlines()[-1])
    assert not os.listdir(tmp_path)


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert arguments.path("~/x.png") == tmp_path / "x.png"
    assert arguments.path("~nobody-of-that-name/x.png").parts[0] == "~nobody-of-that-name"
    options = cli.parser().parse_args(["show", "demo", "a.png", "-o=~/x.png", "--values=~/v.npz", "--labels=~/l.txt"])
    assert (options.output, options.values, options.labels) == tuple(tmp_path / n for n in ("x.png", "v.npz", "l.txt"))
    assert ls.to_tensorboard(ls.heatmap([[0.0, 1.0]]), "~/runs")
    assert os.listdir(tmp_path) == ["runs"]


def test_an_error_of_the_system_is_one_line(capsys, monkeypatch):
    def fail(_):
        raise PermissionError(13, "Permission denied", "a\x1b[2J")

    monkeypatch.setattr("layerscope.cli.run_layers", fail)
    assert cli.main(["layers", "demo"]) == 1
    error = capsys.readouterr().err
    assert (error.count("\n"), "\x1b" in error) == (1, False)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "nan", "1e3", "9" * 30, "٣x", "\x1b"])
def test_a_setting_that_is_no_number_is_named(monkeypatch, text):
    for name, read in {
        "LAYERSCOPE_MAX_PIXELS": pixel_limit,
        "LAYERSCOPE_MAX_MEMORY": limit,
        "LAYERSCOPE_THREADS": lambda: setting("LAYERSCOPE_THREADS", 1, 1, 1024),
    }.items():
        monkeypatch.setenv(name, text)
        if (name, text) in (("LAYERSCOPE_MAX_MEMORY", "1.5"), ("LAYERSCOPE_MAX_PIXELS", "9" * 30)):
            assert read()
        else:
            with raises(ls.BadOption, name):
                read()


@pytest.mark.parametrize("text", ["1.2.3", ".", "..GB", "9" * 400, "1e999"])
def test_a_limit_of_memory_that_is_no_number_is_named(monkeypatch, text):
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", text)
    with pytest.raises(ls.BadOption):
        limit()


def test_an_empty_setting_is_none(monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "")
    monkeypatch.setenv("LAYERSCOPE_THREADS", "")
    assert pixel_limit() == 100_000_000
    assert setting("LAYERSCOPE_THREADS", 3) == 3


def test_a_module_is_imported_before_the_model(capsys, monkeypatch, tmp_path):
    (tmp_path / "registers_layers.py").write_text("DONE = True")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["layers", "demo", "--import", "registers_layers"]) == 0
    assert sys.modules.pop("registers_layers").DONE
    capsys.readouterr()
    assert cli.main(["layers", "demo", "--import", "no_such_module"]) == 1
    wording(capsys.readouterr().err, "no_such_module")
    assert str(tmp_path) not in sys.path
