"""Looking at the stacks of other threads; dry runs of a part of the batch, or of all of it."""

import subprocess
import sys

import numpy as np
import pytest

from layerscope.backends.common.run import dry_run

# Frames of many sizes, so that what lies where one was is seldom another; a collection in most steps of the walk, in which the
# other thread goes on.
WALK = """
import gc, threading, time
from layerscope.backends.common import run

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        time.sleep(1e-5)

functions = []
for size in range(12):
    variables = "".join(f"    v{index} = {{}}\\n" for index in range(size))
    body = f"    return functions[(depth * {size + 2} + 3) % 12](depth - 1) if depth else 0\\n"
    exec(f"def function{size}(depth):\\n{variables}{body}")
    functions.append(locals()[f"function{size}"])

ended = threading.Event()
def work():
    depth = 0
    while not ended.is_set():
        functions[depth % 12](depth % 41)
        depth += 1

class Codes(frozenset):
    def __contains__(self, code):
        Cycle()  # the next object to be created collects it
        return False

thread = threading.Thread(target=work)
thread.start()
gc.set_threshold(1)
try:
    run.others_inside("/nowhere", codes=Codes())
    assert gc.isenabled() and gc.get_threshold()[0] == 1, gc.get_threshold()
finally:
    ended.set()
    thread.join()
"""


def test_stacks_of_other_threads_are_walked_while_they_run():
    ended = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


# Each look finds frames that have no object yet, and garbage that needs the interpreter's lock.
GARBAGE = """
import gc, sys, threading, time, types
from layerscope.backends.common import run

class Cycle:
    def __init__(self):
        self.itself, self.local = self, threading.local()
        self.local.value = 1

def current_frames():
    enabled = gc.isenabled()
    gc.disable()
    Cycle()  # the next object to be created collects it, if any does
    if enabled:
        gc.enable()
    return sys._current_frames()

def work():
    def inner(depth):
        return inner(depth - 1) if depth else time.sleep(1e-4)
    while True:
        inner(5)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
run.sys = types.SimpleNamespace(_current_frames=current_frames, version_info=sys.version_info)
gc.set_threshold(1)
for _ in range(300):
    time.sleep(3e-4)
    run.others_inside("/nowhere")
"""


def test_garbage_that_needs_the_interpreters_lock_hangs_no_look_at_the_stacks():
    ended = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def failing(*errors):
    """A run that raises these errors one after another, and what it was given."""
    left, given = list(errors), []

    def run(part, images):
        given.append((len(part), images))
        if left:
            raise left.pop(0)
        return images

    return run, given


def test_what_takes_no_single_image_is_run_on_all():
    run, given = failing(ValueError("sizes"))
    assert dry_run(np.zeros((4, 2)), run) == 4 and given == [(1, 1), (4, 4)]


def test_where_the_whole_batch_fails_too_the_first_error_is_the_cause():
    run, given = failing(ValueError("of one image"), RuntimeError("of all"))
    with pytest.raises(RuntimeError) as raised:
        dry_run(np.zeros((4, 2)), run)
    assert str(raised.value.__cause__) == "of one image" and len(given) == 2


@pytest.mark.parametrize(
    ("error", "count"),
    [(NotImplementedError("mps"), 4), (ImportError("flash_attn"), 4), (MemoryError(), 4), (ValueError("sizes"), 1)],
)
def test_what_no_number_of_images_changes_is_run_once(error, count):
    run, given = failing(error)
    with pytest.raises(type(error)):
        dry_run(np.zeros((count, 2)), run)
    assert given == [(1, 1)]
