"""Backends of other packages: found through the entry point group, tried first, left out with a warning when wrong."""

import sys
import types
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, warns
from layerscope import backends
from layerscope.backends import SPECS, Backend, Spec, adapt, not_offered, registry
from layerscope.backends.protocol import OPTIONAL
from layerscope.testing import TinyBackend, tiny_model

ACME = Spec("acme", "acme", (".acme",), "", "acme.reader:AcmeBackend", "pip install acme-layerscope")


class AcmeBackend(TinyBackend):
    name = "acme"

    def load(self, path, weights=None, trust=False):
        return tiny_model()


@pytest.fixture
def installed(monkeypatch):
    """Makes importlib.metadata find these entry points: name -> what it loads; `missing` ones load nothing."""
    package = types.ModuleType("acme")
    reader = types.ModuleType("acme.reader")
    reader.AcmeBackend, package.__spec__ = AcmeBackend, types.SimpleNamespace(name="acme")

    def install(*missing, **points):
        for name, value in points.items():
            setattr(package, name, value)
        entry_points = [EntryPoint(name, f"acme:{name}", backends.GROUP) for name in (*points, *missing)]
        monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entry_points if group else [])
        backends.specs.cache_clear()

    monkeypatch.setitem(sys.modules, "acme", package)
    monkeypatch.setitem(sys.modules, "acme.reader", reader)
    yield install
    backends.specs.cache_clear()


def test_its_models_and_files_are_opened(installed, tmp_path):
    installed(ACME=ACME)
    assert backends.specs() == (ACME, *SPECS)
    scope = ls.open(tiny_model(), preprocess=None)
    assert scope.backend.name == "acme"
    assert scope.capture(np.zeros((1, 3, 8, 8), np.float32), "conv1")["conv1"].values.shape == (1, 8, 8, 4)
    file = tmp_path / "net.acme"
    file.touch()
    assert ls.open(file, preprocess=None).backend.name == "acme"
    assert ls.open(tiny_model(), backend="acme", preprocess=None).backend.name == "acme"


def test_its_files_are_listed_among_those_that_can_be_read(installed, tmp_path):
    installed(ACME=ACME)
    file = tmp_path / "net.unknown"
    file.touch()
    with raises(ls.ModelNotReadable):
        ls.open(file)


def test_a_missing_requirement_is_reported_in_the_backends_own_message(installed, tmp_path, monkeypatch):
    installed(ACME=ACME)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    file = tmp_path / "net.acme"
    file.touch()
    with raises(ls.BackendMissing):
        ls.open(file)


@pytest.mark.parametrize(
    "wrong",
    [
        AcmeBackend,
        Spec("torch", "acme", (), "", "acme.reader:AcmeBackend"),
    ],
)
def test_a_wrong_one_is_left_out_and_named(installed, wrong):
    installed(ACME=wrong)
    with warns(ls.BackendSkipped):
        assert backends.specs() == SPECS


def test_one_that_can_not_be_imported_is_left_out_and_named(installed):
    installed("broken", ACME=ACME)
    with warns(ls.BackendSkipped, "'broken'"):
        assert backends.specs()[0] == ACME


class Duck:
    """The three verbs and one more, without the base class."""

    name = "duck"
    gradients = False

    def __init__(self):
        self.tiny = TinyBackend()
        self.pond = "large"

    def owns(self, model):
        return self.tiny.owns(model)

    def layers(self, model, batch):
        return self.tiny.layers(model, batch)

    def capture(self, model, batch, paths, target=None):
        return self.tiny.capture(model, batch, paths, target)

    def digest(self, model):
        return "sha256:duck"


def test_a_backend_without_the_base_class_is_adapted():
    duck = Duck()
    adapted = adapt(duck)
    assert isinstance(adapted, Backend)
    assert (adapted.name, adapted.picks, adapted.random, adapted.pond) == ("duck", False, True, "large")
    assert [verb for verb in OPTIONAL if adapted.offers(verb)] == ["digest"]
    scope = ls.open(tiny_model(), backend=duck, preprocess=None)
    assert scope.backend is duck
    fm = scope.capture(np.zeros((1, 3, 8, 8), np.float32), "conv1")["conv1"]
    assert fm.provenance["model_digest"] == "sha256:duck"
    assert scope.head() is None
    with pytest.raises(ls.BadOption):
        scope.kernel("conv1", np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ls.GradientsUnavailable):
        scope.capture(np.zeros((1, 3, 8, 8), np.float32), "conv1", target=1)


def test_the_capabilities_of_an_adapted_backend_are_looked_up_when_needed():
    class Learning(Duck):
        gradients = property(lambda self: self.pond == "deep")

    duck, batch = Learning(), np.zeros((1, 3, 8, 8), np.float32)
    scope = ls.open(tiny_model(), backend=duck, preprocess=None)
    with pytest.raises(ls.GradientsUnavailable):
        scope.capture(batch, "conv1", target=1)
    assert scope.head(batch) is None
    targets = []

    def capture(model, batch, paths, target=None):
        targets.append(target)
        return TinyBackend().capture(model, batch, paths)

    duck.pond, duck.capture = "deep", capture
    duck.head = lambda model, batch: "head"
    scope.capture(batch, "conv1", target=1)
    assert (targets, scope.head(batch)) == ([1], "head")


def test_the_backend_of_a_package_without_the_base_class_is_its_own_object(installed):
    installed(ACME=ACME)
    sys.modules["acme.reader"].AcmeBackend = Duck
    assert isinstance(ls.open(tiny_model(), preprocess=None).backend, Duck)


def test_a_backend_of_the_base_class_stays_as_it_is():
    backend = TinyBackend()
    assert adapt(backend) is backend
    assert ls.open(tiny_model(), backend=backend, preprocess=None).backend is backend


def test_an_object_without_the_three_verbs_is_no_backend():
    with pytest.raises(ls.BadOption):
        ls.open(tiny_model(), backend=object())


def test_a_backend_without_a_name_is_refused():
    class Nameless(TinyBackend):
        name = ""

    with pytest.raises(ls.BadOption):
        ls.open(tiny_model(), backend=Nameless())


def test_what_is_not_offered_has_a_reason():
    with pytest.raises(ls.BadOption) as refused:
        TinyBackend().kernel(tiny_model(), "conv1", None)
    assert TinyBackend.kernel.reason in str(refused.value)
    with pytest.raises(ls.GradientsUnavailable):
        TinyBackend().gradients()
    with pytest.raises(ValueError, match="reason"):
        not_offered(" ")
