"""The kinds of data sets that lie in other files: lists, tars, data sets that were saved, frames of videos."""

import io
import json
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.image_files import encoded
from helpers.wording import raises, wording
from layerscope.errors import BadOption, ImageNotReadable, LibraryMissing
from layerscope.store.ahead import read_ahead
from layerscope.store.samples import Listing, list_samples
from layerscope.store.sources.origins import is_missing, origin_of
from layerscope.testing import TinyBackend, tiny_model


def png(grey: int) -> bytes:
    return encoded(Image.new("RGB", (6, 4), (grey, grey, grey)))


def greys(listing) -> list[int]:
    """What the samples show, read from a listing that was made again from its manifest."""
    again = Listing.of_rows(origin_of(listing.origin.about()), map(json.loads, map(json.dumps, listing.rows())))
    return [int(sample.read().pixels[0, 0, 0]) for sample in pickle.loads(pickle.dumps(again))]


# ---- lists -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.png").write_bytes(png(number))
    return tmp_path


def listed(folder: Path, text: str | bytes, name: str = "list.csv", **options):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list_samples(folder / name, **options)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,label\nphotos/2.png,dog\nphotos/0.png,cat\n"),
        ("list.csv", "\ufefflabel;Image Path\r\ndog;photos/2.png\r\ncat;photos/0.png\r\n\r\n"),
        ("list.tsv", "file_name\tclass\tid\nphotos/2.png\tdog\t7\nphotos/0.png\tcat\t8\n"),
        ("list.csv", '"photos/2.png", dog\n"photos/0.png", cat\n'),
        ("list.csv", "path,label\nphotos/2.png,dog\nphotos/0.png,cat\n".encode("utf-16")),
    ],
)
def test_a_list_of_text_is_found_its_columns(photos, name, text):
    listing = listed(photos, text, name)
    assert [(sample.id, sample.label) for sample in listing] == [("photos/2.png", "dog"), ("photos/0.png", "cat")]
    assert greys(listing) == [2, 0] and listing[0].size == len(png(2))


def test_columns_are_chosen_where_names_do_not_tell(photos):
    text = "path,filename,label,breed\nphotos/0.png,x.png,1,\nphotos/1.png,y.png,2,collie\n"
    with raises(BadOption, "list.csv", "'filename'", "column="):
        listed(photos, text)
    listing = listed(photos, text, column="path", labels="breed")
    assert [sample.label for sample in listing] == [None, "collie"] and greys(listing) == [0, 1]
    assert [sample.label for sample in listed(photos, text, column="path")] == ["1", "2"]
    assert [sample.label for sample in listed(photos, text, column="path", labels="folder")] == ["photos"] * 2
    with raises(BadOption, "breeds"):
        listed(photos, text, column="path", labels="breeds")
    with raises(BadOption, "id"):
        listed(photos, "id,label\n0,cat\n")


def test_rows_whose_files_are_gone_are_listed(photos):
    listing = listed(photos, "path\nphotos/0.png\nphotos/gone.png\nphotos/0.png\n")
    assert list(listing.ids) == ["photos/0.png", "photos/gone.png", "photos/0.png#2"]
    assert listing[1].size is None
    with pytest.raises(ImageNotReadable) as caught:
        listing[1].read()
    assert is_missing(caught.value)


@pytest.mark.parametrize("blank", ["", ",", " , ", "   "])
def test_blank_rows_of_a_list_are_none(photos, blank):
    rows = ["path,label", "photos/0.png,cat", "photos/1.png,dog"]
    listing = listed(photos, "".join(f"{blank}\n{row}\r\n" for row in rows) + blank)
    assert [(sample.id, sample.label) for sample in listing] == [("photos/0.png", "cat"), ("photos/1.png", "dog")]
    assert len(listed(photos, f"\n{blank}\nphotos/0.png\n{blank}\nphotos/1.png\n")) == 2


def test_hostile_names_in_lists(photos):
    names = (b"caf\xe9.png", "日 本.png".encode(), b"a,b.png", b"line\nbreak.png")
    for number, name in enumerate(names):
        Path(photos, name.decode("utf-8", "surrogateescape")).write_bytes(png(number))
    text = b"path\n" + b"".join(b'"' + name + b'"\n' for name in names)
    assert greys(listed(photos, text)) == [0, 1, 2, 3]


def test_lists_that_are_damaged_name_the_row(photos):
    with raises(BadOption, "list.csv", "line 3"):
        listed(photos, "path,label\nphotos/0.png,cat\n,dog\n")
    with raises(BadOption, "list.csv", "line 6"):
        listed(photos, 'path,label\n\n"photos/0.png","a\ncat"\n , \n,dog\n')
    with raises(BadOption, "list.csv"):
        listed(photos, "path,label\n")
    with raises(BadOption, "list.csv"):
        listed(photos, "")
    with raises(ImageNotReadable, "https"):
        listed(photos, "path\nhttps://example.org/a.png\n")
    with raises(BadOption, "list.csv"):
        listed(photos, 'path,label\n"' + "x" * 200_000 + '",cat\n')


def test_a_parquet_list(photos, monkeypatch):
    pa = pytest.importorskip("pyarrow", reason="Parquet is written and read with pyarrow")
    from pyarrow import parquet

    labels = pa.array(["dog", None, "cat"]).dictionary_encode()
    table = pa.table({"path": [f"photos/{number}.png" for number in (2, 1, 0)], "label": labels, "n": [1, 2, 3]})
    parquet.write_table(table, photos / "list.parquet")
    listing = list_samples(photos / "list.parquet")
    assert [sample.label for sample in listing] == ["dog", None, "cat"] and greys(listing) == [2, 1, 0]
    assert [sample.label for sample in list_samples(photos / "list.parquet", labels="n")] == ["1", "2", "3"]
    with raises(BadOption, "row 1", "int"):
        list_samples(photos / "list.parquet", column="n")
    (photos / "torn.parquet").write_bytes((photos / "list.parquet").read_bytes()[:300])
    with raises(BadOption, "torn.parquet"):
        list_samples(photos / "torn.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with raises(LibraryMissing, "pyarrow"):
        list_samples(photos / "list.parquet")


# ---- tars ------------------------------------------------------------------------------------------------------------
def tar(path: Path, files: dict[str, bytes], **options) -> Path:
    with tarfile.open(path, "w", **options) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_tars_are_read_where_they_lie(tmp_path):
    tar(tmp_path / "x-000.tar", {"000.cls": b"3\n", "000.png": png(0), "001.PNG": png(1), "001.cls": b"cat"})
    tar(tmp_path / "x-001.tar", {"./a/000.png": png(2), "./a/000.json": b'{"label": 7, "breed": "collie"}'})
    tar(tmp_path / "x-002.tar", {"000.png": png(3), "000.txt": b"a dog", "._000.png": b"of a Mac", "README": b""})
    for source in (
        f"{tmp_path}/x-{{000..002}}.tar",
        f"{tmp_path}/x-*.tar",
        tmp_path,
    ):
        listing = list_samples(source)
        assert list(listing.ids) == [
            "x-000.tar/000.png",
            "x-000.tar/001.PNG",
            "x-001.tar/a/000.png",
            "x-002.tar/000.png",
        ]
        assert [sample.label for sample in listing] == ["3", "cat", "7", None]
        assert greys(listing) == [0, 1, 2, 3] and listing[0].size == len(png(0))
    assert list_samples(tmp_path / "x-001.tar", labels="breed")[0].label == "collie"
    assert list_samples(tmp_path / "x-001.tar", labels="folder")[0].label == "a"
    assert list_samples(tmp_path / "x-002.tar", labels="txt")[0].label == "a dog"
    listing = list_samples([tmp_path / "x-001.tar", tmp_path / "x-000.tar"], labels=None)
    assert listing[0].id == f"{tmp_path}/x-001.tar/a/000.png" and greys(listing) == [2, 0, 1]
    assert not listing.classes


def test_several_images_of_one_key(tmp_path):
    files = {"000.seg.png": png(9), "000.png": png(0), "000.left.png": png(5), "001.cls": b"1", "002.json": b"{"}
    path = tar(tmp_path / "x.tar", {**files, "002.png": png(2)})
    listing = list_samples(path)
    assert greys(listing) == [0, 2] and greys(list_samples(path, column="left.png")) == [5]
    wording(listing.notes)
    with raises(BadOption, "x.tar", "right.png"):
        list_samples(path, column="right.png")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_hostile_names_in_tars(tmp_path, format):
    names = ["x" * 90 + ".png", "line\nbreak.png", "caf\udce9.png", "same.png", "same.png"]
    if format != tarfile.USTAR_FORMAT:
        names[0] = "d" * 150 + "/" + "x" * 150 + ".png"
    with tarfile.open(tmp_path / "x@1+2.tar", "w", format=format) as archive:
        for number, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            entry.size = len(png(number))
            archive.addfile(entry, io.BytesIO(png(number)))
    listing = list_samples(tmp_path / "x@1+2.tar")
    assert [id.removeprefix("x@1+2.tar/") for id in listing.ids] == [*names[:4], "same.png#2"]
    assert greys(listing) == list(range(5))


def test_damaged_tars_are_named(tmp_path):
    whole = tar(tmp_path / "x.tar", {f"{number:03}.png": png(number) for number in range(5)}).read_bytes()
    block = len(whole) // 2 // 1024 * 1024
    header = whole.index(b"003.png")
    cases = {
        "cut.tar": whole[: header + 600],
        "border.tar": whole[:header],
        "header.tar": whole[: header + 4] + b"\xff" + whole[header + 5 :],
        "joined.tar": whole + whole,
        "no.tar": b"x" * block,
        "empty.tar": b"",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with raises(BadOption, name):
            list_samples(tmp_path / name)
    with raises(BadOption, "text.tar"):
        list_samples(tar(tmp_path / "text.tar", {"a.txt": b""}))
    with pytest.raises(BadOption, match=r"cut\.tar"):
        list_samples(f"{tmp_path}/{{x,cut}}.tar")


def test_a_tar_that_shrank_after_it_was_listed_is_an_outcome(tmp_path):
    path = tar(tmp_path / "x.tar", {f"{number}.png": png(number) for number in range(3)})
    listing = list_samples(path)
    path.write_bytes(path.read_bytes()[:1024])
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=4)
    assert [one.outcome for one in read_ahead(listing, scope)] == ["done", "broken", "broken"]
    path.unlink()
    assert [one.outcome for one in read_ahead(listing, scope)] == ["missing"] * 3


# ---- data sets that were saved ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    pytest.importorskip("datasets", reason="data sets on disk are written and read with datasets")
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageType

    folder = tmp_path_factory.mktemp("saved")
    (folder / "3.png").write_bytes(png(3))
    kinds = Features({"picture": ImageType(), "label": ClassLabel(names=["cat", "dog"]), "text": Value("string")})
    images = [
        *({"bytes": png(number), "path": None} for number in range(3)),
        {"bytes": None, "path": str(folder / "3.png")},
    ]
    rows = {"picture": [*images, None], "label": [1, 0, 1, 0, None], "text": ["a", "b", "c", "d", "e"]}
    whole = Dataset.from_dict(rows, features=kinds)
    whole.save_to_disk(folder / "whole")
    DatasetDict({"train": whole.select([2, 0]), "test": whole.select([1])}).save_to_disk(folder / "splits")
    arrays = {"image": [np.full((4, 6, 3), number, np.uint8).tolist() for number in range(2)]}
    Dataset.from_dict(arrays).save_to_disk(folder / "arrays")
    return folder


def test_a_saved_data_set(saved):
    listing = list_samples(saved / "whole")
    assert [(sample.id, sample.label) for sample in listing] == [
        *[("0", "dog"), ("1", "cat"), ("2", "dog"), ("3", "cat")],
        ("4", None),
    ]
    assert greys(listing[:4]) == [0, 1, 2, 3]
    with raises(ImageNotReadable, "row 4"):
        listing[4].read()
    assert [sample.label for sample in list_samples(saved / "whole", labels="text")][:2] == ["a", "b"]
    with raises(BadOption, "img"):
        list_samples(saved / "whole", column="img")


def test_splits_of_a_saved_data_set(saved):
    listing = list_samples(saved / "splits")
    assert list(listing.ids) == ["train/0", "train/1", "test/0"] and greys(listing) == [2, 0, 1]
    assert listing.classes == ("cat", "dog")


@pytest.mark.parametrize("source", ["train/2", "val/0", "0"])
def test_rows_that_a_saved_data_set_has_no_more_are_missing(saved, source):
    with pytest.raises(ImageNotReadable) as caught:
        list_samples(saved / "splits").origin.content(source)
    assert is_missing(caught.value)


def test_a_saved_data_set_of_arrays(saved):
    assert greys(list_samples(saved / "arrays")) == [0, 1]


def test_a_saved_data_set_that_is_damaged_or_cannot_be_read(saved, tmp_path, monkeypatch):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "state.json").write_text("{}")
    with raises(BadOption, "torn"):
        list_samples(tmp_path / "torn")
    with raises(BadOption, "whole"):
        list_samples([saved / "whole"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.json").write_text("{}")
    with raises(LibraryMissing, "datasets"):
        list_samples(tmp_path / "other")


# ---- frames ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    av = pytest.importorskip("av", reason="videos are made and read with PyAV")
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "bgr0"
        for number in range(20):
            pixels = np.full((16, 16, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_of_a_video(clip, tmp_path):
    listing = list_samples(ls.video(clip, fps=2))
    assert list(listing.ids) == [f"clip.mkv#{number}" for number in (0, 5, 10, 15)]
    assert greys(listing) == [0, 50, 100, 150] and listing.in_turn
    assert listing[1].digest() == pickle.loads(pickle.dumps(listing[1])).digest() != listing[2].digest()
    other = tmp_path / "clip.mkv"
    other.write_bytes(clip.read_bytes())
    both = list_samples([*ls.video(clip, frames=[3]), *ls.video(other, frames=[4])])
    assert list(both.ids) == [f"{clip}#3", f"{other}#4"] and greys(both) == [30, 40]


def test_frames_are_made_ready_in_their_order(clip):
    listing = list_samples(ls.video(clip))
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="raw", size=4)
    ready = list(read_ahead(listing, scope, workers=3))
    assert [float(one.array.max()) for one in ready] == [10.0 * number for number in range(20)]
    assert [one.digest for one in ready] == [sample.digest() for sample in listing]


def test_a_video_that_is_gone_or_broken_is_an_outcome(clip, tmp_path):
    copy = tmp_path / "copy.mkv"
    copy.write_bytes(clip.read_bytes())
    listing = list_samples(ls.video(copy, frames=[1, 2]))
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="raw", size=4)
    copy.write_bytes(b"no video")
    assert [one.outcome for one in read_ahead(listing, scope)] == ["broken"] * 2
    copy.unlink()
    assert [one.outcome for one in read_ahead(listing, scope)] == ["missing"] * 2
