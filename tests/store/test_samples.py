"""What a data set can be, by its ids, labels and pixels; hostile names; a listing in another process."""

import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.wording import raises
from layerscope.errors import BadOption, ImageNotReadable
from layerscope.inputs.images import collect
from layerscope.inputs.paths import natural
from layerscope.store.samples import Listing, list_samples
from layerscope.store.sources import origins
from layerscope.store.sources.origins import is_missing, origin_of
from layerscope.store.sources.texts import Texts, told_apart


def picture(path: Path, grey: int = 100) -> Path:
    """A file of 6 × 4 pixels of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), grey, np.uint8)).save(path, format="PNG")
    return path


def ids(source, **options):
    return list(list_samples(source, **options).ids)


def labels(source, **options):
    return [sample.label for sample in list_samples(source, **options)]


# ---- folders ---------------------------------------------------------------------------------------------------------
def test_a_folder_gives_what_a_capture_of_it_reads(tmp_path):
    for number, name in enumerate(("10.png", "2.png", "B.PNG", ".hidden.png")):
        picture(tmp_path / name, number)
    (tmp_path / "readme.txt").write_text("no image")
    listing = list_samples(tmp_path)
    sources = collect(tmp_path)
    assert list(listing.ids) == ["2.png", "10.png", "B.PNG"] == [source.id for source in sources]
    for sample, source in zip(listing, sources, strict=True):
        photo = sample.read()
        assert photo.id == sample.id and photo.digest == source.read().digest
        assert sample.size == (tmp_path / sample.source).stat().st_size and sample.label is None
    assert str(tmp_path) not in json.dumps(list(listing.rows()))


def test_sub_folders_are_classes(tmp_path):
    for name in ("cat/1.png", "dog/2.png", "dog/old/3.png", ".cache/4.png"):
        picture(tmp_path / name)
    listing = list_samples(tmp_path)
    assert [(sample.id, sample.label) for sample in listing] == [
        ("cat/1.png", "cat"),
        ("dog/2.png", "dog"),
        ("dog/old/3.png", "dog"),
    ]
    assert listing.classes == ("cat", "dog")
    assert labels(tmp_path, labels="folder") == ["cat", "dog", "old"]
    assert labels(tmp_path, labels=None) == [None] * 3
    assert list_samples(tmp_path, labels=None).classes == ()


def test_splits_are_no_classes(tmp_path):
    for name in ("train/cat/1.png", "val/dog/2.png"):
        picture(tmp_path / name)
    assert labels(tmp_path) == ["cat", "dog"]


def test_a_folder_with_images_of_its_own_says_what_it_leaves_out(tmp_path):
    picture(tmp_path / "1.png")
    picture(tmp_path / "cat" / "2.png")
    listing = list_samples(tmp_path)
    assert list(listing.ids) == ["1.png"] and "1 sub-folder" in listing.notes[0]
    assert ids(f"{tmp_path}/**") == ["1.png", "cat/2.png"]


def test_an_empty_or_missing_folder_is_an_error_at_once(tmp_path):
    with raises(ImageNotReadable, "no image"):
        list_samples(tmp_path)
    with raises(ImageNotReadable, "gone"):
        list_samples(tmp_path / "gone")
    with raises(ImageNotReadable, "network"):
        list_samples("https://example.org/photos")


def test_links_are_followed_once_and_circles_end(tmp_path):
    picture(tmp_path / "set" / "b" / "1.png")
    picture(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "set" / "a_circle").symlink_to(tmp_path / "set", target_is_directory=True)
    (tmp_path / "set" / "a_copy").symlink_to(tmp_path / "set" / "b", target_is_directory=True)
    (tmp_path / "set" / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set" / "b" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "set" / "b" / "self.png").symlink_to(tmp_path / "set" / "b" / "self.png")
    listing = list_samples(tmp_path / "set")
    assert list(listing.ids) == ["b/1.png", "b/gone.png", "b/self.png", "c/2.png"]
    with pytest.raises(ImageNotReadable) as caught:
        listing[1].read()
    assert is_missing(caught.value)
    with pytest.raises(ImageNotReadable) as caught:
        listing[2].read()
    assert not is_missing(caught.value)


def test_a_sub_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    picture(tmp_path / "cat" / "1.png")
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith("cat/"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with raises(ImageNotReadable, "cat"):
        list_samples(tmp_path)


# ---- patterns and lists of paths -------------------------------------------------------------------------------------
def test_patterns_are_named_from_their_first_folder_on(tmp_path, monkeypatch):
    for name in ("set/cat/2.png", "set/cat/10.png", "set/dog/1.png", "set/dog/1.txt"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for pattern in ("set/*/*.png", f"{tmp_path}/set/*/*.png", "set/**/*.png", "set/{cat,dog}/*.png"):
        assert ids(pattern) == ["cat/2.png", "cat/10.png", "dog/1.png"], pattern
    assert labels("set/*/*.png") == ["cat", "cat", "dog"]
    assert ids("*/*/*.png") == ["set/cat/2.png", "set/cat/10.png", "set/dog/1.png"]
    assert list_samples("set/*/*.png")[1].read().pixels[0, 0, 0] == 100
    with raises(ImageNotReadable, "set/*.gif"):
        list_samples("set/*.gif")


def test_a_list_of_paths_keeps_its_order_and_its_names(tmp_path, monkeypatch):
    for name in ("b.png", "a.png", "cat/1.png", "x[1].png", "x{1}.png"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    given = ["b.png", Path("a.png"), "gone.png", "b.png", "cat", "x[1].png", "x{1}.png", str(tmp_path / "a.png")]
    listing = list_samples(given)
    assert list(listing.ids) == [
        *("b.png", "a.png", "gone.png", "b.png#2", "cat/1.png", "x[1].png", "x{1}.png"),
        str(tmp_path / "a.png"),
    ]
    monkeypatch.chdir("/")
    assert [sample.id for sample in listing if sample.size is None] == ["gone.png"]
    assert {sample.read().size for sample in listing if sample.size} == {(4, 6)}
    assert list_samples([tmp_path / "cat" / "1.png"], labels="folder")[0].label == "cat"


def test_one_file_is_a_data_set_too(tmp_path):
    picture(tmp_path / "a.png")
    assert ids(tmp_path / "a.png") == ["a.png"]


def test_what_is_no_data_set_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    with raises(BadOption, "generator"):
        list_samples(picture(tmp_path / "a.png") for _ in range(2))
    with raises(BadOption):
        list_samples([tmp_path / "a.png", np.zeros((4, 4), np.uint8)])
    with raises(BadOption, "labels=3"):
        list_samples(tmp_path, labels=3)
    with raises(ImageNotReadable):
        list_samples([])
    with raises(BadOption, "{a}"):
        list_samples(f"{tmp_path}/x-{{a}}.png")
    with raises(BadOption, "3..1"):
        list_samples(f"{tmp_path}/x-{{3..1}}.png")
    (tmp_path / "clip.mp4").write_bytes(b"")
    with raises(ImageNotReadable, "clip.mp4"):
        list_samples(tmp_path / "clip.mp4")
    (tmp_path / "x.tar.gz").write_bytes(b"")
    with raises(BadOption, "x.tar.gz"):
        list_samples(tmp_path / "x.tar.gz")


# ---- in memory -------------------------------------------------------------------------------------------------------
def test_arrays_and_pictures_travel_with_their_slice():
    dark, bright = np.zeros((4, 4), np.float32), np.full((4, 4), 255, np.float32)
    listing = list_samples([dark, Image.new("L", (5, 5), 7), bright, b"no image"])
    assert list(listing.ids) == ["array-0", "image-1", "array-2", "bytes-3"]
    part = pickle.loads(pickle.dumps(listing[1:3]))
    assert list(part.ids) == ["image-1", "array-2"] and len(part.origin.items) == 2
    assert part[0].read().pixels[0, 0, 0] == 7 and part[1].read().pixels.min() == 255
    assert part[0].digest() == listing[1].digest() != part[1].digest()
    with pytest.raises(ImageNotReadable):
        listing[3].read()
    with raises(BadOption):
        origin_of(listing.origin.about())


def test_arrays_of_a_list_have_one_scale():
    """As in a capture: floats of 0 and 1 alone are dark among images of 0 to 255."""
    images = [np.eye(4, dtype=np.float32), np.full((4, 4), 200, np.float32)]
    for sample, source in zip(list_samples(images), collect(images), strict=True):
        assert sample.read().digest == source.read().digest
    assert list_samples(images)[0].read().pixels.max() == 1


# ---- names -----------------------------------------------------------------------------------------------------------
HOSTILE = (
    b"line\nbreak.png",
    b"caf\xe9.png",
    "日本.png".encode(),
    b" lead.png",
    b"tab\t.png",
    b"a#2.png",
    b"\x1b[2J.png",
)


def test_hostile_names_are_read_in_another_process(tmp_path):
    for number, name in enumerate(HOSTILE):
        picture(tmp_path / os.fsdecode(name), number)
    listing = list_samples(tmp_path)
    assert sorted(listing.ids) == sorted(map(os.fsdecode, HOSTILE))
    manifest = "\n".join(json.dumps(row) for row in listing.rows())
    assert manifest.isascii() and manifest.count("\n") == len(HOSTILE) - 1
    again = Listing.of_rows(origin_of(listing.origin.about()), map(json.loads, manifest.split("\n")))
    assert list(again) == list(listing)
    script = (
        "import pickle, sys; listing = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(*(f'{sample.digest()} {sample.read().digest}' for sample in listing), sep='\\n')"
    )
    (tmp_path / "listing.pickle").write_bytes(pickle.dumps(listing))
    command = [sys.executable, "-c", script, str(tmp_path / "listing.pickle")]
    read = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split("\n")[:-1]
    assert read == [f"{sample.digest()} {sample.read().digest}" for sample in listing]
    assert len(set(read)) == len(HOSTILE)


@given(st.lists(st.text("aé日😀\udc80\ud800\n\0", max_size=8)), st.slices(20))
def test_texts_are_what_went_in(texts, part):
    packed = Texts(texts)
    assert list(packed) == texts == [packed[number] for number in range(len(texts))]
    assert list(packed[part]) == texts[part] and packed[part] == Texts(texts[part])
    assert list(pickle.loads(pickle.dumps(packed[part]))) == texts[part]


@given(st.lists(st.sampled_from(["a", "a#2", "a#3", "b"])))
def test_ids_are_told_apart_and_the_first_keep_theirs(ids):
    unique = told_apart(ids)
    assert len(set(unique)) == len(ids) and told_apart(unique) == unique
    for number, (new, old) in enumerate(zip(unique, ids, strict=True)):
        assert new.startswith(old) and (new == old) == (old not in unique[:number])


@given(st.lists(st.text("aB019_./", max_size=8)))
def test_numbers_in_names_count_as_numbers(names):
    """As the parts of names compared one by one: a number before a text, and the shorter name first."""

    def parts(name):
        split = re.split(r"([0-9]+)", name.lower())
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in split if part]

    assert sorted(names, key=natural) == sorted(names, key=parts)


# ---- the listing -----------------------------------------------------------------------------------------------------
def test_new_samples_come_last_and_missing_ones_stay(tmp_path):
    for name in ("b.png", "d.png"):
        picture(tmp_path / name)
    before = list(list_samples(tmp_path).rows())
    for name in ("a.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "b.png").unlink()
    listing = list_samples(tmp_path).continued(before)
    assert list(listing.ids) == ["b.png", "d.png", "a.png", "c.png"]
    assert listing[0].size == before[0]["size"]
    with pytest.raises(ImageNotReadable) as caught:
        listing[0].read()
    assert is_missing(caught.value)


def test_a_folder_that_is_gone_is_no_missing_image(tmp_path):
    sample = list_samples(picture(tmp_path / "set" / "1.png").parent)[0]
    (tmp_path / "set").rename(tmp_path / "moved")
    with raises(BadOption, "set"):
        sample.read()


def test_the_digest_is_of_the_bytes(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    sample = list_samples(path)[0]
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert sample.digest() == digest
    monkeypatch.setattr(origins, "WHOLE", 10)  # as of a file that is too large to be read at once
    assert isinstance(sample.content(), Path) and sample.digest() == digest and sample.read().size == (4, 6)
