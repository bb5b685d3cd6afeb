"""`animate`: slices, frames of a clip, images or finished pictures one after another, as GIF or WebP."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import file_path, keywords, one_of
from ..core.feature_map import FeatureMap, as_map
from ..core.note import Note
from ..core.progress import work
from ..core.words import image_name
from ..errors import BadLayout, BadOption, BadScale
from ..picture.canvas import NARROWEST, Frame
from ..picture.caption import about, caption, is_combined, quantity, special, title_of
from ..picture.codes import GAP
from ..picture.font import SMALL, font
from ..picture.numbers import number
from ..picture.palette import marks_of
from ..picture.picture import Picture
from ..picture.scale import Scale
from ..picture.scale_rules import Beyond
from ..safe_text import legible, printable
from ..writing import write
from .montage import AXES, MontageOptions, Stack, channel_scale, one_channel
from .mosaic import Mosaic, Tile
from .sequence import reach_of

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".gif", ".webp")
OVER = (*AXES, "images", "channels")

# A frame of a GIF lasts a whole number of hundredths of a second, and players slow down what is below two.
FASTEST = {".gif": 50, ".webp": 1000}


@keywords
def animate(
    frames: Any,
    path: str | Path,
    *,
    fps: float = 8,
    over: str | None = None,
    image: int | str = 0,
    channel: int | None = None,
    zoom: int | None = None,
    scale: Any = None,
    colors: Any = None,
    norm: str | None = None,
    title: str | None = None,
    caption: bool = True,
    bar: bool = True,
    loop: bool = True,
    layout: str | None = None,
) -> Path:
    """The path of an animation written as `.gif` or lossless `.webp`: a frame per slice, image, channel or picture.

    One range holds for all frames and stands beside each. The colours are exact: a GIF holds the pictures' own codes
    with one palette for all frames, without dithering, and WebP is written lossless. Equal frames in a row become one
    that stays longer.

    >>> import numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = animate(np.arange(48.0).reshape(3, 4, 4, 1), folder + "/images.gif", fps=4)
    ...     path.name, path.stat().st_size > 0
    ('images.gif', True)

    Args:
        frames: A feature map or an array; or a list of `Picture`s of one scale; paper is added to smaller ones.
        path: The file to write, `.gif` or `.webp`.
        fps: Frames a second, above 0: up to 50 for GIF (to the nearest hundredth of a second), up to 1000 for WebP.
        over: What the frames are. `"d"`, `"h"`, `"w"` or `"t"` (slices of a volume, frames of a clip; `"d"` is the
            default there), `"images"` or `"channels"` (of a layer with pictures; `"images"` is the default).
        image: Which image of the map, where the frames aren't the images.
        channel: The true number of the channel, where the frames aren't the channels.
        zoom: Picture pixels per unit of the map.
        scale: `"channel"` (the default), `"layer"`, `"images"` (the default over images), `(low, high)` or a `Scale`.
        colors: A name of the cmap catalogue, a colour map of matplotlib or a list of colours.
        norm: `"linear"` (the usual one), `"log"` or `"symlog"`, as in `Scale`; by default that of a `Scale` given.
        title: The title in place of the usual one; `""` for none.
        caption: Whether title, subject and notes are drawn, the number of each frame among them; without, a `title` that you
            give is.
        bar: Whether the colour bar is drawn. Without `caption` and `bar` the maps stand alone.
        loop: Whether the animation repeats.
        layout: The axes of an array, such as `"bcthw"`, where it isn't its library's convention.

    Returns:
        The path.

    Raises:
        BadLayout: A map that has no such frames.
        BadChannels: A channel that the map doesn't hold, or none given where there are several.
        BadScale: A scale that gives each frame its own range, or pictures of several scales.
        BadOption: An option is invalid, or the file can't be written.
    """
    path = file_path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadOption(f"{path.name!r}: animations are written as .gif or .webp")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= FASTEST[suffix]:
        raise BadOption(f"fps={fps!r}: use a number of frames per second above 0, up to {FASTEST[suffix]} for {suffix}")
    if isinstance(frames, Sequence) and not hasattr(frames, "shape"):
        given = any(option is not None for option in (over, channel, zoom, scale, colors, norm, title, layout))
        if given or not (caption and bar):
            raise BadOption(
                "over=, channel=, zoom=, scale=, colors=, norm=, title=, caption=, bar= and layout= are for feature maps, not"
                " for finished pictures"
            )
        pictures = _check_pictures(frames)
    else:
        whole = as_map(frames, layout)
        options = replace(MontageOptions.among(locals()), columns=1)
        pictures = draw_frames(whole, options, over)
    return _write(pictures, path, fps=fps, loop=loop)


def draw_frames(whole: FeatureMap, options: MontageOptions, over: str | None = None) -> list[Picture]:
    """The pictures that `animate` writes for a feature map, all of one size and one scale."""
    rank = len(whole.spatial)
    over = one_of("over", over or ("d" if rank == 3 else "images"), OVER)
    options = replace(options, columns=1)
    if over in AXES:
        return _draw(_slice_frames(whole, replace(options, axis=over)), options)
    if rank != 2:
        raise BadLayout(
            f"over={over!r} needs two-dimensional maps, and {whole.layer.path!r} has spatial shape {whole.spatial}: "
            "use over='d'"
        )
    return _draw(_channel_frames(whole, options) if over == "channels" else _image_frames(whole, options), options)


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames of an animation: planes `[frame, height, width]`, their tiles and names, scale and caption for all."""

    fm: FeatureMap
    planes: np.ndarray
    tiles: Sequence[Tile]
    words: Sequence[str]
    rule: Scale
    shown: str


def _slice_frames(whole: FeatureMap, options: MontageOptions) -> _Frames:
    stack = Stack.of(whole, options, options.channel)
    rule = stack.scale(options)
    words = [f"{stack.word} {number} (0 to {stack.count - 1})" for number in range(stack.count)]
    tiles = [Tile("", stack.image, stack.channel, f"{stack.word} {number}") for number in range(stack.count)]
    return _Frames(
        stack.one, stack.planes, tiles, words, rule, "" if is_combined(whole) else f"channel {stack.channel}"
    )


def _channel_frames(whole: FeatureMap, options: MontageOptions) -> _Frames:
    if options.channel is not None:
        raise BadOption(
            f"channel={options.channel!r} picks one, and over='channels' shows them all: give one of the two"
        )
    one, image = options.pick(whole)
    rule = channel_scale(whole, one, one.channels[0], _shared(options, "layer"), usual="layer")
    words = [f"channel {channel} of {one.of}" for channel in one.channels]
    tiles = [Tile("", image, channel, f"channel {channel}") for channel in one.channels]
    return _Frames(one, np.moveaxis(one.values[0], -1, 0), tiles, words, rule, "")


def _image_frames(whole: FeatureMap, options: MontageOptions) -> _Frames:
    channel = one_channel(whole, options.channel)
    only = whole.select([channel])
    rule = channel_scale(only, only.image(0), channel, _shared(options, "images"), usual="images")
    word, count = "image" if whole.photos is None else "photo", len(whole.ids)
    words = [
        f"{word} {image + 1} of {count}" + (f": {image_name(name)}" if name != f"image {image}" else "")
        for image, name in enumerate(whole.ids)
    ]
    tiles = [Tile("", image, channel, name) for image, name in enumerate(whole.ids)]
    return _Frames(only, only.values[..., 0], tiles, words, rule, "" if is_combined(whole) else f"channel {channel}")


def _shared(options: MontageOptions, usual: str) -> MontageOptions:
    """The options, whose scale must hold for all frames: a range of one of them alone doesn't."""
    if options.scale == "channel":
        raise BadScale(f"scale='channel' would give each frame its own range: use {usual!r}, (low, high) or a Scale")
    return options


def _draw(frames: _Frames, options: MontageOptions) -> list[Picture]:
    fm, planes, rule = frames.fm, frames.planes, frames.rule
    grid = Mosaic.fitting((planes.shape[1], planes.shape[2]), frames.tiles[:1], options)
    codes = rule.codes(planes)
    # The same legend and as many lines on every frame, so that nothing moves.
    marks = marks_of(codes)
    words = [[Note("frame", line) for line in font(SMALL).wrap(legible(word), NARROWEST)] for word in frames.words]
    most = max(map(len, words))
    subject, *notes = caption(fm, rule, frames.shown) + special(planes, frames.shown or "the map")
    notes += Beyond.of(planes, rule.limits).words(rule)
    frame = Frame(title_of(fm), subject, notes, rule, marks, reach_of(planes), quantity=quantity(fm))
    facts = about(fm, rule)
    blank = Note("frame", "")
    framed = [replace(options.framed(frame), notes=(*notes, *word, *[blank] * (most - len(word)))) for word in words]
    pictures = []
    with work(len(framed), "pictures") as step:
        for code, tile, own in zip(codes, frames.tiles, framed, strict=True):
            pictures.append(grid.picture(code[None], [tile], own, facts))
            step(1)
    return pictures


def _check_pictures(pictures: Sequence[Any]) -> list[Picture]:
    """Finished pictures, which must be of one size and one scale."""
    if not pictures:
        raise BadOption("an animation needs at least one frame; the list is empty")
    for index, picture in enumerate(pictures):
        if not isinstance(picture, Picture):
            raise BadOption(
                f"frame {index} is of type {type(picture).__name__}: give a feature map, or a list of Pictures"
            )
    first = pictures[0]
    for index, picture in enumerate(pictures):
        if picture.theme != first.theme:
            raise BadOption(f"frame {index} is {picture.theme} and frame 0 {first.theme}: give all one theme")
        if not _same(first.scale, picture.scale):
            raise BadScale(
                f"frame {index} has another scale than frame 0 ({_limits(picture)}, {_limits(first)}), so the same colour"
                " would mean two values: draw all with scale='images' or one scale=(low, high)"
            )
    return list(pictures)


def _same(one: Scale | None, other: Scale | None) -> bool:
    if one is None or other is None:
        return one is other
    same = np.array_equal(np.asarray(one.limits), np.asarray(other.limits), equal_nan=True)
    return same and (one.colors, one.center, one.norm) == (other.colors, other.center, other.norm)


def _limits(picture: Picture) -> str:
    if picture.scale is None:
        return "none"
    text = "…".join(map(number, picture.scale.limits)) if picture.scale.single else "a range for each tile"
    return text if picture.scale.norm == "linear" else f"{text} {picture.scale.norm}"


def _padded(pictures: Sequence[Picture]) -> list[Image]:
    """The pictures as images of one size: paper to the right of smaller ones, and below them."""
    from PIL import ImageOps

    images = [picture.to_pil() for picture in pictures]
    size = max(image.width for image in images), max(image.height for image in images)
    for index, (picture, image) in enumerate(zip(pictures, images, strict=True)):
        if image.size != size:
            colors = picture.palette()
            paper = GAP if picture.indexed else tuple(map(int, colors[GAP]))
            images[index] = ImageOps.expand(image, (0, 0, size[0] - image.width, size[1] - image.height), paper)
    return images


def _write(pictures: list[Picture], path: Path, *, fps: float, loop: bool) -> Path:
    from PIL import features

    suffix = path.suffix.lower()
    if suffix == ".gif" and not all(picture.indexed for picture in pictures):
        raise BadOption(
            f"{path.name!r}: a GIF holds 256 colours and these pictures are RGB: write .webp, which loses none"
        )
    if suffix == ".webp" and not features.check("webp"):
        raise BadOption(f"{path.name!r}: this build of Pillow can't write WebP: write .gif")
    # Frames have paper: in a GIF a colour is either there or not.
    images = _padded([picture.light() if picture.theme == "transparent" else picture for picture in pictures])
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:]}
    if suffix == ".gif":
        options |= {"duration": max(2, round(100 / fps)) * 10, "optimize": False, "disposal": 1}
        # Given, it is written once for all frames; else Pillow gives each its own.
        options["palette"] = pictures[0].palette().tobytes()
        options["comment"] = printable(pictures[0].title).encode()
        if loop:
            options["loop"] = 0
    else:
        images = [image.convert("RGB") for image in images]
        options |= {"append_images": images[1:], "duration": max(1, round(1000 / fps)), "loop": 0 if loop else 1}
        # Exact: nothing is lost; method 4 is libwebp's own default.
        options |= {"lossless": True, "quality": 80, "method": 4}
    encoded = io.BytesIO()
    with work(len(images), "frames") as step:
        for image in images[1:]:
            _tell(image, step)
        images[0].save(encoded, format=suffix[1:].upper(), **options)
        step(1)
    return write(path, encoded.getvalue())


def _tell(image: Image, step: Callable[[int], None]) -> None:
    """Count a step when Pillow comes to the image, as the one before it is written: it asks each for its only frame."""
    seek = image.seek

    def asked(frame: int) -> None:
        seek(frame)
        step(1)

    image.seek = asked  # type: ignore[method-assign]
