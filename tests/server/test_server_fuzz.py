"""What no client would send: requests made up from our own OpenAPI document, and image files with changed bytes.

``BIFSEG_FUZZ=20 pytest tests/test_server_fuzz.py`` tries twenty times as much.
"""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck, Unsatisfiable

from bifseg.imaging.image import Image
from bifseg.io.images import read_upload, write_image

TIMES = int(os.environ.get("BIFSEG_FUZZ", "1"))
ALL = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
HOPEFUL = [check for check in ALL if check != HealthCheck.filter_too_much]  # who draws 50 times in vain gives up
VOXELS, BYTES = 1 << 20, 16 << 20  # allowed to an upload
MEMORY = 256 << 20  # bytes above what the libraries take
API = "/api/v1"
SCAN = Image(np.random.default_rng(1).integers(0, 90, (16, 15, 8)).astype(np.int16), (1, 1, 2.5), (-3, 4, 5))


# ---- requests


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from serving import serving

    from bifseg.server.settings import Limits, Settings

    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "images" / "a").mkdir(parents=True)
    write_image(folder / "images" / "a" / "scan.nrrd", SCAN.array, SCAN)
    limits = Limits(
        upload_bytes=1 << 20, array_bytes=BYTES, voxels=VOXELS, sessions_per_user=10**6, requests_per_second=10**6,
        seconds_per_interaction=3,
    )  # fmt: skip
    with serving(Settings(folder / "store", images=folder / "images", limits=limits, threads=1)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


def _first_box(client, session):
    """A first box after installing makes machine code, which may take longer than these limits allow beside others."""
    for _ in range(5):
        response = client.post(f"{API}/sessions/{session}/box", json={"box": "1:12,2:13,1:7"})
        if response.status_code != 503:
            break
    assert response.status_code == 200, response.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of schemathesis and what it stands on
def test_made_up_requests_get_the_answers_that_are_documented(server, client):
    """Half of the requests go to a session there is, half of the boxes are possible ones."""
    import requests
    import schemathesis
    from schemathesis.checks import load_all_checks
    from schemathesis.specs.openapi import checks

    load_all_checks()

    @schemathesis.serializer("application/zip")
    def as_it_is(context, value):
        return value

    conforms = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    image = client.post(f"{API}/images/open", json={"path": "a/scan.nrrd"}).json()["key"]
    ids = [client.post(f"{API}/sessions", json={"image": image}).json()["id"]]
    _first_box(client, ids[0])
    answered, failed = {}, []

    def ask(operation, mode):
        @settings(max_examples=2 * TIMES, deadline=None, suppress_health_check=HOPEFUL, derandomize=True, database=None)
        @given(case=operation.as_strategy(mode), real=st.integers(0, 3), which=st.integers(0, 2))
        def one(case, real, which):
            if real and "id" in (case.path_parameters or {}) and operation.method != "delete":
                case.path_parameters["id"] = ids[-1 - which % len(ids)]
            if real and "key" in (case.path_parameters or {}) and operation.method != "delete":
                case.path_parameters["key"] = image
            if real and isinstance(case.body, dict):
                if "box" in case.body:
                    case.body["box"] = ("1:12,2:13,1:7", "2:14,3:14,4", "0:16,0:15,0:8")[which]
                if "image" in case.body:
                    case.body["image"] = image
            response = case.call(session=session, timeout=30)
            answered[response.status_code] = answered.get(response.status_code, 0) + 1
            if response.status_code == 201 and operation.path == f"{API}/sessions":
                ids.append(response.json()["id"])
            assert response.status_code < 500 or "took longer" in response.text, (case.as_curl_command(), response.text)
            case.validate_response(response, checks=conforms)
            if response.status_code >= 400 and response.status_code != 405:
                assert response.json()["detail"].endswith("."), response.text

        try:
            one()
        except (Unsatisfiable, FailedHealthCheck):
            assert mode == schemathesis.GenerationMode.NEGATIVE  # there is nothing to get wrong in such a request
        except Exception as error:
            failed.append(f"{operation.label} ({mode.value}): {error}")

    with requests.Session() as session:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        ours = schema.include(path_regex=f"^{API}").exclude(
            path_regex="/events$"
        )  # a stream that does not end by itself
        for found in ours.get_all_operations():
            for mode in schemathesis.GenerationMode:
                ask(found.ok(), mode)
    assert not failed, "\n\n".join(failed)
    assert client.get("/healthz").status_code == 200
    assert {200, 201, 400, 404, 422} <= answered.keys(), answered
    assert list((server.service.store.folder / "temporary").iterdir()) == []


# ---- image files


def seeds(folder: Path) -> dict[str, bytes]:
    """One small file of every format that may be uploaded."""
    from dicom_files import save_dicom

    found = {}
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        write_image(folder / f"a{suffix}", SCAN.array, SCAN)
    plane = Image(SCAN.array[..., 0].astype(np.uint8))
    write_image(folder / "a.png", plane.array, plane)
    import SimpleITK

    flat = SimpleITK.GetImageFromArray(plane.array[..., 0].T)
    for suffix in (".jpg", ".bmp"):
        SimpleITK.WriteImage(flat, str(folder / f"a{suffix}"))
    save_dicom(folder / "d", [(1, 2, 4 * k) for k in range(3)])
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "d").iterdir()):
            archive.write(path, path.name)
    found[".dcm"] = next((folder / "d").iterdir()).read_bytes()
    return found | {path.name[1:]: path.read_bytes() for path in sorted(folder.glob("a.*"))}


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some of its bytes changed, left out, doubled or cut off; most often near its beginning."""
    new = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(new)) | st.integers(0, min(400, len(new))))
        how = draw(st.integers(0, 5))
        if how == 0:
            new[where : where + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == 1:
            new[where : where + 4] = draw(st.sampled_from([b"\xff" * 4, b"\x7f" * 4, bytes(4), b"9999", b"-1 -"]))
        elif how == 2:
            del new[where : where + draw(st.integers(1, 64))]
        elif how == 3:
            new[where:where] = new[where : where + draw(st.integers(1, 64))]
        elif how == 4:
            del new[where:]
        else:
            new[where:where] = draw(st.binary(max_size=16))
    return bytes(new)


def read_changed_files(folder: Path) -> dict:
    """Read many changed files, each as an upload: how often each outcome came, and the memory that it took."""
    import resource

    originals, outcomes = seeds(folder), {"slowest": 0.0}
    for suffix, content in originals.items():
        (folder / f"whole{suffix}").write_bytes(content)
        read_upload(folder / f"whole{suffix}", voxels=VOXELS, bytes=BYTES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(max_examples=800 * TIMES, deadline=None, suppress_health_check=ALL, derandomize=True, database=None)
    @given(st.data())
    def read(data):
        suffix = data.draw(st.sampled_from(sorted(originals)))
        path = folder / f"changed{suffix}"
        path.write_bytes(data.draw(changed(originals[suffix])))
        start = time.process_time()
        try:
            image = read_upload(path, voxels=VOXELS, bytes=BYTES)
            assert image.array.size <= VOXELS
            assert np.isfinite(image.array).all()
            outcome = "image"
        except ValueError:
            outcome = "refused"
        outcomes["slowest"] = max(outcomes["slowest"], time.process_time() - start)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    read()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    return outcomes | {"grown": grown}


def test_changed_image_files_are_read_or_refused(tmp_path):
    """In a process of their own: a reader that crashes, hangs or takes the machine's memory fails here."""
    folders = [str(Path(__file__).parents[1] / "support"), *sys.path]
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, timeout=120 * TIMES,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["refused"] > 300
    assert told["image"] > 50
    assert told["grown"] < MEMORY
    assert told["slowest"] < 3  # seconds of the processor


@settings(max_examples=300 * TIMES, deadline=None, derandomize=True, database=None)
@given(box=st.text(max_size=20) | st.just("2:5,0:3,1:3"), content=st.binary(max_size=40), packed=st.booleans())
def test_made_up_masks_are_arrays_or_refused(box, content, packed):
    from base64 import b64encode
    from zlib import compress

    from bifseg.server.api.bodies.drawing import Mask

    sent = b64encode(compress(content)) if packed else content
    try:
        array = Mask(box=box, deflate=sent.decode("latin-1")).array((9, 9, 9))
    except ValueError:
        return
    assert array.tobytes() == content


def test_a_whole_mask_comes_back():
    from bifseg.server.api.bodies.drawing import Mask

    array = np.random.default_rng(2).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(Mask.of(array, "2:5,0:4,1:6").array((9, 9, 9)), array)


if __name__ == "__main__":
    import resource

    limit = 8 << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps(read_changed_files(Path(sys.argv[1]))))
