"""Frames of a video as photos: chosen by number or rate, decoded by PyAV when their turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..checks import file_path, keywords, real
from ..errors import BadOption, ImageNotReadable, ImageTooLarge, LibraryMissing, one_line
from ..files import open_regular
from ..safe_text import counted
from ..surface import option
from .formats import pixel_limit
from .images import Source
from .levels import Range
from .photo import Photo

# FFmpeg's names of the formats that are read: others open further files, or fetch them.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,apng,h264,hevc"
SETTINGS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "fflags": "+genpts"}
TIMELESS = (
    "mpeg",
    "mpegvideo",
    "h264",
    "hevc",
)  # in which not every frame has its time, so that a place isn't one either
FAR = 200  # frames to a wanted one, from which on the nearest key frame is looked for
TURNED = {90: 8, 180: 3, 270: 6}  # degrees to the left, and the same in EXIF


@keywords
def video(
    path: str | os.PathLike[str], *, frames: str | int | slice | Sequence[int] | None = None, fps: float | None = None
) -> list[Source]:
    """Frames of a video, for wherever images are taken; each is decoded when its turn comes.

    Their ids are `clip.mp4#30`, with the frame's number in the order of showing. Reading needs PyAV: `layerscope[video]`.

    >>> import layerscope as ls
    >>> video("clip.mp4", fps=1)
    Traceback (most recent call last):
    layerscope.errors.ImageNotReadable: video clip.mp4: no such file

    Args:
        path: The file: `.mp4`, `.mov`, `.mkv`, `.webm`, `.avi`, `.mpg`, `.gif` …
        frames: The numbers of the frames, from 0: a list, a slice, or text such as `"0,30,60"` or `"0:300:30"`. By default all.
        fps: Frames per second instead: of each such moment the first frame.

    Raises:
        ImageNotReadable: The file is damaged, empty or no video.
        BadOption: There is no such frame, or both are given.
        LibraryMissing: PyAV isn't installed.
    """
    if frames is not None and fps is not None:
        raise BadOption(f"{option('frames', frames)} and {option('fps', fps)}: give one of them")
    if fps is not None:
        fps = real("fps", fps, 1e-6, 1e6)
    opened = Video(file_path(path))
    numbers = opened.at_rate(fps) if fps is not None else opened.numbers(":" if frames is None else frames)
    return [Frame(f"{opened.path.name}#{number}", opened, False, number) for number in numbers]


@dataclass(frozen=True, eq=False)
class Frame(Source):
    """One frame of a video that is still to be decoded."""

    number: int = 0

    @property
    def file(self) -> Path | None:
        path: Path = self.item.path
        return path

    def read(self, *, limit: int | None = None, range: Range | None = None) -> Photo:
        photo: Photo = self.item.photo(self.number, self.id, pixel_limit(limit))
        return photo


@dataclass(frozen=True, eq=False)
class Unread(Source):
    """A video, one of several, that can't be read: its error comes when its turn does."""

    def read(self, *, limit: int | None = None, range: Range | None = None) -> Photo:
        raise self.item


class Video:
    """A video file: the times of its frames, and a decoder that goes forward through it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._frames: Iterator[Any] | None = None
        self._next = 0  # the number of the frame that the decoder gives next
        with open_regular(path, what="video", error=ImageNotReadable) as file:
            if not file.read(1):
                raise ImageNotReadable(f"{path.name}: the file is empty (0 bytes): download or copy it again")
        with self._errors():
            container, stream = self._open()
            with container:
                packets = [(packet.pts, packet.size) for packet in container.demux(stream) if not packet.is_discard]
                self._base = stream.time_base
        self._times: list[int] = sorted(time for time, size in packets if time is not None and size)
        if not self._times:
            timed = "frames without times: make it anew (ffmpeg -i IN -c copy OUT.mp4)"
            raise ImageNotReadable(
                f"{path.name}: a video {timed if any(size for _, size in packets) else 'without a frame'}"
            )
        self._number = {time: number for number, time in enumerate(self._times)}

    def __repr__(self) -> str:
        return f"<Video {self.path.name}>"

    def numbers(self, frames: Any) -> list[int]:
        """The frames that a user means, in order, each once."""
        count = len(self._times)
        try:
            parts = (
                frames.split(",")
                if isinstance(frames, str)
                else [frames]
                if isinstance(frames, int | np.integer | slice)
                else frames
            )
            chosen = {number for part in parts for number in _span(part, count)}
        except (TypeError, ValueError):
            raise BadOption(
                f"{option('frames', frames)}: give the numbers of frames, such as 0,30,60, or a range, 0:300:30"
            ) from None
        except IndexError as error:
            raise BadOption(
                f"{option('frames', frames)}: {self.path.name} has {counted(count, 'frame')}, 0 to {count - 1}, and no {error}"
            ) from None
        if not chosen:
            raise BadOption(f"{option('frames', frames)}: no frame of the {count} of {self.path.name}")
        return sorted(chosen)

    def at_rate(self, fps: float) -> list[int]:
        """So many frames for each second, from the first one on."""
        seconds = (np.array(self._times) - self._times[0]) * float(self._base)
        moments = np.arange(0, seconds[-1] + 1e-9, 1 / fps) if fps < len(seconds) / max(seconds[-1], 1e-9) else seconds
        return sorted(set(np.searchsorted(seconds, moments - 1e-6).tolist()))

    def photo(self, number: int, id: str, limit: int) -> Photo:
        """A frame, upright. Raises `ImageNotReadable` for one that the decoder doesn't give."""
        with self._errors(id):
            frame = self._frame(number)
            if frame is None or frame.is_corrupt:
                raise ImageNotReadable(f"{id}: the file is damaged there: the decoder gives no such frame")
            if frame.width * frame.height > limit:
                raise ImageTooLarge(f"{id}: {frame.width} × {frame.height} pixels are more than the limit of {limit:,}")
            pixels = frame.to_ndarray(format="rgb24")
            degrees = round(frame.rotation) % 360
        pixels = np.ascontiguousarray(np.rot90(pixels, degrees // 90))
        pixels.flags.writeable = False
        return Photo(id, pixels, "RGB", TURNED.get(degrees, 1))

    def _frame(self, number: int) -> Any:
        if self._frames is None or not self._next <= number < self._next + FAR:
            self._frames = self._decoded(number)
        for frame in self._frames:
            found = self._number.get(frame.pts, -1)
            self._next = max(self._next if found < 0 else 0, found + 1)
            if found >= number:
                return frame if found == number else None
        self._frames = None
        return None

    def _decoded(self, number: int) -> Iterator[Any]:
        """The frames from a key frame before `number` on; those whose packets are damaged are left out."""
        damaged = _av().error.InvalidDataError
        container, stream = self._open()
        with container:
            seeks = number and container.format.name not in TIMELESS
            if seeks:
                container.seek(self._times[number], stream=stream)
            right, hurt = not seeks, False  # without an index, a place may be found that no frame can be decoded from
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except damaged:
                    hurt = True
                    continue
                for frame in frames:
                    hurt = hurt and not frame.key_frame  # what follows is made from what is damaged, up to a key frame
                    right = right or (frame.key_frame and self._number.get(frame.pts, number + 1) <= number)
                    if not right:
                        break
                    if not hurt:
                        yield frame
                if frames and not right:
                    break
        if not right:
            yield from self._decoded(0)

    def _open(self) -> tuple[Any, Any]:
        """The container, by the protocol for files alone, whatever its name begins with, and its video stream."""
        container = _av().open(f"file:{os.path.abspath(self.path)}", options=SETTINGS)
        if not container.streams.video:
            container.close()
            raise ImageNotReadable(f"{self.path.name}: a file without pictures: no video is in it")
        return container, container.streams.video[0]

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        """What FFmpeg says of a file, as an `ImageNotReadable`."""
        error = _av().error.FFmpegError
        try:
            yield
        except error as cause:
            what = getattr(cause, "strerror", None) or one_line(cause)
            raise ImageNotReadable(
                f"{name or self.path.name}: can't be read as a video ({what}): it is truncated, damaged or of a format that"
                " isn't read; copy it again, or convert it to .mp4"
            ) from cause


def _span(part: Any, count: int) -> Sequence[int]:
    """The numbers of a part of a choice: one number, or a range. Raises `IndexError` for a frame that isn't there."""
    if isinstance(part, str) and ":" in part:
        ends = [int(end) if end.strip() else None for end in part.split(":")]
        part = slice(*ends)
    if isinstance(part, slice):
        return range(count)[part]
    if isinstance(part, bool | float):
        raise TypeError
    number = int(part)
    if not -count <= number < count:
        raise IndexError(number)
    return [number % count]


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise LibraryMissing("reading videos needs PyAV", 'pip install "layerscope[video]"') from error
    return av
