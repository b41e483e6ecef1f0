"""Whether everybody can read the page, and what it sends: axe-core in a real browser, and the built files."""

import re
from pathlib import Path

import pytest
from page_reader import expect, reading

from bifseg.server import built
from bifseg.training.synthetic.phantom import phantom

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
LARGEST = 1.2e6  # bytes of all files together
LOADED = re.compile(
    rb"""(?:fetch|import|open|Worker|importScripts)\(\s*["'`]https?:|(?:src|href)\s*=\s*["'`]?https?:"""
)


def violations(reader):
    """What axe finds wrong, in dark and in light."""
    found = []
    for scheme in ("dark", "light"):
        reader.page.emulate_media(color_scheme=scheme)
        result = reader.page.evaluate("() => axe.run()")
        assert len(result["passes"]) > 10
        found += [
            (scheme, rule["id"], [node["html"] for node in rule["nodes"]]) for rule in result["violations"]
        ]  # fmt: skip
    return found


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm --prefix web ci")
def test_axe_finds_nothing_wrong_with_any_part_of_the_page(browser, server, tmp_path):
    store = server.service.store
    image, _ = phantom(3, (48, 44, 24))
    session = store.create(store.add_image(image, "ann"), "ann", title="phantom.nii.gz")
    with reading(browser, server.url, bypass_csp=True) as reader:
        reader.enter(server.service.tokens.create_once("ann"), session)
        reader.page.add_script_tag(path=AXE)
        assert not violations(reader)  # a scan without objects
        reader.press("Shift+B")
        assert not violations(reader)  # a box to be
        with reader.acting():
            reader.press("Enter")
        with reader.acting():
            reader.press("g", "Space")
        expect(reader.page.get_by_role("region", name="Adaptation")).to_be_visible()
        assert not violations(reader)
        reader.press("m")
        assert not violations(reader)  # a map and its legend
        for key in ("?", "i", "Control+s"):
            reader.press(key)
            expect(reader.page.get_by_role("dialog")).to_be_visible()
            assert not violations(reader)
            reader.press("Escape")
            expect(reader.page.get_by_role("dialog")).to_have_count(0)
        reader.page.get_by_role("button", name="Rename").first.click()
        assert not violations(reader)
        reader.press("Escape")
        reader.page.get_by_role("button", name="Scans and sessions").click()
        reader.arrived(in_session=False)
        expect(reader.page.get_by_role("button", name="phantom.nii.gz").first).to_be_visible()
        assert not violations(reader)


@pytest.mark.skipif(not built.is_built(), reason="the page was not built: make page")
def test_the_page_is_small_and_loads_nothing_from_elsewhere():
    files = [path for path in built.STATIC.rglob("*") if path.is_file()]
    code = [path for path in files if path.suffix in (".js", ".css", ".html")]
    assert {path.suffix for path in code} == {".js", ".css", ".html"}
    assert sum(path.stat().st_size for path in files) <= LARGEST
    for path in code:
        assert not LOADED.search(path.read_bytes()), path.name


def test_the_check_for_addresses_sees_one():
    assert LOADED.search(b'<script src="https://cdn.example.org/a.js">')
    assert LOADED.search(b"fetch('http://example.org')")
    assert not LOADED.search(b'xmlns="http://www.w3.org/2000/svg"')
