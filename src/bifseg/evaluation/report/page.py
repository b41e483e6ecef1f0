"""The report as one HTML page that needs nothing from elsewhere: for phones and screens, light and dark, and paper."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from bifseg.evaluation.report.document import Block, Heading, Items, Picture, Table, Text, plain

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --muted: #5b6570; --line: #d9dee3; --soft: #f4f6f8;
  --mark: #a63f00; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181d; --ink: #eceef0; --muted: #a7b0bb; --line: #343a42;
  --soft: #1d2127; --mark: #ff9f5a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .8rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .6rem; }
p, ul { max-width: 50rem; overflow-wrap: anywhere; }
li { margin: .3rem 0; }
nav { font-size: .9rem; columns: 16rem; margin: 1rem 0 0; }
nav a { display: block; padding: .15rem 0; }
a { color: var(--mark); }
code { font-size: .82em; background: var(--soft); padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: .4rem 0 .5rem; border: 1px solid var(--line); border-radius: 6px; }
.table:focus { outline: 2px solid var(--mark); }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; width: 100%; }
.caption { font-weight: 600; margin: 1.4rem 0 .2rem; }
details > summary { font-weight: 600; margin: 1.4rem 0 .2rem; cursor: pointer; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { background: var(--soft); font-weight: 600; }
th.name, td.name { text-align: left; }
tbody th { font-weight: normal; }
td b { color: var(--mark); }
.notes { color: var(--muted); font-size: .84rem; margin: .3rem 0 1.2rem; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; display: block; border-radius: 6px; background: #fff; }
figcaption { color: var(--muted); font-size: .84rem; margin-top: .4rem; max-width: 50rem; }
@media print { details > * { display: block; } .table { overflow: visible; } }
"""


def page(blocks: Iterable[Block]) -> str:
    """The whole page; pictures are files beside it."""
    blocks = list(blocks)
    heads = {id(b): f"s{k}" for k, b in enumerate(blocks) if isinstance(b, Heading)}
    title = next((plain(b.text) for b in blocks if isinstance(b, Heading)), "Report")
    links = [
        f'<a href="#{heads[id(b)]}">{_inline(b.text)}</a>' for b in blocks if isinstance(b, Heading) and b.level == 2
    ]
    body = []
    for block in blocks:
        body.append(_html(block, heads.get(id(block), "")))
        if isinstance(block, Heading) and block.level == 1 and links:
            body.append(f"<nav>{''.join(links)}</nav>")
    parts = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{parts}\n</main>\n"
        "</body>\n</html>\n"
    )


def _html(block: Block, anchor: str) -> str:
    if isinstance(block, Heading):
        return f'<h{block.level} id="{anchor}">{_inline(block.text)}</h{block.level}>'
    if isinstance(block, Text):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Items):
        return "<ul>" + "".join(f"<li>{_inline(text)}</li>" for text in block.texts) + "</ul>"
    if isinstance(block, Picture):
        alt = html.escape(plain(block.caption))
        source = html.escape(block.file)
        return (
            f'<figure><img src="{source}" alt="{alt}" loading="lazy">'
            f"<figcaption>{_inline(block.caption)}</figcaption></figure>"
        )
    return _table(block)


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"{_name(k, table)}>{_inline(head)}</th>' for k, head in enumerate(table.heads)
    )  # fmt: skip
    lines = []
    for row in table.rows:
        cells = (
            f"<{'th scope=row' if k < table.fixed else 'td'}{_name(k, table)}>{_bold(_inline(cell.text), cell.best)}"
            f"</{'th' if k < table.fixed else 'td'}>"
            for k, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    caption = html.escape(plain(table.caption))
    inner = (
        f'<div class="table" tabindex="0" role="region" aria-label="{caption}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    notes = f'<p class="notes">{_inline(table.notes)}</p>' if table.notes else ""
    if table.folded:
        return f"<details><summary>{_inline(table.caption)}</summary>{inner}{notes}</details>"
    return f'<p class="caption">{_inline(table.caption)}</p>{inner}{notes}'


def _name(k: int, table: Table) -> str:
    return ' class="name"' if k < table.fixed else ""


def _bold(text: str, best: bool) -> str:
    return f"<b>{text}</b>" if best else text


def _inline(text: str) -> str:
    """Escaped text with its bold and code marks as elements."""
    text = html.escape(text, quote=False).replace(" %", "&nbsp;%")
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
