"""The page in a real browser: scans that are gone through one after the other."""

from collections.abc import Iterator

import numpy as np
import pytest
from page_reader import begun, expect, reading, soon
from serving import serving

from bifseg.io.images import write_image
from bifseg.server.settings import Limits, Settings
from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scans of the server, one of them damaged, and what is none."""
    folder = tmp_path_factory.mktemp("disk") / "images" / "knees"
    folder.mkdir(parents=True)
    for number in (1, 3, 10):
        scan = SCAN.with_array(np.roll(SCAN.array, number, 0))
        write_image(folder / f"knee {number}.nii.gz", scan.array, scan)
    (folder / "knee 2.nii.gz").write_bytes(b"\x1f\x8b nothing")
    (folder / "notes.txt").write_text("left")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, folder) -> Iterator:
    limits, data = Limits(requests_per_second=10_000), tmp_path_factory.mktemp("page") / "store"
    with serving(Settings(data, require_tokens=True, threads=1, limits=limits, images=folder.parent)) as server:
        yield server


@pytest.fixture
def reader(browser, server, request):
    """A person of their own at the start screen."""
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once(request.node.name[:40]))
        yield reader


def shown(reader, title, place):
    expect(reader.page.locator(".top .title")).to_have_text(title)
    expect(reader.page.get_by_role("button", name="pick another")).to_have_text(place)
    reader.arrived()


def test_scans_of_a_folder_are_gone_through_with_one_key(reader, server):
    reader.forgive("console: .* 400")
    reader.page.get_by_role("button", name="knees/").click()
    reader.page.get_by_role("button", name="knee 1.nii.gz").click()
    shown(reader, "knee 1.nii.gz", "1 / 4")
    first = reader.session
    expect(reader.page.get_by_role("button", name="Previous scan")).to_be_disabled()
    reader.press("n")
    expect(reader.page.locator(".toast")).to_contain_text("Scan 2: knees/knee 2.nii.gz")
    shown(reader, "knee 1.nii.gz", "1 / 4")  # what cannot be opened leaves all as it is, and is passed over
    reader.press("n")
    shown(reader, "knee 3.nii.gz", "3 / 4")
    reader.page.reload()
    shown(reader, "knee 3.nii.gz", "3 / 4")
    reader.press("Shift+n")
    shown(reader, "knee 1.nii.gz", "1 / 4")
    assert reader.session == first
    reader.page.get_by_role("button", name="pick another").click()
    question = reader.page.get_by_role("dialog")
    expect(question.locator("label")).to_have_count(4)
    expect(question.locator("label").nth(2)).to_have_text("3. knee 3.nii.gz: begun")
    question.get_by_label("4. knee 10.nii.gz").check()
    question.get_by_role("button", name="Open").click()
    shown(reader, "knee 10.nii.gz", "4 / 4")
    reader.press("n")
    expect(reader.page.locator(".toast")).to_contain_text("This is the last scan of the list.")
    reader.page.get_by_role("button", name="Scans and sessions").click()
    reader.arrived(in_session=False)
    rows = reader.page.get_by_role("region", name="List of 4 scans").get_by_role("button")
    expect(rows.nth(1)).to_contain_text("knee 2.nii.gz: ")
    rows.nth(2).click()
    shown(reader, "knee 3.nii.gz", "3 / 4")


def test_several_scans_are_chosen_and_the_next_one_is_there_before_it_is_asked_for(reader, server, folder):
    with reader.page.expect_file_chooser() as chooser:
        reader.page.get_by_role("button", name="Choose files").click()
    with reader.page.expect_event("requestfinished", lambda request: "images?name=knee+3" in request.url):
        chooser.value.set_files([folder / f"knee {number}.nii.gz" for number in (10, 1, 3)])
        shown(reader, "knee 1.nii.gz", "1 / 3")
    user = server.service.store.session(reader.session).owner
    assert len(server.service.store.images(user)) == 2
    asked = []
    reader.page.on("request", lambda request: asked.append(request.url))
    reader.press("n")
    shown(reader, "knee 3.nii.gz", "2 / 3")
    assert not [url for url in asked if "images?" in url and "knee+3" in url]
    soon(lambda: len(server.service.store.images(user)) == 3)
    reader.page.reload()
    shown(reader, "knee 3.nii.gz", "2 / 3")
    reader.press("n")
    expect(reader.page.locator(".toast")).to_contain_text("knee 10.nii.gz must be chosen again")
    reader.press("Shift+n")
    shown(reader, "knee 1.nii.gz", "1 / 3")


def test_a_scan_of_no_list_has_no_next_one(browser, server):
    session = begun(server, SCAN, user="dora")
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once("dora"), session)
        reader.arrived()
        expect(reader.page.get_by_role("button", name="Next scan")).to_have_count(0)
        reader.press("n")
        expect(reader.page.locator(".toast")).to_contain_text("This scan is in no list.")


def test_folders_of_slices_are_gone_through(reader, folder):
    pytest.importorskip("pydicom")
    from dicom_files import save_dicom

    for patient in ("anna", "ben"):
        save_dicom(folder.parent / "ward" / patient, [(1, 2, 4 * k - 8) for k in range(4)])
    reader.page.reload()
    reader.page.get_by_role("button", name="ward/").click()
    reader.page.get_by_role("button", name="Go through these 2 folders as DICOM series").click()
    shown(reader, "anna", "1 / 2")
    reader.press("n")
    shown(reader, "ben", "2 / 2")
