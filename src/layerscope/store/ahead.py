"""Samples made ready for the model while it runs: read, decoded, resized and preprocessed by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import PIL
from PIL import features

from ..core.placement import Placement
from ..errors import BadOption, ImageNotReadable, LayerscopeError, PreprocessUnknown, one_line
from ..inputs import preprocess
from ..inputs.photo import read as read_photo
from ..inputs.recipe import READY
from ..safe_text import printable
from ..scope.batches import Batch
from .samples import Listing, Sample
from .sources.origins import digest_of, is_missing, is_of_one_file

if TYPE_CHECKING:
    from ..scope.scope import Scope

ROOM = 256 << 20
MOST = 256  # samples that wait, however small they are
CODECS = {"jpg": "libjpeg", "libtiff": "libtiff", "jpg_2000": "openjpeg", "webp": "libwebp", "avif": "libavif"}


@dataclass(frozen=True, eq=False)
class Ready:
    """A sample that was read: the model input of this one image, or why there is none.

    Attributes:
        sample: Which.
        outcome: `"done"`; `"missing"`: there is no such file; `"broken"`: it can't be opened or decoded.
        reason: Of a missing or broken one, without its name and the path of the root; `""` of one that is done.
        digest: The blake2b of the bytes that were read (see `Sample.digest`), also of a broken one where it could be read.
        array: The model input in the axes and type of `scope.plan`, one image along the axis `b`: exactly what
            `scope.capture` would give the model; `None` where there is none.
        placement: Where the input lies on the photo; `None` where there is none.
    """

    sample: Sample
    outcome: Literal["done", "missing", "broken"] = "done"
    reason: str = ""
    digest: str = ""
    array: np.ndarray | None = None
    placement: Placement | None = None

    @property
    def nbytes(self) -> int:
        """The memory that its array takes."""
        return 0 if self.array is None else self.array.nbytes


def read_ahead(samples: Iterable[Sample], scope: Scope, *, workers: int = 1, room: int = ROOM) -> Generator[Ready]:
    """Each of the samples made ready, in their order, one `Ready` for each, by threads that work ahead of the caller.

    A missing or broken file is an outcome. Anything else, such as a failing disk, a folder that is gone, a preprocessing
    function that raises or too little memory, ends the iteration with an error that names the sample. Close the iterator
    (`contextlib.closing`) where it isn't read to its end: threads end then, after the sample that each has in hand.

    Frames of a video are decoded by one thread, whatever `workers` says.

    Args:
        samples: A listing, a slice of one, or any sequence of samples.
        scope: The model's scope, of which only the preprocessing is used: `scope.preprocess` and `scope.plan`.
        workers: How many threads; 0: none, each is made ready when it is asked for.
        room: How many bytes of arrays may wait to be taken; a few per worker always may. The photos themselves
            (those that the threads have in hand) come on top.

    Raises:
        PreprocessUnknown: The scope takes ready batches, or its preprocessing doesn't fit the photo.
        BadOption: The folder is gone, the disk fails, or a preprocessing function raised.
        CaptureTooLarge: Memory ran out.
        LibraryMissing: Reading it needs a library that isn't installed.
    """
    if scope.preprocess == READY:
        raise PreprocessUnknown("a data set of images needs a preprocessing, and this model takes ready batches")
    if workers == 0:
        yield from (made_ready(sample, scope) for sample in samples)
        return
    if isinstance(samples, Listing) and samples.in_turn:
        workers = 1
    with closing(_by_threads(samples, scope, workers=workers, room=room)) as ready:
        yield from ready


def _by_threads(samples: Iterable[Sample], scope: Scope, *, workers: int, room: int) -> Generator[Ready]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="layerscope-ahead")
    waiting: deque[Future[Ready]] = deque()
    largest = 0
    try:
        for sample in samples:
            waiting.append(pool.submit(made_ready, sample, scope))
            most = 2 * workers if not largest else max(2 * workers, min(MOST, room // largest))
            while len(waiting) > most:
                ready = waiting.popleft().result()
                largest = max(largest, ready.nbytes)
                yield ready
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def made_ready(sample: Sample, scope: Scope) -> Ready:
    """One sample read, decoded and preprocessed. Errors are those of `read_ahead`."""
    recipe, plan = scope.preprocess, scope.plan
    digest = ""
    try:
        content = sample.content()
        digest = digest_of(content)
        photo = read_photo(content, id=sample.id, range=recipe.range)
        preprocess.check_photo(photo, recipe, plan)
        array, (placement,) = preprocess.batch([photo], recipe, plan)
    except ImageNotReadable as error:
        if not is_of_one_file(error):
            raise BadOption(
                f"{sample.source}: {_reason(error, sample)}", "no property of this file, so the work ends here"
            ) from error
        return Ready(sample, "missing" if is_missing(error) else "broken", _reason(error, sample), digest)
    except LayerscopeError as error:
        if printable(sample.id) in str(error):
            raise
        raise type(error)(f"{sample.source}: {error}") from error
    except Exception as error:  # of a preprocessing function, or of a library that nobody foresaw
        raise BadOption(
            f"{sample.source}: {type(error).__name__} while it was made ready: {one_line(error)}"
        ) from error
    return Ready(sample, digest=digest, array=array, placement=placement)


def _reason(error: ImageNotReadable, sample: Sample) -> str:
    """What an error says, without the name of the sample in front, and without what differs from one run to the next."""
    text = getattr(error, "lasting", "") or str(error)
    root = getattr(sample.origin, "root", "")
    for name in (sample.id, sample.source, f"image {root}/{sample.source}", f"image {sample.source}"):
        text = text.removeprefix(f"{printable(name)}: ")
    return text


def batch_of(ready: Sequence[Ready], scope: Scope) -> Batch:
    """Samples that are done, with model input of one size, as one batch for `scope.attempt.run_batch`.

    The last one fills it up where the model takes a fixed number (`Batch.filled`), as in a capture.
    """
    plan = scope.plan
    arrays = [one.array for one in ready if one.array is not None]
    missing = max(0, (plan.batch or 0) - len(arrays))
    array = np.concatenate([*arrays, *arrays[-1:] * missing], axis=plan.axes.index("b"))
    placement = tuple(one.placement for one in ready if one.placement is not None)
    return Batch(array, tuple(one.sample.id for one in ready), None, placement, missing)


def makers(scope: Scope) -> dict[str, str]:
    """What decodes and resizes, for a receipt: the rule, and the versions on which pixels may depend."""
    versions = {name: features.version(codec) or "" for codec, name in CODECS.items()}
    if features.check_feature("libjpeg_turbo"):
        versions["libjpeg"] = f"turbo {features.version('libjpeg_turbo')}"
    decoders = {name: version for name, version in sorted(versions.items()) if version}
    return {"resize": scope.preprocess.describe(), "pillow": PIL.__version__, "numpy": np.__version__, **decoders}
