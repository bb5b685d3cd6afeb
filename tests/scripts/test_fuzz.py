"""A fixed slice of the fuzzing: the same cases every time; `make fuzz` tries others for as long as one likes."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from fuzz import coverage, known
from fuzz.__main__ import by_family, verdicts
from fuzz.families import named

ROOT = Path(__file__).parents[2]
GOOD = ("ok", "named")
FINDINGS = by_family(sorted((ROOT / "fuzz" / "findings").iterdir()))

# Every kind of fault, each as a family whose files all have it.
FAULTS = """
import json, os, pathlib, socket, sys, time
from fuzz import child
from fuzz.families import Family
import layerscope as ls

child.CPU, child.WALL, child.GROWTH = 1, 5, 100_000_000
kept = []

def recurse(path):
    while True: pass

def die(path):
    import ctypes
    ctypes.string_at(1)

def connect(path):
    try: socket.create_connection(("127.0.0.1", 9), 0.1)
    except OSError: pass

def no_name(path):
    def load(): raise ls.ModelNotReadable("it is damaged")
    load()

uses = {
    "ok": lambda path: None,
    "named": lambda path: ls.open(path),
    "unnamed": no_name,
    "KeyError": lambda path: {}["x"],
    "timeout": recurse,
    "SIGSEGV": die,
    "exit 3": lambda path: os._exit(3),
    "memory": lambda path: kept.append(bytearray(200_000_000)),
    "MemoryError": lambda path: bytearray(50_000_000_000),
    "forbidden": connect,
    "written": lambda path: os.close(os.open("../written.txt", os.O_CREAT)),
    "secret read": lambda path: pathlib.Path("../secret.txt").read_bytes(),
}
for name, use in uses.items():
    family = Family("self", (), dict, {}, use)
    count = 2 if name in ("ok", "SIGSEGV", "KeyError") else 1
    for verdict, content in child.run(family, {"a.onnx": b"x", "b.onnx": b"x"}, 1, range(count), time.monotonic() + 20):
        print(json.dumps([name, verdict.verdict, verdict.bad == bool(content)]))
"""


@pytest.mark.slow
def test_every_kind_of_fault_is_told():
    ended = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, env=coverage.environment(), check=True
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(lines) == 15
    assert [expected for expected, _, _ in lines] == [verdict for _, verdict, _ in lines]
    assert all(kept for _, _, kept in lines), "the file of each bad case is kept, and of no other"


@pytest.mark.parametrize("name", ["images", "labels", "tables", "commands"])
def test_a_case_depends_on_nothing_but_its_seed_and_number(name):
    family = named(name)
    files = family.seeds()
    cases = [family.case(7, number, files) for number in range(len(files) + 40)]
    assert cases == [family.case(7, number, files) for number in range(len(files) + 40)]
    mutated = cases[len(files) :]
    assert dict(cases[: len(files)]) == files
    assert sum(content != files[name] for name, content in mutated) > 30
    assert mutated != [family.case(8, number, files) for number in range(len(files), len(files) + 40)]


def unknown(results):
    return [
        result
        for result in results
        if result["verdict"] not in (*GOOD, "unmade")
        and not known.reason(result["family"], result["verdict"], result["place"], result["message"])
    ]


# How many cases of each family. Those in a row need the same libraries, and run in one process.
COUNTS = {
    "images": 60,
    "maps labels tables": 30,
    "onnx commands": 25,
    "tflite": 60,
    "keras": 6,
    "torch state": 8,
}


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize(("names", "count"), COUNTS.items())
def test_no_file_of_a_fixed_set_does_harm(names, count, tmp_path):
    """Opened, or refused by a named error: nothing else happens. Past findings are among them."""
    families = [named(name) for name in names.split()]
    if missing := [family.missing for family in families if family.missing]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    results = list(verdicts(families, seed=1, count=count, seconds=240, findings=str(tmp_path), replay=FINDINGS))
    assert not unknown(results), json.dumps(unknown(results))[:3000]
    for family in families:
        told = [result["verdict"] for result in results if result["family"] == family.name]
        assert len(told) == count + len(FINDINGS.get(family.name, ())) and told.count("unmade") < 3
        assert "ok" in told and ("named" in told or family.name == "commands")


def test_past_findings_of_parsers_stay_closed():
    assert not coverage.replay([Path(path) for path in FINDINGS["parser"]])


def test_every_past_finding_is_opened_again():
    assert set(FINDINGS) <= {"parser", *" ".join(COUNTS).split()}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "count"), [("blind", 1000), ("led", 1500)])
def test_parsers_keep_what_they_promise(how, count, tmp_path, monkeypatch):
    if how == "led" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this Python or system")
    temporary, folder = tmp_path / "temporary", tmp_path / "findings"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    flags = ["--blind"] if how == "blind" else []
    lines = coverage.process(coverage.names(), f"--runs={count}", "--seed=1", f"--folder={folder}", *flags)
    (runs,) = [line["runs"] for line in lines if "runs" in line]
    assert runs >= count and len(lines) == 1, lines
    assert not list(temporary.iterdir())
