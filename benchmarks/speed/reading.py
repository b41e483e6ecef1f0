"""A CT series read by us, by ITK and by plain pydicom, in turn: ``python -m benchmarks.speed.reading``, two minutes.

Each reading has a process of its own: its CPU time, its wall time, and how far its memory rises above that before it.
Writes ``-o`` (JSON) and prints medians and the ratios of ours to theirs; the folder is synthetic, in the disk's cache.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bifseg.io.atomic import write_json


def write_series(folder: Path, slices: int, size: int) -> None:
    """A CT of (size, size, slices) voxels with the header of a real slice, which pydicom brings along."""
    import pydicom
    from pydicom.data import get_testdata_file
    from pydicom.uid import generate_uid

    content = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    content.Rows = content.Columns = size
    content.SeriesInstanceUID, content.PixelSpacing = generate_uid(), [0.7, 0.7]
    plane = np.random.default_rng(0).integers(0, 2500, (size, size)).astype("<i2")
    folder.mkdir(exist_ok=True)
    for k in range(slices):
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        content.ImagePositionPatient, content.InstanceNumber = [-100, -100, 1.5 * k], k + 1
        content.PixelData = np.roll(plane, k, 0).tobytes()
        content.save_as(folder / f"{(7 * k) % slices:05}-{k:05}.dcm")


def by_bifseg(folder: Path) -> np.ndarray:
    from bifseg.io.images import read_image

    return read_image(folder).array


def by_pydicom(folder: Path) -> np.ndarray:
    """As most programs do it: all files, sorted by their places, rescaled; nothing is checked."""
    import pydicom

    files = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda file: float(file.ImagePositionPatient[2]))
    volume = np.stack([file.pixel_array for file in files]).astype(np.int16)
    return (volume * int(files[0].RescaleSlope) + int(files[0].RescaleIntercept)).T


def by_itk(folder: Path) -> np.ndarray:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.GetArrayFromImage(reader.Execute()).T


READERS: dict[str, Callable[[Path], np.ndarray]] = {"bifseg": by_bifseg, "pydicom": by_pydicom, "ITK": by_itk}


def measured(name: str, folder: Path, warm: Path) -> dict[str, float]:
    """What one reading takes in this process, libraries being imported, and once used, before."""
    READERS[name](warm)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    array = READERS[name](folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"cpu_s": cpu, "wall_s": wall, "mib": rise / 1024, "voxels": array.size, "sum": int(array.sum(dtype=int))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # in the process of a reading
    options = parser.parse_args()
    if options.measure:
        name, folder, warm = options.measure
        print(json.dumps(measured(name, Path(folder), Path(warm))))
        return
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    with TemporaryDirectory() as place:
        folder, warm = Path(place, "series"), Path(place, "warm")
        write_series(folder, options.slices, options.size)
        write_series(warm, 2, 64)
        for _ in range(options.repeats):
            for name in READERS:
                command = [sys.executable, "-m", "benchmarks.speed.reading", "--measure", name, str(folder), str(warm)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    assert len({row["sum"] for readings in rows.values() for row in readings}) == 1, "They read different voxels."
    medians = {
        name: {key: round(float(np.median([row[key] for row in readings])), 3) for key in ("cpu_s", "wall_s", "mib")}
        for name, readings in rows.items()
    }
    ratios = {
        name: {key: round(medians["bifseg"][key] / value, 2) for key, value in medians[name].items()}
        for name in READERS
        if name != "bifseg"
    }
    result = {
        "shape": [options.size, options.size, options.slices], "n": options.repeats, "medians": medians,
        "bifseg over": ratios,
    }  # fmt: skip
    if options.output:
        write_json(options.output, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
