"""Versions as HTTP has them: answers carry an ETag, and requests may say which one they were made for.

A session's is the number of its last interaction; an object's is its ``version``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from bifseg.errors import InvalidInput

TAGS = re.compile(r'\s*(?:(?:W/)?"[\x21\x23-\x7e]*"\s*)(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
TAG = re.compile(r'(W/)?"([^"]*)"')
LONGEST = 1000  # letters of such a header: nobody has as many versions
TAGGED: dict[str, Any] = {
    "ETag": {"schema": {"type": "string"}, "description": "The version: send it as If-Match with what changes it."}
}


def etag(version: int | str) -> str:
    """A version as a header says it."""
    return f'"{version}"'


def versions(request: Request, name: str) -> list[tuple[bool, str]] | None:
    """What If-Match or If-None-Match says: of each version whether it is weak, and the version itself; "*" is any.

    None without the header; InvalidInput for one that says something else.
    """
    header = ",".join(request.headers.getlist(name))
    if not request.headers.getlist(name):
        return None
    if header.strip() == "*":
        return [(False, "*")]
    if len(header) > LONGEST or not TAGS.fullmatch(header):
        raise InvalidInput(
            f'{name} must be the ETag of an answer, in quotes, such as "12", or *; it is {header[:80]!r}.'
        )
    return [(bool(weak), version) for weak, version in TAG.findall(header)]


async def _expected(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Do it only at this version: the ETag of the session, or of the object that is changed. "
            "Where somebody was faster, the answer is 412, and nothing is done.",
            examples=['"12"'],
        ),
    ] = None,
) -> list[str] | None:
    tags = versions(request, "If-Match")
    return None if tags is None else [version for weak, version in tags if not weak]


Expected = Annotated[list[str] | None, Depends(_expected)]


def known(request: Request, version: str) -> bool:
    """Whether the client says, by If-None-Match, that it has what is of this version."""
    return any(one in (version, "*") for _, one in versions(request, "If-None-Match") or ())
