"""Who may what: Bearer tokens signed with our LiveKit keys. Operators' tokens carry admin grants; there is no
second secret system.
"""

from __future__ import annotations

from starlette.requests import Request

from gateway.errors import Forbidden, Unauthorized
from gateway.http.parts import Parts, parts_of
from gateway.livekit.tokens import Grants, InvalidToken, verify

_SCHEME = "bearer "
_OPERATORS_ONLY = "This needs an operator's token: make one with `roomkeeper token --admin`."


def operator(request: Request) -> None:
    """Raises unless an operator asks; in `dev` everybody is one."""
    if not parts_of(request).settings.dev and not _bearer(request).is_operator:
        raise Forbidden(_OPERATORS_ONLY)


class Caller:
    """Whoever may ask for agents, in some room at least. Made before the body is read."""

    def __init__(self, parts: Parts, *, grants: Grants | None, rule: str) -> None:
        """`grants`: of the token that was sent; None where none was needed, and none that we trust came."""
        self._parts = parts
        self._grants = grants
        self._rule = rule

    @classmethod
    async def of_jobs(cls, request: Request) -> Caller:
        """Raises Unauthorized without a token, where one is needed; TooManyRequests."""
        parts = parts_of(request)
        rule = parts.settings.http.job_auth
        grants = await _counted(request, needed=rule != "open")
        return cls(parts, grants=grants, rule=rule)

    @classmethod
    async def of_tokens(cls, request: Request) -> Caller:
        """Raises unless the caller may have room tokens; TooManyRequests."""
        parts = parts_of(request)
        is_open = parts.settings.http.open_tokens
        grants = await _counted(request, needed=not is_open)
        if not is_open and (grants is None or not grants.is_operator):
            raise Forbidden(_OPERATORS_ONLY)
        return cls(parts, grants=grants, rule="open" if is_open else "operator")

    def may_act_on(self, room: str) -> None:
        """Raises Forbidden unless they may ask for agents in this room."""
        if self._rule == "open" or self._grants is None or self._grants.is_operator:
            return
        if self._rule == "operator":
            raise Forbidden(_OPERATORS_ONLY)
        if self._grants.joins != room:
            raise Forbidden("The token is not for this room: send the one that its participant joins with.")

    def may_ask_for(self, agent: str, *, field: str) -> None:
        """Raises Forbidden unless the agent is one that frontends may ask for."""
        if self._grants is not None and self._grants.is_operator:
            return
        listed = self._parts.settings.asked_for
        if "*" not in listed and agent not in listed:
            raise Forbidden(
                f"{field}: this agent is not one that may be asked for here. Its operator can add it to "
                "ROOMKEEPER_AGENTS.",
                field=field,
            )


async def _counted(request: Request, *, needed: bool) -> Grants | None:
    """The grants of the token that was sent. Whoever shows no operator's is counted: before anything else is
    done for them, and those whose token is not valid, too. None: without a valid token, where none is needed.
    """
    rates = parts_of(request).rates
    address = request.client.host if request.client is not None else ""
    try:
        grants = _bearer(request)
    except Unauthorized:
        await rates.count_address(address)
        if needed:
            raise
        return None
    if not grants.is_operator:
        await rates.count_address(address)
        await rates.count_caller(grants.joins, grants.identity)
    return grants


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
