"""Captures report their progress and can be cancelled; what they found is as if nothing had been."""

import random
import threading

import numpy as np
import pytest

import layerscope as ls
from layerscope.core.progress import Progress, observed, progress, watched, work
from layerscope.errors import Cancelled
from layerscope.testing import TinyBackend, tiny_model


def open_scope():
    return ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)


def images(count):
    return np.random.default_rng(0).random((count, 3, 8, 8), np.float32)


def test_a_capture_reports_each_batch():
    events = []
    with progress(events.append):
        open_scope().capture(images(5), "conv1", batch=2)
    assert events == [Progress(done, 5, "images") for done in (0, 2, 4, 5)]
    with work(2, "masks") as step:
        step(1)
    assert len(events) == 4, "nobody listens behind the block"


def test_a_stream_reports_each_batch_and_a_generator_no_total():
    events = []
    with progress(events.append):
        list(open_scope().stream(images(3), "conv1", batch=2))
    assert events == [Progress(done, 3, "images") for done in (0, 2, 3)]
    events.clear()
    photos = (np.zeros((9, 9, 3), np.uint8) for _ in range(2))
    with progress(events.append):
        ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8).capture(photos, "conv1")
    assert [event.total for event in events] == [None, None]


def test_images_that_cannot_be_read_are_steps_too(tmp_path):
    (tmp_path / "a.png").write_bytes(b"none")
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    photos = [np.zeros((9, 9, 3), np.uint8), tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8)]
    events = []
    with progress(events.append), pytest.warns(ls.ImagesSkipped):
        scope.capture(photos, "conv1", batch=1)
    assert events[-1] == Progress(3, 3, "images")


def test_none_is_an_observer_that_shows_nothing(monkeypatch):
    monkeypatch.setattr("layerscope.core.progress.is_seen", lambda: True)
    assert observed()
    with progress(None):
        assert not observed()
    events = []
    with progress(None), progress(events.append):
        open_scope().capture(images(1), "conv1")
    assert len(events) == 2


@pytest.mark.parametrize("last", [0, 2, 4])
def test_a_cancelled_capture_leaves_all_as_it_was(last):
    scope, plain = open_scope(), open_scope().capture(images(5), "conv1", batch=2)["conv1"]
    weights = [np.copy(array) for array in scope.model.arrays] if hasattr(scope.model, "arrays") else []

    def cancel(event):
        if event.done >= last:
            raise Cancelled("enough")

    random.seed(3)
    np.random.seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist()
    with pytest.raises(Cancelled), progress(cancel):
        scope.capture(images(5), "conv1", batch=2)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert weights == [] or all(map(np.array_equal, weights, scope.model.arrays))
    again = scope.capture(images(5), "conv1", batch=2)["conv1"]
    assert np.array_equal(again.values, plain.values)
    assert again.provenance == plain.provenance


def test_a_cancelled_stream_ends():
    def cancel(event):
        if event.done:
            raise Cancelled("enough")

    with progress(cancel):
        stream = open_scope().stream(images(4), "conv1", batch=2)
        assert next(stream)["conv1"].shape[0] == 2
        with pytest.raises(Cancelled):
            next(stream)
        assert list(stream) == []


def test_an_observer_is_its_own_threads():
    events, other = [], []
    with progress(events.append):
        thread = threading.Thread(target=lambda: other.append(open_scope().capture(images(1), "conv1")))
        thread.start()
        thread.join()
    assert len(other) == 1
    assert events == []


def test_steps_that_were_not_needed_count_as_done():
    events = []
    with progress(events.append), work(5, "rounds", most=True) as step:
        step(2)
    assert [event.done for event in events] == [0, 2, 5]
    with pytest.raises(Cancelled), progress(events.append), work(5, "rounds", most=True) as step:
        raise Cancelled("enough")
    assert events[-1].done == 0


def test_a_call_that_cannot_be_divided_is_one_step():
    events = []
    with progress(events.append):
        assert watched(lambda: 42, "calls") == 42
        with pytest.raises(ZeroDivisionError):
            watched(lambda: 1 / 0, "calls")
    assert [event for event in events if event.done] == [Progress(1, 1, "calls")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled])
def test_waiting_for_a_call_ends_at_once_and_nobody_sees_the_rest_of_it(error):
    begun, going_on, told = threading.Event(), threading.Event(), []

    def call():
        begun.set()
        assert going_on.wait(60)

    def stop(event):
        told.append(event)
        if len(told) == 4:
            assert begun.is_set()
            raise error

    with pytest.raises(error), progress(stop):
        watched(call, "calls")
    assert told == [Progress(0, 1, "calls")] * 4 and not going_on.is_set()
    (thread,) = [thread for thread in threading.enumerate() if thread.daemon and thread.name.endswith("(run)")]
    going_on.set()
    thread.join()
