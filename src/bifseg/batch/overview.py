"""A batch as one HTML page beside its pictures: the least sure mask first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

STYLE = """
:root { color-scheme: light dark; }
body { margin: 1rem; font: 15px/1.4 system-ui, sans-serif; }
ul { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); }
li { overflow-wrap: anywhere; }
img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; border-radius: 6px; }
p { margin: .2rem 0; }
"""


def overview(entries: Sequence[Mapping[str, Any]]) -> str:
    """The page: pictures to check, the least sure first, and the rows that were passed over, with their reasons."""
    done = sorted((e for e in entries if e["status"] == "done"), key=lambda e: (-e["uncertainty"], e["row"]))
    others = [entry for entry in entries if entry["status"] != "done"]
    parts = [f"<h1>{len(done)} masks, the least sure first</h1>", "<ul>", *map(_item, done), "</ul>"]
    if others:
        lines = (f"<li>Row {e['row']}, {escape(e['name'])}: {escape(e['sentence'])}</li>" for e in others)
        parts += [f"<h2>{len(others)} rows without a mask</h2>", "<ol>", *lines, "</ol>"]
    head = f'<meta charset="utf-8"><title>bifseg batch</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _item(entry: Mapping[str, Any]) -> str:
    sizes = [f"{entry['voxels']} voxels"]
    if "millilitres" in entry:
        sizes.append(f"{entry['millilitres']:.3g} ml")
    if "area_mm2" in entry:
        sizes.append(f"{entry['area_mm2']:.4g} mm²")
    name = escape(entry["name"])
    image = f'<img src="{quote(entry["picture"])}" alt="Mask of {name}" loading="lazy">'
    return (
        f'<li><a href="{quote(entry["mask"])}">{image}</a>'
        f"<p><b>{name}</b>, row {entry['row']}</p>"
        f"<p>{', '.join(sizes)}; uncertainty {entry['uncertainty']:.2f}</p></li>"
    )
