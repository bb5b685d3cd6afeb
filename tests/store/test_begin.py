"""How a scan begins: what is told before the model is opened, and what is shown while that takes long."""

import json
from contextlib import contextmanager

import pytest

import layerscope as ls
from helpers.stores import contents, small_scan, write_images
from helpers.wording import raises
from layerscope.cli import main
from layerscope.cli.store import _summary
from layerscope.store import scan
from layerscope.store.storage import storage_of

NONE = "no.such.module:model"


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 8)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_another_scan_is_told_of_before_the_model_is_opened(images, store):
    with storage_of(store).locked(), pytest.raises(ls.BadOption, match="another scan"):
        small_scan(images, store, model=NONE)
    small_scan(images, store)
    with storage_of(store).locked(), pytest.raises(ls.BadOption, match="another scan"):
        small_scan(images, store, model=NONE)


@pytest.mark.parametrize(
    "changes", [{"keep": "maps"}, {"unit": 4}, {"top": 3}], ids=lambda changes: next(iter(changes))
)
def test_a_scan_of_another_kind_is_told_of_before_the_model_is_opened(images, store, changes):
    small_scan(images, store)
    with raises(ls.BadOption, "another kind"):
        small_scan(images, store, model=NONE, **changes)


def test_images_are_listed_before_the_model_is_opened_and_nothing_is_left(tmp_path, images, store):
    with raises(ls.ImageNotReadable, "nowhere"):
        small_scan(tmp_path / "nowhere", store, model=NONE)
    with pytest.raises(ls.ModelNotReadable):
        small_scan(images, store, model=NONE)
    assert not store.exists()


@pytest.mark.parametrize("keep", ["pooled", "stats"])
def test_a_type_of_maps_that_are_not_kept_is_refused(images, store, keep):
    for dtype in ("float32", "uint8"):
        with raises(ls.BadOption, "dtype=", "keep='maps'"):
            small_scan(images, store, keep=keep, dtype=dtype)
    assert not contents(store)
    small_scan(images, store, keep=keep, dtype="float16")
    small_scan(images, store, keep=keep)


def test_what_takes_long_at_the_beginning_is_named(images, store, monkeypatch):
    named = []

    @contextmanager
    def phase(what):
        named.append(what)
        yield

    monkeypatch.setattr(scan, "phase", phase)
    small_scan(images, store, batch=None)
    assert named == ["listing the images", "opening the model", "timing batches"]
    named.clear()
    small_scan(images, store, batch=None)
    assert named == ["listing the images", "opening the model", "running the first images"]


def test_the_rate_is_that_of_the_images_alone(images, store):
    small_scan(images, store)
    about = json.loads((store / "provenance.json").read_text())
    about["runs"][-1] |= {"seconds": 12.5, "units_took": {"clock": 2.0, "cpu": 2.0}}
    (store / "provenance.json").write_text(json.dumps(about))
    assert "8 in 2.0 s, 4 a second; 12.5 s in all" in _summary(ls.open_store(store))


def test_the_help_names_all_kinds_of_lists(capsys):
    with pytest.raises(SystemExit):
        main(["scan", "--help"])
    said = capsys.readouterr().out
    assert all(suffix in said for suffix in (".csv", ".tsv", ".parquet"))
