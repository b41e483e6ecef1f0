"""The page in a real browser: many objects, what they are usually called, and tidy masks or not."""

import numpy as np
import pytest
from page_reader import begun, expect, reading, soon

from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

PHANTOM, _ = phantom(2, (44, 38, 24))
SCAN = Image(np.asarray(PHANTOM.array), PHANTOM.spacing)


def test_twenty_objects_can_be_searched_and_a_usual_name_brings_its_colour(browser, server):
    session = begun(server, SCAN)
    with server.client("anna") as http:
        for k in range(20):
            box = f"{2 * k}:{2 * k + 4},10:20,{k}"
            drawn = {"box": box, "name": f"node {k}", "refine": "none"}
            reply = http.post(f"/api/v1/sessions/{session}/box", json=drawn)
            assert reply.status_code == 200, reply.text
    with reading(browser, server.url) as reader:
        reader.open(server, SCAN, session)
        rows = reader.page.locator(".objects .row:visible")
        expect(rows).to_have_count(20)
        search = reader.page.get_by_label("Search the objects")
        search.press_sequentially("node")
        with server.client("anna") as http, reader.acting():  # the list is built anew while somebody types
            assert http.post(f"/api/v1/sessions/{session}/select", json={"name": "node 18"}).status_code == 200
        expect(reader.page.locator(".objects .row.current")).to_contain_text("node 18")
        reader.page.keyboard.type(" 7")
        expect(search).to_have_value("node 7")
        expect(rows).to_have_count(3)  # with node 17, and the one worked on
        expect(rows.first).to_contain_text("node 7")
        search.select_text()
        with server.client("anna") as http, reader.acting():
            assert http.post(f"/api/v1/sessions/{session}/select", json={"name": "node 17"}).status_code == 200
        reader.page.keyboard.type("node 7")  # in the place of what was selected
        expect(search).to_have_value("node 7")
        with reader.acting():
            reader.page.get_by_role("button", name="Rename node 7").click()
            field = reader.page.get_by_role("dialog").get_by_label("Name")
            assert field.evaluate("input => [...input.list.options].map(o => o.value)").count("left kidney") == 1
            field.fill("Left kidney")
            field.press("Enter")
        expect(search).to_have_value("node 7")  # kept, and with it what it leaves
        search.fill("KIDNEY left")
        expect(rows.first).to_contain_text("Left kidney")
        expect(reader.page.get_by_role("button", name="Colour of Left kidney: orange; change it")).to_be_visible()


@pytest.mark.parametrize("switched", [True, False])
def test_holes_and_islands_are_left_where_one_wants_that(browser, server, switched):
    with reading(browser, server.url) as reader:
        reader.enter(server.service.tokens.create_once(f"tidy-{switched}".lower()))
        if switched:
            reader.page.get_by_label("fill small holes").uncheck()
            reader.page.get_by_label("drop small islands").uncheck()
        reader.page.get_by_role("button", name="Demo phantom").click()
        reader.arrived()
        row = server.service.store.session(reader.session)
        told = {"preset": "fast", "fill_holes": 0, "drop_islands": 0} if switched else "fast"
        soon(lambda: row.parameters == told, 5)


def test_an_object_has_its_holes_filled_and_its_islands_dropped_by_the_keyboard(browser, server):
    session = begun(server, SCAN)
    with server.client("anna") as http:
        drawn = {"box": "4:40,4:36,2:22", "refine": "crf"}
        assert http.post(f"/api/v1/sessions/{session}/box", json=drawn).status_code == 200
    with reading(browser, server.url) as reader:
        reader.open(server, SCAN, session)
        holes, islands = (reader.page.get_by_label(label, exact=True) for label in ("Fill holes", "Drop small islands"))
        expect(holes).to_be_checked()
        expect(islands).to_be_checked()
        with reader.acting():
            islands.focus()
            reader.page.keyboard.press("Space")
        expect(islands).not_to_be_checked()
        expect(islands).to_be_focused()
        expect(reader.page.locator(".doing")).to_contain_text("Tidied")
        (about,) = server.service.store.history(session).summary()["objects"]
        assert about["tidy"] == {"fill_holes": 0.005, "drop_islands": 0}
        with reader.acting():
            reader.page.keyboard.press("Shift+Tab")
            reader.page.keyboard.press("Space")
        expect(holes).not_to_be_checked()
        for _ in range(2):
            with reader.acting():
                reader.page.keyboard.press("Control+z")
        expect(holes).to_be_checked()
        expect(islands).to_be_checked()
