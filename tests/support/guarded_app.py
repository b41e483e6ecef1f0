"""A small application behind the guard, its clients, and how they are refused."""

import warnings

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from bifseg.server.access import guard
from bifseg.server.access.guard import Guard, User
from bifseg.server.settings import Limits, Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have a successor of httpx
    from starlette.testclient import TestClient


LOOSE = Limits(requests_per_second=1000, upload_bytes=1 << 20)


class Body(BaseModel):
    text: str


def client(tokens, *, address="10.0.0.7", **told):
    """A client of a small application behind the guard, which runs on loopback without tokens unless told."""
    app = FastAPI()
    app.state.ran = 0

    @app.get("/whoami")
    @app.get("/healthz")
    @app.get("/metrics")
    def whoami(request: Request) -> dict:
        return {"user": getattr(request.state, "user", None)}

    @app.get("/api/v1/who")
    def who(user: User) -> dict:
        return {"user": user}

    @app.post("/api/v1/images")
    @app.post("/small")
    async def upload(request: Request) -> dict:
        app.state.ran += 1
        return {"bytes": len(await request.body())}

    @app.post("/typed")
    async def typed(body: Body) -> dict:
        app.state.ran += 1
        return {"length": len(body.text)}

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/monailabel/auth/")
    def auth() -> dict:
        return {}

    @app.post("/monailabel/auth/token")
    async def login(request: Request) -> dict:
        if tokens.user((await request.body()).decode()) is None:
            raise guard.HTTPException(401, "wrong") if hasattr(guard, "HTTPException") else _unauthorised()
        return {}

    told = {"limits": LOOSE, **told}
    app.add_middleware(Guard, settings=Settings(tokens._store.folder, **told), tokens=tokens)
    made = TestClient(app, base_url="http://localhost:1527", client=(address, 1))
    made.ran = lambda: app.state.ran
    return made


def _unauthorised():
    from fastapi import HTTPException

    return HTTPException(401, "wrong")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def refused(answer, status, words):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    detail = answer.json()["detail"]
    assert words in detail
    assert "\n" not in detail
    return answer
