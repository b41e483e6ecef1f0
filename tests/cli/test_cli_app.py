"""`bifseg app` as a process: the address it prints, whom it lets in, and what it refuses to start with."""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from dicom_files import save_dicom
from program import COLD, IDLE, Program

from bifseg.cli import main
from bifseg.cli.app import own_folder
from bifseg.io.images import write_image
from bifseg.server import built as built_page
from bifseg.server.settings import Settings
from bifseg.server.workers import compute
from bifseg.session.session import Session
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

API = "/api/v1"
LINK = re.compile(r"bifseg: open (http://127\.0\.0\.1:\d+)/#enter=(once_[A-Za-z0-9_-]{43})(?:&session=([0-9a-f]+))?\n")


@pytest.fixture(autouse=True)
def _log():
    """What a test has the log leave out is written again after it."""
    log = logging.getLogger("bifseg.requests")
    before = log.level
    yield
    log.setLevel(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page, for here it may not be built."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "index.html").write_text("<!doctype html><title>bifseg</title>")
    return folder


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "knee of Anna.nii.gz"
    image, _ = phantom(11, (48, 48, 24))
    write_image(path, image.array, image)
    return path


BEGIN = """
import sys, threading; from pathlib import Path; from bifseg.server import built; built.STATIC = Path(sys.argv[1])
from bifseg.server.service import Service
asked = threading.Event()
"""
MAIN = "from bifseg.cli import main; sys.exit(main(['app', *sys.argv[2:]]))"
LATE = """
from bifseg.server.uploads import reading; from bifseg.errors import DamagedFile
def read(path, *_, **__): asked.wait(600); raise DamagedFile(path, 'is truncated.')
def see(service, *which, real=Service.session_to_see): asked.set(); return real(service, *which)
reading.read_image, Service.session_to_see = read, see
"""  # a fault that is found when somebody looks
SLOW = """
from bifseg.storage.images import Images
def add(store, *given, real=Images.add_image): asked.wait(600); return real(store, *given)
def session(service, *which, real=Service.session): asked.set(); return real(service, *which)
Images.add_image, Service.session = add, session
"""  # a disk that is done when somebody waits for it


class Process(Program):
    """The page's server; its address, and the token in it, are what it prints."""

    def __init__(self, built, *options, code="", **environment):
        code = BEGIN + code + MAIN
        kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        super().__init__(sys.executable, "-c", code, built, *options, environment={**kept, **environment})
        if not (found := LINK.fullmatch(self.line)):
            raise self.failed()
        self.url, self.token, self.session = found.groups()

    def enter(self):
        reply = httpx.post(f"{self.url}/enter", json={"token": self.token}, timeout=60)
        assert reply.status_code == 204
        return httpx.Client(base_url=self.url, cookies=reply.cookies, timeout=300)  # a worker starts meanwhile


def test_a_scan_is_opened_and_worked_on_by_whoever_has_the_link(built, scan, tmp_path):
    with Process(built, scan, "--data", tmp_path / "data", "--no-browser") as server:
        assert "<title>bifseg" in httpx.get(server.url, timeout=60).text
        stranger = httpx.get(f"{server.url}{API}/sessions", timeout=60)
        assert stranger.status_code == 401  # though only this machine can ask
        with server.enter() as http:
            box = http.post(f"{API}/sessions/{server.session}/box", json={"box": "10:40,10:40,12"})
            assert box.status_code == 200, box.text
            (session,) = http.get(f"{API}/sessions").json()
            assert (session["id"], session["title"]) == (server.session, "knee of Anna.nii.gz")
            assert http.get(f"{API}/images/{session['image']}").json()["shape"] == [48, 48, 24]
            assert httpx.post(f"{server.url}/enter", json={"token": server.token}, timeout=60).status_code == 401
            cookies = dict(http.cookies)
            code, out = server.stop(signal.SIGINT)
    assert (code, out) == (0, "")
    assert "Anna" not in server.log
    assert "Traceback" not in server.log
    assert "route=" not in server.log  # which would push the address out of sight

    options = built, "--data", tmp_path / "data", "--no-browser"
    with Process(*options, code=IDLE) as again:  # the browser is still known
        assert again.session is None
        assert again.url == server.url  # open tabs find it
        with httpx.Client(base_url=again.url, cookies=cookies, timeout=60) as http:
            assert [one["id"] for one in http.get(f"{API}/sessions").json()] == [server.session]
            with Process(*options, code=IDLE) as beside, beside.enter() as other:
                assert beside.url != again.url
                assert other.get(f"{API}/sessions").json() == http.get(f"{API}/sessions").json()


def test_scans_of_a_folder_can_be_chosen(built, scan, tmp_path):
    with (
        Process(built, "--images", scan.parent, "--data", tmp_path / "data", "--no-browser", code=IDLE) as server,
        server.enter() as http,
    ):
        assert http.get(f"{API}/server").json()["images"]
        assert scan.name in [one["path"] for one in http.get(f"{API}/files", params={"folder": ""}).json()]
        assert http.post(f"{API}/images/open", json={"path": scan.name}).json()["shape"] == [48, 48, 24]


def test_a_browser_is_shown_the_address(built, tmp_path):
    browser, shown = tmp_path / "browser", tmp_path / "shown"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {shown}.new && mv {shown}.new {shown}\n')
    browser.chmod(0o755)
    own = {"XDG_DATA_HOME": str(tmp_path / "share"), "BROWSER": f"{browser} %s"}
    with Process(built, code=IDLE, **own) as server:
        until = time.monotonic() + 20
        while not shown.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert f"bifseg: open {shown.read_text()}\n" == server.line
    assert (tmp_path / "share" / "bifseg" / "store.sqlite").is_file()


# ---- before it listens


@pytest.fixture
def started(monkeypatch, built):
    """What would be served: a list of (settings, link) that fills as servers are started."""
    calls = []

    def run(app, settings, listening):
        async def serve():
            listening("http://127.0.0.1:9")
            await app.state.service.come()

        asyncio.run(serve())
        calls.append(settings)
        app.state.service.store.close()

    monkeypatch.setattr(built_page, "STATIC", built)
    monkeypatch.setattr("bifseg.server.run.run", run)
    monkeypatch.setattr("webbrowser.open", lambda link: pytest.fail("no browser was asked for"))
    return calls


def test_it_is_for_this_machine_and_asks_for_tokens(started, tmp_path, capsys):
    model = tmp_path / "mine.safetensors"
    model.touch()
    data = tmp_path / "data"
    assert main(["app", "--data", str(data), "--port", "1234", "--no-browser", "--model", str(model)]) == 0
    (settings,) = started
    assert settings == Settings(
        data, port=1234, require_tokens=True, warm=True, early=True, models={"mine": model}, threads=settings.threads
    )
    assert settings.loopback
    assert LINK.fullmatch(capsys.readouterr().out)


def test_a_folder_of_dicom_slices(started, tmp_path, capsys):
    save_dicom(tmp_path / "series 4", [(1, 2, 4 * k) for k in range(3)])
    assert main(["app", str(tmp_path / "series 4"), "--data", str(tmp_path / "data"), "--no-browser"]) == 0
    (session,) = LINK.fullmatch(capsys.readouterr().out).groups()[2:]
    with closing(Store(tmp_path / "data")) as store:
        row = store.session(session, "local")
        assert row.title == "series 4"
        assert store.image_row(row.image).dicom is not None


def test_without_a_screen_no_browser_takes_the_terminal_over(started, tmp_path, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["app", "--data", str(tmp_path / "data")]) == 0
    assert LINK.fullmatch(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["no.nii.gz"], "no.nii.gz does not exist"),
        (["BAD"], "bad.nii.gz is not a NIfTI-1 file"),
        (["TEXT"], "notes.txt"),
        (["EMPTY"], "empty"),
        (["FLAT"], "constant"),
        (["--data", "TEXT"], "is a file"),
        (["--data", "INSIDE"], "is a file"),
        (["--model", "no.safetensors"], "no.safetensors does not exist"),
        (["--port", "70000"], "a port is a number from 0 to 65535"),
        (["--port", "TAKEN"], "cannot listen on 127.0.0.1"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_sentence(monkeypatch, built, capsys, tmp_path, options, words):
    monkeypatch.setattr(built_page, "STATIC", built)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setattr(sys.modules["bifseg.cli.app"], "EARLY", 60)  # whatever else the machine does
    names = {name: tmp_path / file for name, file in (("BAD", "bad.nii.gz"), ("TEXT", "notes.txt"), ("EMPTY", "empty"))}
    names["BAD"].write_bytes(b"nothing")
    names["TEXT"].write_text("nothing")
    names["EMPTY"].mkdir()
    names |= {"FLAT": tmp_path / "flat.nii", "INSIDE": names["TEXT"] / "data"}
    write_image(names["FLAT"], np.zeros((3, 3, 3), np.uint8), phantom(1, (3, 3, 3))[0])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names["TAKEN"] = taken.getsockname()[1]
        code = main(["app", "--no-browser", *(str(names.get(option, option)) for option in options)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    if (tmp_path / "share").exists():
        with closing(Store(tmp_path / "share" / "bifseg")) as store:
            assert store.sessions() == []


def test_a_scan_that_turns_out_to_be_damaged_late_ends_the_server(built, tmp_path):
    """Who looks at the page is told so as well, and then the server stops, with its worker."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(3)])
    with Process(built, tmp_path / "d", "--no-browser", "--data", tmp_path / "data", code=COLD + LATE) as server:
        with server.enter() as http:
            told = http.get(f"{API}/sessions/{server.session}")
            assert (told.status_code, told.json()["detail"]) == (400, f"{tmp_path / 'd'} is truncated.")
        assert server.wait() == (2, "")
    assert server.log.endswith("d is truncated.\n")
    assert server.log.count("\n") == 1


def test_a_scan_is_looked_at_while_it_comes_into_the_store(built, tmp_path):
    """A slow disk keeps nobody waiting for the first slice; what is done to the session waits until it is kept."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(3)])
    with Process(built, tmp_path / "d", "--no-browser", "--data", tmp_path / "data", code=IDLE + SLOW) as server:
        with server.enter() as http:
            session = http.get(f"{API}/sessions/{server.session}").json()
            image = f"{API}/images/{session['image']}"
            assert (session["title"], session["number"], session["objects"]) == ("d", 0, [])
            assert http.get(image).json()["shape"] == [5, 6, 3]
            assert http.get(f"{image}/display").json()["modality"]
            shown = http.get(f"{image}/canonical").content
            assert http.get(f"{API}/sessions").json() == []
            assert http.post(f"{API}/sessions", json={"image": session["image"]}).status_code == 404  # not kept yet
            assert http.get(f"{API}/sessions/{server.session}/history").json() == []  # now it is
            (kept,) = http.get(f"{API}/sessions").json()
            assert {name: session[name] for name in kept} == kept
            assert http.get(f"{image}/canonical").content == shown
        server.stop(signal.SIGINT)


def test_a_page_that_was_not_built_is_not_served(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(built_page, "STATIC", tmp_path)
    assert main(["app", "--data", str(tmp_path / "data")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch("bifseg: .*make app.*wheel.*\n", err)
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="platformdirs knows the places of each system")
@pytest.mark.parametrize(
    ("told", "expected"),
    [("/share", "/share/bifseg"), ("", "/home/ann/.local/share/bifseg"), ("near", "/home/ann/.local/share/bifseg")],
)
def test_where_a_users_own_data_lie(monkeypatch, told, expected):
    for name, value in {"HOME": "/home/ann", "XDG_DATA_HOME": told}.items():
        monkeypatch.setenv(name, value)
    assert own_folder() == Path(expected)


def test_who_has_no_home_is_told_so(monkeypatch):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does where there is no home
    with pytest.raises(ValueError, match="give --data FOLDER"):
        own_folder()


# ---- so that the first user does not wait


def test_a_worker_that_is_to_be_warm_tries_both_dimensions(monkeypatch, tmp_path):
    boxes, scribbled = [], []

    class Watched(Session):
        def box(self, ranges):
            boxes.append(super().box(ranges))

        def scribble(self, strokes):
            scribbled.append((self.state.objects["object 1"].box.dimension, super().scribble(strokes).any()))

    monkeypatch.setattr(compute, "Session", Watched)
    monkeypatch.setattr(compute.atexit, "register", lambda close: close())
    options = {"data": str(tmp_path), "quota": None, "share": None, "models": {}, "threads": torch.get_num_threads()}
    compute.handler({**options, "warm": False})
    assert boxes == []
    compute.handler({**options, "warm": True})
    assert scribbled == [(2, True), (3, True)]
    assert len(boxes) == 2
