"""Scans of small folders with a model in numpy: what is kept, what is done again, what is refused."""

import json
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import layerscope as ls
from helpers.stores import OPENING, contents, small_scan, small_store, write_images
from helpers.wording import raises
from layerscope.cli import main
from layerscope.scope.run import Question
from layerscope.store import probe
from layerscope.store.arrays import import_zarr
from layerscope.store.samples import list_samples
from layerscope.store.summary import read_summary
from layerscope.testing import tiny_model, tiny_parameters


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def read(store, name):
    return import_zarr().open_array(store.storage.zarr(), path=name, mode="r")[...]


def captured(images, names, layers=("conv1", "conv2")):
    """The maps `[image, channel, y, x]` of the readable images among these, in batches as a unit has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ls.ImagesSkipped)
        maps = ls.open(tiny_model(), **OPENING).capture([images / name for name in names], list(layers), batch=4)
    return {path: np.moveaxis(fm.values, -1, 1) for path, fm in maps.items()}


def names_in(store):
    return [image.id for receipt in store.receipts for image in receipt.images]


def test_numbers_are_those_of_a_capture_with_the_same_batches(images, store):
    (images / "5.png").write_bytes(b"no image")
    made = small_scan(images, store, keep="maps", dtype="float32")
    names = names_in(made)
    there = np.array([name != "5.png" for name in names])
    for first in range(0, 24, 8):
        unit = slice(first, first + 8)
        for path, values in captured(images, names[unit]).items():
            flat = values.reshape(*values.shape[:2], -1)
            assert np.array_equal(read(made, f"maps.zarr/{path}")[unit][there[unit]], values)
            pooled = {name: read(made, f"pooled.zarr/{path}/{name}")[unit][there[unit]] for name in POOLED}
            assert np.allclose(pooled["mean"], flat.mean(2, dtype=np.float64), rtol=1e-6)
            assert np.array_equal(pooled["max"], flat.max(2))
            assert np.array_equal(pooled["argmax"], flat.argmax(2))
    assert np.isnan(read(made, "maps.zarr/conv1")[~there]).all()
    assert np.isnan(read(made, "pooled.zarr/conv2/mean")[~there]).all()
    assert (read(made, "pooled.zarr/conv2/argmax")[~there] == -1).all()


POOLED = ("mean", "max", "argmax")


def test_the_summary_is_of_every_value_of_every_image(images, store):
    made = small_scan(images, store, keep="stats")
    assert not {name.split("/")[0] for name in contents(store)} & {"maps.zarr", "pooled.zarr"}
    for kept in made.plan.layers:
        values = np.concatenate([captured(images, names_in(made)[at : at + 8])[kept.layer.path] for at in (0, 8, 16)])
        flat = values.transpose(1, 0, 2, 3).reshape(values.shape[1], -1)
        whole = read_summary(made.storage, kept)
        assert np.array_equal(whole.low, flat.min(1)) and np.array_equal(whole.high, flat.max(1))
        assert np.allclose(whole.total, flat.sum(1, dtype=np.float64), rtol=1e-12, atol=1e-9)
        highs = values.max((2, 3))
        assert np.array_equal(whole.top_image, np.argsort(-highs, axis=0, kind="stable")[:16].T)


def test_maps_are_half_precision_unless_asked_otherwise_and_what_does_not_fit_is_refused(images, store):
    made = small_scan(images, store, keep="maps")
    assert read(made, "maps.zarr/conv1").dtype == np.float16
    weights = tiny_parameters()
    weights["conv1.weight"] = weights["conv1.weight"] * 1e5
    options = {"keep": "maps", "unit": 8, **OPENING}
    with pytest.raises(ls.BadOption, match="float32"):
        ls.scan(tiny_model(weights), images, "conv1", store.with_name("huge"), **options)
    made = ls.scan(tiny_model(weights), images, "conv1", store.with_name("huge"), dtype="float32", **options)
    maps, whole = read(made, "maps.zarr/conv1"), read_summary(made.storage, made.plan.layers[0])
    assert maps.dtype == np.float32 and maps.max() == whole.high.max() > 65504


def test_a_second_run_does_nothing_and_changes_nothing(images, store):
    small_scan(images, store, keep="maps")
    before = contents(store)
    modified = {path: path.stat().st_mtime_ns for path in store.rglob("*.npz")}
    again = small_scan(images, store, keep="maps")
    assert contents(store) == before
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.npz")} == modified
    assert again.provenance["runs"][-1]["already"] == 24
    assert {what: count for what, count in again.outcomes.items() if count} == {"already there": 24}


def test_every_file_has_an_outcome_and_no_row_moves(images, store):
    whole = small_scan(images, store.with_name("whole"), keep="maps")
    listed = images.parent / "list.csv"
    listed.write_text("path\n" + "".join(f"images/{number}.png\n" for number in range(25)))
    (images / "3.png").write_bytes((images / "3.png").read_bytes()[:60])
    made = small_scan(listed, store, keep="maps")
    outcomes = {image.id.rpartition("/")[2]: image for receipt in made.receipts for image in receipt.images}
    assert (outcomes["3.png"].outcome, outcomes["24.png"].outcome, outcomes["2.png"].outcome) == (
        "broken",
        "missing",
        "done",
    )
    assert outcomes["3.png"].reason and outcomes["24.png"].reason and outcomes["2.png"].digest
    assert [image.id.rpartition("/")[2] for image in made.failures] == ["3.png", "24.png"]
    # Other batches round differently.
    assert np.allclose(read(made, "maps.zarr/conv1")[8:24], read(whole, "maps.zarr/conv1")[8:24], rtol=1e-2, atol=1e-2)


def test_files_that_come_back_or_change_are_done_again_and_those_that_go_keep_their_results(images, store):
    (images / "1.png").write_bytes(b"nothing yet")
    small_scan(images, store)
    receipts = {path.name: path.read_bytes() for path in (store / "receipts").iterdir()}
    shutil.copy(images / "2.png", images / "1.png")
    changed = bytearray((images / "9.png").read_bytes())
    shutil.copy(images / "10.png", images / "9.png")
    (images / "20.png").unlink()
    again = small_scan(images, store)
    assert again.provenance["runs"][-1]["changed"] == ["1.png", "9.png"]
    assert not again.failures and changed
    now = {path.name: path.read_bytes() for path in (store / "receipts").iterdir()}
    assert [now[name] == receipts[name] for name in sorted(now)] == [False, False, True]


def test_every_file_counts_once_in_the_outcomes_of_a_run(images, store):
    listed = images.parent / "list.csv"
    listed.write_text("path\n" + "".join(f"images/{number}.png\n" for number in range(25)))
    (images / "3.png").write_bytes(b"no image")
    first = small_scan(listed, store)
    assert first.outcomes == {"done": 23, "already there": 0, "changed since": 0, "missing": 1, "broken": 1}
    shutil.copy(images / "10.png", images / "9.png")
    again = small_scan(listed, store)
    assert again.outcomes == {"done": 7, "already there": 15, "changed since": 1, "missing": 1, "broken": 1}
    (store / "provenance.json").unlink()
    (store / "receipts/000002.json").unlink()
    assert ls.open_store(store).outcomes == {"done": 15, "broken": 1, "missing": 1, "not done": 8}


def test_the_command_line_says_the_outcome_of_every_file(images, store, capsys):
    listed = images.parent / "list.csv"
    listed.write_text("path\n" + "".join(f"images/{number}.png\n" for number in range(25)))
    (images / "3.png").write_bytes(b"no image")
    line = ["scan", "demo", str(listed), "-l", "_conv_stem", "--store", str(store), "--unit", "8", "--batch", "4"]
    assert main(line) == 3
    said = capsys.readouterr().err
    assert "23 done, 1 missing, 1 broken" in said
    assert "skipped images/3.png: " in said and "skipped images/24.png: no such file" in said
    shutil.copy(images / "10.png", images / "9.png")
    assert main(line) == 3
    said = capsys.readouterr().err
    assert "7 done, 15 already there, 1 changed since, 1 missing, 1 broken" in said
    assert "changed since, done again: images/9.png" in said


def test_new_images_are_appended_behind_those_that_are_there(images, store):
    small_scan(images, store, keep="maps")
    before = contents(store)
    write_images(images, 30, seed=0)
    (images / "0a.png").write_bytes((images / "25.png").read_bytes())
    made = small_scan(images, store, keep="maps")
    assert names_in(made) == [
        *(f"{number}.png" for number in range(24)),
        "0a.png",
        *(f"{n}.png" for n in range(24, 30)),
    ]
    after = contents(store)
    kept = [name for name in before if "/c/0/" in name or name == "receipts/000001.json"]
    assert kept and all(before[name] == after[name] for name in kept)
    assert read(made, "maps.zarr/conv1").shape[0] == 31
    assert np.array_equal(read(made, "maps.zarr/conv1")[24], read(made, "maps.zarr/conv1")[26])


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": ["conv1"]},
        {"keep": "maps"},
        {"unit": 4},
        {"batch": 2},
        {"top": 3},
        {"channels": "0:2"},
        {"preprocess": "tf"},
        {"size": 12},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_makes_other_results_is_refused_by_name(images, store, changes):
    small_scan(images, store)
    before = contents(store)
    with raises(ls.BadOption, "store"):
        small_scan(images, store, **changes)
    assert contents(store) == before


def test_a_model_with_other_weights_is_refused(images, store):
    small_scan(images, store, model=tiny_model())
    with raises(ls.BadOption, "weights"):
        ls.scan(tiny_model(tiny_parameters(1)), images, ["conv1", "conv2"], store, unit=8, batch=4, **OPENING)


def test_a_batch_that_was_found_is_used_again(images, store):
    made = small_scan(images, store, batch=None)
    assert made.plan.batch == 8
    about = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**about, "batch": 2}))
    assert small_scan(images, store, batch=None).plan.batch == 2


def spent(per_call, per_image, slow=32):
    """The seconds of a batch: those of every call, and of every image, half as many again beyond so many at a time."""
    return lambda count: per_call + per_image * (count + 0.5 * max(0, count - slow))


@pytest.mark.parametrize(
    ("seconds", "unit", "expected"),
    [
        (spent(0.02, 0.0002), 128, 128),
        (spent(0.02, 0.0002), 100, 64),
        (spent(0.004, 0.001), 128, 32),
        (spent(0.001, 0.001), 128, 16),
        (spent(0, 0.001, 1000), 128, 8),
        (spent(0.001, 0.04), 128, 8),
        (spent(0.2, 2), 128, 32),  # nothing could be timed
        (spent(0.5, 0.01), 128, 32),  # one size, and more are faster
    ],
)
def test_the_batch_is_the_smallest_of_the_fastest_that_there_is_time_for(images, monkeypatch, seconds, unit, expected):
    clock, sizes = 0.0, []

    def timed(scope, batch, question, about, **options):
        nonlocal clock
        clock += seconds(len(batch.ids))
        sizes.append(len(batch.ids))
        return run_batch(scope, batch, question, about, **options)

    run_batch = probe.run_batch
    monkeypatch.setattr(probe, "run_batch", timed)
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: clock))
    scope = ls.open(tiny_model(), **OPENING)
    samples = [*list_samples(images)] * 1000
    seen = probe.look(scope, samples, Question("conv1", None), batch=None, unit=unit)
    assert seen.batch == expected and max(sizes) <= unit
    assert clock <= probe.SECONDS + 4 * seconds(4)
    sizes.clear()
    few = probe.look(scope, samples[:24], Question("conv1", None), batch=None, unit=unit)
    assert few.timed == {} and few.batch == min(32, unit)
    assert probe.look(scope, samples, Question("conv1", None), batch=2, unit=unit).batch == 2
    assert max(sizes) <= 4


def test_a_torn_or_flipped_file_is_found_and_made_anew(images, store):
    small_scan(images, store, keep="maps")
    before = contents(store)
    names = sorted(name for name in before if "/c/" in name or name.startswith(("units", "receipts", "summary")))
    assert len(names) > 30
    for number, name in enumerate(names):
        data = bytearray(before[name])
        if number % 2:
            data[len(data) // 2] ^= 1
        (store / name).write_bytes(data if number % 2 else data[: len(data) // 2])
        if number % 5 == 0:
            assert not ls.check_store(store)
            small_scan(images, store, keep="maps")
            assert ls.check_store(store)
    small_scan(images, store, keep="maps")
    assert contents(store) == before


def test_a_missing_shard_and_a_stray_one_are_made_good(images, store):
    small_scan(images, store, keep="maps")
    before = contents(store)
    (store / "maps.zarr/conv1/c/1/0/0/0").unlink()
    (store / "maps.zarr/conv1/zarr.json").unlink()
    (store / "receipts/000002.json").unlink()
    (store / "receipts/.layerscope-0123456789abcdef.part").write_bytes(b"unfinished")
    assert str(ls.check_store(store)).count("missing") == 2
    small_scan(images, store, keep="maps")
    assert contents(store) == before


def test_a_unit_without_a_readable_image_is_a_hole(images, store):
    for number in range(8, 16):
        (images / f"{number}.png").write_bytes(b"no image")
    made = small_scan(images, store, keep="maps")
    maps = read(made, "maps.zarr/conv1")
    assert np.isnan(maps[8:16]).all() and not np.isnan(maps[:8]).any()
    assert len(made.failures) == 8 and ls.check_store(store)
    assert read_summary(made.storage, made.plan.layers[0]).count[0] == 16 * 64


def test_what_goes_wrong_outside_of_a_file_stops_the_scan_with_its_name(images, store):
    def broken(pixels):
        raise ZeroDivisionError("a fault of the user's own")

    with raises(ls.BadOption, "0.png"):
        small_scan(images, store, preprocess=broken, size=None)
    assert not (store / "receipts").exists()


def test_random_state_stays_as_it_was(images, store):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    small_scan(images, store)
    assert np.array_equal(np.random.get_state()[1], before)


def test_a_large_scan_is_asked_about(images, store, monkeypatch):
    monkeypatch.setattr("layerscope.store.estimate.LARGE_BYTES", 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2_000_000))
    with raises(ls.BadOption, "yes"):
        small_scan(images, store)
    assert not contents(store)
    small_scan(images, store, yes=True)
    assert ls.check_store(store)


def test_a_folder_without_a_store_is_none(tmp_path):
    for opened in (ls.open_store, ls.check_store):
        with raises(ls.BadOption, "store.json"):
            opened(tmp_path)


@pytest.mark.parametrize(("format", "version"), [(1, "0.0.9"), (1, None), (99, "9.9")])
def test_a_store_of_another_version_names_both_and_says_what_to_do(images, store, format, version):
    small_scan(images, store)
    about = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**about, "format": format, "threads": 2}))
    runs = json.loads((store / "provenance.json").read_text())["runs"]
    if version is None:
        (store / "provenance.json").unlink()
    else:
        runs[-1]["versions"]["layerscope"] = version
        (store / "provenance.json").write_text(json.dumps({"runs": runs}))
    for use in (ls.open_store, ls.check_store, lambda store: small_scan(images, store)):
        with raises(ls.BadOption, f"format {format}", version or "another version", ls.__version__):
            use(store)


def test_the_reason_of_an_image_that_memory_is_too_small_for_stays_the_same(images, store, monkeypatch):
    Image.fromarray(np.zeros((4096, 4096), np.uint8)).convert("RGB").save(images / "3.png")
    found = []
    for free in (100 << 20, 123 << 20):
        monkeypatch.setattr("layerscope.memory.available", lambda free=free: free)
        made = small_scan(images, store.with_name(str(free)))
        assert [image.id for image in made.failures] == ["3.png"] and "4096 × 4096" in made.failures[0].reason
        found.append(contents(store.with_name(str(free))))
    assert found[0] == found[1]


def test_layers_of_other_ranks_have_arrays_of_their_own(images, store):
    made = small_scan(images, store, ["conv1", "head"], keep="maps", channels=None)
    assert read(made, "maps.zarr/head").shape == (24, 6)
    assert np.array_equal(read(made, "pooled.zarr/head/mean"), read(made, "pooled.zarr/head/max"))
    assert (read(made, "pooled.zarr/head/argmax") == 0).all()


def test_a_store_of_a_model_with_labels_in_folders(tmp_path):
    made = small_store(tmp_path, keep="pooled")
    lines = import_zarr() and [json.loads(line) for line in _manifest(made)]
    assert {line["label"] for line in lines} == {"cat", "dog"} and len(lines) == 24


def _manifest(store):
    import gzip

    return gzip.decompress(store.storage.get("manifest.jsonl.gz")).splitlines()


def test_maps_of_the_last_stage_are_those_of_the_scan_wherever_they_come_from(images, store, monkeypatch):
    (images / "3.png").write_bytes(b"no image")
    pooled = small_scan(images, store, top=3)
    assert not [name for name in contents(store) if name.startswith("passing")]
    whole = small_scan(images, store.with_name("whole"), top=3, keep="maps")
    for kept in pooled.plan.layers:
        maps = read(whole, f"maps.zarr/{kept.name}")
        for channel, rows in enumerate(pooled.gallery.shown[kept.name]):
            for row in rows[rows >= 0]:
                found = [made.gallery.map(kept.name, channel, row) for made in (pooled, whole)]
                assert all(np.array_equal(each, maps[row, channel]) for each in found)
    monkeypatch.setattr("layerscope.store.passing.Passing.write", lambda *_: None)
    small_scan(images, store.with_name("anew"), top=3)
    assert contents(store.with_name("anew")) == contents(store)


def test_check_repairs_what_a_scan_of_a_large_store_wouldnt_look_at(images, tmp_path, monkeypatch):
    monkeypatch.setattr("layerscope.store.state.VERIFIED", 0)
    small_scan(images, tmp_path / "store", keep="maps")
    whole = contents(tmp_path / "store")
    shard = next((tmp_path / "store/maps.zarr").rglob("c/1/0/0/0"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    small_scan(images, tmp_path / "store", keep="maps")
    assert contents(tmp_path / "store") != whole
    assert "after repair=True" in repr(ls.check_store(tmp_path / "store"))
    repaired = ls.check_store(tmp_path / "store", repair=True)
    assert not repaired
    assert "repair" not in repr(repaired)
    small_scan(images, tmp_path / "store", keep="maps")
    assert contents(tmp_path / "store") == whole
    assert ls.check_store(tmp_path / "store", repair=True)
