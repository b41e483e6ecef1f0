"""Images: uploaded, opened from the server's folder, or made up; and their voxels."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from bifseg.errors import NotFound
from bifseg.imaging.image import Image
from bifseg.imaging.intensity import levels
from bifseg.imaging.orientation import canonical_shape, nifti
from bifseg.io.thumbnail import thumbnail
from bifseg.prompts.interaction import Box
from bifseg.server.access.guard import User
from bifseg.server.api.bodies.base import Text
from bifseg.server.api.bodies.images import DisplayInfo, FileInfo, ImageInfo, Open
from bifseg.server.api.request import BYTES, PREFIX, ROUTER, Served, listed
from bifseg.server.api.results import RESULT, answer
from bifseg.server.uploads.reading import Reading, read_image
from bifseg.server.uploads.receiving import received, suffix_of
from bifseg.server.views import IMAGE, Format, View
from bifseg.storage.rows import ImageRow

router = APIRouter(prefix=PREFIX, tags=["images"], **ROUTER)
LISTED = 10_000  # entries of one folder
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
DEMO = 11  # the seed of `bifseg demo`


@router.post(
    "/images",
    status_code=201,
    response_model=ImageInfo,
    openapi_extra={"requestBody": {"required": True, "content": BYTES}},
)
async def upload(
    request: Request,
    service: Served,
    user: User,
    name: Annotated[str, Query(max_length=300, description="The file's name; its ending says the format.")],
    series: Annotated[Text | None, Query(description="UID of one of several DICOM series in a zip.")] = None,
) -> dict:
    """Send an image as the body: NIfTI, NRRD, MHA, PNG, JPEG, BMP, TIFF, one DICOM file, or a zip of DICOM slices.

    It is kept once, however often it comes.
    """
    suffix = suffix_of(name)
    async with service.receiving.turn(user), received(request.stream(), service.store, user, suffix) as path:
        return await _keep(service, user, path, "The upload", series)


@router.post("/images/open", status_code=201, response_model=ImageInfo)
async def open_image(body: Open, service: Served, user: User) -> dict:
    """Take an image, or a folder of DICOM slices, from the server's folder of images."""

    def find() -> Path:
        path = _inside(service.settings.images, body.path)
        if path.is_dir():
            _check_links(_inside(service.settings.images, ""), path)
        else:
            suffix_of(path.name)
        return path

    path = await run_in_threadpool(find)  # a network's folder may be slow
    return await _keep(service, user, path, body.path, body.series)


@router.post("/images/demo", status_code=201, response_model=ImageInfo)
async def demo_image(service: Served, user: User) -> dict:
    """Take the demo's scan, which is synthetic: nobody's anatomy."""

    return await service.heavy.run(user, lambda: _kept(service, user, Reading(_demo(), None, None)))


@router.get("/images", response_model=list[ImageInfo])
async def images(service: Served, user: User) -> Response:
    """All images of yours, the newest first."""
    return await listed(service, user, ImageInfo, lambda: service.store.images(user))


@router.get("/images/{key}", response_model=ImageInfo)
def image(key: str, service: Served, user: User) -> dict:
    """What is known of an image."""
    return service.store.image_to_see(key, user)[0].as_dict()


@router.get("/images/{key}/display", response_model=DisplayInfo)
async def display(key: str, service: Served, user: User) -> dict:
    """How the image wants to be seen: window, inversion and units of its DICOM headers, and what values it has."""
    row, image = await run_in_threadpool(service.store.image_to_see, key, user)

    def look() -> dict:
        least, most = levels(image.array)
        return vars(service.series.of(row).display) | {"range": least, "most": most}

    return await service.lane(row.voxels).run(user, look)


@router.get(
    "/images/{key}/thumbnail",
    response_class=Response,
    responses={200: {"description": "PNG.", "content": PNG}},
)
async def small_picture(key: str, service: Served, user: User) -> Response:
    """The middle axial slice, at most 128 pixels wide and high."""

    def draw() -> bytes:
        row = service.store.image_row(key, user)
        return thumbnail(service.store.image(row.key), service.series.of(row).display)

    content = await service.quick.run(user, draw)
    return Response(content, media_type="image/png")


@router.delete("/images/{key}", status_code=204)
def forget_image(key: str, service: Served, user: User) -> Response:
    """Forget an image; 409 while sessions of yours use it."""
    service.store.forget_image(key, user)
    return Response(status_code=204)


@router.get("/images/{key}/voxels", **RESULT)
async def voxels(key: str, service: Served, user: User, format: Format = "raw") -> Response:
    """The image itself: its voxels, or a file; those of a colour image are red, green and blue in a last axis."""

    row = await run_in_threadpool(service.store.image_row, key, user)

    def view() -> tuple[ImageRow, View]:
        image = service.store.image(row.key)
        return row, View(IMAGE, image.voxels, Box((0, 0, 0), image.shape))

    return await answer(service.heavy, service, user, view, format, row.bytes)


@router.get(
    "/images/{key}/canonical",
    response_class=Response,
    responses={
        200: {
            "description": "A NIfTI-1 file, gzipped on its way to another machine that accepts it.",
            "content": BYTES,
            "headers": {"Content-Length": {"schema": {"type": "integer"}, "description": "Unless it is gzipped."}},
        }
    },
)
async def canonical_image(
    key: str,
    service: Served,
    user: User,
    request: Request,
    box: Annotated[
        str | None, Query(max_length=100, description="A part of it: ranges of voxels right, anterior, superior.")
    ] = None,
) -> Response:
    """The image with its axes permuted and flipped to right, anterior, superior, as far as that goes: see ``axes``."""

    def view() -> tuple[int, Iterable[bytes]]:
        _, image = service.store.image_to_see(key, user)
        return nifti(image, None if box is None else Box.parse(box, canonical_shape(image)).slices)

    size, pieces = await service.quick.run(user, view)
    if not _nearby(request) and "gzip" in request.headers.get("accept-encoding", ""):
        pieces, headers = _gzipped(pieces), {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    else:
        headers = {"Content-Length": str(size)}
    turns = service.quick.pieces(user, pieces)
    return StreamingResponse(turns, media_type="application/octet-stream", headers=headers)


@router.get("/files", response_model=list[FileInfo])
def files(
    service: Served,
    user: User,
    folder: Annotated[str, Query(max_length=1000, description="Where to look, from the server's folder on.")] = "",
) -> list[dict]:
    """What lies in the server's folder of images, or in a folder in it."""
    inside = _inside(service.settings.images, folder)
    root = _inside(service.settings.images, "")
    if not inside.is_dir():
        raise NotFound(f"There is no folder {folder!r}.")
    entries = []
    for path in sorted(inside.iterdir())[:LISTED]:
        if (
            not path.name.startswith(".")
            and _sayable(path.name)
            and path.exists()
            and path.resolve().is_relative_to(root)
        ):
            about = path.stat()
            entries.append(
                {
                    "path": str(path.relative_to(root)),
                    "folder": path.is_dir(),
                    "bytes": 0 if path.is_dir() else about.st_size,
                }
            )
    return entries


def _sayable(name: str) -> bool:
    """Whether a name is text: others, of old archives and systems, cannot be said in JSON, nor asked for."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _inside(folder: Path | None, name: str) -> Path:
    """A path in a folder, whatever links it has; NotFound for one that leads elsewhere or nowhere."""
    if folder is None:
        raise NotFound("This server has no folder of images to open; upload the image.")
    try:
        path = (folder / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # not there, a NUL in it, links in a circle
        path = None
    if path is None or not path.is_relative_to(folder.resolve()):
        raise NotFound(f"There is no file {name!r} in the server's folder of images.")
    return path


def _check_links(root: Path, folder: Path) -> None:
    """NotFound for a folder that holds links to what lies outside the root: slices are read through them."""
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise NotFound(f"The folder {folder.name!r} holds links to what is not in the server's folder of images.")


async def _keep(service: Served, user: str, path: Path, name: str, series: str | None) -> dict:
    def keep() -> dict:
        limits, folder = service.settings.limits, service.store.folder
        scan = read_image(path, folder, limits, name=name, series=series, template=service.template)
        return _kept(service, user, scan)

    return await service.heavy.run(user, keep)


def _kept(service: Served, user: str, scan: Reading) -> dict:
    row = service.store.image_row(service.store.add_image(scan.image, user, scan.headers), user)
    service.series.learn(row, scan.facts)
    return row.as_dict()


@cache
def _demo() -> Image:
    from bifseg.training.synthetic.phantom import phantom  # here, for few ask for it, and it needs scipy

    return phantom(DEMO)[0]


def _nearby(request: Request) -> bool:
    """Whether the client is on this machine, to which nothing needs to be packed."""
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pack = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield pack.compress(piece)
    yield pack.flush()
