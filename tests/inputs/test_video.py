"""Frames of videos: the right ones, whole and upright, by number and by rate; what is damaged is named."""

import struct

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope import cli
from layerscope.inputs import video as module
from layerscope.inputs.images import collect
from layerscope.inputs.photo import Photo

av = pytest.importorskip("av", reason="videos are made and read with PyAV")
COUNT, SIZE = 60, (48, 64)
CODECS = {
    "clip.mp4": ("libx264", {"bf": "2"}),
    "clip.mkv": ("libx264", {}),
    "clip.webm": ("libvpx-vp9", {"lag-in-frames": "16", "auto-alt-ref": "1"}),
    "clip.avi": ("mpeg4", {}),
    "clip.mpg": ("mpeg1video", {}),
    "clip.mts": ("libx264", {}),
}


def picture(number):
    """A grey by which a frame is known, with a white corner above to the left."""
    pixels = np.full((*SIZE, 3), 20 + 3 * number, np.uint8)
    pixels[:16, :16] = 255
    return pixels


def make(path, codec="libx264", options=None, rate=30, count=COUNT, gop=12):
    formats = {".mts": "mpegts"}
    with av.open(str(path), "w", format=formats.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", gop, 8_000_000
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.start_encoding()  # for none at all
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {name: make(folder / name, *encoder) for name, encoder in CODECS.items()}


def number_of(photo):
    """Which frame a photo is, by its grey."""
    assert photo.pixels[:12, :12].min() > 200, "the corner is above to the left"
    return round((float(np.median(photo.pixels[20:, 20:])) - 20) / 3)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("wanted", [[0, 1, 2], [59, 30, 31, 7], [-1]])
def test_frames_are_those_of_their_number(clips, name, wanted):
    frames = ls.video(clips[name], frames=wanted)
    expected = sorted(number % COUNT for number in wanted)
    assert [source.id for source in frames] == [f"{name}#{number}" for number in expected]
    assert [number_of(source.read()) for source in frames] == expected
    assert [number_of(source.read()) for source in frames[::-1]] == expected[::-1]
    assert frames[0].read().size == SIZE


def test_every_frame_is_found_also_far_from_the_last(clips, monkeypatch):
    for far in (200, 1, 5):
        monkeypatch.setattr(module, "FAR", far)
        for name in ("clip.mp4", "clip.mpg", "clip.webm"):
            assert [number_of(source.read()) for source in ls.video(clips[name])] == list(range(COUNT))


@pytest.mark.parametrize(
    ("frames", "numbers"),
    [
        ("0,30,59", [0, 30, 59]),
        ("0:60:20", [0, 20, 40]),
        ("58:", [58, 59]),
        (slice(0, 3), [0, 1, 2]),
        ("7,7", [7]),
        (5, [5]),
        (np.int64(5), [5]),
    ],
)
def test_frames_as_text_and_ranges(clips, frames, numbers):
    assert [source.number for source in ls.video(clips["clip.mp4"], frames=frames)] == numbers


@pytest.mark.parametrize(
    ("fps", "numbers"), [(1, [0, 30]), (0.5, [0]), (10, list(range(0, 60, 3))), (100, list(range(60)))]
)
def test_frames_by_rate(clips, fps, numbers):
    for name in ("clip.mp4", "clip.mpg"):
        assert [source.number for source in ls.video(clips[name], fps=fps)] == numbers


@pytest.mark.parametrize("options", [{"frames": "0,60"}, {"frames": "a"}, {"frames": [1.5]}, {"frames": "9:3"},
                                     {"fps": 0}, {"fps": 1, "frames": 0}])  # fmt: skip
def test_a_choice_that_does_not_exist_is_named(clips, options):
    with raises(ls.BadOption):
        ls.video(clips["clip.mp4"], **options)


def test_a_phones_video_is_upright(clips, tmp_path):
    content = bytearray(clips["clip.mp4"].read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", content, matrix)[:5] == (65536, 0, 0, 0, 65536)
    for turn, numbers, corner in (
        (90, (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30), (0, -1)),  # to the right, as phones held upright write it
        (180, (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30), (-1, -1)),
        (270, (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30), (-1, 0)),
    ):
        struct.pack_into(">9i", content, matrix, *numbers)
        path = tmp_path / f"turned{turn}.mp4"
        path.write_bytes(content)
        photo = ls.video(path, frames=[3])[0].read()
        assert photo.size == (SIZE if turn == 180 else SIZE[::-1])
        assert photo.pixels[corner].min() > 200
        assert photo.turned
        assert (photo.pixels.reshape(-1, 3).min(-1) > 200).sum() < 400


def test_a_video_goes_wherever_images_go(clips):
    scope = ls.open("demo")
    frames = ls.video(clips["clip.mp4"], fps=1)
    maps = scope.capture([*frames, ls.demo_photo()], "_conv_stem")
    assert maps.images == ("clip.mp4#0", "clip.mp4#30", "chelsea.png")
    photo = Photo("x", frames[1].read().pixels)
    alone = scope.capture(photo, "_conv_stem")["_conv_stem"]
    np.testing.assert_allclose(maps["_conv_stem"].values[1:2], alone.values, atol=1e-4)
    assert ls.show("demo", frames[0], "_conv_stem").title
    assert [len(maps["_conv_stem"].ids) for maps in scope.stream(frames, "_conv_stem", batch=1)] == [1, 1]


def test_videos_of_one_name_have_ids_of_their_own(clips, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(clips["clip.mp4"].read_bytes())
    frames = [*ls.video(tmp_path / "a" / "clip.mp4", frames=0), *ls.video(tmp_path / "b" / "clip.mp4", frames=0)]
    assert [source.id for source in collect(frames)] == ["a/clip.mp4#0", "b/clip.mp4#0"]


def damaged(clips, tmp_path, kind):
    path = tmp_path / "bad.mp4"
    content = clips["clip.mp4"].read_bytes()
    if kind == "sound alone":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    elif kind == "no frame":
        make(path, count=0)
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 3], "noise": bytes(4000)}[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "cut", "noise", "sound alone", "no frame"])
def test_what_is_no_video_is_named(clips, tmp_path, kind):
    with raises(ls.ImageNotReadable, "bad.mp4"):
        ls.video(damaged(clips, tmp_path, kind))


def test_a_damaged_stretch_costs_its_own_frames_alone(clips, tmp_path):
    content = bytearray(clips["clip.mp4"].read_bytes())
    with av.open(str(clips["clip.mp4"])) as container:
        places = {packet.pts: (packet.pos, packet.size) for packet in container.demux(video=0) if packet.size}
    keys = sorted(places)
    start, size = places[keys[24]]
    content[start : start + size] = np.random.default_rng(0).bytes(size)  # a key frame: of twelve frames
    path = tmp_path / "hurt.mp4"
    path.write_bytes(content)
    skipped, found = [], []
    for source in ls.video(path):
        try:
            found.append(number_of(source.read()))
            assert found[-1] == source.number
        except ls.ImageNotReadable:
            skipped.append(source.number)
    assert set(range(24, 36)) <= set(skipped) <= set(range(20, 36))
    assert sorted([*found, *skipped]) == list(range(COUNT))
    with warns(ls.ImagesSkipped, "hurt.mp4#24"):
        maps = ls.open("demo").capture(ls.video(path, frames="20:28"), "_conv_stem")
    assert maps.images == tuple(f"hurt.mp4#{number}" for number in found if 20 <= number < 28)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
def test_a_list_of_other_files_is_no_video(clips, tmp_path, name):
    path = tmp_path / name
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{clips['clip.mts']}\n#EXT-X-ENDLIST\n")
    with raises(ls.ImageNotReadable, name):
        ls.video(path)


def test_a_frame_above_the_limit_is_not_converted(clips, monkeypatch):
    monkeypatch.setenv("LAYERSCOPE_MAX_PIXELS", "1000")
    with raises(ls.ImageTooLarge, "1,000"):
        ls.video(clips["clip.mp4"], frames=0)[0].read()


def test_without_pyav_the_error_has_its_pip_line(clips, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with raises(ls.LibraryMissing, "layerscope[video]"):
        ls.video(clips["clip.mp4"])


# ---- the command line ------------------------------------------------------------------------------------------------
@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main([*map(str, arguments), *(("-l", "_conv_stem", "-o", "out") if arguments[0] == "show" else ())])
        out, err = capsys.readouterr()
        return code, out.split(), err

    return run


def test_the_command_line_draws_frames_by_number_and_rate(clips, run):
    clip = clips["clip.mp4"]
    code, out, _ = run("show", "demo", clip, "--frames", "0,30,59", "--combine", "mean")
    assert (code, out) == (0, [f"out/clip.mp4_{number:06}-_conv_stem-mean.png" for number in (0, 30, 59)])
    code, out, _ = run("show", "demo", clip, ls.demo_photo(), "--fps", "1", "--combine", "mean", "--resume")
    assert code == 0
    assert len(out) == 1, "0 and 30 are there from the first run"
    assert run("show", "demo", clip, ls.demo_photo(), "--fps", "1", "--combine", "mean", "--resume")[1] == []
    assert run("layers", "demo", clip)[0] == 0


def test_a_damaged_video_among_others_is_skipped(clips, run, tmp_path):
    bad = damaged(clips, tmp_path, "cut")
    code, out, err = run("show", "demo", bad, clips["clip.mp4"], "--frames", "0", "--combine", "mean")
    assert (code, len(out)) == (3, 1)
    wording([line for line in err.splitlines() if "skipped bad" in line])


def test_wrong_choices_of_frames_are_named(clips, run):
    clip = clips["clip.mp4"]
    for arguments in (
        ("show", "demo", clip),
        ("show", "demo", ls.demo_photo(), "--fps", "1"),
        ("show", "demo", clip, "--frames", "0,99"),
        ("show", "demo", clip, "--frames", "x"),
        ("show", "demo", clip, "--frames", "0", "--fps", "1"),
        ("show", "demo", clip, "--frames", "0", "--preprocess", "none"),
        ("show", "demo", "missing.mp4", "--frames", "0"),
    ):
        code, _, err = run(*arguments)
        assert code == 1
        wording(err.splitlines()[-1])
    with pytest.raises(SystemExit) as stop:
        run("show", "demo", clip, "--fps", "0")
    assert stop.value.code == 2
