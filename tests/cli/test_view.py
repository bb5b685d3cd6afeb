"""`layerscope view` and `layerscope report`, as processes."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import pytest

import layerscope as ls
from helpers.pages import until
from helpers.wording import raises, wording
from layerscope.cli import main
from layerscope.viewer.frames import unpack_frame

LAYERSCOPE = [sys.executable, "-m", "layerscope"]


def children(process):
    """The processes of its group that are still there."""
    listed = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, text=True).stdout
    return listed.split()


@contextlib.contextmanager
def running(*arguments):
    """`layerscope view` in a group of processes of its own, and the address that it prints."""
    command = [*LAYERSCOPE, "view", *arguments, "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        try:
            yield process, urlsplit(process.stdout.readline().strip())
        finally:
            process.kill()


def interrupted(process):
    """What it says at its end, which Ctrl-C brings about at once; nothing is left of it."""
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 130, error
    assert not out
    assert "Traceback" not in error, error[-3000:]
    left = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, text=True).stdout
    assert not left.split()
    return error.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_the_page_is_served_until_ctrl_c_and_nothing_is_left():
    with running("demo", "-l", "_conv_stem") as (process, address):
        assert address.hostname == "127.0.0.1"
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)
        connection.request("GET", f"/?{address.query}")
        response = connection.getresponse()
        assert response.status == 200
        assert b'<div id="layerscope">' in response.read()
        assert interrupted(process)[-1] == "layerscope: closed"
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", address.port, timeout=5).connect()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_work_that_takes_minutes():
    """Score-CAM of 1,280 channels, for a client that waits and for one that has left."""
    with running("demo", "-l", "_conv_head") as (process, address):
        params = {"input": "i0", "layer": "l0", "name": "score-cam"}
        headers = {"content-type": "application/json", "x-layerscope-token": parse_qs(address.query)["token"][0]}

        def ask(op, params, id):
            connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=60)
            connection.request("POST", "/api", json.dumps({"id": id, "op": op, "params": params}), headers)
            return connection

        def progress(id):
            connection = ask("progress", {"of": id}, f"p-{time.monotonic_ns()}")
            with contextlib.closing(connection):
                return unpack_frame(connection.getresponse().read())[0]["result"]

        left = ask("combine", params, "left")
        until(lambda: progress("left")["part"] > 0, 60)
        left.close()
        until(lambda: progress("left")["whole"] == 0, 60)
        waiting = ask("combine", params, "waiting")
        until(lambda: progress("waiting")["part"] > 0, 60)
        assert interrupted(process)[-1] == "layerscope: closed"
        waiting.close()


def test_a_report_is_written_and_named(tmp_path, capsys):
    path = tmp_path / "r.html"
    assert main(["report", "demo", str(ls.demo_photo()), "-l", "_conv_stem", "-o", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{path}\n"
    wording(captured.err)
    assert path.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "demo", "-o", "r.png"],
        ["report", "model.onnx"],
        ["view", "model.onnx"],
        ["view", "demo", "no-such-photo.png"],
        ["view", "demo", "-l", "no-such-layer", "--no-browser"],
    ],
)
def test_what_is_wrong_is_one_line(arguments, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    wording(error)
    assert error.splitlines()[-1].startswith("layerscope: error: ")


@pytest.mark.parametrize("port", ["x", "65536", "-1", "1.5"])
def test_a_port_is_a_number(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["view", "demo", f"--port={port}"])
    assert ended.value.code == 2
    wording(capsys.readouterr().err)


def test_without_its_libraries_the_page_says_what_to_install(monkeypatch, capsys):
    for name in ("starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
        with raises(ls.LibraryMissing, name, "layerscope[view]"):
            ls.view("no-such-model.onnx", "cat.jpg")
        assert main(["view", "demo", "--no-browser"]) == 1
        wording(capsys.readouterr().err)
        monkeypatch.undo()


def test_a_report_needs_no_library(tmp_path):
    """Nor does `import layerscope` load one."""
    script = (
        "import sys, layerscope as ls\n"
        "sys.modules['starlette'] = sys.modules['uvicorn'] = None\n"
        "ls.report('demo', ls.demo_photo(), '_conv_stem', sys.argv[1])"
    )
    path = tmp_path / "r.html"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=os.environ)
    assert path.exists()
