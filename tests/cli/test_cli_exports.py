"""Objects out as other programs have them: the ending of ``-o`` says how."""

import numpy as np
import pytest
from dicom_files import dice, rasterised, series

from bifseg.cli import main
from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image

pytest.importorskip("skimage")
BOX = "5:30,5:30,2:9"


def segment(capsys, *arguments):
    code = main(["segment", *map(str, arguments), "--refine", "none"])
    out, err = capsys.readouterr()
    return code, out + err


@pytest.fixture
def scan(tmp_path):
    series(tmp_path / "d", (32, 32, 10))
    return tmp_path / "d"


def test_a_series_gets_its_outlines_and_its_segmentation(capsys, scan, tmp_path):
    image = read_image(scan)
    start = np.zeros(image.shape, np.uint8)
    start[8:20, 9:25, 3:7] = 1
    write_image(tmp_path / "start.nii.gz", start, image)
    asked = scan, "--initial", tmp_path / "start.nii.gz", "--name", "liver"
    assert segment(capsys, *asked, "--box", BOX, "-o", tmp_path / "a.nii.gz")[0] == 0
    assert segment(capsys, *asked, "--box", BOX, "-o", tmp_path / "a.rtstruct.dcm")[0] == 0
    _, masks = rasterised(tmp_path / "a.rtstruct.dcm", image)
    assert dice(masks["liver"], read_labels(tmp_path / "a.nii.gz", image) == 1) >= 0.98
    pytest.importorskip("highdicom")
    assert segment(capsys, *asked, "--box", BOX, "-o", tmp_path / "a.seg.dcm")[0] == 0
    assert segment(capsys, *asked, "--box", BOX, "-o", tmp_path / "a.stl")[0] == 0


@pytest.mark.parametrize(
    ("name", "words"), [("a.rtstruct.dcm", "is none"), ("a.seg.dcm", "is none"), ("a.stl", "how large a voxel")]
)
def test_what_does_not_suit_the_scan_is_refused_before_the_work(capsys, tmp_path, name, words):
    noise = np.random.default_rng(0).integers(0, 99, (32, 32, 10)).astype(np.int16)
    write_image(tmp_path / "a.nrrd", noise, Image(noise))
    code, said = segment(capsys, tmp_path / "a.nrrd", "--box", BOX, "-o", tmp_path / name)
    assert code == 2
    assert words in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]
