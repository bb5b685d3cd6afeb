"""What the documents promise is so: examples run, links lead somewhere, names exist."""

import ast
import doctest
import re
import runpy
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import layerscope as ls
from helpers import torchvision_ops  # noqa: F401  (timm and transformers import torchvision, whose operators may not fit)
from layerscope.combinations.registry import RULES

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "docs" / "models.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DIGITS = ROOT / "examples" / "digits.py"  # takes long; run with fewer digits in a test of its own
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a script of a user has no filters
@pytest.mark.parametrize("example", [path for path in EXAMPLES if path != DIGITS], ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert list(tmp_path.glob("*.png"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_few_digits_are_learned_and_their_stores_answer(tmp_path, capsys):
    """What the page on them quotes: the lines of code, the columns of the tables, the pictures."""
    page = (ROOT / "docs" / "digits.md").read_text("utf-8")
    assert runpy.run_path(str(DIGITS))["main"](tmp_path, count=300, epochs=10) > 0.8
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    tables = [block.splitlines()[0].split() for kind, block in blocks if not kind]
    heads = [words for words in tables if words[0] in ("channel", "image", "layer")]
    assert len(heads) == 6 and all(words in printed for words in heads)
    statements = {
        ast.dump(node) for node in ast.walk(ast.parse(DIGITS.read_text("utf-8"))) if isinstance(node, ast.stmt)
    }
    for kind, block in blocks:
        if kind:
            assert {ast.dump(node) for node in ast.parse(block).body} <= statements, block
    assert {path.stem for path in tmp_path.glob("*.png")} == set(re.findall(r"images/digits/([\w-]+)\.webp", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_to_a_heading_find_it(page):
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8")):
        text = (page.parent / target if target else page).read_text("utf-8")
        assert heading in [slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)], f"{target}#{heading}"


def slug(heading):
    """What GitHub makes of a heading in an address."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def sections():
    """The page on models by heading."""
    parts = re.split(r"^## (.+)$", MODELS.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def families():
    table = MODELS.read_text("utf-8").split("\n## ")[0]
    return re.findall(r"^\| \[([^\]]+)\]", table, re.MULTILINE)


@pytest.mark.parametrize("family", families())
def test_every_family_of_models_has_the_same_form(family):
    text = sections()[family]
    marks = ["```python", "**Layers:** `", "**Preprocessing:** ", "\n- ", "**Script:** [", "**Limits:** [limits.md]"]
    offsets = [text.find(mark) for mark in marks]
    assert -1 not in offsets and offsets == sorted(offsets), dict(zip(marks, offsets, strict=True))
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert 3 <= len(block.splitlines()) <= 6
    assert 2 <= text.count("\n- ") <= 4


@pytest.mark.parametrize("section", [name for name, text in sections().items() if "```" in text])
def test_code_on_models_is_that_of_a_script_which_runs(section):
    """Every statement of a block stands in the section's script, in that order; `test_an_example_runs` runs the script."""
    text = sections()[section]
    scripts = [MODELS.parent / script for script in re.findall(r"\((\.\./examples/\w+\.py)\)", text)]
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        quoted = [ast.dump(statement) for statement in ast.parse(block).body]
        programs = [
            iter([ast.dump(statement) for statement in ast.parse(path.read_text("utf-8")).body]) for path in scripts
        ]
        assert any(all(statement in script for statement in quoted) for script in programs), block


def test_every_example_is_the_script_of_a_family():
    named = set(re.findall(r"\.\./examples/(\w+)\.py", MODELS.read_text("utf-8")))
    assert {path.stem for path in EXAMPLES} - named == {
        "bare_array",  # no model in it
        "digits",  # of data sets
        "grad_cam",  # of any family
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_name_in_the_documents_exists(page):
    for name in re.findall(r"\bls\.(\w+)", page.read_text("utf-8")):
        assert name in {*ls.__all__, *ls.PUBLIC_MODULES}, name


@pytest.mark.filterwarnings("ignore::layerscope.PreprocessWarning")  # the small model doesn't state its preprocessing
@pytest.mark.filterwarnings(
    "ignore:.*of the opacity:layerscope.errors.LayerscopeWarning"
)  # nor has it learned anything
def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    """On a small model that has its layer's name, and on a photo under its file's name."""
    model = nn.Sequential(OrderedDict(block1_conv2=nn.Conv2d(3, 64, 3, padding=1)))
    monkeypatch.chdir(tmp_path)
    Image.open(ls.demo_photo()).convert("RGB").resize((32, 24)).save("cat.jpg")
    namespace = {"ls": ls, "weights": np.linspace(-1, 1, 64), "activations": np.ones((1, 224, 224, 64), np.float32)}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, {**namespace, "model": model})
    assert Path("block1_conv2.png").exists()


def test_the_calls_below_the_pictures_of_the_readme_draw():
    """What `scripts/draw_guide.py` draws there, with layers chosen for their looks."""
    model, photo = ls.open("demo"), ls.demo_photo()
    maps = model.capture(photo, ["_blocks.10", "last"])
    namespace = {"ls": ls, "model": model, "photo": photo, "maps": maps, "fm": maps["last"]}
    calls = re.findall(r"\| `(ls\.[^`]+)`", (ROOT / "README.md").read_text("utf-8"))
    assert len(calls) == 6
    for call in calls:
        assert isinstance(eval(call, namespace), ls.Picture), call


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```pycon" in page.read_text("utf-8")], ids=lambda path: path.name
)
def test_the_sessions_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sessions = re.findall(r"```pycon\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(sessions), {}, page.name, str(page), 0)
    assert test.examples
    result = doctest.DocTestRunner().run(test)
    assert not result.failed


def test_the_readme_quotes_both_wordings_of_the_error():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "Invalid dimensions for image data" in text
    assert "Invalid shape (1, 224, 224, 64) for image data" in text


def test_the_guide_shows_every_combination():
    text = (ROOT / "docs" / "guide.md").read_text("utf-8")
    functions = {rule.function.__name__ for rule in RULES} | {"difference"}
    missing = [name for name in sorted(functions) if f"ls.{name}(" not in text]
    assert not missing
    pictures = {path.name for path in (ROOT / "docs" / "images" / "guide").iterdir()}
    assert pictures == set(re.findall(r"images/guide/([\w.-]+)\)", text))


def test_installation_is_written_for_every_shell():
    """`cmd` of Windows takes single quotes for a part of the name; there is no `make` either."""
    sources = (ROOT / "src").rglob("*.py")
    for page in (*PAGES, *sources):
        assert not re.search(r"pip install [^`\n]*'layerscope\[", page.read_text("utf-8")), page
    text = (ROOT / "README.md").read_text("utf-8")
    quoted = re.findall(r"\$\(PIP\) install (.*)", (ROOT / "Makefile").read_text("utf-8"))
    for arguments in quoted:
        words = arguments.replace("'", '"').replace("--no-compile ", "")
        assert words == "--upgrade pip" or f"python -m pip install {words}" in text, arguments
    assert r".venv\Scripts\activate" in text
