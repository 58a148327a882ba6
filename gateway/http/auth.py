"""Who may what. Bearer tokens are LiveKit's, signed with our keys (a participant's; an operator's, with admin
grants), or the site's own login. Ours need no secret but LiveKit's.
"""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from gateway.errors import Forbidden, Unauthorized
from gateway.http.parts import Parts, parts_of
from gateway.http.site_login import Visitor
from gateway.livekit.tokens import Grants, InvalidToken, issuer_of, verify, verify_report

_SCHEME = "bearer "
TOKEN_IN_QUERY = frozenset({"/api/livekit/job/{job_id}/events"})
"""Routes that take the token as `?access_token=`, too: a browser's EventSource sends no headers of ours."""
_OPERATORS_ONLY = "This needs an operator's token: make one with `roomkeeper token --admin`."

Bearer = Grants | Visitor | None
"""Whose token was sent; None: nobody's that we trust, where none is needed."""


def operator(request: Request) -> None:
    """Raises Unauthorized or Forbidden unless an operator asks; in `dev` everybody is one."""
    parts = parts_of(request)
    if not parts.settings.dev and not _is_operator(_livekit_bearer(parts, _token(request))):
        raise Forbidden(_OPERATORS_ONLY)


class JobCaller:
    """Whoever may ask for agents, in some room at least. Made before the body is read."""

    def __init__(self, parts: Parts, bearer: Bearer) -> None:
        self._parts = parts
        self._bearer = bearer
        self._rule = parts.settings.http.job_auth

    @classmethod
    async def of(cls, request: Request) -> JobCaller:
        """Raises Unauthorized, TooManyRequests."""
        parts = parts_of(request)
        return cls(parts, await _counted(request, needed=parts.settings.http.job_auth != "open", site=False))

    @property
    def is_operator(self) -> bool:
        return _is_operator(self._bearer)

    def may_act_on(self, room: str) -> None:
        """Raises Forbidden unless they may ask for agents in this room."""
        if self._rule == "open" or self.is_operator:
            return
        if self._rule == "operator":
            raise Forbidden(_OPERATORS_ONLY)
        if not isinstance(self._bearer, Grants) or self._bearer.joins != room:
            raise Forbidden("The token is not for this room: send the one that its participant joins with.")

    def may_ask_for(self, agent: str, *, field: str) -> None:
        """Raises Forbidden unless the agent is one that they may ask for."""
        _must_be_listed(self._parts, self._bearer, agent, field)


class TokenCaller:
    """Whoever may have room tokens: an operator for anybody, a visitor of the site for themselves, and with
    open tokens everybody for whom they say."""

    def __init__(self, parts: Parts, bearer: Bearer) -> None:
        self._parts = parts
        self._bearer = bearer

    @classmethod
    async def of(cls, request: Request) -> TokenCaller:
        """Raises Unauthorized, Forbidden, TooManyRequests, LoginUnavailable."""
        parts = parts_of(request)
        is_open = parts.settings.http.open_tokens
        bearer = await _counted(request, needed=not is_open, site=parts.settings.site.used)
        if not (is_open or isinstance(bearer, Visitor) or _is_operator(bearer)):
            raise Forbidden(_OPERATORS_ONLY)
        return cls(parts, bearer)

    @property
    def identity(self) -> str:
        """Who they are, by the site's word; "" for whoever they say."""
        return self._bearer.identity if isinstance(self._bearer, Visitor) else ""

    @property
    def only_room(self) -> str:
        """The one room that the site names; "" for none, or several."""
        rooms = self._bearer.rooms if isinstance(self._bearer, Visitor) else None
        one = rooms[0] if rooms is not None and len(rooms) == 1 else ""
        return "" if any(c in one for c in "*?[") else one

    def may_be(self, identity: str, *, field: str) -> None:
        """Raises Forbidden unless they may join as that."""
        if self.identity and identity != self.identity:
            raise Forbidden(f"{field}: the site's login names somebody else.", field=field)

    def may_name(self, room: str, *, field: str) -> None:
        """Raises Forbidden unless they may have a token for that room by its name."""
        if _is_operator(self._bearer):
            return
        if isinstance(self._bearer, Visitor):
            if not self._bearer.may_have(room):
                raise Forbidden(f"{field}: the site's login does not name this room.", field=field)
        elif not self._parts.settings.http.custom_rooms:
            raise Forbidden(
                f"{field}: rooms may not be named here; leave it out, and a fresh one is made. The operator "
                "can set ROOMKEEPER_CUSTOM_ROOMS.",
                field=field,
            )

    def may_ask_for(self, agent: str, *, field: str) -> None:
        """Raises Forbidden unless the agent is one that they may ask for."""
        _must_be_listed(self._parts, self._bearer, agent, field)


async def may_see(request: Request, session: str) -> None:
    """Raises Unauthorized, Forbidden or TooManyRequests unless somebody asks who may join the session's room,
    or an operator; in `dev` anybody."""
    parts = parts_of(request)
    bearer = await _counted(request, needed=not parts.settings.dev, site=False)
    if parts.settings.dev or _is_operator(bearer):
        return
    if not isinstance(bearer, Grants) or bearer.joins != session:
        raise Forbidden("The token is not for this session: send the one that it was made with.")


async def may_report(request: Request, session: str) -> None:
    """Raises Unauthorized, Forbidden or TooManyRequests unless the session's agent asks, with the token from
    its job's metadata."""
    parts = parts_of(request)
    try:
        reports = verify_report(_token(request), parts.keys, parts.clock())
    except InvalidToken as fault:
        await parts.rates.count_address(_address(request))
        raise Unauthorized(f"The token is not valid: {fault}.") from None
    if reports != session:
        raise Forbidden("The token is for another session.")


def _must_be_listed(parts: Parts, bearer: Bearer, agent: str, field: str) -> None:
    listed = parts.settings.asked_for
    if not _is_operator(bearer) and "*" not in listed and agent not in listed:
        raise Forbidden(
            f"{field}: this agent is not one that may be asked for here. The operator can add it to "
            "ROOMKEEPER_AGENTS.",
            field=field,
        )


def _is_operator(bearer: Bearer) -> bool:
    return isinstance(bearer, Grants) and bearer.is_operator


async def _counted(request: Request, *, needed: bool, site: bool) -> Bearer:
    """Whose token was sent. Whoever shows no operator's is counted, those whose token is not valid, too.

    `needed`: raises Unauthorized when none is valid. `site`: the site's own login counts.
    """
    parts = parts_of(request)
    address = _address(request)
    try:
        token = _token(request)
        if site and issuer_of(token) not in parts.keys:
            await parts.rates.count_address(address)  # before its keys are fetched, or looked through
            bearer: Grants | Visitor = await _visitor(parts, token)
            await parts.rates.count_caller("", bearer.identity)
            return bearer
        bearer = _livekit_bearer(parts, token)
    except Unauthorized:
        await parts.rates.count_address(address)
        if needed:
            raise
        return None
    if not bearer.is_operator:
        await parts.rates.count_address(address)
        await parts.rates.count_caller(bearer.joins, bearer.identity)
    return bearer


def _address(request: Request) -> str:
    """Whom to count: an IPv6 network of 64 bits is one customer's, who has all of its addresses."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _token(request: Request) -> str:
    header = request.headers.get("authorization", "")
    in_query = request.query_params.get("access_token", "")
    if not header and in_query and request.scope["route"].path in TOKEN_IN_QUERY:
        return in_query
    if not header:
        raise Unauthorized("A token is needed: Authorization: Bearer <token>.")
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthorized("The Authorization header must be: Bearer <token>.")
    return header[len(_SCHEME) :].strip()


def _livekit_bearer(parts: Parts, token: str) -> Grants:
    try:
        return verify(token, parts.keys, parts.clock())
    except InvalidToken as fault:
        raise Unauthorized(f"The token is not valid: {fault}.") from None


async def _visitor(parts: Parts, token: str) -> Visitor:
    try:
        return await parts.site.visitor(token)
    except InvalidToken as fault:
        raise Unauthorized(f"The token of the site's login is not valid: {fault}.") from None
