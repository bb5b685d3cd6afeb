"""Reading one image from wherever it comes: EXIF orientations, damaged files, the pixel limit."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from helpers.image_files import RAMP, bomb, encoded, truncated
from helpers.wording import raises, wording
from layerscope.core.note import kind_of
from layerscope.errors import BadOption, ImageNotReadable, ImageTooLarge
from layerscope.inputs.images import collect
from layerscope.inputs.photo import read

# ---- where an image can come from


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_path_gives_the_file_pixels_and_name(tmp_path: Path, as_type: type) -> None:
    Image.fromarray(RAMP).save(tmp_path / "cat.png")
    photo = read(as_type(tmp_path / "cat.png"))
    np.testing.assert_array_equal(photo.pixels, RAMP)
    assert (photo.id, photo.mode, photo.size, photo.turned, photo.note) == ("cat.png", "RGB", (12, 16), False, "")
    assert photo.values is None


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_and_open_files(wrap: Any) -> None:
    photo = read(wrap(encoded(Image.fromarray(RAMP))))
    np.testing.assert_array_equal(photo.pixels, RAMP)
    assert photo.id == ("file-0" if wrap is io.BytesIO else "bytes-0")


def test_an_open_file_has_its_name_and_stays_open(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "cat.png")
    with (tmp_path / "cat.png").open("rb") as file:
        assert read(file).id == "cat.png"
        assert not file.closed


def test_a_pil_image_is_left_as_it_was() -> None:
    picture = Image.fromarray(RAMP)
    assert read(picture).id == "image-0"
    np.testing.assert_array_equal(np.asarray(picture), RAMP)


def test_a_real_photo_equals_pillow() -> None:
    raw = encoded(Image.fromarray(data.chelsea()), "JPEG")
    np.testing.assert_array_equal(read(raw).pixels, np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")))


def test_a_photo_goes_through_and_takes_the_id() -> None:
    photo = read(RAMP)
    assert read(photo) is photo
    assert read(photo, id="other").id == "other"


def test_other_libraries_arrays_through_their_protocols() -> None:
    class Tensor:
        """Like a torch tensor that needs a gradient: `__array__` raises until it is detached."""

        def __init__(self, array: np.ndarray, ready: bool = False) -> None:
            self.array, self.ready = array, ready

        def detach(self) -> Tensor:
            return Tensor(self.array, True)

        def cpu(self) -> Tensor:
            return self

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            assert self.ready
            return self.array

    np.testing.assert_array_equal(read(Tensor(RAMP)).pixels, RAMP)
    assert [source.id for source in collect(Tensor(np.stack([RAMP, RAMP])))] == ["array-0", "array-1"]


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.full((4, 5, 3), 0.2, requires_grad=True)
    assert (read(tensor).pixels == 51).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_torch_tensors_with_their_channels_first(channels: int) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).random((20, 30, channels), np.float32)
    np.testing.assert_array_equal(read(torch.from_numpy(values).permute(2, 0, 1)).pixels, read(values).pixels)

    class Derived(torch.Tensor):
        """As the images of torchvision and MONAI are."""

    derived = torch.from_numpy(values).permute(2, 0, 1).as_subclass(Derived)
    np.testing.assert_array_equal(read(derived).pixels, read(values).pixels)
    with raises(ImageNotReadable, "channels first"):
        read(values.transpose(2, 0, 1))  # numpy's come last


@pytest.mark.parametrize("thing", [3, None, {"a": 1}, object()])
def test_things_that_are_no_images(thing: Any) -> None:
    for call in (read, collect):
        with raises(ImageNotReadable):
            call(thing)


# ---- EXIF and frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_is_undone(orientation: int, format: str) -> None:
    # a picture whose four corners differ, stored as the camera does for that orientation
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    raw = encoded(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    for photo in (read(raw), read(Image.open(io.BytesIO(raw)))):
        assert photo.size == (32, 48)
        assert np.abs(photo.pixels.astype(int) - upright).max() <= 4
        assert photo.orientation == orientation
        assert photo.turned == (orientation > 1)


def test_a_16_bit_image_with_an_exif_orientation_is_upright_too() -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = read(encoded(Image.fromarray(np.rot90(array, 1).copy()), "PNG", exif=exif))
    assert photo.values is not None
    np.testing.assert_allclose(photo.values[..., 0] * 257, array, atol=0.01)


def test_an_orientation_that_does_not_exist_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    photo = read(encoded(Image.fromarray(RAMP), "PNG", exif=exif))
    np.testing.assert_array_equal(photo.pixels, RAMP)
    assert photo.orientation == 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(format: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    photo = read(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert (photo.pixels == (255, 0, 0)).all()
    assert kind_of(photo.note) == "frame"
    wording(photo.note, "1")


# ---- files that are no images


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jpg", b""),
        ("text.png", b"hello, this is text"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("cut.jpg", truncated()),
        ("cut.png", encoded(Image.fromarray(data.coffee()))[:5000]),
        ("early.jpg", truncated()[:40]),
        ("head.png", encoded(Image.fromarray(RAMP))[:20]),
        ("start.png", encoded(Image.fromarray(RAMP))[:40]),
        ("photo.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}"),
        ("print.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ],
)
def test_bad_files_are_named_errors_of_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with raises(ImageNotReadable) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_gets_near_names(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "kitten.png")
    with raises(ImageNotReadable, "kiten.png", "'kitten.png'"):
        read(tmp_path / "kiten.png")
    with raises(ImageNotReadable):
        read(tmp_path / "nowhere" / "cat.png")


def test_a_folder_is_no_single_image(tmp_path: Path) -> None:
    with raises(ImageNotReadable):
        read(tmp_path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked.png").write_bytes(encoded(Image.fromarray(RAMP)))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with raises(ImageNotReadable, "locked.png"):
        read(tmp_path / "locked.png")


def test_a_file_open_as_text() -> None:
    with raises(ImageNotReadable):
        read(io.StringIO("text"))


def test_damaged_files_never_give_another_error() -> None:
    random = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        options = {} if format in ("GIF", "BMP") else {"exif": exif}
        whole = bytearray(encoded(Image.fromarray(RAMP), format, **options))
        for _ in range(60):
            damaged = bytearray(whole)
            for index in random.integers(0, len(whole), 4):
                damaged[index] = random.integers(0, 256)
            try:
                photo = read(bytes(damaged), limit=1_000_000)
            except ImageNotReadable as error:
                assert str(error).startswith("bytes-0: ")  # noqa: PT017 - half of the files can still be read
            else:
                assert photo.pixels.dtype == np.uint8


# ---- the pixel limit


def test_too_many_pixels_are_refused_with_both_ways_to_raise_the_limit() -> None:
    with raises(ImageTooLarge, "100", "50", "limit=5000", "LAYERSCOPE_MAX_PIXELS=5000"):
        read(bomb(100, 50), limit=4999)
    assert read(bomb(100, 50), limit=5000).size == (50, 100)


def test_the_limit_is_checked_before_decoding() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    head += struct.pack(">I", 9) + b"IDAT"  # and no pixels, which decoding would find out
    with raises(ImageTooLarge, "20000", "400.0", "100.0"):
        read(head)


def test_the_environment_raises_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "20")
    with raises(ImageTooLarge):
        read(bomb(10, 10))
    assert read(bomb(10, 10), limit=100).size == (10, 10)
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "many")
    with raises(BadOption, "LAYERSCOPE_MAX_PIXELS='many'"):
        read(bomb(10, 10))
    with raises(BadOption, "0"):
        read(bomb(10, 10), limit=0)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_a_raised_limit_holds_above_pillows_own(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = encoded(Image.fromarray(RAMP), format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses this image, at twice its limit
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(raw)).load()
    assert read(raw).size == (12, 16)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_pillows_own_warning_does_not_come_through(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = encoded(Image.fromarray(RAMP), format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    assert read(raw).size == (12, 16)


def test_pillows_own_error_becomes_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise Image.DecompressionBombError("exceeds limit")

    monkeypatch.setattr(Image.Image, "load", refuse)
    with raises(ImageTooLarge, "0"):
        read(Image.fromarray(RAMP))


def test_reading_leaves_pillows_settings_alone() -> None:
    from PIL import ImageFile

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    read(encoded(Image.fromarray(RAMP)), limit=10**10)
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


# ---- digest


def test_the_digest_is_of_the_picture() -> None:
    array = np.zeros((2, 3, 3), np.uint8)
    digest = read(array).digest
    assert digest == hashlib.sha256(b"2x3 " + array.tobytes()).hexdigest()
    assert read(encoded(Image.fromarray(array)), id="other").digest == digest
    assert read(np.zeros((3, 2, 3), np.uint8)).digest != digest
    low, high = (read(np.array([[value]], np.uint16)) for value in (1000, 1001))
    assert (low.pixels == high.pixels).all()
    assert low.digest != high.digest
