"""What the page costs in a browser, and its pictures: ``python -m benchmarks.page``, some three minutes.

Measures in a real headless Chromium that draws on the CPU, against a real ``bifseg app``; writes results/page.json and
results/page.md into the folder given by ``-o`` (docs). ``--pictures`` draws pictures/page-*.png and the walk-through
instead. The page has to be built (``make page``). For numbers to be told, leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.page import compared, opening, rendering, scrolling, sent, strokes
from benchmarks.page.browser import Desk, browsing, serving
from benchmarks.page.pictures import draw
from benchmarks.page.tables import Cost, document, ratio
from benchmarks.page.walkthrough import walk
from benchmarks.speed import machine
from bifseg.io import images
from bifseg.io.atomic import write_atomically
from bifseg.server.built import STATIC
from bifseg.training.synthetic.phantom import phantom

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PARTS = ("strokes", "opening", "scrolling", "rendering", "drawing", "sent")
Section = tuple[str, str, list[Cost]]


def measure(parts: list[str], data: Path, n: int, say: Callable[[str], None]) -> tuple[dict, list[Section]]:
    """What is known of the run, and the sections that were asked for."""
    about, began = machine.about(2), time.perf_counter()
    about["warnings"] = []
    if (load := about["load_average_at_start"]) > machine.QUIET:
        about["warnings"].append(f"The machine was not quiet: its load average was {load} at the start.")
    package = json.loads((WEB / "package.json").read_text())
    about["versions"]["NiiVue"] = package["devDependencies"]["@niivue/niivue"]
    told: dict = {"about": about}
    sections: list[Section] = []
    with TemporaryDirectory() as name, browsing() as browser, serving(data) as link:
        folder = Path(name)
        about["browser"] = f"Chromium {browser.version}"
        desk = Desk(browser, link)

        def part(of: str) -> bool:
            if of in parts:
                say(f"{of}, {time.perf_counter() - began:.0f} s after the start")
            return of in parts

        if part("strokes"):
            sections += _strokes(desk, folder, n)
        if {"opening", "rendering", "drawing"} & set(parts):
            scans = opening.noisy_scans(folder, max(2, n // 8))
        if part("opening"):
            sections.append(("Opening a scan", opening.ABOUT, opening.costs(browser, desk, scans, max(3, n // 4))))
        if part("scrolling"):
            path = folder / "large.nii"
            scan = scrolling.scan()
            images.write_image(path, scan.array, scan)
            sections.append(("Scrolling", scrolling.ABOUT, scrolling.costs(browser, desk, path)))
        if part("rendering"):
            sections.append(("The 3D view", rendering.ABOUT, rendering.costs(browser, desk, scans[0])))
        if part("drawing"):
            compared.build(WEB, folder / "slices")
            costs = compared.drawing_costs(browser, folder / "slices", scans[0])
            told["NiiVue takes"] = {of: ratio(costs, f"{of}, {compared.NIIVUE}", f"{of}, {compared.OURS}")
                                    for of in (compared.ONE, compared.WINDOW)}  # fmt: skip
            sections.append(("Who draws the slices", compared.sentences(told["NiiVue takes"]), costs))
        if part("sent"):
            told["bundle"] = sent.bundle(STATIC)
            told["axe"] = sent.violations(browser, desk, _session(desk), WEB)
            sections.append(("What is sent, and how it reads", sent.sentences(told["bundle"], told["axe"]), []))
        desk.close()
    about["seconds"] = round(time.perf_counter() - began)
    return told, sections


def _strokes(desk: Desk, folder: Path, n: int) -> list[Section]:
    """In two and in three dimensions, on phantoms."""
    sections = []
    for shape, title, costs in (
        (strokes.FLAT, "From a hand to the screen, 2D", strokes.flat_costs),
        (strokes.DEEP, "From a hand to the screen, 3D", strokes.cube_costs),
    ):
        scan, labels = phantom(strokes.SEED, shape)
        path = folder / f"phantom{len(sections)}.nii"
        images.write_image(path, scan.array, scan)
        sections.append((title, strokes.ABOUT, costs(desk, labels, desk.send(path), n)))
    return sections


def _session(desk: Desk) -> str:
    """The demo with an object in it."""
    session = desk.session(desk.ask("POST", "images/demo"), "read")
    desk.ask("POST", f"sessions/{session}/box", data={"box": "30:70,30:70,30"})
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs", metavar="DIR")
    parser.add_argument("--data", type=Path, help="the server's folder; else one that goes afterwards")
    parser.add_argument("--pictures", action="store_true", help="draw pictures and the walk-through, measure nothing")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("-n", type=int, default=24, help="strokes of each kind (24)")
    arguments = parser.parse_args()
    if not (STATIC / "index.html").is_file():
        raise SystemExit("The page was not built; type make page, which needs Node.js 20 or newer.")
    for name in ("results", "pictures"):
        (arguments.output / name).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as own:
        data = arguments.data or Path(own)
        if arguments.pictures:
            for kind in (draw, walk):
                for name, content in kind(data).items():
                    write_atomically(arguments.output / "pictures" / name, content)
            return
        told, sections = measure(arguments.only, data, arguments.n, partial(print, file=sys.stderr, flush=True))
    told["costs"] = {title: [cost.as_dict() for cost in costs] for title, _, costs in sections if costs}
    page = document(told, sections)
    write_atomically(arguments.output / "results" / "page.json", (json.dumps(told, indent=1) + "\n").encode())
    write_atomically(arguments.output / "results" / "page.md", page.encode())
    print(page)


if __name__ == "__main__":
    main()
