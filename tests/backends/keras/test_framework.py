"""The framework below Keras where nobody has named one."""

import json
import os
import subprocess
import sys

import pytest

import layerscope as ls
from helpers.wording import raises, warns, wording
from layerscope.backends.keras import framework


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Keras as it was never imported, beside these frameworks; `configured` is what its file names."""
    monkeypatch.delenv(framework.SETTING, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)

    def install(*names, configured=None):
        if configured is not None:
            (tmp_path / "keras.json").write_text(json.dumps({"backend": configured}))
        monkeypatch.setattr(framework, "_is_installed", names.__contains__)

    return install


def asked():
    """The setting while Keras is imported."""
    with framework.on_installed_framework():
        return os.environ.get(framework.SETTING)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_one_that_is_installed_is_used_and_said(installed, name):
    installed(name)
    with warns(ls.BackendChosen, name):
        assert asked() == name
    assert framework.SETTING not in os.environ


def test_a_failing_import_leaves_no_setting(installed):
    installed("torch")
    with warns(ls.BackendChosen), pytest.raises(ZeroDivisionError), framework.on_installed_framework():
        raise ZeroDivisionError
    assert framework.SETTING not in os.environ


def test_what_keras_or_its_owner_chooses_stands(installed, monkeypatch):
    installed("tensorflow", "torch")
    assert asked() is None
    installed("torch", "jax", configured="jax")
    assert asked() is None
    installed("torch", configured="numpy")
    assert asked() is None
    installed("torch", configured="tensorflow")  # which Keras itself writes there
    monkeypatch.setenv(framework.SETTING, "jax")
    assert asked() == "jax"


def test_none_and_a_choice_are_errors_that_say_what_to_do(installed):
    installed("torch", "jax")
    with raises(ls.BackendMissing, framework.SETTING, "torch", "jax"):
        asked()
    installed()
    with raises(ls.BackendMissing, "tensorflow"):
        asked()


# Keras's own Variable, when Keras on TensorFlow turns it into an array
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.frameworks
def test_the_command_line_runs_a_model_on_torch_alone(tmp_path):
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'jax'): sys.modules[name] = None\n"
        "from layerscope import cli\n"
        "sys.exit(cli.main(['layers', 'net.keras', '--size', '32']))\n"
    )
    from helpers.keras_models import K, keras

    keras.Sequential([keras.Input((32, 32, 3)), K.Conv2D(4, 3), K.Flatten()]).save(tmp_path / "net.keras")
    environment = {name: value for name, value in os.environ.items() if name != framework.SETTING}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "on torch" in run.stdout
    wording([line for line in run.stderr.splitlines() if "Keras" in line])
