"""What the page says when something is wrong: in words, where one looks, and with nothing lost."""

import os
import re
import signal
import sys

import numpy as np
import pytest
from page_reader import PATIENCE, Scan, begun, expect, reading, soon
from program import COLD, MAIN, Program
from serving import serving

from bifseg.io import images
from bifseg.server.settings import Settings
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

BOX = ((12, 10, 5), (36, 34, 19))  # first and last voxel
USER = "anna"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A scan in a file."""
    path = tmp_path_factory.mktemp("scan") / "phantom.nii.gz"
    image, _ = phantom(3, (48, 44, 24))
    images.write_image(path, image.array, image)
    return path


def kinds(store, session):
    return [entry.kind for entry in store.entries(session)]


def check_strokes(data, session, *rows):
    """That a store has the box and the strokes along these rows, once each, and their scribbles."""
    store = Store(data)
    try:
        assert kinds(store, session) == ["box", *["scribble"] * len(rows)]
        segment = store.state(session).objects["object 1"]
        painted = np.zeros((48, 44, 24), np.uint8)
        painted[20:27, rows, 12] = 2
        np.testing.assert_array_equal(segment.box.paste(segment.scribbles, painted.shape), painted)
    finally:
        store.close()


def test_a_file_that_is_no_scan_is_refused_in_words_and_another_can_be_chosen(browser, server, path, tmp_path):
    (tmp_path / "letter.nii.gz").write_text("Dear colleague")
    (tmp_path / "letter.docx").write_text("Dear colleague")
    with reading(browser, server.url) as reader:
        reader.forgive("console: .* 400")
        reader.enter(server.service.tokens.create_once(USER))

        def choose(file):
            with reader.page.expect_file_chooser() as chooser:
                reader.page.get_by_role("button", name="Choose files").click()
            chooser.value.set_files(file)

        choose(tmp_path / "letter.docx")
        reader.told("letter.docx is of no known kind; possible are DICOM slices, .*nii.gz")
        choose(tmp_path / "letter.nii.gz")
        reader.told("The upload is not a NIfTI-1 file, nor a NIfTI-2, or its header is truncated")
        assert reader.page.locator("main.start").is_visible()
        choose(path)
        reader.arrived()


def test_a_session_that_does_not_exist_is_said_and_leads_to_the_start_screen(browser, server):
    with reading(browser, server.url) as reader:
        reader.forgive("console: .* 404", "failed: net::ERR_ABORTED")  # what was under way when the page was left
        reader.enter(server.service.tokens.create_once(USER))
        reader.page.goto(f"{server.url}/#session=0123456789abcdef0123")
        reader.page.reload()
        reader.told("There is no session '0123456789abcdef0123'")
        reader.arrived(in_session=False)


def test_a_link_lets_one_browser_in_once(browser, server, path):
    session, link = begun(server, images.read_image(path)), server.service.tokens.create_once(USER)
    with reading(browser, server.url) as reader:
        reader.enter(link, session)
        assert link not in reader.page.url
    with reading(browser, server.url) as other:
        other.forgive("console: .* 401")
        other.page.goto(f"{server.url}/#enter={link}&session={session}")
        other.told("used already or is too old; type bifseg app again")
        assert not other.page.locator(".workspace").count()


def test_a_token_that_was_revoked_shows_the_way_in_and_a_new_one_leads_back_to_the_session(browser, server, path):
    session, tokens = begun(server, images.read_image(path)), server.service.tokens
    with reading(browser, server.url) as reader:
        reader.forgive("console: .* 401")
        reader.scan = Scan.read(path)
        reader.enter(tokens.create_once(USER), session)
        with reader.acting():
            reader.box(*BOX)
        reader.press("g")
        reader.drag("Axial", (20, 20, 12), (26, 20, 12), release=False)
        for row in tokens.list():
            tokens.revoke(row.id)  # in the middle of the stroke: soon the page would hear of it by itself
        reader.page.mouse.up()
        reader.told("too old, or was revoked")
        tokens.create(USER)  # else nobody would need one
        reader.page.get_by_label("Token").fill("bifseg_00000000_" + "x" * 43)
        reader.page.get_by_role("button", name="Enter").click()
        reader.told("wrong, expired or revoked")
        reader.page.get_by_label("Token").fill(tokens.create(USER))
        reader.page.get_by_role("button", name="Enter").click()
        reader.arrived()
        assert reader.session == session
        reader.done(2)  # the stroke, too, which was drawn without a token that is good
        expect(reader.page.locator(".row .title")).to_have_text("object 1")


def test_a_full_disk_is_said_and_the_session_stays_as_it_was(browser, path, tmp_path):
    store = Store(tmp_path / "store")
    session = store.create(store.add_image(images.read_image(path), USER), USER, title="phantom")
    used = store.used()
    store.close()
    with serving(Settings(tmp_path / "store", require_tokens=True, threads=1, quota=used)) as server:
        with reading(browser, server.url) as reader:
            reader.forgive("console: .* 507")
            reader.scan = Scan.read(path)
            reader.enter(server.service.tokens.create_once(USER), session)
            reader.box(*BOX)
            reader.told("The store may take .* and this does not fit; delete sessions or images")
            expect(reader.page.locator(".workspace[data-busy]")).to_have_count(0)
            expect(reader.page.locator(".kept")).to_have_text("Nothing to save yet")
            expect(reader.page.get_by_role("button", name="Box", exact=True)).to_have_attribute("aria-pressed", "true")
        assert kinds(server.service.store, session) == []


LINK = re.compile(r"bifseg: open (http://[\d.:]+)/#enter=([\w-]+)&session=(\w+)\n")


class App(Program):
    """``bifseg app`` in a process of its own."""

    def __init__(self, data, *scan):
        command = [sys.executable, "-c", COLD + MAIN, "app", *scan, "--no-browser", "--data", data]
        super().__init__(*command, environment={**os.environ, "OMP_NUM_THREADS": "1"})


def reddish(reader, voxel):
    """Whether a voxel has the colour of what is not the object."""
    x, y = reader.inside("Axial", reader.scan.canonical(voxel))
    red, green, blue = reader.picture("Axial")[round(float(y)), round(float(x))].astype(int)
    return red > green + 40 and red > blue + 40


def test_a_server_that_is_killed_gets_every_stroke_once_from_a_page_that_stays_and_one_that_is_reloaded(
    browser, path, tmp_path
):
    app = App(tmp_path / "data", path)
    try:
        url, token, session = LINK.fullmatch(app.line).groups()
        with reading(browser, url) as reader:
            reader.forgive("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_ABORTED")
            reader.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONTENT_LENGTH_MISMATCH")  # what the kill cut off
            reader.scan = Scan.read(path)
            reader.enter(token, session)
            with reader.acting():
                reader.box(*BOX)
            reader.press("g")
            reader.thin()
            with reader.acting(2):
                reader.drag("Axial", (20, 20, 12), (26, 20, 12))
                app.stop(signal.SIGKILL)  # while this stroke is computed
                reader.told("The server cannot be reached. Nothing is lost")
                reader.drag("Axial", (20, 26, 12), (26, 26, 12))
                for y in (20, 26):  # both are to be seen meanwhile
                    soon(lambda y=y: reddish(reader, (23, y, 12)))
                app = App(tmp_path / "data")  # at the same address
                back = reader.page.get_by_text("The server is back")
                expect(back).to_be_visible(timeout=PATIENCE)  # the page asks every few seconds only
            expect(reader.page.locator(".banner")).to_be_hidden()
            check_strokes(tmp_path / "data", session, 20, 26)

            app.stop(signal.SIGKILL)
            reader.told("The server cannot be reached. Nothing is lost")  # at once, though nothing was asked
            reader.drag("Axial", (20, 30, 12), (26, 30, 12))
            reader.page.goto("about:blank")
            app = App(tmp_path / "data")
            reader.page.goto(f"{url}/#session={session}")
            reader.arrived()
            reader.done(4)
            check_strokes(tmp_path / "data", session, 20, 26, 30)
    finally:
        app.stop(signal.SIGTERM)
