"""Images of a session: files by their headers, arrays, and uploads, whose bytes and names nobody trusts."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.viewer import PHOTO, tiny_session
from layerscope.errors import BadOption, ImageNotReadable, ImageTooLarge
from layerscope.testing import TinyBackend, tiny_model
from layerscope.viewer import inputs
from layerscope.viewer.inputs import file_name
from layerscope.viewer.session import Session


def png(height=6, width=9):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(file, "PNG")
    return file.getvalue()


def bomb(side=30_000):
    """A PNG of 900 million pixels in some bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def add(session, data, name="cat.png"):
    return session.answer("add", {"name": name}, [data]).result


def open_tiny():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)


def test_an_upload_becomes_an_image_like_any_other():
    session = tiny_session()
    added = add(session, png())
    assert {**added, "predictions": None} == {
        "id": "i1",
        "name": "cat.png",
        "width": 9,
        "height": 6,
        "predictions": None,
    }
    assert [each["index"] for each in added["predictions"]]
    assert session.answer("map", {"input": "i1", "layer": "l0"}).buffers
    assert [each["id"] for each in session.answer("manifest").result["inputs"]] == ["i0", "i1"]


def test_two_of_a_name_are_told_apart():
    session = tiny_session()
    assert [add(session, png())["name"] for _ in range(3)] == ["cat.png", "cat.png#2", "cat.png#3"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.jpg", "cat.jpg"),
        ("", "image"),
        ("..", "image"),
        ("/", "image"),
        (None, "image"),
        (["cat"], "image"),
        ("a\x1b[2J\u202egnp.exe", "a\\x1b[2J\\u202egnp.exe"),
        ("<script>alert(1)</script>", "script>"),
        ("\ud800cat", "\\ud800cat"),
    ],
)
def test_names_are_names_alone(name, shown):
    assert file_name(name) == shown


def test_long_names_are_cut_in_the_middle():
    name = file_name("a" * 500 + ".png")
    assert len(name) == 120 and name.endswith("a.png") and "…" in name


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", png()[:40], b"\0" * 5000]
)
def test_what_is_no_image_is_refused(data):
    session = tiny_session()
    with pytest.raises(ImageNotReadable):
        add(session, data)
    assert len(list(session.inputs)) == 1


def test_too_many_pixels_are_refused_before_they_are_decoded():
    with pytest.raises(ImageTooLarge):
        add(tiny_session(), bomb())


def test_the_limit_of_the_environment_holds_where_it_is_lower(monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "50")
    with pytest.raises(ImageTooLarge):
        add(tiny_session(np.zeros((4, 4, 3), np.uint8)), png())


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(inputs, "UPLOAD_BYTES", 50)
    with pytest.raises(BadOption, match="50"):
        add(tiny_session(), png())


def test_all_uploads_together_are_bounded_and_refused_ones_do_not_count(monkeypatch):
    data = png()
    monkeypatch.setattr(inputs, "UPLOADS_BYTES", 2 * len(data))
    session = tiny_session()
    for _ in range(5):
        with pytest.raises(ImageNotReadable):
            add(session, b"x" * len(data))
    add(session, data)
    add(session, data)
    with pytest.raises(BadOption, match="added so far"):
        add(session, data)


@pytest.mark.parametrize("buffers", [[], [png(), png()]])
def test_one_image_at_a_time(buffers):
    with pytest.raises(BadOption, match="one at a time"):
        tiny_session().answer("add", {"name": "a"}, buffers)


def test_files_are_sized_by_their_header_and_turned(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "plain.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "turned.jpg", exif=exif)
    paths = [str(tmp_path / name) for name in ("plain.jpg", "turned.jpg")]
    found = manifest(Session(open_tiny(), [*paths, PHOTO]))["inputs"]
    assert [(each["height"], each["width"]) for each in found] == [(12, 16), (16, 12), (12, 16)]
    assert [each.get("source") for each in found] == [*paths, None]


def manifest(session):
    return session.answer("manifest").result


def test_of_several_files_the_bad_ones_are_left_out_with_a_note(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    found = manifest(Session(open_tiny(), [str(tmp_path / "good.png"), str(tmp_path / "bad.png")]))
    assert [each["name"] for each in found["inputs"]] == ["good.png"]
    assert len(found["notes"]) == 1 and "bad.png" in found["notes"][0]
    with pytest.raises(ImageNotReadable):
        Session(open_tiny(), str(tmp_path / "bad.png"))
    with pytest.raises(ImageNotReadable):
        Session(open_tiny(), [str(tmp_path / "bad.png"), str(tmp_path / "bad.png")])


def test_large_photos_are_sent_no_larger_than_a_screen_needs():
    from layerscope.viewer.payload import unpack

    session = tiny_session(np.zeros((1500, 3000, 3), np.uint8))
    meta, tensors = unpack(session.answer("photo", {"input": "i0"}).buffers[0])
    assert meta == {"media": "image/jpeg", "width": 1024, "height": 512, "photo": [1500, 3000]}
    assert Image.open(io.BytesIO(tensors["image"].tobytes())).size == (1024, 512)
