"""A full disk is 507, whatever wanted to write; nothing is left of it, and all goes on when there is room again."""

import subprocess

import numpy as np
import pytest
from api_calls import API, BOX, begin, do, left, refused
from serving import serving
from stored_sessions import fill

from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.server.nninteractive import nnia
from bifseg.server.settings import Limits, Settings
from bifseg.storage import contents


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A server whose store is on a disk of 96 MiB, to which others write, too."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    monkeypatch.setattr(contents, "RESERVE", 0)
    monkeypatch.setattr("tempfile.tempdir", str(folder))  # as `bifseg serve` has it
    try:
        with serving(Settings(folder / "store", threads=1, limits=Limits(requests_per_second=1000))) as server:
            yield server, folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_said_to_be_full_by_all_that_writes(small, tmp_path):
    server, disk = small
    noise = np.random.default_rng(0).integers(0, 9999, (80, 80, 80)).astype(np.int16)
    path = tmp_path / "noise.nii.gz"
    images.write_image(path, noise, Image(noise))
    content = path.read_bytes()
    with server.client("ann") as ann:
        sent = ann.post(f"{API}/images?name=noise.nii.gz", content=content)
        assert sent.status_code == 201, sent.text
        key = sent.json()["key"]
        id = begin(ann, key)
        do(ann, id, "box", {"box": "10:40,10:40,10:30", "refine": "none"})
        assert ann.put("/monailabel/datastore/?image=a", files={"file": ("a.nii.gz", content)}).status_code == 200
        lease = {"X-Lease-Token": ann.post("/claim").json()["lease_token"]}
        acts = {
            "upload": lambda: ann.post(f"{API}/images?name=noise.nii.gz", content=content),
            "export": lambda: ann.get(f"{API}/sessions/{id}/export"),
            "file": lambda: ann.get(f"{API}/images/{key}/voxels?format=nii"),
            "packed file": lambda: ann.get(f"{API}/images/{key}/voxels?format=nii.gz"),
            "nrrd": lambda: ann.get(f"{API}/sessions/{id}/probability?format=nrrd"),
            "scribble": lambda: ann.post(f"{API}/sessions/{id}/box", json=BOX | {"box": "10:40,10:40,10:20"}),
            "monailabel": lambda: ann.put("/monailabel/datastore/?image=b", files={"file": ("a.nii.gz", content)}),
            "set_image": lambda: ann.post("/set_image", content=nnia.pack(noise[None]), headers=lease),
        }
        filler = fill(disk)
        for what, act in acts.items():
            assert act().status_code == 507, what
            refused(act(), 507, "disk of the store is full")
        assert ann.get(f"{API}/sessions/{id}").json()["number"] == 1  # who reads is served
        assert not left(server)
        filler.unlink()
        for what in ("upload", "export", "file", "scribble"):
            assert acts[what]().status_code in (200, 201), what
        assert not left(server)
