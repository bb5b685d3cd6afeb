"""The weights that an ONNX model keeps in files beside it: where they may lie, and reading only those that are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import onnx

from ...errors import ModelNotReadable


class Place(NamedTuple):
    """Where the numbers of a tensor lie: the true path of the file, and the bytes in it."""

    file: Path
    start: int
    length: int


class SideFiles:
    """The side files of the model file at `path`.

    A model names its side files, so a model from elsewhere must not have any file of the user's read. A name leads down
    from the model's folder, never up or to the root. A file there may be a symbolic link, as in Hugging Face's cache
    (`snapshots/x/model.onnx -> ../../blobs/abc`), if it leads into that folder or into the one in which the model file
    itself lies in truth.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._allowed = {path.parent.resolve(), path.resolve().parent}

    def file(self, name: str) -> Path:
        """The side file of that name, as the model writes it; raises `ModelNotReadable`."""
        file = self.folder / name
        parts = (PurePosixPath(name), PureWindowsPath(name))
        leaves = not name or any(each.is_absolute() or each.drive or ".." in each.parts for each in parts)
        true = file.resolve()
        if leaves or not any(true.is_relative_to(each) for each in self._allowed):
            raise ModelNotReadable(
                f"the weights can't be read from the side file {name!r}: it must lie where the .onnx file is, in"
                f" {self.folder}" + (f"; this one leads to {true}" if name else "")
            )
        if not true.is_file():
            raise ModelNotReadable(
                f"the weights can't be read, as there is no side file {name!r}: it must lie where the .onnx file is, in"
                f" {self.folder}"
            )
        return true

    def place(self, tensor: onnx.TensorProto) -> Place:
        """Where the numbers of a tensor lie; raises `ModelNotReadable` where they can't be there."""
        said = {each.key: each.value for each in tensor.external_data}
        name = said.get("location", "")
        file = self.file(name)
        size, start = file.stat().st_size, _number(said, "offset", 0, tensor)
        wanted, takes = _number(said, "length", stored(tensor), tensor), stored(tensor)
        if wanted != takes:
            raise ModelNotReadable(
                f"the weights {tensor.name!r} {list(tensor.dims)} take {takes:,} bytes, and the model says that the side"
                f" file {name!r} holds {wanted:,} of them: the file is damaged, or written wrong"
            )
        if start + wanted > size:
            raise ModelNotReadable(
                f"the side file {name!r} is cut short: the weights {tensor.name!r} end at byte {start + wanted:,}, and"
                f" it has {size:,}. Fetch or export {file.name} again"
            )
        return Place(file, start, wanted)

    def read(self, tensor: onnx.TensorProto) -> bytes:
        """The stored bytes of a tensor, and no others of its file."""
        place = self.place(tensor)
        try:
            with place.file.open("rb") as opened:
                opened.seek(place.start)
                return opened.read(place.length)
        except OSError as error:
            raise ModelNotReadable(
                f"the weights {tensor.name!r} can't be read from the side file {location(tensor)!r}: {error}"
            ) from error


def is_outside(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def location(tensor: onnx.TensorProto) -> str:
    return next((str(each.value) for each in tensor.external_data if each.key == "location"), "")


def bits(tensor: onnx.TensorProto) -> int:
    """The number of bits that a tensor takes; some types put two or four numbers into a byte."""
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    width = next((each for each in (2, 4) if name.endswith((f"INT{each}", f"FLOAT{each}E2M1"))), 0)
    return int(prod(tensor.dims)) * int(width or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def stored(tensor: onnx.TensorProto) -> int:
    """The number of bytes that a tensor takes, here or in its side file."""
    return -(-bits(tensor) // 8)


def loaded(tensor: onnx.TensorProto, files: SideFiles | None) -> onnx.TensorProto:
    """The tensor with its numbers, read from its side file where it has one."""
    if not is_outside(tensor):
        return tensor
    made = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    made.raw_data = _of(files, tensor).read(tensor)
    return made


def pointed(tensors: Iterable[onnx.TensorProto], files: SideFiles) -> tuple[list[onnx.TensorProto], Path | None]:
    """(the tensors, still outside, by the true places of their files, the folder that these places are told from)."""
    places = [(each, files.place(each)) for each in tensors]
    if not places:
        return [], None
    root = Path(os.path.commonpath([place.file.parent for _, place in places]))
    found = []
    for tensor, place in places:
        made = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        made.data_location = onnx.TensorProto.EXTERNAL
        made.external_data.add(key="location", value=place.file.relative_to(root).as_posix())
        made.external_data.add(key="offset", value=str(place.start))
        made.external_data.add(key="length", value=str(place.length))
        found.append(made)
    return found, root


def digest(path: Path, names: list[str]) -> str:
    """`sha256:…` of a model file and its side files."""
    files = SideFiles(path)
    found = hashlib.sha256()
    for each in (path, *(files.file(name) for name in names)):
        with each.open("rb") as opened:
            while block := opened.read(1 << 20):
                found.update(block)
    return f"sha256:{found.hexdigest()}"


def tensors_inside(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """The tensors that a node holds itself: its constants, and the weights of its bodies."""
    for each in node.attribute:
        yield from ([each.t] if each.HasField("t") else [])
        yield from each.tensors
        for graph in (*([each.g] if each.HasField("g") else []), *each.graphs):
            yield from graph.initializer
            for inner in graph.node:
                yield from tensors_inside(inner)


def with_inside_loaded(node: onnx.NodeProto, files: SideFiles | None) -> onnx.NodeProto:
    """The node; a copy with their numbers where tensors inside it lie in side files."""
    if not any(is_outside(each) for each in tensors_inside(node)):
        return node
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for each in tensors_inside(made):
        each.CopyFrom(loaded(each, files))
    return made


def _of(files: SideFiles | None, tensor: onnx.TensorProto) -> SideFiles:
    if files is None:
        raise ModelNotReadable(
            f"the weights of this onnx.ModelProto lie in a side file ({location(tensor)}) and were not loaded: give the"
            " path of the .onnx file instead, or call onnx.load without load_external_data=False"
        )
    return files


def _number(said: dict[str, str], key: str, default: int, tensor: onnx.TensorProto) -> int:
    text = said.get(key, str(default))
    if not text.isdecimal() or len(text) > 18:
        raise ModelNotReadable(
            f"the {key} of the weights {tensor.name!r} in their side file is no number: {text[:40]!r}"
        )
    return int(text)
