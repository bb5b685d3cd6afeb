"""The conformance suite on the backend without a framework, and proof that it notices a wrong one."""

import time
from dataclasses import replace

import numpy as np
import pytest

from layerscope.backends import Backend, Evidence, Head, Kernel, not_offered, trained
from layerscope.backends.protocol import OPTIONAL
from layerscope.testing import BackendTests, Captured, Step, TinyBackend, tiny_model, tiny_parameters


class TestTiny(BackendTests):
    paths = {"conv1": "conv1", "act": "act", "conv2": "conv2", "head": "head", "spare": "spare"}

    def backend(self):
        return TinyBackend()

    def build(self, parameters, fail=False):
        return tiny_model(parameters, fail)

    def state(self, model):
        return repr([step.path for step in model.steps]).encode()

    def ran(self, model):
        return model.ran


class Norm:
    """A BatchNorm in numpy that keeps its statistics where a backend finds them."""

    def __init__(self, mean, variance):
        self.mean, self.variance = mean, variance

    def __call__(self, x):
        return (x - self.mean[:, None, None]) / np.sqrt(self.variance[:, None, None] + 1e-5)


class Telling(TinyBackend):
    """A backend that tells of the first BatchNorm."""

    over = (2, 3)

    def evidence(self, model, batch):
        before, norm = model.steps[0], model.steps[1].run
        if not isinstance(norm, Norm) or not trained(norm.mean, norm.variance):
            return None
        activations = before.run(batch)
        return Evidence("norm", norm.mean, norm.variance, activations.mean(self.over), activations.var(self.over))


class Averaging(Telling):
    """The images of a batch together."""

    over = (0, 2, 3)


class Untrained(Telling):
    def evidence(self, model, batch):
        return super().evidence(model, batch) or Evidence("norm", *[np.ones(4)] * 4)


class TestTelling(TestTiny):
    def backend(self):
        return Telling()

    def normed(self, parameters, mean, variance):
        model = tiny_model(parameters)
        return replace(model, steps=[model.steps[0], Step("norm", "BatchNorm", "bchw", Norm(mean, variance))])


class Views(TinyBackend):
    """What a hook without a copy gives: the next layer writes into it."""

    def capture(self, model, batch, paths, target=None):
        captures = super().capture(model, batch, paths, target)
        return {path: Captured(np.maximum(capture.values, 0)) for path, capture in captures.items()}


class Swapped(TinyBackend):
    """Rows of the batch in another order."""

    def capture(self, model, batch, paths, target=None):
        captures = super().capture(model, batch, paths, target)
        return {path: Captured(capture.values[::-1]) for path, capture in captures.items()}


class Unordered(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        captures = super().capture(model, batch, paths, target)
        return {path: captures[path] for path in paths}


class Writing(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        batch[:] = 0
        return super().capture(model, batch, paths, target)


class Forgetful(TinyBackend):
    """Numbers its rows by how often it made the table."""

    tables = 0

    def layers(self, model, batch):
        Forgetful.tables += 1
        return [replace(layer, note=f"dry run {self.tables}") for layer in super().layers(model, batch)]


class Batched(TinyBackend):
    """Shapes of the whole batch, not of one image."""

    def layers(self, model, batch):
        return [
            replace(layer, shape=layer.shape and (len(batch), *layer.shape[1:]))
            for layer in super().layers(model, batch)
        ]


class OneRun(TinyBackend):
    """Keeps what runs in one place for the whole process."""

    running = None

    def capture(self, model, batch, paths, target=None):
        OneRun.running = model
        time.sleep(0.01)
        return super().capture(OneRun.running, batch, paths, target)


class Constant(TinyBackend):
    def digest(self, model):
        return "sha256:constant"


class Double(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        captures = super().capture(model, batch, paths, target)
        return {path: Captured(capture.values.astype(float)) for path, capture in captures.items()}


class Leaking(TinyBackend):
    def capture(self, model, batch, paths, target=None):
        model.steps = [*model.steps, model.steps[-1]]
        captures = super().capture(model, batch, paths, target)
        model.steps = model.steps[:-1]
        return captures


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Views, "test_values_are_those_of_the_network"),
        (Swapped, "test_images_do_not_mix"),
        (Unordered, "test_results_come_in_execution_order"),
        (Writing, "test_the_batch_is_not_written_to"),
        (Forgetful, "test_the_table_is_the_same_each_time"),
        (Batched, "test_the_table_does_not_depend_on_the_number_of_images"),
        (Batched, "test_every_layer_that_can_be_shown_gives_what_the_table_says"),
        (OneRun, "test_two_threads_do_not_mix"),
        (Constant, "test_the_digest_tells_states_of_the_weights_apart"),
        (Double, "test_values_are_real_arrays_of_the_host"),
        (Leaking, "test_an_unknown_layer_costs_the_model_nothing"),
        (Averaging, "test_evidence_is_what_reaches_the_first_batch_norm"),
        (Untrained, "test_where_nothing_was_trained_there_is_no_evidence"),
    ],
)
def test_the_suite_notices_a_wrong_backend(wrong, test):
    suite = TestTelling()
    suite.backend = wrong
    with pytest.raises(AssertionError):
        getattr(suite, test)()


class Weighing(TinyBackend):
    """A backend that gives the weights of its convolutions."""

    order = (2, 3, 1, 0)

    def kernel(self, model, path, batch):
        weight = tiny_parameters().get(f"{path}.weight")
        if weight is None or weight.ndim != 4:
            return None
        return Kernel(weight.transpose(self.order), "hwio")


class Turned(Weighing):
    """The kernels lie on their side."""

    order = (3, 2, 1, 0)


class Everywhere(Weighing):
    def kernel(self, model, path, batch):
        return super().kernel(model, path, batch) or Kernel(np.ones((1, 1, 1, 1), np.float32), "oihw")


class TestWeighing(TestTiny):
    def backend(self):
        return Weighing()


class Summed(TinyBackend):
    """One number for the whole batch."""

    def scores(self, model, batch, target, changes):
        return np.full(len(batch), super().scores(model, batch, target, changes).sum())


class FirstCall(TinyBackend):
    """Takes each path for that of its first call."""

    def scores(self, model, batch, target, changes):
        return super().scores(
            model, batch, target, {f"{path.partition(':')[0]}:0": change for path, change in changes.items()}
        )


class Ignoring(TinyBackend):
    """Calls the change and passes on the layer's own values, as where a hook's result is dropped."""

    def scores(self, model, batch, target, changes):
        def with_copy(change):
            return lambda values: [change(values.copy()), values][1]

        return super().scores(model, batch, target, {path: with_copy(change) for path, change in changes.items()})


class Twice(TinyBackend):
    """Runs the changed part once to see and once to change."""

    def scores(self, model, batch, target, changes):
        super().scores(model, batch, target, changes)
        return super().scores(model, batch, target, changes)


class Sticky(TinyBackend):
    """A change that raises stays behind, as a hook that isn't removed."""

    def scores(self, model, batch, target, changes):
        before = model.steps
        if changes:
            model.steps = [*before, before[-1]]
        scores = super().scores(replace(model, steps=before), batch, target, changes)
        model.steps = before
        return scores


class Forgiving(TinyBackend):
    """Leaves out the changes of layers that aren't there."""

    def scores(self, model, batch, target, changes):
        known = {step.path for step in model.steps}
        changes = {path: change for path, change in changes.items() if path.partition(":")[0] in known}
        return super().scores(model, batch, target, changes)


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Summed, "test_scores_are_those_of_the_output"),
        (Summed, "test_a_function_as_target_gives_each_image_its_number"),
        (FirstCall, "test_one_call_is_changed_and_the_plain_path_means_all"),
        (Ignoring, "test_a_layer_returns_what_the_change_says"),
        (Twice, "test_a_layer_returns_what_the_change_says"),
        (Sticky, "test_a_change_that_raises_leaves_the_model_as_it_was"),
        (Forgiving, "test_what_can_not_be_changed_is_named"),
    ],
)
def test_the_suite_notices_wrong_scores(wrong, test, monkeypatch):
    suite = TestTiny()
    monkeypatch.setattr(suite, "backend", wrong)
    with pytest.raises(AssertionError):
        getattr(suite, test)()


class Heading(TinyBackend):
    """A backend that gives the last dense layer."""

    def head(self, model, batch):
        parameters = tiny_parameters()
        return Head("head", parameters["head.weight"], parameters["head.bias"])


class Sideways(Heading):
    def head(self, model, batch):
        head = super().head(model, batch)
        return replace(head, weights=np.ascontiguousarray(head.weights[::-1]))


class Elsewhere(Heading):
    def head(self, model, batch):
        return replace(super().head(model, batch), path="act:1")


class TestHeading(TestTiny):
    def backend(self):
        return Heading()


@pytest.mark.parametrize("wrong", [Sideways, Elsewhere])
def test_the_suite_notices_a_wrong_head(wrong, monkeypatch):
    suite = TestHeading()
    monkeypatch.setattr(suite, "backend", wrong)
    with pytest.raises(AssertionError):
        suite.test_the_head_is_the_dense_layer_that_runs_last()


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Turned, "test_a_kernel_is_the_weights_of_the_convolution"),
        (Everywhere, "test_other_layers_have_no_kernel"),
    ],
)
def test_the_suite_notices_wrong_weights(wrong, test, monkeypatch):
    suite = TestWeighing()
    monkeypatch.setattr(suite, "backend", wrong)
    with pytest.raises(AssertionError):
        getattr(suite, test)()


class Misspelt:
    """A whole backend without the base class, but for one letter."""

    name, gradients, facts = "misspelt", False, not_offered("its models say nothing")
    digest = load = load_weights = from_library = evidence = kernel = scores = not_offered("it is a test")

    owns, layers, capture = TinyBackend.owns, TinyBackend.layers, TinyBackend.capture
    refusal = Backend.refusal

    def hed(self, model, batch):
        return None


class Bare:
    """The three verbs and no word of the others, as backends were written before there was a base class."""

    name, owns, layers, capture = "bare", TinyBackend.owns, TinyBackend.layers, TinyBackend.capture
    refusal = Backend.refusal
    gradients = False


class Aimless(Bare):
    gradient = True


class Blind(Bare):
    capture = None
    captuer = TinyBackend.capture


class Silent(Backend):
    """A child of the base class that doesn't mark what it doesn't offer."""

    name = "silent"
    owns, layers, capture = TinyBackend.owns, TinyBackend.layers, TinyBackend.capture


class Marked(TinyBackend):
    """The mark is inherited, and the method has another name."""

    def kernels(self, model, path, batch):
        return None


class Short(TinyBackend):
    def digest(self):
        return ""


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Misspelt, "test_no_verb_is_misspelt"),
        (Aimless, "test_no_verb_is_misspelt"),
        (Blind, "test_every_verb_is_offered_or_marked"),
        (Blind, "test_no_verb_is_misspelt"),
        (Silent, "test_every_verb_is_offered_or_marked"),
        (Silent, "test_scores_are_those_of_the_output"),
        (Marked, "test_no_verb_is_misspelt"),
        (Short, "test_every_verb_takes_the_arguments_of_the_base_class"),
    ],
)
def test_the_suite_notices_a_missing_verb(wrong, test, monkeypatch):
    suite = TestTiny()
    monkeypatch.setattr(suite, "backend", wrong)
    with pytest.raises(AssertionError):
        getattr(suite, test)()


def test_the_suite_takes_a_backend_without_the_base_class_and_prints_what_it_lacks(monkeypatch, capsys):
    suite = TestTiny()
    monkeypatch.setattr(suite, "backend", Bare)
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()
    printed = capsys.readouterr().out
    assert [verb for verb in (*OPTIONAL, "gradients") if f" {verb}," in printed] == list(OPTIONAL)
