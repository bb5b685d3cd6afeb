"""Collections of images, bad ones among many, and reading them a few at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.image_files import GREY, RAMP, bomb, encoded, truncated
from helpers.wording import raises, warns
from layerscope import memory
from layerscope.errors import BadOption, ImageNotReadable, ImagesSkipped, ImageTooLarge
from layerscope.inputs import images, paths
from layerscope.inputs.images import Source, collect, load, stream
from layerscope.inputs.photo import Photo, read

# ---- collections


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("img10.png", "img2.PNG", "img1.png"):
        Image.fromarray(RAMP).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._img1.png").write_bytes(b"left by macOS")
    return tmp_path


def ids(images: Any) -> list[str]:
    return [source.id for source in collect(images)]


def test_a_folder_gives_its_images_in_natural_order(folder: Path) -> None:
    (folder / "sub").mkdir()
    Image.fromarray(RAMP).save(folder / "sub" / "deep.png")
    assert ids(folder) == ids(str(folder)) == ["img1.png", "img2.PNG", "img10.png"]


def test_a_folder_of_folders_gives_those_below(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        Image.fromarray(RAMP).save(tmp_path / name / "1.png")
    Image.fromarray(RAMP).save(tmp_path / "dogs" / "2.png")
    assert ids(tmp_path) == ["cats/1.png", "dogs/1.png", "2.png"]


def test_links_in_circles_are_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    Image.fromarray(RAMP).save(folder / "sub" / "deep.png")
    for name in ("a", "b", "sub/up", "sub/again"):
        (folder / name).symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "outside").symlink_to(folder.parent / "linked")
    (folder.parent / "linked").mkdir(exist_ok=True)
    Image.fromarray(RAMP).save(folder.parent / "linked" / "x.png")
    monkeypatch.chdir(folder)
    for pattern in (f"{folder}/**/*.png", "**/*.png", "./**/**/*.png", "**"):
        found = ids(pattern)
        assert [name for name in found if name != "img2.PNG"] == ["img1.png", "img10.png", "x.png", "deep.png"], pattern


def test_an_empty_name_is_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with raises(ImageNotReadable):
        collect("")
    with raises(ImageNotReadable):
        collect(["img1.png", ""])
    assert len(collect(Path("."))) == 3


def test_glob_patterns(folder: Path) -> None:
    (folder / "sub").mkdir()
    Image.fromarray(RAMP).save(folder / "sub" / "deep.png")
    assert ids(f"{folder}/img*") == ["img1.png", "img2.PNG", "img10.png"]
    assert ids(folder / "*.png") == ["img1.png", "img10.png"]
    assert ids(f"{folder}/**/*.png") == ["img1.png", "img10.png", "deep.png"]
    Image.fromarray(RAMP).save(folder / "odd[1].png")
    assert ids(folder / "odd[1].png") == ["odd[1].png"]


def test_a_pattern_with_its_own_suffix_is_taken_literally(folder: Path) -> None:
    (folder / "scan.dat").write_bytes(encoded(Image.fromarray(RAMP)))
    assert ids(f"{folder}/*.dat") == ["scan.dat"]


def test_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert ids("~/img1.png") == ["img1.png"]


def test_mixed_lists_and_nested_ones(folder: Path) -> None:
    images = [
        RAMP,
        encoded(Image.fromarray(RAMP)),
        Image.fromarray(RAMP),
        (GREY, folder / "img1.png"),
        read(RAMP, id="p"),
    ]
    assert ids(images) == ["array-0", "bytes-1", "image-2", "array-3", "img1.png", "p"]


def test_a_batch_array_is_many_images() -> None:
    photos, _ = load(np.stack([RAMP, RAMP + 1]))
    assert [photo.id for photo in photos] == ["array-0", "array-1"]
    np.testing.assert_array_equal(photos[1].pixels, RAMP + 1)
    with raises(ImageNotReadable, "transpose(0, 2, 3, 1)", "preprocess=None"):
        load(np.zeros((2, 3, 20, 30), np.uint8))


def test_the_same_file_twice_has_two_ids(folder: Path) -> None:
    assert ids([folder / "img1.png"] * 3) == ["img1.png", "img1.png#2", "img1.png#3"]


def test_only_a_single_image_is_explicit(folder: Path) -> None:
    assert [source.explicit for source in collect(folder / "img1.png")] == [True]
    assert [source.explicit for source in collect([folder / "img1.png", RAMP])] == [False, False]
    assert isinstance(collect(RAMP)[0], Source)


@pytest.mark.parametrize("pattern", ["", "*.png", "deeper/**/*.jpg"])
def test_a_pattern_without_matches_is_named_in_the_error(tmp_path: Path, pattern: str) -> None:
    with raises(ImageNotReadable):
        collect(os.path.join(tmp_path, pattern))


def test_no_image_at_all() -> None:
    with raises(ImageNotReadable):
        load([])
    with raises(ImageNotReadable):
        load(iter([]))


def test_nothing_is_fetched_from_the_network() -> None:
    with raises(ImageNotReadable):
        load("https://example.org/cat.jpg")


def test_suffixes_are_those_of_formats_that_can_be_read() -> None:
    Image.init()
    assert set(paths.SUFFIXES) - set(Image.EXTENSION) <= {".heic", ".heif", ".jxl", ".avif"}
    assert isinstance(read(RAMP), Photo)


# ---- bad ones among many (case 39)


def test_one_truncated_file_of_200_is_skipped_and_listed(tmp_path: Path) -> None:
    good = encoded(Image.fromarray(RAMP), "JPEG")
    for number in range(200):
        (tmp_path / f"{number}.jpg").write_bytes(truncated() if number == 57 else good)
    with warns(ImagesSkipped, "1", "200", "57.jpg") as caught:
        photos, skipped = load(tmp_path)
    assert len(caught) == 1
    assert [photo.id for photo in photos] == [f"{number}.jpg" for number in range(200) if number != 57]
    assert [id for id, _ in skipped] == ["57.jpg"]
    assert "truncated" in skipped[0][1]
    assert not skipped[0][1].startswith("57.jpg")


def test_the_warning_counts_and_gives_three_reasons(tmp_path: Path) -> None:
    sources = [tmp_path / f"missing{number}.png" for number in range(5)] + [RAMP]
    with warns(ImagesSkipped, "5", "6", "missing0.png", "missing2.png", "2"):
        photos, skipped = load(sources)
    assert len(photos) == 1
    assert len(skipped) == 5


def test_a_single_bad_image_raises(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(truncated())
    for source in (tmp_path / "cut.jpg", [tmp_path / "cut.jpg"]):
        with raises(ImageNotReadable, "cut.jpg"):
            load(source)


def test_only_bad_images_raise(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(truncated())
    with raises(ImageNotReadable, "4", "0.jpg", "1"):
        load(tmp_path)


def test_one_too_large_is_skipped_with_the_limit() -> None:
    with warns(ImagesSkipped, "0", "100", "50"):
        photos, _ = load([bomb(100, 50), RAMP], limit=4000)
    assert [photo.id for photo in photos] == ["array-1"]


# ---- streaming


def test_stream_gives_the_photos_of_load_in_batches(folder: Path) -> None:
    groups = list(stream(folder, 2))
    assert [[photo.id for photo in group] for group in groups] == [["img1.png", "img2.PNG"], ["img10.png"]]
    with raises(BadOption, "batch=0"):
        stream(folder, 0)


def test_stream_does_not_read_a_generator_ahead() -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield RAMP

    groups = stream(endless(), 4)
    assert [photo.id for photo in next(groups)] == ["array-0", "array-1", "array-2", "array-3"]
    assert taken == 4
    assert next(groups)[0].id == "array-4"


def test_stream_reads_files_only_when_needed(folder: Path) -> None:
    groups = stream(folder, 1)
    next(groups)
    (folder / "img2.PNG").write_bytes(truncated())
    skipped: list[tuple[str, str]] = []
    lazily = stream(folder, 1, skipped=skipped)
    assert [photo.id for photo in next(lazily)] == ["img1.png"]
    assert skipped == []
    with warns(ImagesSkipped, "1", "3"):
        assert [photo.id for group in lazily for photo in group] == ["img10.png"]
    assert [id for id, _ in skipped] == ["img2.PNG"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_in_a_folder_is_skipped_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "img3.png")
    with warns(ImagesSkipped, "img3.png"):
        photos, _ = load(folder)
    assert [photo.id for photo in photos] == ["img1.png", "img2.PNG", "img10.png"]
    with raises(ImageNotReadable, "img3.png"):
        load(folder / "img3.png")


def test_a_batch_ends_early_where_its_photos_take_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "UNCHECKED", 0)
    monkeypatch.setenv(memory.LIMIT, f"{RAMP.nbytes * 12}")  # a fifth of it holds two
    assert [len(group) for group in stream([RAMP] * 8, 5)] == [3, 3, 2]
    monkeypatch.delenv(memory.LIMIT)
    monkeypatch.setattr(images, "GROUP", RAMP.nbytes)
    assert [len(group) for group in stream([RAMP] * 3, 5)] == [2, 1]


def test_photos_that_a_check_refuses_are_skipped() -> None:
    def check(photo: Photo) -> None:
        if photo.size == (12, 16):
            raise ImageTooLarge(f"{photo.id}: too large")

    with warns(ImagesSkipped, "array-0"):
        (group,) = stream([RAMP, RAMP[1:]], 4, check=check)
    assert [photo.id for photo in group] == ["array-1"]
    with raises(ImageTooLarge, "array-0"):
        list(stream(RAMP, 4, check=check))


def test_an_error_of_the_generator_itself_comes_through() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield RAMP
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        list(stream(broken(), 1))


def test_a_folder_without_images_gives_its_arrays(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 6, 5, 3), dtype=np.uint8)
    for name, array in (("b10", pixels[0]), ("b2", pixels[1]), ("two", pixels[1:])):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.warns(ImagesSkipped, match="bad"):
        photos, skipped = load(tmp_path)
    assert [photo.id for photo in photos] == ["b2", "b10", "two-0", "two-1"]
    assert all(np.array_equal(photo.pixels, pixels[index]) for photo, index in zip(photos, (1, 0, 1, 2), strict=True))
    assert [id for id, _ in skipped] == ["bad"]
    with pytest.raises(ImageNotReadable, match=r"bad\.npy"):
        load(tmp_path / "bad.npy")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    assert [source.id for source in collect(tmp_path)] == ["photo.png"]


def test_an_array_in_a_file_is_read_when_it_is_wanted(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 3), np.uint8))
    (source,) = collect(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((4, 4, 3), 7, np.uint8))
    assert source.read().pixels.max() == 7
