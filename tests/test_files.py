"""The one place that opens files and writes them, and the one that makes foreign names safe to print."""

import os

import pytest

import layerscope as ls
from helpers.wording import raises
from layerscope.files import open_regular, read_bytes, write
from layerscope.safe_text import printable


def test_a_longer_file_is_cut_to_length(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    assert write(path, b"abc") == path
    assert path.read_bytes() == b"abc"
    assert read_bytes(path) == b"abc"


def test_what_cannot_be_read_is_named_with_what_is_near(tmp_path):
    (tmp_path / "labels.txt").write_text("cat")
    os.mkfifo(tmp_path / "pipe")
    with raises(ls.BadOption, "labels.txt"):
        open_regular(tmp_path / "label.txt", what="labels")
    for name in ("", "pipe", "nul\0"):
        with raises(ls.ImageNotReadable):
            read_bytes(tmp_path / name, what="image", error=ls.ImageNotReadable)


def test_what_cannot_be_written_is_a_bad_option(tmp_path):
    with raises(ls.BadOption):
        write(tmp_path / "no-folder" / "a.bin", b"")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("block1/conv·é 猫", "block1/conv·é 猫"),
        ("a\nb\x9b2J", r"a\x0ab\x9b2J"),
        ("gnp.\u202exe", r"gnp.\u202exe"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("soft\u00adhyphen", "soft\u00adhyphen"),
    ],
)
def test_names_cannot_steer_a_terminal(name, shown):
    assert printable(name) == shown
