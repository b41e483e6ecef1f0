"""Names that DICOM has codes for: the codes are those of the standard, and DICOM-SEG carries them."""

import numpy as np
import pytest

from bifseg.io.labels import LABELS, PALETTE, label_of

pydicom = pytest.importorskip("pydicom")


def test_every_code_is_of_the_standard():
    from pydicom.sr.codedict import codes

    known = {codes.SCT.__getattr__(name).value for name in codes.SCT.dir()}
    for label in LABELS:
        for code in (label.type, label.category, label.side):
            assert code is None or code[0] in known, label.name


def test_names_are_told_in_any_case_with_and_without_a_number():
    assert len({label.name for label in LABELS}) == len(LABELS)
    assert label_of("  Left  KIDNEY 2") is label_of("left kidney")
    assert label_of("lesion_12") is label_of("lesion-1") is label_of("lesion")
    assert label_of("object 1") is None
    assert {label.colour for label in LABELS} <= set(PALETTE)


def test_dicom_seg_carries_the_code_the_side_and_the_colour(tmp_path):
    pytest.importorskip("highdicom")
    from dicom_files import series

    from bifseg.io.dicom_seg import write_dicom_seg

    image, headers = series(tmp_path / "series")
    labels = np.zeros(image.shape, np.uint8)
    labels[2:6, 2:6, 2:4], labels[10:14, 2:6, 2:4] = 1, 2
    write_dicom_seg(tmp_path / "labels.dcm", labels, ("Left kidney", "something else"), image, headers)
    first, second = pydicom.dcmread(tmp_path / "labels.dcm").SegmentSequence
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("64033007", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    assert second.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert first.RecommendedDisplayCIELabValue != second.RecommendedDisplayCIELabValue
