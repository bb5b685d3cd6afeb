"""Every engine leaves the same store."""

import pytest

import layerscope as ls
from helpers.stores import contents, small_scan, write_images
from helpers.wording import raises
from layerscope.testing import tiny_model


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 40)


@pytest.mark.parametrize("workers", [2, 3])
def test_a_pool_of_processes_leaves_the_store_of_one(images, tmp_path, workers):
    (images / "7.png").write_bytes(b"no image")
    alone = small_scan(images, tmp_path / "alone", keep="maps")
    pooled = small_scan(images, tmp_path / "pooled", keep="maps", workers=workers)
    assert contents(tmp_path / "alone") == contents(tmp_path / "pooled")
    assert alone.digest == pooled.digest and len(pooled.failures) == 1


def test_progress_is_told_of_every_image(images, tmp_path):
    events = []
    with ls.progress(lambda event: events.append(event) if event.what == "images" else None):
        small_scan(images, tmp_path / "store")
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert (events[0].done, events[-1].done, events[-1].total) == (0, 40, 40)


def test_an_observer_cancels_a_scan_and_the_next_one_goes_on(images, tmp_path):
    def stop(event):
        if event.what == "images" and event.done >= 20:
            raise ls.Cancelled("enough")

    with pytest.raises(ls.Cancelled), ls.progress(stop):
        small_scan(images, tmp_path / "store", keep="maps")
    done = len(list((tmp_path / "store/receipts").iterdir()))
    assert 1 <= done < 5
    small_scan(images, tmp_path / "store", keep="maps")
    small_scan(images, tmp_path / "whole", keep="maps")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_model_that_cannot_be_sent_is_told(images, tmp_path):
    with raises(ls.BadOption, "workers"):
        small_scan(images, tmp_path / "store", workers=2, model=tiny_model())
