"""What every test starts from: one thread a framework, no network, Keras on the backend asked for."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import frameworks, wording

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
# Most of the time of small networks on JAX goes into compiling them.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Two devices of JAX, which both are the processor.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count=2")

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
    "torchcam",
    "captum",
    "pytorch_grad_cam",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "h5py",
    "skimage",
    "sklearn",
    "xarray",
    "matplotlib",
    "pypdf",
    "av",
    "tensorboard",
    "tensorboardX",
    "pytorch_lightning",
    "isal",
    "efficientnet_lite_pytorch",
    "build",
)

# What `--only NAME` leaves importable of the frameworks: what the tests of one backend need, those of converters included.
FRAMEWORKS = {
    "ai_edge_litert", "equinox", "flax", "jax", "keras", "onnx", "onnxruntime", "tensorflow", "tf_keras", "torch",
}  # fmt: skip
ONLY = {
    "torch": {"torch"},
    "keras": {"keras", "tensorflow", "jax", "torch"},
    "keras_on_torch": {"keras", "torch"},  # Keras would import TensorFlow to seed it: five seconds
    "keras_on_jax": {"keras", "jax"},
    "tf_keras": {"tf_keras", "tensorflow", "keras"},
    "onnx": {"onnx", "onnxruntime", "torch"},
    "tflite": {"ai_edge_litert", "tensorflow", "keras"},
    "jax": {"jax", "flax", "equinox"},
}


class Without:
    """One of the interpreter's finders, for which some packages aren't installed."""

    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.names else self.finder.find_spec(name, path, target)


def pytest_addoption(parser):
    parser.addoption("--only", choices=sorted(ONLY), help="the tests run as if no other framework were installed")
    parser.addoption("--fast", action="store_true", help="leave out what loads TensorFlow, torch, JAX or matplotlib")
    parser.addoption("--renew-wording", action="store_true", help="write the golden files of tests/wording anew")


def pytest_configure(config):
    config.pluginmanager.register(wording.Plugin(config), "wording")
    config.pluginmanager.register(frameworks.Plugin(config), "frameworks")
    if only := config.getoption("--only"):
        sys.meta_path[:] = [Without(finder, FRAMEWORKS - ONLY[only]) for finder in sys.meta_path]


def pytest_sessionstart(session):
    """In CI a missing library is a failure; elsewhere the tests that need it are skipped and say so."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if os.environ.get("CI") and missing and not session.config.getoption("--only"):
        pytest.exit(f"CI lacks what the tests need: {', '.join(missing)}", returncode=3)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this state, built once."""
    root, folder = Path(__file__).parents[1], tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture
def limit(request):
    """The row of docs/limits.md that the test proves, checked when it has passed."""
    from helpers import limits

    (start,) = request.node.get_closest_marker("limit").args
    limit = limits.Limit(limits.row_of(start))
    yield limit
    limit.check()
