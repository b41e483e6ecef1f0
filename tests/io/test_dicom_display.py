"""What DICOM headers say of how a series is looked at: windows, inverted grey, units, uptake."""

import numpy as np
import pytest

from bifseg.io.dicom_display import Display, display_of

pydicom = pytest.importorskip("pydicom")
from dicom_files import headers, pet  # noqa: E402


@pytest.mark.parametrize(
    ("function", "low", "high", "kind"),
    [(None, 40 - 0.5 - 199.5, 40 - 0.5 + 199.5, "LINEAR"), ("LINEAR_EXACT", -160, 240, "LINEAR"),
     ("SIGMOID", -160, 240, "SIGMOID"), ("UNHEARD OF", -160, 239, "LINEAR")],
)  # fmt: skip
def test_the_first_window_that_can_be_and_its_function(function, low, high, kind):
    own = {"VOILUTFunction": function} if function else {}
    found = display_of(headers(Modality="CT", WindowCenter=[40, 600], WindowWidth=[400, 1500], **own))
    assert (found.window, found.function) == ((low, high), kind)
    assert (found.unit, found.inverted, found.suv_missing) == ("HU", False, None)


def test_a_window_that_cannot_be_counts_as_none():
    assert display_of(headers(Modality="MR", WindowCenter=40, WindowWidth=0)).window is None
    assert display_of(headers(Modality="MR", WindowCenter=40)).window is None
    assert display_of(headers(Modality="MR")) == Display(modality="MR")


def table(first, numbers, bits, **own):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(numbers), first, bits])
    item.add_new("LUTData", *own.get("data", ("US", numbers)))
    return item


@pytest.mark.parametrize(
    "data", [("US", [0, 400, 1000, 4095]), ("OW", np.array([0, 400, 1000, 4095], "<u2").tobytes())]
)
def test_a_table_where_there_is_no_window(data):
    item = table(64536, [0, 400, 1000, 4095], 12, data=data)  # -1000, without its sign
    found = display_of(headers(Modality="DX", RescaleIntercept=-1024, VOILUTSequence=[item]))
    assert (found.window, found.function, found.table) == ((-1000, -997), "TABLE", (0, 25, 62, 255))
    both = display_of(headers(Modality="DX", WindowCenter=40, WindowWidth=400, VOILUTSequence=[item]))
    assert (both.function, both.table) == ("LINEAR", None)


@pytest.mark.parametrize(
    "item",
    [table(0, [0, 1], 40), table(0, [7, 7], 8), table(0, [0, 999], 8), table(0, [1, 2], 8, data=("OW", b"123456"))],
)
def test_a_table_that_cannot_be_counts_as_none(item):
    assert display_of(headers(Modality="DX", VOILUTSequence=[item])) == Display(modality="DX")


def test_a_frame_of_several_has_its_window_in_a_group():
    lut, group = pydicom.Dataset(), pydicom.Dataset()
    lut.WindowCenter, lut.WindowWidth, lut.VOILUTFunction = 50, 100, "LINEAR_EXACT"
    group.FrameVOILUTSequence = [lut]
    assert display_of(headers(Modality="MR", SharedFunctionalGroupsSequence=[group])).window == (0, 100)


def test_monochrome1_and_an_inverse_shape_are_dark_where_large():
    assert display_of(headers(Modality="CR", PhotometricInterpretation="MONOCHROME1")).inverted
    assert display_of(headers(Modality="CR", PresentationLUTShape="INVERSE")).inverted
    assert not display_of(headers(Modality="CR", PhotometricInterpretation="MONOCHROME2")).inverted


def test_uptake_is_by_body_weight_and_for_the_time_of_the_scan():
    found = display_of(headers(**pet()))
    assert found.suv == pytest.approx(50_000 / 0.5e8)  # half of the dose was left
    assert (found.unit, found.inverted, found.suv_missing) == ("Bq/ml", True, None)
    assert display_of(headers(**pet(DecayCorrection="ADMIN"))).suv == pytest.approx(50_000 / 1e8)
    assert display_of(headers(**pet(Units="GML"))).suv == 1


def test_a_series_made_anew_counts_from_its_earliest_slice_and_a_night_may_lie_between():
    late = pet(SeriesTime="140000")
    slices = [{"AcquisitionTime": "101000"}, {"AcquisitionTime": "100500"}, {"AcquisitionTime": "100000"}]
    assert display_of(headers(*slices, **late)).suv == pytest.approx(50_000 / 0.5e8)
    night = pet(SeriesTime="003000", AcquisitionTime="003000")
    night["RadiopharmaceuticalInformationSequence"][0].RadiopharmaceuticalStartTime = "233000"
    assert display_of(headers(**night)).suv == pytest.approx(50_000 / 0.5e8)


@pytest.mark.parametrize(
    ("own", "why"),
    [({"PatientWeight": None}, "body weight"), ({"Units": "CNTS"}, "counts"), ({"DecayCorrection": "NONE"}, "decay"),
     ({"SeriesTime": "080000", "AcquisitionTime": "", "SeriesDate": "20260102"}, None),
     ({"RadiopharmaceuticalInformationSequence": []}, "dose"), ({"Units": ""}, "unit")],
)  # fmt: skip
def test_without_what_it_takes_there_is_no_uptake_and_it_says_why(own, why):
    found = display_of(headers(**pet(**own)))
    if why is None:  # the injection is taken to be of the evening before
        assert found.suv is not None
    else:
        assert found.suv is None
        assert why in found.suv_missing


def test_a_pet_window_counts_only_where_all_slices_share_it():
    alike, other = {"WindowCenter": 500, "WindowWidth": 1000}, {"WindowCenter": 90, "WindowWidth": 180}
    assert display_of(headers(alike, alike, alike, **pet())).window is not None
    assert display_of(headers(alike, alike, other, **pet())).window is None


def test_what_is_damaged_counts_as_missing():
    found = display_of(
        headers(Modality="CT", SeriesDescription="chest\tvenous   phase", WindowCenter="1e999", WindowWidth=2)
    )
    assert (found.window, found.description) == (None, "chest venous phase")
