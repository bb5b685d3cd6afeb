"""A capture that can't fit into memory is refused before it begins, and one that runs out of it is named."""

import gc
import threading
import weakref

import numpy as np
import pytest

import layerscope as ls
from helpers.image_files import bomb
from helpers.wording import raises
from layerscope import memory
from layerscope.backends import Facts, Input
from layerscope.backends.common import run as runs
from layerscope.testing import TinyBackend, tiny_model

# conv1 gives 4 × 8 × 8 float32 for each image; a pass over a batch takes twice that beside what is kept.
ONE = 4 * 8 * 8 * 4


@pytest.fixture(autouse=True)
def _ask_for_small_captures_too(monkeypatch):
    monkeypatch.setattr("layerscope.memory.UNCHECKED", 0)


def open_scope(backend=None):
    return ls.open(tiny_model(), backend=backend or TinyBackend(), preprocess=None)


def images(count):
    return np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(np.float32)


def test_a_capture_that_can_not_fit_is_refused_before_the_model_runs(monkeypatch):
    scope = open_scope()
    scope.layers(images(1))
    before = list(scope.model.ran)
    monkeypatch.setattr(memory, "available", lambda: 30 * ONE)
    assert scope.capture(images(9), "conv1")
    ran = list(scope.model.ran)
    with raises(ls.CaptureTooLarge, "10.2", "10", "1.0", "20.5", "27.6"):
        scope.capture(images(10), "conv1")
    assert scope.model.ran == ran != before
    assert scope.capture(images(10), "conv1", channels=[0, 1])


def test_the_error_suggests_remedies_that_work(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 14 * ONE)
    with raises(ls.CaptureTooLarge, "channels=", "stream()") as caught:
        open_scope().capture(images(32), "conv1", batch=4)
    assert isinstance(caught.value, MemoryError)
    assert sum(len(maps["conv1"].ids) for maps in open_scope().stream(images(32), "conv1", batch=4)) == 32
    with raises(ls.CaptureTooLarge, "batch="):
        list(open_scope().stream(images(32), "conv1", batch=16))
    monkeypatch.setenv(memory.LIMIT, "1GB")
    assert open_scope().capture(images(32), "conv1")["conv1"].shape[0] == 32


def test_what_a_capture_keeps_to_run_the_model_again_is_counted(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    monkeypatch.setattr("layerscope.inputs.images.SHARE", 9)
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=(8, 8))
    photos = [np.zeros((20, 30, 3), np.uint8)] * 5
    beside, model_input = 20 * 30 * 3, 3 * 8 * 8 * 4
    with raises(ls.CaptureTooLarge, "5", memory.amount(ONE + beside + model_input)):
        scope.capture(photos, "conv1")
    # A stream lets go of it.
    with raises(ls.CaptureTooLarge, "5", memory.amount(ONE + beside)):
        next(scope.stream(photos, "conv1"))


def test_what_is_kept_so_far_is_counted(monkeypatch):
    """Photos of a generator, and large ones after small ones, of which the first batch says nothing."""
    monkeypatch.setenv(memory.LIMIT, f"{12 * 400 * 400 * 3}")
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=(8, 8))
    photos = [np.zeros((9, 9, 3), np.uint8)] + [np.zeros((400, 400, 3), np.uint8)] * 20
    for images in (photos, iter(photos[1:])):
        with raises(ls.CaptureTooLarge, "stream()"):
            scope.capture(images, "conv1", batch=1)
    assert len(scope.capture(photos[:9], "conv1", batch=1)["conv1"].ids) == 9
    assert sum(len(maps["conv1"].ids) for maps in scope.stream(photos, "conv1", batch=1)) == 21


def test_where_the_free_memory_is_unknown_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: None)
    assert open_scope().capture(images(64), "conv1")


def test_gradients_count_twice(monkeypatch):
    class WithGradients(TinyBackend):
        gradients = True

        def capture(self, model, batch, paths, target=None):
            return super().capture(model, batch, paths)

    monkeypatch.setattr(memory, "available", lambda: 30 * ONE)
    assert open_scope(WithGradients()).capture(images(9), "conv1")
    with raises(ls.CaptureTooLarge, "9", "2.0"):
        open_scope(WithGradients()).capture(images(9), "conv1", target=0)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory: you tried to allocate 8"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("OOM when allocating tensor with shape[1,2] and type float"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
        ValueError("Failed to allocate memory for requested buffer of size 800"),
        Exception("std::bad_alloc"),
    ],
    ids=["python", "torch", "cuda", "tensorflow", "jax", "onnxruntime", "c++"],
)
def test_memory_that_runs_out_in_the_run_is_named(error):
    class Full(TinyBackend):
        def capture(self, *_):
            raise error

    with raises(ls.CaptureTooLarge, "2×3×8×8", "batch=") as caught:
        open_scope(Full()).capture(images(2), "conv1")
    assert caught.value.__cause__ is error


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Wrong(TinyBackend):
        def capture(self, *_):
            raise RuntimeError("the room of boomerangs is full")

    with raises(ls.ModelNotReadable):
        open_scope(Wrong()).capture(images(2), "conv1")


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("20GB", 20 * 10**9), ("1.5 g", 1.5 * 10**9), ("300MiB", 300 * 10**6), ("4096", 4096), ("2tb", 2 * 10**12)],
)
def test_the_limit_is_read_with_its_unit(monkeypatch, text, bytes_):
    monkeypatch.setenv(memory.LIMIT, text)
    assert memory.limit() == bytes_


def test_a_limit_that_is_no_size_is_named(monkeypatch):
    monkeypatch.setenv(memory.LIMIT, "much")
    with raises(ls.BadOption, "LAYERSCOPE_MAX_MEMORY='much'"):
        open_scope().capture(images(1), "conv1")


def test_free_memory_is_that_of_the_machine_and_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       100 kB\nMemFree:   10 kB\nMemAvailable:   40 kB\n")
    assert memory._machine(meminfo) == 40 * 1024
    assert memory._machine(tmp_path / "none") is None
    assert memory._container(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert memory._container(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._container(tmp_path) == 300
    old = tmp_path / "old" / "memory"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("900")
    (old / "memory.usage_in_bytes").write_text("1000")
    assert memory._container(tmp_path / "old") == 0


def test_joining_batches_keeps_no_second_copy_of_everything():
    import tracemalloc

    scope = open_scope()
    scope.capture(images(1), ["conv1", "act"])
    count = 4000
    batch = images(count)
    tracemalloc.start()
    try:
        maps = scope.capture(batch, ["conv1", "act:0"], batch=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(fm.values.nbytes for fm in maps.values())
    assert size == 2 * count * ONE
    assert peak < 1.4 * size, "what is kept, and one batch"


class OutOfMemory(TinyBackend):
    """A backend that has no memory left when it runs."""

    def capture(self, *_):
        raise MemoryError


@pytest.mark.limit("a capture that doesn't fit into memory")
def test_captures_that_are_too_large(limit, monkeypatch):
    monkeypatch.setattr("layerscope.memory.UNCHECKED", 0)
    monkeypatch.setattr(memory, "available", lambda: 10_240)
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    batch = images(32)
    with limit.raises("channels=", "stream()", "LAYERSCOPE_MAX_MEMORY"):
        scope.capture(batch, "conv1", batch=4)
    with limit.raises("batch="):
        list(scope.stream(batch, "conv1", batch=16))
    with limit.raises("batch="):
        ls.open(tiny_model(), backend=OutOfMemory(), preprocess=None).capture(batch[:1], "conv1")
    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "80GB")
    assert scope.capture(batch, "conv1")["conv1"].shape[0] == 32
    limit.shows("LAYERSCOPE_MAX_MEMORY=80GB")


@pytest.mark.limit("images of more than 100 million pixels")
def test_images_that_are_too_large(limit, monkeypatch):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=8)
    with limit.raises("LAYERSCOPE_MAX_PIXELS"):
        scope.capture(bomb(20_000, 10_000), "conv1")
    monkeypatch.setenv(memory.LIMIT, "100kB")
    monkeypatch.setattr("layerscope.memory.UNCHECKED", 0)
    with limit.raises("LAYERSCOPE_MAX_MEMORY"):
        scope.capture(bomb(200, 100), "conv1")
    with limit.warns("bytes-0", "200", "100"):
        maps = scope.capture([bomb(200, 100), images(1)[0].transpose(1, 2, 0) > 0], "conv1")
    assert maps["conv1"].ids == ("array-1",)


@pytest.mark.limit("model input that doesn't fit into memory")
def test_model_input_that_is_too_large(limit, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**10)
    photo = np.zeros((9, 9, 3), np.uint8)
    for sizes in ((None, 3, 60_000, 60_000), (10**8, 3, 8, 8)):

        class Declared(TinyBackend):
            def facts(self, model, shape=sizes):
                return Facts("declared", (Input("x", "bchw", shape),))

        scope = ls.open(tiny_model(), backend=Declared(), preprocess="unit")
        for run in (scope.layers, lambda scope=scope: scope.capture(photo, "conv1")):
            with limit.raises("9.0"):
                run()
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="unit", size=100_000)
    for run in (
        scope.layers,
        lambda: scope.capture([photo, photo], "conv1"),
        lambda: next(scope.stream(photo, "conv1")),
    ):
        with limit.raises("100000", "size="):
            run()
    limit.shows("size=")


def test_a_thin_photo_takes_little_memory_in_a_capture():
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess="imagenet", size=224)
    maps = scope.capture([np.zeros((1, 20_000), np.uint8), np.zeros((20_000, 1), np.uint8)], "conv1")
    assert maps["conv1"].shape == (2, 224, 224, 4)


class Cycle:
    """An object that only the garbage collector frees."""

    def __init__(self):
        self.itself = self


def test_captures_that_overlap_without_pause_leave_cycles_to_the_collector():
    thresholds, freed = gc.get_threshold(), []
    with memory.rarely_collected():
        with memory.rarely_collected():
            weakref.finalize(Cycle(), freed.append, True)
        objects = [[] for _ in range(memory.RARELY + 10)]
        assert freed and len(objects) > memory.RARELY
    assert gc.get_threshold() == thresholds


def test_thresholds_of_the_collector_that_somebody_sets_meanwhile_stay():
    thresholds = gc.get_threshold()
    try:
        with memory.rarely_collected():
            gc.set_threshold(321, 5, 6)
        assert gc.get_threshold() == (321, 5, 6)
        for own in (0, memory.RARELY, memory.RARELY + 1):
            gc.set_threshold(own)
            with memory.rarely_collected():
                assert gc.get_threshold()[0] == own
            assert gc.get_threshold()[0] == own
    finally:
        gc.set_threshold(*thresholds)


def test_a_run_that_the_collector_ends_waits_for_no_lock_of_its_own_thread():
    """What an interrupt has left open is closed wherever garbage is collected: also where this thread holds the lock."""
    thresholds, left = gc.get_threshold(), memory.rarely_collected()
    left.__enter__()

    def collect():
        with memory._LOCK, runs.WALK:
            left.__exit__(None, None, None)
            runs.others_inside("/nowhere")

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert gc.get_threshold() == thresholds
