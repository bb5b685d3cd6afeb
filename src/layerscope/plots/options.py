"""`DrawOptions`: how a picture is to be drawn, as one frozen value that is checked once and travels as a whole."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil, isfinite
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..arrays.ranges import checked_clip, extent_of
from ..channels.sort import check_sort
from ..checks import flag, one_of, optional_whole, real, whole
from ..combinations.class_map import is_class_map
from ..core.feature_map import FeatureMap
from ..core.note import Note
from ..core.words import image_index
from ..errors import BadOption, BadScale, near
from ..picture.canvas import Frame
from ..picture.font import readable_text
from ..picture.norms import check_norm, require_positive
from ..picture.palette import THEMES, as_colors
from ..picture.scale import RULES, Scale
from ..picture.scale_rules import ALLOWED, given_scale
from ..safe_text import counted
from ..surface import option

Options = TypeVar("Options", bound="DrawOptions")

LARGEST_TEXT = 4


class Page(NamedTuple):
    """One page of a picture: its number, counted from 0, of how many, and which of the things it shows."""

    number: int
    pages: int
    here: slice

    @property
    def text(self) -> str:
        """What a caption says; nothing where there is one page."""
        return f"page {self.number + 1} of {self.pages}" if self.pages > 1 else ""


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """What the pictures of one map have in common: which part of it, its colours, the size and order of its tiles.

    Every public function makes one from its keyword arguments; what a kind of picture has besides is in a subclass. A picture
    uses what applies to it. `scale=None` is the usual rule of that picture.

    >>> options = DrawOptions(columns=8, scale=(0, 4))
    >>> options.python("sheet", "fm")
    'ls.sheet(fm, columns=8, scale=(0, 4))'
    >>> DrawOptions.from_dict(options.to_dict()) == options
    True
    """

    image: int | str = 0
    channels: Any = None
    columns: int | None = None
    sort: str = "index"
    scale: Any = None
    colors: Any = None
    clip: tuple[float, float] | None = None
    norm: str | None = None
    page: int = 0
    per_page: int | None = None
    zoom: int | None = None
    statistics: bool = False
    text: float | None = None
    title: str | None = None
    caption: bool = True
    bar: bool = True
    theme: str = "light"

    def __post_init__(self) -> None:
        for name in ("columns", "zoom", "per_page"):
            self._set(name, optional_whole(name, getattr(self, name)))
        if self.text is not None:
            real("text", self.text, 1, LARGEST_TEXT, unit=": 1 is for a screen, 3 for print at 300 dpi")
        if self.title is not None and not isinstance(self.title, str):
            raise BadOption(f"title={self.title!r}: give text, '' for no title, or None for the usual one")
        one_of("theme", self.theme, THEMES)
        for field in fields(self):
            if field.type == "bool":
                self._set(field.name, flag(field.name, getattr(self, field.name)))
        check_sort(self.sort)
        if self.clip is not None:
            checked_clip(self.clip)
        if self.norm is not None:
            check_norm(self.norm)
        if self.colors is not None:
            self._set("colors", as_colors(self.colors))
        for name in ("channels", "scale", "clip"):
            self._set(name, frozen(getattr(self, name)))

    def _set(self, name: str, value: Any) -> None:
        """For the checks of `__post_init__` alone: the value as it is kept."""
        object.__setattr__(self, name, value)

    @classmethod
    def among(cls: type[Options], values: Mapping[str, Any]) -> Options:
        """The options among the arguments of a function that has them as keywords, its `locals()`."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    @classmethod
    def like(cls: type[Options], options: DrawOptions) -> Options:
        """The options of this class with the values that `options` have of those that every picture has."""
        if isinstance(options, cls):
            return options
        return cls(**{field.name: getattr(options, field.name) for field in fields(DrawOptions)})

    @property
    def size(self) -> float:
        """How many times as large as on a screen tiles are to be: as letters, where their size was given."""
        return 1.0 if self.text is None else self.text

    def letters(self, width: int) -> float:
        """How many times as large as on a screen the letters around a map of so many pixels are to be."""
        return readable_text(width) if self.text is None else self.text

    def framed(self, frame: Frame) -> Frame:
        """The frame with the title and those parts of it that are to be drawn; the usual title stands below one's own."""
        if self.title and self.title != frame.title:
            frame = replace(frame, subject=Note("subject", " · ".join(filter(None, (frame.title, frame.subject)))))
        return replace(frame, heading=self.title, caption=self.caption, colorbar=self.bar)

    def pick(self, fm: FeatureMap) -> tuple[FeatureMap, int]:
        """The map of the one image to draw, and the number of that image, counted from the first."""
        number = image_index(fm.ids, self.image)
        one = fm.image(number)
        if len(fm.ids) > 1 and fm.photos is None and not fm.provenance.get("model"):
            one = replace(one, notes=(*one.notes, Note("image", f"image {number} of {len(fm.ids)}, counted from 0")))
        return one, number

    def pick_page(self, count: int, most: int) -> Page:
        """The page to draw of `count` things, at most `most` on each. Raises `BadOption` where there is no such page."""
        pages = ceil(count / most)
        instead = f"; there {'is' if pages == 1 else 'are'} {counted(pages, 'page')}"
        number = whole("page", self.page, 0, pages - 1, instead=instead)
        return Page(number, pages, slice(number * most, (number + 1) * most))

    def fit_scale(self, fm: FeatureMap, one: FeatureMap, extent: np.ndarray, usual: str = "layer") -> Scale:
        """The scale of a picture of `one` image of `fm`, by the rule `usual` where none is given.

        Evidence speaks for a class or against it, so that a class activation map of one sign has the colours of that side of 0.
        """
        scale = usual if self.scale is None else self.scale
        if not isinstance(scale, str):
            return given_scale(scale, self.colors, self.clip, self.norm)
        if scale not in RULES:
            raise BadScale(f"{option('scale', scale)}: {ALLOWED}{near(scale, RULES)}")
        values = one.values
        if scale == "images" and len(fm.ids) > 1:
            values, extent = fm.values, extent_of(fm.values)
        fitted = Scale.fit(values, scale, self.clip, self.colors, extent, norm=self.norm or "linear")
        if fitted.norm == "log":
            require_positive(values, fitted.limits)
        free = fitted.center is None and self.colors is None and fitted.norm != "log"
        one_sided = free and is_class_map(one)
        return replace(fitted, center=0.0, colors=None) if one_sided else fitted

    def check_numbers(self, fm: FeatureMap) -> None:
        """Raises `BadOption` where a norm is asked for and what a map holds are colours or groups."""
        if self.norm not in (None, "linear") and fm.role in ("rgb", "factors", "labels"):
            held = "three components as colours" if fm.role == "rgb" else "groups, each with its own colour"
            raise BadOption(f"{option('norm', self.norm)} needs a map of numbers; this one holds {held}")

    def to_dict(self) -> dict[str, Any]:
        """The options that differ from the defaults, in values that JSON has. Raises `BadOption` for functions."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: _to_json(name, value) for name, (value, usual) in values.items() if not _same(value, usual)}

    @classmethod
    def from_dict(cls: type[Options], values: Mapping[str, Any]) -> Options:
        """The options that `to_dict` gave. Raises `BadOption` with near names for what isn't one of them."""
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise BadOption(f"{name!r} is not an option of {cls.__name__}{near(str(name), names)}")
        return cls(**{name: _from_json(value) for name, value in values.items()})

    def python(self, function: str, *arguments: str) -> str:
        """The line of Python by which the public `function` draws the same: only what differs from its own defaults.

        `arguments` come first, as source text: `options.python("show", "model", "'cat.jpg'")`.
        """
        public = getattr(importlib.import_module(__name__.partition(".")[0]), function)
        known = inspect.signature(public).parameters
        words = list(arguments)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in known or _same(value, known[field.name].default) or _same(value, field.default):
                continue
            words.append(f"{field.name}={_source(field.name, value)}")
        themed = "" if "theme" in known or self.theme == "light" else f".themed({self.theme!r})"
        return f"ls.{function}({', '.join(words)}){themed}"


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def frozen(value: Any) -> Any:
    """Lists and arrays as tuples, numbers of numpy as Python's own; everything else as it is."""
    if value is None or isinstance(value, str | Scale | slice):
        return value
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, bytes | tuple | range):
        return tuple(frozen(element) for element in value)
    return tuple(map(frozen, value)) if type(value) is tuple else value


def _to_json(name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Scale):
        return value.to_dict()
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, tuple | list | range):
        return [_to_json(name, element) for element in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise BadOption(f"{name}={value!r} can't be written as JSON: give text, numbers or a slice")


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _slice(value["slice"]) if "slice" in value else Scale.from_dict(value)
    return tuple(map(_from_json, value)) if isinstance(value, list) else value


def _slice(ends: Any) -> slice:
    if not isinstance(ends, list) or len(ends) != 3 or not all(end is None or isinstance(end, int) for end in ends):
        raise BadOption(f"slice={ends!r}: give [start, stop, step], whole numbers or null")
    return slice(*ends)


def _source(name: str, value: Any) -> str:
    """The value as it is written in Python."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Scale):
        if not value.single:
            raise BadOption(f"{name}: a Scale with a range for each tile has no short form in Python")
        words = [_source(name, value.limits), _source(name, value.colors)]
        words += [f"center={_source(name, value.center)}"] if value.center is not None else []
        words += [f"per={value.per!r}"] if value.per != "fixed" else []
        words += [f"clip={_source(name, value.clip)}"] if value.clip is not None else []
        words += [f"norm={value.norm!r}"] if value.norm != "linear" else []
        return f"ls.Scale({', '.join(words)})"
    if isinstance(value, tuple):
        inner = ", ".join(_source(name, element) for element in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and not isfinite(value):
        return f"float('{value}')"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if value is None or isinstance(value, bool | int | float | str | slice | range):
        return repr(value)
    raise BadOption(f"{name}={value!r} can't be written as Python source: give text, numbers or a slice")
