"""Slices drawn by the page's own panes on 2D canvases, and by NiiVue with WebGL, in the same browser."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Route

from benchmarks.page.browser import SIZE
from benchmarks.page.tables import Cost

HERE = Path(__file__).parent / "slices"
CHANGES, WINDOWS = 60, 7
ONE, WINDOW = "One slice of three changes", "Another window"
OURS, NIIVUE = "our 2D canvases", "NiiVue, WebGL"


def build(web: Path, folder: Path) -> None:
    """The page that draws them, as a bundle; needs what `npm ci` installs into web/."""
    vite = web / "node_modules" / "vite" / "bin" / "vite.js"
    command = ["node", vite, "build", "--config", HERE / "vite.config.mjs", "--outDir", folder, "--logLevel", "error"]
    subprocess.run(command, check=True, cwd=web)


def drawing_costs(browser: Browser, folder: Path, scan: Path) -> list[Cost]:
    """Three slices of a scan on 1440 x 900 pixels: another slice, another window, and frames one after the other."""
    context = browser.new_context(viewport=SIZE)

    def serve(route: Route) -> None:
        name = route.request.url.partition("//slices/")[2] or "index.html"
        route.fulfill(path=scan if name == "scan.nii" else folder / name)

    context.route("http://slices/**", serve)
    costs = []
    for kind, name in (("ours", OURS), ("niivue", NIIVUE)):
        page = context.new_page()
        page.goto("http://slices/")
        found = page.evaluate("([kind, n, m]) => measure(kind, n, m)", [kind, CHANGES, WINDOWS])
        page.close()
        costs += [
            Cost(f"{ONE}, {name}", _seconds(found["one"]), "s"),
            Cost(f"All three slices change, {name}", _seconds(found["three"]), "s"),
            Cost(f"{WINDOW}, {name}", _seconds(found["windows"]), "s"),
            Cost(f"A frame, where each shows another slice, {name}", _seconds(found["frames"]), "s"),
        ]
    context.close()
    return sorted(costs, key=lambda cost: cost.name.partition(",")[0])


def sentences(times: dict[str, float]) -> str:
    """How the two compare, in words."""
    told = " and ".join(f"{of[0].lower()}{of[1:]}: {ratio:.1f} times as long" for of, ratio in times.items())
    return (
        "The three slices of a scan of 256 x 256 x 240 on 1440 x 900 pixels, from asking for another until its pixels "
        f"are there. NiiVue takes, by medians: {told}."
    )


def _seconds(milliseconds: Sequence[float]) -> list[float]:
    return [value / 1000 for value in milliseconds]
