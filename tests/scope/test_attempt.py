"""What runs depends on the image: other tables are made. A layer that can't be read takes no other with it."""

from __future__ import annotations

import numpy as np
import pytest

import layerscope as ls
from helpers.wording import raises, warns
from layerscope.errors import BadOption
from layerscope.testing import Step, TinyBackend, TinyModel


class Branching(TinyBackend):
    """Its model takes another path for each value of the first pixel, as networks with early exits do."""

    paths = {0: "early", 1: "late", 2: "late"}
    unreadable = ()
    dry_runs = 0

    def model(self, batch):
        return TinyModel([step("stem"), *(step(name) for name in self.paths[int(batch.flat[0])].split())])

    def layers(self, model, batch):
        self.dry_runs += 1
        return super().layers(self.model(batch), batch)

    def capture(self, model, batch, paths, target=None):
        for path in paths:
            if path.partition(":")[0] in self.unreadable:
                raise BadOption(f"{path!r} holds no numbers")
        return super().capture(self.model(batch), batch, paths, target)


def step(name, run=lambda x: x + 1):
    return Step(name, "Scale", "bchw", run)


def branching(**paths):
    backend = Branching()
    backend.paths = {int(key[1:]): value for key, value in paths.items()} or backend.paths
    return backend, ls.open(TinyModel([]), backend=backend, preprocess=None)


def image(value, size=8):
    return np.full((1, 3, size, size), value, np.float32)


def test_a_layer_that_runs_for_the_second_image_only_is_found():
    backend, scope = branching()
    assert list(scope.capture(image(0), "early")) == ["early"]
    assert list(scope.capture(image(1), "late")) == ["late"]
    assert scope.capture(image(1), "late")["late"].values.max() == 3
    assert backend.dry_runs == 2, "the table that fits is kept"
    with raises(ls.LayerNotFound):
        scope.capture(image(1), "early")


@pytest.mark.parametrize("choice", ["*", "stages", "last", "kind:Scale", ["stem", "*"]])
def test_what_a_rule_chooses_is_chosen_from_what_ran(choice):
    _, scope = branching()
    scope.capture(image(0), choice)
    assert "early" not in scope.capture(image(1), choice)


def test_the_table_is_that_of_the_image_given():
    backend, scope = branching()
    assert [layer.path for layer in scope.layers(image(0))] == ["stem", "early"]
    assert [layer.path for layer in scope.layers(image(1))] == ["stem", "late"]
    scope.layers(image(1))
    assert backend.dry_runs == 2


def test_images_that_take_different_paths_have_maps_of_their_own():
    _, scope = branching()
    maps = scope.capture(np.concatenate([image(0), image(1), image(2)]), "*", batch=1)
    assert {path: fm.ids for path, fm in maps.items()} == {
        "stem": ("image 0", "image 1", "image 2"),
        "early": ("image 0",),
        "late": ("image 1", "image 2"),
    }
    assert [note.kind for note in maps["late"].notes] == ["not-every-image"]
    assert (maps["late"].values[:, 0, 0, 0] == [3, 4]).all()


def test_other_sizes_for_the_same_input_are_followed():
    class Cropping(Branching):
        def model(self, batch):
            return TinyModel([step("crop", lambda x: x[..., : 4 + int(x.flat[0]), :])])

    scope = ls.open(TinyModel([]), backend=Cropping(), preprocess=None)
    for value in (0, 2, 1):
        maps = scope.capture(image(value), "crop")
        assert maps["crop"].shape == (1, 4 + value, 8, 3)
        assert maps["crop"].layer.shape == (1, 3, 4 + value, 8)
    with raises(ls.BadOption):
        scope.capture(np.concatenate([image(0), image(0), image(1)]), "crop", batch=1)
    scope = ls.open(TinyModel([]), backend=Cropping(), preprocess=None)
    together = scope.capture(np.concatenate([image(0), image(1)]), "crop", batch=1)
    assert together["crop"].shape == (2, 4, 8, 3), "where the size depends on the images beside it, they stay together"


def test_sizes_that_follow_the_number_of_images_need_no_table_each_time():
    class Crowd(Branching):
        def model(self, batch):
            return TinyModel([step("crowd", lambda x: np.repeat(x, len(x), 3))])

    backend = Crowd()
    scope = ls.open(TinyModel([]), backend=backend, preprocess=None)
    for _ in range(3):
        assert scope.capture(np.concatenate([image(0), image(0)]), "crowd")["crowd"].shape == (2, 8, 16, 3)
    assert backend.dry_runs == 1


def test_a_model_that_changed_since_the_table_was_made_is_looked_at_again():
    backend, scope = branching(_0="early")
    scope.capture(image(0), "early")
    backend.paths = {0: "early more"}
    assert list(scope.capture(image(0), "more")) == ["more"]


def test_a_table_of_the_blank_image_is_not_that_of_a_photo():
    backend = Branching()
    backend.paths = {127: "grey", 0: "black"}
    scope = ls.open(TinyModel([]), backend=backend, preprocess="raw", size=8)
    assert [layer.path for layer in scope.layers()] == ["stem", "grey"]
    assert "black" in scope.capture(np.zeros((8, 8, 3), np.uint8), "last")


@pytest.mark.parametrize("unreadable", [("b",), ("a", "e"), ("b", "c", "d"), ("stem",)])
@pytest.mark.parametrize("choice", ["*", "kind:Scale"])
def test_a_layer_that_can_not_be_read_takes_no_other_with_it(unreadable, choice):
    backend, scope = branching(_0="a b c d e f g h")
    backend.unreadable = unreadable
    everything = ["stem", *"abcdefgh"]
    with pytest.warns(ls.LayersSkipped):
        maps = scope.capture(image(0), choice)
    assert list(maps) == [path for path in everything if path not in unreadable]
    assert list(scope.capture(image(0), choice)) == list(maps), "without looking for it again, and without a warning"
    for layer in scope.layers(image(0)):
        assert layer.showable == (layer.path not in unreadable)
        assert bool(layer.note) == (layer.path in unreadable)


def test_the_reason_is_told_and_a_name_is_an_error():
    backend, scope = branching(_0="a b c")
    backend.unreadable = ("b",)
    with raises(ls.BadOption):
        scope.capture(image(0), ["a", "b"])
    with raises(ls.BadOption):
        scope.capture(image(0), ["*", "b"])
    with warns(ls.LayersSkipped):
        scope.capture(image(0), "*")
    with raises(ls.BadOption):
        scope.capture(image(0), "b")


def test_a_model_that_fails_leaves_nothing_out():
    def fail(x):
        raise RuntimeError("in the middle")

    class Failing(Branching):
        def model(self, batch):
            return TinyModel([step("a"), step("b"), step("c", fail if len(batch) > 1 else lambda x: x), step("d")])

    scope = ls.open(TinyModel([]), backend=Failing(), preprocess=None)
    scope.layers(image(0))
    with raises(ls.ModelNotReadable):
        scope.capture(np.concatenate([image(0), image(0)]), "*")


def test_where_nothing_can_be_read_the_first_reason_is_the_error():
    backend, scope = branching(_0="a b")
    backend.unreadable = ("a", "b", "stem")
    with raises(ls.BadOption):
        scope.capture(image(0), "*")


def test_a_layer_without_a_batch_axis_takes_no_other_with_it_when_batches_are_joined():
    class Bare(Branching):
        def model(self, batch):
            return TinyModel(
                [step("a"), Step("mean", "Mean", "hw", lambda x: x.mean((0, 1))), step("b", lambda x: x[None, None])]
            )

    scope = ls.open(TinyModel([]), backend=Bare(), preprocess="raw", size=(8, 8))
    pair = [np.zeros((8, 8, 3), np.uint8)] * 2
    with pytest.warns(ls.LayersSkipped):
        assert list(scope.capture(pair, "*", batch=1)) == ["a", "b"]
    with raises(ls.BadOption):
        scope.capture(pair, ["a", "mean"], batch=1)


def test_the_choice_may_be_a_generator():
    _, scope = branching(_0="a b")
    assert list(scope.capture(np.concatenate([image(0), image(0)]), (name for name in "ab"), batch=1)) == ["a", "b"]
