"""MONAI Label's protocol, as the scribbles panel of its 3D Slicer module speaks it; mounted under /monailabel.

Each request says the whole truth: a region of interest, and a label map of everything painted so far. What that means
for the session, begin or correct, is worked out here.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, HTTPException, Query, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from bifseg import io
from bifseg.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.segment import Segment, State
from bifseg.server.guard import User
from bifseg.server.heavy import heavily
from bifseg.server.service import Service
from bifseg.server.uploads import called, image_from_upload, scratch, suffix_of
from bifseg.store import Store, UnknownError
from bifseg.store.rows import SessionRow

router = APIRouter(prefix="/monailabel", tags=["MONAI Label"])
MODEL, CLIENT = "bifseg", "monailabel"
PAINTED = {"foreground_scribbles": FOREGROUND, "background_scribbles": BACKGROUND}
ENDINGS = (".nrrd", ".nii.gz", ".nii", ".mha")
Name = Annotated[str, Query(max_length=300)]


@router.get("/auth/")
async def auth(request: Request) -> dict:
    """Whether a name and a password are asked for; the password is the user's token."""
    service: Service = request.app.state.service
    return {"enabled": await run_in_threadpool(service.tokens.asked_for, service.settings)}


@router.post("/auth/token")
async def login(request: Request, username: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict:
    """A token for a name and a password: it is the password."""
    user = await run_in_threadpool(request.app.state.service.tokens.user, password)
    if user is None or user != username:
        raise HTTPException(401, "The name and the password do not fit; the password is your token.")
    return {"access_token": password, "token_type": "bearer"}


@router.get("/auth/token/valid")
async def valid(user: User) -> dict:
    """Whose token was sent; 401 where it is none."""
    return {"username": user}


@router.get("/info/")
async def info(request: Request, user: User) -> dict:
    """What the server offers."""
    service: Service = request.app.state.service
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
        "datastore": await run_in_threadpool(_stock, service.store, user),
    }  # fmt: skip


@router.get("/train/")
async def train() -> Response:
    """Nothing is trained here: 404 is how its clients hear so."""
    raise UnknownError("This server trains nothing.")


@router.put("/session/")
async def create_session(request: Request, user: User, files: Annotated[list[UploadFile], File()]) -> dict:
    """Begin a session on an image: one file, or the slices of a DICOM series."""
    service: Service = request.app.state.service
    key = await heavily(_keep, service, user, files)
    id = await service.create(key, user, client=CLIENT)
    return {"session_id": id, "session_info": {"name": id, "image": key}}


@router.get("/session/{id}")
def session(request: Request, user: User, id: str) -> dict:
    """What is known of a session."""
    return request.app.state.service.store.session(id, user).as_dict()


@router.delete("/session/{id}")
def delete_session(request: Request, user: User, id: str) -> dict:
    """Forget a session."""
    request.app.state.service.store.delete(id, user)
    return {"session_id": id}


@router.post("/infer/{model}", response_class=Response)
async def infer(
    request: Request,
    user: User,
    model: str,
    image: Name = "",
    session_id: Name = "",
    params: Annotated[str, Form()] = "{}",
    label: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Segment what is painted in the region of interest: the mask of the selected label."""
    service: Service = request.app.state.service
    start = time.perf_counter()
    if model != MODEL:
        raise UnknownError(f"There is no model {model[:80]!r}; this server has {MODEL}.")
    told = _parameters(params)
    ending = str(told.get("result_extension") or ENDINGS[0])
    if ending not in ENDINGS:
        raise ValueError(f"The result_extension is {ending[:20]!r}; possible are {', '.join(ENDINGS)}.")
    own = await _session(service, user, session_id, image)
    name = str(told.get("selected_label_name") or service.settings.labels[0])[:64]
    marks = await heavily(_marks, service, own, label, told)
    for interaction in await heavily(_wanted, service.store, own, name, marks, told.get("roi")):
        await service.act(user, own.id, interaction)
    content = await heavily(_mask_file, service.store, own, name, ending)
    said = {"label_names": {name: 1}, "latencies": {"total": round(time.perf_counter() - start, 3)}}
    return _multipart({"params": json.dumps(said)}, f"mask{ending}", content)


@router.put("/datastore/")
async def add_image(
    request: Request, user: User, image: Name, file: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
) -> dict:  # fmt: skip
    """Keep an image under a name."""
    service: Service = request.app.state.service
    key = await heavily(_keep, service, user, [file])

    def name() -> None:
        with service.store.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO datastore VALUES (?, ?, ?)", (user, image, key))

    await run_in_threadpool(name)
    return {"image": image}


@router.put("/datastore/label")
async def submit(
    request: Request, user: User, image: Name, label: Annotated[UploadFile, File()], tag: Name = "",
    params: Annotated[str, Form()] = "{}",
) -> dict:  # fmt: skip
    """Keep the label map that a person accepted; it is in the session's journal, and in its export."""
    service: Service = request.app.state.service
    own = await _session(service, user, "", image)
    interaction = {
        "kind": "submit", "title": tag or "final",
        "labels": await heavily(lambda: _stored(service.store, _labels(service, own, label))),
    }  # fmt: skip
    await service.act(user, own.id, interaction)
    return {"image": image, "label": image, "tag": interaction["title"]}


@router.get("/datastore/label", response_class=Response)
async def submitted(request: Request, user: User, label: Name, tag: Name = "final") -> Response:
    """The label map submitted last for an image, as NIfTI."""
    service: Service = request.app.state.service
    own = await _session(service, user, "", label)

    def file() -> bytes:
        entries = [e for e in service.store.entries(own.id) if e.kind == "submit" and e.request["title"] == tag]
        if not entries:
            raise UnknownError(f"Nothing was submitted for {label[:80]!r} with the tag {tag[:80]!r}.")
        given = entries[-1].request["labels"]
        return _file(service.store, own, Box.parse(given["box"]), service.store.array(given["blob"]), ".nii.gz")

    return Response(await heavily(file), media_type="application/gzip")


@router.get("/datastore/")
def datastore(request: Request, user: User) -> dict:
    """How many images there are, and of how many a label map was submitted."""
    return _stock(request.app.state.service.store, user)


# ---- what a request means for the session


def interactions(state: State, name: str, box: Box | None, marks: np.ndarray, store: Store) -> list[Mapping[str, Any]]:
    """What to do so that an object has this box and exactly these scribbles.

    ``marks``: uint8 (x, y, z), 1 foreground, 2 background; ``box``: None for the scribbles' extent and a tenth more.
    Scribbles outside the box say nothing. Nothing to do where all is so already.
    """
    if box is None:
        if not marks.any():
            raise ValueError("There is nothing to go by: place a region of interest, or paint scribbles.")
        box = Box.around(marks > 0)
    inside, known = marks[box.slices], state.objects.get(name)
    if known is None or known.box != box or (inside != known.scribbles)[known.scribbles > 0].any():
        begin = {"kind": "box", "box": str(box), "name": name}
        if inside.any():
            begin["scribbles"] = {"labels": _reference(store, box, inside)}
        return [{"kind": "remove", "name": name}, begin] if known else [begin]
    new = np.where(known.scribbles > 0, 0, inside).astype(np.uint8)
    if not new.any():
        return []
    correct = {"kind": "scribble", "scribbles": {"labels": _reference(store, box, new)}}
    return [correct] if state.current == name else [{"kind": "select", "name": name}, correct]


def region(roi: object, shape: tuple[int, int, int]) -> Box | None:
    """A region of interest, [x0, x1, y0, y1, z0, z1] in voxels, in any order, as a box in the image; None for none."""
    if not roi:
        return None
    try:
        ends = np.sort(np.asarray(roi, dtype=float).reshape(3, 2), axis=1)
    except (TypeError, ValueError):
        raise ValueError("The roi must be six numbers: x0, x1, y0, y1, z0, z1, in voxels.") from None
    if not np.isfinite(ends).all():
        raise ValueError("The roi holds numbers that are not finite.")
    start = np.clip(np.floor(ends[:, 0]), 0, shape).astype(int)
    stop = np.clip(np.maximum(np.ceil(ends[:, 1]), start + 1), 0, shape).astype(int)
    return Box.of(list(zip(start.tolist(), stop.tolist(), strict=True)), shape)


def _wanted(store: Store, own: SessionRow, name: str, marks: np.ndarray, roi: object) -> list[Mapping[str, Any]]:
    return interactions(store.state(own.id), name, region(roi, marks.shape), marks, store)


def _marks(service: Service, own: SessionRow, label: UploadFile | None, told: Mapping) -> np.ndarray:
    """The scribbles among all that is painted: uint8, 1 foreground, 2 background."""
    shape = service.store.image_row(own.image).shape
    if label is None:
        return np.zeros(shape, np.uint8)
    painted = _labels(service, own, label)
    marks = np.zeros(shape, np.uint8)
    for entry in told.get("label_info") or ():
        if isinstance(entry, Mapping) and entry.get("name") in PAINTED:
            marks[painted == int(entry.get("id", 0))] = PAINTED[entry["name"]]
    return marks


def _reference(store: Store, box: Box, inside: np.ndarray) -> dict:
    return {"blob": store.add_array(np.ascontiguousarray(inside, np.uint8)), "box": str(box)}


# ---- files


def _keep(service: Service, user: str, files: list[UploadFile]) -> str:
    """The image in one file, or in the slices of a DICOM series: its key in the store."""
    limits = service.settings.limits
    several = len(files) > 1
    path = scratch(service.store.folder, "" if several else suffix_of(files[0].filename or ""))
    try:
        if several:
            path.mkdir()
        for number, file in enumerate(files):
            with (path / f"{number:05}.dcm" if several else path).open("xb") as target:
                shutil.copyfileobj(file.file, target)
        image, headers = image_from_upload(path, limits)
        return service.store.add_image(image, user, headers)
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _labels(service: Service, own: SessionRow, label: UploadFile) -> np.ndarray:
    """An uploaded label map on the session's image: uint8."""
    limits, image = service.settings.limits, service.store.image(own.image)
    path = scratch(service.store.folder, suffix_of(label.filename or ""))
    try:
        with path.open("xb") as target:
            shutil.copyfileobj(label.file, target)
        with called(path, "The label map"):
            io.check_upload(path, voxels=limits.voxels, bytes=limits.array_bytes)
            labels = io.read_labels(path, image)
    finally:
        path.unlink(missing_ok=True)
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError("The label map holds numbers below 0 or above 255.")
    return labels.astype(np.uint8)


def _stored(store: Store, labels: np.ndarray) -> dict:
    """A label map, cut down to what is in it."""
    box = Box((0, 0, 0), labels.shape)
    if (labels > 0).any():
        ends = [(int(found[0]), int(found[-1]) + 1) for found in map(np.unique, np.nonzero(labels))]
        if sum(b - a > 1 for a, b in ends) > 1:
            box = Box.of(ends, labels.shape)
    return _reference(store, box, labels[box.slices])


def _mask_file(store: Store, own: SessionRow, name: str, ending: str) -> bytes:
    segment: Segment = store.state(own.id).objects[name]
    return _file(store, own, segment.box, segment.mask.view(np.uint8), ending)


def _file(store: Store, own: SessionRow, box: Box, inside: np.ndarray, ending: str) -> bytes:
    image = store.image(own.image)
    full = np.zeros(image.shape, np.uint8, order="F")
    full[box.slices] = inside
    path = scratch(store.folder, ending)
    try:
        io.write_image(path, full, image)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _multipart(fields: Mapping[str, str], file_name: str, content: bytes) -> Response:
    """A reply as its clients parse it: fields, then one file."""
    boundary = secrets.token_hex(16)
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{file_name}"\r\n'
    body = "".join(parts).encode() + head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content
    return Response(body + f"\r\n--{boundary}--\r\n".encode(), media_type=f"multipart/form-data; boundary={boundary}")


def _parameters(text: str) -> dict:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError("The params are no JSON object.")
    return told


async def _session(service: Service, user: str, session_id: str, image: str) -> SessionRow:
    """The session of this id; without one, the latest on the image of this name, or a new one."""
    store = service.store
    if session_id:
        return await run_in_threadpool(store.session, session_id, user)

    def latest() -> tuple[str, SessionRow | None]:
        sql = "SELECT image FROM datastore WHERE owner = ? AND name = ?"
        rows = store.read(sql, (user, image))
        if not rows:
            raise UnknownError(f"There is no image of the name {image[:80]!r}; upload it first.")
        key = rows[0]["image"]
        return key, next((row for row in store.sessions(user) if row.image == key and row.client == CLIENT), None)

    key, own = await run_in_threadpool(latest)
    if own is None:
        id = await service.create(key, user, client=CLIENT, title=image[:200])
        own = await run_in_threadpool(store.session, id, user)
    return own


def _stock(store: Store, user: str) -> dict:
    ((total,),) = store.read("SELECT count(*) FROM datastore WHERE owner = ?", (user,))
    sql = (
        "SELECT count(DISTINCT image) FROM sessions JOIN entries ON id = session WHERE owner = ? AND kind = 'submit' "
        "AND image IN (SELECT image FROM datastore WHERE datastore.owner = sessions.owner)"
    )
    ((completed,),) = store.read(sql, (user,))
    return {"total": total, "completed": completed}
