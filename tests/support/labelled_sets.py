"""A small labelled data set in nnU-Net's layout."""

import json

import numpy as np

from bifseg.imaging.image import Image
from bifseg.io.datasets import open_dataset
from bifseg.io.images import write_image


def write_set(folder, names=("a", "b", "c"), *, scribbled=(), damaged=(), shape=(40, 36, 6), spacing=(1, 1, 4)):
    """An nnU-Net folder: a block "box" in each case on slices 1 to 4, a smaller "dot" in the first."""
    for part in ("imagesTr", "labelsTr", "scribblesTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    codes = {"0": "background scribble", "1": "box scribble", "2": "dot scribble", "9": "not annotated (ignore)"}
    about = {"labels": {"background": 0, "box": 1, "dot": 2}, "file_ending": ".nii.gz", "scribble_codes": codes}
    (folder / "dataset.json").write_text(json.dumps(about))
    for k, name in enumerate(names):
        rng = np.random.default_rng(k)
        labels = np.zeros(shape, np.uint8)
        labels[8:24, 10:24, 1:5] = 1
        if k == 0:
            labels[30:38, 4:12, 2] = 2
        image = Image((labels * 60 + rng.normal(0, 8, shape)).astype(np.float32), spacing)
        write_image(folder / f"imagesTr/{name}_0000.nii.gz", image.array, image)
        write_image(folder / f"labelsTr/{name}.nii.gz", labels, image)
        if name in scribbled:
            drawn = np.full(shape, 9, np.uint8)
            drawn[12:20, 16:18, 3] = 1
            drawn[2:38, 30:32, 3] = 0
            write_image(folder / f"scribblesTr/{name}.nii.gz", drawn, image)
        if name in damaged:
            (folder / f"imagesTr/{name}_0000.nii.gz").write_bytes(b"nothing")
    return open_dataset(folder)
