"""No number in README or docs/explanation stands without its source, and tables of results are what the results say."""

import re
from pathlib import Path

import pytest

from docs.generate import numbers

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "explanation").glob("*.md"))]
UNITS = "%|points?|s|ms|µs|seconds?|minutes?|min|hours?|h|KiB|MiB|GiB|KB|MB|GB|kB|frames a second|times as fast"
MEASURED = re.compile(rf"(?<![\w.^/-])[+−-]?\d[\d,]*(?:\.\d+)?\s?(?:{UNITS})(?![\w/])")
NUMBER = re.compile(r"\|\s*\**[+−-]?\d+\.\d+[^|a-z]*\|")  # a cell of nothing else
SOURCE = re.compile(
    r"`[^`]*(?:python -m |make [a-z]|bifseg (?:benchmark|report|doctor|demo|tune|info|train))[^`]*`"  # a command
    r"|^(?:\$ )?(?:python -m |make [a-z]|bifseg )[^\n]*$"  # the same in a block of code
    r"|\]\([^)]*(?:results|decisions|tests|benchmarks|explanation|how-to)/[^)]*\)"  # a report, a record, a page
    r"|\btest_\w+\.py"  # a limit that a test holds the code to
    r"|doi\.org|arXiv",
    re.M,
)


def sections(text: str) -> list[tuple[str, str]]:
    """Heading and text of every section; a heading of the third level and below belongs to the one above it."""
    parts = re.split(r"^(##? .*)$", text, flags=re.M)
    return [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]


def unsourced(text: str) -> list[str]:
    """Headings of the sections that tell measured numbers, in a table or a sentence, and no source of them."""
    found = []
    for heading, content in sections(re.sub(r"<!--.*?-->", "", numbers.MARKED.sub("", text), flags=re.S)):
        said = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", content, flags=re.S)
        tables = [line for line in said.splitlines() if line.startswith("|") and NUMBER.search(line)]
        if (tables or MEASURED.search(said)) and not SOURCE.search(content):
            found.append(heading)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_no_number_stands_without_its_source(page):
    assert unsourced((ROOT / page).read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "## Speed\n\nIt takes 0.3 s.\n",
        "## Speed\n\n| first | next |\n|---|---|\n| fast | 0.27 |\n",
        "## Speed\n\nIt gains +3 points.\n\n## How\n\n`python -m benchmarks.speed`\n",
        "It takes 12 % less.\n",
    ],
)
def test_a_number_without_a_source_is_found(text):
    assert len(unsourced(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "## Speed\n\nIt takes 0.3 s; `python -m benchmarks.speed`.\n",
        "## Speed\n\n```sh\nmake evidence\n```\n\n| 0.27 |\n",
        "## Speed\n\n<!-- numbers: readme; made -->\n| 0.27 s |\n<!-- end of numbers -->\n",
        "## Speed\n\nIn 2D and 3D, with 3 strokes; `--limit 3 s`.\n",
        "## Speed\n\nIt takes 0.3 s, see [the report](../results/speed.md).\n",
    ],
)
def test_a_number_with_a_source_passes(text):
    assert unsourced(text) == []


@pytest.mark.parametrize("page", numbers.PAGES)
def test_tables_of_results_are_what_the_results_say(page):
    text = (ROOT / page).read_text()
    assert numbers.MARKED.search(text)
    assert text == numbers.filled(text, (ROOT / page).parent), f"{page} is stale: make docs"


def test_a_table_that_was_touched_is_made_anew_and_an_unknown_one_refused():
    page = ROOT / "README.md"
    text = page.read_text()
    block = numbers.MARKED.search(text)
    touched = text.replace(block[0], f"{block[1]}\n| 99.9 |\n{block[3]}")
    assert numbers.filled(touched, ROOT) == text
    with pytest.raises(ValueError, match="no numbers 'wishes'"):
        numbers.filled("<!-- numbers: wishes; made -->\n<!-- end of numbers -->", ROOT)
