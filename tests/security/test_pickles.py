"""PyTorch's own files are pickles: none runs without trust, in whatever form and under whatever name it comes."""

import io
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from helpers.canary import Watch
from helpers.wording import raises

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol 4:UserWarning")
torch.set_num_threads(1)
FACTORY = "torch:nn.Identity"


class Nested:
    """A pickle that calls torch's own reader of pickles on another one."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.inner,)


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def in_tar(value):
    """The form of torch before 0.2: three pickles in a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(value)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


FORMS = {
    "zip": saved,
    "protocol 4": lambda value: saved(value, pickle_protocol=4),
    "before 1.6": lambda value: saved(value, _use_new_zipfile_serialization=False),
    "tar": in_tar,
    "beside weights": lambda value: saved({"state_dict": nn.Linear(2, 2).state_dict(), "more": value}),
    "nested": lambda value: saved(Nested(saved(value))),
    "nested before 1.6": lambda value: saved(Nested(saved(value)), _use_new_zipfile_serialization=False),
    "behind a tensor": lambda value: saved([nn.Parameter(torch.zeros(2)), value]),
}


@pytest.mark.parametrize("suffix", [".pt", ".PTH"])
@pytest.mark.parametrize("form", FORMS)
def test_a_pickled_model_needs_trust(form, suffix, canary, tmp_path):
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(FORMS[form](canary.pickled()))
    with canary.refused():
        ls.open(path)
    with canary.sung():
        ls.open(path, trust=True)


@pytest.mark.parametrize("suffix", [".bin", ".SafeTensors", ""])
@pytest.mark.parametrize("form", FORMS)
def test_pickled_weights_are_never_run(form, suffix, canary, tmp_path):
    """Weights are tensors: trust concerns the model."""
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(FORMS[form](canary.pickled()))
    for trust in (False, True):
        with canary.refused(ls.ModelNotReadable):
            ls.open(FACTORY, weights=path, trust=trust)


def test_a_torch_that_can_be_tricked_reads_no_pickle(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1"))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    for arguments in ({"model": tmp_path / "weights.pt"}, {"model": FACTORY, "weights": tmp_path / "weights.pt"}):
        with raises(ls.ModelNotReadable, "2.6", "weights.pt"):
            ls.open(**arguments)


def test_a_program_under_another_name_is_not_unpickled(canary, tmp_path):
    """A TorchScript archive and a pickle with the suffix of an exported program, a program with that of a pickle."""
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("script/code/__torch__.py", "")
        archive.writestr("script/data.pkl", pickle.dumps(canary.pickled()))
        archive.writestr("script/constants.pkl", pickle.dumps(canary.pickled()))
    for trust in (False, True):
        with canary.refused(ls.ModelNotReadable, "TorchScript"):
            ls.open(path, trust=trust)
    for form in ("zip", "before 1.6"):
        (tmp_path / "hostile.pt2").write_bytes(FORMS[form](canary.pickled()))
        with canary.refused(ls.ModelNotReadable):
            ls.open(tmp_path / "hostile.pt2")


DAMAGE = {
    "empty": lambda data: b"",
    "a byte": lambda data: b"\x80",
    "half": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-30],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"not a model at all" * 9,
    "turned": lambda data: data[::-1],
    "other bytes": lambda data: bytes(byte ^ 0x55 if index % 7 == 3 else byte for index, byte in enumerate(data)),
}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_named_errors(damage, trust, tmp_path):
    torch.manual_seed(0)
    state = nn.Linear(2, 2).state_dict()
    for form in (saved(state), saved(state, _use_new_zipfile_serialization=False)):
        for name in ("damaged.pt", "damaged.pt2", "damaged.pth"):
            (tmp_path / name).write_bytes(DAMAGE[damage](form))
            with pytest.raises(ls.ModelNotReadable, match=re.escape(name)), Watch():
                ls.open(tmp_path / name, trust=trust)
            with pytest.raises(ls.ModelNotReadable, match=re.escape(name)):
                ls.open(FACTORY, weights=tmp_path / name)
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(DAMAGE[damage](b"\x10" + bytes(7) + b'{"a": {"dtype":1'))
    with pytest.raises(ls.ModelNotReadable, match=re.escape(path.name)):
        ls.open(FACTORY, weights=path)


def states():
    dense = nn.Linear(2, 2).state_dict()
    sparse = torch.eye(2).to_sparse()
    return {
        "int keys": {0: torch.zeros(2, 2), **dense},
        "no tensors": {**dense, "epoch": 3},
        "meta": {**dense, "weight": torch.zeros(2, 2, device="meta")},
        "sparse": {**dense, "weight": sparse},
        "compressed": {**dense, "weight": torch.eye(2).to_sparse_csr()},
        "complex": {**dense, "weight": torch.eye(2, dtype=torch.complex64)},
        "quantised": {**dense, "weight": torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8)},
        "of another shape": {**dense, "weight": torch.zeros(3, 2)},
        "none": {},
        "a list": [torch.zeros(2)],
        "a tensor": torch.zeros(2),
    }


@pytest.mark.filterwarnings("ignore:.*(beta state|quantize|TypedStorage):")
@pytest.mark.parametrize("case", ["int keys", "no tensors", "meta", "sparse", "compressed", "complex", "quantised",
                                  "of another shape", "none", "a list", "a tensor"])  # fmt: skip
def test_state_dicts_that_would_lose_something(case, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "linear_factory.py").write_text("import torch\ndef build(): return torch.nn.Linear(2, 2)\n", "utf-8")
    torch.save(states()[case], tmp_path / "weights.pt")
    with raises(ls.ModelNotReadable, "weights.pt"):
        ls.open("linear_factory:build", weights=tmp_path / "weights.pt", preprocess=None)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "loop", "x" * 5000 + "/y"])
def test_names_that_no_file_can_have(name, tmp_path):
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    for suffix in (".pt", ".pt2"):
        with pytest.raises(ls.ModelNotReadable):
            ls.open(tmp_path / f"{name}{suffix}")
        with pytest.raises(ls.ModelNotReadable):
            ls.open(FACTORY, weights=tmp_path / f"{name}{suffix}")


def test_weights_that_fit_are_read(tmp_path):
    """The counterpart: also under names of other tools."""
    for name in ("weights.pt", "weights.bin", "weights.ckpt"):
        torch.manual_seed(1)
        torch.save({"state_dict": {}, "epoch": np.float64(0).item()}, tmp_path / name)
        ls.open(FACTORY, weights=tmp_path / name, preprocess=None)
