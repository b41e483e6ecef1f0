"""What deploy/ and docs/how-to/serve.md tell people to run is what there is; nginx before two processes on a store."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import typer

from bifseg.cli import program
from bifseg.server.settings import Limits, Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def load_check():
    spec = importlib.util.spec_from_file_location("deploy_check", DEPLOY / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = load_check()


def understood(words: list[str]) -> None:
    """Parse a command line as the program would, without running it; fails where it would not be understood."""
    command = typer.main.get_command(program)
    while hasattr(command, "commands"):
        words = words[1:]
        command = command.get_command(None, words[0])
    command.make_context(words[0], words[1:])


def lines_of(path: Path) -> list[str]:
    """Every command line beginning with bifseg that a file shows, comment signs and continuations taken away."""
    text = re.sub(r"\\\n[#\s]*", "", path.read_text(encoding="utf-8"))
    found = re.findall(r"(?:^|[ /`])(bifseg (?:serve|token|sessions) [^`#|>&\n]*--[^`#|>&\n]*)", text, flags=re.M)
    return [line.strip() for line in found]


def test_the_commands_that_are_shown_are_understood():
    shown = [
        line
        for name in ("deploy/bifseg.service", "deploy/nginx.conf", "docs/how-to/serve.md")
        for line in lines_of(ROOT / name)
    ]
    assert len(shown) > 12
    for line in shown:
        understood(shlex.split(line.replace("$OPTIONS", "")))
    with pytest.raises(Exception, match="No such option"):
        understood(["bifseg", "serve", "--data", "x", "--cors", "*"])


def test_the_dockerfile_names_what_there_is():
    steps = list(check.instructions((DEPLOY / "Dockerfile").read_text()))
    told = dict(steps)
    understood([*json.loads(told["ENTRYPOINT"]), "--host-name", "seg.example.org", "--workers", "2"])
    assert told["USER"] != "root"
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / name).exists() for name in rest.split()[:-1]), rest
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.search(r'"\.\[([\w,]+)\]"', (DEPLOY / "Dockerfile").read_text())[1].split(",")
    assert all(re.search(rf"^{extra} = \[", project, flags=re.M) for extra in extras)


def test_limits_agree():
    nginx, unit = ((DEPLOY / name).read_text() for name in ("nginx.conf", "bifseg.service"))

    def number(pattern: str, text: str) -> int:
        return int(re.search(pattern, text)[1])

    assert number(r"client_max_body_size (\d+)g;", nginx) << 30 == Limits().upload_bytes
    assert number(r"proxy_read_timeout (\d+)s;", nginx) > Limits().seconds_per_interaction
    assert number(r"TimeoutStopSec=(\d+)", unit) > Settings(Path("x")).grace


@pytest.mark.parametrize("name", ["unit", "nginx"])
def test_systemd_and_nginx_accept_their_files(name, tmp_path):
    try:
        getattr(check, name)(tmp_path)
    except check.CannotCheckError as reason:
        pytest.skip(str(reason))


# ---- two processes on one store


class Process:
    """``bifseg serve`` on a port."""

    def __init__(self, data: Path, port: int) -> None:
        self.data, self.port = data, port
        self.start()

    def start(self) -> None:
        program = [sys.executable, "-c", "import sys; from bifseg.cli import main; sys.exit(main())"]
        options = ["--data", str(self.data), "--port", str(self.port), "--threads", "1", "--require-tokens"]
        options += ["--proxy", "127.0.0.1"]  # as nginx.conf says
        self.process = subprocess.Popen(
            [*program, "serve", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=60).is_success)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def until(ready) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if ready():
                return
        time.sleep(0.05)
    raise TimeoutError("it did not start")


BACK = 2.5  # seconds, more than nginx's fail_timeout: a process that was dead is used again after it


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="there is no nginx or openssl")
def test_two_processes_on_one_store_behind_nginx(tmp_path):
    from bifseg.imaging.image import Image
    from bifseg.server.access.tokens import Tokens
    from bifseg.storage import Store

    store = Store(tmp_path / "data")
    ann, ben = (Tokens(store).create(user) for user in ("ann", "ben"))
    image = Image(np.random.default_rng(0).normal(size=(40, 40, 8)).astype(np.float32), (1, 1, 3))
    key = store.add_image(image, "ann")
    store.close()

    front, first, second = free_ports(3)
    text = (DEPLOY / "nginx.conf").read_text()
    text = re.sub(r"server \{\s+listen 80;.*", "", text, flags=re.S).replace("listen [::]:443 ssl;", "")
    for old, new in (
        ("listen 443", f"listen 127.0.0.1:{front}"),
        ("0.1:1527", f"0.1:{first}"),
        ("1:1528", f"1:{second}"),
    ):
        assert old in text
        text = text.replace(old, new)
    configuration = check.configured(tmp_path, text)
    with contextlib.ExitStack() as stack:
        processes = [Process(tmp_path / "data", port) for port in (first, second)]
        for process in processes:
            stack.callback(process.kill)
        nginx = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        url, trusted = f"https://localhost:{front}", ssl.create_default_context(cafile=tmp_path / "chain.pem")
        headers = {"Authorization": f"Bearer {ann}", "Origin": url}
        client = stack.enter_context(httpx.Client(base_url=url, headers=headers, verify=trusted, timeout=60))
        until(lambda: client.get("/healthz").is_success)
        assert client.get("/api/v1/sessions", headers={"Authorization": ""}).status_code == 401

        def act(session: str, kind: str, **body: object) -> dict:
            reply = client.post(f"/api/v1/sessions/{session}/{kind}", json=body or None)
            assert reply.status_code == 200, reply.text
            return reply.json()

        def mask(session: str) -> bytes:
            return client.get(f"/api/v1/sessions/{session}/mask").raise_for_status().content

        sessions = [client.post("/api/v1/sessions", json={"image": key}).json()["id"] for _ in range(6)]
        for session in sessions:
            act(session, "box", box="5:35,5:35,3", refine="none")
        shares = [served(port, ann) for port in (first, second)]
        assert sum(shares) == len(sessions)
        assert all(shares), "one process did all the work"
        before = [mask(session) for session in sessions]

        for k, process in enumerate(processes):
            process.kill()
            for session in sessions:
                act(
                    session,
                    "scribble",
                    refine="none",
                    scribbles={"strokes": [{"points": [[9 + k, 9, 3]], "label": 1 + k}]},
                )
            process.start()
            time.sleep(BACK)
        assert [act(session, "undo")["number"] for session in sessions] == [4] * len(sessions)
        assert all(act(session, "undo")["changed"] for session in sessions)
        assert [mask(session) for session in sessions] == before
        with client.stream(
            "POST", f"/api/v1/sessions/{sessions[0]}/refine", headers={"Accept": "text/event-stream"}
        ) as reply:
            events = re.findall("^event: (.*)$", "".join(reply.iter_text()), flags=re.M)
        assert events[-1] == "done"
        assert "round" in events
        assert (
            client.get(f"/api/v1/sessions/{sessions[0]}", headers={"Authorization": f"Bearer {ben}"}).status_code == 404
        )


def served(port: int, token: str) -> int:
    """How many interactions a process has done."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=60).text
    return sum(int(float(n)) for n in re.findall(r"^bifseg_interactions_total\{.*\} (\S+)$", text, flags=re.M))
