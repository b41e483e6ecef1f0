"""Tasks on the page: begun with an object, taught by finished ones, looked at and given up; by keys, too."""

import re

import pytest
from api_calls import API
from kinds_of_objects import one_of_two, scan_and_core
from page_reader import begun, expect, reading
from quick_learning import quicken

from bifseg.server.api.bodies.drawing import Mask
from bifseg.tasks.versions import learn_version

PLACE = "4:44,4:44,0"


@pytest.fixture(scope="module")
def taught(server):
    """A task of Anna's that learnt from three patients, in this process; the server's own learner does nothing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server.service.learner, "wake", lambda: None)
        quicken(patched)
        with server.client("anna") as http:
            http.post(f"{API}/tasks", json={"name": "dark core"})
            for seed in range(3):
                image, mask = scan_and_core(seed)
                id = begun(server, image)
                drawn = Mask.of(mask[4:44, 4:44], PLACE).model_dump()
                http.post(f"{API}/sessions/{id}/box", json={"box": PLACE, "initial": drawn, "refine": "none"})
                answer = http.post(f"{API}/tasks/dark core/objects", json={"session": id, "object": "object 1"})
                assert answer.status_code == 201, answer.text
        learn_version(server.service.tasks.of("anna").task("dark core"), 2)
        yield


@pytest.fixture
def page(browser, server, taught):
    with reading(browser, server.url) as reader:
        reader.open(server, scan_and_core(9)[0], begun(server, scan_and_core(9)[0]))
        yield reader.page


def box_of_the_keyboard(page):
    page.keyboard.press("Shift+B")
    page.get_by_role("button", name="Segment").click()


def test_a_new_object_begins_with_the_task_and_is_added_when_it_is_finished(page):
    part = page.get_by_role("region", name="Task")
    expect(part).to_contain_text("Many objects of one kind?")
    page.keyboard.press("Shift+T")
    expect(part.get_by_role("combobox")).to_be_focused()
    part.get_by_role("combobox").select_option("dark core")
    expect(part).to_contain_text("New objects begin with what was learnt from 3 objects.")
    page.keyboard.press("Escape")
    page.locator("canvas").first.click()
    box_of_the_keyboard(page)
    expect(part).to_contain_text("object 1 began with what dark core had learnt (version 1).")
    page.keyboard.press("Shift+Enter")
    expect(part.get_by_role("button", name="Added")).to_be_disabled()
    expect(page.get_by_role("alert").filter(has_text="object 1 was added to dark core")).to_be_visible()
    part.get_by_role("button", name="Look at it").click()
    look = page.get_by_role("dialog", name="dark core")
    expect(look.get_by_role("listitem")).to_have_count(4)
    pictures = look.get_by_role("img")
    expect(pictures.first).to_be_visible()
    assert pictures.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    expect(look.get_by_role("row")).to_have_count(2)
    look.get_by_role("button", name="Take out object 1").first.click()  # the newest
    expect(look.get_by_role("listitem")).to_have_count(3)
    look.get_by_role("button", name="Do without what was learnt").click()
    expect(look.get_by_role("cell", name="not used")).to_be_visible()
    expect(part).to_contain_text("3 objects finished; what was learnt is not used.")
    look.get_by_role("button", name="Use what was learnt again").click()
    expect(look.get_by_role("button", name="Do without what was learnt")).to_be_visible()
    page.keyboard.press("Escape")
    expect(look).to_have_count(0)
    expect(part.get_by_role("button", name="Finished")).to_be_enabled()


def test_a_task_is_begun_with_an_object_and_deleted(page):
    part = page.get_by_role("region", name="Task")
    box_of_the_keyboard(page)
    expect(part.get_by_role("button", name="Finished")).to_have_count(0)
    expect(page.get_by_role("region", name="Objects")).to_contain_text("object 1")
    expect(page.locator(".workspace[data-busy]")).to_have_count(0)
    page.keyboard.press("Shift+Enter")
    asked = page.get_by_role("dialog", name="A task for objects of one kind")
    asked.get_by_label("Name").fill("bright disc")
    page.keyboard.press("Enter")
    expect(part.get_by_role("button", name="Added")).to_be_disabled()
    expect(part).to_contain_text("1 object finished; nothing was learnt yet.")
    expect(part).to_contain_text("object 1 began with the network as it ships.")
    part.get_by_role("button", name="Look at it").click()
    look = page.get_by_role("dialog", name="bright disc")
    expect(look).to_contain_text("Nothing yet: it takes objects of 3 patients.")
    look.get_by_role("button", name="Delete the task").click()
    page.get_by_role("dialog", name="Delete bright disc").get_by_role("button", name="Delete").click()
    expect(look).to_have_count(0)
    expect(part.get_by_role("combobox").get_by_role("option")).to_have_text(["None", "dark core", "New task …"])


def test_where_objects_lie_is_shown_where_it_counts(page, server):
    with server.client("anna") as http:
        http.post(f"{API}/tasks", json={"name": "one of two"})
        task = server.service.tasks.of("anna").task("one of two")
        for seed in range(4):
            task.add(one_of_two(seed))
        learn_version(task, 2)
        page.reload()
        part = page.get_by_role("region", name="Task")
        part.get_by_role("combobox").select_option("one of two")
        part.get_by_role("button", name="Look at it").click()
        look = page.get_by_role("dialog", name="one of two")
        expect(look.get_by_role("cell").filter(has_text=re.compile(r"place \d+ %"))).to_be_visible()
        shape = look.get_by_role("img", name="Where in a box they lie: the mean of 4 objects, 2D")
        assert shape.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
        http.delete(f"{API}/tasks/one of two")
