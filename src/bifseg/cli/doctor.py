"""``bifseg doctor``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bifseg.threads import CHOICES, WAITS

SLOW = 1.0  # seconds of a refinement, above which something is said
ROOM = 5.0  # GB free on a disk, below which something is said
SPEED = 50.0  # MB/s, likewise


@dataclass(frozen=True)
class Finding:
    """What one look at this machine found, and what to do about it; no advice where all is well."""

    subject: str
    found: str
    advice: str = ""


def doctor(
    data: Annotated[Path | None, typer.Option(help="The folder for sessions to look at; else your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what this machine will do, and how fast: measured in some ten seconds, with advice where there is any."""
    findings = []
    for looked in (processor(), waiting(), precision(), loops(), speed(), disk(data), extras(), browser()):
        for finding in looked:
            findings.append(finding)
            if not as_json:
                print(f"{finding.subject:<12}{finding.found}", flush=True)
                if finding.advice:
                    print(f"{'':<12}-> {finding.advice}", flush=True)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))


def processor() -> Iterator[Finding]:
    """Cores, and what all of them do beside one."""
    import torch

    from bifseg.networks.threads import one_thread

    threads = torch.get_num_threads()
    a, b = torch.rand(2, 768, 768)
    with one_thread():
        alone = _best(lambda: a @ b)
    together = _best(lambda: a @ b)
    rate, gain = 2 * 768**3 / together / 1e9, alone / together
    found = f"{os.cpu_count()} cores, {threads} threads; {rate:.0f} GFLOP/s, {gain:.1f} times what one thread does"
    busy = threads > 1 and gain < 0.6 * threads
    yield Finding("processor", found, "Other programs use the cores; with fewer of them all is faster." if busy else "")


def waiting() -> Iterator[Finding]:
    """How threads wait for each other."""
    told = {name: os.environ[name] for name in CHOICES if name in os.environ}
    if told == WAITS:
        yield Finding("threads", "sleep while they wait for each other")
        return
    active = os.environ.get("OMP_WAIT_POLICY", "").lower() == "active"
    said = ", ".join(f"{name}={value}" for name, value in told.items())
    yield Finding("threads", f"wait as {said} says", "Unset it: beside other programs masks take seconds." * active)


def precision() -> Iterator[Finding]:
    """What convolutions multiply in."""
    import torch

    from bifseg.networks.execution import chosen

    half = chosen() == torch.bfloat16
    yield Finding(
        "precision", "bfloat16 where masks are as good" if half else "float32: this CPU does not multiply bfloat16"
    )


def loops() -> Iterator[Finding]:
    """How loops become machine code for this CPU, and where that is kept."""
    from bifseg.algorithms.machine_code import folder, is_tried, is_usable

    place = folder()
    kept = len([*place.glob("bifseg.*.o"), *place.glob("*.nbi")]) if place else 0
    made = f"{kept} are kept as machine code in {place}" if kept else "become machine code at the first mask"
    old = "Upgrade numba, and llvmlite with it: the first masks take some ten seconds longer."
    nowhere = "Set NUMBA_CACHE_DIR to a folder you may write to: every process takes a second to make them."
    yield Finding("loops", made, nowhere if not place else old if is_tried() and not is_usable() else "")


def speed() -> Iterator[Finding]:
    """A box and scribbles in 2D and 3D on a synthetic scan, the second time: the first compiles and loads."""
    from bifseg.prompts.interaction import Stroke
    from bifseg.session.session import Session
    from bifseg.training.synthetic.phantom import phantom

    scan, _ = phantom(shape=(64, 64, 48))
    x, y, z = (n // 2 for n in scan.shape)
    for name, depth in (("2D", z), ("3D", (z - 16, z + 16))):
        for _ in range(2):
            session = Session(scan)
            strokes = [Stroke([(x, y, z)], 1, radius=2), Stroke([(x - 22, y - 22, z)], 2, radius=1)]
            _, first = _timed(partial(session.box, ((x - 24, x + 24), (y - 24, y + 24), depth)))
            _, then = _timed(partial(session.scribble, strokes))
        slow = "Close other programs, or draw smaller boxes." if then > SLOW else ""
        yield Finding(name, f"first mask {first:.2f} s, each refinement {then:.2f} s", slow)


def disk(folder: Path | None) -> Iterator[Finding]:
    """Room and speed where sessions are kept."""
    import shutil
    from tempfile import TemporaryFile

    from bifseg.cli.app import own_folder
    from bifseg.cli.outputs import check_folder

    folder = folder or own_folder()
    check_folder(folder)
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free, block = shutil.disk_usage(nearest).free / 1e9, os.urandom(1 << 24)
    with TemporaryFile(dir=nearest) as file:
        begun = time.perf_counter()
        file.write(block)
        file.flush()
        os.fsync(file.fileno())
        rate = len(block) / 1e6 / (time.perf_counter() - begun)
    little = (
        f"Fewer than {ROOM:g} GB are free: delete sessions, or give --data FOLDER elsewhere." if free < ROOM else ""
    )
    slow = "This disk is slow; every step waits for it: give --data FOLDER elsewhere." if rate < SPEED else ""
    yield Finding("disk", f"{free:.0f} GB free and {rate:.0f} MB/s at {folder}", little or slow)


def extras() -> Iterator[Finding]:
    """What of the optional packages is there."""
    for subject, modules, extra, what in (
        ("server", ("fastapi", "uvicorn", "blosc2"), "server", "The page and the server need"),
        ("DICOM", ("highdicom", "skimage"), "dicom", "DICOM-SEG and RTSTRUCT need"),
        ("figures", ("matplotlib",), "figures", "Figures need"),
        ("surfaces", ("skimage",), "mesh", "STL needs"),
        ("TIFF", ("tifffile",), "tiff", "TIFF needs"),
    ):
        missing = [name for name in modules if find_spec(name) is None]
        advice = f'{what} {" and ".join(missing)}: pip install "bifseg[{extra}]"' if missing else ""
        yield Finding(subject, "not installed" if missing else "installed", advice)


def browser() -> Iterator[Finding]:
    """The page, and what would show it."""
    import webbrowser

    from bifseg.cli.app import has_screen

    page = Path(__file__).parents[1] / "server" / "static" / "index.html"
    if not page.is_file():
        yield Finding(
            "page", "not built", "In a clone, `make page` builds it (Node.js 20 or newer); wheels contain it."
        )
        return
    try:
        name = webbrowser.get().name
    except webbrowser.Error:
        name = ""
    if name and has_screen():
        yield Finding("browser", f"{name} opens the page")
    else:
        yield Finding("browser", "none that has a window here", "`bifseg app` prints an address; open it in a browser.")


def _best(call: Callable[[], object], seconds: float = 0.4) -> float:
    """The shortest of the times that a call takes within some seconds."""
    call()
    until, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < until:
        best = min(best, _timed(call)[1])
    return best


def _timed(call: Callable[[], object]) -> tuple[object, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun
