"""Who may: Bearer tokens signed with our LiveKit keys. Operators' tokens carry admin grants; there is no
second secret system.
"""

from __future__ import annotations

from starlette.requests import Request

from gateway.errors import Forbidden, Unauthorized
from gateway.http.parts import parts_of
from gateway.livekit.tokens import Grants, InvalidToken, verify

_SCHEME = "bearer "


def operator(request: Request) -> None:
    """Raises unless an operator asks; in `dev` everybody is one."""
    if parts_of(request).settings.dev:
        return
    if not _bearer(request).is_operator:
        raise Forbidden("This needs an operator's token: make one with `roomkeeper token --admin`.")


def minter(request: Request) -> None:
    """Raises unless the caller may have room tokens."""
    if not parts_of(request).settings.http.open_tokens:
        operator(request)


class JobCaller:
    """Somebody who may ask for agents, at least in some room. Made before the body is read."""

    def __init__(self, request: Request) -> None:
        self._rule = parts_of(request).settings.http.job_auth
        self._grants = None if self._rule == "open" else _bearer(request)

    def check(self, room: str) -> None:
        """Raises Forbidden unless they may do so in this room."""
        if self._grants is None or self._grants.is_operator:
            return
        if self._rule == "operator":
            raise Forbidden("This needs an operator's token: make one with `roomkeeper token --admin`.")
        if self._grants.joins != room:
            raise Forbidden("The token is not for this room: send the one that its participant joins with.")


def _bearer(request: Request) -> Grants:
    header = request.headers.get("authorization", "")
    if not header:
        raise Unauthorized("A token is needed: Authorization: Bearer <token>.")
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthorized("The Authorization header must be: Bearer <token>.")
    parts = parts_of(request)
    try:
        return verify(header[len(_SCHEME) :].strip(), parts.keys, parts.clock())
    except InvalidToken as fault:
        raise Unauthorized(f"The token is not valid: {fault}.") from None
