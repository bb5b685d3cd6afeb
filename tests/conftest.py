"""What every test starts from: one thread a framework, no network, Keras on the backend asked for."""

import importlib.util
import os

import pytest

for name in (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(name, "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

NEEDED = (
    "torch",
    "keras",
    "tensorflow",
    "jax",
    "flax",
    "equinox",
    "ai_edge_litert",
    "tf_keras",
    "transformers",
    "timm",
    "torchvision",
    "torchlens",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "h5py",
    "skimage",
    "sklearn",
    "xarray",
    "matplotlib",
    "isal",
    "efficientnet_lite_pytorch",
    "build",
)


def pytest_sessionstart(session):
    """In CI a missing library is a failure; elsewhere the tests that need it are skipped and say so."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if os.environ.get("CI") and missing:
        pytest.exit(f"CI lacks what the tests need: {', '.join(missing)}", returncode=3)
