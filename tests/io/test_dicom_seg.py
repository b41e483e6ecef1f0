import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
from dicom_files import save_dicom

from bifseg.io import dicom_seg
from bifseg.io.images import read_image

highdicom = pytest.importorskip("highdicom", reason='needs pip install "bifseg[dicom]"')
pydicom = pytest.importorskip("pydicom")


@pytest.fixture
def series(tmp_path):
    """A folder of four slices, the image in it, and its headers."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k - 8) for k in range(4)])
    return tmp_path / "d", read_image(tmp_path / "d"), dicom_seg.headers_of(tmp_path / "d")


def labels_of(image, seed=3):
    labels = np.random.default_rng(seed).integers(0, 3, image.shape).astype(np.uint8)
    labels[0, 0, 0], labels[1, 0, 0] = 1, 2
    return labels


def read_back(path, image):
    """The labels of a segmentation object on the grid of an image, by the place of each frame in the body."""
    seg = highdicom.seg.segread(path)
    labels = np.zeros(image.shape, np.uint8)
    inverse = np.linalg.inv(image.affine)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        x, y, z = np.rint(inverse @ [*position, 1])[:3].astype(int)
        assert (x, y) == (0, 0)
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        labels[..., z][frame.T > 0] = number
    return seg, labels


def test_headers_are_kept_without_pixels(series):
    folder, _, headers = series
    with zipfile.ZipFile(BytesIO(headers)) as archive:
        found = [pydicom.dcmread(archive.open(name)) for name in sorted(archive.namelist())]
    assert [ds.ImagePositionPatient[2] for ds in found] == [-8, -4, 0, 4]
    assert not any("PixelData" in ds for ds in found)
    assert len(headers) < sum(path.stat().st_size for path in folder.iterdir())


def test_a_label_map_becomes_a_segmentation_of_its_series(series, tmp_path):
    _, image, headers = series
    labels = labels_of(image)
    dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels, ["liver", "spleen"], image, headers)
    seg, back = read_back(tmp_path / "seg.dcm", image)
    np.testing.assert_array_equal(back, labels)
    assert [seg.get_segment_description(k).SegmentLabel for k in (1, 2)] == ["liver", "spleen"]
    assert seg.get_segment_description(1).SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert seg.SOPClassUID == pydicom.uid.SegmentationStorage
    with zipfile.ZipFile(BytesIO(headers)) as archive:
        source = pydicom.dcmread(archive.open("00000.dcm"))
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID


def test_objects_are_named_in_any_script(series, tmp_path):
    folder, image, _ = series
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.SpecificCharacterSet, slice_.PatientName = "ISO_IR 100", "Müller^Jörg"
        slice_.save_as(path)
    names, labels = ["肿瘤", "a\\b\nc" + "x" * 80, " "], labels_of(image)
    dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels, names, image, dicom_seg.headers_of(folder))
    seg, back = read_back(tmp_path / "seg.dcm", image)
    np.testing.assert_array_equal(back, labels)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["肿瘤", "a/b c" + "x" * 59, "object 3"]
    assert str(seg.PatientName) == "Müller^Jörg"


def test_the_order_of_files_does_not_matter_and_slices_may_run_down(tmp_path):
    save_dicom(tmp_path / "d", [(1, 2, -4 * k) for k in range(5)])
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in sorted((tmp_path / "d").iterdir(), reverse=True):
            archive.write(path, path.name)
    image, headers = read_image(tmp_path / "d.zip"), dicom_seg.headers_of(tmp_path / "d.zip")
    labels = labels_of(image)
    dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels, ["a", "b"], image, headers)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", image)[1], labels)


def test_an_oblique_series(tmp_path):
    """Slices turned about x and y: what counts is where each frame lies, not the order of axes."""
    save_dicom(tmp_path / "d", [(0, 0, 0)] * 4)
    rotation = np.array([[0.8, 0.6, 0], [-0.48, 0.64, 0.6], [0.36, -0.48, 0.8]])
    for k, path in enumerate(sorted((tmp_path / "d").iterdir(), reverse=True)):
        slice_ = pydicom.dcmread(path)
        slice_.ImageOrientationPatient = [*rotation[0], *rotation[1]]
        slice_.ImagePositionPatient = [round(float(v), 6) for v in 5 * k * rotation[2] + (10, -20, 30)]
        slice_.save_as(path)
    image, headers = read_image(tmp_path / "d"), dicom_seg.headers_of(tmp_path / "d")
    np.testing.assert_allclose(image.direction, rotation.T, atol=1e-6)
    labels = labels_of(image)
    dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels, ["a", "b"], image, headers)
    np.testing.assert_array_equal(read_back(tmp_path / "seg.dcm", image)[1], labels)


def test_what_cannot_be_written(series, tmp_path):
    folder, image, headers = series
    out = tmp_path / "seg.dcm"
    with pytest.raises(ValueError, match="nothing to write"):
        dicom_seg.write_dicom_seg(out, np.zeros(image.shape, np.uint8), ["a"], image, headers)
    with pytest.raises(ValueError, match="numbers that have no name"):
        dicom_seg.write_dicom_seg(out, np.full(image.shape, 2, np.uint8), ["a"], image, headers)
    with pytest.raises(ValueError, match="the series has 5 x 6 x 4 voxels"):
        dicom_seg.write_dicom_seg(out, np.ones((5, 6, 3), np.uint8), ["a"], image, headers)
    assert not out.exists()
    (tmp_path / "no.dcm").write_bytes(b"no DICOM")
    with pytest.raises(ValueError, match="no DICOM file"):
        dicom_seg.headers_of(tmp_path / "no.dcm")
    first = next(folder.iterdir())
    header = pydicom.dcmread(first)
    header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    header.save_as(tmp_path / "deflated.dcm", enforce_file_format=True)
    with pytest.raises(ValueError, match="deflated"):
        dicom_seg.headers_of(tmp_path / "deflated.dcm")


def test_without_highdicom_it_is_said_what_to_install(series, tmp_path, monkeypatch):
    import sys

    _, image, headers = series
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ImportError, match=r'pip install "bifseg\[dicom\]"'):
        dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels_of(image), ["a", "b"], image, headers)


def test_after_warming_up_no_table_of_the_standard_is_read_while_a_user_waits(series, tmp_path, monkeypatch):
    """The tables took half of the first export's time."""
    _, image, headers = series
    dicom_seg.warm_up()
    monkeypatch.setattr("highdicom._standard_utils.json.loads", lambda *_: pytest.fail("a table is read"))
    dicom_seg.write_dicom_seg(tmp_path / "seg.dcm", labels_of(image), ["a", "b"], image, headers)


def test_warming_up_needs_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    dicom_seg.warm_up()
