"""The page in a real browser: scans are shown as their DICOM headers want it, and their values have their units."""

import numpy as np
import pytest
from page_reader import begun, expect, reading

from bifseg.imaging.image import Image
from bifseg.training.synthetic.phantom import phantom

pytest.importorskip("pydicom")
from dicom_files import headers, pet

PHANTOM, _ = phantom(2, (44, 38, 24))
CT = Image((np.asarray(PHANTOM.array) * 1.6 - 900).astype(np.int16), PHANTOM.spacing)
UPTAKE = Image((np.asarray(PHANTOM.array) * 20).astype(np.float32), PHANTOM.spacing)
HERE = (24, 15, 13)


def window(reader):
    """Level and width, as the page's fields have them."""
    return tuple(float(reader.control(key).input_value()) for key in ("Level", "Width"))


def shown(reader):
    """Grey levels of the axial slice, and which of them no letter hides."""
    reader.plain()
    return reader.colours("Axial")[..., 1], reader.clear("Axial")


def test_a_window_of_the_file_comes_first_and_along_its_curve(browser, server):
    told = headers(Modality="CT", WindowCenter=50, WindowWidth=350, VOILUTFunction="SIGMOID")
    with reading(browser, server.url) as reader:
        reader.open(server, CT, begun(server, CT, headers=told))
        reader.go_to(HERE)
        assert window(reader) == (50, 350)
        expect(reader.control("window").locator("option:checked")).to_have_text("From the file")
        grey, clear = shown(reader)
        cut = reader.scan.cut(CT.array, "Axial", HERE).astype(float)
        assert (np.abs(grey - 255 / (1 + np.exp(-4 * (cut - 50) / 350))) <= 1)[clear].all()
        reader.control("window").select_option("Lung")
        grey, _ = shown(reader)
        assert (np.abs(grey - np.clip((cut + 1350) * 255 / 1500, 0, 255)) <= 1)[clear].all()


def test_monochrome1_is_dark_where_large_and_can_be_turned_round(browser, server):
    told = headers(Modality="CR", PhotometricInterpretation="MONOCHROME1", WindowCenter=50.5, WindowWidth=401)
    with reading(browser, server.url) as reader:
        reader.open(server, CT, begun(server, CT, headers=told))
        reader.go_to(HERE)
        cut = reader.scan.cut(CT.array, "Axial", HERE).astype(float)
        straight = np.clip((cut + 150) * 255 / 400, 0, 255)
        grey, clear = shown(reader)
        assert (np.abs(grey - (255 - straight)) <= 1.01)[clear].all()
        reader.control("inverted").uncheck()
        grey, _ = shown(reader)
        assert (np.abs(grey - straight) <= 1.01)[clear].all()
        reader.page.mouse.move(*reader.place("Axial", (12, 20, 13)))
        expect(reader.page.locator(".pointer")).to_have_text(f"{int(CT.array[12, 20, 13])} at 12, 20, 13")


@pytest.mark.parametrize("weight", [50, None])
def test_pet_is_inverted_and_has_uptake_values_where_the_headers_allow(browser, server, weight):
    told = headers(**pet(PatientWeight=weight))
    with reading(browser, server.url) as reader:
        reader.open(server, UPTAKE, begun(server, UPTAKE, headers=told))
        reader.go_to(HERE)
        expect(reader.control("inverted")).to_be_checked()
        there = (12, 20, 13)
        reader.page.mouse.move(*reader.place("Axial", there))
        value = float(UPTAKE.array[there])
        pointer = reader.page.locator(".pointer")
        if weight:
            expect(pointer).to_have_text(f"SUV {value / 1000:.2f} ({value:.0f} Bq/ml) at 12, 20, 13")
            expect(reader.control("window").locator("option:checked")).to_have_text("SUV 0 to 10")
            expect(reader.page.locator(".panel")).not_to_contain_text("No SUV")
        else:
            expect(pointer).to_have_text(f"{value:.0f} Bq/ml at 12, 20, 13")
            expect(reader.page.locator(".panel")).to_contain_text("No SUV: the headers have no body weight.")
