"""A file of a role has the same functions, with the same parameters, in the package of each framework."""

import ast
from pathlib import Path

import pytest

BACKENDS = Path(__file__).parents[2] / "src" / "layerscope" / "backends"
FRAMEWORKS = ("torch", "keras", "jax", "onnx", "tflite")  # tf_keras shares the files of keras

EVERYWHERE = ("backend", "axes", "field", "facts", "table", "capture", "weights", "activation")
FUNCTIONS = {
    "facts": {"facts": "model", "digest": "model"},
    "table": {"layers": "model batch"},
    "capture": {"capture": "model batch paths target"},
    "weights": {"head": "model batch", "kernel": "model path batch"},
    "activation": {"activation": "model batch"},
    "evidence": {"evidence": "model batch"},
    "target": {"scores": "model batch target changes"},
    "load": {"load": "source weights trust"},
    "axes": {"Axes.letters": "output"},
    "outputs": {"parts_of": "output", "main_part": "parts", "as_captured": "value"},
    "names": {"addresses": "graph indices"},
    "run": {"Session.run": "feeds"},
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework_has_the_files_of_the_roles(framework):
    names = {path.stem for path in (BACKENDS / framework).glob("*.py")}
    assert set(EVERYWHERE) <= names


def roles():
    """(file, its functions) of each role that a framework has."""
    for framework in (*FRAMEWORKS, "tf_keras"):
        for role, functions in FUNCTIONS.items():
            if (BACKENDS / framework / f"{role}.py").exists():
                yield pytest.param(f"{framework}/{role}", functions, id=f"{framework}-{role}")


@pytest.mark.parametrize(("name", "functions"), [*roles()])
def test_a_role_has_the_same_functions_everywhere(name, functions):
    tree = ast.parse((BACKENDS / f"{name}.py").read_text("utf-8"))
    for function, parameters in functions.items():
        own, further = signature(tree, function)
        expected = parameters.split()
        assert own[: len(expected)] == expected, f"{function}({', '.join(own)})"
        assert not further - set(own[: len(expected)]), f"{function}: further parameters need defaults"


def inherited(node):
    """The body of the class that the backends of graph files share, where a class is derived from one."""
    bases = {base.value if isinstance(base, ast.Subscript) else base for base in node.bases}
    names = {base.attr if isinstance(base, ast.Attribute) else base.id for base in bases}
    for path in (BACKENDS / "graph").glob("*.py"):
        for other in ast.parse(path.read_text("utf-8")).body:
            if isinstance(other, ast.ClassDef) and other.name in names:
                yield from other.body


def signature(tree, name):
    """(the names of the parameters of a function or of `Class.method`, those without a default)."""
    body = tree.body
    for part in name.split("."):
        nodes = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part]
        assert nodes, f"no {name}"
        (node,) = nodes
        body = [*node.body, *inherited(node)] if isinstance(node, ast.ClassDef) else node.body
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    required = set(positional[: len(positional) - len(arguments.defaults)])
    required |= {
        argument.arg
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    }
    if "." in name:
        positional, required = positional[1:], required - {positional[0]}
    return positional + [argument.arg for argument in arguments.kwonlyargs], required
