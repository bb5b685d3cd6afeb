"""The replica that runs in a PyTorch model's place: it computes the same, and nothing of it leads back to the model."""

import collections
import dataclasses
import functools
import gc
import threading
import types
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

import layerscope as ls
from helpers import torchvision_ops
from layerscope.backends.torch import facts
from layerscope.backends.torch.backend import TorchBackend
from layerscope.backends.torch.replica import replicate
from layerscope.backends.torch.tree import modules_of, named_modules_of

torch.set_num_threads(1)
BACKEND = TorchBackend()
IMAGES = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)


class Block(nn.Module):
    """A BatchNorm that a run in training mode would move, behind a convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x))


def wrapped(model, forward):
    """The model with another function in the place of its `forward`."""
    model.forward = forward
    return model


def by_closure():
    model = Block()
    original = model.forward
    return wrapped(model, lambda x: original(x) * 2)


def by_recursion():
    model = Block()

    def forward(x, depth=2):
        return forward(model.norm(model.conv(x)), depth - 1) if depth else x

    return wrapped(model, forward)


def by_partial():
    model = Block()
    return wrapped(model, functools.partial(lambda module, x: module.norm(module.conv(x)), model))


def by_method():
    model = Block()
    return wrapped(model, types.MethodType(lambda self, x: self.norm(self.conv(x)), model))


def by_default():
    model = Block()
    return wrapped(model, lambda x, norm=model.norm, *, conv=model.conv: norm(conv(x)))


def by_cache():
    model = Block()
    model.block = functools.lru_cache(4)(model.norm.forward)
    return wrapped(model, lambda x: model.block(model.conv(x)))


def by_global():
    global GLOBAL_BLOCK
    GLOBAL_BLOCK = Block()
    return wrapped(GLOBAL_BLOCK, lambda x: GLOBAL_BLOCK.norm(GLOBAL_BLOCK.conv(x)))


class Holder:
    """A plain object between the model and its modules."""

    __slots__ = ("__dict__", "norm")

    def __init__(self, model):
        self.norm, self.parts = model.norm, {"conv": [model.conv]}


def by_object():
    model = Block()
    model.holder = Holder(model)
    return wrapped(model, types.MethodType(lambda self, x: self.holder.norm(self.holder.parts["conv"][0](x)), model))


def by_weak_references():
    model = Block()
    model.conv.owner, model.conv.__dict__["proxy"] = weakref.ref(model), weakref.proxy(model)
    return wrapped(model, types.MethodType(lambda self, x: self.conv.owner().norm(self.conv.proxy.conv(x)), model))


def by_named_tuple():
    model = Block()
    model.pair = collections.namedtuple("Pair", "conv norm")(model.conv, model.norm)
    return wrapped(model, types.MethodType(lambda self, x: self.pair.norm(self.pair.conv(x)), model))


class Chosen(nn.Module):
    """A block whose `forward` calls a function."""

    def __init__(self, function=None):
        super().__init__()
        self.block, self.function = Block(), function

    def forward(self, x):
        return self.function(x)


def by_container(wrap):
    """A replaced `forward` in a container that pickles by a way of its own."""
    model = Chosen()
    block, original = model.block, model.block.forward
    block.forward = lambda x: original(x) * 2
    model.__dict__ = {"held": wrap(block), **model.__dict__}  # before the modules
    model.function = types.MethodType(lambda self, x: unwrap(self.held)(x), model)
    return model


def unwrap(held):
    return held if isinstance(held, nn.Module) else held.block if hasattr(held, "block") else held[0]


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    block: nn.Module


class Default(collections.defaultdict):
    pass


def by_deque():
    return by_container(lambda block: collections.deque([block]))


def by_defaultdict():
    return by_container(lambda block: Default(list, {0: block, 1: block.conv.weight * 1}))


def by_frozen_dataclass():
    return by_container(Frozen)


def by_namespace():
    return by_container(lambda block: types.SimpleNamespace(block=block))


def by_interpreter():
    model = Chosen()
    model.function = torch.fx.Interpreter(torch.fx.symbolic_trace(model.block)).run
    model.block = model.function.__self__.module
    return model


class Slotted(nn.Module):
    __slots__ = ("held",)

    def __init__(self):
        super().__init__()
        self.block = Block()
        object.__setattr__(self, "held", [self.block])

    def forward(self, x):
        return self.held[0](x)


class Global(nn.Module):
    """A habit of notebooks: the class uses what was defined before it."""

    def __init__(self):
        super().__init__()
        self.block = GLOBAL_BLOCK

    def forward(self, x):
        return GLOBAL_BLOCK(x)


def by_global_in_class():
    global GLOBAL_BLOCK
    GLOBAL_BLOCK = Block()
    return Global()


def by_closure_in_class():
    block = Block()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x):
            return block(x)

    return Net()


def by_class():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()
            type(self).instance = self

        def forward(self, x):
            return type(self).instance.block(x)

    return Single()


BLOCKS = {}


def by_global_container():
    model = Block()
    BLOCKS["block"] = model
    return wrapped(model, lambda x: (lambda block: block.norm(block.conv(x)))(BLOCKS["block"]))


def by_inner_global():
    model = by_global()
    return wrapped(model, lambda x: [(lambda y: GLOBAL_BLOCK.norm(GLOBAL_BLOCK.conv(y)))(x)][0])


def compiled():
    model = nn.Sequential(Block(), nn.ReLU())
    model[0] = torch.compile(model[0], backend="eager")
    return model


def scripted():
    return nn.Sequential(Block(), torch.jit.script(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())))


def traced():
    return torch.fx.symbolic_trace(Block())


def normed():
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, 3, 3)), parametrizations.weight_norm(nn.Conv2d(3, 3, 3)), nn.BatchNorm2d(3)
    )


def tied():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model[1].weight = model[0].weight
    return model


MODELS = [
    by_closure, by_recursion, by_partial, by_method, by_default, by_cache, by_global, by_object, by_weak_references,
    by_named_tuple, by_deque, by_defaultdict, by_frozen_dataclass, by_namespace, by_interpreter, Slotted, by_global_in_class,
    by_closure_in_class, by_class, by_global_container, by_inner_global, compiled, scripted, traced, normed, tied,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_a_replica_computes_the_same_and_leaves_the_model_alone(build):
    torch.manual_seed(0)
    model = build().train()
    conv = next(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    captured = BACKEND.capture(model, IMAGES, [conv + ":0", ""])
    assert all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[name]), f"{name} has changed"
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(IMAGES.copy()))
    np.testing.assert_allclose(captured[""].values, expected.numpy(), rtol=1e-6, atol=1e-6)
    shared = {id(weight) for weight in replicate(model).parameters()}
    for module in model.modules():  # TorchScript's own copies bring copies of the weights
        if not isinstance(module, torch.jit.ScriptModule):
            assert all(id(weight) in shared for weight in module._parameters.values() if weight is not None)


def test_state_in_attributes_stays_as_it_was():
    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.potential, self.trace, self.count = nn.Conv2d(3, 2, 1), torch.zeros(1), [], {"runs": 0}

        def forward(self, x):
            self.potential.add_(1)
            self.trace.append(float(self.potential))
            self.count["runs"] += 1
            return self.conv(x) * self.potential

    model = Spiking()
    first, second = (BACKEND.capture(model, IMAGES, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.potential == 0 and model.trace == [] and model.count == {"runs": 0}


def test_hooks_of_the_user_run_and_what_they_collect_does_not_grow():
    model, seen = Block(), []

    class Collector:
        def __init__(self):
            self.seen = []

        def __call__(self, module, inputs, output):
            self.seen.append(output)
            return output + 1

    collector = Collector()
    model.conv.register_forward_hook(collector)
    model.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    values = BACKEND.capture(model, IMAGES, ["conv"])["conv"].values
    BACKEND.capture(model, IMAGES, [""])
    assert not seen and not collector.seen
    with torch.no_grad():
        np.testing.assert_array_equal(values, model.conv(torch.from_numpy(IMAGES)).numpy())


def test_buffers_keep_what_they_share():
    class Cache(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)
            self.register_buffer("cache", torch.zeros(2))
            self.register_buffer("head", self.cache[:1])
            self.register_buffer("wide", torch.zeros(1).expand(200_000, 200_000))
            self.weight, self.head.axis = self.conv.weight.detach(), 3

        def forward(self, x):
            self.cache.add_(self.head.axis)
            return self.conv(x) + self.head + self.wide[0, 0]

    model = Cache()
    replica = replicate(model)
    assert replica.weight.data_ptr() == model.conv.weight.data_ptr() and replica.wide.stride() == (0, 0)
    values = BACKEND.capture(model, IMAGES, [""])[""].values
    with torch.no_grad():
        assert model.cache.tolist() == [0, 0]
        np.testing.assert_array_equal(values, model(torch.from_numpy(IMAGES)).numpy())


def test_a_hook_that_removes_itself_stays_on_the_model():
    model, handles = Block(), []

    def once(module, inputs, output):
        handles[0].remove()
        module.handle.remove()
        return output + 1

    handles.append(model.conv.register_forward_hook(once))
    model.conv.handle = model.conv.register_forward_hook(lambda module, inputs, output: output + 1, with_kwargs=False)
    for _ in range(2):
        BACKEND.capture(model, IMAGES, [""])
        assert len(model.conv._forward_hooks) == 2
    replica = replicate(model)
    replica(torch.from_numpy(IMAGES))
    assert not replica.conv._forward_hooks and len(model.conv._forward_hooks) == 2


def test_methods_of_values_are_those_of_the_copies():
    model = Block()
    model.log, model.register_buffer = [], model.register_buffer
    model.register_buffer("runs", torch.zeros(()))
    model.note, model.count = model.log.append, model.runs.add_
    wrapped(model, types.MethodType(lambda self, x: [self.note(1), self.conv(x) + self.count(1)][1], model))
    BACKEND.capture(model, IMAGES, ["conv"])
    assert not model.log and model.runs == 0


class Missing:
    """Known by its identity."""


MISSING = Missing()


def test_what_a_replica_shares():
    class Wrong:
        def __deepcopy__(self, memo):
            return None

    class Link:
        def __init__(self, following):
            self.following = following

    model = Block()
    model.missing, model.wrong, model.chain = MISSING, Wrong(), None
    for _ in range(3000):
        model.chain = Link(model.chain)
    model.many = [[number] for number in range(60_000)]
    replica = replicate(model)
    assert replica.missing is MISSING and replica.wrong is model.wrong and replica.chain is model.chain
    assert (
        replica.many is not model.many and replica.many[0] is not model.many[0] and replica.many[-1] is model.many[-1]
    )
    assert replica.conv is not model.conv


def test_what_cannot_be_copied_is_shared():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lock, self.lines = nn.Conv2d(3, 2, 1), threading.Lock(), (line for line in "ab")
            self.handle, self.dice = Handle(), torch.Generator().manual_seed(1)

        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

        def forward(self, x):
            with self.lock:
                return self.conv(x) + torch.rand(1, generator=self.dice)

    class Handle:
        freed = 0

        def __del__(self):
            Handle.freed += 1

    model = Odd()
    replica = replicate(model)
    assert replica.lock is model.lock and replica.lines is model.lines and replica.handle is model.handle
    first, second = (BACKEND.capture(model, IMAGES, [""])[""].values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    gc.collect()
    assert not Handle.freed and not model.lock.locked()


def test_a_module_that_frees_something_does_so_once():
    freed = []

    class Freeing(nn.Conv2d):
        def __del__(self):
            freed.append(self)

    model = nn.Sequential(Freeing(3, 2, 1))
    assert {layer.path: layer.kind for layer in BACKEND.layers(model, IMAGES)}["0"] == "Freeing"
    BACKEND.capture(model, IMAGES, ["0"])
    gc.collect()
    assert not freed


def test_a_trainer_is_not_copied():
    torchvision_ops.declare()
    import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    model = Module()
    model._trainer = trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    assert replicate(model)._trainer is trainer
    assert BACKEND.capture(model, IMAGES, ["block.conv"])["block.conv"].values.shape == (2, 3, 8, 8)


def test_a_replica_goes_with_its_run():
    model = Block()
    model.conv.register_forward_hook(lambda *_: None)
    gone = weakref.WeakSet()

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = model

        def forward(self, x):
            gone.add(self)
            return self.block(x)

    watching = Watching()
    gc.disable()
    try:
        BACKEND.capture(watching, IMAGES, ["block.conv"])
        BACKEND.capture(watching, IMAGES, ["block.conv"], target=1)
        BACKEND.layers(watching, IMAGES)
        assert not gone
    finally:
        gc.enable()


def test_parameters_are_copied_on_request():
    model = tied()
    replica = replicate(model, own_parameters=True)
    assert replica[0].weight is replica[1].weight
    assert not {id(weight) for weight in replica.parameters()} & {id(weight) for weight in model.parameters()}
    assert len(modules_of(replica)) == len(list(model.modules()))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_exported_program_runs_as_a_replica():
    image = torch.from_numpy(IMAGES[:1])
    program = torch.export.export(Block().eval(), (image,))
    scope = ls.open(torch.export.unflatten(program), preprocess=None)
    before = [len(module._forward_hooks) for module in scope.model.modules()]
    values = scope.capture(IMAGES[:1], "norm")["norm"].values
    np.testing.assert_allclose(values, program.module()(image).detach().permute(0, 2, 3, 1), atol=1e-6)
    assert [len(module._forward_hooks) for module in scope.model.modules()] == before


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_modules_have_torchs_own_names_and_order(build):
    model = build()
    assert named_modules_of(model) == list(model.named_modules())
    tensors = [*model.named_parameters(), *model.named_buffers()]
    assert [text.partition(" ")[0] for text, _ in facts._weights(model)] == [name for name, _ in tensors]
