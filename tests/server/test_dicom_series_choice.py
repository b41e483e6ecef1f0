"""Which DICOM series there are is told as data, from the reader of the files to the answer of the API."""

import zipfile
from io import BytesIO

import pydicom
import pytest
from dicom_files import save_dicom
from serving import serving

from bifseg.errors import SeveralSeries
from bifseg.io import images
from bifseg.server.settings import Settings

API = "/api/v1"


@pytest.fixture
def folder(tmp_path):
    """Two series, of which only the first tells its number and description."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)], uid="1.2.840.1")
    for path in (tmp_path / "d").iterdir():
        content = pydicom.dcmread(path)
        content.SeriesNumber, content.SeriesDescription = 3, "Thorax, lung (1.5), C+"
        content.save_as(path)
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(3)], uid="1.2.840.22")
    return tmp_path / "d"


CHOICES = {
    "1.2.840.1": {
        "uid": "1.2.840.1", "shape": [5, 6, 4], "modality": "CT", "number": "3",
        "description": "Thorax, lung (1.5), C+",
    },
    "1.2.840.22": {
        "uid": "1.2.840.22", "shape": [5, 6, 3], "modality": "CT", "number": None, "description": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("asked", [None, "1.2.3"])
def test_the_error_holds_the_series(folder, asked):
    with pytest.raises(SeveralSeries) as caught:
        images.read_image(folder, series=asked)
    assert {choice["uid"]: choice for choice in caught.value.data["series"]} == CHOICES
    assert "1.2.840.1 (5 x 6 x 4, CT, number 3, Thorax, lung (1.5), C+)" in str(caught.value)


def test_the_answer_holds_the_series_and_the_sentence(folder, tmp_path):
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    settings = Settings(tmp_path / "store", threads=1, images=folder.parent)
    with serving(settings, computes=False) as server, server.client() as client:
        answers = [
            client.post(f"{API}/images", params={"name": "d.zip"}, content=content.getvalue()),
            client.post(f"{API}/images/open", json={"path": "d"}),
        ]
        for answer, name in zip(answers, ("The upload", "d"), strict=True):
            told = answer.json()
            assert answer.status_code == 400
            assert told["detail"].startswith(f"{name} holds several DICOM series; pick one with --series (series=)")
            assert told["code"] == "several_series"
            assert {choice["uid"]: choice for choice in told["series"]} == CHOICES
        chosen = client.post(f"{API}/images/open", json={"path": "d", "series": "1.2.840.22"})
        assert chosen.json()["shape"] == [5, 6, 3]
        assert client.post(f"{API}/images/open", json={"path": "x"}).json().keys() == {"detail", "code"}
