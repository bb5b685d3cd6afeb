"""`to_tensorboard`: pictures as image summaries, through your own writer or into an event file."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BackendMissing, BadOption
from ..safe_text import printable
from ..writing import make_folder, write
from .picture import Picture


def to_tensorboard(
    pictures: Picture | Sequence[Picture] | Mapping[str, Picture],
    writer: Any,
    tag: str = "",
    step: int = 0,
) -> tuple[str, ...]:
    """Show pictures in TensorBoard's Images tab; returns their tags. No pixel changes.

    >>> import layerscope as ls, numpy as np
    >>> class Writer:  # as that of torch.utils.tensorboard or tensorboardX
    ...     def add_image(self, tag, pixels, global_step, dataformats):
    ...         print(tag, pixels.dtype, global_step, dataformats)
    >>> ls.to_tensorboard(ls.heatmap(np.eye(4)), Writer(), tag="conv1", step=3)
    conv1 uint8 3 HWC
    ('conv1',)

    Args:
        pictures: One, several (`tag/0`, `tag/1` …), or a mapping from tags (below `tag` where one is given).
        writer: A `SummaryWriter`, or a folder for an event file (`pip install "layerscope[tensorboard]"`).
        tag: The name in TensorBoard; by default the picture's title.
        step: The step of training that the pictures belong to, a whole number.

    Raises:
        BadOption: For other pictures, writers or steps, and where the file can't be written.
        BackendMissing: For a folder without tensorboard.
    """
    by_tag = {printable(name): picture for name, picture in _tagged(pictures, tag).items()}
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise BadOption(f"step={step!r}: use a whole number")
    if isinstance(writer, str | os.PathLike):
        _write(Path(writer), by_tag, int(step))
    elif hasattr(writer, "add_image"):
        for name, picture in by_tag.items():
            writer.add_image(name, picture.rgb(), global_step=int(step), dataformats="HWC")
    else:
        raise BadOption(
            f"writer is of type {type(writer).__name__}: use a SummaryWriter (torch.utils.tensorboard or "
            "tensorboardX), or a folder"
        )
    return tuple(by_tag)


def _tagged(pictures: Any, tag: str) -> dict[str, Picture]:
    """The pictures by their tags."""
    if isinstance(pictures, Picture):
        by_tag = {tag or pictures.title: pictures}
    elif isinstance(pictures, Mapping):
        by_tag = {f"{tag}/{name}" if tag else str(name): picture for name, picture in pictures.items()}
    elif isinstance(pictures, Sequence) and not isinstance(pictures, str):
        titles = [tag or getattr(picture, "title", "") for picture in pictures]
        by_tag = {f"{title}/{index}": pictures[index] for index, title in enumerate(titles)}
    else:
        by_tag = {}
    wrong = next((picture for picture in by_tag.values() if not isinstance(picture, Picture)), None)
    if not by_tag or wrong is not None:
        name = type(pictures if wrong is None else wrong).__name__
        raise BadOption(
            f"to_tensorboard() takes a Picture, a list or a mapping of them, not {name}: sheet(fm) and the like return "
            "one"
        )
    return by_tag


def _write(folder: Path, by_tag: Mapping[str, Picture], step: int) -> None:
    """An event file of its own with one summary per picture."""
    try:
        # Without TensorBoard's own EventFileWriter, which would import TensorFlow where that's installed.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise BackendMissing(
            f'writing an event file needs tensorboard ({error}): pip install "layerscope[tensorboard]"'
        ) from error
    now = time.time()
    values = []
    for name, picture in by_tag.items():
        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.png()
        )
        values.append(Summary.Value(tag=name, image=image))
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events.append(Event(wall_time=now, step=step, summary=Summary(value=values)))
    # TensorBoard finds files by this pattern; the last part keeps those of one second apart.
    file = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
    stream = io.BytesIO()
    records = RecordWriter(stream)
    for event in events:
        records.write(event.SerializeToString())
    write(make_folder(folder) / file, stream.getvalue())
