"""The page in a real browser: how scans and sessions come in and go out."""

import base64
import re

import numpy as np
import pytest
from page_reader import PATIENCE, Scan, begun, expect, reading

from bifseg.errors import NotFound
from bifseg.io.images import write_image
from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), byte => byte.charCodeAt(0))
  const carried = new DataTransfer()
  carried.items.add(new File([bytes], name))
  return carried
}"""


@pytest.fixture
def reader(browser, server, request):
    """A person of their own at the start screen."""
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once(request.node.name[:40]))
        yield reader


def image_of(server, reader):
    """The image of the session on the screen, as the store has it."""
    return server.service.store.image(server.service.store.session(reader.session).image)


def test_a_scan_is_dropped_on_the_start_screen_and_on_a_session(reader, server, tmp_path):
    write_image(tmp_path / "knee.nii.gz", SCAN.array, SCAN)
    content = base64.b64encode((tmp_path / "knee.nii.gz").read_bytes()).decode()

    def drop(target, name):
        carried = reader.page.evaluate_handle(DROP, [name, content])
        reader.page.locator(target).dispatch_event("drop", {"dataTransfer": carried})

    drop("main.start", "knee.nii.gz")
    reader.arrived()
    first = reader.session
    np.testing.assert_array_equal(image_of(server, reader).array, SCAN.array)
    expect(reader.page.locator(".top .title")).to_have_text("knee.nii.gz")
    drop(".workspace", "again.nii.gz")
    expect(reader.page.locator(".top .title")).to_have_text("again.nii.gz")
    reader.arrived()
    assert reader.session != first


def test_a_folder_of_dicom_slices(reader, server, tmp_path):
    pytest.importorskip("pydicom")
    from dicom_files import check_dicom, save_dicom

    save_dicom(tmp_path / "series 4", [(1, 2, 4 * k - 8) for k in range(4)])
    with reader.page.expect_file_chooser() as chooser:
        reader.page.get_by_role("button", name="Choose a DICOM folder").click()
    chooser.value.set_files(tmp_path / "series 4")
    reader.arrived()
    check_dicom(image_of(server, reader))
    expect(reader.page.locator(".top .title")).to_have_text("series 4")  # these slices have no description
    image = image_of(server, reader)
    reader.scan = Scan.of(image)
    reader.go_to((2, 3, 1))
    expect(reader.page.locator(".place")).to_contain_text(str(image.array[2, 3, 1]))
    reader.press("Control+s")
    expect(reader.page.get_by_role("dialog").get_by_role("button", name="DICOM-SEG")).to_be_visible()


def test_one_of_several_dicom_series_is_picked(reader, server, tmp_path):
    pytest.importorskip("pydicom")
    from dicom_files import check_dicom, save_dicom

    reader.forgive("console: .* 400")
    one = save_dicom(tmp_path / "study", [(1, 2, 4 * k - 8) for k in range(4)])
    save_dicom(tmp_path / "study", [(1, 2, 5 * k) for k in range(3)])
    with reader.page.expect_file_chooser() as chooser:
        reader.page.get_by_role("button", name="Choose a DICOM folder").click()
    chooser.value.set_files(tmp_path / "study")
    question = reader.page.get_by_role("dialog")
    expect(question).to_contain_text("There are several DICOM series; which one is it?", timeout=30_000)
    question.get_by_label(f"CT, 5 × 6 × 4 voxels, {one}").check()
    question.get_by_role("button", name="Open").click()
    reader.arrived()
    check_dicom(image_of(server, reader))


def test_the_demo_phantom(reader, server):
    reader.page.get_by_role("button", name="Demo phantom").click()
    reader.arrived()
    assert image_of(server, reader).array.std() > 0
    expect(reader.page.locator(".top .title")).to_have_text("Demo phantom")


def test_sessions_are_found_again_and_deleted_when_one_is_sure(browser, server):
    session = begun(server, SCAN, "10:30,9:27,13", user="ben")
    other = begun(server, SCAN, user="ben")
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once("ben"), session)
        reader.page.get_by_role("button", name="Scans and sessions").click()
        reader.arrived(in_session=False)
        rows = reader.page.locator(".sessions li")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text("44 × 38 × 24")
        rows.filter(has_text="phantom").last.get_by_role("button", name=re.compile("^phantom")).click()
        reader.arrived()
        opened = reader.session
        assert opened in (session, other)
        reader.page.get_by_role("button", name="Scans and sessions").click()
        for answer, left in (("Cancel", 2), ("Delete", 1)):
            rows.first.get_by_role("button", name="Delete phantom").click()
            reader.page.get_by_role("dialog").get_by_role("button", name=answer).click()
            expect(rows).to_have_count(left)
            assert len(server.service.store.sessions("ben")) == left


def test_a_session_file_goes_out_and_comes_in_again(browser, server, tmp_path):
    session = begun(server, SCAN, "10:30,9:27,13", user="cleo")
    store = server.service.store
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once("cleo"), session)
        reader.press("Control+s")
        with reader.page.expect_download() as saved:
            reader.page.get_by_role("dialog").get_by_role("button", name=re.compile("^Session")).click()
        path = tmp_path / saved.value.suggested_filename
        saved.value.save_as(path)
        reader.press("Escape")
        before = store.state(session)
        store.delete(session)
        with pytest.raises(NotFound):
            store.session(session)
        reader.page.get_by_role("button", name="Scans and sessions").click()
        with reader.page.expect_file_chooser() as chooser:
            reader.page.get_by_role("button", name="Open a session file").click()
        chooser.value.set_files(path)
        reader.arrived()
        expect(reader.page.locator(".row .title")).to_have_text("object 1", timeout=PATIENCE)
        after = store.state(reader.session).objects["object 1"]
        np.testing.assert_array_equal(after.mask, before.objects["object 1"].mask)


def test_sessions_have_thumbnails_and_a_series_is_called_what_it_shows(reader, server, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from dicom_files import save_dicom

    save_dicom(tmp_path / "1.2.840.99", [(1, 2, 4 * k - 8) for k in range(4)])
    for path in (tmp_path / "1.2.840.99").iterdir():
        content = pydicom.dcmread(path)
        content.SeriesDescription, content.WindowCenter, content.WindowWidth = "Liver, venous", -850, 300
        content.save_as(path)
    with reader.page.expect_file_chooser() as chooser:
        reader.page.get_by_role("button", name="Choose a DICOM folder").click()
    chooser.value.set_files(tmp_path / "1.2.840.99")
    reader.arrived()
    expect(reader.page.locator(".top .title")).to_have_text("Liver, venous")
    reader.page.get_by_role("button", name="Scans and sessions").click()
    reader.arrived(in_session=False)
    row = reader.page.locator(".sessions li").filter(has_text="Liver, venous")
    picture = row.locator("img")
    picture.evaluate("image => image.decode()")
    pixels = picture.evaluate("""image => {
      const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight)
      const context = canvas.getContext('2d')
      context.drawImage(image, 0, 0)
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, k) => k % 4 === 0)
    }""")
    assert max(pixels) > min(pixels) + 5  # the window of the file, in which 30 values differ by a tenth
