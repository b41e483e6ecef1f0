"""The docs hold: generated pages are those of the code as it is, links lead somewhere, Python examples run."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bifseg.io import images
from bifseg.training.synthetic.phantom import phantom

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("node_modules", ".venv", "results", "demo-output")  # results: reports as their commands wrote them
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "deploy/**/*.md")
    for path in ROOT.glob(pattern)
    if not set(path.relative_to(ROOT).parts) & set(LEFT_OUT)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


@cache
def anchors(path: Path) -> set[str]:
    """What links may name after #: the headings, as GitHub spells them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    headings = re.findall(r"^#+ +(.+?) *$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("name", ["api.md", "cli.md", "formats.md", "parameters.md"])
def test_generated_pages_are_of_the_code_as_it_is(name):
    pages = import_module("docs.generate.__main__")
    assert set(pages.PAGES) == {path.name for path in pages.REFERENCE.glob("*.md")}
    assert (pages.REFERENCE / name).read_text() == pages.text(name), f"docs/reference/{name} is stale: make docs"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    assert broken(ROOT / page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("# One, two\n[a](#one-two) [b](#three) [c](b.md) [d](https://example.org) `[e](f.md)`\n")
    assert broken(page) == ["#three", "b.md"]


EXAMPLES = [page for page in PAGES if "```python\n" in (ROOT / page).read_text() and page.name != "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", EXAMPLES, ids=str)  # test_contributing.py does what CONTRIBUTING.md says
def test_python_examples_run(page, tmp_path, monkeypatch):
    """The examples of a page, one after the other, where there is a scan.nii.gz and, of its shape, labels."""
    image, _ = phantom(11)
    images.write_image(tmp_path / "scan.nii.gz", image.array, image)
    monkeypatch.chdir(tmp_path)
    labels = np.zeros(image.shape, np.uint8)
    labels[60:64, 70, 12] = 1
    names = {"labels": labels}
    for example in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.S):
        exec(compile(example, str(page), "exec"), names)
