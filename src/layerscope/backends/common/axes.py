"""Names of axes that are split, merged or dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Protocol, TypeVar

CHANNELS_LAST = {2: "bc", 3: "bnc", 4: "bhwc", 5: "bdhwc"}


CHANNELS_FIRST = {2: "bc", 3: "bcn", 4: "bchw", 5: "bcdhw"}


# Where nothing else is known: pictures are channels-first, sequences of vectors channels-last.
PICTURES_FIRST = CHANNELS_FIRST | {3: "bnc"}


# The letters of one, two and three dimensions of space.
SPACE = {1: "n", 2: "hw", 3: "dhw"}


# Names that models give to the parameters of tokens in front of those of the patches, and how such a token is labelled.
PREFIX_TOKENS = {
    **dict.fromkeys(("cls", "cls_token", "class_token", "class_embedding", "cls_embedding"), "cls"),
    **dict.fromkeys(("dist_token", "distillation_token"), "dist"),
    **dict.fromkeys(("reg", "reg_token", "reg_tokens", "register_tokens", "registers", "storage_tokens"), "reg"),
}


UNUSED = "hwdn"


# Why axes may be other ones: `Layer.doubt`.
ASSUMED = "axes assumed from the rank"
DERIVED = "axes follow from assumed ones"
SEVERAL = "axes not certain: arrays of two kinds have this shape"


def for_one_image(axes: str, shape: tuple[int, ...], images: int) -> tuple[int, ...]:
    """A shape with the rows that one of some images has; as it is where its rows don't divide, and so belong to none.

    >>> for_one_image("bchw", (4, 8, 7, 7), 4), for_one_image("bc", (5, 16), 4)
    ((1, 8, 7, 7), (5, 16))
    """
    axis = axes.find("b")
    if axis < 0 or images < 2 or shape[axis] % images:
        return shape
    return (*shape[:axis], shape[axis] // images, *shape[axis + 1 :])


def prefix_labels(tokens: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """The labels of prefix tokens, `cls` first and registers last, from the names of parameters and how many each holds.

    >>> prefix_labels([("register_tokens", 2), ("kernel", 64), ("cls_token", 1)])
    ('cls', 'reg1', 'reg2')
    """
    labels: dict[str, tuple[str, ...]] = {}
    for name, count in tokens:
        word = PREFIX_TOKENS.get(name, "")
        numbered = count != 1 or word == "reg"
        if word:
            labels[word] = tuple(f"{word}{number + 1}" for number in range(count)) if numbered else (word,)
    return tuple(label for word in ("cls", "dist", "reg") for label in labels.get(word, ()))


def regroup(axes: str, before: Sequence[int], after: Sequence[int]) -> str | None:
    """The axes after a reshape: which of the old ones each new one is made of follows from the products of their sizes.

    >>> regroup("bchw", (1, 8, 3, 4), (1, 8, 12))
    'bcn'
    >>> regroup("bnc", (1, 12, 8), (1, 12, 2, 4))
    'bnhc'
    >>> regroup("bchw", (1, 1, 3, 4), (1, 3, 4)), regroup("bcn", (1, 1, 9), (1, 9, 1)), regroup("hbc", (1, 1, 6), (1, 6))
    ('bhw', 'bnc', 'bc')
    >>> regroup("nbc", (20, 1, 12), (20, 12))
    'bc'
    """
    image = axes.find("b")
    kept = keep_sizes(before, after, image)
    if kept is not None and (image < 0 or before[image] != 1 or _stays(image, kept)):
        spare = iter(spare_letters(axes))
        letters = "".join(next(spare, "?") if axis is None else axes[axis] for axis in kept)
        return None if "?" in letters else letters
    letters, stop, end = "", 0, 0
    while stop < len(before) and end < len(after):
        start, begin = stop, end
        stop, end = stop + 1, end + 1
        while (left := prod(before[start:stop])) != (right := prod(after[begin:end])):
            if left < right and stop < len(before):
                stop += 1
            elif right < left and end < len(after):
                end += 1
            else:
                return None
        if axes[stop : stop + 2] == "bc" and before[stop] == 1 and end < len(after) and after[end] != 1:
            stop += 1  # one image lies with the steps in front of it: no model merges images and channels
        if end == len(after):
            stop = len(before)  # what is left of the old axes has size one
        part = _rename(axes[start:stop], end - begin, letters + axes[stop:])
        if part is None:
            return None
        letters += part
    added = len(after) - end  # what is left of the new axes has size one
    letters += spare_letters(letters)[:added]
    complete = stop == len(before) and len(letters) == len(after)
    return letters if complete and len(set(letters)) == len(letters) else None


def _stays(image: int, kept: Sequence[int | None]) -> bool:
    """Whether the axis of the images is kept, with no new axis in front of it."""
    return image in kept and None not in kept[: kept.index(image)]


def keep_sizes(before: Sequence[int], after: Sequence[int], image: int = -1) -> tuple[int | None, ...] | None:
    """For each axis after a reshape that axis before it which it is, `None` for a new one; `None` where axes are split or
    merged. All sizes but 1 are the same in the same order, so nothing but axes of size one comes, goes or moves; that of the
    images (`image`) goes last.

    >>> keep_sizes((2, 1, 3, 4), (2, 3, 4, 1)), keep_sizes((1, 3, 4), (1, 1, 3, 4)), keep_sizes((2, 6), (2, 2, 3))
    ((0, 2, 3, 1), (0, None, 1, 2), None)
    """
    wide = [axis for axis, size in enumerate(before) if size != 1]
    if [before[axis] for axis in wide] != [size for size in after if size != 1]:
        return None
    single = [axis for axis, size in enumerate(before) if size == 1]
    spare = sum(size == 1 for size in after) - len(single)  # of the new axes of size one, those that are really new
    if spare < 0 and image in single[len(single) + spare :] and len(single) + spare > 0:
        single = sorted([*single[: len(single) + spare - 1], image])
    kept: list[int | None] = []
    for index, size in enumerate(after):
        if size != 1:
            kept.append(wide.pop(0))
        elif single and (spare <= 0 or single[0] == index):
            kept.append(single.pop(0))
        else:
            kept.append(None)
            spare -= 1
    return tuple(kept)


def _rename(old: str, count: int, used: str) -> str | None:
    """Letters for `count` new axes that hold what `old` held; `None` for as many of other sizes, each a part of several."""
    if len(old) == count == 1:
        return old
    if count == 1:
        for kept in "bc":
            if kept in old:
                return kept
        return "n" if "n" not in used else None
    if len(old) > 1:
        return None
    if old == "n":
        return {2: "hw", 3: "dhw"}.get(count) if not set("hw") & set(used) else None
    spare = [letter for letter in "dhwn" if letter not in used]
    needed = count - 1
    chosen = "".join(spare[1:] if len(spare) > needed and needed == 1 else spare)[:needed]
    if len(chosen) < needed:
        return None
    return old + chosen if old == "b" else chosen + old


def spare_letters(axes: str) -> str:
    """Letters for new axes beside these, in their order: a map whose channels went gets channels first.

    >>> spare_letters("bnc"), spare_letters("bhw")
    ('hwd', 'cdn')
    """
    return "".join(letter for letter in "c" + UNUSED if letter not in axes)


def add_classes(axes: str, position: int = -1) -> str | None:
    """The axes after numbers of classes became as many ones and zeros, at `position` of the result: these are the channels.

    >>> add_classes("bhw"), add_classes("bhw", 1), add_classes("bc"), add_classes("bhwc")
    ('bhwc', 'bchw', 'bnc', None)
    """
    letters = axes.replace("c", "n") if len(axes) == 2 else axes
    if "c" in letters or not axes:
        return None
    position %= len(axes) + 1
    return letters[:position] + "c" + letters[position:]


def drop_axes(axes: str, positions: Sequence[int]) -> str:
    """The axes without those at `positions`."""
    dropped = {position % max(len(axes), 1) for position in positions}  # a number alone may be squeezed, too
    return "".join(letter for index, letter in enumerate(axes) if index not in dropped)


def insert_axes(axes: str, positions: Sequence[int]) -> str | None:
    """The axes with new ones at `positions` of the result.

    >>> insert_axes("bc", [1]), insert_axes("chw", [0]), insert_axes("bhw", [-1])
    ('bhc', 'bchw', 'bhwc')
    """
    rank = len(axes) + len(positions)
    added = {position % rank for position in positions}
    spare = "b" * ("b" not in axes and 0 in added) + spare_letters(axes)
    if len(spare) < len(added):
        return None
    old, new = iter(axes), iter(spare)
    return "".join(next(new) if index in added else next(old) for index in range(rank))


def permuted_view(axes: str, before: Sequence[int], after: Sequence[int]) -> str | None:
    """Axes of a transposed view of a tensor with `axes`, found from the strides before and after, else `None`.

    >>> permuted_view("bchw", (6000, 300, 20, 1), (6000, 20, 1, 300))
    'bhwc'
    """
    if len(before) != len(after) or len(set(before)) != len(before) or sorted(before) != sorted(after):
        return None
    where = dict(zip(before, axes, strict=True))
    return "".join(where[stride] for stride in after)


class Run(Protocol):
    """A run of positions along a dimension."""

    @property
    def size(self) -> int: ...


R = TypeVar("R", bound=Run)


def distribute(
    runs: Sequence[R], shape: Sequence[int], split: Callable[[R, int], tuple[R, R] | None]
) -> list[tuple[R, ...]] | None:
    """The runs that each dimension of `shape` is made of after a reshape; `None` where it cuts through one.

    `split` gives a run as two, the first of the size asked for, or `None` where it must stay whole. Nothing is a part of an
    array without values.
    """
    if 0 in shape or any(run.size == 0 for run in runs):
        return None
    left = [run for run in runs if run.size != 1]
    dims: list[tuple[R, ...]] = []
    for size in shape:
        dim: list[R] = []
        wanted = int(size)
        while wanted > 1:
            if not left:
                return None
            run = left.pop(0)
            if wanted % run.size == 0:
                dim.append(run)
                wanted //= run.size
            elif run.size % wanted == 0 and (halves := split(run, wanted)):
                dim.append(halves[0])
                left.insert(0, halves[1])
                wanted = 1
            else:
                return None
        dims.append(tuple(dim))
    return dims
