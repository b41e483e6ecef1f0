"""What a file says of itself before anything in it is unpacked: enough to refuse one that wants too much."""

from __future__ import annotations

from pathlib import Path

HEAD = 1 << 16  # bytes in which a text header must end
ONE_FILE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".zip")


class TooLargeError(ValueError):
    """The file holds, or says that it holds, more than is allowed."""


def check_single(path: Path) -> None:
    """Refuse a file that is made of others, by its format or by what its header says: they could lead anywhere."""
    name = path.name.lower()
    if not name.endswith(ONE_FILE):
        raise ValueError(f"{path} is of a kind that cannot be uploaded; possible are {', '.join(ONE_FILE)}.")
    if name.endswith(".nrrd"):
        fields = [line.partition(b":")[0] for line in _head(path, b"\n\n", b"\r\n\r\n").lower().splitlines()]
        if {field.replace(b" ", b"") for field in fields} & {b"datafile"}:
            raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one NRRD.")
    elif name.endswith(".mha"):
        head = _head(path, b"ElementDataFile")
        value = head[head.find(b"ElementDataFile") :].partition(b"=")[2].split(b"\n")[0].strip()
        if value.upper() != b"LOCAL":
            raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one MHA.")


def check_extent(path: Path, shape: tuple[int, ...], voxel: int, voxels: int, limit: int) -> None:
    """Refuse more voxels or bytes than are allowed; ``voxel``: bytes of one."""
    count = 1
    for n in shape:
        count *= int(n)
    if count > voxels or count * voxel > limit:
        extent = " x ".join(map(str, shape))
        raise TooLargeError(
            f"{path} says it has {extent} voxels of {voxel} bytes; "
            f"at most {voxels / 1e6:.4g} million voxels and {limit / 2**30:.3g} GiB are allowed."
        )


def _head(path: Path, *ends: bytes) -> bytes:
    """A text header: all up to the first of the marks and the line it is in; ValueError where there is none."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = [place for place in (head.find(end) for end in ends) if place >= 0]
    if not found:
        raise ValueError(f"{path} is damaged: its header has no end.")
    end = head.find(b"\n", min(found) + 1)
    return head[: end if end >= 0 else len(head)]
