"""What a data set can be, by its ids, labels and pixels; hostile names; a listing in another process."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from layerscope.inputs.images import collect
from layerscope.store.samples import list_samples


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
