"""What a browser has to fetch of the page, and what axe-core finds wrong with it."""

from __future__ import annotations

import gzip
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.page.browser import Desk
from benchmarks.page.tables import markdown

AXE = ("node_modules", "axe-core", "axe.min.js")
AUDIT = "async () => (await axe.run()).violations.map(({ id, nodes }) => `${id} (${nodes[0].target})`)"
SETTLED = 1000  # milliseconds after which what is loaded later is there


def bundle(static: Path) -> dict[str, dict[str, int]]:
    """Bytes of the page's files, as they are and gzipped; a worker makes and draws surfaces."""
    files = [path for path in static.rglob("*") if path.is_file()]
    parts = {
        "page": [path for path in files if not path.name.startswith("worker")],
        "surfaces": [path for path in files if path.name.startswith("worker")],
    }
    return {
        name: {
            "bytes": sum(p.stat().st_size for p in paths),
            "gzipped": sum(len(gzip.compress(p.read_bytes(), 9)) for p in paths),
        }
        for name, paths in parts.items()
    }


def violations(browser: Browser, desk: Desk, session: str, web: Path) -> dict[str, list[str]] | None:
    """Rules of axe-core that are broken on the start screen and in a session; None where axe-core is not installed."""
    axe = web.joinpath(*AXE)
    if not axe.is_file():
        return None
    found = {}
    for theme in ("dark", "light"):
        other = Desk(browser, desk.base, desk.context, bypass_csp=True, color_scheme=theme)
        other.page.goto(desk.base)
        other.page.locator(".sessions").wait_for()
        other.page.add_script_tag(path=axe)
        found[f"start screen, {theme}"] = other.page.evaluate(AUDIT)
        other.open(session)
        other.page.wait_for_timeout(SETTLED)
        other.page.add_script_tag(path=axe)
        found[f"session, {theme}"] = other.page.evaluate(AUDIT)
        other.close()
    return found


def sentences(parts: dict[str, dict[str, int]], broken: dict[str, list[str]] | None) -> str:
    """Both, as Markdown."""
    rows = [["", "kB", "gzipped"]]
    rows += [[name, *(f"{part[k] / 1000:.0f}" for k in ("bytes", "gzipped"))] for name, part in parts.items()]
    if broken is None:
        return f"{markdown(rows)}\n\naxe-core is not installed: nothing is known of accessibility."
    rules = ", ".join(f"{place}: {', '.join(names)}" for place, names in broken.items() if names)
    count = sum(map(len, broken.values()))
    places = ", ".join(broken)
    return f"{markdown(rows)}\n\naxe-core finds {count} violations ({rules or places})."
