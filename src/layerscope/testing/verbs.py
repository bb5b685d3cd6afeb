"""Every verb is offered, or marked with the reason why not; none is misspelt."""

from __future__ import annotations

import difflib
import inspect

from ..backends.protocol import OPTIONAL, REQUIRED, Backend
from .network import Network

FIELDS = ("name", "gradients", "picks", "random")


class VerbTests(Network):
    """Every verb is offered, or marked with the reason why not; none is misspelt."""

    def test_every_verb_is_offered_or_marked(self) -> None:
        backend = self.backend()
        assert isinstance(backend.name, str) and backend.name
        for verb in REQUIRED:
            assert self.offers(verb), f"every backend offers {verb}"
        for verb in (*OPTIONAL, "gradients"):
            if not self.offers(verb) and not hasattr(backend, verb):
                print(f"{backend.name} has no {verb}, which is therefore not offered")

    def test_every_verb_takes_the_arguments_of_the_base_class(self) -> None:
        for verb in (*REQUIRED, *OPTIONAL):
            if not self.offers(verb):
                continue
            count = len(inspect.signature(getattr(Backend, verb)).parameters) - 1
            try:
                inspect.signature(getattr(self.backend(), verb)).bind(*[None] * count)
            except TypeError as error:
                raise AssertionError(f"{verb} takes other arguments than Backend.{verb}: {error}") from error

    def test_no_verb_is_misspelt(self) -> None:
        """A name that is nearly that of a verb which isn't offered is that verb, wrongly spelt."""
        absent = [verb for verb in (*REQUIRED, *OPTIONAL, "gradients") if not getattr(self.backend(), verb, None)]
        names = {name for name in dir(self.backend()) if not name.startswith("_")} - {*REQUIRED, *OPTIONAL, *FIELDS}
        for name in sorted(names):
            near = difflib.get_close_matches(name, absent, n=1, cutoff=0.75)
            assert not near, f"{name} looks like {near[0]}, which isn't offered: write {near[0]}, or another name"
