"""Folders of transformers that name code, other packages and models, and files elsewhere; the network and stdin are watched."""

import contextlib
import json
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

import layerscope as ls
from helpers import canary as canaries
from helpers import torchvision_ops  # noqa: F401  # before timm, which imports torchvision
from helpers.canary import SECRET, Watch
from helpers.wording import raises

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32, "patch_size": 16,
    "image_size": 64,
}  # fmt: skip
IMAGES = np.zeros((1, 3, 64, 64), np.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An ordinary folder: a ViT with its image processor."""
    folder = tmp_path_factory.mktemp("plain")
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(**SIZES)).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "model")


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


CODE = """
{canary}
import torch
from transformers import PreTrainedConfig, PreTrainedModel

class Config(PreTrainedConfig):
    model_type = "hostile"

class Model(PreTrainedModel):
    config_class = Config
    def __init__(self, config):
        super().__init__(config)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.post_init()
    def forward(self, pixel_values):
        return self.conv(pixel_values)
"""
NAMES = {"AutoConfig": "hostile.Config", "AutoModel": "hostile.Model", "AutoImageProcessor": "hostile.Model"}


def with_code(folder, canary, **fields):
    (folder / "hostile.py").write_text(CODE.format(canary=canary.code), "utf-8")
    change(folder / "config.json", auto_map=NAMES, **fields)


def test_a_folder_with_code_of_its_own_needs_trust(folder, canary, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    with_code(folder, canary, model_type="hostile", architectures=["Model"])
    (folder / "model.safetensors").unlink()
    with canary.refused():
        ls.open(f"hf:{folder}")
    with pytest.warns(ls.RandomWeights):
        scope = ls.open(f"hf:{folder}", preprocess=None, trust=True)
    assert canary.sings
    assert type(scope.model).__name__ == "Model"
    assert [layer.path for layer in scope.layers(IMAGES)]


def test_a_class_of_transformers_is_taken_where_the_folder_has_one_too(folder, canary):
    with_code(folder, canary)
    change(folder / "preprocessor_config.json", auto_map=NAMES)
    with Watch():
        scope = ls.open(f"hf:{folder}")
        assert type(scope.model) is transformers.ViTModel
        scope.layers(IMAGES if not scope.plan.known else ls.demo_photo())
    assert not canary.sings


@pytest.mark.parametrize("name", ["AutoTokenizer", "AutoModelForCausalLM", "AutoImageProcessor", "pipeline"])
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json", "config.json"])
def test_an_image_processor_of_another_kind_is_not_made(file, name, folder, canary):
    """transformers takes any name of its own for the class, and a tokenizer then asks whether code may run."""
    with_code(folder, canary)
    code = {"auto_map": {name: ["hostile.Model", None]}, "tokenizer_class": "Model"}
    (folder / "tokenizer_config.json").write_text(json.dumps(code), "utf-8")
    (folder / "preprocessor_config.json").unlink()
    (folder / file).touch()
    entry = {"image_processor_type": name}
    change_or_write(folder / file, {"image_processor": entry} if file == "processor_config.json" else entry)
    with Watch(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.errors.LayerscopeWarning)
        ls.open(f"hf:{folder}")
    assert not canary.sings


def change_or_write(path, fields):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8") or "{}"), **fields}), "utf-8")


@pytest.mark.slow
def test_nothing_is_asked_and_no_socket_opened(folder, canary):
    """In a process of its own, whose stdin says "y" to everything."""
    with_code(folder, canary, model_type="hostile")
    script = f"import layerscope as ls; ls.open({f'hf:{folder}'!r})"
    said, events = canaries.run(script)
    assert said.startswith("TrustRequired") and not events and not canary.sings


KERNELS = {
    "attn_implementation": "nobody/kernels",
    "_attn_implementation": "nobody/kernels:attention",
    "_attn_implementation_internal": "nobody/kernels",
    "experts_implementation": "nobody/kernels",
}


@pytest.mark.parametrize("key", KERNELS)
def test_kernels_that_a_configuration_names_are_left_out(key, folder, plain):
    change(folder / "config.json", **{key: KERNELS[key]})
    with Watch():
        scope = ls.open(f"hf:{folder}", preprocess=None)
    expected = ls.open(f"hf:{plain}", preprocess=None)
    np.testing.assert_array_equal(
        scope.capture(IMAGES, "layernorm")["layernorm"].values,
        expected.capture(IMAGES, "layernorm")["layernorm"].values,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"vision_config": {"quantization_config": {"quant_method": "gptq"}}},
        {"kernel_config": {"RMSNorm": "nobody/kernels:RMSNorm"}},
        {"use_kernels": True},
        {"fusion_config": {"patch_embedding": True}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_packages_that_a_configuration_names_need_trust(fields, folder, canary):
    change(folder / "config.json", **fields)
    with canary.refused():
        ls.open(f"hf:{folder}")


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "timm_wrapper", "architecture": "hf-hub:nobody/model", "architectures": ["TimmWrapperModel"]},
        {"model_type": "timm_wrapper", "architecture": "local-dir:/nowhere", "architectures": ["TimmWrapperModel"]},
        {"model_type": "timm_wrapper", "architecture": "resnet10t", "model_args": {"checkpoint_path": "secret.pth"}},
        {"model_type": "timm_wrapper", "architecture": "resnet10t", "model_args": {"pretrained": True}},
        {"model_type": "timm_backbone", "backbone": "hf-hub:nobody/model"},
        {"model_type": "detr", "backbone": "nobody/model", "use_timm_backbone": False, "backbone_config": None},
        {"model_type": "detr", "backbone": "resnet10t", "backbone_kwargs": {"pretrained_cfg": {"file": "secret"}}},
        {"transformers_weights": "../../secret/model.safetensors"},
    ],
    ids=lambda fields: f"{fields.get('model_type', 'vit')} {list(fields.values())[-1]!r:.40}",
)
def test_other_models_that_a_configuration_names_are_refused(fields, folder):
    change(folder / "config.json", **fields)
    with raises(ls.ModelNotReadable, "config.json"), Watch():
        ls.open(f"hf:{folder}")


def secret_weights(canary, plain):
    from safetensors.torch import load_file, save_file

    state = {name: torch.full_like(tensor, SECRET) for name, tensor in load_file(plain / "model.safetensors").items()}
    save_file(state, canary.secret / "model.safetensors", {"format": "pt"})
    return canary.secret / "model.safetensors"


@pytest.mark.parametrize("way", ["index", "link"])
def test_weights_outside_the_folder_are_refused(way, folder, canary, plain):
    secret = secret_weights(canary, plain)
    names = transformers.ViTModel(transformers.ViTConfig(**SIZES)).state_dict()
    weights = folder / "model.safetensors"
    weights.unlink()
    if way == "link":
        weights.symlink_to(secret)
    else:
        shards = {"metadata": {}, "weight_map": dict.fromkeys(names, os.path.relpath(secret, folder))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(shards), "utf-8")
    with raises(ls.ModelNotReadable, "outside"), Watch():
        ls.open(f"hf:{folder}")


def test_pickled_weights_are_read_as_tensors_alone(folder, canary):
    state = transformers.ViTModel.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with Watch():
        scope = ls.open(f"hf:{folder}", preprocess=None)
    assert all(torch.equal(value, state[name]) for name, value in scope.model.state_dict().items())
    torch.save({**state, "more": canary.pickled()}, folder / "pytorch_model.bin")
    with canary.refused(ls.ModelNotReadable):
        ls.open(f"hf:{folder}", preprocess=None)


def test_adapters_and_pickled_indices_need_trust(folder, canary):
    adapter = {"base_model_name_or_path": "nobody/model", "auto_mapping": {"parent_library": "hostile"}}
    (folder / "adapter_config.json").write_text(json.dumps(adapter), "utf-8")
    with canary.refused():
        ls.open(f"hf:{folder}")
    (folder / "adapter_config.json").unlink()
    (folder / ".metadata").write_bytes(pickle.dumps(canary.pickled()))
    shutil.copy(folder / "model.safetensors", folder / "shard-00001-model-00001-of-00001.safetensors")
    with canary.refused():
        ls.open(f"hf:{folder}")


def test_names_stay_on_this_machine(sealed, tmp_path, monkeypatch, plain):
    """A name is looked up in the cache, and a model object's own name as well."""
    with raises(ls.ModelNotReadable, "nobody/nothing"):
        ls.open("hf:nobody/nothing")
    for name in ("hf:../..//x", "hf:a\0b", f"hf:{'x' * 5000}", "hf:a/b/c/d"):
        with pytest.raises(ls.ModelNotReadable):
            ls.open(name)
    model = transformers.ViTModel.from_pretrained(plain)
    model.config._name_or_path = "nobody/nothing"
    assert not ls.open(model).plan.known
    snapshot = tmp_path / "models--some--body" / "snapshots" / ("0" * 40)
    shutil.copytree(plain, snapshot)
    (tmp_path / "models--some--body" / "refs").mkdir()
    (tmp_path / "models--some--body" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert ls.open("hf:some/body").plan.known


def test_other_threads_may_go_on_downloading():
    from huggingface_hub import constants

    from layerscope.backends.torch.offline import offline

    with offline():
        assert constants.is_offline_mode()
    assert not constants.is_offline_mode()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "half", "no mapping", "deep", "binary"])
def test_damage_is_one_named_error(file, damage, folder):
    path = folder / file
    data = path.read_bytes()
    texts = {
        "empty": b"",
        "half": data[: len(data) // 2],
        "no mapping": b"[1]",
        "deep": b"[" * 100_000,
        "binary": bytes(range(256)) * 9,
    }
    path.write_bytes(texts[damage])
    with raises(ls.ModelNotReadable), Watch():
        ls.open(f"hf:{folder}")


@pytest.mark.parametrize(
    "fields",
    [{"hidden_size": "x"}, {"architectures": [7]}, {"architectures": ["pipeline"]}, {"architectures": "ViTModel"},
     {"model_type": 3}, {"dtype": "hub"}, {"num_attention_heads": 0}, {"id2label": 5}, {"image_size": None}],
    ids=repr,
)  # fmt: skip
def test_odd_configurations_are_named_errors_or_models(fields, folder):
    change(folder / "config.json", **fields)
    with contextlib.suppress(ls.ModelNotReadable):
        ls.open(f"hf:{folder}")


def test_a_pipe_in_the_folder_is_not_waited_for(folder):
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with raises(ls.ModelNotReadable, "pipe"):
            ls.open(f"hf:{folder}")


def test_names_of_other_libraries_stay_on_this_machine(sealed):
    with pytest.warns(ls.RandomWeights):
        ls.open("torchvision:resnet18")
    with pytest.warns(ls.RandomWeights):
        ls.open("timm:resnet10t")
    for name in ("timm:hf-hub:nobody/model", "timm:hf_hub:nobody/model", "timm:local-dir:/nowhere", "torchvision:../x"):
        with pytest.raises(ls.ModelNotReadable):
            ls.open(name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json", "other"])
def test_links_that_lead_nowhere_are_named(name, folder):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / name)
    with pytest.raises(ls.ModelNotReadable, match="model"):
        ls.open(f"hf:{folder}")


@pytest.mark.parametrize(
    "key", ["size", "resample", "rescale_factor", "image_mean", "do_resize", "image_processor_type"]
)
def test_odd_image_processors_leave_the_preprocessing_unknown(key, folder):
    """Or are a named error of the recipe that they would make."""
    config = (folder / "preprocessor_config.json").read_text("utf-8")
    for junk in (None, -1, "x", [], {}, ["a"], {"a": 1}, 10**6):
        (folder / "preprocessor_config.json").write_text(json.dumps({**json.loads(config), key: junk}), "utf-8")
        with contextlib.suppress(ls.PreprocessUnknown), Watch():
            ls.open(f"hf:{folder}")
