"""Layers drawn while a model trains: the files are right, and the training doesn't know of it."""

import random
import re
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.wording import raises, warns
from layerscope.picture.codes import NAN
from layerscope.testing import TinyBackend, tiny_model

CHANNELS = 4
IMAGES = np.random.default_rng(0).random((12, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(12) % 2


def keras_model(keras):
    """Built anew with the same weights: what training needs randomness for is in it, dropout and BatchNorm."""
    keras.utils.set_random_seed(1)
    k = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)) if hasattr(keras, "ops") else k.InputLayer((8, 8, 3)),
            k.Conv2D(CHANNELS, 3, name="conv"),
            k.BatchNormalization(name="norm"),
            k.ReLU(name="act"),
            k.GlobalAveragePooling2D(name="pool"),
            k.Dropout(0.5, name="drop"),
            k.Dense(2, name="head"),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


def keras_of(name):
    return pytest.importorskip(name, reason=f"the callback is {name}'s")


def fitted(keras, *callbacks, epochs=3):
    model = keras_model(keras)
    keras.utils.set_random_seed(2)
    model.fit(IMAGES, LABELS, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def torch_model():
    torch = pytest.importorskip("torch", reason="the model is torch's")
    torch.manual_seed(1)
    nn = torch.nn
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(CHANNELS, 2))
    return torch, nn.Sequential(nn.Conv2d(3, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(), head)


def trained(each_epoch=lambda model, epoch: None, epochs=3):
    """(state, gradients, random states) after a loop of one's own."""
    torch, model = torch_model()
    torch.manual_seed(2), random.seed(2), np.random.seed(2)
    model[1].eval()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    images = torch.tensor(IMAGES).permute(0, 3, 1, 2)
    for epoch in range(epochs):
        order = torch.randperm(12)
        for part in order.split(4):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[part]), torch.tensor(LABELS)[part]).backward()
            optimizer.step()
        each_epoch(model, epoch + 1)
    flags = [module.training for module in model.modules()]
    states = [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return model.state_dict(), gradients, optimizer.state_dict()["state"], flags, states


def same(torch, first, other):
    assert first.keys() == other.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            same(torch, value, other[name])
        else:
            assert torch.equal(value, other[name]), name


def test_a_loop_of_ones_own_trains_as_without(tmp_path):
    torch = pytest.importorskip("torch", reason="the model is torch's")
    recorders, file_names = [], []

    def draw(model, epoch):
        if not recorders:
            recorders.append(
                ls.callbacks.Recorder(
                    model, torch.tensor(IMAGES[:1]).permute(0, 3, 1, 2), ["0", "2"], tmp_path, preprocess=None, every=2
                )
            )
        files = recorders[0].step(epoch)
        file_names.append([file.name for file in files])
        if files:
            with torch.no_grad():
                expected = model[0](torch.tensor(IMAGES[:1]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
            picture = ls.sheet(expected)
            written = np.asarray(Image.open(files[0]).convert("P"))
            for cell, other in zip(picture.cells, recorders[0].pictures()[("0",)].cells, strict=True):
                box = written[other.y : other.y + cell.height, other.x : other.x + cell.width]
                assert np.array_equal(box, picture.pixels[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width])

    alone, watched = trained(), trained(draw)
    assert file_names == [[], ["epoch-0002-0.png", "epoch-0002-2.png"], []]
    for part in range(3):
        same(torch, alone[part], watched[part])
    assert alone[3:] == watched[3:]


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_fit_trains_as_without_and_each_epoch_is_drawn(name, tmp_path):
    keras = keras_of(name)
    actual, reference_values = [], []

    def draw(fm):
        actual.append(fm.values)
        return ls.sheet(fm)

    def reference(epoch, logs=None):
        model = watch.model
        part = keras.Model(model.inputs[0], model.get_layer("act").output)
        reference_values.append(np.asarray(part(IMAGES[:1], training=False)))

    watch = keras.callbacks.LambdaCallback(on_epoch_end=reference)
    ours = ls.callbacks.KerasCallback(IMAGES[:1], "act", folder=tmp_path, draw=draw, preprocess=None)
    assert isinstance(ours, keras.callbacks.Callback)
    trained_model, reference_model = fitted(keras, ours, watch), fitted(keras)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"epoch-000{epoch}-act.png" for epoch in (1, 2, 3)]
    assert len(actual) == len(reference_values) == 3
    for values, expected in zip(actual, reference_values, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(actual[0], actual[2])
    for weight, expected in zip(trained_model.get_weights(), reference_model.get_weights(), strict=True):
        assert np.array_equal(weight, expected)
    variables = [
        [
            np.asarray(variable)
            for variable in (
                model.optimizer.variables() if callable(model.optimizer.variables) else model.optimizer.variables
            )
        ]
        for model in (trained_model, reference_model)
    ]
    assert all(np.array_equal(variable, expected) for variable, expected in zip(*variables, strict=True))


@pytest.fixture
def lightning():
    pytest.importorskip("torch", reason="the model is torch's")
    pytest.importorskip("helpers.torchvision_ops")
    with warnings.catch_warnings():
        # Its own, about workers and loggers.
        warnings.simplefilter("ignore")
        yield pytest.importorskip("pytorch_lightning", reason="the trainer is its")


def fit_lightning(lightning, *callbacks, epochs=3):
    torch, inner = torch_model()

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = inner

        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    data = torch.utils.data.TensorDataset(torch.tensor(IMAGES).permute(0, 3, 1, 2), torch.tensor(LABELS))
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    torch.manual_seed(2)
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4, shuffle=True))
    return torch, module


def test_lightning_trains_as_without_and_each_epoch_is_drawn(lightning, tmp_path):
    flags = []

    class Watch(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            flags.append([module.training for module in pl_module.modules()])

    options = {"part": "net", "folder": tmp_path, "preprocess": None, "combine": "mean"}
    ours = ls.callbacks.LightningCallback(np.moveaxis(IMAGES[:2], -1, 1), ["0", "2"], **options)
    assert isinstance(ours, lightning.Callback)
    torch, module = fit_lightning(lightning, ours, Watch())
    same(torch, module.state_dict(), fit_lightning(lightning)[1].state_dict())
    names = {f"epoch-000{epoch}-{layer}-image_{image}.png" for epoch in (1, 2, 3) for layer in "02" for image in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert all(all(module_flags) for module_flags in flags)


def test_lightning_stops_at_a_wrong_layer_before_it_trains(lightning, tmp_path):
    ours = ls.callbacks.LightningCallback(
        np.moveaxis(IMAGES[:1], -1, 1), "net.9", part="net", folder=tmp_path, preprocess=None
    )
    with raises(ls.LayerNotFound):
        fit_lightning(lightning, ours)
    assert not list(tmp_path.iterdir())


def test_only_the_first_process_draws(lightning, tmp_path):
    ours = ls.callbacks.LightningCallback("x.png", folder=tmp_path)
    other = type("Trainer", (), {"is_global_zero": False, "current_epoch": 0})()
    ours.on_train_start(other, None)
    ours.on_train_epoch_end(other, None)
    assert not list(tmp_path.iterdir())


def test_keras_stops_at_a_wrong_layer_before_it_trains(tmp_path):
    keras = keras_of("keras")
    ours = ls.callbacks.KerasCallback(IMAGES[:1], "akt", folder=tmp_path, preprocess=None)
    with raises(ls.LayerNotFound, "'act'"):
        fitted(keras, ours, epochs=1)


def recorder(folder, **options):
    scope = ls.open(tiny_model(), backend=TinyBackend(), preprocess=None)
    batch = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    return ls.callbacks.Recorder(scope, options.pop("images", batch), options.pop("layers", "conv1"), folder, **options)


def test_a_drawing_that_fails_is_a_warning_and_the_training_goes_on(tmp_path):
    ours = recorder(tmp_path, draw=lambda fm: 1 / 0)
    with warns(ls.DrawingFailed, "4") as caught:
        assert ours.step(4) == ()
    assert caught[0].filename == __file__
    (tmp_path / "file").write_text("")
    with warns(ls.DrawingFailed, "1"):
        assert recorder(tmp_path / "file").step(1) == ()
    ours = recorder(tmp_path)
    ours.draw = lambda fm: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        ours.step(1)


def test_a_failing_drawing_does_not_end_fit_nor_change_it(tmp_path):
    keras = keras_of("keras")

    def broken(fm):
        raise RuntimeError("no picture today")

    ours = ls.callbacks.KerasCallback(IMAGES[:1], "act", folder=tmp_path, draw=broken, preprocess=None)
    with warns(ls.DrawingFailed):
        trained_model = fitted(keras, ours, epochs=1)
    for weight, expected in zip(trained_model.get_weights(), fitted(keras, epochs=1).get_weights(), strict=True):
        assert np.array_equal(weight, expected)


def test_weights_of_nan_are_drawn_as_nan(tmp_path):
    keras = keras_of("keras")
    model = keras_model(keras)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    ours = ls.callbacks.Recorder(model, IMAGES[:1], "act", tmp_path, preprocess=None)
    (file,) = ours.step(1)
    assert (ours.pictures()[("act",)].codes(ours.pictures()[("act",)].cells[0]) == NAN).all()
    assert file.is_file()


def test_a_writer_gets_the_same_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="it writes the file")
    ours = recorder(None, writer=tmp_path / "run", layers=["conv1", "conv2"])
    assert ours.step(5) == ()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert events.Tags()["images"] == ["conv1", "conv2"]
    assert events.Images("conv1")[0].step == 5


def test_a_rule_by_gradients_finds_its_own_class(tmp_path):
    torch, model = torch_model()
    images = torch.tensor(IMAGES[:1]).permute(0, 3, 1, 2)
    (file,) = ls.callbacks.Recorder(model, images, "2", tmp_path, combine="grad-cam", preprocess=None).step(1)
    assert all(parameter.grad is None for parameter in model.parameters())
    with Image.open(file) as image:
        assert "Grad-CAM" in image.text["Title"]


@pytest.mark.parametrize("rule", ["grad-cam", "score-cam", "cam", ls.grad_cam])
def test_each_image_has_its_own_top_1_class(rule, tmp_path):
    torch, model = torch_model()
    images = torch.tensor(IMAGES[:4]).permute(0, 3, 1, 2)
    with torch.no_grad():
        # Between the scores, so that the images differ in their first class.
        scores = model.eval()(images)
        model[3][3].bias[0] -= (scores[:, 0] - scores[:, 1]).median()
        classes = model(images).argmax(1).tolist()
    assert set(classes) == {0, 1}
    recorder = ls.callbacks.Recorder(model, images, "2", tmp_path, combine=rule, preprocess=None)
    titles = {id: picture.title for (_, id), picture in recorder.pictures().items()}
    assert len(titles) == len(recorder.step(1)) == 4
    for index, target in enumerate(classes):
        assert re.search(rf"\b{target}\b", titles[f"image {index}"].partition("·")[0]), titles


def test_wrong_options_are_refused_at_once(tmp_path):
    for options in (
        {},
        {"folder": tmp_path, "every": 0},
        {"folder": tmp_path, "draw": "sheet"},
        {"folder": tmp_path, "combine": "meen"},
    ):
        with raises(ls.BadOption):
            recorder(options.pop("folder", None), **options)
    keras_of("keras")
    with raises(ls.BadOption, "folder="):
        ls.callbacks.KerasCallback(IMAGES)
    with raises(ls.LayerNotFound):
        recorder(tmp_path, layers="nothing")


def test_without_the_library_its_callback_says_what_to_install(monkeypatch, tmp_path):
    for name in ("tf_keras", "lightning", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "keras.callbacks", None)
    with raises(ls.BackendMissing):
        ls.callbacks.KerasCallback(IMAGES, folder=tmp_path)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with raises(ls.BackendMissing):
        ls.callbacks.LightningCallback(IMAGES, folder=tmp_path)
