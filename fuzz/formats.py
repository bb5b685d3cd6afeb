"""Mutators that know a format: what they change stays well-formed around it, so that it gets far into a reader."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

from .mutate import FLOATS, SECRET, TEXTS, Mutator, integer, of_bytes, of_json, of_text, of_tree

CENTRAL = b"PK\1\2"
# Fields of an entry in a zip's central directory: where it lies, and its type.
ZIP_FIELDS = ((8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"), (42, "I"))
LOCAL_FIELDS = ((6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"))
BOMB = 1 << 28  # bytes of zeros: a quarter of a megabyte when packed


# ---- zip archives ----------------------------------------------------------------------------------------------------
def of_zip(random: Random, data: bytes) -> bytes:
    """An archive after one of its entries, its names, or what its headers say has changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(entry.filename, archive.read(entry), entry.compress_type) for entry in archive.infolist()]
    change = random.randrange(8)
    position = random.randrange(len(entries))
    name, content, method = entries[position]
    if change <= 3:
        entries[position] = (name, inner(name)(random, content), method)
    elif change == 4:
        del entries[position]
    elif change == 5:
        name = random.choice((random.choice(TEXTS), name + "/", name.upper(), "/" + name, "../" + name)) or "x"
        entries.insert(position, (name.encode("utf-8", "replace").decode(), content, method))
    elif change == 6 and random.random() < 0.05:
        entries[position] = (name, bytes(BOMB), zipfile.ZIP_DEFLATED)
    packed = zipped(entries)
    return lying(random, packed) if change >= 6 else packed


def zipped(entries: list[tuple[str, bytes, int]]) -> bytes:
    """A zip archive of (name, content, method), the same bytes every time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content, method in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.writestr(entry, content)
    return stream.getvalue()


def inner(name: str) -> Mutator:
    """The mutator for a file in an archive."""
    known: dict[str, Mutator] = {".json": of_json, ".npy": of_npy, ".h5": of_hdf5, ".txt": of_text, ".zip": of_zip}
    return next((mutator for suffix, mutator in known.items() if name.endswith(suffix)), of_bytes)


def lying(random: Random, data: bytes) -> bytes:
    """An archive whose headers say something else than what is in it."""
    changed = bytearray(data)
    signature, fields = random.choice(((CENTRAL, ZIP_FIELDS), (b"PK\3\4", LOCAL_FIELDS)))
    starts = [start for start in range(len(data)) if data.startswith(signature, start)]
    for _ in range(random.choice((1, 2))):
        offset, kind = random.choice(fields)
        mask = (1 << 8 * struct.calcsize(kind)) - 1
        struct.pack_into(f"<{kind}", changed, random.choice(starts) + offset, integer(random) & mask)
    return bytes(changed)


# ---- numpy, safetensors ----------------------------------------------------------------------------------------------
def of_npy(random: Random, data: bytes) -> bytes:
    """A `.npy` file whose header says something else, or whose numbers do; a JSON text in it changes as JSON."""
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind == "U" and array.ndim == 0 and random.random() < 0.8:
        array = np.array(of_json(random, str(array).encode()).decode("utf-8", "replace"))
    elif random.random() < 0.5:
        return npy_header(random, data)
    elif array.dtype.kind in "fiu" and array.size:
        array = array.copy()
        with np.errstate(all="ignore"):
            array.flat[random.randrange(array.size)] = np.array(random.choice(FLOATS)).astype(array.dtype)
    else:
        shapes = ((), (0,), (1, 1, 1, 1, 1, 1, 1), (array.size, 1))
        array = np.resize(array, random.choice(shapes)).astype(
            random.choice(("f8", "i1", "c8", "U3", "?", "M8[s]", "f2"))
        )
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(random: Random, data: bytes) -> bytes:
    numbers = (f"({integer(random)},)", f"({2**31}, {2**31})", f"(-1, {integer(random)})", "()", "None", "(1.5,)")
    kinds = ("'|O'", "'<f8'", "'|V0'", "'<U99999999'", "[('a', '<f8')]", "'" + "x" * 300 + "'", "None")
    order = random.choice(("True", "False", "2"))
    text = f"{{'descr': {random.choice(kinds)}, 'fortran_order': {order}, 'shape': {random.choice(numbers)}, }}\n"
    header = text.encode()
    body = data[data.index(b"\n") + 1 :] if b"\n" in data else b""
    version = random.choice((1, 1, 1, 2, 9))
    size = struct.pack("<I" if version == 2 else "<H", len(header) if random.random() < 0.9 else 65535)
    return b"\x93NUMPY" + bytes((version, 0)) + size + header + body


def of_safetensors(random: Random, data: bytes) -> bytes:
    """The JSON header changed, or the length that stands before it."""
    (length,) = struct.unpack_from("<Q", data)
    header = of_json(random, data[8 : 8 + length])
    stated = len(header) if random.random() < 0.9 else integer(random) & (2**64 - 1)
    return struct.pack("<Q", stated) + header + data[8 + length :]


# ---- HDF5 ------------------------------------------------------------------------------------------------------------
def of_hdf5(random: Random, data: bytes) -> bytes:
    """A file after groups, data sets, attributes or links of it have changed."""
    import h5py

    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for _ in range(random.choice((1, 1, 2))):
            with contextlib.suppress(KeyError):  # the first change has taken away what the second is for
                change_hdf5(random, file, random.choice(names))
    return stream.getvalue()


def change_hdf5(random: Random, file: Any, name: str) -> None:
    import h5py
    import numpy as np

    change = random.randrange(6)
    if change <= 1:
        holder = random.choice((file, file, file[name]))
        key = random.choice([*holder.attrs, "extra"])
        value = holder.attrs.get(key, "{}")
        values = (0, "", np.zeros(0), np.float64(np.nan), ["a", "b"], h5py.Empty("S10"), random.choice(TEXTS[3:12]))
        is_json = isinstance(value, str) and value[:1] == "{" and random.random() < 0.8
        holder.attrs[key] = of_json(random, value.encode()).decode() if is_json else random.choice(values)
        return
    if change == 2:
        other = file[name]
        file.copy(other, f"copy{random.randrange(10)}")
        return
    del file[name]
    if change == 3:
        file[name] = random.choice((h5py.SoftLink("/nowhere"), h5py.SoftLink("/"), h5py.ExternalLink(SECRET, "/")))
    elif change == 4:
        file.create_dataset(name, (4,), "f4", external=[(SECRET, 0, 16)])
    elif change == 5:
        file[name] = random.choice(
            (np.zeros((0, 3)), np.array([b"text"]), np.full((3, 3, 8, 8, 8), np.inf), np.int8(3))
        )


# ---- ONNX ------------------------------------------------------------------------------------------------------------
def of_onnx(random: Random, data: bytes) -> bytes:
    """A model after fields of its messages have changed, everything else as the format wants it."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        change_message(random, random.choice(list(messages(model))))
    return model.SerializeToString()


def messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inside in value if field.is_repeated else (value,):
                yield from messages(inside)


def change_message(random: Random, message: Any) -> None:
    """Clear, duplicate or change one field of a message; one that isn't there is set."""
    present = [field for field, _ in message.ListFields()]
    field = random.choice(present if present and random.random() < 0.8 else list(message.DESCRIPTOR.fields))
    if random.random() < 0.15:
        message.ClearField(field.name)
        return
    if field.is_repeated:
        values = getattr(message, field.name)
        change = random.randrange(3)
        if change == 0 and values:
            del values[random.randrange(len(values))]
        elif change == 1 and values:
            values.extend([random.choice(values)] * random.choice((1, 2, 100)))
        elif field.message_type is None:
            values.insert(random.randint(0, len(values)), scalar(random, field, values))
        else:
            change_message(random, values.add() if random.random() < 0.2 or not values else random.choice(values))
    elif field.message_type is not None:
        change_message(random, getattr(message, field.name))
    else:
        setattr(message, field.name, scalar(random, field, [getattr(message, field.name)]))


def scalar(random: Random, field: Any, known: Any) -> Any:
    """A value for a field of a protobuf message."""
    name = field.TYPE_STRING, field.TYPE_BYTES
    if field.type in name:
        text = random.choice((random.choice(TEXTS), *list(known)[:1]))
        if field.type == field.TYPE_STRING:
            return text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""
        return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return random.choice(FLOATS)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return random.choice([value.number for value in field.enum_type.values])
    bits = 31 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 63
    value = integer(random, 2**bits - 1)
    return abs(value) if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) else value


# ---- TFLite ----------------------------------------------------------------------------------------------------------
def of_tflite(random: Random, data: bytes) -> bytes:
    """A model after fields of its tables have changed, written anew by the schema; what follows it stays."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    size = zip_start(data)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data[:size], 0))
    graph = model.subgraphs[0]
    of_tree(random, random.choice((model, graph, graph.operators, graph.operators)), loose=False)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()) + data[size:]


def zip_start(data: bytes) -> int:
    """Where the archive behind a TFLite file begins, its end where there is none."""
    start = data.find(b"PK\3\4")
    return len(data) if start < 0 else start


def of_label_zip(random: Random, data: bytes) -> bytes:
    """A TFLite file whose archive of labels has changed."""
    size = zip_start(data)
    return data[:size] + of_zip(random, data[size:])


# ---- images ----------------------------------------------------------------------------------------------------------
def of_png(random: Random, data: bytes) -> bytes:
    """A PNG after a chunk has changed, its checksum right again."""
    chunks, position = [], 8
    while position + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + size]))
        position += size + 12
    index = random.randrange(len(chunks))
    name, body = chunks[index]
    change = random.randrange(5)
    if change == 0:
        del chunks[index]
    elif change == 1:
        chunks.insert(random.randrange(len(chunks) + 1), chunks[index])
    elif change == 2:
        chunks.insert(index, (random.choice((b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"tRNS", b"gAMA")), body))
    else:
        chunks[index] = (name, of_bytes(random, body) if body else random.randbytes(8))
    crc = [struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks]
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + check for (name, body), check in zip(chunks, crc, strict=True)
    )


def of_jpeg(random: Random, data: bytes) -> bytes:
    """A JPEG after a segment has changed; a segment is a marker with all that follows it up to the next."""
    segments = [b"\xff" + part for part in re.split(rb"\xff(?=[\xc0-\xcf\xda-\xfe])", data)[1:]]
    index = random.randrange(len(segments))
    change = random.randrange(5)
    if change == 0:
        del segments[index]
    elif change == 1:
        segments[index:index] = [segments[index]] * random.choice((1, 10, 500))
    elif change == 2:
        random.shuffle(segments)
    else:
        segments[index] = segments[index][:4] + of_bytes(random, segments[index][4:] or b"\0")
    return b"\xff\xd8" + b"".join(segments)


def of_command(random: Random, data: bytes) -> bytes:
    """A command line with other options and values, as a JSON list."""
    line = json.loads(data)
    for _ in range(random.choice((1, 2, 3))):
        option = random.choice(list(OPTIONS))
        values = OPTIONS[option]
        line.append(option)
        if values:
            value = random.choice((*values, *values, *values, str(integer(random)), random.choice(TEXTS)))
            value = (
                value
                if random.random() < 0.8
                else of_text(random, value.encode("utf-8", "replace")).decode("utf-8", "replace")
            )
            line.append(value.replace("\0", "").encode("utf-8", "replace").decode())
    return json.dumps(line).encode()


OPTIONS = {
    "--layer": ("*", "conv*", "[", "[!]", "kind:Conv", "kind:", "last", "stages", "output", "-1", "#0", "relu:0", "a:9",
                "conv1,conv2", "²", "**/" * 50, "[" * 99),
    "--combine": ("mean", "max", "norm", "mean:2", "pca", "nmf:3", "mean:", "topk:1e9", "channel:9", "basis:x.npz"),
    "--target": ("0", "99", "cat", "-1", "²"),
    "--channels": ("0:4", "0:999999999999", ":", "1,1,1", "mean > 0", "not dead", "mean > 1e999%", "0:4 and max<=nan", "٣"),
    "--columns": ("1", "9" * 30, "²", "0"),
    "--scale": ("layer", "channel", "-1:1", "nan:inf", "0:0", "1e-320:1e308", ":"),
    "--clip": ("1:99", "0:100", "99:1", "nan:nan"),
    "--colors": ("magma", "gray", "x", ""),
    "--sort": ("index", "similarity", "similarity:0", "similarity:²", "mean:"),
    "--per-page": ("1", "2", "٣"),
    "--statistics": (),
    "--overlay": (),
    "--text": ("1", "4", "5"),
    "--dpi": ("300", "9" * 30, "1"),
    "--theme": ("dark", "x"),
    "--terminal": ("none", "blocks", "kitty", "sixel", "iterm"),
    "--weights": ("weights.npz", ".", "nowhere.h5"),
    "--preprocess": ("unit", "raw", "imagenet", "caffe", "x"),
    "--size": ("8x6", "1x1", "0x0", "99999x99999", "8", "²x2", "x"),
    "--labels": ("labels.txt", ".", "nowhere.txt"),
    "--values": ("values.npz", "values", "."),
    "--output": ("out.png", "out.svg", "out", "out.jpg", "x" * 300 + ".png", "model.onnx"),
}  # fmt: skip
