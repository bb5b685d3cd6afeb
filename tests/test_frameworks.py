"""Tests are grouped by the framework that they load."""

from types import SimpleNamespace

import pytest

from helpers.frameworks import GROUPS, ROOT, Scheduling, framework_in, group_of, work_group


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


class Worker:
    """Takes what it is sent, as a worker of pytest-xdist does."""

    def __init__(self, *collection):
        self.collection, self.queue, self.ran, self.shutting_down = collection, [], [], False

    def send_runtest_some(self, indices):
        self.queue += indices

    def shutdown(self):
        self.shutting_down = True


def test_both_workers_together_run_every_test_once():
    modules = {name: f"tests/backends/{name}/test_activation.py::test_a" for name in ("keras", "jax", "torch")}
    plain = [f"tests/core/test_{name}.py::test_{letter}" for name in ("tokens", "selection") for letter in "abc"]
    first, second = workers = Worker(modules["keras"], *plain), Worker(modules["torch"], modules["jax"], *plain)
    quiet = SimpleNamespace(loadscopesched=lambda *_: None)
    scheduling = Scheduling(SimpleNamespace(getvalue=lambda name: ["2*popen"]), quiet)
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, worker.collection)
    scheduling.schedule()
    while not scheduling.tests_finished or first.queue or second.queue:
        for worker in workers:
            if worker.queue:
                worker.ran.append(worker.collection[worker.queue[0]])
                scheduling.mark_test_complete(worker, worker.queue.pop(0))
    assert sorted(first.ran + second.ran) == sorted([*modules.values(), *plain])
    assert first.ran[0] == modules["keras"]
    assert second.ran[:2] == [modules["torch"], modules["jax"]]
