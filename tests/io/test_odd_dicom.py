"""DICOM files that are seldom met, and often read wrongly: as pydicom has them, or refused in one sentence."""

import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, save_dicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels import apply_color_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless
from small_files import FRAMES, POSITIONS, refused, series, values

from bifseg.io.images import read_image

RNG = np.random.default_rng(2)


def slice_(path, edit, *, syntax=ExplicitVRLittleEndian):
    """A single slice, changed by ``edit``."""
    save_dicom(path.parent / "one", [(1, 2, 3)])
    content = pydicom.dcmread(next((path.parent / "one").iterdir()))
    edit(content)
    made = Dataset()  # which may be written in another byte order
    made.update(content)
    made.file_meta = content.file_meta
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(path, enforce_file_format=True)
    return path


def eight_bits(content, rows=6, columns=5):
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 8, 8, 7, 0
    content.Rows, content.Columns = rows, columns
    content.RescaleIntercept, content.RescaleSlope = 0, 1
    content.PixelData = RNG.integers(0, 256, rows * columns * content.SamplesPerPixel, np.uint8).tobytes()


@pytest.mark.parametrize("kind", ["OB", "OW"])
@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ExplicitVRLittleEndian])
def test_bytes_that_changed_places(tmp_path, kind, syntax):
    """In big-endian files, two pixels of 8 bits that are written as one word are exchanged."""

    def edit(content):
        eight_bits(content)
        content["PixelData"].VR = kind

    path = slice_(tmp_path / "a.dcm", edit, syntax=syntax)
    assert np.array_equal(read_image(path).array[..., 0].T, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_of_8_or_16_bits(tmp_path, bits):
    def edit(content):
        eight_bits(content)
        content.PhotometricInterpretation = "PALETTE COLOR"
        for colour in ("Red", "Green", "Blue"):
            table = RNG.integers(0, 1 << bits, 256).astype(f"<u{bits // 8}")
            content.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, bits])
            setattr(content, f"{colour}PaletteColorLookupTableData", table.tobytes())

    path = slice_(tmp_path / "a.dcm", edit)
    content = pydicom.dcmread(path)
    colours = apply_color_lut(content.pixel_array, content)
    right = (colours >> 8 if bits == 16 else colours).astype(np.uint8)
    assert np.array_equal(read_image(path).colours[:, :, 0].swapaxes(0, 1), right)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("meaning", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colours_by_pixel_or_by_plane(tmp_path, meaning, planar):
    def edit(content):
        content.SamplesPerPixel, content.PlanarConfiguration = 3, planar
        content.PhotometricInterpretation = meaning
        eight_bits(content)

    path = slice_(tmp_path / "a.dcm", edit)
    assert np.array_equal(read_image(path).colours[:, :, 0].swapaxes(0, 1), pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_that_are_no_integers(tmp_path, keyword):
    numbers = RNG.normal(size=(6, 5)).astype("<f4" if keyword == "FloatPixelData" else "<f8")

    def edit(content):
        del content.PixelData, content.RescaleSlope, content.RescaleIntercept
        content.BitsAllocated = 8 * numbers.itemsize
        content.Rows, content.Columns = 6, 5
        setattr(content, keyword, numbers.tobytes())

    array = read_image(slice_(tmp_path / "a.dcm", edit)).array
    assert array.dtype == numbers.dtype
    assert np.array_equal(array[..., 0].T, numbers)


def test_padding_is_a_number_like_others(tmp_path):
    def edit(content, k):
        content.add_new("PixelPaddingValue", "SS", -2000)

    image = read_image(series(tmp_path / "d", edit))
    assert np.array_equal(image.array[..., 2], values(2) - 1000)


def test_a_table_of_values_is_not_read(tmp_path):
    def edit(content):
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [4, 0, 16])
        table.add_new("LUTData", "US", [1, 2, 3, 4])
        table.ModalityLUTType = "US"
        content.ModalityLUTSequence = Sequence([table])
        del content.RescaleSlope, content.RescaleIntercept

    refused(slice_(tmp_path / "a.dcm", edit), "Modality LUT")


@pytest.mark.parametrize("spacing", [-4, 0, ""])
def test_spacing_between_slices_is_not_believed(tmp_path, spacing):
    def edit(content, k):
        content.SpacingBetweenSlices = spacing

    assert read_image(series(tmp_path / "d", edit)).spacing[2] == 4


def test_what_stands_before_a_dicom_may_be_another_file(tmp_path):
    path = slice_(tmp_path / "a.tif", lambda content: None)
    right = read_image(path).array
    for start in (b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"NRRD0004\n"):
        path.write_bytes(start + path.read_bytes()[len(start) :])
        assert np.array_equal(read_image(path).array, right)


@pytest.mark.parametrize("fault", ["truncated", "zeros", "other"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_damaged_slice_without_an_ending_is_never_left_out(tmp_path, fault, bare):
    save_dicom(tmp_path / "d", POSITIONS)
    paths = sorted((tmp_path / "d").iterdir())
    for k, path in enumerate(paths):
        content = path.read_bytes()
        path.unlink()
        (tmp_path / "d" / f"IM{k}").write_bytes(content[132:] if bare else content)
    last = tmp_path / "d" / "IM3"
    content = last.read_bytes()
    last.write_bytes({"truncated": content[:-9], "zeros": bytes(len(content)), "other": content[::-1]}[fault])
    refused(tmp_path / "d", "IM3")
    last.unlink()
    (tmp_path / "d" / "README").write_text("Slices of a phantom.")
    assert read_image(tmp_path / "d").shape[2] == 3


@pytest.mark.parametrize(
    ("positions", "words"),
    [([None, *POSITIONS], "do not say where"), ([(1, 2, 0)] * 5, "same place"), ([(1, 2, 3), *POSITIONS], "even")],
    ids=["one without a place", "all at one place", "uneven"],
)
def test_functional_groups_that_form_no_stack(tmp_path, positions, words):
    path = enhanced(tmp_path / "a.dcm", [p or (0, 0, 0) for p in positions], [1] * 5, FRAMES)
    content = pydicom.dcmread(path)
    for group, position in zip(content.PerFrameFunctionalGroupsSequence, positions, strict=True):
        if position is None:
            del group.PlanePositionSequence
    content.save_as(path)
    refused(path, words)


def test_functional_groups_of_another_number(tmp_path):
    path = enhanced(tmp_path / "a.dcm", [(1, 2, 4 * k) for k in range(5)], [1] * 5, FRAMES)
    content = pydicom.dcmread(path)
    del content.PerFrameFunctionalGroupsSequence[-1]
    content.save_as(path)
    refused(path, "4 of its 5 frames")


def test_an_orientation_of_one_frame_differs(tmp_path):
    path = enhanced(tmp_path / "a.dcm", [(1, 2, 4 * k) for k in range(5)], [1] * 5, FRAMES)
    content = pydicom.dcmread(path)
    other = Dataset()
    other.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]
    content.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = Sequence([other])
    content.save_as(path)
    refused(path, "frame 3 of .* orientation")


def test_bits_that_lie_at_the_upper_end(tmp_path):
    """Old scanners kept 12 bits above an overlay."""
    meant = RNG.integers(0, 1 << 12, (6, 5), np.uint16)

    def edit(content):
        content.PixelRepresentation, content.BitsStored, content.HighBit = 0, 12, 15
        content.PixelData = (meant << 4 | RNG.integers(0, 16, meant.shape, np.uint16)).tobytes()
        content.RescaleIntercept = 0

    assert np.array_equal(read_image(slice_(tmp_path / "a.dcm", edit)).array[..., 0].T, meant)


@pytest.mark.parametrize("k", [0, 2])
def test_a_slice_whose_rescaling_is_forgotten(tmp_path, k):
    """Its numbers would be 1000 higher than those of the others, and nobody would be told."""

    def edit(content, number):
        if number == k:
            del content.RescaleSlope, content.RescaleIntercept

    refused(series(tmp_path / "d", edit), "differ: .* has the rescale slope and intercept .*that it does not tell")


def test_a_pixel_that_is_not_square_and_of_unknown_size(tmp_path):
    def edit(content):
        del content.PixelSpacing, content.ImagePositionPatient
        content.PixelAspectRatio = [2, 1]

    image = read_image(slice_(tmp_path / "a.dcm", edit))
    assert image.spacing[:2] == (1, 2)
    assert not image.calibrated


def test_a_slice_whose_numbers_are_scaled_by_nothing(tmp_path):
    def edit(content, k):
        content.RescaleSlope = int(k != 2)

    refused(series(tmp_path / "d", edit), "scales its numbers by 0")


@pytest.mark.parametrize(("k", "stored", "kind"), [(1, 2000, np.int16), (3, -32_000, np.int32), (0, -32_000, np.int32)])
def test_hounsfield_units_take_no_more_room_than_they_need(tmp_path, k, stored, kind):
    """All 16 bits of a CT are said to be stored, and its intercept is -1000: seldom does a number need more."""

    def edit(content, number):
        if number == k:
            content.PixelData = (np.arange(30, dtype=np.int16) + stored).tobytes()

    image = read_image(series(tmp_path / "d", edit))
    right = [values(n) if n != k else np.arange(30).reshape(6, 5).T + stored for n in range(4)]
    assert np.array_equal(image.array, np.stack(right, -1) - 1000)
    assert image.array.dtype == kind


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 2, 0, 1, 3)])
def test_packed_frames_with_a_table_of_their_places_or_without(tmp_path, table, order):
    stored = np.stack([FRAMES[k] for k in order])
    path = enhanced(tmp_path / "a.dcm", [(1, 2, 4 * k) for k in order], [1] * 5, stored)
    content = pydicom.dcmread(path)
    content.compress(RLELossless)
    frames = list(generate_frames(content.PixelData, number_of_frames=len(order)))
    if table == "extended":
        packed, content.ExtendedOffsetTable, content.ExtendedOffsetTableLengths = encapsulate_extended(frames)
        content.PixelData = packed
    else:
        content.PixelData = encapsulate(frames, has_bot=table == "basic")
    content.save_as(path)
    assert np.array_equal(read_image(path).array, np.stack(FRAMES[:5]).T)
