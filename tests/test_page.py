"""The page in a real browser: a whole day's work on a real scan, step by step, against what the store has on disk."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from bifseg.dataset import open_dataset
from bifseg.server.settings import Limits, Settings
from reader import Scan, browsing, expect, reading
from serving import serving

ORANGE, SKY, GREEN = "#e69f00", "#56b4e9", "#009e73"


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    limits = Limits(requests_per_second=10_000)
    settings = Settings(tmp_path_factory.mktemp("page") / "store", require_tokens=True, threads=1, limits=limits)
    with serving(settings) as server:
        yield server


def line(shape, first, last):
    """The voxels of a straight line along one axis, ends included: bool."""
    voxels = np.zeros(shape, bool)
    voxels[tuple(slice(min(a, b), max(a, b) + 1) for a, b in zip(first, last, strict=True))] = True
    return voxels


def test_a_day_on_a_real_scan(browser, server, data):
    case = next(iter(open_dataset(data / "Dataset104_SarcomaMR", 0).cases))
    with reading(browser, server.url, accept_downloads=True) as reader:
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
            self.page.get_by_role("button", name="Choose a file").click()
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
