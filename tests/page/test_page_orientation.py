"""The same patient in files of every order, and a picture: what is seen, drawn and saved is where it is in the body."""

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from page_reader import AXES, Scan, pillow, reading
from scipy.spatial.transform import Rotation

from bifseg import Session
from bifseg.evaluation.metrics import dice
from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

ORDERS = ("LPS", "PSR", "oblique")  # web/test/scan/axes.test.ts goes through all 48
VIEWS = ("Axial", "Coronal", "Sagittal")
OBJECT = 1  # of the phantom: one that the network finds whichever way it is turned


@pytest.fixture(scope="module")
def body():
    """A patient in canonical order: grey values, the mask of one object, and where they are, RAS."""
    image, labels = phantom(2, (44, 38, 24))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = 5, -30, 12
    return np.asarray(image.array), labels == OBJECT, affine


@pytest.fixture(scope="module")
def expected(body):
    """The mask that the method makes of the object's box, without any page: canonical order."""
    grey, truth, _ = body
    low, high = around(truth)
    image = Image(grey, (1, 1, 2), direction=np.diag([-1.0, -1.0, 1.0]))
    return Session(image).box([(a, b + 1) for a, b in zip(low, high, strict=True)])


def around(mask):
    """A box around a mask with some room: its first and last voxel."""
    where = np.argwhere(mask)
    return np.maximum(where.min(0) - 2, 0), np.minimum(where.max(0) + 2, np.array(mask.shape) - 1)


def written(path, array, affine, order):
    """An array in canonical order as a NIfTI file of another."""
    if order == "oblique":
        turned = affine.copy()
        turned[:3, :3] = Rotation.from_euler("xyz", (9, -14, 20), degrees=True).as_matrix() @ affine[:3, :3]
        file = nibabel.Nifti1Image(array, turned)
    else:
        file = nibabel.Nifti1Image(array, affine)
        file = file.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(order)))
        assert "".join(nibabel.aff2axcodes(file.affine)) == order
    file.set_data_dtype(array.dtype)
    nibabel.save(file, path)
    return path


def uploaded(server, path):
    """A session on a file."""
    with server.client("anna") as http:
        image = http.post("/api/v1/images", params={"name": path.name}, content=path.read_bytes())
        assert image.status_code == 201, image.text
        body = {"image": image.json()["key"], "title": path.name}
        return http.post("/api/v1/sessions", json=body).json()["id"]


def looks_like(reader, view, array):
    """Whether the slice on the screen has the grey values of an array of the file's shape at this place."""
    cut = reader.scan.cut(array, view, reader.at()).astype(float)
    level, width = (float(reader.control(key).input_value()) for key in ("Level", "Width"))
    grey = np.clip((cut - (level - width / 2)) * 255 / width, 0, 255)
    seen = reader.colours(view)
    clear = reader.clear(view)
    assert clear.sum() > 0.6 * clear.size
    return bool((np.abs(seen - grey[..., None]) <= 2)[clear].all())


def scribbled(server, reader):
    segment = server.service.store.state(reader.session).objects["object 1"]
    return segment.box.paste(segment.scribbles, reader.scan.array.shape)


@pytest.mark.parametrize("order", ORDERS)
def test_a_scan_of_any_order(browser, server, body, expected, order, tmp_path):
    grey, truth, affine = body
    path = written(tmp_path / f"{order}.nii.gz", grey, affine, order)
    object_ = np.asarray(nibabel.load(written(tmp_path / "truth.nii", truth.astype(np.uint8), affine, order)).dataobj)
    low, high = (voxel.tolist() for voxel in around(object_))
    middle = tuple(np.rint(np.argwhere(object_).mean(0)).astype(int).tolist())
    with reading(browser, server.url) as reader:
        reader.scan = Scan.read(path)
        reader.enter(server.service.tokens.create_once("anna"), uploaded(server, path))
        reader.plain()
        reader.go_to(middle)
        for view in VIEWS:
            assert looks_like(reader, view, reader.scan.array)
            for axis in np.flatnonzero(np.rint(reader.scan.to[list(AXES[view][:2]), :3]).any(0)):
                assert not looks_like(reader, view, np.flip(reader.scan.array, axis))
        with reader.acting():
            reader.box(low, high)
        segment = server.service.store.state(reader.session).objects["object 1"]
        assert (list(segment.box.start), list(segment.box.stop)) == (low, [n + 1 for n in high])

        mask = exported(reader, tmp_path)
        assert dice(mask, expected) > 0.9
        assert dice(mask, truth) > 0.75
        reader.go_to(middle)
        reader.press("g")
        reader.thin()
        strokes = np.zeros(object_.shape, bool)
        for view in VIEWS:
            ends = across(reader, view, middle)
            with reader.acting():
                reader.drag(view, *ends)
            strokes[tuple(slice(min(pair), max(pair) + 1) for pair in zip(*ends, strict=True))] = True
            np.testing.assert_array_equal(scribbled(server, reader) == 2, strokes)
        assert not canonical(strokes, reader)[exported(reader, tmp_path)].any()


def across(reader, view, voxel):
    """Two voxels between which a stroke runs from left to right through another."""
    place = reader.scan.canonical(voxel)
    step = np.zeros(3)
    step[AXES[view][0]] = 3
    return reader.scan.file(place + step), reader.scan.file(place - step)


def canonical(array, reader):
    """An array of the file's shape in canonical order."""
    file = nibabel.Nifti1Image(array.astype(np.uint8), reader.scan.affine)
    return np.asarray(nibabel.as_closest_canonical(file).dataobj) > 0


def exported(reader, folder):
    """The labels that the page saves, in canonical order: bool."""
    reader.press("Control+s")
    dialog = reader.page.get_by_role("dialog")
    with reader.page.expect_download() as download:
        dialog.get_by_role("button", name="NIfTI").click()
    path = folder / "labels.nii.gz"
    download.value.save_as(path)
    dialog.get_by_role("button", name="Close").click()
    file = nibabel.load(path)
    np.testing.assert_allclose(file.affine, reader.scan.affine, atol=1e-4)
    return np.asarray(nibabel.as_closest_canonical(file).dataobj) > 0


def test_a_picture(browser, server, tmp_path):
    x, y = np.mgrid[:72, :50]
    blob = ((x - 22) / 11) ** 2 + ((y - 30) / 8) ** 2 < 1
    picture = np.clip(60 + x // 2 + 120 * blob + np.random.default_rng(0).integers(-9, 9, x.shape), 0, 255)
    picture = picture.astype(np.uint8)
    path = tmp_path / "picture.png"
    pillow.fromarray(picture.T).save(path)
    with reading(browser, server.url) as reader:
        reader.scan = Scan.picture(picture)
        reader.enter(server.service.tokens.create_once("anna"), uploaded(server, path))
        reader.plain()
        reader.press("Escape")
        for array, same in ((picture, True), (picture[::-1], False), (picture[:, ::-1], False)):
            assert looks_like(reader, "Image", array[..., None]) == same
        reader.press("b")
        with reader.acting():
            reader.drag("Image", (8, 18, 0), (36, 41, 0))
        segment = server.service.store.state(reader.session).objects["object 1"]
        assert str(segment.box) == "8:37,18:42,0"
        mask = segment.box.paste(segment.mask, (72, 50, 1))
        assert dice(mask, Session(Image(picture[..., None])).box([(8, 37), (18, 42), 0])) > 0.99
        reader.press("g")
        reader.thin()
        with reader.acting():
            reader.drag("Image", (16, 30, 0), (28, 30, 0))
        strokes = np.zeros(mask.shape, bool)
        strokes[16:29, 30] = True
        np.testing.assert_array_equal(scribbled(server, reader) == 2, strokes)
        reader.press("Control+s")
        with reader.page.expect_download() as download:
            reader.page.get_by_role("button", name="PNG labels").click()
        labels = np.asarray(pillow.open(download.value.path())).T
        np.testing.assert_array_equal(labels, server.service.store.state(reader.session).labels(mask.shape)[..., 0])
        assert not labels[16:29, 30].any()
        assert labels.any()
