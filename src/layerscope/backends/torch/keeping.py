"""Outputs that nobody writes to once they are there: a capture hands them over as they are, where all others are copied.

Whether something was written into a tensor is known by its version count, whether anybody else holds it by the count of its
memory's holders. What leaves no version (`x.data`, an array that shares the memory, code in C) is found by comparing: the
first run of a model keeps copies beside. In later runs a watch sees where a tensor's memory is asked for, and samples of the
numbers are compared, as not all ways to the memory can be watched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from ..common.fault import call_model
from ..common.run import TensorMap
from ..protocol import Captured
from .outputs import is_plain
from .tree import modules_of
from .values import is_strided

LEAST = 1 << 17  # numbers: a copy of fewer costs less than keeping count of them, by trials of four networks
SAMPLES = 256  # numbers of an output that is kept

# What leads to the memory of a tensor, past its version count.
PAST_COUNT = frozenset(
    {
        torch.Tensor.data.__get__, torch.Tensor.data.__set__, torch.Tensor.set_, torch.Tensor.numpy,
        torch.Tensor.__array__, torch.Tensor.__dlpack__, torch.Tensor.data_ptr, torch.Tensor.untyped_storage,
        torch.Tensor.storage,
    }
)  # fmt: skip
Ask = Callable[[Iterable[Any]], None]
# torch's own layers that compute by another way while anything watches its functions.
TWO_WAYS = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoder, torch.nn.TransformerEncoderLayer)


def _holders(storage: torch.UntypedStorage) -> int:
    """How many tensors hold this memory."""
    holders: int = torch._C._storage_Use_Count(storage._cdata) - 1  # the object of Python that asks is one, too
    return holders


def _counts() -> bool:
    """Whether this release of torch counts holders as expected."""
    one = torch.empty(1)
    other = one.detach()
    return hasattr(torch._C, "_storage_Use_Count") and _holders(other.untyped_storage()) == 2


COUNTS = _counts()


class Habits:
    """What runs of a model have shown of its outputs: those that can be kept, those that have to be copied."""

    def __init__(self) -> None:
        self.kept: set[Any] = set()
        self.copied: set[Any] = set()
        self.same: set[tuple[Any, Any]] = set()  # the second passes on what the first gave
        self.uncounted = False  # something was written that no version count tells

    @classmethod
    def of(cls, model: torch.nn.Module) -> Habits:
        """Those of a model."""
        habits = HABITS.get(model)
        if habits is None:
            habits = cls()
            HABITS.set(model, habits)
        return habits

    def copy(self, address: Any) -> None:
        """From now on this output is copied."""
        self.copied.add(address)
        self.kept.discard(address)


HABITS: TensorMap[Habits] = TensorMap()


class WrittenTo(Exception):
    """A run wrote into an output that was kept, as none before it had."""


class Taken(NamedTuple):
    """An output as it was taken: `alias` shares its memory and its version count, `copy` its numbers alone; one or both.

    `sample` are some of its numbers, where no copy tells what they were.
    """

    address: Any
    version: int
    alias: torch.Tensor | None
    copy: torch.Tensor | None
    sample: torch.Tensor | None = None

    @property
    def numbers(self) -> torch.Tensor:
        numbers = self.alias if self.copy is None else self.copy
        assert numbers is not None
        return numbers


class Keeper:
    """Takes outputs in one run, as they are or as copies, and tells in the end what became of those that were kept.

    `watched` says whether functions are watched in any case, `alone` that one output alone is wanted.
    """

    def __init__(self, habits: Habits, replica: torch.nn.Module, *, watched: bool, alone: bool) -> None:
        self.habits, self.replica, self.watched, self.alone = habits, replica, watched, alone
        self.seen: dict[Any, tuple[StorageWeakRef, Taken]] = {}
        self.asked: dict[int, StorageWeakRef] = {}

    @cached_property
    def watchable(self) -> bool:
        """Whether outputs may be kept that the model goes on with: it computes the same while its functions are watched."""
        if self.alone:
            return False
        return self.watched or not any(isinstance(module, TWO_WAYS) for module in modules_of(self.replica))

    @property
    def watches(self) -> bool:
        """Whether a watch has to be there: not where everything that is taken is copied as well."""
        return bool(self.habits.kept or self.habits.same) and self.watchable

    def ask(self, values: Iterable[Any]) -> None:
        """The model asks for the memory of tensors."""
        with torch._C.DisableTorchFunction():
            for value in values:
                if isinstance(value, torch.Tensor) and is_strided(value):
                    storage = value.untyped_storage()
                    self.asked[storage._cdata] = StorageWeakRef(storage)

    def take(self, address: Any, tensor: torch.Tensor, *, last: bool) -> Taken | None:
        """Take a large tensor; `None` for one that has to be copied like any other. `last`: the run ends with it."""
        if not (last or self.watchable) or not is_plain(tensor) or tensor.is_inference():
            return None
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.numel() * tensor.element_size() or not storage.resizable():
            return None  # a part of something larger, or memory of somebody else's
        habits, version = self.habits, tensor._version
        key = (storage._cdata, version, tensor.shape, tensor.stride())
        earlier = self.seen.get(key)
        if earlier is not None and (earlier[1].address, address) in habits.same:
            return earlier[1]
        alias = None if address in habits.copied and not last else tensor.detach()
        copy = None if address in habits.kept or last else tensor.detach().clone()
        sample = _sample(alias).clone() if copy is None and alias is not None and not last else None
        taken = Taken(address, version, alias, copy, sample)
        if earlier is None:
            # Its weak reference keeps the address of this memory from being used again.
            self.seen[key] = StorageWeakRef(storage), taken
        elif equal(taken.numbers, earlier[1].numbers):
            habits.same.add((earlier[1].address, address))
        else:
            habits.uncounted = True
        return taken

    def settle(self, outputs: Iterable[Taken]) -> dict[int, Captured]:
        """The values of what was taken, by the identity of each. Raises `WrittenTo` where the run has to be repeated."""
        taken, uses, held = {}, Counter[int](), Counter[int]()
        for one in outputs:
            taken[id(one)] = one
            uses[id(one)] += 1
        for one in taken.values():
            if one.alias is not None:
                held[one.alias.untyped_storage()._cdata] += 1
        if any(key[0] in self.asked for key in self.seen):
            self.habits.uncounted = True
        settled = {key: self._settled(one, held) for key, one in taken.items()}
        if self.habits.uncounted:
            raise WrittenTo
        values = {}
        for key, tensor in settled.items():
            array = tensor.numpy()
            if uses[key] > 1 or held[tensor.untyped_storage()._cdata] > 1:
                array.flags.writeable = False  # several layers' values
            values[key] = Captured(array, dtype="float32")
        return values

    def _settled(self, one: Taken, held: Mapping[int, int]) -> torch.Tensor:
        """The numbers of one output, in memory of its own or of outputs that were taken alone."""
        habits = self.habits
        if one.alias is None:
            return one.numbers
        storage = one.alias.untyped_storage()
        written = one.alias._version != one.version
        alone = _holders(storage) == held[storage._cdata]
        if one.copy is None:
            if written:
                habits.copy(one.address)
                raise WrittenTo
            if not alone:
                habits.copy(one.address)
            if one.sample is not None and not equal(_sample(one.alias), one.sample):
                habits.uncounted = True
            return one.alias if alone else one.alias.clone()
        if written or not alone:
            habits.copy(one.address)
        elif equal(one.alias, one.copy):
            habits.kept.add(one.address)
        else:
            habits.uncounted = True
        return one.copy


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Some numbers of a tensor that fills its memory, from all over it: an odd step meets every column."""
    return tensor.as_strided((SAMPLES,), ((tensor.numel() - 1) // (SAMPLES - 1) - 1 | 1,), 0)


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two float32 tensors are the same bit for bit, NaN included."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


class MemoryWatch(TorchFunctionMode):
    """Sees where a model asks for the memory of a tensor."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PAST_COUNT:
            self._ask(args)
        return call_model(func, *args, **(kwargs or {}))
