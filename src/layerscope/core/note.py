"""`Note`: a remark on a feature map or a picture that knows what kind of remark it is."""

from __future__ import annotations

from typing import Any


class Note(str):
    """A remark as text (a `str`, so it prints, joins and is saved as one) with a `kind` that code can ask for.

    `kind` is a short word of lower-case letters and hyphens (`"layout"`, `"target"`, `"dead"`); code chooses by it and never
    by the words. Two notes are equal where their texts are.

    >>> note = Note("layout", "read as bhwc by the convention of numpy")
    >>> note.kind, note == "read as bhwc by the convention of numpy"
    ('layout', True)
    """

    kind: str

    def __new__(cls, kind: str, text: str) -> Note:
        note = super().__new__(cls, text)
        note.kind = kind
        return note

    def __getnewargs__(self) -> Any:
        return self.kind, str(self)


def kind_of(note: str) -> str:
    """The kind of a note; `""` for plain text, as in files of older versions.

    >>> kind_of("anything")
    ''
    """
    return getattr(note, "kind", "")
