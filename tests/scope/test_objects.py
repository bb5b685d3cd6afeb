"""Layers given as objects of the model are those of their paths; those of other models are refused by name."""

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises

FIRST = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)
LAST = np.ascontiguousarray(FIRST.transpose(0, 2, 3, 1))


def torch_model():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.set_num_threads(1)
    inner = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), inner, nn.Conv2d(5, 2, 1)).eval()
    return model, FIRST, {"0": model[0], "1": inner, "1.0": inner[0], "": model}, nn.Conv2d(3, 4, 3)


def keras_model(library="keras"):
    keras = pytest.importorskip(library)
    layers = keras.layers
    base = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3, name="conv")], name="base")
    given = keras.Input((12, 12, 3))
    model = keras.Model(given, layers.Conv2D(2, 1, name="head")(base(given)), name="net")
    parts = {"base": model.layers[1], "base/conv": base.layers[0], "head": model.layers[-1], "": model}
    return model, LAST, parts, layers.Conv2D(4, 3)


def tf_keras_model():
    return keras_model("tf_keras")


def nnx_model():
    nnx = pytest.importorskip("flax.nnx")
    layers = [nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(4, 2, rngs=nnx.Rngs(1))]
    model = nnx.Sequential(*layers)
    parts = {"layers.0": model.layers[0], "layers.2": model.layers[2], "": model}
    return model, LAST, parts, nnx.Linear(4, 2, rngs=nnx.Rngs(1))


def equinox_model():
    eqx = pytest.importorskip("equinox")
    import jax

    keys = jax.random.split(jax.random.key(0), 3)
    model = eqx.nn.Sequential([eqx.nn.Conv2d(3, 4, 3, key=keys[0]), eqx.nn.Conv2d(4, 2, 1, key=keys[1])])
    parts = {"layers.0": model.layers[0], "layers.1": model.layers[1], "": model}
    return model, FIRST, parts, eqx.nn.Conv2d(3, 4, 3, key=keys[2])


MODELS = [torch_model, keras_model, tf_keras_model, nnx_model, equinox_model]


@pytest.mark.parametrize("build", MODELS)
def test_an_object_of_the_model_is_the_layer_of_its_path(build):
    model, batch, parts, _ = build()
    scope = ls.open(model, preprocess=None)
    for path, part in parts.items():
        named = scope.capture(batch, path)[path]
        assert scope.capture(batch, part)[path].layer == named.layer
        np.testing.assert_array_equal(scope.capture(batch, [part])[path].values, named.values)
    together = {path for maps in scope.stream(batch, iter(parts.values()), batch=1) for path in maps}
    assert together == set(parts)


@pytest.mark.parametrize("build", MODELS)
def test_a_layer_of_another_model_is_refused(build):
    model, batch, _, other = build()
    scope = ls.open(model, preprocess=None)
    for choice in (other, [other]):
        with raises(ls.LayerNotFound, "among the layers of"):
            scope.capture(batch, choice)


def test_whatever_takes_a_layer_takes_the_object(tmp_path):
    model, batch, parts, _ = torch_model()
    scope = ls.open(model, preprocess=None)
    np.testing.assert_array_equal(scope.kernel(model[0], batch).values, model[0].weight.detach())
    assert ls.kernels(scope, model[0], images=batch).title == ls.kernels(scope, "0", images=batch).title
    picture, named = (ls.show(scope, batch[:1], layer) for layer in (model[1], "1"))
    assert picture.title == named.title
    recorder = ls.callbacks.Recorder(scope, batch[:1], model[1][0], tmp_path)
    assert [path for path, *_ in recorder.pictures()] == ["1.0"]
    with ls.report(scope, batch[:1], [parts["1"]], tmp_path / "r.html").open("rb") as file:
        assert file.read(15) == b"<!doctype html>"


def test_a_module_with_the_name_of_a_keyword_is_the_module():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.stages, self.act = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3)), nn.ReLU()
            self.unused = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.act(self.stages(self.act(self.last(x))))

    model = Net().eval()
    scope = ls.open(model, preprocess=None)
    assert [list(scope.capture(FIRST, getattr(model, name))) for name in ("last", "stages", "act")] == [
        ["last"],
        ["stages"],
        ["act:0", "act:1"],
    ]
    with raises(ls.LayerNotCalled, "unused"):
        scope.capture(FIRST, model.unused)
    with raises(ls.BadOption, "'act' selects 2"):
        ls.show(scope, FIRST[:1], model.act)


def test_parts_of_wrapped_models():
    torch = pytest.importorskip("torch")
    model, batch, *_ = torch_model()
    compiled, parallel = torch.compile(model, backend="eager"), torch.nn.DataParallel(model)
    for wrapped, part in ((parallel, parallel.module[1]), (compiled, model[1])):
        scope = ls.open(wrapped, preprocess=None)
        assert list(scope.capture(batch, [part, wrapped])) == ["1", ""]
