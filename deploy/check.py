"""Check what lies in deploy/ as far as this machine can, and say what it could not.

    python deploy/check.py [unit] [nginx] [docker]        without names: all of them

The unit with systemd-analyze, nginx.conf with ``nginx -t``, the Dockerfile with ``docker build``. Where no Docker
daemon answers, root on Linux takes the Dockerfile's steps one by one on a throw-away copy of this machine instead:
everything that it says is done for real, only the base image is another. What was built is then run, as its user: it
must refuse to start before there is a token, be healthy, serve who has one, and end in order.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPOSURE = 2.0  # of 10, by systemd-analyze security
STARTING = 60.0  # seconds


class CannotCheckError(Exception):
    """This machine lacks what the check needs."""


def need(*programs: str) -> None:
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise CannotCheckError(f"there is no {', no '.join(missing)}")


def run(*command: str, **options) -> str:
    """What a command says; RuntimeError with it where the command fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def unit(work: Path) -> str:
    """systemd accepts the unit without a word, and finds little in it that could be taken advantage of."""
    need("systemd-analyze")
    copy = work / "bifseg.service"
    copy.write_text(re.sub("^ExecStart=[^ ]+", "ExecStart=/bin/true", (HERE / copy.name).read_text(), flags=re.M))
    if said := run("systemd-analyze", "verify", str(copy)):
        raise RuntimeError(said)
    exposure = float(run("systemd-analyze", "security", "--offline=true", str(copy)).split("service: ")[1].split()[0])
    if exposure > EXPOSURE:
        raise RuntimeError(f"bifseg.service has an exposure of {exposure}, above {EXPOSURE}")
    return f"bifseg.service, exposure {exposure} of 10"


def nginx(work: Path) -> str:
    """nginx accepts the configuration, with a certificate of its own."""
    need("nginx", "openssl")
    configuration = configured(work, (HERE / "nginx.conf").read_text())
    return f"nginx.conf: {run('nginx', '-t', '-c', str(configuration)).split()[-1]}"


def configured(work: Path, text: str) -> Path:
    """An nginx configuration around deploy/nginx.conf that needs nothing outside ``work``; also its certificate."""
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=seg.example.org",
        "-addext", "subjectAltName=DNS:seg.example.org,DNS:localhost,IP:127.0.0.1",
        "-keyout", str(work / "key.pem"), "-out", str(work / "chain.pem"),
    )  # fmt: skip
    (work / "bifseg.conf").write_text(text.replace("/etc/ssl/bifseg", str(work)).replace("/var/log/nginx", str(work)))
    temporary = "".join(
        f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = work / "nginx.conf"
    user = "user root; " if os.geteuid() == 0 else ""  # its folder is nobody else's
    whole.write_text(
        f"{user}daemon off; worker_processes 1; pid {work}/pid; error_log {work}/log;\n"
        f"events {{}}\nhttp {{ {temporary} include {work}/bifseg.conf; }}\n"
    )
    return whole


def docker(work: Path) -> str:
    """The image can be built; or the same steps lead to a server that does as it should."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        run("docker", "build", "--quiet", "--file", str(HERE / "Dockerfile"), str(HERE.parent))
        return "Dockerfile: docker build"
    need("unshare", "chroot", "mount", "ip", "setpriv")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        raise CannotCheckError("there is no Docker daemon, and this user may not mount")
    done = subprocess.run(["unshare", "--mount", sys.executable, __file__, "inside", str(work)])
    if done.returncode:
        raise RuntimeError("the Dockerfile's steps failed")
    return "Dockerfile: every step but the base image, and what it runs"


# ---- a Dockerfile without Docker


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """A Dockerfile's instructions, (word, rest), without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


class Image:
    """What an instruction applies to: a copy of this machine that keeps its changes in memory."""

    def __init__(self, work: Path, name: str) -> None:
        self.root, self.directory, self.user, self.environment = work / name, "/", "root", []
        self.health = self.serve = []
        for folder in (self.root, work / f"{name}.upper", work / f"{name}.work"):
            folder.mkdir()
        layers = f"lowerdir=/,upperdir={work}/{name}.upper,workdir={work}/{name}.work"
        run("mount", "-t", "overlay", "-o", layers, "overlay", str(self.root))
        for folder in ("dev", "proc"):
            run("mount", "--rbind", f"/{folder}", f"{self.root}/{folder}")
        shutil.rmtree(self.root / "opt/bifseg", ignore_errors=True)
        for folder in Path(sys.base_prefix, "bin").parents:  # the base image's Python is everybody's
            copy = self.root / folder.relative_to("/")
            copy.chmod(copy.stat().st_mode | 0o011)
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        self.environment = [f"PATH={python.parent}:/usr/sbin:/usr/bin:/sbin:/bin"]

    def command(self, line: str, network: bool = True) -> list[str]:
        """A shell line as the image's user runs it."""
        exports = "".join(f"export {variables}; " for variables in self.environment)
        who = "" if self.user == "root" else f"exec setpriv --reuid {self.user} --regid {self.user} --clear-groups "
        inside = f"cd {self.directory}; {exports}{who}{line}"
        outside = [] if network else ["unshare", "--net"]
        up = "" if network else "ip link set lo up; "
        return [*outside, "chroot", str(self.root), "sh", "-ec", up + inside]

    def copy(self, source: Path, names: list[str], target: str) -> None:
        destination = self.root / (Path(self.directory) / target).relative_to("/")
        for name in names:
            path = source / name.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, destination, symlinks=True, dirs_exist_ok=True)
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, destination / path.name)


def build(work: Path) -> Image:
    """Follow the Dockerfile; the last image."""
    images: dict[str, Image] = {}
    for word, rest in instructions((HERE / "Dockerfile").read_text()):
        print("     ", word, rest, flush=True)
        if word == "FROM":
            name = rest.rpartition(" AS ")[2] if " AS " in rest else "last"
            image = images[name] = Image(work, name)
        elif word == "ENV":
            image.environment.append(rest)
        elif word == "WORKDIR":
            image.directory = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *names, target = rest.split()
            source = HERE.parent
            if names[0].startswith("--from="):
                source = images[names.pop(0).removeprefix("--from=")].root
            image.copy(source, names, target)
        elif word == "RUN":
            run(*image.command(rest), stdin=subprocess.DEVNULL)
        elif word == "USER":
            image.user = rest
        elif word == "HEALTHCHECK":
            image.health = json.loads(rest.partition(" CMD ")[2])
        elif word == "ENTRYPOINT":
            image.serve = json.loads(rest)
        elif word not in ("ARG", "VOLUME", "EXPOSE", "STOPSIGNAL"):
            raise RuntimeError(f"{word} is not known here")
    return image


PROBE = """
import sys, urllib.error, urllib.request
def status(**headers):
    asked = urllib.request.Request("http://127.0.0.1:1527/api/v1/server", headers=headers)
    try:
        return urllib.request.urlopen(asked).status
    except urllib.error.HTTPError as error:
        return error.code
assert (status(), status(Authorization="Bearer " + sys.argv[1])) == (401, 200), "who is let in is wrong"
"""


def inside(work: Path) -> None:
    """Build, then run what was built, in a network of its own; called in a name space whose mounts nobody else sees."""
    run("mount", "-t", "tmpfs", "tmpfs", str(work))
    image = build(work)
    serve, health = shlex.join(image.serve), shlex.join(image.health)
    refused = subprocess.run(image.command(serve), capture_output=True, text=True)
    if refused.returncode != 2 or "token create" not in refused.stderr:
        raise RuntimeError(f"without a token it should not start: {refused.returncode} {refused.stderr}")
    token = re.search(r"bifseg_[\w-]{50,}", run(*image.command("bifseg token create ann --data /data")))[0]
    probe = shlex.join(["python", "-c", PROBE, token])
    script = f"""
        {serve} & server=$!
        for second in $(seq {STARTING:.0f}); do {health} 2>/dev/null && break; sleep 1; done
        {health} && {probe}
        kill -TERM $server; wait $server
    """
    started = time.monotonic()
    run(*image.command(f"sh -ec {shlex.quote(script)}", network=False))
    owner = {path.stat().st_uid for path in (image.root / "data").rglob("*")}
    if owner != {1527}:
        raise RuntimeError(f"what it keeps belongs to {owner}")
    took = time.monotonic() - started
    print(f"      refuses without a token, is healthy, lets in who has one, ends in order: {took:.0f} s")


def main(names: list[str]) -> int:
    if names[:1] == ["inside"]:
        inside(Path(names[1]))
        return 0
    failed = 0
    for check in [check for check in (unit, nginx, docker) if check.__name__ in names or not names]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print("ok   ", check(Path(folder)), flush=True)
            except CannotCheckError as reason:
                print(f"--    {check.__name__} was not checked: {reason}", flush=True)
            except RuntimeError as error:
                failed += 1
                print(f"WRONG {check.__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
