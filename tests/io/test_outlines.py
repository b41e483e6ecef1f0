"""Objects as outlines and surfaces: put back on the voxels, they are the objects again."""

import zipfile
from io import BytesIO

import numpy as np
import pytest
from dicom_files import dice, rasterised, save_dicom, series
from PIL import Image as Pillow
from PIL import ImageDraw

from bifseg.errors import CannotWrite, InvalidInput
from bifseg.imaging.image import Image
from bifseg.io import dicom_seg, images, rtstruct, stl
from bifseg.io.images import read_image

pydicom = pytest.importorskip("pydicom")
points_in_poly = pytest.importorskip("skimage.measure").points_in_poly


def ball(shape, centre, radius):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def objects(shape):
    """A ball with a hole, an island in the hole, and specks: 1; another ball: 2."""
    labels = np.zeros(shape, np.uint8)
    centre = np.array([16, 17, shape[2] // 2])
    labels[ball(shape, centre, 10) & ~ball(shape, centre, 6) | ball(shape, centre, 2)] = 1
    labels[ball(shape, centre + np.array([0, 8, 0]), 1)] = 0  # a second hole, in the ring
    labels[2, 2, 2] = labels[3, 3, 2] = labels[0, 0, 0] = labels[-1, -1, -1] = 1
    labels[ball(shape, (33, 10, shape[2] // 2), 5)] = 2
    return labels


@pytest.mark.parametrize(
    ("orientation", "reverse"),
    [((1, 0, 0, 0, 1, 0), False), ((0, 1, 0, 0, 0, -1), True), ((0.8, 0.6, 0, -0.6, 0.8, 0), False)],
)
def test_outlines_put_back_are_the_objects(tmp_path, orientation, reverse):
    image, headers = series(tmp_path / "d", orientation=orientation, reverse=reverse)
    labels = objects(image.shape)
    rtstruct.write_rtstruct(tmp_path / "a.dcm", labels, ["Leber", "肿瘤"], image, headers)
    content, masks = rasterised(tmp_path / "a.dcm", image)
    assert dice(masks["Leber"], labels == 1) >= 0.98
    assert dice(masks["肿瘤"], labels == 2) >= 0.98
    np.testing.assert_array_equal(masks["Leber"], labels == 1)  # to the last voxel
    with zipfile.ZipFile(BytesIO(headers)) as archive:
        slices = [pydicom.dcmread(archive.open(name)) for name in sorted(archive.namelist())]
    assert content.StudyInstanceUID == slices[0].StudyInstanceUID
    assert str(content.PatientName) == "Müller^Jörg"
    (frame,) = content.ReferencedFrameOfReferenceSequence
    (whole,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert whole.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in whole.ContourImageSequence] == [s.SOPInstanceUID for s in slices]
    for contour in content.ROIContourSequence[1].ContourSequence:
        height = np.array(contour.ContourData[:3], float)
        (own,) = (s for s in slices if s.SOPInstanceUID == contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        assert abs((height - np.array(own.ImagePositionPatient, float)) @ image.direction[:, 2]) < 1e-2


def test_any_mask_is_its_outlines():
    """Random specks, diagonals, nested rings and borders: exact, also for fillers that count crossings otherwise."""
    rng = np.random.default_rng(0)
    for k in range(60):
        mask = rng.random((14, 11)) < rng.uniform(0.05, 0.95)
        if not mask.any():
            continue
        x, y = (a.ravel() for a in np.mgrid[:14, :11])
        back = np.zeros(mask.shape, bool)
        for line in rtstruct.outlines(mask):
            inside = points_in_poly(np.c_[x, y], line).reshape(mask.shape)
            assert not (back & inside).any(), k  # no outline lies in another: holes are in the line itself
            back |= inside
        np.testing.assert_array_equal(back, mask)
    ring = np.zeros((40, 40), bool)
    ring[5:35, 5:35], ring[15:25, 15:25] = True, False
    (line,) = rtstruct.outlines(ring)
    drawn = Pillow.new("1", (400, 400))
    ImageDraw.Draw(drawn).polygon([tuple(p) for p in (line * 10 + 5).tolist()], fill=1)
    assert dice(np.array(drawn).T[5::10, 5::10], ring) >= 0.98


def test_a_multi_frame_file_is_referred_to_by_frame(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    del highdicom
    from dicom_files import enhanced

    pixels = np.random.default_rng(0).integers(0, 99, (3, 8, 9)).astype(np.int16)
    path = enhanced(tmp_path / "a.dcm", [(0, 0, z) for z in (4.0, 0.0, 2.0)], [1, 1, 1], pixels)
    image = read_image(path)
    labels = np.zeros(image.shape, np.uint8)
    labels[2:5, 2:6, 0] = 1
    rtstruct.write_rtstruct(tmp_path / "r.dcm", labels, ["a"], image, dicom_seg.headers_of(path))
    content, masks = rasterised(tmp_path / "r.dcm", image)
    np.testing.assert_array_equal(masks["a"], labels == 1)
    (contour,) = content.ROIContourSequence[0].ContourSequence
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 2  # the lowest is stored second


def test_what_no_structure_set_holds(tmp_path):
    image, headers = series(tmp_path / "d", (8, 9, 3))
    labels = np.zeros(image.shape, np.uint8)
    with pytest.raises(InvalidInput, match="nothing to write"):
        rtstruct.write_rtstruct(tmp_path / "a.dcm", labels, ["a"], image, headers)
    labels[2:4, 2:4, 1] = 2
    with pytest.raises(InvalidInput, match="no name"):
        rtstruct.write_rtstruct(tmp_path / "a.dcm", labels, ["a"], image, headers)
    with pytest.raises(InvalidInput, match="3 slices"):
        rtstruct.write_rtstruct(tmp_path / "a.dcm", labels[..., :2], ["a", "b"], image, headers)
    with pytest.raises(CannotWrite, match="came from none"):
        images.write_image(tmp_path / "a.rtstruct.dcm", labels, image, names=["a", "b"])
    assert not (tmp_path / "a.dcm").exists()
    (tmp_path / "a.nii.gz").write_bytes(b"no DICOM")
    with pytest.raises(CannotWrite, match="is none"):
        images.headers_for(tmp_path / "a.rtstruct.dcm", tmp_path / "a.nii.gz")
    save_dicom(tmp_path / "bare", [(1, 2, 4 * k) for k in range(2)])
    for file in (tmp_path / "bare").iterdir():
        content = pydicom.dcmread(file)
        content.pop("FrameOfReferenceUID", None)
        content.save_as(file)
    bare = read_image(tmp_path / "bare")
    with pytest.raises(InvalidInput, match="lack FrameOfReferenceUID"):
        rtstruct.write_rtstruct(
            tmp_path / "a.dcm", np.ones(bare.shape, np.uint8), ["a"], bare, dicom_seg.headers_of(tmp_path / "bare")
        )


# ---- surfaces


def triangles(path):
    content = path.read_bytes()
    found = np.frombuffer(content[84:], stl.TRIANGLE)
    assert int.from_bytes(content[80:84], "little") == len(found)
    return found


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.8, 2.5)])
def test_a_surface_encloses_its_object_where_it_lies(tmp_path, sign, spacing):
    direction = np.array([[0, sign, 0], [1, 0, 0], [0, 0, 1.0]])
    shape = (40, 36, 30)
    mask = ball(shape, (18, 17, 14), 11)
    image = Image(mask.astype(np.uint8), spacing, (-100, 20, 300), direction)
    images.write_image(tmp_path / "a.stl", mask.astype(np.uint8), image, names=["a"])
    found = triangles(tmp_path / "a.stl")
    corners = found["corners"].astype(float)
    inside = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert inside == pytest.approx(mask.sum() * np.prod(spacing), rel=0.03)  # positive: seen from outside
    voxels = (np.c_[corners.reshape(-1, 3), np.ones(corners.size // 3)] @ np.linalg.inv(image.affine).T)[:, :3]
    np.testing.assert_allclose(voxels.min(0), np.argwhere(mask).min(0) - 0.5, atol=1e-3)
    np.testing.assert_allclose(voxels.max(0), np.argwhere(mask).max(0) + 0.5, atol=1e-3)
    sides = np.sort(np.rint(voxels.reshape(-1, 3, 3) * 4).astype(int) @ (1, 1000, 1000000), 1)
    pairs = np.concatenate([sides[:, [0, 1]], sides[:, [1, 2]], sides[:, [0, 2]]])
    assert (np.unique(pairs, axis=0, return_counts=True)[1] == 2).all()  # closed
    np.testing.assert_allclose(np.linalg.norm(found["normal"], axis=1), 1, rtol=1e-4)


def test_itself_at_the_border_and_several_objects(tmp_path):
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[:2], labels[4:] = 1, 3
    stl.write_stl(tmp_path / "a.stl", labels, [], Image(labels, (1, 1, 1)))
    corners = triangles(tmp_path / "a.stl")["corners"].astype(float)
    inside = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert inside == pytest.approx(2 * 72, rel=0.1)


def test_what_has_no_surface(tmp_path):
    mask = np.ones((4, 5, 1), np.uint8)
    for image, words in ((Image(mask, (1, 1, 1), planar=True), "single plane"), (Image(mask), "how large a voxel")):
        with pytest.raises(CannotWrite, match=words):
            images.check_writable(tmp_path / "a.stl", image)
        with pytest.raises(CannotWrite, match=words):
            stl.write_stl(tmp_path / "a.stl", mask, [], image)
    image = Image(mask, (1, 1, 1))
    with pytest.raises(InvalidInput, match="are empty"):
        stl.write_stl(tmp_path / "a.stl", mask * 0, [], image)
    with pytest.raises(InvalidInput, match="the image has"):
        stl.write_stl(tmp_path / "a.stl", mask[:2], [], image)
    assert list(tmp_path.iterdir()) == []
