"""Colours through the server: into the store, out of it, and over to another."""

import io as bytes_io

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow
from readers import FORKING

from bifseg.imaging.image import Image
from bifseg.server.nninteractive.nnia import pack
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading
from bifseg.storage import Store
from bifseg.storage.transfer import export, import_

ROWS = np.random.default_rng(9).integers(0, 200, (40, 60, 3), np.uint8)  # as a picture has them
ROWS[10:30, 15:45, 0] = 250
COLOURS = ROWS.swapaxes(0, 1)[:, :, None]  # (x, y, 1, 3)


@pytest.fixture(scope="module")
def row(ann):
    content = bytes_io.BytesIO()
    Pillow.fromarray(ROWS).save(content, "PNG")
    answer = ann.post("/api/v1/images", params={"name": "polyp.png"}, content=content.getvalue())
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_picture_is_kept_in_colour(ann, row):
    assert row["colours"]
    assert row["shape"] == [60, 40, 1]
    assert row["bytes"] == 4 * 60 * 40
    answer = ann.get(f"/api/v1/images/{row['key']}/voxels")
    assert answer.headers["X-Shape"] == "60,40,1,3"
    assert answer.headers["X-Dtype"] == "uint8"
    np.testing.assert_array_equal(np.frombuffer(answer.content, np.uint8).reshape(60, 40, 1, 3), COLOURS)


def test_a_page_sees_it_in_colour(ann, row):
    file = nibabel.Nifti1Image.from_bytes(ann.get(f"/api/v1/images/{row['key']}/canonical").content)
    voxels = np.asarray(file.dataobj)
    assert voxels.dtype.names == ("R", "G", "B")
    seen = np.stack([voxels[c] for c in "RGB"], axis=-1)[..., 0, :]
    np.testing.assert_array_equal(seen[::-1, ::-1], COLOURS[:, :, 0])  # x and y of a picture run to the left and back


@pytest.mark.parametrize("format", ["png", "nii.gz", "nrrd", "mha"])
def test_a_file_of_it_is_in_colour(ann, row, tmp_path, format):
    from bifseg.io.images import read_image

    path = tmp_path / f"a.{format}"
    path.write_bytes(ann.get(f"/api/v1/images/{row['key']}/voxels", params={"format": format}).content)
    np.testing.assert_array_equal(read_image(path).colours, COLOURS)


def test_it_can_be_segmented_and_its_mask_is_a_mask(ann, row):
    session = ann.post("/api/v1/sessions", json={"image": row["key"]}).json()["id"]
    done = ann.post(f"/api/v1/sessions/{session}/box", json={"box": "10:50,5:35,0"})
    assert done.status_code == 200, done.text
    answer = ann.get(f"/api/v1/sessions/{session}/mask")
    assert answer.headers["X-Shape"] == "40,30,1"


def test_a_client_of_nninteractive_sends_it_in_colour(tmp_path):
    channels = np.ascontiguousarray(np.moveaxis(COLOURS, 3, 0))
    (tmp_path / "a.nnia").write_bytes(pack(channels))
    array, shape = reading.read_array(tmp_path / "a.nnia", tmp_path, Limits(), template=FORKING)
    assert shape == (3, 60, 40, 1)
    np.testing.assert_array_equal(Image(array).colours, COLOURS)


def test_it_moves_to_another_store_in_colour(tmp_path):
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    image, grey = Image(COLOURS, planar=True), Image(COLOURS[..., 0], planar=True)
    assert one.add_image(image, "ann") != one.add_image(grey, "ann")
    id = one.create(one.add_image(image, "ann"), "ann")
    export(one, id, tmp_path / "a.zip")
    there = other.session(import_(other, tmp_path / "a.zip", "bob"))
    assert there.image == one.session(id).image
    np.testing.assert_array_equal(other.image(there.image).colours, COLOURS)
    np.testing.assert_array_equal(other.image(there.image).array, image.array)
    for store in (one, other):
        store.close()
