"""A large scan asks on a terminal, a real one: what each answer does."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

import layerscope as ls
from helpers.stores import contents, write_images

CHILD = """
import fcntl, json, sys, termios
from layerscope.cli import main
from layerscope.store import estimate
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
estimate.LARGE_BYTES = 1
while True:
    print("code", main(json.loads(sys.argv[1])), flush=True)
"""
EOF, CTRL_C = "\x04", "\x03"


class Terminal:
    """A process at a terminal of its own, as a person sees it."""

    def __init__(self, *arguments):
        self.screen, other = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            start_new_session=True,
        )
        os.close(other)
        self.text = ""

    def wait_for(self, words, seconds=60):
        """What came up to and with these words."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert select.select([self.screen], [], [], max(0, end - time.monotonic()))[0], self.text
            self.text += os.read(self.screen, 4096).decode()
        found, _, self.text = self.text.partition(words)
        return found + words

    def type(self, keys):
        os.write(self.screen, keys.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


@pytest.fixture
def terminal(tmp_path):
    line = ["scan", "demo", str(write_images(tmp_path / "images", 3)), "-l", "_conv_stem", "--store"]
    opened = Terminal(json.dumps([*line, str(tmp_path / "store"), "--batch", "2"]))
    yield opened
    opened.close()


def test_what_each_answer_does(terminal, tmp_path):
    for keys, code in (("n\n", 1), ("\n", 1), (EOF, 1), (CTRL_C, 130)):
        asked = terminal.wait_for("Begin? [y/N] ")
        assert "large scan of 3 images" in asked
        terminal.type(keys)
        after = terminal.wait_for("\r\ncode ") + terminal.wait_for("\r\n")
        assert int(after.split()[-1]) == code
        assert ("interrupted" if code == 130 else "3 images was not begun") in after
        # What is said stands in a line of its own.
        assert after.lstrip("^CDn").startswith("\r\n")
        assert not contents(Path(tmp_path / "store"))
    terminal.wait_for("Begin? [y/N] ")
    terminal.type("y\n")
    assert "3 images in" in terminal.wait_for("\r\ncode 0")
    assert ls.check_store(tmp_path / "store").done == 1
