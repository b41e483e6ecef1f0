"""Two people on one session: who draws on an older state is told, sees what the other did, and loses no stroke."""

from reader import begun, expect, reading

from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(2, (44, 38, 24))
Z = 13
PLANE = f"10:30,9:27,{Z}"


def test_a_stroke_on_an_older_state_is_kept_and_offered(browser, server):
    session = begun(server, SCAN, PLANE)
    store = server.service.store

    def steps():
        return [entry.kind for entry in store.entries(session)]

    with reading(browser, server.url) as reader:
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
        reader.open(server, SCAN, session)
        with server.client("anna") as other:
            other.post(f"/api/v1/sessions/{session}/rename", json={"name": "object 1", "to": "liver"})
        reader.press("Control+z")
        reader.told("liver is new, object 1 is gone. This is how it is now")
        reader.hush()
        assert [entry.kind for entry in server.service.store.entries(session)] == ["box", "rename"]
        expect(reader.page.get_by_role("region", name="Conflict")).to_be_hidden()
        with reader.acting():
            reader.press("Control+z")
        assert list(server.service.store.state(session).objects) == ["object 1"]
