"""The page in a real browser: a whole day's work on a real scan, step by step, against what the store has on disk."""

import nibabel
import numpy as np
import SimpleITK as sitk
from page_reader import Scan, expect, reading, rgb
from scipy.ndimage import binary_dilation, uniform_filter

from bifseg.io.datasets import open_dataset

ORANGE, SKY, GREEN = "#e69f00", "#56b4e9", "#009e73"


def line(shape, first, last):
    """The voxels of a straight line along one axis, ends included: bool."""
    voxels = np.zeros(shape, bool)
    voxels[tuple(slice(min(a, b), max(a, b) + 1) for a, b in zip(first, last, strict=True))] = True
    return voxels


def test_a_day_on_a_real_scan(browser, server, data):
    case = next(iter(open_dataset(data / "Dataset104_SarcomaMR", 0).cases))
    with reading(browser, server.url) as reader:
        reader.scan = Scan.read(case.image_path)
        Story(reader, server, case.labels == 1).tell(case.image_path)


class Story:
    """The steps of the day; ``truth``: where the tumour is."""

    def __init__(self, reader, server, truth):
        self.reader, self.page, self.server, self.truth = reader, reader.page, server, truth
        self.shape = truth.shape
        where = np.argwhere(truth)
        self.low, self.high = where.min(0) - 3, where.max(0) + 3
        self.low, self.high = np.maximum(self.low, 0), np.minimum(self.high, np.array(self.shape) - 1)
        self.middle = tuple(np.rint(where.mean(0)).astype(int).tolist())

    def tell(self, path):
        self.upload(path)
        self.box()
        self.stroke()
        self.undo_and_redo()
        self.reject()
        self.second_object()
        self.locks()
        self.looks()
        self.next_slice()
        self.reload()
        self.export(path)

    # ---- what the store has

    @property
    def state(self):
        return self.server.service.store.state(self.reader.session)

    def mask(self, name="object 1"):
        segment = self.state.objects[name]
        return segment.box.paste(segment.mask, self.shape)

    def scribbles(self, name="object 1"):
        segment = self.state.objects[name]
        return segment.box.paste(segment.scribbles, self.shape)

    # ---- the steps

    def upload(self, path):
        self.reader.enter(self.server.service.tokens.create_once("anna"))
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(path)
        self.reader.arrived()
        row = self.server.service.store.image_row(self.server.service.store.session(self.reader.session).image)
        assert row.shape == self.shape
        expect(self.page.locator(".top .title")).to_have_text(path.name)

    def box(self):
        reader = self.reader
        with reader.acting():
            reader.box(self.low, self.high)
        (segment,) = self.state.objects.values()
        assert (segment.box.start, segment.box.stop) == (tuple(self.low), tuple(self.high + 1))
        self.first = self.mask()
        assert np.count_nonzero(self.first & self.truth) > 0.5 * np.count_nonzero(self.first | self.truth)
        reader.go_to(self.middle)
        reader.plain()
        reader.press("p")
        for view in ("Axial", "Coronal", "Sagittal"):
            assert reader.sees(view, self.first, ORANGE)
            assert not reader.sees(view, ~self.first, ORANGE)
        drawn, lit = reader.picture("Axial").astype(int), reader.photograph("Axial")
        height, width = np.minimum(drawn.shape[:2], lit.shape[:2])  # a pane may end within a pixel
        assert np.abs(drawn[:height, :width] - lit[:height, :width]).mean() < 1
        reader.press("2")

    def paint_background(self, mask):
        """A background stroke along x through a mask, in the middle slice: the voxels under it."""
        x, y = longest_run(mask[:, :, self.middle[2]])
        first, last = (x[0] + 2, y, self.middle[2]), (x[-1] - 2, y, self.middle[2])
        self.reader.press("g")
        with self.reader.acting():
            self.reader.drag("Axial", first, last)
        return line(self.shape, first, last)

    def stroke(self):
        reader = self.reader
        reader.thin()
        self.line = self.paint_background(self.first)
        self.second = self.mask()
        np.testing.assert_array_equal(self.scribbles() == 2, self.line)
        assert not self.second[self.line].any()
        card = self.page.get_by_role("region", name="Adaptation")
        gone = np.count_nonzero(self.first & ~self.second)
        expect(card).to_contain_text(f"{gone:,} went")
        self.sees(self.second)
        card.get_by_label("Before").check()
        self.sees(self.first)
        reader.press("t", "t")  # past what changed
        self.sees(self.second)

    def undo_and_redo(self):
        reader = self.reader
        for keys, mask, scribbled in [("Control+z", self.first, False), ("Control+Shift+z", self.second, True)]:
            with reader.acting():
                reader.press(keys)
            np.testing.assert_array_equal(self.mask(), mask)
            assert self.scribbles().any() == scribbled
            self.sees(mask)
        with reader.acting():
            self.page.get_by_role("button", name="Undo").click()
        expect(self.page.get_by_role("button", name="Redo")).to_be_enabled()
        with reader.acting():
            self.page.get_by_role("button", name="Redo").click()
        np.testing.assert_array_equal(self.mask(), self.second)

    def reject(self):
        before = self.second
        again = self.paint_background(before)
        assert (self.mask() != before)[~again].any()  # else there would be nothing to reject
        with self.reader.acting(2):
            self.page.get_by_role("button", name="Reject").click()
        np.testing.assert_array_equal(self.mask(), before & ~again)
        np.testing.assert_array_equal(self.scribbles() == 2, self.line | again)
        self.line |= again
        self.sees(before & ~again)

    def sees(self, mask):
        """The first object is on the screen; scribbles hide what is under them."""
        assert self.reader.sees("Axial", mask, ORANGE, self.line)

    def second_object(self):
        reader = self.reader
        tumour = self.mask()
        z = self.middle[2]
        self.low2, self.high2 = brightest(reader.scan.array[:, :, z], tumour[:, :, z], 16)
        reader.press("b")
        self.page.get_by_role("group", name="Dimension").get_by_role("button", name="2D").click()
        with reader.acting():
            reader.drag("Axial", (*self.low2, z), (*self.high2, z))
        state = self.state
        assert state.current == "object 2"
        assert str(state.objects["object 2"].box) == ",".join(
            [*(f"{a}:{b + 1}" for a, b in zip(self.low2, self.high2, strict=True)), str(z)]
        )
        assert self.mask("object 2").any()
        np.testing.assert_array_equal(self.mask(), tumour)
        reader.press("p")
        assert reader.sees("Axial", self.mask("object 2"), SKY)
        assert reader.sees("Axial", tumour, ORANGE)

    def locks(self):
        reader, page = self.reader, self.page
        z = self.middle[2]
        inside = (*((self.low2 + self.high2) // 2).tolist(), z)
        x, y = longest_run(self.mask()[:, :, z])
        before = self.state
        expect(page.get_by_role("button", name="Unlock object 1")).to_have_attribute("aria-pressed", "true")
        reader.press("f")
        reader.drag("Axial", inside, (x[len(x) // 2], y, z))
        page.get_by_role("dialog").get_by_role("button", name="Make the box larger").click()
        reader.told("finished object")
        np.testing.assert_array_equal(self.state.labels(self.shape), before.labels(self.shape))
        page.get_by_role("button", name="Lock object 2").click()
        reader.hush()
        reader.click("Axial", inside)
        reader.told("object 2 is locked")
        assert self.state.objects["object 2"].scribbles.any() == before.objects["object 2"].scribbles.any()
        page.get_by_role("button", name="Unlock object 2").click()

    def looks(self):
        reader, page = self.reader, self.page
        mask = self.mask("object 2")
        page.get_by_role("button", name="Colour of object 2").click()
        assert reader.sees("Axial", mask, GREEN)
        page.get_by_role("button", name="Hide object 2").click()
        assert reader.sees("Axial", np.zeros_like(mask), GREEN)
        page.get_by_role("button", name="Show object 2").click()
        page.get_by_role("button", name="Rename object 2").click()
        with reader.acting():
            page.get_by_role("dialog").get_by_label("Name").fill("vessel")
            page.get_by_role("dialog").get_by_role("button", name="OK").click()
        assert self.state.names == ("object 1", "vessel")
        assert reader.sees("Axial", mask, GREEN)

    def next_slice(self):
        reader = self.reader
        z = self.middle[2]
        with reader.acting():
            self.page.get_by_role("button", name="Next slice").click()
        (new,) = set(self.state.family("vessel")) - {"vessel"}
        assert self.state.objects[new].part_of == "vessel"
        assert self.state.objects[new].box.start[2] == z + 1
        labels = self.state.labels(self.shape)
        np.testing.assert_array_equal(labels[:, :, z] == 2, self.mask("vessel")[:, :, z])
        np.testing.assert_array_equal(labels[:, :, z + 1] == 2, self.mask(new)[:, :, z + 1])
        assert reader.at()[2] == z + 1
        assert reader.sees("Axial", labels == 2, GREEN)

    def reload(self):
        reader = self.reader
        before = self.state.labels(self.shape)
        self.page.reload()
        reader.arrived()
        expect(self.page.locator(".row .title")).to_have_text(["object 1", "vessel"])
        reader.press("1")
        reader.go_to(self.middle)
        reader.press("p", "2")
        assert reader.sees("Axial", before == 2, GREEN)
        assert reader.sees("Axial", before == 1, ORANGE)
        with reader.acting():
            reader.press("Control+z")
        assert not (self.state.labels(self.shape) == 2)[:, :, self.middle[2] + 1].any()
        with reader.acting():
            reader.press("Control+y")
        np.testing.assert_array_equal(self.state.labels(self.shape), before)

    def export(self, scan):
        labels = self.state.labels(self.shape)
        self.page.get_by_role("button", name="Export").click()
        dialog = self.page.get_by_role("dialog")

        def saved(name):
            with self.page.expect_download() as download:
                dialog.get_by_role("button", name=name).click()
            return download.value.path().rename(download.value.path().with_name(download.value.suggested_filename))

        file = nibabel.load(saved("NIfTI"))
        np.testing.assert_array_equal(np.asarray(file.dataobj), labels)
        np.testing.assert_allclose(file.affine, nibabel.load(scan).affine, atol=1e-4)
        original = sitk.ReadImage(str(scan))
        for name in ("NRRD", "MHA"):
            image = sitk.ReadImage(str(saved(name)))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
            np.testing.assert_allclose(image.GetOrigin(), original.GetOrigin(), atol=1e-4)
            np.testing.assert_allclose(image.GetDirection(), original.GetDirection(), atol=1e-5)
            np.testing.assert_allclose(image.GetSpacing(), original.GetSpacing(), atol=1e-5)
        figure = sitk.GetArrayFromImage(sitk.ReadImage(str(saved("PNG figure"))))
        stage = self.page.locator(".stage").bounding_box()
        assert figure.shape[:2] == (round(stage["height"]), round(stage["width"]))
        assert (np.abs(figure[..., :3].astype(int) - rgb(GREEN)).max(-1) <= 4).sum() > 20


def longest_run(plane):
    """The longest row of True along the first axis of (x, y): its xs, and y."""
    best, found = 0, None
    for y in range(plane.shape[1]):
        for xs in np.split(np.arange(len(plane)), np.flatnonzero(np.diff(plane[:, y].astype(int))) + 1):
            if plane[xs[0], y] and len(xs) > best:
                best, found = len(xs), (xs.tolist(), y)
    assert best >= 8
    return found


def brightest(grey, taken, side):
    """The square of the highest mean grey in a slice (x, y) that touches nothing taken: first and last voxel."""
    half = side // 2
    free = np.zeros(grey.shape, bool)
    free[half:-half, half:-half] = True
    free &= ~binary_dilation(taken, np.ones((3, 3), bool), half + 2)
    assert free.any()
    mean = np.where(free, uniform_filter(grey.astype(float), side), -np.inf)
    middle = np.array(np.unravel_index(mean.argmax(), grey.shape))
    return middle - half, middle + half
