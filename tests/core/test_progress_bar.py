"""The bar of work that takes long: when it appears, what it says, and that nothing is left of it."""

import io
import re
import sys
import threading
import time
import types
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import pytest

import layerscope as ls
from layerscope.core import progress_bar
from layerscope.core.progress import phase, progress, work
from layerscope.testing import TinyBackend, tiny_model


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True

    def text(self):
        """What was written, without the signs that move the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    """A terminal at stderr, from where the test says so: pytest puts its own there when the test begins."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return lambda: redirect_stderr(Screen())


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress_bar, "time", types.SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


@contextmanager
def nothing_left(screen):
    """After the block the line is erased, the cursor is back, and no bar is remembered."""
    yield
    assert screen.getvalue().rstrip("\r").endswith(("\x1b[2K", "\x1b[?25h"))
    assert "\x1b[2K" in screen.getvalue().rpartition("left")[2], "the last line is erased"
    assert not progress_bar._SHOWN and progress_bar.TerminalLine._screen is None


def test_an_estimate_comes_with_the_first_step(terminal, clock):
    with terminal() as screen, nothing_left(screen), work(1280, "masks") as step:
        clock.seconds += 0.6
        step(16)
        assert "16 of 1,280 masks, about 47 s left" in screen.text()
        clock.seconds += 24
        step(640)
        assert "656 of 1,280 masks, about 23 s left" in screen.text()


@pytest.mark.parametrize(("seconds", "total"), [(0.1, 10), (1.9, 1), (30, 1)])
def test_short_work_and_single_steps_show_nothing(terminal, clock, seconds, total):
    with terminal() as screen, work(total, "images") as step:
        for _ in range(total):
            clock.seconds += seconds
            step(1)
    assert screen.getvalue() == ""


def test_work_of_unknown_size_is_counted_after_two_seconds(terminal, clock):
    with terminal() as screen, work(None, "images") as step:
        clock.seconds += 1.5
        step(16)
        assert screen.getvalue() == ""
        clock.seconds += 1.5
        step(16)
    assert "32 images" in screen.text()
    assert "left" not in screen.text()


def test_it_is_drawn_ten_times_a_second(terminal, clock):
    with terminal() as screen, work(10_000, "images") as step:
        for _ in range(1000):
            clock.seconds += 0.01
            step(1)
    drawn = set(re.findall(r"(\d+) of 10,000 images", screen.text()))
    assert 80 <= len(drawn) <= 101


def test_work_inside_of_work_has_a_line_of_its_own(terminal, clock):
    with terminal() as screen, nothing_left(screen), work(8, "inputs") as outer:
        clock.seconds += 3
        outer(1)
        with work(99, "masks") as inner:
            clock.seconds += 1
            inner(1)
            assert "1 of 8 inputs" in screen.text() and "1 of 99 masks" in screen.text()
        clock.seconds += 3
        outer(1)
        assert "masks" not in screen.text().rpartition("2 of 8")[2]


def test_pictures_are_counted_once(terminal, clock):
    """They are captured while they are drawn: one line counts them."""
    with terminal() as screen, work(100, "pictures") as pictures, work(100, "images") as images:
        clock.seconds += 1
        images(16)
        assert "16 of 100 images" in screen.text()
        clock.seconds += 1
        pictures(1)
        assert [bar.what for bar in progress_bar._SHOWN] == ["pictures"]
        clock.seconds += 1
        images(16)
        assert [bar.what for bar in progress_bar._SHOWN] == ["pictures"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ls.Cancelled, RuntimeError])
def test_nothing_is_left_when_work_ends_in_the_middle(terminal, clock, error):
    def run():
        with work(100, "masks") as step:
            clock.seconds += 1
            step(1)
            raise error

    with terminal() as screen, nothing_left(screen), pytest.raises(error):
        run()
    assert "1 of 100 masks" in screen.text()


def test_what_is_printed_meanwhile_stays_above(terminal, clock):
    with terminal() as screen, redirect_stdout(Screen()) as stdout:
        with work(100, "images") as step:
            clock.seconds += 1
            step(1)
            print("a line")
        assert "a line" in screen.text() and sys.stdout is stdout
    with terminal() as screen, redirect_stdout(io.StringIO()) as stdout, work(100, "images") as step:
        clock.seconds += 1
        step(1)
        print("/path.png")
    assert stdout.getvalue() == "/path.png\n", "into a file or pipe, not onto the terminal"


def test_nobody_sees_a_bar_in_a_script_a_thread_or_where_it_is_unwanted(terminal, clock):
    def run():
        with work(100, "masks") as step:
            clock.seconds += 3
            step(1)

    with terminal() as screen:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        with progress(None):
            run()
        assert screen.getvalue() == ""
        run()
        assert screen.getvalue() != ""
    with redirect_stderr(io.StringIO()) as script:
        run()
        assert script.getvalue() == ""
    with redirect_stderr(None):
        run()


def test_a_capture_has_a_bar(terminal, monkeypatch):
    monkeypatch.setattr(progress_bar, "PATIENCE", 0)
    monkeypatch.setattr(progress_bar, "REFRESH", 0)
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    with terminal() as screen:
        scope.capture(np.zeros((3, 3, 8, 8), np.float32), "conv1", batch=1)
        assert "1 of 3 images, about 1 s left" in screen.text()
        stream = scope.stream(np.zeros((3, 3, 8, 8), np.float32), "conv1", batch=1)
        next(stream), next(stream)
        assert len(progress_bar._SHOWN) == 1
        stream.close()
        assert not progress_bar._SHOWN


def test_a_notebook_shows_html_and_clears_it(clock, monkeypatch):
    shown = []
    handle = types.SimpleNamespace(update=lambda data, raw: shown.append(data))
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = lambda data, raw, display_id: shown.append(data) or handle
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    with work(100, "masks") as step:
        clock.seconds += 1
        step(2)
    nothing = {"text/plain": "", "text/html": ""}
    text = "2 of 100 masks, about 49 s left"
    html = f'<progress style="width:20em" value="2" max="100"></progress> {text}'
    assert shown == [nothing, {"text/plain": text, "text/html": html}, nothing]
    ipython.get_ipython = lambda: None
    assert not progress_bar.in_notebook()


def test_the_first_step_is_left_out_of_the_estimate_once_there_are_more(terminal, clock):
    with terminal() as screen, work(12, "images") as step:
        clock.seconds += 10
        step(1)
        assert "1 of 12 images, about 2 min left" in screen.text()
        clock.seconds += 1
        step(1)
        assert "2 of 12 images, about 10 s left" in screen.text()


def test_work_that_may_end_early_has_a_bound_after_two_seconds(terminal, clock):
    with terminal() as screen, work(400, "rounds", most=True) as step:
        clock.seconds += 1.9
        step(1)
        assert screen.getvalue() == ""
        clock.seconds += 0.2
        step(1)
        assert "2 of at most 400 rounds, at most 80 s left" in screen.text()


def test_a_first_step_that_takes_long_is_seen_and_others_wait_for_their_end(terminal, clock):
    with terminal() as screen, work(4, "starts") as step:
        clock.seconds += 2.1
        step(0)
        assert "0 of 4 starts" in screen.text()
        clock.seconds += 0.9
        step(1)
        assert "1 of 4 starts, about 9 s left" in screen.text()
        shown = screen.getvalue()
        clock.seconds += 3
        step(0)
        assert screen.getvalue() == shown


def until(condition):
    """Waits for something that another thread does."""
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_a_phase_that_takes_long_is_named_and_erased(terminal, monkeypatch):
    monkeypatch.setattr(progress_bar, "PATIENCE", 0.01)
    with terminal() as screen:
        with phase("opening [the] model"):
            until(lambda: "opening [the] model" in screen.text())
            with phase("timing batches"), pytest.raises(ZeroDivisionError), phase("dividing"):
                until(lambda: "timing batches" in screen.text() and "dividing" in screen.text() and 1 / 0)
        assert screen.getvalue().rstrip("\r").endswith(("\x1b[2K", "\x1b[?25h"))
    assert progress_bar.TerminalLine._screen is None


def test_a_short_phase_shows_nothing_nor_does_one_that_nobody_sees(terminal, monkeypatch):
    with terminal() as screen, phase("opening the model"):
        pass
    monkeypatch.setattr(progress_bar, "PATIENCE", 0.0)
    with terminal() as screen, progress(print), phase("opening the model"):
        time.sleep(0.05)
    assert not screen.getvalue() and not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    with redirect_stderr(io.StringIO()) as file, phase("opening the model"):
        time.sleep(0.05)
    assert not file.getvalue()
