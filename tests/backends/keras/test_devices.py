"""Where models of Keras run: on two devices of JAX and of TensorFlow that are one processor, and on torch's `meta`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import layerscope as ls
from helpers.keras_devices import loaded_on_the_second
from helpers.keras_models import ON, K, keras

# Keras's own Variable, when Keras on TensorFlow turns it into an array
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

DIVIDED = """
import sys
from pathlib import Path
import tensorflow as tf
(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers.keras_devices import loaded_on_the_second
device = loaded_on_the_second(Path(sys.argv[1])).variables[0]._value.device
assert device.lower().endswith("cpu:1"), device
"""


@pytest.mark.frameworks
@pytest.mark.skipif(ON != "tensorflow", reason="the processor is divided for TensorFlow")
def test_tensorflow_builds_and_runs_a_file_on_the_device(tmp_path):
    """In a process of its own: TensorFlow divides a processor before it has used it, or never."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error::layerscope.DeviceWarning", "-c", DIVIDED, str(tmp_path)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.each_framework
def test_another_device_is_taken_or_refused(tmp_path):
    if ON == "jax":
        (device,) = loaded_on_the_second(tmp_path).variables[0]._value.devices()
        assert device.id == 1
        return
    model = keras.Sequential([keras.Input((8, 8, 3)), K.Conv2D(4, 3, name="conv")])
    missing = "gpu"
    if ON == "torch":
        missing = "xpu"
        with pytest.raises(ls.BadOption, match=r"keras\.device"):
            ls.open(model, preprocess=None, device="meta")
    batch = np.zeros((1, 8, 8, 3), np.float32)
    assert ls.open(model, preprocess=None, device="cpu").capture(batch, "conv")["conv"].shape == (1, 6, 6, 4)
    with pytest.warns(ls.DeviceWarning, match=missing):
        ls.open(model, preprocess=None, device=missing)
