"""How an image wants to be seen, over HTTP: what its headers say, and a small picture of it."""

import io

import numpy as np
import pytest
from api_calls import API

from bifseg.imaging.image import Image

pillow = pytest.importorskip("PIL.Image")


def picture(client, key):
    reply = client.get(f"{API}/images/{key}/thumbnail")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    return np.asarray(pillow.open(io.BytesIO(reply.content)))


def test_headers_say_how_a_series_is_shown_and_nobody_elses_is_told(server, ann, bob):
    pytest.importorskip("pydicom")
    from dicom_files import headers

    ramp = np.arange(64 * 32 * 4, dtype=np.int16).reshape(64, 32, 4)
    scan = Image(ramp, (1, 2, 3))
    told = headers(Modality="CR", WindowCenter=4096.5, WindowWidth=8193, PhotometricInterpretation="MONOCHROME1")
    key = server.service.store.add_image(scan, "ann", told)
    found = ann.get(f"{API}/images/{key}/display").json()
    assert (found["low"], found["high"], found["inverted"], found["unit"]) == (0, 8192, True, None)
    assert found["range"] == [0, 8191]
    assert found["most"] == pytest.approx([0.02 * 8191, 0.995 * 8191])
    assert bob.get(f"{API}/images/{key}/display").status_code == 404
    assert bob.get(f"{API}/images/{key}/thumbnail").status_code == 404
    small = picture(ann, key)
    assert small.shape == (128, 128)  # 64 x 1 mm across, 32 x 2 mm down
    # The image's axes run to the left and to the back, and so does what is shown; large is dark.
    assert small[2, 2] > small[2, -3] > small[-3, -3]


def test_what_is_no_dicom_has_a_picture_and_no_wishes(server, ann):
    colours = np.zeros((20, 10, 1, 3), np.uint8)
    colours[:10, :, :, 0] = 200
    key = server.service.store.add_image(Image(colours, planar=True, calibrated=False), "ann")
    found = ann.get(f"{API}/images/{key}/display").json()
    assert (found["low"], found["inverted"], found["modality"]) == (None, False, None)
    small = picture(ann, key)
    assert small.shape == (64, 128, 3)
    assert small[32, 20].tolist() == [200, 0, 0]
