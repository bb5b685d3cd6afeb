"""The weights that an ONNX model keeps in files beside it: where they may lie, and reading only those that are needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import onnx

from ...errors import ModelNotReadable
from .checks import tensors_in


class FileSpan(NamedTuple):
    """Where the numbers of a tensor lie: the true path of the file, and the bytes in it."""

    file: Path
    start: int
    length: int


class SideFiles:
    """The external data files of the model file at `path`.

    A model names its external data files, so a model from elsewhere must not have any file of the user's read. A name
    leads down from the model's folder, never up or to the root. A file there may be a symbolic link, as in Hugging
    Face's cache (`snapshots/x/model.onnx -> ../../blobs/abc`), if it leads into that folder or into the one in which
    the model file itself lies in truth.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._allowed = {path.parent.resolve(), path.resolve().parent}

    def file(self, name: str) -> Path:
        """The external data file of that name, as the model writes it; raises `ModelNotReadable`."""
        file = self.folder / name
        parts = (PurePosixPath(name), PureWindowsPath(name))
        leaves = not name or any(part.is_absolute() or part.drive or ".." in part.parts for part in parts)
        true = file.resolve()
        if leaves or not any(true.is_relative_to(folder) for folder in self._allowed):
            raise ModelNotReadable(
                f"the weights can't be read from the external data file {name!r}: it must lie where the .onnx file is, "
                f"in {self.folder}" + (f"; this one resolves to {true}" if name else "")
            )
        if not os.path.isfile(true):
            raise ModelNotReadable(
                f"the weights can't be read, as there is no external data file {name!r}: it must lie where the .onnx "
                f"file is, in {self.folder}"
            )
        return true

    def span(self, tensor: onnx.TensorProto) -> FileSpan:
        """Where the numbers of a tensor lie; raises `ModelNotReadable` where they can't be there."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        file = self.file(name)
        size, start = file.stat().st_size, _number(entries, "offset", 0, tensor)
        wanted, takes = _number(entries, "length", stored(tensor), tensor), stored(tensor)
        if wanted != takes:
            raise ModelNotReadable(
                f"the weights {tensor.name!r} {list(tensor.dims)} take {takes:,} bytes, and the model says that the "
                f"external data file {name!r} holds {wanted:,} of them: the file is damaged, or was written incorrectly"
            )
        if start + wanted > size:
            raise ModelNotReadable(
                f"the external data file {name!r} is cut short: the weights {tensor.name!r} end at byte "
                f"{start + wanted:,}, and it has {size:,}. Fetch or export {file.name} again"
            )
        return FileSpan(file, start, wanted)

    def read(self, tensor: onnx.TensorProto) -> bytes:
        """The stored bytes of a tensor, and no others of its file."""
        span = self.span(tensor)
        try:
            with span.file.open("rb") as opened:
                opened.seek(span.start)
                return opened.read(span.length)
        except OSError as error:
            raise ModelNotReadable(
                f"the weights {tensor.name!r} can't be read from the external data file {location(tensor)!r}: {error}"
            ) from error


def is_outside(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def location(tensor: onnx.TensorProto) -> str:
    return next((str(entry.value) for entry in tensor.external_data if entry.key == "location"), "")


def bits(tensor: onnx.TensorProto) -> int:
    """The number of bits that a tensor takes; some types put two or four numbers into a byte."""
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    width = next((size for size in (2, 4) if name.endswith((f"INT{size}", f"FLOAT{size}E2M1"))), 0)
    return int(prod(tensor.dims)) * int(width or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def stored(tensor: onnx.TensorProto) -> int:
    """The number of bytes that a tensor takes, here or in its external data file."""
    return -(-bits(tensor) // 8)


def load_inside(tensor: onnx.TensorProto, files: SideFiles | None) -> onnx.TensorProto:
    """The tensor with its numbers, read from its external data file where it has one."""
    if not is_outside(tensor):
        return tensor
    copy = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    copy.raw_data = _of(files, tensor).read(tensor)
    return copy


def references_to(tensors: Iterable[onnx.TensorProto], files: SideFiles) -> tuple[list[onnx.TensorProto], Path | None]:
    """(the tensors, still outside, by the true paths of their files, the folder that these are relative to)."""
    spans = [(tensor, files.span(tensor)) for tensor in tensors]
    if not spans:
        return [], None
    root = Path(os.path.commonpath([span.file.parent for _, span in spans]))
    references = []
    for tensor, span in spans:
        reference = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        reference.data_location = onnx.TensorProto.EXTERNAL
        reference.external_data.add(key="location", value=span.file.relative_to(root).as_posix())
        reference.external_data.add(key="offset", value=str(span.start))
        reference.external_data.add(key="length", value=str(span.length))
        references.append(reference)
    return references, root


def digest(path: Path, names: list[str]) -> str:
    """`sha256:…` of a model file and its external data files."""
    files = SideFiles(path)
    checksum = hashlib.sha256()
    for file_path in (path, *(files.file(name) for name in names)):
        with file_path.open("rb") as file:
            while block := file.read(1 << 20):
                checksum.update(block)
    return f"sha256:{checksum.hexdigest()}"


def load_tensors_inside(node: onnx.NodeProto, files: SideFiles | None) -> onnx.NodeProto:
    """The node; a copy with their numbers where tensors inside it lie in external data files."""
    if not any(is_outside(tensor) for tensor in tensors_in(node)):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for tensor in tensors_in(copy):
        tensor.CopyFrom(load_inside(tensor, files))
    return copy


def _of(files: SideFiles | None, tensor: onnx.TensorProto) -> SideFiles:
    if files is None:
        raise ModelNotReadable(
            f"the weights of this onnx.ModelProto lie in an external data file ({location(tensor)}) and were not "
            "loaded: give the path of the .onnx file instead, or call onnx.load without load_external_data=False"
        )
    return files


def load_sparse(sparse: onnx.SparseTensorProto, files: SideFiles | None) -> onnx.SparseTensorProto:
    """The sparse tensor with its numbers, as `load_inside`."""
    if not is_outside(sparse.values) and not is_outside(sparse.indices):
        return sparse
    copy = onnx.SparseTensorProto(dims=sparse.dims)
    copy.values.CopyFrom(load_inside(sparse.values, files))
    copy.indices.CopyFrom(load_inside(sparse.indices, files))
    return copy


def _number(entries: dict[str, str], key: str, default: int, tensor: onnx.TensorProto) -> int:
    text = entries.get(key, str(default))
    if not text.isdecimal() or len(text) > 18:
        raise ModelNotReadable(
            f"the {key} of the weights {tensor.name!r} in their external data file is not a valid number: {text[:40]!r}"
        )
    return int(text)
