"""The process that runs the cases of families which need the same libraries: `python -m fuzz.child '{"families": …}'`.

It imports the libraries once and forks a worker, which runs one case after another under limits. When a worker dies or
hangs, the next one goes on behind that case; a case that failed is run once more in a worker of its own, so that no
verdict depends on what ran before. Each verdict is a line of JSON.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layerscope.errors import BadOption, BadWeights, ImageNotReadable, InternalError, LayerscopeError, ModelNotReadable

from .families import Family, named
from .mutate import SECRET

GROWTH = 1_000_000_000  # how much the process may grow, the framework's own buffers among it
ADDRESSES, FILE, CPU, WALL = 4 * GROWTH, 64_000_000, 15, 60  # bytes, bytes, seconds, seconds
ROUND = 200  # cases of one worker
# What no reader does, and what it does in the folder of its case alone. Python reports each before it happens.
FORBIDDEN = re.compile(
    r"socket\.(connect|bind|getaddrinfo|gethostby\w+|sendto)|subprocess\.Popen|os\.(system|exec|posix_spawn|fork\w*|startfile)"
    r"|pty\.spawn|builtins\.input|ftplib\.\w+|urllib\.Request"
)
CHANGES = re.compile(r"os\.(remove|rename|rmdir|mkdir|chmod|link|symlink|truncate)|shutil\.\w+")
GOOD, UNMADE = ("ok", "named"), "unmade"  # the latter where a mutator failed, and no file was there to open
# Where a file is opened, these errors name it.
OPENING = {"open", "load", "load_weights", "read_weights"}
NAMED = ModelNotReadable, ImageNotReadable, BadOption, BadWeights
LAYERSCOPE = f"{os.sep}layerscope{os.sep}"


@dataclass
class Verdict:
    """What became of a case: `ok`, `named` (an error of layerscope's own that names the file), or what is bad."""

    family: str
    number: int
    verdict: str
    place: str = ""
    message: str = ""
    name: str = ""
    milliseconds: int = 0

    @property
    def bad(self) -> bool:
        return self.verdict not in (*GOOD, UNMADE)


# ---- in the worker ---------------------------------------------------------------------------------------------------
class Watch:
    """What Python reports of the worker: whatever is `FORBIDDEN`, and changes to files outside `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}{os.sep}"
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        changes = CHANGES.fullmatch(event) or (event == "open" and _writes(*arguments))
        if FORBIDDEN.fullmatch(event) or (changes and not self._inside(arguments[0])):
            self.seen.append(f"{event} {arguments!r:.80}")

    def _inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return True
        whole = os.path.abspath(os.fsdecode(path))
        return whole.startswith(self.folder) or whole == os.devnull


def _writes(path: Any, mode: str | None, flags: int | None) -> bool:
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR)) or any(letter in (mode or "") for letter in "wax+")


def limits() -> None:
    """The worker's own limits; that of the processor's time is moved on before each case."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def more_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def peak() -> int:
    """The most bytes that the process has held since `forget_peak`."""
    match = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def judge(family: Family, path: Path, watch: Watch) -> tuple[str, str, str]:
    """(verdict, place, message) of one file."""
    forget_peak()
    before = peak()
    verdict, place, message = "ok", "", ""
    watch.seen.clear()
    watch.active = True
    try:
        family.use(path)
    except InternalError as error:
        verdict, place, message = "InternalError", inner_place(error.__cause__ or error), str(error)
    except LayerscopeError as error:
        message = str(error)
        functions = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        unnamed = functions & OPENING and isinstance(error, NAMED) and path.name not in message
        verdict, place = ("unnamed", inner_place(error)) if unnamed else ("named", "")
    except BaseException as error:
        verdict, place, message = type(error).__name__, inner_place(error), str(error)
    finally:
        watch.active = False
    grown = peak() - before
    if watch.seen:
        return "forbidden", watch.seen[0].partition(" ")[0], "; ".join(watch.seen[:3])
    if left := [other.name for other in path.parent.iterdir() if other != path]:
        return "written", left[0], ", ".join(left)
    box = path.parent.parent
    if left := [other.name for other in box.iterdir() if other.name not in ("case", "temporary", "secret.txt")]:
        return "written", left[0], ", ".join(left)
    if os.stat(path.parent / SECRET).st_atime > 1:
        return "secret read", place, message
    if grown > GROWTH and verdict in ("ok", "named"):
        return "memory", place, f"{grown / 1e6:.0f} MB"
    return verdict, place, message


def inner_place(error: BaseException) -> str:
    """The innermost function of layerscope that an error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if LAYERSCOPE in frame.filename]
    return f"{frames[-1].filename.rpartition(LAYERSCOPE)[2]}:{frames[-1].name}" if frames else "?"


def work(family: Family, numbers: range, files: dict[str, bytes], seed: int, folder: Path, out: int) -> None:
    """Run cases and write what became of each, up to one that is bad; its file stays in the folder."""
    limits()
    box = folder / "box"
    inside = box / "case"
    shutil.rmtree(box, ignore_errors=True)
    inside.mkdir(parents=True)
    os.chdir(inside)
    (box / "temporary").mkdir()
    tempfile.tempdir = str(box / "temporary")
    with open(folder / "output", "wb") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    stacks = open(folder / "stack", "w")  # noqa: SIM115 - open until the process ends
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    watch = Watch(box)
    warnings.simplefilter("ignore")
    secret = box / "secret.txt"
    secret.write_bytes(b"\x7f" * 4096)
    for number in numbers:
        name, content = family.case(seed, number, files)
        os.utime(secret, (1, 2))
        path = inside / name
        path.write_bytes(content)
        more_time()
        os.write(out, f"{name}\n".encode())
        start = time.monotonic()
        verdict = judge(family, path, watch)
        taken = int((time.monotonic() - start) * 1000)
        os.write(out, json.dumps([*verdict, taken]).encode() + b"\n")
        if verdict[0] not in GOOD:
            break
        path.unlink(missing_ok=True)
    os._exit(0)


# ---- in the process that forks -----------------------------------------------------------------------------------------
class Lines:
    """Lines that a worker writes, each waited for some seconds."""

    def __init__(self, reading: int) -> None:
        self.reading = reading
        self.left = b""

    def next(self, seconds: float) -> str | None:
        """The next line, `""` at the end, `None` where none comes in time."""
        end = time.monotonic() + seconds
        while b"\n" not in self.left:
            if not select.select([self.reading], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            part = os.read(self.reading, 65536)
            if not part:
                return ""
            self.left += part
        line, _, self.left = self.left.partition(b"\n")
        return line.decode()


def run_worker(family: Family, numbers: range, files: dict[str, bytes], seed: int, folder: Path) -> Iterator[Verdict]:
    """The verdicts of one worker, up to the first bad case or the one that it dies of."""
    reading, writing = os.pipe()
    worker = os.fork()
    if worker == 0:
        try:
            work(family, numbers, files, seed, folder, writing)
        except BaseException:
            traceback.print_exc()
        os._exit(70)
    os.close(writing)
    lines, status = Lines(reading), None
    try:
        for number in numbers:
            name = lines.next(WALL)
            line = lines.next(WALL) if name else None
            if line:
                verdict, place, message, taken = json.loads(line)
                yield Verdict(family.name, number, verdict, place, message[:500], name or "", taken)
                if verdict not in GOOD:
                    break
                continue
            hung = line is None and bool(name)
            if hung:
                os.kill(worker, signal.SIGUSR1)  # writes its stack
                time.sleep(0.3)
                os.kill(worker, signal.SIGKILL)
            status = os.waitpid(worker, 0)[1]
            what = UNMADE if not name else "timeout" if hung else death(status)
            yield Verdict(family.name, number, what, stack_place(folder), stack(folder), name or "")
            break
    finally:
        os.close(reading)
        if status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)


def death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "timeout" if number == signal.SIGXCPU else signal.Signals(number).name
    return f"exit {os.WEXITSTATUS(status)}"


def stack(folder: Path) -> str:
    """What a dying process left: its stack, and the end of what it printed."""
    texts = [(folder / name).read_text("utf-8", "replace") for name in ("output", "stack") if (folder / name).exists()]
    return "\n".join(text[-1500:] for text in texts)


def stack_place(folder: Path) -> str:
    """The innermost function of layerscope on the stack that a dying process left."""
    frames = re.findall(r'File ".*?/layerscope/(.*?)", line \d+ in (\S+)', stack(folder))
    return ":".join(frames[0]) if frames else "?"


def run(
    family: Family, files: dict[str, bytes], seed: int, numbers: range, end: float
) -> Iterator[tuple[Verdict, bytes]]:
    """(verdict, the file where it is bad) of cases, until all are through or the time is over."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        start = numbers.start
        while start < numbers.stop and time.monotonic() < end:
            for verdict in run_worker(family, range(start, min(start + ROUND, numbers.stop)), files, seed, folder):
                if verdict.bad and verdict.number > start:
                    alone = range(verdict.number, verdict.number + 1)
                    verdict = next(run_worker(family, alone, files, seed, folder), verdict)
                start = verdict.number + 1
                path = folder / "box" / "case" / verdict.name
                yield verdict, path.read_bytes() if verdict.bad and path.is_file() else b""
                if time.monotonic() > end:
                    return


def built(family: Family) -> dict[str, bytes]:
    """The seeds, built and used once in a process of their own: what a framework starts there wouldn't survive a fork.

    What was imported there is imported here as well, once for all workers.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        builder = os.fork()
        if builder == 0:
            log = os.open(Path(folder, "output"), os.O_CREAT | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            status = 1
            try:
                build(family, Path(folder))
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        if os.waitpid(builder, 0)[1]:
            raise RuntimeError(f"the seeds of {family.name} can't be built: {Path(folder, 'output').read_text()}")
        for module in Path(folder, "modules").read_text().split():
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        return {path.name: path.read_bytes() for path in sorted(Path(folder, "seeds").iterdir())}


def build(family: Family, folder: Path) -> None:
    warnings.simplefilter("ignore")
    for part in ("seeds", "case"):
        Path(folder, part).mkdir()
    os.chdir(Path(folder, "case"))
    for name, content in family.seeds().items():
        Path(folder, "seeds", name).write_bytes(content)
        path = Path(folder, "case", name)
        path.write_bytes(content)
        with contextlib.suppress(LayerscopeError):
            family.use(path)
    Path(folder, "modules").write_text("\n".join(sys.modules))


def main() -> None:
    order = json.loads(sys.argv[1])
    os.environ.update(OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
    families = [named(name) for name in order["families"]]
    for module in dict.fromkeys(module for family in families for module in family.needs):
        importlib.import_module(module)
    weights = sum(family.weight for family in families)
    for family in families:
        again = {Path(path).name: Path(path).read_bytes() for path in order["replay"].get(family.name, ())}
        for verdict, _ in run(family, again, order["seed"], range(len(again)), time.monotonic() + order["seconds"]):
            print(json.dumps({**asdict(verdict), "file": verdict.name}), flush=True)
        if not order["count"]:
            continue
        numbers = range(order["start"], order["start"] + order["count"])
        end = time.monotonic() + order["seconds"] * family.weight / weights
        for verdict, content in run(family, built(family), order["seed"], numbers, end):
            saved = save(Path(order["findings"]), verdict, content) if content else ""
            print(json.dumps({**asdict(verdict), "file": saved}), flush=True)


def save(folder: Path, verdict: Verdict, content: bytes) -> str:
    """The file of a bad case, written under a name that tells its family; one for each place."""
    place = hashlib.sha256(f"{verdict.verdict} {verdict.place}".encode()).hexdigest()[:8]
    path = folder / f"{verdict.family}-{place}-{verdict.name}"
    if known := sorted(folder.glob(f"{verdict.family}-{place}-*")):
        return str(known[0])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


if __name__ == "__main__":
    main()
