"""DICOM that real people have: slices, copies, phases and frames, each where and what it says it is, or refused."""

import zipfile

import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, save_dicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from small_files import FRAMES, POSITIONS, refused, series, values

from bifseg.io import images
from bifseg.io.images import read_image


@pytest.mark.parametrize(
    "slopes", [(1, 1, 1, 40.5), (1, 0.0004, 0.0004, 0.0004), (2, 2, 3, 3), (1, 1, 1, 1000)], ids=str
)
def test_each_slice_has_its_own_slope(tmp_path, slopes):
    def edit(content, k):
        content.RescaleSlope, content.RescaleIntercept = slopes[k], -5

    image = read_image(series(tmp_path / "d", edit))
    assert np.allclose(image.array, np.stack([values(k) * slopes[k] - 5 for k in range(4)], -1), rtol=1e-6)


@pytest.mark.parametrize("first", [0, 3])
def test_signed_and_unsigned_slices(tmp_path, first):
    def edit(content, k):
        content.RescaleIntercept = 0
        content.PixelRepresentation = int(k != first)
        if k == first:
            content.PixelData = (np.arange(30, dtype=np.uint16) + 60_000).tobytes()

    image = read_image(series(tmp_path / "d", edit))
    assert image.array[..., first].min() == 60_000
    assert np.array_equal(image.array[..., 1], values(1))


def _turn(content):
    content.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]


def _zoom(content):
    content.PixelSpacing = [1, 1]


def _grow(content):
    content.Rows, content.Columns = 5, 6


def _no_place(content):
    del content.ImagePositionPatient


@pytest.mark.parametrize("change", [_turn, _zoom, _grow, _no_place])
def test_slices_that_differ_are_named(tmp_path, change):
    folder = series(tmp_path / "d", lambda content, k: change(content) if k == 2 else None)
    refused(folder, "differ|do not say where")


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("length", [-7, 300, 0])
def test_a_damaged_slice_is_never_left_out(tmp_path, k, length):
    save_dicom(tmp_path / "d", POSITIONS)
    path = sorted((tmp_path / "d").iterdir())[k]
    path = path.rename(path.with_name(f"{k}.dcm"))
    path.write_bytes(path.read_bytes()[:length])
    refused(tmp_path / "d", path.name)


def test_copies_and_phases(tmp_path, caplog):
    save_dicom(tmp_path / "d", POSITIONS)
    path = sorted((tmp_path / "d").iterdir())[0]
    (tmp_path / "d" / "copy").write_bytes(path.read_bytes())
    assert read_image(tmp_path / "d").shape == (5, 6, 4)
    assert "same DICOM slice" in caplog.text
    other = pydicom.dcmread(path)
    other.PixelData = bytes(60)
    other.save_as(tmp_path / "d" / "copy")
    refused(tmp_path / "d", "say that they are the same")
    other.SOPInstanceUID = generate_uid()
    other.save_as(tmp_path / "d" / "copy")
    refused(tmp_path / "d", "same place")
    save_dicom(tmp_path / "two", [(1, 2, 4 * (k // 2)) for k in range(6)])
    refused(tmp_path / "two", "6 DICOM slices at 3 places")


def test_a_series_is_picked_by_what_is_said_of_it(tmp_path):
    one, two = (save_dicom(tmp_path / "d", POSITIONS[:n]) for n in (4, 3))
    for path in (tmp_path / "d").iterdir():
        content = pydicom.dcmread(path)
        first = content.SeriesInstanceUID == one
        content.SeriesNumber, content.SeriesDescription = (3, "Thorax") if first else (4, "Abdomen")
        content.save_as(path)
    refused(tmp_path / "d", "--series.*CT, number 3, Thorax")
    for asked, slices in ((one, 4), (two, 3), ("3", 4), ("Abdomen", 3)):
        assert read_image(tmp_path / "d", series=asked).shape[2] == slices
    refused(tmp_path / "d", "not Head", series="Head")


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
@pytest.mark.parametrize("slopes", [[1] * 5, [0.5, 1, 2, 3, 4.5]], ids=["same", "own"])
def test_frames_are_sorted_and_scaled_each(tmp_path, order, slopes):
    positions, order = [(1, 2, 4 * k) for k in range(5)], list(order)
    path = enhanced(tmp_path / "a.dcm", [positions[k] for k in order], [slopes[k] for k in order], FRAMES[order])
    image = read_image(path)
    assert np.allclose(image.array, (FRAMES * np.array(slopes)[:, None, None]).transpose(2, 1, 0))
    assert image.spacing == (3, 2, 4)
    assert image.origin == (1, 2, 0)


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([(1, 2, z) for z in (0, 4, 8, 20, 24)], "even, straight"),
        ([(1, 2 + k, 4 * k) for k in range(5)], "even, straight"),
        ([(1, 2, z) for z in (0, 4, 0, 4, 8)], "same place"),
    ],
    ids=["gap", "tilted", "times"],
)
def test_frames_that_form_no_stack(tmp_path, positions, words):
    refused(enhanced(tmp_path / "a.dcm", positions, [1] * 5, FRAMES), words)


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"])
def test_a_film_is_no_volume(name):
    refused(get_testdata_file(name), "one frame")


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
)
def test_pydicom_sees_the_same_in_its_files(name):
    content = pydicom.dcmread(get_testdata_file(name))
    meant = content.pixel_array * float(content.get("RescaleSlope", 1)) + float(content.get("RescaleIntercept", 0))
    assert np.array_equal(read_image(get_testdata_file(name)).array[..., 0].T, meant)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "zip"])
def test_files_without_preamble(tmp_path, syntax):
    save_dicom(tmp_path / "d", POSITIONS)
    for path in (tmp_path / "d").iterdir():
        content = pydicom.dcmread(path)
        bare = Dataset()
        bare.update(content)
        with path.open("wb") as file:
            pydicom.dcmwrite(file, bare, implicit_vr=syntax == "implicit", little_endian=True)
    path = tmp_path / "d"
    if syntax == "zip":
        path = tmp_path / "d.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in (tmp_path / "d").iterdir():
                archive.write(file, file.name)
    assert np.array_equal(read_image(path).array[..., 3], values(3) - 1000)


def test_hounsfield_units_that_look_like_the_start_of_a_jpeg_2000(tmp_path):
    def edit(content, k):
        content.PixelData = (b"\xff\x4f\xff\x51" + b"\x7f" * 16) * 3

    assert images.read_upload(series(tmp_path / "d", edit), voxels=10**6, bytes=10**8).shape == (5, 6, 4)
