"""The one place that opens files and writes them, and the one that makes foreign names safe to print."""

import json
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises
from layerscope.cli import main
from layerscope.files import open_regular, open_zip, parsing, read_bytes
from layerscope.safe_text import printable
from layerscope.testing import TinyBackend, tiny_model
from layerscope.writing import write


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


def test_a_link_to_nothing_does_not_recommend_itself(tmp_path):
    (tmp_path / "a.png").symlink_to("gone.png")
    with raises(ls.ImageNotReadable, "a.png", "gone.png"):
        open_regular(tmp_path / "a.png", what="image", error=ls.ImageNotReadable)


def test_labels_from_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with raises(ls.BadOption):
        ls.open(tiny_model(), backend=TinyBackend(), preprocess=None, labels=tmp_path / "pipe")


def test_what_cannot_be_written_is_a_bad_option(tmp_path):
    with raises(ls.BadOption):
        write(tmp_path / "no-folder" / "a.bin", b"")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("block1/conv·é 猫", "block1/conv·é 猫"),
        ("a\nb\x9b2J", r"a\x0ab\x9b2J"),
        ("gnp.\u202exe", r"gnp.\u202exe"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("soft\u00adhyphen", r"soft\xadhyphen"),
        ("not a character\uffff", r"not a character\uffff"),
    ],
)
def test_names_cannot_steer_a_terminal(name, escaped):
    assert printable(name) == escaped


@pytest.fixture
def latin(tmp_path):
    """A photo whose name is Latin-1, as files from old archives are, and its id."""
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    try:
        with open(path, "wb") as file:
            Image.new("RGB", (8, 8), "red").save(file, "png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    return os.fsdecode(path), "caf\udce9.png"


@pytest.mark.slow
def test_a_name_that_is_not_utf8_goes_through_every_door(latin, tmp_path):
    path, id = latin
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    fm = scope.capture(path, "conv1")["conv1"]
    assert fm.ids == ls.load(fm.save(tmp_path / "map.npz")).ids == (id,)
    labels = [f"cat \udce9 {number}" for number in range(6)]
    output = scope.capture(path, "output")["head"]
    rows = ls.compare({"one\udce9": fm, "two": fm})
    for picture in (ls.sheet(fm), ls.overlay(ls.mean(fm)), ls.bars(output, labels=labels), rows):
        for text in (
            repr(picture),
            picture.alt(),
            json.dumps(picture._repr_mimebundle_()),
            *(line.text for line in picture.texts),
        ):
            assert text.encode()
        assert xml.fromstring(picture.svg())
        assert picture.pdf()
        file = picture.save(tmp_path / f"picture-{id}")
        assert json.loads(Image.open(file).text["layerscope"])["images"][0] == id
    assert r"caf\udce9.png" in ls.sheet(fm).svg()
    assert ls.animate([ls.sheet(fm)], tmp_path / "film.gif")
    assert ls.to_tensorboard({id: ls.sheet(fm)}, tmp_path) == (r"caf\udce9.png",)
    assert str(ls.statistics(fm)).encode()


@pytest.mark.parametrize("name", ["conv\x1b[2J", "conv\udce9"])
def test_names_in_a_model_can_be_printed(name):
    layer = ls.Layer(name, "Conv", "bhwc", (1, 8, 8, 4), calls=1)
    fm = replace(ls.FeatureMap.of_array(np.zeros((8, 8, 4), np.float32)), layer=layer)
    table = ls.LayerTable([layer], title=name)
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    for text in (repr(fm), repr(ls.Maps({name: fm})), str(table), table._repr_html_(), repr(replace(scope, name=name))):
        assert "\x1b" not in text
        assert text.encode()


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "jpg"])
def test_a_name_that_is_not_utf8_on_the_command_line(latin, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    assert main(["show", "demo", latin[0], "-l", "_conv_stem", "-o", str(out)]) == 0
    assert out.stat().st_size


class PanicException(BaseException):
    """What a parser written in Rust raises."""


@pytest.mark.parametrize(
    "cause", [KeyError("shape"), RecursionError(), struct.error("x"), PanicException("index"), MemoryError()]
)
def test_whatever_a_parser_raises_names_the_file(cause):
    with (
        pytest.raises(ls.ModelNotReadable, match=r"a\.bin .* as a tensor"),
        parsing("x/a.bin", "a tensor", ls.ModelNotReadable),
    ):
        raise cause


def test_an_interrupt_and_errors_of_our_own_pass_a_parser():
    for cause in (KeyboardInterrupt(), ls.TrustRequired("no")):
        with pytest.raises(type(cause)), parsing("a.bin", "a tensor"):
            raise cause


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    with open_zip(path, "an archive") as archive:
        assert archive.read("zeros") == bytes(1 << 20)
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "1MB")
    with raises(ls.BadOption, "bomb.zip"), open_zip(path, "an archive"):
        pass
    with raises(ls.BadOption, "bomb.zip"):
        read_bytes(path, most=10)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="files of Linux's kernel")
def test_files_of_the_kernel_say_that_they_are_empty(tmp_path):
    with raises(ls.BadOption, "maps"):
        read_bytes("/proc/self/maps", most=10)
    for name in ("mem", "pagemap"):  # which can't be read, and doesn't end
        for suffix in (".pt", ".pt2"):
            (tmp_path / f"{name}{suffix}").symlink_to(f"/proc/self/{name}")
            with raises(ls.ModelNotReadable, name):
                ls.open(tmp_path / f"{name}{suffix}")
