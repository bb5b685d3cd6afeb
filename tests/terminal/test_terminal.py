"""Pictures in a terminal: a pseudo-terminal answers as one would, and what it is sent is decoded back to pixels."""

import io
import os
import re
import sys
import threading
import time
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, wording
from layerscope import cli
from layerscope.picture.numbers import number

pytest.importorskip("termios", reason="pseudo-terminals are of Unix")
import fcntl
import pty
import struct
import termios

VARIABLES = (
    "TERM", "TERM_PROGRAM", "KITTY_WINDOW_ID", "COLORTERM", "NO_COLOR", "TMUX", "LC_TERMINAL", "WT_SESSION",
)  # fmt: skip
QUESTION, ATTRIBUTES = b"\x1b[c", b"\x1b[?62;22c"
END = b"\x1b[0mthe end"
SIXEL_TOO, KITTY_TOO = b"\x1b[?62;4;22c", b"\x1b_Gi=31;OK\x1b\\\x1b[?62;22c"


class Terminal:
    """A pseudo-terminal that answers the question with `answer` (none: never) and keeps what it is sent."""

    def __init__(self, answer, columns=80, pixels=0):
        self.answer, self.sent = answer, b""
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, pixels, 0))
        # Closed by close(), as long as the terminal lasts.
        self.stream = os.fdopen(self.slave, "w", encoding="utf-8", closefd=False)
        self.keys = os.fdopen(self.slave, encoding="utf-8", closefd=False)
        self.before = termios.tcgetattr(self.slave)
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()

    def _collect(self):
        answered = False
        while True:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return
            self.sent += part
            if not answered and QUESTION in self.sent and self.answer:
                answered = True
                for start in range(0, len(self.answer), 5):
                    os.write(self.master, self.answer[start : start + 5])

    def output(self):
        """What was sent after the question."""
        self.stream.flush()
        start = len(self.sent) if END in self.sent else 0
        os.write(self.slave, END)
        until = time.monotonic() + 30
        while END not in self.sent[start:]:
            assert time.monotonic() < until, self.sent
            time.sleep(0.005)
        return self.sent.replace(END, b"").rpartition(QUESTION)[2].replace(b"\r\n", b"\n")

    @property
    def as_before(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        self.stream.close(), self.keys.close()
        os.close(self.slave), os.close(self.master)
        self.reader.join(5)


@pytest.fixture
def terminal(monkeypatch):
    """terminal(answer, TERM=…): a `Terminal` that is also standard input, and the environment it gives."""
    terminals = []

    def make(answer=ATTRIBUTES, columns=80, pixels=0, **variables):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", **variables}.items():
            monkeypatch.setenv(name, value)
        terminals.append(Terminal(answer, columns, pixels))
        monkeypatch.setattr(sys, "stdin", terminals[-1].keys)
        return terminals[-1]

    yield make
    for screen in terminals:
        screen.close()


@pytest.fixture(scope="module")
def picture():
    return ls.sheet(np.random.default_rng(0).normal(size=(1, 6, 7, 9)).astype(np.float32), scale="layer")


def kitty_png(sent):
    """(options of the first chunk, PNG) of kitty's protocol."""
    chunks = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
    options = [dict(option.split(b"=") for option in head.split(b",")) for head, _ in chunks]
    assert all(len(data) <= 4096 and (len(data) % 4 == 0) for _, data in chunks)
    assert [option[b"m"] for option in options] == [b"1"] * (len(chunks) - 1) + [b"0"]
    assert sent == b"".join(b"\x1b_G%b;%b\x1b\\" % chunk for chunk in chunks) + b"\n"
    return options[0], b64decode(b"".join(data for _, data in chunks))


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def sixel_pixels(sent):
    """RGB, in hundredths, of a sixel sequence: a decoder by the manual, one pixel at a time."""
    body = re.fullmatch(rb"\x1bP[\d;]*q(.*)\x1b\\\n", sent, re.DOTALL).group(1)
    width, height = map(int, re.match(rb'"1;1;(\d+);(\d+)', body).groups())
    colors, pixels = {}, np.full((height + 6, width, 3), -1)
    x = y = 0
    color = None
    for token in re.findall(rb'"[\d;]*|#[\d;]+|!\d+[?-~]|[?-~]|\$|-', body):
        sign, rest = token[:1], token[1:]
        if sign == b"#":
            number, *definition = map(int, rest.split(b";"))
            if definition:
                assert definition[0] == 2
                colors[number] = definition[1:]
            color = number
        elif sign == b"$":
            x = 0
        elif sign == b"-":
            x, y = 0, y + 6
        elif sign != b'"':
            count = int(rest[:-1]) if sign == b"!" else 1
            bits = token[-1] - 63
            for bit in range(6):
                if bits >> bit & 1:
                    pixels[y + bit, x : x + count] = colors[color]
            x += count
    assert len(colors) <= 256
    assert (pixels[height:] == -1).all()
    return pixels[:height]


CUBE = [0, 95, 135, 175, 215, 255]


def block_pixels(lines):
    """RGB of lines of half blocks."""
    rows = []
    for line in lines:
        top, bottom, now = [], [], {38: None, 48: None}
        for codes, letter in re.findall(r"(?:\x1b\[([\d;]*)m)?(▀|$)", line.removesuffix("\x1b[0m")):
            numbers = [int(code) for code in codes.split(";")] if codes else []
            while numbers:
                where, kind = numbers[:2]
                if kind == 2:
                    now[where], numbers = tuple(numbers[2:5]), numbers[5:]
                else:
                    index, numbers = numbers[2], numbers[3:]
                    grey = 8 + 10 * (index - 232)
                    cube = index - 16
                    now[where] = (
                        (grey,) * 3 if index >= 232 else (CUBE[cube // 36], CUBE[cube // 6 % 6], CUBE[cube % 6])
                    )
            if letter:
                top.append(now[38]), bottom.append(now[48])
        rows += [top, bottom]
    return np.array(rows)


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({"TERM": "xterm-kitty"}, None),
        ({"KITTY_WINDOW_ID": "1"}, None),
        ({"TERM_PROGRAM": "ghostty"}, None),
        ({}, KITTY_TOO),
    ],
)
def test_kitty_gets_the_png_in_chunks(terminal, picture, variables, answer):
    screen = terminal(answer, 200, **variables)
    assert ls.terminal.draw(picture, screen.stream) == "kitty"
    options, png = kitty_png(screen.output())
    assert np.array_equal(pixels_of(png), picture.rgb())
    assert options == {b"a": b"T", b"f": b"100", b"q": b"2", b"m": options[b"m"]}
    assert screen.as_before


def test_a_wide_picture_is_shrunk_to_the_terminal(terminal, picture):
    screen = terminal(None, 40, TERM="xterm-kitty")
    ls.terminal.draw(picture, screen.stream)
    assert kitty_png(screen.output())[0][b"c"] == b"40"
    # Where the terminal tells its pixels, they decide.
    screen = terminal(None, 40, 40 * 60, TERM="xterm-kitty")
    ls.terminal.draw(picture, screen.stream)
    assert b"c" not in kitty_png(screen.output())[0]
    screen = terminal(None, 200, TERM="xterm-kitty")
    ls.terminal.draw(picture, screen.stream, width=20)
    assert kitty_png(screen.output())[0][b"c"] == b"20"


@pytest.mark.parametrize(
    "variables", [{"TERM_PROGRAM": "iTerm.app"}, {"TERM_PROGRAM": "WezTerm"}, {"LC_TERMINAL": "iTerm2"}]
)
def test_iterm_gets_an_inline_image(terminal, picture, variables):
    screen = terminal(None, 200, **variables)
    assert ls.terminal.draw(picture, screen.stream) == "iterm"
    about, data = re.fullmatch(rb"\x1b\]1337;File=([^:]*):([^\x07]*)\x07\n", screen.output()).groups()
    assert np.array_equal(pixels_of(b64decode(data)), picture.rgb())
    options = dict(option.split(b"=") for option in about.split(b";"))
    assert options[b"inline"] == b"1" and int(options[b"size"]) == len(b64decode(data))
    assert options[b"width"] == b"%dpx" % picture.width


def test_sixel_is_drawn_where_the_terminal_reports_it(terminal, picture):
    screen = terminal(SIXEL_TOO, 200)
    assert ls.terminal.draw(picture, screen.stream) == "sixel"
    pixels = sixel_pixels(screen.output())
    assert pixels.shape == picture.rgb().shape
    assert np.abs(pixels * 2.55 - picture.rgb()).max() <= 1.3
    assert screen.as_before


def test_sixel_of_a_picture_without_a_palette_and_of_a_wide_one(terminal):
    colored = ls.heatmap(ls.pca(np.random.default_rng(0).random((4, 4, 5))))
    screen = terminal(SIXEL_TOO, 200)
    ls.terminal.draw(colored, screen.stream)
    assert np.abs(sixel_pixels(screen.output()) * 2.55 - colored.rgb()).mean() < 3
    screen = terminal(SIXEL_TOO, 20)
    ls.terminal.draw(colored, screen.stream)
    pixels = sixel_pixels(screen.output())
    assert pixels.shape[:2] == (round(colored.height * 200 / colored.width), 200)
    small = np.asarray(Image.fromarray(colored.rgb()).resize(pixels.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(pixels * 2.55 - small).mean() < 5


@pytest.mark.parametrize(("variables", "most"), [({"COLORTERM": "truecolor"}, 0), ({}, 48)])
def test_half_blocks_show_a_map_unit_by_unit(terminal, variables, most):
    values = np.random.default_rng(0).normal(size=(5, 8))
    picture = ls.heatmap(values)
    screen = terminal(ATTRIBUTES, 12, **variables)
    assert ls.terminal.draw(picture, screen.stream) == "blocks"
    lines = screen.output().decode().splitlines()
    assert [picture.title] == lines[:1] or picture.title.startswith(lines[0])
    blocks = [line for line in lines if line.startswith("\x1b[38")]
    pixels = block_pixels(blocks)
    expected = picture.palette()[picture.codes(picture.cells[0])]
    assert np.abs(pixels[:5] - expected).max() <= most
    assert (len(pixels), pixels.shape[1]) == (6, 8)
    low, high = picture.scale.limits
    assert lines[-1].startswith(number(low)) and lines[-1].endswith(number(high))
    bar = block_pixels([lines[-1][lines[-1].index("\x1b") : lines[-1].rindex("m") + 1]])[0]
    assert np.abs(bar[[0, -1]] - picture.palette()[picture.scale.codes(np.array([low, high]))]).max() <= most
    assert screen.as_before


def test_half_blocks_average_what_is_wider(terminal, picture):
    screen = terminal(ATTRIBUTES, 30, COLORTERM="truecolor")
    ls.terminal.draw(picture, screen.stream)
    lines = [line for line in screen.output().decode().splitlines() if line.startswith("\x1b[38")]
    pixels = block_pixels(lines)
    cells = picture.cells
    top, left = cells[0].y, cells[0].x
    body = picture.rgb()[top : cells[-1].y + cells[-1].height, left : cells[2].x + cells[2].width]
    assert pixels.shape[1] == 30
    expected = np.asarray(
        Image.fromarray(body).resize((30, round(body.shape[0] * 30 / body.shape[1])), Image.Resampling.BOX)
    )
    assert np.array_equal(pixels[: len(expected)], expected)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"TERM": "dumb"}, "a dumb terminal"),
        ({"NO_COLOR": "1"}, "NO_COLOR is set"),
        ({"TERM": "linux"}, "TERM=linux has too few colours"),
    ],
)
def test_without_colours_it_prints_the_caption(terminal, picture, variables, reason):
    screen = terminal(ATTRIBUTES, **variables)
    assert ls.terminal.draw(picture, screen.stream) == "none"
    text = screen.output().decode()
    assert "\x1b" not in text
    assert picture.title in text
    wording("\n".join(text.splitlines()), "9", "0", "8", reason)


def test_no_color_keeps_colours_out_of_text_but_not_pictures(terminal, picture):
    assert ls.terminal.draw(picture, terminal(SIXEL_TOO, 200, NO_COLOR="1").stream) == "sixel"


def test_a_pipe_gets_the_caption_and_no_query(picture, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-kitty")
    pipe = io.StringIO()
    assert ls.terminal.draw(picture, pipe) == "none"
    assert "\x1b" not in pipe.getvalue()
    wording(pipe.getvalue())
    pipe = io.StringIO()
    assert ls.terminal.draw(picture, pipe, "kitty") == "kitty"
    assert np.array_equal(pixels_of(kitty_png(pipe.getvalue().encode())[1]), picture.rgb())


def test_an_output_without_block_characters_gets_the_caption(terminal, picture):
    screen = terminal(ATTRIBUTES)
    with open(screen.slave, "w", encoding="ascii", closefd=False) as plain:
        assert ls.terminal.draw(picture, plain) == "none"
    wording(screen.output().decode("ascii"), "ascii")


def test_a_terminal_that_never_answers_costs_half_a_second(terminal, picture):
    screen = terminal(None)
    start = time.monotonic()
    assert ls.terminal.draw(picture, screen.stream) == "blocks"
    assert 0.4 < time.monotonic() - start < 5
    assert screen.as_before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_the_terminal_is_as_before_when_the_question_fails(terminal, picture, monkeypatch, error):
    screen = terminal(None)
    echo_flags = []

    def broken(*_):
        echo_flags.append(termios.tcgetattr(screen.slave)[3] & termios.ECHO)
        raise error

    monkeypatch.setattr("layerscope.terminal.probe.select.select", broken)
    with pytest.raises(error):
        ls.terminal.draw(picture, screen.stream)
    assert echo_flags == [0], "the echo was off while it asked"
    assert screen.as_before


def test_a_process_in_the_background_asks_nothing(terminal, picture, monkeypatch):
    screen = terminal(KITTY_TOO)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert ls.terminal.draw(picture, screen.stream) == "blocks"
    assert QUESTION not in screen.sent


def tmux(monkeypatch, client, allowed):
    def run_tmux(*arguments):
        return client if "display-message" in arguments else allowed

    monkeypatch.setattr("layerscope.terminal.protocol._tmux", run_tmux)


def test_tmux_passes_a_picture_through(terminal, picture, monkeypatch):
    tmux(monkeypatch, "xterm-kitty", "on")
    screen = terminal(None, 200, TMUX="/tmp/x", TERM="tmux-256color")
    assert ls.terminal.draw(picture, screen.stream) == "kitty"
    wrapped = re.findall(rb"\x1bPtmux;((?:\x1b\x1b|[^\x1b])*)\x1b\\", screen.output())
    sent = b"".join(sequence.replace(b"\x1b\x1b", b"\x1b") for sequence in wrapped)
    assert np.array_equal(pixels_of(kitty_png(sent + b"\n")[1]), picture.rgb())


@pytest.mark.parametrize(
    ("client", "allowed", "answer", "variables", "expected"),
    [
        ("xterm-kitty", "off", ATTRIBUTES, {}, "blocks"),
        ("xterm-kitty", "off", SIXEL_TOO, {}, "sixel"),
        ("xterm-256color", "on", ATTRIBUTES, {"KITTY_WINDOW_ID": "1"}, "blocks"),
        ("xterm-256color", "all", ATTRIBUTES, {"LC_TERMINAL": "iTerm2"}, "iterm"),
        ("xterm-256color", "off", ATTRIBUTES, {"LC_TERMINAL": "iTerm2"}, "blocks"),
    ],
)
def test_tmux_falls_back(terminal, picture, monkeypatch, client, allowed, answer, variables, expected):
    tmux(monkeypatch, client, allowed)
    screen = terminal(answer, 200, TMUX="/tmp/x", TERM="tmux-256color", **variables)
    assert ls.terminal.draw(picture, screen.stream) == expected


def test_names_from_a_file_cannot_command_the_terminal():
    fm = ls.FeatureMap.of_array(np.ones((1, 2, 2, 1)))
    fm = replace(fm, layer=replace(fm.layer, path="a\x1b]0;owned\x07\x9b2J\r"))
    for protocol in ("none", "blocks"):
        pipe = io.StringIO()
        ls.terminal.draw(ls.sheet(fm), pipe, protocol)
        left = re.sub(r"\x1b\[[\d;]*m", "", pipe.getvalue())
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", left)
        assert r"a\x1b]0;owned\x07\x9b2J\x0d" in left.replace("\n", "")


def test_wrong_arguments_are_refused(picture):
    with raises(ls.BadOption, "protocol='kity'", "'kitty'"):
        ls.terminal.draw(picture, io.StringIO(), "kity")
    with raises(ls.BadOption, "width=0"):
        ls.terminal.draw(picture, io.StringIO(), width=0)


def output_of_show(screen, monkeypatch, folder, *options):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdout", screen.stream)
    assert cli.main(["show", "demo", str(ls.demo_photo()), "-l", "_conv_stem", "--combine", "mean", *options]) == 0
    return screen.output()


def test_show_draws_in_a_terminal_that_can(terminal, monkeypatch, tmp_path):
    screen = terminal(None, 200, TERM="xterm-kitty")
    expected = ls.show("demo", ls.demo_photo(), "_conv_stem", combine="mean")
    assert np.array_equal(pixels_of(kitty_png(output_of_show(screen, monkeypatch, tmp_path))[1]), expected.rgb())
    assert not list(tmp_path.iterdir())


def test_show_writes_a_file_where_the_terminal_cannot_draw_or_on_request(terminal, monkeypatch, tmp_path):
    name = "chelsea-_conv_stem-mean.png"
    for index, (term, options, expected) in enumerate(
        (
            ("dumb", (), name),
            ("xterm-kitty", ("--terminal", "none"), name),
            ("xterm-kitty", ("-o", "a.png"), "a.png"),
        )
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        screen = terminal(None, 200, TERM=term)
        assert output_of_show(screen, monkeypatch, folder, *options).decode() == f"{expected}\n"
        assert [path.name for path in folder.iterdir()] == [expected]
    both = tmp_path / "both"
    both.mkdir()
    sent = output_of_show(terminal(None, 200, TERM="dumb"), monkeypatch, both, "-o", "a.png", "--terminal", "iterm")
    assert sent.startswith(b"\x1b]1337;File=") and sent.endswith(b"\na.png\n")
    assert (both / "a.png").is_file()
