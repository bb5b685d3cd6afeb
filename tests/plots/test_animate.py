"""Animations, read back frame by frame with Pillow."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import GifImagePlugin, Image

import layerscope as ls
from helpers.arrays import noise
from helpers.wording import raises, wording
from layerscope.core.feature_map import as_map
from layerscope.picture.codes import GAP
from layerscope.plots.animate import draw_frames
from layerscope.plots.montage import MontageOptions


def frame_pictures(fm, over=None, **options):
    """The pictures that `animate` writes of a map."""
    return draw_frames(as_map(fm), MontageOptions(**options), over)


@pytest.fixture
def clip():
    values = noise(1, 6, 9, 7, 2)
    values[0, 2, 3:5, 2:4, 1] = np.nan
    return ls.FeatureMap.of_array(values, "bdhwc")


@pytest.fixture
def frames_as_codes(monkeypatch):
    """Pillow gives the codes of every frame, where it would turn all but the first into colours."""
    monkeypatch.setattr(
        GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    )


def frames(path):
    with Image.open(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            yield image.copy()


@pytest.mark.usefixtures("frames_as_codes")
def test_a_gif_holds_the_codes_and_the_palette_of_its_pictures(clip, tmp_path):
    expected = frame_pictures(clip, over="t", channel=1)
    path = ls.animate(clip, tmp_path / "clip.gif", over="t", channel=1)
    written = list(frames(path))
    assert len(written) == len(expected) == 6
    for frame, picture in zip(written, expected, strict=True):
        assert frame.mode == "P"
        assert (np.asarray(frame) == picture.pixels).all()
        assert (np.asarray(frame.convert("RGB")) == picture.rgb()).all()
        assert frame.info["duration"] == 120
    data = path.read_bytes()
    assert data[10] & 0x80, "a palette for the whole file"
    assert data.count(b"NETSCAPE2.0") == 1
    with Image.open(path) as image:
        assert image.info["comment"].decode() == expected[0].title


def test_a_webp_loses_nothing(clip, tmp_path):
    expected = frame_pictures(clip, channel=1)
    written = list(frames(ls.animate(clip, tmp_path / "clip.webp", channel=1, fps=20)))
    assert len(written) == 6
    for frame, picture in zip(written, expected, strict=True):
        assert (np.asarray(frame.convert("RGB")) == picture.rgb()).all()


@pytest.mark.parametrize(("over", "axis"), [("d", 0), ("h", 1), ("w", 2), ("t", 0)])
def test_frames_are_slices_with_one_range_and_one_size(clip, over, axis):
    pictures = frame_pictures(clip, over=over, channel=0)
    volume = clip.values[0, ..., 0]
    assert len({(picture.width, picture.height) for picture in pictures}) == 1
    for index, picture in enumerate(pictures):
        (cell,) = picture.cells
        assert (picture.bar.low, picture.bar.high) == (volume.min(), volume.max())
        np.testing.assert_allclose(
            picture.decode(cell), volume.take(index, axis), atol=np.abs(volume).max() / 240 * 1.01
        )
        word = "frame" if over == "t" else "slice"
        assert picture.lines[-1].strip() == f"{word} {index} (0 to {len(pictures) - 1})"


def test_over_images_and_over_channels():
    fm = ls.FeatureMap.of_array(noise(3, 5, 4, 6), "bhwc")
    pictures = frame_pictures(fm, channel=2)
    assert [picture.cells[0].image for picture in pictures] == [0, 1, 2]
    assert pictures[1].bar.high == fm.values[..., 2].max(), "one range for this channel of all images"
    pictures = frame_pictures(fm, over="channels", image=1)
    assert [picture.cells[0].channel for picture in pictures] == list(range(6))
    assert pictures[1].bar.high == fm.values[1].max()


def test_frames_are_counted_from_one_and_named():
    fm = ls.FeatureMap.of_array(noise(3, 5, 4, 1), "bhwc")
    words = [picture.lines[-1].strip() for picture in frame_pictures(fm)]
    assert words == ["image 1 of 3", "image 2 of 3", "image 3 of 3"]
    photos = tuple(np.zeros((8, 8, 3), np.uint8) for _ in range(3))
    named = replace(fm, photos=photos, ids=("cat.jpg", "dog.jpg", "owl.jpg"))
    assert frame_pictures(named)[1].lines[-1].strip() == "photo 2 of 3: dog.jpg"


def test_an_animation_has_title_caption_and_bar_as_others_have(clip, tmp_path):
    def first(**options):
        return next(frames(ls.animate(clip, tmp_path / "a.webp", channel=1, **options)))

    plain = first()
    (cell,) = frame_pictures(clip, channel=1)[0].cells
    assert first(caption=False, bar=False).size == (cell.width, cell.height)
    assert first(bar=False).tobytes() != plain.tobytes()
    assert first(title="Mine").tobytes() != plain.tobytes()
    assert first(caption=False).height < plain.height
    with raises(ls.BadOption, "caption="):
        ls.animate([ls.sheet(noise(1, 4, 4, 2), scale=(0, 1))], tmp_path / "a.gif", caption=False)


def test_marks_and_captions_move_nothing(clip):
    # One frame alone has NaN, one has values outside the limits: the legend is the same on all.
    pictures = frame_pictures(clip, channel=1, scale=(-1, 9))
    assert len({picture.height for picture in pictures}) == 1
    wording(pictures[0].alt(), "4")
    assert len({picture.lines[:-1] for picture in pictures}) == 1


def test_pictures_of_epochs_need_one_scale(tmp_path):
    epochs = [noise(1, 6, 6, 4, seed=seed) for seed in range(3)]
    path = ls.animate([ls.sheet(values, scale=(-3, 3)) for values in epochs], tmp_path / "epochs.gif", fps=2)
    with Image.open(path) as image:
        assert (image.n_frames, image.info["duration"]) == (3, 500)
    with raises(ls.BadScale, "1", "scale=(low, high)"):
        ls.animate([ls.sheet(values, scale="layer") for values in epochs], tmp_path / "a.gif")
    with raises(ls.BadScale, "1"):
        ls.animate([ls.sheet(values, scale="channel") for values in epochs], tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_smaller_frames_have_paper_around(tmp_path, suffix):
    small, large = (ls.sheet(noise(1, 6, 6, 9), scale=(-3, 3), zoom=zoom, columns=3) for zoom in (9, 40))
    assert small.height < large.height
    assert small.width < large.width
    written = list(frames(ls.animate([small.dark(), large.dark(), small.dark()], tmp_path / f"a.{suffix}")))
    assert {frame.size for frame in written} == {(large.width, large.height)}
    for frame, picture in zip(written, (small.dark(), large.dark(), small.dark()), strict=True):
        rgb = np.asarray(frame.convert("RGB"))
        assert (rgb[: picture.height, : picture.width] == picture.rgb()).all()
        assert (rgb[picture.height :] == picture.palette()[GAP]).all()
        assert (rgb[:, picture.width :] == picture.palette()[GAP]).all()


def test_equal_frames_stay_for_their_time(tmp_path):
    same = np.ones((1, 5, 4, 4, 1), np.float32)
    same[0, 3] = 2
    path = ls.animate(ls.FeatureMap.of_array(same, "bdhwc"), tmp_path / "same.gif", fps=10)
    # The frame's own number is on it, so none are equal.
    assert len(list(frames(path))) == 5
    picture = ls.heatmap(noise(4, 4))
    path = ls.animate([picture, picture], tmp_path / "two.gif", fps=10)
    assert sum(frame.info["duration"] for frame in frames(path)) == 200


def test_colours_go_into_webp_alone(tmp_path):
    picture = ls.heatmap(ls.pca(ls.FeatureMap.of_array(noise(1, 6, 6, 5), "bhwc")))
    with raises(ls.BadOption, "256"):
        ls.animate([picture, picture], tmp_path / "a.gif")
    other = ls.heatmap(ls.pca(ls.FeatureMap.of_array(noise(1, 6, 6, 5, seed=4), "bhwc")))
    written = list(frames(ls.animate([picture, other], tmp_path / "a.webp")))
    assert (np.asarray(written[1].convert("RGB")) == other.rgb()).all()


@pytest.mark.parametrize(
    ("frames", "options", "error"),
    [
        ([], {}, ls.BadOption),
        ([1, 2], {}, ls.BadOption),
        (noise(1, 3, 3, 3, 2), {}, ls.BadChannels),
        (noise(1, 3, 3, 3, 1), {"over": "time"}, ls.BadOption),
        (noise(1, 3, 3, 3, 1), {"over": "images"}, ls.BadLayout),
        (noise(2, 3, 3, 1), {"over": "d"}, ls.BadLayout),
        (noise(2, 3, 3, 2), {"over": "channels", "channel": 1}, ls.BadOption),
        (noise(2, 3, 3, 1), {"scale": "channel"}, ls.BadScale),
        (noise(2, 3, 3, 1), {"fps": 0}, ls.BadOption),
        (noise(2, 3, 3, 1), {"fps": 80}, ls.BadOption),
        (noise(2, 3, 3, 1), {"fps": "8"}, ls.BadOption),
        (noise(2, 9), {}, ls.BadLayout),
    ],
)
def test_animations_refuse(frames, options, error, tmp_path):
    layout = {5: "bdhwc", 4: "bhwc", 2: "bc"}.get(getattr(frames, "ndim", 0))
    content = frames if layout is None else ls.FeatureMap.of_array(frames, layout)
    with raises(error):
        ls.animate(content, tmp_path / "a.gif", **options)


def test_animations_refuse_other_files(tmp_path):
    with raises(ls.BadOption):
        ls.animate(noise(2, 3, 3, 1), tmp_path / "a.mp4")
    with raises(ls.BadOption):
        ls.animate(ls.FeatureMap.of_array(noise(2, 3, 3, 1), "bhwc"), tmp_path / "none" / "a.gif")
    with raises(ls.BadOption):
        ls.animate([ls.heatmap(noise(3, 3))], tmp_path / "a.gif", over="d")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_are_counted_as_they_are_drawn_and_written(clip, tmp_path, suffix):
    events, path = [], tmp_path / f"clip{suffix}"
    plain = ls.animate(clip, path, over="t", channel=1).read_bytes()
    with ls.progress(events.append):
        ls.animate(clip, path, over="t", channel=1)
    assert events == [ls.Progress(done, 6, what) for what in ("pictures", "frames") for done in range(7)]
    assert path.read_bytes() == plain

    def interrupt(event):
        if event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ls.progress(interrupt):
        ls.animate(clip, path, over="t", channel=0)
    assert path.read_bytes() == plain and list(tmp_path.iterdir()) == [path]
