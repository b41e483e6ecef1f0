"""What tests of the API share: a server that asks for tokens and opens files of a folder, an image there, a session."""

import pytest
from api_calls import API, LIMITS, begin
from serving import serving

from bifseg.io import images
from bifseg.server.settings import Settings
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="session")
def upload(tmp_path_factory):
    path, scan = tmp_path_factory.mktemp("scan") / "scan.nii.gz", phantom(11)[0]
    images.write_image(path, scan.array, scan)
    return path


@pytest.fixture(scope="session")
def scan(upload):
    """The image in the file; NIfTI has rounded its spacing."""
    return images.read_image(upload)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory, scan):
    """A folder of images that may be opened; beside it one that may not."""
    root = tmp_path_factory.mktemp("disk")
    folder = root / "images"
    (folder / "ward 3").mkdir(parents=True)
    images.write_image(folder / "ward 3" / "scan.nrrd", scan.array, scan)
    images.write_image(root / "secret.nrrd", scan.array, scan)
    (folder / "link.nrrd").symlink_to(root / "secret.nrrd")
    (folder / "up").symlink_to(root)
    (folder / "circle").symlink_to("circle")
    (folder / "notes.txt").write_text("about a patient")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory, shelf):
    data = tmp_path_factory.mktemp("server") / "store"
    with serving(Settings(data, require_tokens=True, images=shelf, limits=LIMITS, threads=1)) as server:
        yield server


@pytest.fixture(scope="module")
def image(ann, upload):
    answer = ann.post(f"{API}/images", params={"name": "a patient's name.nii.gz"}, content=upload.read_bytes())
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


@pytest.fixture
def id(ann, image):
    id = begin(ann, image)
    yield id
    ann.delete(f"{API}/sessions/{id}")
