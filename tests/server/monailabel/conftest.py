"""What tests of MONAI Label's client share: its module, a scan and its file, and what is painted on it."""

import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.training.synthetic.phantom import phantom

PLUGIN = Path(sys.prefix) / "monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py"


@pytest.fixture(scope="session")
def module():
    if sys.version_info >= (3, 13):
        pytest.skip("MONAI Label's client needs the module cgi, which Python 3.13 no longer has")
    if not PLUGIN.is_file():
        pytest.skip(f"MONAI Label is not installed in {sys.prefix}: pip install --no-deps monailabel==0.8.5")
    spec = importlib.util.spec_from_file_location("monailabel_client", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scan():
    image, _ = phantom(11)
    direction = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    return Image(image.array, (0.9, 0.9, 2.5), (-40, 12, 7), direction)


@pytest.fixture(scope="session")
def upload(scan, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_image(path, scan.array, scan)
    return str(path)


@pytest.fixture
def paint(scan, tmp_path):
    """Makes what Slicer sends: all segments in one label map, where the last one covers the others."""

    def paint(foreground=(), background=(), cyst=(), liver=()):
        names = ("liver", "background_scribbles", "foreground_scribbles", "cyst")
        labels = np.zeros(scan.shape, np.uint8)
        for value, places in enumerate((liver, background, foreground, cyst), start=1):
            for place in places:
                labels[place] = value
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nii.gz"
        write_image(path, labels, scan)
        return str(path), [{"name": name, "id": k} for k, name in enumerate(names, start=1)]

    return paint
