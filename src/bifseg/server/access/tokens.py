"""Who may use the server: tokens, of which the store keeps only digests."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass

from bifseg.errors import InvalidInput, NotFound
from bifseg.server.settings import Settings
from bifseg.storage import Store

USER = re.compile(r"[A-Za-z0-9._@-]{1,64}")
TOKEN = re.compile(r"bifseg_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
NOTED = 60.0  # seconds: how exactly the last use of a token is known
RECALLED = 2.0  # seconds for which it is taken as known whether there are tokens at all
ONCE = re.compile(r"once_[A-Za-z0-9_-]{43}")
ONCE_LIVES = 600.0  # seconds


@dataclass(frozen=True)
class TokenRow:
    """A token as the store knows it. Times in seconds since 1970, or None."""

    id: str
    user: str
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    admin: bool = False  # may see what the store holds in all

    @property
    def live(self) -> bool:
        return self.revoked is None and (self.expires is None or self.expires > time.time())


class Tokens:
    """The tokens of a store: ``bifseg_<id>_<secret>``, whose secret has 256 random bits, so that SHA-256 hides it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._any, self._asked = False, 0.0
        self._once: dict[str, tuple[str, float]] = {}  # digest: (user, until when, on the monotonic clock)
        about = store.folder.stat()
        name = f"{store.folder.resolve()} {about.st_ino}"  # the inode, for containers call all their stores the same
        self.cookie = f"bifseg_{_digest(name)[:8]}"  # browsers keep one jar for all ports of a host

    def create(self, user: str, days: float | None = None, *, admin: bool = False) -> str:
        """A new token for a user, valid for so many days; it is shown this once. InvalidInput for an impossible name.

        ``admin``: of who runs the server; it may see the store's numbers, and nobody's images.
        """
        if not USER.fullmatch(user):
            raise InvalidInput(f"The user is {user[:80]!r}; a name has up to 64 letters, digits and . _ @ -.")
        if days is not None and not 0 < days < 36_525:
            raise InvalidInput(f"The token shall live {days} days; give a number above 0, or none for no end.")
        id, secret, now = secrets.token_hex(4), secrets.token_urlsafe(32), time.time()
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, NULL, NULL, ?)",
                (id, user, _digest(secret), now, None if days is None else now + days * 86_400, admin),
            )
        self._asked = 0.0
        return f"bifseg_{id}_{secret}"

    def create_once(self, user: str) -> str:
        """A token that this process takes once, within ten minutes, in exchange for an ordinary one of the user's."""
        now = time.monotonic()
        for digest in [digest for digest, (_, until) in self._once.items() if until <= now]:
            self._once.pop(digest, None)
        token = f"once_{secrets.token_urlsafe(32)}"
        self._once[_digest(token)] = user, now + ONCE_LIVES
        return token

    def exchange(self, token: str, days: float) -> str | None:
        """The ordinary token for one of `create_once`, valid for so many days; None for one that is used or too old."""
        user, until = self._once.pop(_digest(token), ("", 0.0))
        return self.create(user, days) if until > time.monotonic() else None

    def revoke(self, name: str) -> int:
        """Revoke a token by its id, or all of a user: how many. NotFound where there is none."""
        with self._store.transaction() as connection:
            sql = "UPDATE tokens SET revoked = ?1 WHERE (id = ?2 OR user = ?2) AND revoked IS NULL"
            count = connection.execute(sql, (time.time(), name)).rowcount
        if not count:
            raise NotFound(f"There is no live token of id or user {name[:80]!r}.")
        return count

    def list(self) -> list[TokenRow]:
        """All tokens ever made, the newest last."""
        sql = "SELECT id, user, created, expires, revoked, last_used, admin FROM tokens ORDER BY created"
        return [TokenRow(*row) for row in self._store.read(sql)]

    def any(self) -> bool:
        """Whether anybody has a token; then everybody needs one. Revoking the last one does not open the server."""
        if not self._any and time.monotonic() - self._asked > RECALLED:
            self._any, self._asked = bool(self._store.read("SELECT 1 FROM tokens LIMIT 1")), time.monotonic()
        return self._any

    def asked_for(self, settings: Settings) -> bool:
        """Whether a request needs a token: not where nobody has one and only this machine can reach the server."""
        return settings.require_tokens or not settings.loopback or self.any()

    def user(self, token: str) -> str | None:
        """Whose token this is; None for one that is unknown, expired or revoked."""
        row = self.known(token)
        return None if row is None else row.user

    def known(self, token: str) -> TokenRow | None:
        """What is known of a token; None for one that is unknown, expired or revoked."""
        parts = TOKEN.fullmatch(token)
        id, secret = parts.groups() if parts else ("", "")
        rows = self._store.read("SELECT * FROM tokens WHERE id = ?", (id,)) if parts else []
        known = rows[0]["hash"] if rows else _digest("")
        same = hmac.compare_digest(_digest(secret), known)  # takes as long for an unknown id
        now = time.time()
        if not (rows and same and rows[0]["revoked"] is None and (rows[0]["expires"] or now + 1) > now):
            return None
        if (rows[0]["last_used"] or 0) < now - NOTED:
            # Not on a full disk, which somebody has to come in to make room on.
            with contextlib.suppress(OSError, RuntimeError, ValueError), self._store.transaction() as connection:
                connection.execute("UPDATE tokens SET last_used = ? WHERE id = ?", (now, id))
        return TokenRow(*(rows[0][name] for name in TokenRow.__dataclass_fields__))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
