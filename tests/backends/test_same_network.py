"""The same random network in PyTorch, Keras and ONNX gives the same map of every layer, and the same gradients."""

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, event, given, settings

import layerscope as ls
from helpers import networks_keras, networks_onnx, networks_torch
from helpers.networks import networks, paths

torch.set_num_threads(1)
IMAGES = np.random.default_rng(3).standard_normal((2, 12, 12, 3)).astype(np.float32)
# A failing network is shown as found: looking for a smaller one would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def onnx_paths(steps):
    """ONNX has no layer that is called twice: the calls of the shared activation are nodes of their own."""
    return [path.replace("act:", "act_") if "act:" in path else path.removesuffix(":0") for path in paths(steps, "/")]


def captured(model, batch, expected, **options):
    """The maps in the order of `wanted`; a layer that runs once comes under its plain path."""
    maps = ls.open(model, preprocess=None).capture(batch, expected, **options)
    assert len(maps) == len(expected)
    return [maps[path if path in maps else path.rpartition(":")[0]] for path in expected]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(networks())
def test_every_layer_has_the_same_map_in_all_three(steps):
    first = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    torch_maps = captured(networks_torch.build(steps), first, paths(steps, "."))
    others = {
        "keras": captured(networks_keras.build(steps), IMAGES, paths(steps, "/")),
        "onnx": captured(networks_onnx.build(steps), first, onnx_paths(steps)),
    }
    for framework, captures in others.items():
        for path, torch_capture, other in zip(paths(steps, "/"), torch_maps, captures, strict=True):
            assert torch_capture.shape == other.shape, (path, framework)
            scale = max(1.0, float(np.abs(torch_capture.values).max()))
            np.testing.assert_allclose(
                other.values, torch_capture.values, rtol=1e-4, atol=1e-5 * scale, err_msg=f"{path} in {framework}"
            )
    for kind in sorted({path.rpartition("/")[2].rstrip("0123456789:") for path in paths(steps, "/")}):
        event(kind)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(networks())
def test_every_layer_has_the_same_gradient_in_torch_and_keras(steps):
    first = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    ours = captured(networks_torch.build(steps), first, paths(steps, "."), target=1)
    others = captured(networks_keras.build(steps), IMAGES, paths(steps, "/"), target=1)
    for path, torch_capture, other in zip(paths(steps, "/"), ours, others, strict=True):
        scale = max(1e-3, float(np.abs(torch_capture.gradient).max()))
        np.testing.assert_allclose(other.gradient, torch_capture.gradient, rtol=1e-3, atol=1e-4 * scale, err_msg=path)
