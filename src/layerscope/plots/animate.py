"""`animate`: slices, frames of a clip, images or finished pictures one after another, as GIF or WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.feature_map import FeatureMap, as_map
from ..errors import BadLayout, BadOption, BadScale, near
from ..picture.caption import about, caption, special, title_of
from ..picture.numbers import number
from ..picture.picture import Picture
from ..picture.scale import Scale, marks_of
from ..picture.scale_rules import Beyond
from .montage import AXES, Stack, channel_scale, one_channel
from .mosaic import Mosaic, Tile
from .sequence import reach_of

SUFFIXES = (".gif", ".webp")


OVER = (*AXES, "images", "channels")


# A frame of a GIF lasts a whole number of hundredths of a second, and players slow down what is below two.
FASTEST = {".gif": 50, ".webp": 1000}


def animate(
    frames: Any,
    path: str | Path,
    *,
    fps: float = 8,
    over: str | None = None,
    image: int = 0,
    channel: int | None = None,
    zoom: int | None = None,
    scale: Any = None,
    colors: str | None = None,
    loop: bool = True,
    layout: str | None = None,
) -> Path:
    """The path of an animation written as `.gif` or lossless `.webp`: one frame a slice, an image, a channel or a picture.

    ```python
    ls.animate(clip, "clip.gif", over="t", channel=3)               # the frames of a video layer
    ls.animate([ls.sheet(fm, scale=(0, 4)) for fm in epochs], "epochs.gif")
    ```

    `frames` is a feature map, or a list of `Picture`s of one size and one scale. Of a map, `over` says what follows one
    another: `"d"`, `"h"`, `"w"` or `"t"` (a volume or clip; the default there), `"images"` or `"channels"` (a layer with
    pictures; `"images"` is the default). One range holds for all frames and stands beside each: that of the channel
    (`scale="channel"`, the default), of `"layer"`, of `"images"` (the default over images), `(low, high)` or a `Scale`.

    The colours are exact: a GIF holds the pictures' own codes with one palette for all frames, without dithering, and WebP
    is written lossless. Equal frames in a row become one that stays longer. A GIF counts in hundredths of a second, so its
    `fps` is the nearest that this allows. Raises `BadOption`, `BadScale`, `BadLayout`, `BadChannels`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadOption(f"{path.name!r}: animations are written as .gif or .webp")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= FASTEST[suffix]:
        raise BadOption(f"fps={fps!r}: use a number of frames a second above 0, up to {FASTEST[suffix]} for {suffix}")
    pictures = _given(frames) if isinstance(frames, Sequence) and not hasattr(frames, "shape") else None
    if pictures is None:
        pictures = frames_of(
            frames, over=over, image=image, channel=channel, zoom=zoom, scale=scale, colors=colors, layout=layout
        )
    elif any(each is not None for each in (over, channel, zoom, scale, colors, layout)):
        raise BadOption(
            "over=, channel=, zoom=, scale=, colors= and layout= are for a feature map: pictures are finished"
        )
    _write(pictures, path, suffix, fps, loop)
    return path


def frames_of(
    fm: Any,
    *,
    over: str | None = None,
    image: int = 0,
    channel: int | None = None,
    zoom: int | None = None,
    scale: Any = None,
    colors: str | None = None,
    layout: str | None = None,
) -> list[Picture]:
    """The pictures that `animate` writes for a feature map, all of one size and one scale."""
    whole = as_map(fm, layout)
    rank = len(whole.spatial)
    over = over or ("d" if rank == 3 else "images")
    if over not in OVER:
        raise BadOption(f"over={over!r}: use {', '.join(map(repr, OVER))}.{near(str(over), OVER)}")
    if over in AXES:
        stack = Stack.of(whole, image, channel, over)
        rule = stack.scale("channel" if scale is None else scale, colors)
        words = [f"{stack.word} {at} (0 to {stack.count - 1})" for at in range(stack.count)]
        tiles = [Tile("", image % len(whole.ids), stack.channel, f"{stack.word} {at}") for at in range(stack.count)]
        return _drawn(stack.one, stack.planes, tiles, words, rule, f"channel {stack.channel}", zoom)
    if rank != 2:
        raise BadLayout(
            f"over={over!r} needs a layer with pictures, {whole.layer.path!r} has {whole.spatial}: use over='d'"
        )
    if over == "channels":
        if channel is not None:
            raise BadOption(f"channel={channel!r} picks one, and over='channels' shows them all: give one of the two")
        one, image = whole.image(image), image % len(whole.ids)
        rule = channel_scale(whole, one, one.channels[0], _shared(scale, "layer"), colors)
        words = [f"channel {each} of {one.of}" for each in one.channels]
        tiles = [Tile("", image, each, f"channel {each}") for each in one.channels]
        return _drawn(one, np.moveaxis(one.values[0], -1, 0), tiles, words, rule, "", zoom)
    picked = one_channel(whole, channel)
    only = whole.select([picked])
    rule = channel_scale(only, only.image(0), picked, _shared(scale, "images"), colors)
    words = [f"image {at} (0 to {len(whole.ids) - 1}): {name}" for at, name in enumerate(whole.ids)]
    tiles = [Tile("", at, picked, name) for at, name in enumerate(whole.ids)]
    return _drawn(only, only.values[..., 0], tiles, words, rule, f"channel {picked}", zoom)


def _shared(scale: Any, usual: str) -> Any:
    """The rule that holds for all frames: a range of one of them alone is none."""
    if scale is None:
        return usual
    if isinstance(scale, str) and scale == "channel":
        raise BadScale(f"scale='channel' would give each frame its own range: use {usual!r}, (low, high) or a Scale")
    return scale


def _drawn(
    fm: FeatureMap, planes: np.ndarray, tiles: list[Tile], words: list[str], rule: Scale, said: str, zoom: int | None
) -> list[Picture]:
    grid = Mosaic.fitting((planes.shape[1], planes.shape[2]), 1, 0, 1, zoom)
    codes = rule.codes(planes)
    # The same legend and as many lines on every frame, so that nothing moves.
    marks, longest = marks_of(codes), max(map(len, words))
    reach = reach_of(planes)
    lines = caption(fm, rule, said) + special(planes, said or "the map") + Beyond.of(planes, rule.limits).words(rule)
    facts = about(fm, rule)
    return [
        grid.picture(code[None], [tile], rule, title_of(fm), (*lines, word.ljust(longest)), facts, marks, reach)
        for code, tile, word in zip(codes, tiles, words, strict=True)
    ]


def _given(pictures: Sequence[Any]) -> list[Picture]:
    """Finished pictures, which must be of one size and one scale."""
    if not pictures:
        raise BadOption("an animation needs at least one frame; the list is empty")
    for at, each in enumerate(pictures):
        if not isinstance(each, Picture):
            raise BadOption(f"frame {at} is a {type(each).__name__}: give a feature map, or a list of Pictures")
    first = pictures[0]
    for at, each in enumerate(pictures):
        if (each.height, each.width) != (first.height, first.width):
            raise BadOption(
                f"frame {at} has {each.width}×{each.height} pixels and frame 0 has {first.width}×{first.height}: draw them"
                " with the same zoom=, columns= and length of caption"
            )
        if each.theme != first.theme:
            raise BadOption(f"frame {at} is {each.theme} and frame 0 {first.theme}: give all one theme")
        if not _same(first.scale, each.scale):
            raise BadScale(
                f"frame {at} has another scale than frame 0 ({_limits(each)}, {_limits(first)}), so the same colour would"
                " mean two values: draw all with one scale=(low, high)"
            )
    return list(pictures)


def _same(one: Scale | None, other: Scale | None) -> bool:
    if one is None or other is None:
        return one is other
    same = np.array_equal(np.asarray(one.limits), np.asarray(other.limits), equal_nan=True)
    return same and (one.colors, one.center) == (other.colors, other.center)


def _limits(picture: Picture) -> str:
    if picture.scale is None:
        return "none"
    return "…".join(map(number, picture.scale.limits)) if picture.scale.single else "a range for each tile"


def _write(pictures: list[Picture], path: Path, suffix: str, fps: float, loop: bool) -> None:
    from PIL import features

    if suffix == ".gif" and not all(each.indexed for each in pictures):
        raise BadOption(
            f"{path.name!r}: a GIF holds 256 colours and these pictures are RGB: write .webp, which loses none"
        )
    if suffix == ".webp" and not features.check("webp"):
        raise BadOption(f"{path.name!r}: this build of Pillow can't write WebP: write .gif")
    images = [each.to_pil() for each in pictures]
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:]}
    if suffix == ".gif":
        options |= {"duration": max(2, round(100 / fps)) * 10, "optimize": False, "disposal": 1}
        # Given, it is written once for all frames; else Pillow gives each its own.
        options["palette"] = pictures[0].palette().tobytes()
        options["comment"] = pictures[0].title.encode()
        if loop:
            options["loop"] = 0
    else:
        images = [each.convert("RGB") for each in images]
        options |= {"append_images": images[1:], "duration": max(1, round(1000 / fps)), "loop": 0 if loop else 1}
        # Exact: nothing is lost; method 4 is libwebp's own default.
        options |= {"lossless": True, "quality": 80, "method": 4}
    try:
        images[0].save(path, format=suffix[1:].upper(), **options)
    except OSError as error:
        raise BadOption(f"can't write {path}: {error.strerror or error}") from error
