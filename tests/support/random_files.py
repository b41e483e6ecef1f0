"""Random whole files of every format, and what the library that others read them with sees in them."""

import struct
import zipfile
from functools import partial

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from bifseg.errors import BifsegError
from bifseg.imaging.colours import LUMINANCE
from bifseg.io.images import read_image

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # between RAS and LPS


def turn(rng):
    """A rotation, or an exchange and reversal of axes."""
    if rng.random() < 0.5:
        return np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    return np.linalg.qr(rng.normal(size=(3, 3)))[0]


def array_of(rng, dtype, shape):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.normal(0, 100, shape)).astype(dtype)
    info = np.iinfo(dtype)
    low, high = max(info.min, -(1 << 40)), min(info.max, 1 << 40)
    return rng.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(dtype)


def shape_of(rng, axes=3):
    return tuple(int(n) for n in rng.integers(1, 9, axes))


def nifti(folder, rng):
    dtype = str(rng.choice(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "f4", "i2", "c8"]))
    two, big, packed = rng.random(3) < (0.3, 0.3, 0.5)
    shape, odd = shape_of(rng, int(rng.choice([2, 3, 3, 3, 4]))), None
    if len(shape) == 4:
        shape, odd = (*shape[:3], int(rng.integers(1, 3))), "frames"
    if dtype == "c8":
        array, odd = array_of(rng, "f4", shape).astype(np.complex64), "complex"
    else:
        array = array_of(rng, dtype, shape)
    if dtype[0] == "f" and rng.random() < 0.1:
        array.flat[0], odd = np.nan, "nan"
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn(rng) * rng.uniform(0.2, 5, 3), rng.normal(0, 100, 3)
    if odd is None and rng.random() < 0.1 and len(shape) > 2:
        affine[:3, :3], odd = affine[:3, :3] @ (np.eye(3) + 0.3 * np.eye(3, k=1)), "shear"
    kind = nib.Nifti2Image if two else nib.Nifti1Image
    image = kind(array, None, kind.header_class(endianness="<>"[int(big)]), dtype=array.dtype)
    codes = [int(c) for c in rng.choice([0, 1, 2, 4], 2)]
    image.set_sform(affine, codes[0])
    if odd != "shear":
        image.set_qform(affine, codes[1])
    elif codes[0] == 0:
        odd = None
    units = str(rng.choice(["mm", "meter", "micron", "unknown"]))
    image.header.set_xyzt_units(units)
    path = folder / "a.nii"
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    if array.dtype.kind in "iu" and array.dtype.itemsize < 4 and rng.random() < 0.4:
        order, slope = "<>"[int(big)], (float(rng.choice([0.5, 2, -1.25])), float(rng.choice([0, -1024, 3.5])))
        struct.pack_into(order + ("2d" if two else "2f"), content, 176 if two else 112, *slope)
    path.write_bytes(content)
    theirs = nib.load(path)
    voxels, place = np.asarray(theirs.dataobj), theirs.affine.copy()
    place[:3] *= {"mm": 1, "meter": 1000, "micron": 1e-3, "unknown": 1}[units]
    if packed:
        import gzip

        path = folder / "a.nii.gz"
        path.write_bytes(gzip.compress(bytes(content)))
    return path, voxels, FLIP @ place if len(shape) > 2 else None, odd


def dicom(folder, rng):
    rows, columns, count = (int(n) for n in rng.integers(2, 9, 3))
    bits, signed = int(rng.choice([8, 16, 16, 32])), int(rng.integers(2))
    syntax = rng.choice([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
    if (syntax == ExplicitVRBigEndian and bits == 8) or (syntax == RLELossless and bits == 32):
        syntax = ExplicitVRLittleEndian
    meant = int(rng.integers(bits // 2 + 1, bits + 1))
    direction, step = turn(rng)[:, :2], float(rng.uniform(0.5, 4))
    normal, origin = np.cross(*direction.T), rng.normal(0, 100, 3)
    spacing = rng.uniform(0.3, 2, 2)
    uids = {n: generate_uid() for n in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    slopes = float(rng.choice([1, 1, 0.5, 2])), float(rng.choice([0, -1024, 10.25]))
    untold = np.full(count, rng.random() < 0.1)  # of which slices the rescaling is not
    untold |= (np.arange(count) == rng.integers(count)) & (rng.random() < 0.1)
    own = 1 + np.arange(count) * (rng.random() < 0.3)  # each slice's, as of a PET
    scales = {(1.0, 0.0) if untold[k] else (slopes[0] * own[k], slopes[1]) for k in range(count)}
    odd = "differing" if untold.any() and len(scales) > 1 else None
    path = folder / "d"
    path.mkdir()
    planes = []
    for k in rng.permutation(count):
        content = pydicom.Dataset()
        content.file_meta = pydicom.dataset.FileMetaDataset()
        content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
        content.SOPClassUID = content.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        content.SOPInstanceUID = content.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for name, uid in uids.items():
            setattr(content, name, uid)
        content.Rows, content.Columns, content.SamplesPerPixel = rows, columns, 1
        content.PhotometricInterpretation, content.Modality = "MONOCHROME2", "CT"
        content.BitsAllocated, content.BitsStored, content.HighBit = bits, meant, meant - 1
        content.PixelRepresentation, content.InstanceNumber = signed, int(rng.integers(1, 99))
        content.PixelSpacing = [f"{n:.9g}" for n in spacing]
        content.ImageOrientationPatient = [f"{n:.9f}" for n in direction.T.ravel()]
        content.ImagePositionPatient = [f"{n:.8f}" for n in origin + k * step * normal]
        content.SliceThickness = f"{step:.6f}"
        if not untold[k]:
            content.RescaleSlope, content.RescaleIntercept = slopes[0] * float(own[k]), slopes[1]
        low, high = (-(1 << (meant - 1)), 1 << (meant - 1)) if signed else (0, 1 << meant)
        stored = rng.integers(low, high, (rows, columns), dtype=np.int64)
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        pixels = stored.astype(f"{order}{'ui'[signed]}{bits // 8}").tobytes()
        content.PixelData = pixels + b"\0" * (len(pixels) % 2)
        content["PixelData"].VR = "OB" if bits == 8 and syntax != ImplicitVRLittleEndian else "OW"
        if syntax == RLELossless:
            content.compress(RLELossless)
        content.save_as(path / f"{k:03}.dcm", enforce_file_format=True)
        theirs = pydicom.dcmread(path / f"{k:03}.dcm")
        plane = pydicom.pixels.apply_rescale(theirs.pixel_array, theirs)
        planes.append((k, np.asarray(plane, float)))
    voxels = np.stack([plane.T for _, plane in sorted(planes, key=lambda pair: pair[0])], -1)
    affine = np.eye(4)
    affine[:3] = np.c_[direction[:, 0] * spacing[1], direction[:, 1] * spacing[0], normal * step, origin]
    return path, voxels, affine, odd


def nrrd_(folder, rng):
    dtype = str(rng.choice(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]))
    shape, odd = shape_of(rng, int(rng.choice([2, 3, 3, 3]))), None
    array = array_of(rng, dtype, shape)
    if dtype[0] == "f" and rng.random() < 0.1:
        array.flat[0], odd = np.inf, "nan"
    header = {"encoding": str(rng.choice(["raw", "gzip", "bzip2"])), "endian": str(rng.choice(["big", "little"]))}
    axes, signs, place = len(shape), np.ones(3), None
    how = int(rng.integers(3))
    if how == 0 and axes == 3:
        header["space"] = str(rng.choice(["left-posterior-superior", "right-anterior-superior", "LAS"]))
        signs = {"r": np.array([-1, -1, 1.0]), "L": np.array([1, -1, 1.0]), "l": np.ones(3)}[header["space"][0]]
        vectors = (turn(rng) * rng.uniform(0.2, 5, 3)).T
        if rng.random() < 0.1:
            vectors, odd = vectors + 0.4 * np.roll(vectors, 1, 0), "shear"
        header["space directions"], header["space origin"] = vectors, rng.normal(0, 100, 3)
        place = np.eye(4)
        place[:3] = signs[:, None] * np.c_[vectors.T, header["space origin"]]
    elif how == 1:
        header["spacings"] = rng.uniform(0.2, 5, axes)
        place = np.diag([*header["spacings"], 1.0][:axes] + [1.0] * (4 - axes))
    path = folder / ("a.nhdr" if rng.random() < 0.3 else "a.nrrd")
    if header["endian"] == "big":
        array = array.astype(array.dtype.newbyteorder(">"))
    nrrd.write(str(path), array, header)
    return path, nrrd.read(str(path))[0], place if axes == 3 else None, odd


def metaimage(folder, rng):
    dtype = str(rng.choice(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]))
    axes, odd = int(rng.choice([2, 3, 3, 3])), None
    shape = shape_of(rng, axes)
    colours = dtype in ("u1", "u2", "f4") and rng.random() < 0.2
    array = array_of(rng, dtype, (*shape, 3) if colours else shape)
    if colours and dtype == "f4":
        odd = "vectors"
    elif dtype[0] == "f" and rng.random() < 0.1:
        array.flat[0], odd = np.nan, "nan"
    image = SimpleITK.GetImageFromArray(array, isVector=colours)
    direction = turn(rng) if axes == 3 else np.eye(2)
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(rng.uniform(0.2, 5, axes).tolist())
    image.SetOrigin(rng.normal(0, 100, axes).tolist())
    path = folder / str(rng.choice(["a.mha", "a.mhd"]))
    SimpleITK.WriteImage(image, str(path), bool(rng.integers(2)))
    theirs = SimpleITK.ReadImage(str(path))
    voxels = SimpleITK.GetArrayFromImage(theirs)
    if colours and not odd:
        voxels = np.rint(voxels @ LUMINANCE)
    place = None
    if axes == 3:
        place = np.eye(4)
        columns = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
        place[:3] = np.c_[columns, theirs.GetOrigin()]
    return path, voxels.T if voxels.ndim == axes else voxels, place, odd


def tiff(folder, rng):
    dtype = str(rng.choice(["u1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "i1", "c8"]))
    pages, rows, columns = int(rng.choice([1, 1, 3, 5])), *(int(n) for n in rng.integers(2, 40, 2))
    odd, colours = None, dtype in ("u1", "u2", "f4") and rng.random() < 0.25
    shape = (pages, rows, columns) if pages > 1 else (rows, columns)
    if dtype == "c8":
        array, odd, colours = array_of(rng, "f4", shape).astype(np.complex64), "complex", False
    else:
        array = array_of(rng, dtype, (*shape, 3) if colours else shape)
    if colours and dtype == "f4":
        odd = "vectors"
    elif dtype[0] == "f" and rng.random() < 0.1:
        array.flat[0], odd = np.nan, "nan"
    options = {"photometric": "rgb" if colours else "minisblack", "byteorder": str(rng.choice(["<", ">"]))}
    if rng.random() < 0.5:
        options["compression"] = "zlib"
    layout = int(rng.integers(4))
    if layout == 0:
        options["tile"] = (16, 32)
    elif layout == 1:
        options["rowsperstrip"] = int(rng.integers(1, rows + 1))
    if rng.random() < 0.3:
        options["bigtiff"] = True
    elif rng.random() < 0.2 and not colours and dtype in ("u1", "u2", "f4"):
        options["imagej"] = True
        options.pop("tile", None)
        options.pop("compression", None)
        options.pop("byteorder")
    elif rng.random() < 0.2 and not colours and dtype not in ("f2", "c8"):
        options["ome"] = True
    if options.get("imagej") or options.get("ome"):
        options["metadata"] = {"axes": "ZYX"[-array.ndim :]}
    elif rng.random() < 0.2:
        options["metadata"] = None
    if colours and rng.random() < 0.3:
        array, options["planarconfig"] = np.moveaxis(array, -1, -3), "separate"
    path = folder / "a.tif"
    tifffile.imwrite(path, array, **options)
    theirs = tifffile.imread(path)
    if colours and theirs.shape[-1] != 3:
        theirs = np.moveaxis(theirs, -3, -1)
    if colours and not odd:
        theirs = np.rint(theirs @ LUMINANCE)
    return path, theirs.T if not (colours and odd) else theirs, None, odd


def picture(folder, rng, ending):
    modes = {
        "png": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"], "bmp": ["1", "L", "P", "RGB"], "jpg": ["L", "RGB", "CMYK"],
    }  # fmt: skip
    mode = str(rng.choice(modes[ending]))
    rows, columns = (int(n) for n in rng.integers(1, 40, 2))
    if mode == "I;16":
        made = Pillow.fromarray(array_of(rng, "u2", (rows, columns)))
    else:
        made = Pillow.fromarray(array_of(rng, "u1", (rows, columns, 4)), "RGBA").convert(mode.replace("LA", "L"))
        made = made.convert("LA") if mode == "LA" else made
    options = {}
    if ending == "jpg":
        options = {"quality": int(rng.integers(20, 100)), "progressive": bool(rng.integers(2))}
    if ending != "bmp" and rng.random() < 0.4:
        exif = Pillow.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options["exif"] = exif
    if ending == "png":
        options["compress_level"] = int(rng.integers(10))
    path = folder / f"a.{ending}"
    made.save(path, **options)
    with Pillow.open(path) as opened:
        theirs = ImageOps.exif_transpose(opened)
        if mode in ("1", "L", "I;16"):
            voxels = np.array(theirs)
        elif mode == "LA":
            voxels = np.array(theirs)[..., 0]
        else:
            voxels = np.rint(np.array(theirs.convert("RGB")) @ LUMINANCE)
    return path, voxels.T, None, None


def zipped(folder, rng):
    """A DICOM series as `dicom` makes it, in a zip under names of its own."""
    path, *rest = dicom(folder, rng)
    with zipfile.ZipFile(folder / "a.zip", "w", int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for number in rng.permutation(len(slices := sorted(path.iterdir()))):
            archive.write(slices[number], f"study/{number}{slices[number].name}")
    return folder / "a.zip", *rest


MAKERS = {
    "dicom": dicom, "zip": zipped, "nifti": nifti, "nrrd": nrrd_, "metaimage": metaimage, "tiff": tiff,
    "png": partial(picture, ending="png"), "jpeg": partial(picture, ending="jpg"),
    "bmp": partial(picture, ending="bmp"),
}  # fmt: skip


def opened(path):
    """An image, or why it is refused."""
    try:
        return read_image(path), ""
    except BifsegError as error:
        return None, str(error)
