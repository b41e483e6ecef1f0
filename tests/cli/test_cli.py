"""The command line: what it writes, what it says, and that no failure leaves a file behind."""

import json
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from label_maps import labels_like

from bifseg.cli import main
from bifseg.errors import CannotWrite
from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image
from bifseg.networks.checkpoint import SHIPPED

pytestmark = pytest.mark.usefixtures("coarse")

PLANE = "4:28,6:30,8"
CUBE = "4:28,6:30,4:14"
OTHER = "20:31,2:20,4:14"


# ---- what it is for


def test_a_plane(scan, out, run):
    report = out / "run.json"
    said = run(
        "segment", scan, "--box", PLANE, "-o", out / "m.nii.gz", "--report", report,
        "--probability", out / "p.nii.gz", "--uncertainty", out / "u.nrrd",
    )  # fmt: skip
    mask, p, u = (read_image(out / name) for name in ("m.nii.gz", "p.nii.gz", "u.nrrd"))
    source, written = nibabel.load(scan), nibabel.load(out / "m.nii.gz")
    assert written.shape == source.shape
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-5)
    assert set(np.unique(mask.array)) <= {0, 1}
    assert mask.array[..., [7, 9]].sum() == 0
    assert p.array.dtype == u.array.dtype == np.float32
    assert 0 <= p.array.min() < p.array.max() <= 1
    assert 0 <= u.array.min() < u.array.max() <= 1

    content = json.loads(report.read_text())
    (about,) = content["objects"]
    voxels = int(mask.array.sum())
    assert about["voxels"] == voxels
    assert about["millilitres"] == pytest.approx(voxels * 4.5 / 1000, abs=1e-3)
    assert about["box"] == PLANE
    assert len(about["model"]["sha256"]) == 64
    assert about["parameters"]["omega"] == 5
    (box,) = about["interactions"]
    assert box["with"] == "box"
    assert {"features", "cut"} <= set(box["milliseconds"])
    assert np.isfinite([record["energy"] for record in box["rounds"]]).all()
    assert set(content["milliseconds"]) == {"open", "segment", "write"}
    assert content["versions"]["bifseg"]
    peak = content["peak_memory_mib"]  # Windows does not tell
    assert 50 < peak < 4096 if find_spec("resource") else peak is None
    assert re.match(rf"object 1: {voxels} voxels, [\d.e-]+ ml, [\d.]+ s, energy ", said)
    assert sorted(path.name for path in out.iterdir()) == ["m.nii.gz", "p.nii.gz", "run.json", "u.nrrd"]


def test_several_boxes(scan, out, run):
    empty = labels_like(scan, out / "none.nii")
    drawn = labels_like(scan, out / "s.nii", _1=np.s_[28:31, 3, 6])
    said = run(
        "segment", scan, "--box", CUBE, "--name", "left", "--scribbles", empty,
        "--box", OTHER, "--name", "right", "--scribbles", drawn, "-o", out / "m.nrrd", "--refine", "none",
    )  # fmt: skip
    assert [line.split(":")[0] for line in said.splitlines()] == ["left", "right"]
    labels = read_image(out / "m.nrrd").array
    assert labels[28:31, 3, 6].tolist() == [2, 2, 2]
    assert set(np.unique(labels)) <= {0, 1, 2}
    run("segment", scan, "--box", CUBE, "-o", out / "alone.nrrd", "--refine", "none")
    np.testing.assert_array_equal(labels == 1, read_image(out / "alone.nrrd").array == 1)  # locked from then on


def test_a_mask_to_start_from(scan, out, run):
    initial = labels_like(scan, out / "i.nii", _1=np.s_[8:18, 10:20, 4:10])
    said = run("segment", scan, "--initial", initial, "-o", out / "m.nii", "--refine", "none", "--json")
    (about,) = json.loads(said)["objects"]
    assert about["box"] == "7:19,9:21,3:11"  # a tenth of 10, 10 and 6 voxels, rounded up, on every side
    assert about["interactions"][0]["with"] == "initial mask"
    np.testing.assert_array_equal(read_image(out / "m.nii").array, read_image(initial).array)
    flat = labels_like(scan, out / "flat.nii", _1=np.s_[0:18, 10:20, 4])
    said = run("segment", scan, "--initial", flat, "-o", out / "m.nii", "--json")
    assert json.loads(said)["objects"][0]["box"] == "0:20,9:21,4"


def test_a_picture_and_another_model(scan, out, run):
    volume = read_image(scan).array[..., 8].astype(float)
    pixels = np.rint(np.clip(volume / 1000, 0, 1) * 255).astype(np.uint8)
    write_image(out / "a.png", pixels[..., None], Image(pixels))
    said = run(
        "segment", out / "a.png", "--box", "4:28,6:30", "-o", out / "m.png", "--probability", out / "p.png",
        "--model", "multiscale2d",
    )  # fmt: skip
    assert " ml" not in said
    mask = read_image(out / "m.png")
    assert mask.shape == (32, 32, 1)
    assert set(np.unique(read_labels(out / "m.png", mask))) <= {0, 1}  # its indices; its colours are to be seen
    assert read_image(out / "p.png").array.max() > 1


def test_the_same_seed_gives_the_same_mask(scan, out, run):
    drawn = labels_like(scan, out / "s.nii", _1=np.s_[8:14, 10, 8], _2=np.s_[20:26, 26, 8])
    for name in "ab":
        run("segment", scan, "--box", PLANE, "--scribbles", drawn, "--seed", 5, "-o", out / f"{name}.nii")
    assert (out / "a.nii").read_bytes() == (out / "b.nii").read_bytes()


def test_info(run):
    facts = json.loads(run("info", "--json"))
    assert facts["licence"] == "Apache-2.0"
    assert "no GPU" in facts["device"]
    assert {model["dimension"] for model in facts["models"]} == {2, 3}
    assert all(0 < model["megabytes"] <= 12 and len(model["sha256"]) == 64 for model in facts["models"])
    assert "torch" in run("info")


def test_help_when_nothing_is_asked_for(run):
    assert "segment" in run()
    assert "--box" in run("segment", "--help")


# ---- bad input


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


RAMP = np.arange(24.0 * 24 * 6, dtype=np.float32).reshape(24, 24, 6)


def cut_short(path: Path) -> Path:
    content = nifti(path, RAMP).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def touch(path: Path) -> Path:
    path.touch()
    return path


SHEAR = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
BAD_SCANS = {
    "missing": (lambda path: path, "does not exist"),
    "truncated": (cut_short, "truncated"),
    "empty": (touch, "empty"),
    "4-D": (lambda path: nifti(path, np.stack([RAMP] * 3, axis=-1)), "4 axes"),
    "complex": (lambda path: nifti(path, RAMP.astype(np.complex64)), "complex"),
    "NaN": (lambda path: nifti(path, np.where(RAMP == 7, np.nan, RAMP)), "NaN"),
    "infinite": (lambda path: nifti(path, np.where(RAMP == 7, np.inf, RAMP)), "infinite"),
    "constant": (lambda path: nifti(path, np.ones_like(RAMP)), "constant"),
    "sheared": (lambda path: nifti(path, RAMP, SHEAR), "sheared"),
}


@pytest.mark.parametrize("kind", BAD_SCANS)
def test_bad_scans(kind, tmp_path, out, refused):
    make, words = BAD_SCANS[kind]
    assert words in refused("segment", make(tmp_path / "a.nii"), "--box", "2:20,2:20,3", "-o", out / "m.nii.gz")
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("4:40,6:30,8", "outside"),
        ("-3:20,6:30,8", "outside"),
        ("4:4,6:30,8", "empty"),
        ("28:4,6:30,8", "inverted"),
        ("5,6,8", "at least two"),
        ("4:28,6:30", "2 axes"),
        ("4:28,6:30,8,9", "4 axes"),
        ("here", "'here'"),
        ("4:28,6:30,1.5", "1.5"),
        ("1:2:3,6:30,8", "x"),
        ("", "''"),
        ("99999999999999999999:4,1:2,3", "x"),
    ],
)
def test_bad_boxes(box, words, scan, out, refused):
    assert words in refused("segment", scan, f"--box={box}", "-o", out / "m.nii.gz", "--report", out / "r.json")
    assert not list(out.iterdir())


def test_bad_scribbles(scan, tmp_path, out, refused):
    other = nifti(tmp_path / "other.nii", np.zeros((9, 9, 9), np.uint8))
    bad = {
        tmp_path / "nowhere.nii": "does not exist",
        other: "shape",
        labels_like(scan, tmp_path / "three.nii", _3=np.s_[8:14, 10, 8]): "3",
        labels_like(scan, tmp_path / "outside.nii", _1=np.s_[8:14, 10, 8], _2=np.s_[30, 30, 8]): "outside the box",
    }
    for path, words in bad.items():
        assert words in refused("segment", scan, "--box", PLANE, "--scribbles", path, "-o", out / "m.nii.gz")
    empty = labels_like(scan, tmp_path / "empty.nii")
    assert "holds no object" in refused("segment", scan, "--initial", empty, "-o", out / "m.nii.gz")
    assert not list(out.iterdir())


def test_requests_that_make_no_sense(scan, out, refused):
    one, two = ("--box", PLANE), ("--box", PLANE, "--box", OTHER)
    drawn = labels_like(scan, out.parent / "s.nii")
    mask = ("-o", out / "m.nii.gz")
    assert "--box 40:80" in refused("segment", scan, *mask)
    assert "--scribbles is given 1 times for 2" in refused("segment", scan, *two, "--scribbles", drawn, *mask)
    assert "--name is given 2 times" in refused("segment", scan, *one, "--name", "a", "--name", "b", *mask)
    assert "one object" in refused("segment", scan, *two, *mask, "--probability", out / "p.nii")
    assert "one object" in refused("segment", scan, *two, *mask, "--initial", drawn)
    assert "'a'" in refused("segment", scan, *two, *mask, "--name", "a", "--name", "a")
    assert "'quick'" in refused("segment", scan, *one, *mask, "--preset", "quick")
    assert "'hard'" in refused("segment", scan, *one, *mask, "--refine", "hard")
    assert "--seed" in refused("segment", scan, *one, *mask, "--seed", "-1")
    assert "--bax" in refused("segment", scan, "--bax", PLANE)
    refused("segment")
    refused("segmint")
    assert not list(out.iterdir())


def test_bad_models(scan, tmp_path, out, refused):
    from safetensors.torch import load_file, safe_open, save_file

    good = SHIPPED / "multiscale2d.safetensors"
    with safe_open(good, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(good)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:100_000])
    other, nan = tmp_path / "other.safetensors", tmp_path / "nan.safetensors"
    save_file({"a": tensors[next(iter(tensors))]}, other)
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, nan, header)
    bad = {"resnet": "'resnet'", tmp_path / "no.safetensors": "no model file", cut: "damaged"}
    bad |= {other: "not a bifseg model", nan: "not finite", "multiscale3d": "3D"}
    for model, words in bad.items():
        assert words in refused("segment", scan, "--box", PLANE, "--model", model, "-o", out / "m.nii.gz")
    assert not list(out.iterdir())


def test_bad_outputs(scan, tmp_path, out, refused):
    copy = tmp_path / "scan.nii.gz"
    shutil.copy(scan, copy)
    before = copy.read_bytes()
    box = ("--box", PLANE)
    assert "suffix" in refused("segment", copy, *box, "-o", out / "m.jpg")
    assert "suffix" in refused("segment", copy, *box, "-o", out / "m.nii", "--uncertainty", out / "u")
    assert "does not exist" in refused("segment", copy, *box, "-o", out / "sub" / "m.nii")
    assert "is a file" in refused("segment", copy, *box, "-o", copy / "m.nii")
    assert "an input" in refused("segment", copy, *box, "-o", tmp_path / "out" / ".." / "scan.nii.gz")
    assert "another output" in refused("segment", copy, *box, "-o", out / "m.nii", "--probability", out / "m.nii")
    assert "a folder" in refused("segment", copy, *box, "-o", out / "m.nii", "--report", out)
    assert "PNG holds one plane" in refused("segment", copy, *box, "-o", out / "m.png")
    assert copy.read_bytes() == before
    assert not list(out.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(scan, out, refused):
    out.chmod(0o500)
    assert "not writable" in refused("segment", scan, "--box", PLANE, "-o", out / "m.nii")
    assert not list(out.iterdir())


def test_a_late_failure_takes_the_earlier_files_back(scan, out, refused, monkeypatch):
    (out / "m.nii").write_text("old")

    def full(path, content):
        raise CannotWrite(path, "No space left on device.")

    monkeypatch.setattr("bifseg.io.atomic.write_atomically", full)
    said = refused("segment", scan, "--box", PLANE, "-o", out / "m.nii", "--report", out / "r.json")
    assert said == f"bifseg: Cannot write {out / 'r.json'}: No space left on device.\n"
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("m.nii", "old")]


def test_control_c_is_quiet(scan, out, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bifseg.io.images.write_image", interrupt)
    assert main(["segment", str(scan), "--box", PLANE, "-o", str(out / "m.nii.gz")]) == 130
    assert capsys.readouterr() == ("", "")
    assert not list(out.iterdir())
