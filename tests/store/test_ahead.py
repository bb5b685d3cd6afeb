"""Samples made ready by threads: the pixels of a capture, in order, with an outcome for every file, in bounded memory."""

import errno
import io
import os
import threading
from contextlib import closing

import numpy as np
import PIL
import pytest
from PIL import Image

import layerscope as ls
from helpers.image_files import bomb, encoded, truncated
from helpers.wording import raises
from layerscope.errors import BadOption, PreprocessUnknown
from layerscope.scope.batches import read_batches
from layerscope.store import ahead
from layerscope.store.ahead import batch_of, made_ready, makers, read_ahead
from layerscope.store.samples import list_samples
from layerscope.store.sources import origins
from layerscope.testing import TinyBackend, tiny_model


def scope_of(**options):
    return ls.open(tiny_model(), backend=TinyBackend(), **{"preprocess": "imagenet", "size": 8, **options})


@pytest.fixture
def folder(tmp_path):
    """Images of several kinds and sizes, among them files that are none."""
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = random.integers(0, 256, (10 + number, 30 - number, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random.integers(0, 256, (9, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(random.integers(0, 65536, (9, 20), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "broken.jpg").write_bytes(truncated())
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("preprocess", ["imagenet", "tf", {"name": "raw", "resize": "letterbox"}])
def test_the_model_gets_the_pixels_of_a_capture(folder, workers, preprocess):
    scope = scope_of(preprocess=preprocess)
    listing = list_samples(folder)
    ready = list(read_ahead(listing, scope, workers=workers))
    assert [one.sample for one in ready] == list(listing)
    done = [one for one in ready if one.outcome == "done"]
    skipped = []
    with pytest.warns(ls.ImagesSkipped):
        (expected,) = read_batches(folder, 100, scope.preprocess, scope.plan, skipped=skipped)
    batch = batch_of(done, scope)
    assert batch.ids == expected.ids and batch.placement == expected.placement
    assert batch.array.dtype == expected.array.dtype and np.array_equal(batch.array, expected.array)
    failed = [(one.sample.id, one.reason) for one in ready if one.outcome == "broken"]
    assert failed == skipped and len(failed) == 3
    assert [one.digest for one in ready] == [sample.digest() for sample in listing]


def test_a_fixed_batch_is_filled_up_as_in_a_capture(folder):
    scope = scope_of()
    plan = ls.open(tiny_model(), backend=TinyBackend(), preprocess="imagenet", size=8).plan
    object.__setattr__(scope, "plan", type(plan)(**{**plan.__dict__, "batch": 4}))
    ready = [one for one in read_ahead(list_samples(folder)[:3], scope) if one.outcome == "done"]
    batch = batch_of(ready, scope)
    (expected,) = read_batches([folder / one.sample.id for one in ready], 4, scope.preprocess, scope.plan, skipped=[])
    assert batch.filled == expected.filled == 4 - len(ready) and np.array_equal(batch.array, expected.array)


def test_every_file_has_an_outcome(folder, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "10000")
    names = ["gone.png", "0.png", "broken.jpg", "large.png", "pipe.png", "folder.png/x.png", "0.png/x.png"]
    (folder / "large.png").write_bytes(bomb(200, 200))
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    listing = list_samples([str(folder / name) for name in names])
    outcomes = {
        os.path.relpath(one.sample.id, folder): (one.outcome, one.reason) for one in read_ahead(listing, scope_of())
    }
    assert {name: outcome for name, (outcome, _) in outcomes.items()} == {
        name: {"0.png": "done", "broken.jpg": "broken", "large.png": "broken", "pipe.png": "broken"}.get(
            name, "missing"
        )
        for name in names
    }
    assert outcomes["gone.png"][1] == "no such file" and outcomes["0.png"][1] == ""
    assert not any(str(folder) in reason for _, reason in outcomes.values()), outcomes


def test_pillows_own_limit_is_an_outcome(tmp_path, monkeypatch):
    """`DecompressionBombError` is no `OSError`; Pillow raises it where it opens icons by itself."""
    icon = io.BytesIO()
    Image.new("RGB", (64, 64)).save(icon, "ICO", sizes=[(64, 64)])
    (tmp_path / "a.ico").write_bytes(icon.getvalue())
    (tmp_path / "b.png").write_bytes(encoded(Image.new("RGB", (4, 4))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    outcomes = [one.outcome for one in read_ahead(list_samples(tmp_path), scope_of(), workers=2)]
    assert outcomes == ["broken", "done"]


def failing(error):
    def open_regular(*args, **options):
        raise ls.ImageNotReadable("image x.png: ...") from error

    return open_regular


def test_a_failing_disk_is_no_property_of_a_file(folder, monkeypatch):
    sample = list_samples(folder)[0]
    monkeypatch.setattr(origins, "open_regular", failing(PermissionError(errno.EACCES, "Permission denied")))
    assert made_ready(sample, scope_of()).outcome == "broken"
    for number in (errno.EIO, errno.EMFILE, errno.ESTALE):
        monkeypatch.setattr(origins, "open_regular", failing(OSError(number, "as the system says")))
        with pytest.raises(BadOption, match=r"0\.png"):
            made_ready(sample, scope_of())


def test_what_nobody_foresaw_ends_the_work_and_names_the_file(folder):
    def preprocess(pixels):
        if pixels.shape[0] == 13:
            raise ZeroDivisionError("of the user's own")
        return pixels[:8, :8].transpose(2, 0, 1) / 255

    threads = threading.active_count()
    with raises(BadOption, "3.jpg", "ZeroDivisionError"):
        list(read_ahead(list_samples(folder), scope_of(preprocess=preprocess), workers=2))
    with raises(PreprocessUnknown, "0.png"):
        list(read_ahead(list_samples(folder), scope_of(preprocess=lambda pixels: pixels[:4]), workers=2))
    assert threading.active_count() == threads
    with raises(PreprocessUnknown):
        list(read_ahead(list_samples(folder), scope_of(preprocess=None, size=None)))


def test_no_more_waits_than_there_is_room_for(folder, monkeypatch):
    listing = list_samples([str(folder / "0.png")] * 200)
    made, lock = [], threading.Lock()

    def counted(sample, scope):
        with lock:
            made.append(sample.id)
        return original(sample, scope)

    original = made_ready
    monkeypatch.setattr(ahead, "made_ready", counted)
    scope = scope_of()
    array = made_ready(listing[0], scope).array
    for room, most in ((array.nbytes * 20, 20), (0, 4)):
        made.clear()
        with closing(read_ahead(listing, scope, workers=2, room=room)) as ready:
            for taken, _ in enumerate(ready, start=1):
                assert len(made) <= taken + most + 1
                if taken == 100:
                    break
        count = len(made)
        assert count < 150, "closing it ends the work"


def test_the_receipt_says_what_decodes_and_resizes():
    said = makers(scope_of())
    assert said["pillow"] == PIL.__version__ and "bilinear" in said["resize"] and said["libjpeg"]
    assert all(isinstance(value, str) for value in said.values())
