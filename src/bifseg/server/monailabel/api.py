"""MONAI Label's protocol, as the scribbles panel of its 3D Slicer module speaks it; mounted under /monailabel."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from fastapi import APIRouter, File, Form, HTTPException, Query, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from bifseg.errors import InvalidInput, NotFound, Stale
from bifseg.io.formats import upload_endings
from bifseg.loading import version
from bifseg.prompts.interaction import Box
from bifseg.server import views
from bifseg.server.access.guard import User
from bifseg.server.api.file_replies import FileReply, called, file_reply
from bifseg.server.api.request import RESPONSES, Received, Served
from bifseg.server.monailabel.datastore import Datastore
from bifseg.server.monailabel.painted import HIDDEN, InferenceRequest, cut, interactions
from bifseg.server.service import Service, journalled
from bifseg.server.uploads.reading import read_image, read_labels
from bifseg.server.uploads.receiving import suffix_of
from bifseg.server.uploads.scratch import scratch
from bifseg.storage.full_disk import on_disk
from bifseg.storage.rows import SessionRow

router = APIRouter(prefix="/monailabel", tags=["MONAI Label"], responses=RESPONSES, route_class=Received)
MODEL, CLIENT = "bifseg", "monailabel"
LABELS = (".nii.gz", ".nii", ".nrrd", ".mha")  # label maps that may come, as its clients write them
LONGEST = 1 << 16  # letters of params: Slicer sends some hundred
FINAL = "final"  # the tag of what is submitted without one
Name = Annotated[str, Query(max_length=200)]
Tag = Annotated[str, Query(max_length=100)]


def _file_reply(kind: str) -> dict[str, Any]:
    return {"response_class": Response, "responses": {200: {"description": "A file.", "content": {kind: {}}}}}


# ---- who asks, and what there is


@router.get("/auth/")
async def auth(service: Served) -> dict:
    """Whether a name and a password are asked for; the password is the user's token."""
    return {"enabled": await run_in_threadpool(service.tokens.asked_for, service.settings)}


@router.post("/auth/token")
async def login(service: Served, username: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict:
    """A token for a name and a password: it is the password."""
    user = await run_in_threadpool(service.tokens.user, password)
    if user is None or user != username:
        raise HTTPException(401, "The name and the password do not fit; the password is your token.")
    return {"access_token": password, "token_type": "bearer"}


@router.get("/auth/token/valid")
async def valid(user: User) -> dict:
    """Whose token was sent; 401 where it is none."""
    return {"username": user}


@router.get("/info/")
def info(service: Served, user: User) -> dict:
    """What the server offers."""
    labels = list(service.settings.labels)
    return {
        "name": "bifseg", "description": "Scribbles that adapt a network to this image", "version": version("bifseg"),
        "labels": labels,
        "models": {
            MODEL: {
                "type": "scribbles", "labels": labels, "dimension": 3, "config": {},
                "description": "A region of interest and scribbles; a flat region is segmented in its plane",
            }
        },
        "trainers": {}, "strategies": {}, "scoring": {}, "train_stats": {},
        "datastore": Datastore(service.store, user).counts(),
    }  # fmt: skip


@router.get("/train/")
async def train() -> Response:
    """Nothing is trained here: 404 is how its clients hear so."""
    raise NotFound("This server trains nothing.")


# ---- sessions


@router.put("/session/")
async def create_session(service: Served, user: User, files: Annotated[list[UploadFile], File(max_length=1)]) -> dict:
    """Begin a session on an image; a DICOM series comes as a zip."""
    key = await service.heavy.run(user, _keep, service, user, files[0])
    id = await service.create(key, user, client=CLIENT)
    return {"session_id": id, "session_info": {"name": id, "image": key}}


@router.get("/session/{id}")
def session(service: Served, user: User, id: str) -> dict:
    """What is known of a session."""
    return service.store.session(id, user).as_dict()


@router.delete("/session/{id}")
def delete_session(service: Served, user: User, id: str) -> dict:
    """Forget a session."""
    service.store.delete(id, user)
    return {"session_id": id}


@router.post("/infer/{model}", **_file_reply("multipart/form-data"))
async def infer(
    service: Served, user: User, model: str, image: Name = "", session_id: Name = "",
    params: Annotated[str, Form(max_length=LONGEST)] = "{}", label: Annotated[UploadFile | None, File()] = None,
) -> Response:  # fmt: skip
    """Segment what is painted in the region of interest: the mask of the selected label."""
    start = time.perf_counter()
    if model != MODEL:
        raise NotFound(f"There is no model {model[:80]!r}; this server has {MODEL}.")
    inference = InferenceRequest.of(params)
    name = inference.selected_label_name or service.settings.labels[0]
    session = await _session(service, user, session_id, image)
    todo = await service.heavy.run(user, _todo, service, session, inference, name, label)  # it may read a label map
    led: dict = {}
    for interaction in todo:
        try:
            led = await service.act(user, session.id, interaction)
        except Exception:  # of two that belong together, none or both; what others did meanwhile stays
            if interaction is not todo[0] and todo[0]["kind"] == "remove":
                with contextlib.suppress(Stale):
                    await service.act(user, session.id, {"kind": "undo"}, expected=[str(led["number"])])
            raise
    row, suffix = await run_in_threadpool(service.store.image_row, session.image), inference.result_extension

    def reply() -> FileReply:
        shown = views.view(service.store.state(session.id), "mask", name, row.shape)
        facts = {"label_names": {name: 1}, "latencies": {"total": round(time.perf_counter() - start, 3)}}
        return _multipart(facts, f"mask-{secrets.token_hex(4)}{suffix}", views.file(service, row, shown, suffix[1:]))

    return await file_reply(service.lane(row.voxels), service, user, reply)


def _todo(
    service: Service, session: SessionRow, inference: InferenceRequest, name: str, label: UploadFile | None
) -> list[dict]:
    """The interactions that a request comes to, their arrays put into the store."""
    row = service.store.image_row(session.image)
    box = inference.region(row.shape, row.spacing)
    marks = np.full(row.shape, HIDDEN, np.uint8) if label is None else inference.marks(_labels(service, session, label))
    todo = interactions(service.store.state(session.id), name, box, marks, row.spacing)
    return [journalled(interaction, service.store) for interaction in todo]


def _multipart(params: dict, file_name: str, file: BinaryIO) -> FileReply:
    """The reply as its clients parse it: they need its length, and do not know chunks."""
    boundary = secrets.token_hex(16)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
        f'{json.dumps(params)}\r\n--{boundary}\r\nContent-Disposition: form-data; name="image"; '
        f'filename="{file_name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    kind, end = f"multipart/form-data; boundary={boundary}", f"\r\n--{boundary}--\r\n"
    return FileReply(file, kind, before=head.encode(), after=end.encode())


# ---- images by name, and what was accepted


@router.put("/datastore/")
async def add_image(service: Served, user: User, image: Name, file: Annotated[UploadFile, File()]) -> dict:
    """Keep an image under a name."""
    key = await service.heavy.run(user, _keep, service, user, file)
    await run_in_threadpool(Datastore(service.store, user).call, key, image)
    return {"image": image}


@router.put("/datastore/label")
async def submit(
    service: Served, user: User, image: Name, label: Annotated[UploadFile, File()], tag: Tag = FINAL
) -> dict:
    """Keep the label map that a person accepted; it is in the session's journal, and in its export."""
    session = await _session(service, user, "", image)
    tag = tag or FINAL

    def submission() -> dict:
        labels = cut(_labels(service, session, label))
        return journalled({"kind": "submit", "title": tag, "labels": labels}, service.store)

    await service.act(user, session.id, await service.heavy.run(user, submission))
    return {"image": image, "label": image, "tag": tag}


@router.get("/datastore/label", **_file_reply(views.media_types()["nii.gz"]))
async def submitted(service: Served, user: User, label: Name, tag: Tag = FINAL) -> Response:
    """The label map submitted last for an image, as NIfTI."""

    def find() -> FileReply:
        names = Datastore(service.store, user)
        key = names.image(label)
        given = names.submitted(key, tag or FINAL)
        view = views.View("labels", service.store.array(given["blob"]), Box.parse(given["box"]))
        file = views.file(service, service.store.image_row(key), view, "nii.gz")
        return FileReply(file, views.media_types()["nii.gz"], called("label.nii.gz"))

    return await file_reply(service.heavy, service, user, find)


@router.get("/datastore/")
def datastore(service: Served, user: User, output: Literal["stats", "all"] = "stats") -> dict:
    """The user's images, and with which tags label maps were submitted for them."""
    names = Datastore(service.store, user)
    return names.contents() if output == "all" else names.counts()


async def _session(service: Service, user: str, session_id: str, image: str) -> SessionRow:
    """The session of this id; without one, the last used on the image of this name, or a new one."""
    if session_id:
        return await run_in_threadpool(service.store.session, session_id, user)
    names = Datastore(service.store, user)
    key = await run_in_threadpool(names.image, image)
    if session := await run_in_threadpool(names.session, key, CLIENT):
        return session
    id = await service.create(key, user, client=CLIENT, title=image)
    return await run_in_threadpool(service.store.session, id, user)


# ---- files that come


def _keep(service: Service, user: str, upload: UploadFile) -> str:
    """Put an uploaded image into the store: its key."""
    with _saved(service, upload, upload_endings()) as path:
        scan = read_image(path, service.store.folder, service.settings.limits, template=service.template)
    return service.store.add_image(scan.image, user, scan.headers)


def _labels(service: Service, session: SessionRow, upload: UploadFile) -> np.ndarray:
    """An uploaded label map on the session's image: uint8."""
    limits, image = service.settings.limits, service.store.image(session.image)
    with _saved(service, upload, LABELS) as path:
        labels = read_labels(path, service.store.folder, limits, image, name="The label map", template=service.template)
    if labels.min() < 0 or labels.max() > 255:
        raise InvalidInput(f"The label map holds {labels.min()} to {labels.max()}; 0 to 255 are possible.")
    return labels.astype(np.uint8)


@contextmanager
def _saved(service: Service, upload: UploadFile, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """An upload as a file of our own name in the store's folder."""
    suffix = suffix_of(upload.filename or "")
    if suffix not in suffixes:
        raise InvalidInput(f"The label map is a {suffix} file; possible are {', '.join(suffixes)}.")
    path = scratch(service.store.folder, suffix)
    try:
        with on_disk(), path.open("xb") as target:
            shutil.copyfileobj(upload.file, target)
        yield path
    finally:
        path.unlink(missing_ok=True)
