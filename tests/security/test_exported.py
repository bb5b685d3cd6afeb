"""Exported programs (`.pt2`) whose texts, pickles and names are code: none of it runs without trust, all of it with trust."""

import contextlib
import io
import itertools
import json
import pickle
import shutil
import warnings
import zipfile

import numpy as np
import pytest
import torch

import layerscope as ls
from helpers.canary import Watch
from helpers.wording import raises

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
IMAGES = np.zeros((2, 3, 8, 8), np.float32)
MODEL = "models/model.json"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, x):
        with torch.no_grad():
            x = self.conv(x)
        x = torch.nn.functional.interpolate(x.relu(), scale_factor=2, mode="bilinear")
        return self.head(x.mean((2, 3))) + torch.tensor([1.0, 2, 3, 4, 5])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file of an ordinary program with a free batch axis."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("images", min=1)},)
        torch.export.save(torch.export.export(Net().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=free), path)
    return path


def changed(source, target, **edits):
    """A copy of the archive in which the entries with these endings are what the functions make of them; `None` is left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            for ending, edit in edits.items():
                if entry.filename.endswith(ending):
                    data = edit(data)
            if data is not None:
                new.writestr(entry.filename, data)
    return target


def description(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"net/{MODEL}")


def described(edit):
    """An edit of the program's description, as the JSON that it is."""

    def change(data):
        program = json.loads(data)
        edit(program)
        return json.dumps(program).encode()

    return {MODEL: change}


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def sizes(program):
    return program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]


def node(program, target):
    return next(node for node in program["graph_module"]["graph"]["nodes"] if target in node["target"])


def renamed(program, old, new):
    """The program with another name for a value, wherever it stands."""
    text = json.dumps(program["graph_module"])
    program["graph_module"] = json.loads(text.replace(json.dumps(old), json.dumps(new)))


def in_expression(canary):
    def edit(program):
        sizes(program)[0]["as_expr"]["expr_str"] = canary.code

    return described(edit)


def in_attribute(canary):
    """A walk from a symbol to what Python has loaded, without a name that looks like one."""

    def edit(program):
        code = f"(lambda: 1).__globals__['__builtins__']['exec']({canary.code!r})"
        sizes(program)[0]["as_expr"]["expr_str"] = code

    return described(edit)


def in_argument_name(canary):
    return described(lambda program: renamed(program, "x", f"x={canary.code}"))


def in_called_function(canary):
    """The target of a node is any attribute of torch, which has imported `os`."""

    def edit(program):
        relu = node(program, "relu")
        relu["target"] = "torch.os.system"
        relu["inputs"] = [{"name": "", "arg": {"as_string": f"touch {canary.path}"}, "kind": 1}]

    return described(edit)


def in_written_file(canary):
    """TorchScript's own `save`, which the namespace of torch's operators finds too."""

    def edit(program):
        relu = node(program, "relu")
        relu["target"] = "torch.ops.aten.save.default"
        relu["inputs"][0]["name"] = "item"
        relu["inputs"].append({"name": "filename", "arg": {"as_string": str(canary.path)}, "kind": 1})

    return described(edit)


def in_mapped_file(canary):
    def edit(program):
        relu = node(program, "relu")
        relu["target"] = "torch.ops.aten.from_file.default"
        arguments = {"filename": {"as_string": str(canary.path)}, "shared": {"as_bool": True}, "size": {"as_int": 8}}
        relu["inputs"] = [{"name": name, "arg": arg, "kind": 1} for name, arg in arguments.items()]

    return described(edit)


def in_imported_module(canary):
    """The tree of outputs names an enumeration, whose module is imported."""
    module = canary.path.parents[1] / "hostile_enumeration.py"
    module.write_text(f"{canary.code}\n", "utf-8")
    context = json.dumps([{"__enum__": True, "fqn": "hostile_enumeration:Kind", "name": "A"}])
    leaf = {"type": None, "context": None, "children_spec": []}
    spec = json.dumps([1, {"type": "builtins.dict", "context": context, "children_spec": [leaf]}])

    def edit(program):
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec

    return described(edit)


def in_default_factory(canary):
    module = canary.path.parents[1] / "hostile_factory.py"
    module.write_text(f"{canary.code}\n", "utf-8")
    context = {"default_factory_module": "hostile_factory", "default_factory_name": "int", "dict_context": []}
    spec = json.dumps([1, {"type": "collections.defaultdict", "context": context, "children_spec": []}])

    def edit(program):
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec

    return described(edit)


def in_weight(canary):
    def edit(data):
        config = json.loads(data)
        config["config"]["head.bias"]["use_pickle"] = True
        return json.dumps(config).encode()

    return {"model_weights_config.json": edit, "weights/weight_3": lambda data: saved(canary.pickled())}


def in_opaque_constant(canary):
    def edit(data):
        config = json.loads(data)
        (entry,) = config["config"].values()
        entry.update(path_name="opaque_obj_0", use_pickle=True)
        return json.dumps(config).encode()

    return {"model_constants_config.json": edit, "constants/tensor_0": lambda data: pickle.dumps(canary.pickled())}


ATTACKS = (
    in_expression, in_attribute, in_argument_name, in_mapped_file, in_imported_module, in_default_factory, in_weight,
    in_opaque_constant,
)  # fmt: skip
STOPPED_BY_TORCH = (
    in_called_function,
    in_written_file,
)  # today: its verifier refuses them, or can't convert the argument


@pytest.mark.parametrize("attack", [*ATTACKS, *STOPPED_BY_TORCH])
def test_code_in_an_exported_program_needs_trust(attack, exported, canary, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = changed(exported, tmp_path / "hostile.pt2", **attack(canary))
    if attack is in_opaque_constant:  # the entry has another name, too
        path = renamed_entry(path, "tensor_0", "opaque_obj_0")
    with canary.refused():
        ls.open(path, preprocess=None)
    if attack in ATTACKS:
        with canary.sung(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ls.open(path, preprocess=None, trust=True).predict(IMAGES)


@pytest.mark.parametrize(
    "operator",
    [
        "_reshape_alias.default", "_nested_view_from_buffer.default", "_embedding_bag_forward_only.default", "_print.default",
        "set_.source_Tensor_storage_offset", "resize_.default", "max_pool2d_with_indices_backward.default",
        "segment_reduce.default", "sparse_coo_tensor.indices_size", "fbgemm_linear_int8_weight.default",
    ],
)  # fmt: skip
def test_operators_that_take_places_in_memory_unchecked(operator, exported, canary, tmp_path):
    """They would show what else is in memory, or end the process."""

    def edit(program):
        node(program, "relu")["target"] = f"torch.ops.aten.{operator}"

    with canary.refused():
        ls.open(changed(exported, tmp_path / "hostile.pt2", **described(edit)), preprocess=None)


def test_weights_of_a_few_bytes_and_a_large_shape(exported, tmp_path, monkeypatch):
    def edit(data):
        config = json.loads(data)
        meta = config["config"]["head.bias"]["tensor_meta"]
        meta.update(sizes=[{"as_int": 10**10}], strides=[{"as_int": 0}])
        return json.dumps(config).encode()

    monkeypatch.setenv("LAYERSCOPE_MAX_MEMORY", "4GB")
    with raises(ls.ModelNotReadable, "40.0 GB"):
        ls.open(changed(exported, tmp_path / "wide.pt2", **{"model_weights_config.json": edit}), preprocess=None)


def renamed_entry(path, old, new):
    target = path.with_name("renamed.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for entry in source.infolist():
            archive.writestr(entry.filename.replace(old, new), source.read(entry))
    return target


@pytest.mark.parametrize("where", ["sample_inputs/model.pt", "weights/model.pt"])
def test_a_pickle_beside_the_weights(where, exported, canary, tmp_path):
    """Sample inputs aren't read; weights of an earlier version's form are read as tensors alone."""
    path = shutil.copy(exported, tmp_path / "hostile.pt2")
    if "sample" in where:
        changed(exported, path, **{where: lambda data: saved(canary.pickled())})
        with Watch():
            assert ls.open(path, preprocess=None).predict(IMAGES)
        assert not canary.sings
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"net/data/{where}", saved(canary.pickled()))
        with canary.refused():
            ls.open(path, preprocess=None)
    with canary.sung():
        ls.open(path, preprocess=None, trust=True)


def test_a_program_in_the_form_of_torch_2_7(exported, canary, tmp_path):
    """The same with everything in pickles, which are read as tensors alone."""
    program = torch.export.load(exported)
    parts = {
        "version": b"8.8",
        "serialized_exported_program.json": description(exported),
        "serialized_state_dict.pt": saved(dict(program.state_dict)),
        "serialized_constants.pt": saved(dict(program.constants)),
        "serialized_example_inputs.pt": saved(((torch.zeros(2, 3, 8, 8),), {})),
    }
    for hostile in (False, True):
        path = tmp_path / f"old-{hostile}.pt2"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, saved(canary.pickled()) if hostile and "state" in name else data)
        if hostile:
            with canary.refused():
                ls.open(path, preprocess=None)
            with canary.sung():
                ls.open(path, preprocess=None, trust=True)
        else:
            assert ls.open(path, preprocess=None).predict(IMAGES)


def test_checks_of_the_inputs_are_left_out(exported, canary, tmp_path):
    """`guards_code` is Python."""

    def edit(program):
        program["guards_code"] = [canary.code]

    path = changed(exported, tmp_path / "hostile.pt2", **described(edit))
    assert ls.open(path, preprocess=None).predict(IMAGES)
    assert not canary.sings


def test_an_ordinary_program_needs_no_trust(exported, sealed):
    """A free axis, a part without gradients, a constant, an option in words: values as torch's own reader gives them."""
    mine, theirs = ls.open(exported, preprocess=None), ls.open(exported, preprocess=None, trust=True)
    assert mine.facts.digest == theirs.facts.digest
    assert mine.facts.inputs == theirs.facts.inputs
    assert [layer.path for layer in mine.layers(IMAGES)] == [layer.path for layer in theirs.layers(IMAGES)]
    np.testing.assert_array_equal(mine.predict(IMAGES), theirs.predict(IMAGES))


def values(value, where=()):
    """The path of every value in JSON."""
    yield where
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from values(part, (*where, key))


PAYLOADS = ("{code}", "{text}={code}", "{text}, y={code}", "{text}\n    {code}\n", "{text}) + ({code}", "{{{code}}}")
MAPPINGS = {"tensor_values", "range_constraints", "opset_version", "metadata", "sym_int_values"}


def test_no_text_of_the_description_is_evaluated(exported, canary, tmp_path):
    """Code in the place of each kind of text, and of each key of a mapping: whatever happens, it doesn't run."""
    text, seen, payloads = description(exported), set(), itertools.cycle(PAYLOADS)
    for place in values(json.loads(text)):
        program = json.loads(text)
        parent = program
        for key in place[:-1]:
            parent = parent[key]
        kind = tuple("#" if isinstance(key, int) else key for key in place)
        key = bool(MAPPINGS & set(place[-2:-1]))
        if not place or (kind[-4:], key) in seen or not (key or isinstance(parent[place[-1]], str)):
            continue
        seen.add((kind[-4:], key))
        if key:
            parent[next(payloads).format(text=place[-1], code=canary.code)] = parent.pop(place[-1])
        else:
            parent[place[-1]] = next(payloads).format(text=parent[place[-1]], code=canary.code)
        opened(changed(exported, tmp_path / "hostile.pt2", **{MODEL: lambda data, it=program: json.dumps(it).encode()}))
        assert not canary.sings, place
    assert len(seen) > 40


def opened(path):
    with contextlib.suppress(ls.LayerscopeError), Watch():
        ls.open(path, preprocess=None).predict(IMAGES)


@pytest.mark.parametrize("junk", [None, 7, "x y(", [], {}, ["a"], {"as_tensor": "x"}, 10**30, True], ids=repr)
def test_a_damaged_description_is_one_named_error(junk, exported, tmp_path):
    """Each value of the description in turn is something else: a named error, or a program."""
    text = description(exported)
    rng, places = np.random.default_rng(0), list(values(json.loads(text)))[1:]
    for place in (places[index] for index in rng.choice(len(places), 8, replace=False)):
        program = json.loads(text)
        parent = program
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = junk
        path = changed(
            exported, tmp_path / "damaged.pt2", **{MODEL: lambda data, program=program: json.dumps(program).encode()}
        )
        with contextlib.suppress(ls.ModelNotReadable):
            ls.open(path, preprocess=None)


class Odd(torch.nn.Module):
    """Names with hyphens, sizes that are computed, outputs in a mapping, options in words, a buffer that shares its memory."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.Sequential()
        self.blocks.add_module("block-0", torch.nn.Conv2d(3, 4, 1))
        self.register_buffer("ids", torch.arange(8).expand(4, 8))

    def forward(self, x):
        x = torch.nn.functional.gelu(self.blocks(x), approximate="tanh")
        height, width = x.shape[-2:]
        x = torch.nn.functional.interpolate(x, size=(height // 2 * 2 + 1, width * 2), mode="bilinear")
        x = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        with torch.autocast("cpu", torch.bfloat16):
            x = torch.nn.functional.conv2d(x, self.blocks[0].weight.repeat(1, 2, 1, 1)[:, :4])
        return {"map": x, "rest": [x.mean() + self.ids.sum() + float("-inf")]}


def test_odd_programs_need_no_trust_either(tmp_path, sealed):
    free = {0: torch.export.Dim("images"), 2: torch.export.Dim("height", min=4, max=64)}
    images = torch.rand(2, 3, 8, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Odd().eval(), (images,), dynamic_shapes=(free,)), tmp_path / "odd.pt2")
    mine, theirs = (ls.open(tmp_path / "odd.pt2", preprocess=None, trust=trust).model for trust in (False, True))
    for batch in (images, torch.rand(3, 3, 12, 6)):
        (first, rest), (other, others) = mine(batch).values(), theirs(batch).values()
        assert torch.equal(first, other) and torch.equal(rest[0], others[0])


@pytest.mark.parametrize(
    "expression",
    [
        "Pow(Integer(10), Integer(999999999))",
        "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
        "Integer(9)**Integer(9)**Integer(9)",
        "Symbol('s77').__class__",
        "Symbol('__import__')",
        "Function('exec')",
        "s77(1)",
        "lambda: 1",
        "[s77 for s77 in (1,)]",
        "Max(" * 200 + "1" + ")" * 200,
        "1e999",
    ],
    ids=lambda text: text[:30],
)
def test_expressions_that_are_no_plain_arithmetic(expression, exported, tmp_path):
    def edit(program):
        sizes(program)[0]["as_expr"]["expr_str"] = expression

    with pytest.raises(ls.ModelNotReadable, match=r"hostile\.pt2"), Watch():
        ls.open(changed(exported, tmp_path / "hostile.pt2", **described(edit)), preprocess=None)
