"""Uploads, and files of a folder, that are refused leave nothing, and nothing leads out of the folder."""

import contextlib
import io as bytes_io
import socket
import time
import zipfile
import zlib

import httpx
import numpy as np
import pytest
from api_calls import API, left, refused


@pytest.mark.parametrize(
    "path",
    [
        "../secret.nrrd", "ward 3/../../secret.nrrd", "/etc/passwd", "link.nrrd", "up/secret.nrrd", "circle",
        "ward 3/\x00.nrrd", "ward%203/scan.nrrd", "..", "up", "ward 3/scan.nrrd/x", "x" * 900,
    ],
)  # fmt: skip
def test_paths_do_not_lead_out_of_the_folder(ann, shelf, path):
    detail = refused(ann.post(f"{API}/images/open", json={"path": path}), 404, "no file")
    assert str(shelf.parent) not in detail
    refused(ann.get(f"{API}/files", params={"folder": path}), 404)


def test_a_folder_of_slices_does_not_lead_out_through_links(ann, shelf):
    """The links were not listed, and could not be opened one by one; but a folder of them was, as a series."""
    folder = shelf / "linked"
    folder.mkdir()
    try:
        (folder / "0.dcm").symlink_to(shelf.parent / "secret.nrrd")
        detail = refused(ann.post(f"{API}/images/open", json={"path": "linked"}), 404, "holds links")
        assert str(shelf.parent) not in detail
        (folder / "0.dcm").unlink()
        (folder / "0.dcm").symlink_to(shelf / "notes.txt")
        refused(ann.post(f"{API}/images/open", json={"path": "linked"}), 400, "")
    finally:
        (folder / "0.dcm").unlink()
        folder.rmdir()


def test_the_folder_is_listed_without_what_leads_out_of_it(ann):
    listed = ann.get(f"{API}/files").json()
    assert [(one["path"], one["folder"]) for one in listed] == [("notes.txt", False), ("ward 3", True)]
    (scan,) = ann.get(f"{API}/files", params={"folder": "ward 3"}).json()
    assert scan["path"] == "ward 3/scan.nrrd"
    assert scan["bytes"] > 0
    refused(ann.post(f"{API}/images/open", json={"path": "notes.txt"}), 400, "'.txt'")
    refused(ann.post(f"{API}/images/open", json={"path": "ward 3"}), 400, "ward 3 holds no DICOM")


def nifti(array):
    import nibabel

    return nibabel.Nifti1Image(array, np.eye(4)).to_bytes()


def huge_nifti():
    header = bytearray(nifti(np.zeros((2, 2, 2), np.int16)))
    header[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    return bytes(header)


def huge_png():
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (100_000).to_bytes(4, "big")
    start = chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(100_001) * 10)) + chunk(b"IEND", b"")


def nrrd(sizes="4 4 4", extra="", data=bytes(64)):
    return f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n{extra}\n".encode() + data


def zipped(**files):
    buffer = bytes_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def gzipped(content):
    import gzip

    return gzip.compress(content)


NOISE = np.random.default_rng(0).integers(0, 100, (20, 20, 20)).astype(np.int16)
NO_UTF8 = nrrd().replace(b"dimension", b"\xff\xfe").replace(b"encoding", b"\xff\xfe")
NANS = np.where(NOISE == 7, np.nan, NOISE).astype(np.float32)
BAD = {
    "no suffix": ("scan", b"abc", 400, "must end in"),
    "an unknown suffix": ("scan.exe", b"abc", 400, "'.exe'"),
    "empty": ("a.nii", b"", 400, "empty"),
    "no image": ("a.nrrd", b"abc", 400, ""),
    "truncated": ("a.nii", nifti(NOISE)[:-100], 400, "truncated"),
    "truncated gzip": ("a.nii.gz", gzipped(nifti(NOISE))[:-100], 400, ""),
    "NaN": ("a.nii", nifti(NANS), 400, "NaN"),
    "constant": ("a.nii", nifti(np.ones((4, 4, 4), np.uint8)), 400, ""),
    "a header of 100k x 100k": ("a.png", huge_png(), 413, ""),
    "a NIfTI of 27e12 voxels": ("a.nii", huge_nifti(), 413, ""),
    "the same, gzipped": ("a.nii.gz", gzipped(huge_nifti()), 413, ""),
    "a NRRD of 1e15 voxels": ("a.nrrd", nrrd("100000 100000 100000"), 413, ""),
    "a field twice whose name is no UTF-8": ("a.nrrd", NO_UTF8, 400, "says twice what its ?? is"),
    "more voxels than allowed": ("a.nii.gz", gzipped(nifti(np.zeros((256, 128, 128), np.uint8))), 413, ""),
    "a gzip bomb": ("a.nii.gz", gzipped(nifti(NOISE) + bytes(40 << 20)), (400, 413), ""),
    "a zip bomb": ("a.zip", zipped(**{"1.dcm": bytes(64 << 20)}), 413, ""),
    "a zip without DICOM": ("a.zip", zipped(**{"../../a.txt": b"x"}), 400, ""),
    "a broken zip": ("a.zip", zipped(a=b"x" * 1000)[:-30], 400, ""),
    "data elsewhere": ("a.nrrd", nrrd(extra="data file: /etc/passwd\n", data=b""), 400, ""),
    "a list of data elsewhere": ("a.nrrd", nrrd(extra="data file: LIST\n/etc/passwd\n", data=b""), 400, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_uploads_that_are_refused(server, ann, what):
    name, content, status, word = BAD[what]
    before = server.service.store.used()
    start = time.perf_counter()
    answer = ann.post(f"{API}/images", params={"name": name}, content=content)
    assert answer.status_code in np.atleast_1d(status), answer.text
    assert str(server.service.store.folder) not in refused(answer, answer.status_code, word)
    assert time.perf_counter() - start < 60
    assert server.service.store.used() == before
    assert not left(server)


def test_an_upload_that_is_too_large_is_not_read(server, ann):
    """Refused by the length that it has by its header, or where it has none, as soon as it is longer than allowed."""
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(200):
            sent += 1 << 20
            yield bytes(1 << 20)

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            f"POST {API}/images?name=a.nii HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {ann.headers['Authorization']}\r\nContent-Length: {5 << 20}\r\n\r\n".encode()
        )
        reply = connection.makefile("rb").read()  # all of it: the server hangs up
    assert reply.startswith(b"HTTP/1.1 413")
    assert b'"detail":' in reply
    before = len(ann.get(f"{API}/images").json())
    with contextlib.suppress(httpx.TransportError):  # it hangs up before the client has looked for an answer
        assert ann.post(f"{API}/images", params={"name": "a.nii"}, content=chunks()).status_code == 413
    assert sent < 100 << 20
    assert len(ann.get(f"{API}/images").json()) == before
    assert not left(server)


def test_an_upload_that_breaks_off_leaves_nothing(server, ann):
    host, port = server.url.removeprefix("http://").split(":")
    token = ann.headers["Authorization"]
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {API}/images?name=a.nii HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
            + bytes(300_000)
        )
        until = time.monotonic() + 30
        while not left(server):
            assert time.monotonic() < until
            time.sleep(0.01)
    while left(server):
        assert time.monotonic() < until
        time.sleep(0.01)
