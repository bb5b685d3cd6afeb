"""PyTorch: one model in several threads. Captures are right, and the other threads see no hook, flag, stop or random number."""

import asyncio
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import layerscope as ls
from helpers.shared import SharedList
from layerscope.backends.torch import isolation
from layerscope.backends.torch.backend import TorchBackend

torch.set_num_threads(1)
BACKEND = TorchBackend()


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads change places between nearly all instructions, which they do once in 5 ms else."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


class Net(nn.Module):
    """Convolutions, BatchNorm, Dropout, a function and a module that is called twice; it keeps a count of its runs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm, self.act = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.drop, self.conv2, self.head = nn.Dropout(0.5), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)
        self.register_buffer("runs", torch.zeros(()))
        self.seen = 0

    def forward(self, x):
        self.runs += 1
        self.seen += 1
        x = self.act(self.norm(self.conv1(x)))
        x = self.drop(x + self.act(self.conv2(x)))
        return self.head(x.mean((2, 3)))


PATHS = ["conv1", "act:0", "act:1", "add()", "head"]


def images(count=2, size=12, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype(np.float32)


def flags(model):
    """What another thread may notice of a capture."""
    return [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]


class Worker(threading.Thread):
    """Calls `step` until it is stopped, and keeps what was raised."""

    def __init__(self, step):
        super().__init__(daemon=True)
        self.step, self.done, self.steps, self.error = step, threading.Event(), 0, None

    def run(self):
        try:
            while not self.done.is_set():
                self.step()
                self.steps += 1
        except BaseException as error:
            self.error = error


@contextmanager
def beside(step):
    """Around work beside a thread that calls `step` all the time; what it raises is raised here."""
    worker = Worker(step)
    worker.start()
    try:
        while not worker.steps and worker.error is None:
            time.sleep(1e-3)
        yield worker
    finally:
        worker.done.set()
        worker.join(30)
    if worker.error is not None:
        raise worker.error


def same(captures, expected):
    assert list(captures) == list(expected)
    for path, captured in captures.items():
        np.testing.assert_array_equal(captured.values, expected[path].values)
        if captured.gradient is not None:
            np.testing.assert_array_equal(captured.gradient, expected[path].gradient)


@pytest.mark.parametrize("target", [None, 1])
def test_eight_threads_capture_from_one_model(target):
    model, batches = Net().train(), [images(seed=seed) for seed in range(4)]
    expected = [BACKEND.capture(model, batch, PATHS, target=target) for batch in batches]
    before = flags(model)

    def work(number):
        for step in range(6):
            index = (number + step) % len(batches)
            same(BACKEND.capture(model, batches[index], PATHS, target=target), expected[index])
        BACKEND.layers(model, batches[0])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert flags(model) == before and model.seen == 0 and model.runs == 0
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("training", [False, True])
def test_a_thread_that_runs_the_model_notices_nothing(training):
    model = Net().train(training)
    model.drop.eval()
    batch, before = torch.from_numpy(images(seed=5)), flags(model)
    with torch.no_grad():
        answer = model(batch)
    expected = BACKEND.capture(model, images(), PATHS), BACKEND.capture(model, images(), PATHS, target=2)

    def infer():
        with torch.no_grad():
            assert torch.equal(model(batch), answer)
        for _ in range(20):
            assert flags(model) == before

    if training:  # BatchNorm takes the batch's own statistics then, and the running ones move
        model.norm.momentum = 0.0
        expected = BACKEND.capture(model, images(), PATHS), BACKEND.capture(model, images(), PATHS, target=2)
    with beside(infer) as worker:
        while worker.steps < 60 and worker.error is None:
            same(BACKEND.capture(model, images(), PATHS), expected[0])
            same(BACKEND.capture(model, images(), PATHS, target=2), expected[1])
            BACKEND.layers(model, images())
    assert model.seen == worker.steps + 1


class Chain(nn.Module):
    """Three weights that are equal between two steps of its training, and only then."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(256, 256, bias=False) for _ in range(3))
        for layer in self.children():
            nn.init.ones_(layer.weight)

    def forward(self, x):
        return self.third(self.second(self.first(x)))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("target", [None, 0])
def test_a_capture_beside_a_training_sees_the_weights_between_two_steps(foreach, target):
    model = Chain().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, foreach=foreach)
    batch = np.full((1, 256), 1 / 256, np.float32)

    def train():
        assert all(module.training for module in model.modules())
        for weight in model.parameters():
            weight.grad = torch.full_like(weight, -1.0 if weight[0, 0] < 8 else 7.0)
        optimizer.step()
        time.sleep(3e-3)  # the forward and backward pass

    seen = set()
    with beside(train) as worker:
        while worker.steps < 200 and worker.error is None:
            captures = BACKEND.capture(model, batch, ["first", "second", "third"], target=target)
            one, two, three = (float(captures[path].values[0, 0]) / 256**step for step, path in enumerate(captures))
            assert two == one**2 and three == one**3, "weights of different steps"
            if target is not None:
                assert captures["first"].gradient[0, 0] == one * one * 256
            seen.add(one)
    assert len(seen) > 1, "the weights never changed"


def by_fused_optimizer(model, value):
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, weight.detach()[0, 0].item() - value)
    torch.optim.SGD(model.parameters(), lr=1.0, fused=True).step()


def by_closure(model, value):
    """As Lightning does: forward and backward run inside the step."""

    def closure():
        for _ in range(20):
            loss = model(torch.ones(1, 256)).sum()
        loss.backward()
        for weight in model.parameters():
            weight.grad.fill_(weight.detach()[0, 0].item() - value)

    torch.optim.SGD(model.parameters(), lr=1.0).step(closure)


def by_state_dict(model, value):
    model.load_state_dict({name: torch.full_like(weight, value) for name, weight in model.state_dict().items()})


def by_assignment(model, value):
    model.load_state_dict({name: torch.full((256, 256), value) for name in model.state_dict()}, assign=True)


def by_type(model, value):
    model.double() if value % 2 else model.float()


@pytest.mark.parametrize("change", [by_fused_optimizer, by_closure, by_state_dict, by_assignment, by_type])
def test_a_capture_sees_one_moment_of_weights_that_change_by_other_ways(change):
    model, batch, values = Chain(), np.full((1, 256), 1 / 256, np.float32), itertools.cycle(map(float, range(1, 64)))

    def step():
        change(model, next(values))
        time.sleep(2e-3)

    with beside(step) as worker:
        while worker.steps < 100 and worker.error is None:
            captures = BACKEND.capture(model, batch, ["first", "second", "third"])
            one, two, three = (float(captures[path].values[0, 0]) / 256**step for step, path in enumerate(captures))
            # Of two moments they would differ by a sixty-third at least; sums of 25 bits are rounded as the processor adds.
            assert (two, three) == pytest.approx((one**2, one**3), rel=1e-5), "weights of different moments"


def test_another_thread_may_add_modules():
    model = Net()

    def step():
        model.add_module("extra", nn.Identity())
        del model.extra

    with beside(step) as worker:
        while worker.steps < 2000 and worker.error is None:
            BACKEND.capture(model, images(), ["conv2"])


def test_torch_compile_is_eager_in_the_thread_that_captures_alone():
    import torch._dynamo.eval_frame as dynamo

    stance, compiled = dynamo._stance, torch.compile(lambda x: x + 1, backend="eager", fullgraph=True)

    class Watching(Net):
        def forward(self, x):
            assert dynamo._stance.stance == "force_eager"
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(lambda: dynamo._stance.stance).result() == "default"
                assert thread.submit(compiled, torch.ones(1)).result() == 2
            return super().forward(x)

    BACKEND.capture(Watching(), images(), PATHS)
    assert dynamo._stance is stance


@pytest.mark.limit("weights that change faster than they can be copied")
def test_weights_that_never_stand_still_are_refused(limit, monkeypatch):
    model = Chain()
    replicate = isolation.replicate

    def changed_meanwhile(model, own_parameters=False):
        with torch.no_grad():
            model.first.weight.add_(1)
        return replicate(model, own_parameters)

    monkeypatch.setattr(isolation, "replicate", changed_meanwhile)
    monkeypatch.setattr(isolation, "ATTEMPTS", 3)
    with limit.raises("weights"):
        BACKEND.capture(model, np.zeros((1, 256), np.float32), ["first"])


def test_a_model_that_writes_its_own_weights_is_captured():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            with torch.no_grad():
                self.conv.weight.clamp_(-0.1, 0.1)
            return self.conv(x)

    model, batch = Writing(), images()
    for _ in range(2):
        captured = BACKEND.capture(model, batch, ["conv"])["conv"].values
    with torch.no_grad():
        np.testing.assert_array_equal(captured, model(torch.from_numpy(batch)).numpy())


def test_random_numbers_of_another_thread_are_its_own():
    model, states = Net().train(), []
    torch.manual_seed(3)
    expected = torch.rand(4000)
    torch.manual_seed(3)
    drawn = []
    with beside(lambda: drawn.append(torch.rand(1))) as worker:
        while worker.steps < 1000 and worker.error is None:
            BACKEND.capture(model, images(), ["head"])
            states.append(torch.get_rng_state())
    torch.testing.assert_close(torch.cat(drawn)[:1000], expected[:1000], rtol=0, atol=0)


def test_a_model_that_draws_leaves_no_trace_beside_an_idle_thread():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.conv(x) + torch.randn(1)

    model = Noisy()
    with beside(lambda: time.sleep(1e-3)):
        before = torch.get_rng_state()
        BACKEND.capture(model, images(), [""])
        assert torch.equal(torch.get_rng_state(), before)


def test_tasks_and_an_open_stream_run_beside_each_other():
    model = Net().train()
    scope = ls.open(model, preprocess=None)
    expected = scope.capture(images(8), "conv2")["conv2"].values
    before = flags(model)

    async def capture():
        return await asyncio.to_thread(lambda: scope.capture(images(8), "conv2")["conv2"].values)

    async def work():
        pieces = scope.stream(images(8), "conv2", batch=2)
        streamed = [next(pieces)["conv2"].values]
        assert flags(model) == before
        answers = await asyncio.gather(*(capture() for _ in range(4)))
        streamed += [maps["conv2"].values for maps in pieces]
        return answers, np.concatenate(streamed)

    answers, streamed = asyncio.run(work())
    for values in (*answers, streamed):
        np.testing.assert_array_equal(values, expected)
    assert flags(model) == before


def test_compiled_parts_run_eagerly_only_while_a_capture_runs():
    import torch._dynamo.eval_frame as dynamo

    model, stance = Net().eval(), dynamo._stance
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: BACKEND.capture(model, images(), PATHS), range(16)))
    assert dynamo._stance == stance


def test_a_thread_that_begins_during_a_capture_is_no_change():
    model, threads = Net(), SharedList()

    class Starting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            threads.append(Worker(lambda: time.sleep(1e-3)))
            threads[-1].start()
            return self.net(x)

    starting, runs = Starting(), SharedList()
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        BACKEND.layers(starting, images())
        runs.clear()
        BACKEND.capture(starting, images(), ["net.head"])
    finally:
        for thread in threads:
            thread.done.set()
            thread.join(30)
    assert len(runs) == 1 and not isolation.CHANGING.get(starting)


def test_weights_are_shared_again_once_a_training_has_ended():
    model, batch = Chain(), np.full((1, 256), 1 / 256, np.float32)
    isolation.CHANGING.set(model, True)
    BACKEND.capture(model, batch, ["first"])
    assert not isolation.CHANGING.get(model)
