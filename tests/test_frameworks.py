"""Tests are grouped by the framework that they load."""

import pytest

from helpers.frameworks import GROUPS, ROOT, framework_in, group_of, work_group


@pytest.mark.parametrize(
    ("path", "whole", "top"),
    [
        ("tests/backends/tflite/test_files.py", "tensorflow", "tensorflow"),
        ("tests/inputs/test_input_check.py", "tensorflow", ""),
        ("tests/backends/jax/test_nnx.py", "jax", "jax"),
        ("tests/backends/torch/test_scores.py", "torch", "torch"),
        ("tests/backends/common/test_facts.py", "tensorflow", ""),
        ("tests/plots/test_sheet.py", "torch", ""),
        ("tests/backends/onnx/test_layers.py", "", ""),
        ("src/layerscope/backends/keras/axes.py", "tensorflow", "tensorflow"),
        ("src/layerscope/backends/onnx/axes.py", "", ""),
    ],
)
def test_a_module_belongs_to_the_heaviest_framework_that_it_imports(path, whole, top):
    assert group_of(ROOT / path) == whole
    assert group_of(ROOT / path, top=True) == top


def test_every_framework_has_tests():
    assert {group_of(path) for path in (ROOT / "tests").rglob("test_*.py")} == {*GROUPS, ""}


def test_names_inside_other_names_are_no_framework():
    assert framework_in("import torchlike\nfrom jaxx import y\nkeras = 3") == ""
    assert framework_in('timm = pytest.importorskip("timm")') == "torch"


def test_workers_get_frameworks_and_modules_whole(request):
    hooks = request.config.hook.pytest_xdist_make_scheduler.get_hookimpls()
    assert "frameworks" in [hook.plugin_name for hook in hooks]
    others = "tests/backends/keras/test_other_frameworks.py::test_keras_on_another_framework"
    for test, group in (
        ("tests/backends/jax/test_nnx.py::test_a[x-y]", "jax"),
        ("tests/backends/jax/test_linen.py::TestA::test_b", "jax"),
        ("tests/core/test_selection.py::test_a", "tests/core/test_selection.py"),
        ("tests/test_typing.py::test_a", "wheel"),
        ("tests/cli/test_demo.py::test_a", "wheel"),
        (f"{others}[jax]", f"{others}[jax]"),
    ):
        assert work_group(test) == group
