"""The table of everything that layerscope reads: whether it can hold code, what is checked, what `trust` changes.

The sections of README.md and docs/limits.md about it and the table of SECURITY.md are written from here
(`python scripts/write_formats.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import TrustRequired
from ..surface import by_surface


@dataclass(frozen=True)
class Format:
    """One row of the table.

    Attributes:
        name: What it is.
        suffixes: How names of such files end; `()` where it is a folder or a reference.
        code: The code that such a file can hold, `""` where the format has no place for any.
        checks: What is checked, or how it is read, before anything of the file is used.
        trust: What `trust=True` changes, `""` for nothing.
    """

    name: str
    suffixes: tuple[str, ...]
    code: str
    checks: str
    trust: str = ""


MODELS = (
    Format(
        "exported PyTorch program",
        (".pt2",),
        "pickles, expressions, names that become source or are imported, compiled libraries",
        "as data: every text has a rule, operators are torch's own, weights are tensors; what else is in it is refused",
        "`torch.export.load` reads it",
    ),
    Format(
        "pickled PyTorch module",
        (".pt", ".pth"),
        "the pickle is a program",
        "read as tensors and plain containers alone (`weights_only`); refused where that isn't enough",
        "it is unpickled",
    ),
    Format(
        "Keras model",
        (".keras",),
        "Lambda layers, names of functions and classes of any module",
        "every class and function must be Keras's own or registered; weights without links to other files",
        "it is loaded with `safe_mode=False`",
    ),
    Format(
        "Keras model, HDF5",
        (".h5", ".hdf5"),
        "Lambda layers, TensorFlow operations, names of functions and classes of any module",
        "every class and function must be Keras's own or registered; weights without links to other files",
        "it is loaded with `safe_mode=False`",
    ),
    Format(
        "SavedModel folder",
        (),
        "a TensorFlow graph, which can read and write files",
        "refused without trust",
        "`tf_keras` loads it",
    ),
    Format(
        "ONNX model, with external data",
        (".onnx",),
        "",
        "external data must be regular files in or below the model's folder, or in the cache that a link leads to; nothing"
        " but ONNX Runtime's operators runs",
    ),
    Format(
        "TFLite model, with metadata in a zip archive",
        (".tflite",),
        "",
        "what the schema requires must be there; nothing but the interpreter's own operators runs",
    ),
    Format(
        "`hf:` folder",
        (),
        "classes of its own (`auto_map`), names of kernels, packages and other models; pickled weights",
        "classes of transformers alone; names of code, packages, files and models elsewhere are refused or left out; weights"
        " as tensors alone, from that folder",
        "classes in the folder are imported and used",
    ),
    Format(
        "name of torchvision, timm or Keras (`timm:resnet18`)",
        (),
        "",
        "the installed library's own code; weights on this machine are read as tensors alone",
    ),
    Format(
        "`package.module:factory`",
        (),
        "it is your own code, which is imported and called",
        "nothing: give only what you would import yourself",
    ),
)

OTHERS = (
    Format(
        "safetensors", (".safetensors",), "", "read by the safetensors library; names and shapes must fit the model"
    ),
    Format(
        "state dict",
        (".pt", ".pth", ".bin"),
        "the pickle is a program",
        "read as tensors and plain containers alone (`weights_only`); names and shapes must fit the model",
    ),
    Format("Keras weights", (".h5", ".hdf5"), "", "numbers alone, without links to other files"),
    Format("channel weights", (".npy", ".csv", ".txt"), "", "finite numbers alone; no pickle"),
    Format("labels", (".txt", ".json"), "", "text in UTF-8, at most 16 MB"),
    Format("feature maps and bases", (".npz",), "", "numbers, texts and JSON; no pickle"),
    Format("images", (), "", "decoded by Pillow without Ghostscript, up to a limit of pixels"),
)

FORMATS = MODELS + OTHERS


def trust_required(source: Path, holds: str, instead: str = "") -> TrustRequired:
    """The error for a file that would run code.

    >>> print(trust_required(Path("net.h5"), "a Lambda layer"))
    net.h5 holds a Lambda layer, which can run code: pass --trust (trust=True) if you trust its source
    """
    problem = f"{source.name} holds {holds}, which can run code"
    advice = f"pass {by_surface('--trust (trust=True)', '--trust')} if you trust its source"
    return TrustRequired(problem, f"{advice}, or {instead}" if instead else advice)
