"""Looking at PyTorch's pickles without unpickling them."""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.torch_version import TorchVersion

from ...errors import ModelNotReadable
from ...files import parsing
from ...safe_text import printable

TENSORS = re.compile(
    r"torch\._utils\.\w+|torch\.\w*(Storage|Size|device|dtype)|collections\.OrderedDict|__builtin__\.set"
)


def require_safe_pickles(source: Path) -> None:
    """Raise `ModelNotReadable` with a PyTorch whose `weights_only` can be got round (before 2.6, CVE-2025-32434)."""
    if TorchVersion(torch.__version__) < (2, 6):
        raise ModelNotReadable(
            f"{source.name} is a pickle, which PyTorch {torch.__version__} can't read safely: upgrade torch to 2.6 or newer, or"
            " save the weights as safetensors"
        )


def is_zip(source: Path) -> bool:
    """As torch decides it: a pickle may have an archive at its end. Raises `ModelNotReadable` for a file without bytes."""
    with parsing(source, "a PyTorch file", ModelNotReadable), open(source, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # those of the kernel have none either, and may never end
            raise ModelNotReadable(f"{source.name} is empty (0 bytes): save, download or copy it again")
        return file.read(4) == b"PK\x03\x04"


def imports(source: Path) -> str:
    """`" (package.module.Class, …)"`: what a pickle imports beyond torch's tensors; `""` where it imports nothing else."""
    names = [printable(name)[:80] for name in dict.fromkeys(_names(source)) if not TENSORS.fullmatch(name)]
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""


def _names(source: Path) -> Iterator[str]:
    """The names that the pickles in a file import, as far as they can be read; nothing is unpickled."""
    try:
        with open(source, "rb") as file:
            if is_zip(source):
                with zipfile.ZipFile(file) as archive:
                    name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                    yield from _globals(archive.read(name))
            else:
                yield from _globals(file.read(1 << 26))
    except Exception:  # a damaged archive or pickle
        return


def _globals(data: bytes) -> Iterator[str]:
    stream, texts = io.BytesIO(data), ["", ""]
    while stream.tell() < len(data):  # before torch 1.6 a file is several pickles, one after the other
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(texts[-2:])
            elif isinstance(argument, str):
                texts.append(argument)
