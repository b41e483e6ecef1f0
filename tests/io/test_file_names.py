"""Names, links and members of a zip are what they say."""

import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicom_files import save_dicom
from small_files import CT, GREY, refused

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, write_image


def test_a_link_is_followed_and_a_mode_is_kept(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "m.nii"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "m.nii").symlink_to(target)
    write_image(tmp_path / "m.nii", CT, Image(CT))
    assert (tmp_path / "m.nii").is_symlink()
    assert np.array_equal(read_image(target).array, CT)
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["m.nii"]


@pytest.mark.parametrize("name", [b"M\xfcller.nii.gz", b"\xe4.nrrd", b"\xff\xfe.png"])
def test_names_that_are_no_text(tmp_path, name):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    array = np.tile(CT, (20, 20, 10)) if not name.endswith(b"png") else GREY.T[..., None]
    write_image(path, array, Image(array))
    assert read_image(path).shape == array.shape


def test_members_of_a_zip_that_overlap(tmp_path):
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(1000))
        archive.writestr("b.dcm", bytes(1000))
    raw = bytearray(content.getvalue())
    second = raw.rfind(b"PK\1\2")
    raw[second + 42 : second + 46] = bytes(4)  # its data are the first one's
    (tmp_path / "a.zip").write_bytes(raw)
    refused(tmp_path / "a.zip", "overlap")


def test_names_of_a_zips_members_are_as_long_as_they_are_stored(tmp_path):
    """Old names are of one byte a letter; taken for UTF-8, they reach into the member that follows."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(3)])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k, file in enumerate(sorted((tmp_path / "d").iterdir())):
            archive.write(file, f"LEBER-{k}xxxx.dcm")
    raw = (tmp_path / "a.zip").read_bytes().replace(b"xxxx", b"\x84\x94\x81\xe1")  # code page 437: äöüß
    (tmp_path / "a.zip").write_bytes(raw)
    assert read_image(tmp_path / "a.zip").shape[2] == 3
