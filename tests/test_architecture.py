"""What the contracts of import-linter (pyproject.toml) can't say: what importing layerscope loads, and its names."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import layerscope as ls
from layerscope import errors

SOURCE = Path(ls.__file__).parent
FRAMEWORKS = (
    "torch",
    "keras",
    "tf_keras",
    "tensorflow",
    "jax",
    "flax",
    "equinox",
    "onnx",
    "onnxruntime",
    "tflite",
    "ai_edge_litert",
)
# What is imported by the function that needs it.
LATE = (
    "matplotlib",
    "rich",
    "numpy",
    "PIL",
    "cmap",
    "isal",
    "scipy",
    "pandas",
    "starlette",
    "uvicorn",
    "anyio",
    "asyncio",
)


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_importing_layerscope_loads_no_framework_and_hardly_anything():
    script = "import sys, layerscope; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {*FRAMEWORKS, *LATE}


def test_drawing_needs_numpy_pillow_and_cmap_alone():
    script = (
        "import sys, numpy as np, layerscope as ls\n"
        "before = {m.split('.')[0] for m in sys.modules}\n"
        "for name in ls.__all__: getattr(ls, name)\n"
        "ls.sheet(np.zeros((1, 4, 4, 2))).png(); ls.heatmap(ls.mean(np.ones((4, 4, 3)))).png()\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} - before - set(sys.stdlib_module_names)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    allowed = {"layerscope", "PIL", "cmap", "isal", "numpy", "_cython_3_0_11"}
    assert {name for name in loaded if not name.startswith(("_", "cython"))} <= allowed, loaded


def test_every_public_name_resolves_and_has_a_docstring():
    for name in ls.__all__:
        value = getattr(ls, name)
        if name != "__version__":
            assert (value.__doc__ or "").strip(), name
    assert set(dir(ls)) == {*ls.__all__, *ls.PUBLIC_MODULES}
    with pytest.raises(AttributeError, match="no attribute 'sheets_of'"):
        _ = ls.sheets_of


def test_no_module_hides_a_public_name():
    """A submodule that is imported becomes an attribute of the package, and would shadow a function of its name."""
    top = {name for name, _ in modules() if "." not in name}
    assert top and not top & set(ls.__all__)


def test_files_stay_small():
    long = {name: count for name, path in modules() if (count := len(path.read_text("utf-8").splitlines())) > 450}
    assert not long, "split what doesn't fit in the head"


def test_the_stub_is_what_the_table_of_public_names_gives():
    """`python scripts/write_stub.py` renews it."""
    sys.path.insert(0, str(SOURCE.parents[1] / "scripts"))
    try:
        import write_stub
    finally:
        sys.path.pop(0)
    assert write_stub.STUB.read_text("utf-8") == write_stub.stub()


def test_every_error_and_warning_is_public():
    kinds = (errors.LayerscopeError, errors.LayerscopeWarning)
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, kinds)}
    assert classes and classes <= set(ls.__all__)


def test_no_test_module_imports_another():
    """What several of them need lies in tests/helpers."""
    tests = Path(__file__).parent
    packages = {path.name for path in tests.iterdir() if path.is_dir()} - {"helpers"}
    for path in sorted(tests.rglob("test_*.py")):
        imports = re.findall(r"^ *(?:from|import) +([\w.]+)(?: +import +(\w+))?", path.read_text("utf-8"), re.MULTILINE)
        for module, name in imports:
            last = module.rpartition(".")[2]
            assert module.partition(".")[0] not in packages, f"{path}: {module}"
            assert not last.startswith("test_") and not name.startswith("test_"), f"{path}: {module} {name}"


# torch's own function, whose arguments it is called with, and the callbacks' classes, whose keywords users write.
LONG = {"weights_of", "Recorder.__init__", "KerasCallback", "LightningCallback"}


def functions(tree, owner=""):
    """Every function of a module with the name of its class in front."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{owner}{node.name}", node
            yield from functions(node)


def test_no_function_inside_the_house_takes_a_long_list():
    """At most 6 parameters, 4 of them by position; what users call has its options as keywords of their own names."""
    long = []
    for _, path in modules():
        for name, node in functions(ast.parse(path.read_text("utf-8"))):
            positional = [
                arg.arg for arg in (*node.args.posonlyargs, *node.args.args) if arg.arg not in ("self", "cls")
            ]
            count = len(positional) + len(node.args.kwonlyargs)
            public = name in ls.__all__ or name.partition(".")[0] in ls.__all__
            if (
                name not in LONG
                and not public
                and name.rpartition(".")[2] != "capture"
                and (count > 6 or len(positional) > 4)
            ):
                long.append((path.name, name, count, len(positional)))
    assert not long, long
