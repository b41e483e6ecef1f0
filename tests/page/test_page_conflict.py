"""Two people on one session: who draws on an older state is told, sees what the other did, and loses no stroke."""

from page_reader import begun, expect, reading, soon

from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))
Z = 13
PLANE = f"10:30,9:27,{Z}"


def deaf(reader):
    """Hear nothing of what others do, as for the moment before it arrives."""
    reader.page.route("**/events", lambda route: None)


def test_a_stroke_on_an_older_state_is_kept_and_offered(browser, server):
    session = begun(server, SCAN, PLANE)
    store = server.service.store

    def steps():
        return [entry.kind for entry in store.entries(session)]

    with reading(browser, server.url) as reader:
        deaf(reader)
        reader.open(server, SCAN, session)
        reader.press("2")
        before = reader.number
        with server.client("anna") as other:
            done = other.post(f"/api/v1/sessions/{session}/box", json={"box": f"12:22,11:20,{Z}", "refine": "none"})
            assert done.status_code == 200, done.text
        reader.press("g")
        reader.drag("Axial", (14, 14, Z), (26, 14, Z))
        reader.told("Someone else worked on this session meanwhile: object 2 is new. Your stroke was not drawn")
        expect(reader.page.locator(".row .title", has_text="object 2")).to_be_visible()
        assert steps()[before:] == ["box"]
        card = reader.page.get_by_role("region", name="Conflict")
        reader.hush()
        card.get_by_role("button", name="Do it all the same").click()
        reader.done(before + 3)
        expect(card).to_be_hidden()
        assert steps()[before:] == ["box", "select", "scribble"]
        segment = store.state(session).objects["object 1"]  # which it was drawn for
        assert (segment.scribbles == 2).sum() > 0
        assert not (store.state(session).objects["object 2"].scribbles == 2).any()


def test_an_undo_takes_back_nothing_that_one_did_not_see(browser, server):
    session = begun(server, SCAN, PLANE)
    with reading(browser, server.url) as reader:
        deaf(reader)
        reader.open(server, SCAN, session)
        with server.client("anna") as other:
            other.post(f"/api/v1/sessions/{session}/rename", json={"name": "object 1", "to": "liver"})
        reader.press("Control+z")
        reader.told("liver is new, object 1 is gone. This is how it is now")
        reader.hush()
        assert [entry.kind for entry in server.service.store.entries(session)] == ["box", "rename"]
        expect(reader.page.get_by_role("region", name="Conflict")).to_be_hidden()
        reader.press("Control+z")  # now it was seen; but it is the other's
        asked = reader.page.get_by_role("dialog", name="Undo a step of another window")
        expect(asked).to_contain_text("object 1 is now called liver")
        with reader.acting():
            asked.get_by_role("button", name="Undo it").click()
        assert list(server.service.store.state(session).objects) == ["object 1"]


def test_two_windows_see_each_others_steps_and_undo_their_own(browser, server):
    session = begun(server, SCAN, PLANE)
    with reading(browser, server.url) as one, reading(browser, server.url) as two:
        for reader in (one, two):
            reader.open(server, SCAN, session)
            reader.press("2", "g")
        before = one.number
        with one.acting():
            one.drag("Axial", (14, 14, Z), (26, 14, Z))
        two.done(before + 1)  # without any step of its own
        segment = server.service.store.state(session).objects["object 1"]
        two.press("1")
        two.go_to((20, 18, Z))
        two.press("2")
        two.plain()
        two.press("p")
        two.hush()
        mask = segment.box.paste(segment.mask, SCAN.shape)
        soon(lambda: two.sees("Axial", mask, "#e69f00", segment.box.paste(segment.scribbles > 0, SCAN.shape)))
        two.press("Control+z")
        asked = two.page.get_by_role("dialog", name="Undo a step of another window")
        expect(asked).to_contain_text("1 stroke: 1 background")
        asked.get_by_role("button", name="Cancel").click()
        assert two.number == before + 1
        one.hush()
        with one.acting():  # one's own is taken back at once
            one.press("Control+z")
        two.done(before + 2)


def test_what_is_exported_is_what_is_shown(browser, server):
    session = begun(server, SCAN, PLANE)
    with reading(browser, server.url) as reader:
        deaf(reader)
        reader.forgive("console: .* 412")
        reader.open(server, SCAN, session)
        reader.page.get_by_role("button", name="Export").click()
        with server.client("anna") as other:
            other.post(f"/api/v1/sessions/{session}/rename", json={"name": "object 1", "to": "liver"})
        reader.page.get_by_role("dialog").get_by_role("button", name="NIfTI").click()
        reader.told("The session was changed meanwhile")
