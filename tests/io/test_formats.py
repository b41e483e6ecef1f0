"""NIfTI, NRRD, MetaImage and pictures: voxels, place, units and number type as their makers meant, or refused."""

import gzip
import struct

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from small_files import CT, GREY, RNG, nifti, refused

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, read_labels, write_image

# ---- NIfTI


@pytest.mark.parametrize("name", ["plain.nii.gz", "packed.nii", "A.NII.GZ"])
def test_a_nifti_is_packed_or_not_whatever_its_name_says(tmp_path, name):
    content = nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / name).write_bytes(content if name.startswith("plain") else gzip.compress(content))
    assert np.array_equal(read_image(tmp_path / name).array, CT)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_nifti_2(tmp_path, endian, dtype):
    image = nib.Nifti2Image(CT.astype(dtype), np.diag((-1.0, 1, 2, 1)), nib.Nifti2Header(endianness=endian))
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "a.nii")
    assert np.array_equal(read_image(tmp_path / "a.nii").array, np.asarray(nib.load(tmp_path / "a.nii").dataobj))
    assert np.allclose(read_image(tmp_path / "a.nii").spacing, (1, 1, 2))


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"offset": (108, "<f", 0.0)}, "same"),
        ({"offset": (108, "<f", 100.0)}, "header"),
        ({"x": (80, "<f", -1.0)}, "same"),
        ({"dim": (40, "<h", 9)}, "axes"),
        ({"dim": (42, "<h", -6)}, "axes"),
        ({"bits": (72, "<h", 32)}, "bits"),
        ({"type": (70, "<h", 1536)}, "type"),
        ({"magic": (344, "3s", b"ni1")}, "two files"),
    ],
)
def test_odd_headers_of_a_nifti(tmp_path, fields, right):
    path = nifti(tmp_path / "a.nii", **fields)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for name in ("a.nii", "a.nii.gz"):
        if right == "same":
            assert np.array_equal(read_image(tmp_path / name).array, CT)
        else:
            refused(tmp_path / name, right)


@pytest.mark.parametrize("shear", [2e-4, 9e-4, 5e-2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_sform_that_is_nearly_orthonormal(tmp_path, shear, suffix):
    affine = np.diag((1.0, 1, 2, 1))
    affine[0, 1] = shear
    image = nib.Nifti1Image(np.tile(CT, (30, 30, 10)), affine)  # large enough for ITK, which refuses it
    image.set_qform(None, 0)
    nib.save(image, tmp_path / f"a{suffix}")
    if shear < 1e-3:
        assert np.array_equal(read_image(tmp_path / f"a{suffix}").array, np.tile(CT, (30, 30, 10)))
    else:
        refused(tmp_path / f"a{suffix}", "sheared")


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (1, 4), (0, 2), (2, 1)])
@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_a_mask_has_the_header_of_its_scan(tmp_path, codes, units):
    path = nifti(tmp_path / "a.nii", units=units, codes=(252, "<2h", *codes), x=(268, "<f", 7.0))
    image = read_image(path)
    assert np.isclose(image.spacing[2], 2 * {1: 1000, 3: 1e-3}.get(units, 1))
    write_image(tmp_path / "m.nii.gz", CT > 0, image)
    scan, mask = nib.load(path), nib.load(tmp_path / "m.nii.gz")
    assert np.allclose(scan.affine, mask.affine)
    for field in ("qform_code", "sform_code", "xyzt_units", "srow_x", "qoffset_x", "quatern_d"):
        assert np.array_equal(scan.header[field], mask.header[field]), field
    assert np.array_equal(read_labels(tmp_path / "m.nii.gz", image), CT > 0)


def test_an_axis_that_nifti_has_no_room_for(tmp_path):
    for shape in ((33_000, 2, 1), (2, 40_000, 1), (1, 2, 32_768)):
        array = np.zeros(shape, np.uint8)
        with pytest.raises(ValueError, match=r"at most 32767 .* write \.nrrd"):
            write_image(tmp_path / "a.nii", array, Image(array))
        write_image(tmp_path / "a.nrrd", array, Image(array))
        assert read_image(tmp_path / "a.nrrd").shape == shape


DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.booleans(), st.booleans(), st.floats(0.1, 9), st.sampled_from([1, 2.5, -1]))
def test_nibabel_sees_the_same_in_a_nifti(tmp_path_factory, shape, dtype, big, packed, spacing, slope):
    path = tmp_path_factory.mktemp("n") / f"a.nii{'.gz' * packed}"
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    image = nib.Nifti1Image(array, np.diag((-spacing, 1, 2, 1)), nib.Nifti1Header(endianness="<>"[big]))
    image.set_data_dtype(dtype)
    nib.save(image, path)
    if slope != 1:
        raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        struct.pack_into("<>"[big] + "2f", raw, 112, slope, 3)
        path.write_bytes(gzip.compress(raw) if packed else raw)
    ours, theirs = read_image(path), nib.load(path)
    assert np.allclose(ours.array, theirs.get_fdata(), rtol=1e-6)
    assert np.allclose(np.diag((-1, -1, 1, 1)) @ ours.affine, theirs.affine, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.sampled_from(["raw", "gzip", "bzip2"]), st.booleans(), st.floats(0.1, 9))
def test_pynrrd_sees_the_same_in_a_nrrd(tmp_path_factory, shape, dtype, encoding, detached, spacing):
    folder = tmp_path_factory.mktemp("n")
    path = folder / ("a.nhdr" if detached else "a.nrrd")
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    directions = np.diag((spacing, -1.0, 2))
    header = {"encoding": encoding, "space": "RAS", "space directions": directions, "space origin": np.array([1, 2, 3])}
    nrrd.write(str(path), array, header)
    ours = read_image(path)
    assert np.array_equal(ours.array, nrrd.read(str(path))[0])
    assert ours.array.dtype == array.dtype
    assert np.allclose(ours.affine[:3, :3], np.diag((-spacing, 1, 2)))
    assert np.allclose(ours.origin, (-1, -2, 3))


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_itk_sees_the_same_in_what_it_writes(tmp_path, suffix, compressed):
    itk = SimpleITK.GetImageFromArray(CT.T)
    itk.SetSpacing((0.5, 1, 2))
    itk.SetOrigin((4, 5, 6))
    itk.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(itk, str(tmp_path / f"a{suffix}"), compressed)
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.array, CT)
    assert np.allclose(image.affine[:3], np.c_[np.reshape(itk.GetDirection(), (3, 3)) * (0.5, 1, 2), (4, 5, 6)])


def test_itk_and_pynrrd_read_what_we_write(tmp_path):
    place = Image(CT, (0.5, 1, 2), (4, 5, 6), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    for suffix in (".mha", ".nrrd", ".nii", ".nii.gz"):
        write_image(tmp_path / f"a{suffix}", CT, place)
        itk = SimpleITK.ReadImage(str(tmp_path / f"a{suffix}"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(itk).T, CT)
        assert np.allclose(itk.GetOrigin(), place.origin)
        assert np.allclose(np.reshape(itk.GetDirection(), (3, 3)), place.direction)
    write_image(tmp_path / "a.seg.nrrd", (CT > 0) + (CT > 500).astype(np.uint8), place, names=["liver", "Läsion"])
    header = nrrd.read_header(str(tmp_path / "a.seg.nrrd"))
    assert [header[f"Segment{k}_Name"] for k in (0, 1)] == ["liver", "Lsion"]  # pynrrd leaves out what is not ASCII
    assert "Segment1_Name:=Läsion\n".encode() in (tmp_path / "a.seg.nrrd").read_bytes()
    assert [header[f"Segment{k}_LabelValue"] for k in (0, 1)] == ["1", "2"]
    assert header["Segment0_Color"] != header["Segment1_Color"]


@pytest.mark.parametrize("change", [-1, 1, 60])
def test_detached_voxels_are_of_the_right_length(tmp_path, change):
    for name, other in (("a.nhdr", "a.raw"), ("a.mhd", "a.raw")):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(CT.T), str(tmp_path / name), False)
        read_image(tmp_path / name)
        content = (tmp_path / other).read_bytes()
        (tmp_path / other).write_bytes(content[:change] if change < 0 else content + bytes(change))
        refused(tmp_path / name, "bytes")


# ---- what is not told is not known


def test_spacing_that_is_not_told(tmp_path):
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + bytes(range(64))
    )
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n\n" + bytes(range(64))
    )
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 20, 30), np.uint16), photometric="minisblack")
    Pillow.fromarray(GREY).save(tmp_path / "a.png")
    for name in ("a.mha", "a.nrrd", "a.tif", "a.png"):
        assert not read_image(tmp_path / name).calibrated, name
    assert read_image(nifti(tmp_path / "a.nii")).calibrated
    for suffix in (".mha", ".nrrd"):
        write_image(tmp_path / f"m{suffix}", np.zeros((4, 4, 4), np.uint8), read_image(tmp_path / "a.mha"))
        assert not read_image(tmp_path / f"m{suffix}").calibrated


# ---- pictures


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_upright_and_its_mask_lies_as_it_does(tmp_path, orientation, suffix):
    from PIL import ImageOps

    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(GREY).save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    picture = Pillow.open(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.array[..., 0].T, np.asarray(ImageOps.exif_transpose(picture)))
    mask = image.array > 100
    write_image(tmp_path / "m.png", mask, image)
    stored = np.asarray(Pillow.open(tmp_path / "m.png"))
    assert np.array_equal(stored > 0, np.asarray(picture) > 100)  # on the pixels as the file has them
    assert np.array_equal(read_labels(tmp_path / "m.png", image), mask)


def test_kinds_of_png(tmp_path):
    grey = Pillow.fromarray(GREY)
    Pillow.merge("LA", (grey, Pillow.new("L", grey.size, 9))).save(tmp_path / "la.png")
    grey.save(tmp_path / "key.png", transparency=3)
    Pillow.fromarray(GREY.astype(np.uint16) * 250).save(tmp_path / "deep.png")
    for name, factor in (("la", 1), ("key", 1), ("deep", 250)):
        assert np.array_equal(read_image(tmp_path / f"{name}.png").array[..., 0].T, GREY.astype(int) * factor), name
    colours = RNG.integers(0, 65_536, (7, 9, 3)).astype(np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.png"))
    assert np.allclose(read_image(tmp_path / "rgb.png").array[..., 0].T, colours @ [0.299, 0.587, 0.114], atol=1)
    labels, like = (GREY > 100).astype(np.uint8) + (GREY > 200), Image(GREY.T)
    for palette in (
        [0, 0, 0, 128, 0, 0, 0, 128, 0],
        [0, 0, 0, 255, 255, 255, 99, 99, 99],
        [255] * 3 + [0] * 3 + [9] * 3,
    ):
        indexed = Pillow.fromarray(labels)
        indexed.putpalette(palette)
        indexed.save(tmp_path / "p.png")
        assert np.array_equal(read_labels(tmp_path / "p.png", like)[..., 0].T, labels)
    Pillow.fromarray(GREY > 100).save(tmp_path / "bit.png")
    assert np.unique(read_labels(tmp_path / "bit.png", like)).tolist() == [0, 1]
    write_image(tmp_path / "m.png", labels.T[..., None], like, names=["a", "b"])
    assert len(np.unique(np.asarray(Pillow.open(tmp_path / "m.png").convert("L")))) == 3  # three greys, far apart
    assert np.array_equal(read_labels(tmp_path / "m.png", like)[..., 0].T, labels)


# ---- TIFF


def test_kinds_of_tiff(tmp_path):
    wide = GREY.astype(np.uint16) * 200
    for dtype in ("u1", "i2", "u2", "u4", "f2", "f4", "f8"):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype))
        assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, GREY), dtype
    for how in (
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
    ):
        tifffile.imwrite(tmp_path / "a.tif", wide, byteorder=">", **how)
        assert np.array_equal(read_image(tmp_path / "a.tif").array[..., 0].T, wide), how
    Pillow.fromarray(GREY).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "lzw.tif").array[..., 0].T, GREY)
    tifffile.imwrite(tmp_path / "turned.tif", wide, extratags=[(274, "H", 1, 6, True)])
    assert np.array_equal(read_image(tmp_path / "turned.tif").array[..., 0].T, np.rot90(wide, -1))


@pytest.mark.parametrize(
    ("name", "axes", "words"),
    [("a.tif", "ZCYX", "2 channels"), ("a.tif", "TYX", "times"), ("a.ome.tif", "CYX", "channels"),
     ("b.ome.tif", "TZYX", "times")],
)  # fmt: skip
def test_one_channel_and_one_time_are_asked_for(tmp_path, name, axes, words):
    array = RNG.integers(0, 99, (*(6, 2)[: len(axes) - 2], 20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / name, array, imagej="ome" not in name, metadata={"axes": axes})
    refused(tmp_path / name, words)


def test_the_spacing_of_a_tiff(tmp_path):
    stack = RNG.integers(0, 99, (6, 20, 30)).astype(np.uint16)
    about = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata=about, resolution=(5, 4))
    told = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=told)
    for name in ("ij.tif", "a.ome.tif"):
        image = read_image(tmp_path / name)
        assert np.array_equal(image.array, stack.T)
        assert np.allclose(image.spacing, (0.2e-3, 0.25e-3, 2e-3)), name
    tifffile.imwrite(tmp_path / "cm.tif", stack[0], resolution=(20, 10), resolutionunit="CENTIMETER")
    assert np.allclose(read_image(tmp_path / "cm.tif").spacing, (0.5, 1, 1))


@pytest.mark.parametrize("suffix", [".hdr", ".gipl", ".vtk", ".mrc"])
def test_formats_that_nobody_checks_are_refused(tmp_path, suffix):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(CT.T), str(tmp_path / f"a{suffix}"))
    refused(tmp_path / f"a{suffix}", "known format|two files")


# ---- labels


def test_labels_in_another_order_of_axes(tmp_path):
    scan = Image(CT, (1, 1.5, 2), (5, 6, 7))
    labels = (CT > 500).astype(np.uint8)
    for order, flips in [((0, 1, 2), (1, -1, 1)), ((1, 0, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))]:
        turned = labels.transpose(order)[tuple(slice(None, None, f) for f in flips)]
        first = [0 if f > 0 else CT.shape[axis] - 1 for axis, f in zip(order, flips, strict=True)]
        origin = np.array(scan.origin)
        direction = np.zeros((3, 3))
        for k, (axis, f) in enumerate(zip(order, flips, strict=True)):
            direction[axis, k] = f
            origin[axis] += first[k] * scan.spacing[axis]
        place = Image(turned, [scan.spacing[axis] for axis in order], origin, direction)
        write_image(tmp_path / "l.nii.gz", turned, place)
        assert np.array_equal(read_labels(tmp_path / "l.nii.gz", scan), labels)
