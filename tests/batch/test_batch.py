"""A batch from the table to the folder: what lies there, whatever stopped it on the way."""

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from kinds_of_objects import core, scan_and_core
from quick_learning import quicken

from bifseg.batch import run, work
from bifseg.batch.run import batch
from bifseg.batch.table import read_table
from bifseg.batch.work import Settings
from bifseg.cli import main
from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import read_image, write_image
from bifseg.tasks.priors import prior_of
from bifseg.tasks.store import Tasks
from bifseg.tasks.versions import learn_version
from bifseg.training.synthetic.phantom import phantom

BOX, PLANE = "6:28,6:28,2:14", "6:28,6:28,8"
CHOICE = Settings(model="default", refine="crf")
CHEAP = Settings(model="multiscale2d", refine="crf")  # the smallest network that ships


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three small scans, and the truth of the first on a grid of its own."""
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(3):
        image, truth = phantom(seed=seed, shape=(32, 32, 16))
        scan = Image(image.array, (1.0, 1.5, 2.0), (10.0, -5.0, 3.0))
        write_image(folder / f"scan{seed}.nii.gz", scan.array, scan)
        write_image(folder / f"truth{seed}.nii.gz", 2 * truth.astype(np.uint8), scan)
    return folder


@pytest.fixture(scope="module")
def table(scans):
    path = scans / "table.csv"
    rows = [
        ["image", "box", "mask", "previous", "label", "name"],
        ["scan0.nii.gz", PLANE, "", "", "", ""],
        ["scan1.nii.gz", "6:28,6:99,8", "", "", "", "outside"],
        ["scan2.nii.gz", "", "truth2.nii.gz", "", "2", "begun"],
        ["nowhere.nii.gz", PLANE, "", "", "", ""],
        ["scan1.nii.gz", "", "", "truth1.nii.gz", "2", ""],
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def content(folder):
    """All files of a batch but for what clocks say."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in [name for name in files if name.startswith("rows/")]:
        files[name] = {**json.loads(files[name]), "seconds": 0}
    files.pop(".lock", None)
    return files


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    batch(read_table(table), folder, CHOICE)
    return content(folder)


@pytest.fixture(scope="module")
def planes(scans):
    """Three rows that cost little, the second of which cannot be worked on."""
    path = scans / "planes.csv"
    path.write_text(f'image,box\nscan0.nii.gz,"{PLANE}"\nnowhere.nii.gz,"{PLANE}"\nscan1.nii.gz,"{PLANE}"\n')
    return read_table(path)


@pytest.fixture(scope="module")
def ended(planes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planes")
    batch(planes, folder, CHEAP)
    return content(folder)


def results(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_are_those_of_segment_and_bad_rows_are_named_and_passed_over(table, scans, tmp_path, capsys):
    assert main(["batch", str(table), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "3 of 5 masks are in" in said.out
    assert "row 2, outside: The box 6:99 along y lies outside the image" in said.err
    assert "row 4, nowhere:" in said.err
    assert "does not exist" in said.err

    given = {
        "scan0": ["--box", PLANE], "begun": ["--initial", str(scans / "truth2.nii.gz"), "--label", "2"],
        "scan1": ["--box", results(tmp_path / "out")[4]["box"]],
    }  # fmt: skip
    for name, options in given.items():
        alone = tmp_path / f"{name}.nii.gz"
        image = scans / {"begun": "scan2.nii.gz"}.get(name, f"{name}.nii.gz")
        assert main(["segment", str(image), *options, "-o", str(alone)]) == 0
        assert (tmp_path / f"out/masks/{name}.nii.gz").read_bytes() == alone.read_bytes()
        assert read_image(alone).array.any()
        shown = read_image(tmp_path / f"out/pictures/{name}.png")
        assert max(shown.shape) == 256
        assert shown.colours is not None  # the outline

    rows = results(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", "refused", "done", "refused", "done"]
    for row in (rows[0], rows[2], rows[4]):
        assert 0 <= float(row["uncertainty"]) <= 1
        assert float(row["millilitres"]) == pytest.approx(int(row["voxels"]) * 3e-3, abs=1e-5)
    page = (tmp_path / "out/index.html").read_text()
    order = sorted((rows[k] for k in (0, 2, 4)), key=lambda row: -float(row["uncertainty"]))
    assert [page.index(f"<b>{row['name']}</b>") for row in order] == sorted(
        page.index(f"<b>{row['name']}</b>") for row in order
    )
    assert "Row 2, outside: The box" in page


def test_what_is_done_is_not_done_again(table, undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    assert batch(read_table(table), folder, CHOICE).kept == 0
    worked = []
    monkeypatch.setattr(run, "work", lambda row, settings: worked.append(row.name) or work.work(row, settings))
    again = batch(read_table(table), folder, CHOICE)
    assert again.kept == 3
    assert worked == ["outside", "nowhere"]  # perhaps they have been mended
    assert content(folder) == undisturbed
    assert batch(read_table(table), folder, Settings(refine="none")).kept == 0


@pytest.mark.parametrize("writes", range(9))
def test_killed_before_any_write_and_resumed_gives_the_same_files(planes, ended, tmp_path, monkeypatch, writes):
    """A process that is killed writes nothing more: neither does this one, from some moment on."""
    batch(planes[:2], tmp_path, replace(CHEAP, refine="none"))  # so that there are files to replace
    count = 0

    def dying(write):
        def one(*arguments):
            nonlocal count
            if count >= writes:
                raise SystemExit
            count += 1
            write(*arguments)

        return one

    with monkeypatch.context() as patched:
        for name in ("write_json", "write_atomically"):
            patched.setattr(run, name, dying(getattr(run, name)))
        with pytest.raises(SystemExit):
            batch(planes, tmp_path, CHEAP)
    (tmp_path / "masks/.scan0.nii.gz.1234.part").write_bytes(b"half a mask")
    (tmp_path / ".results.csv.1234.part").write_bytes(b"half a table")
    batch(planes, tmp_path, CHEAP)
    assert content(tmp_path) == ended


@pytest.mark.server
def test_a_process_that_is_killed_leaves_what_the_next_one_ends(table, undisturbed, tmp_path):
    command = [sys.executable, "-m", "bifseg", "batch", str(table), "-o", str(tmp_path / "out"), "--refine", "crf"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "out").glob("rows/*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    batch(read_table(table), tmp_path / "out", CHOICE)
    found = content(tmp_path / "out")
    assert {name: found[name] for name in undisturbed} == undisturbed


def test_a_mask_that_somebody_changed_stays(table, tmp_path):
    batch(read_table(table)[:1], tmp_path, CHOICE)
    mask = tmp_path / "masks/scan0.nii.gz"
    mask.write_bytes(b"corrected")
    assert batch(read_table(table)[:1], tmp_path, CHOICE).kept == 1
    made = batch(read_table(table)[:1], tmp_path, Settings(refine="none"))
    assert made.statuses == {"refused": 1}
    assert "was changed" in made.entries[0]["sentence"]
    assert mask.read_bytes() == b"corrected"
    mask.unlink()
    assert batch(read_table(table)[:1], tmp_path, Settings(refine="none")).statuses == {"done": 1}


def test_a_fault_of_ours_is_told_as_one_and_the_other_rows_are_done(table, tmp_path, monkeypatch, capsys):
    def broken(scan, mask, box):
        if box.plane is None:
            raise KeyError("a bug")
        return np.zeros((4, 4, 1, 3), np.uint8)

    monkeypatch.setattr(work, "picture", broken)
    assert main(["batch", str(table), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "row 3, begun: KeyError: 'a bug'" in said
    assert "Traceback" in said
    assert [row["status"] for row in results(tmp_path / "out")] == ["done", "refused", "failed", "refused", "failed"]


def test_one_batch_at_a_time_writes_to_a_folder(table, tmp_path):
    def second(*_):
        with pytest.raises(InvalidInput, match="Another batch is writing"):
            batch(read_table(table), tmp_path, CHOICE)

    batch(read_table(table)[:1], tmp_path, CHOICE, progress=second)


def test_a_row_begins_with_what_its_task_has_learnt(tmp_path, monkeypatch):
    """And is done anew once the task has learnt more; a row that names no task of that name is refused."""
    quicken(monkeypatch)
    image, truth = scan_and_core(9)
    write_image(tmp_path / "scan.nii.gz", image.array, image)
    path = tmp_path / "table.csv"
    path.write_text('image,box,task\nscan.nii.gz,"4:44,4:44,0",core\nscan.nii.gz,"4:44,4:44,0",\n')
    task, settings = Tasks(tmp_path / "tasks").task("core", new=True), Settings(tasks=str(tmp_path / "tasks"))

    def dice(name):
        mask = read_image(tmp_path / f"out/masks/{name}.nii.gz").array > 0
        return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    assert batch(read_table(path), tmp_path / "out", settings).entries[0]["sentence"].startswith("There is no task")
    for seed in range(3):
        task.add(core(seed))
    assert batch(read_table(path), tmp_path / "out", settings).kept == 1
    before = dice("scan")
    learn_version(task, 2)
    made = batch(read_table(path), tmp_path / "out", settings)
    assert made.kept == 1
    told = prior_of(task, image, ((4, 44), (4, 44), 0)).told
    assert (told["task"], told["version"]) == ("core", 1)
    assert [entry["prior"] for entry in made.entries] == [told, None]
    assert "fcn2d, core version 1" in (tmp_path / "out/results.csv").read_text()
    assert before == dice("scan-2") < 0.5 < 0.9 < dice("scan")


@pytest.mark.server
def test_a_local_dask_cluster_gives_the_same_files(table, undisturbed, tmp_path):
    # Ray is reached by the same lines; test_benchmark starts one.
    pytest.importorskip("dask.distributed")
    batch(read_table(table), tmp_path, CHOICE, jobs=2, backend="dask")
    assert content(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ending", ".xyz"], "--ending is '.xyz'; it must be one of .nii.gz"),
        (["--model", "none"], "Unknown model 'none'"),
        (["--refine", "much"], "much"),
        (["--set", "fill=1"], "fill"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(table, tmp_path, capsys, options, said):
    assert main(["batch", str(table), "-o", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
