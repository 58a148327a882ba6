"""A gateway's HTTP API as an operator's program uses it. Every fault is a `DoorFault` in words.

Each call has a connection of its own: behind a load balancer they reach one replica after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from gateway.errors import RoomkeeperError, SettingsError
from gateway.http import shapes
from gateway.livekit import tokens
from gateway.settings import LiveKitSettings, Settings
from gateway.variables import http_url

CALL_TIMEOUT = 5.0
"""Seconds for one answer."""
TOKEN_TTL = 60.0
IDENTITY = "roomkeeper-operator"

T = TypeVar("T")


class DoorFault(RoomkeeperError):  # noqa: N818  (what came of a call)
    """No answer that can be used. `status`: of the HTTP answer, 0 when there was none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def url_of(settings: Settings, given: str) -> str:
    """`--url`, else where these settings have the gateway listen. Raises SettingsError."""
    if not given:
        return settings.http.here
    try:
        return http_url(given)
    except ValueError as fault:
        raise SettingsError([f"--url: {fault}"]) from None


class Gateway:
    """Use as `async with Gateway(...) as gateway`. Every call raises DoorFault."""

    def __init__(self, url: str, livekit: LiveKitSettings, *, timeout: float = CALL_TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self._livekit = livekit
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(self._timeout)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.close()

    async def ready(self) -> shapes.ProbeAnswer:
        """What `/readyz` says, ready or not."""
        return await self._get("/readyz", shapes.ProbeAnswer, fine=(200, 503), token=False)

    async def replicas(self) -> shapes.ReplicasAnswer:
        return await self._get("/api/livekit/replicas", shapes.ReplicasAnswer)

    async def heard(self, room: str) -> shapes.HeardAnswer:
        return await self._get(f"/api/livekit/heard/{quote(room, safe='')}", shapes.HeardAnswer)

    async def rooms(self) -> shapes.RoomsAnswer:
        return await self._get("/api/livekit/rooms", shapes.RoomsAnswer)

    async def room(self, room: str) -> shapes.RoomAnswer:
        return await self._get(f"/api/livekit/rooms/{quote(room, safe='')}", shapes.RoomAnswer)

    async def order(self, kind: str, room: str, agent: str = "") -> shapes.RequestedJob:
        """`start_agent` or `stop_agent`; `agent` "" for the gateway's default."""
        body = {"jobType": kind, "roomName": room, "payload": {"agentName": agent} if agent else {}}
        answer = await self._call("POST", "/api/livekit/job", json=body)
        return _decoded(answer, shapes.JobAnswer, self.url).result

    async def _get(
        self, path: str, shape: type[T], *, fine: tuple[int, ...] = (200,), token: bool = True
    ) -> T:
        return _decoded(await self._call("GET", path, fine=fine, token=token), shape, self.url)

    async def _call(
        self, method: str, path: str, *, fine: tuple[int, ...] = (200,), token: bool = True, json: Any = None
    ) -> bytes:
        headers = self._signed() if token else {}
        try:
            request = self._http.request(
                method, self.url + path, headers=headers, json=json, allow_redirects=False
            )
            async with request as answer:
                body = await answer.read()
                if answer.status not in fine:
                    raise _refusal(answer.status, body, self.url)
                return body
        except (aiohttp.ClientError, OSError) as fault:  # a TimeoutError is an OSError
            raise _unreachable(self.url, fault) from fault

    def _signed(self) -> Mapping[str, str]:
        livekit = self._livekit
        token = tokens.mint_operator(livekit.api_key, livekit.api_secret, identity=IDENTITY, ttl=TOKEN_TTL)
        return {"authorization": f"Bearer {token}"}


def _decoded(body: bytes, shape: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError:
        pass
    try:  # a starting gateway's, where another shape was looked for
        problem = msgspec.json.decode(body, type=shapes.Problem)
    except msgspec.DecodeError:
        raise DoorFault(f"what answers at {url} is not Roomkeeper, or another version of it") from None
    raise _problem(problem, url)


def _refusal(status: int, body: bytes, url: str) -> DoorFault:
    try:
        return _problem(msgspec.json.decode(body, type=shapes.Problem), url)
    except msgspec.DecodeError:
        return DoorFault(f"what answers at {url} is not Roomkeeper (HTTP {status})")


def _problem(problem: shapes.Problem, url: str) -> DoorFault:
    return DoorFault(
        f"the gateway at {url} answered {problem.status}: {problem.detail}", status=problem.status
    )


def _unreachable(url: str, fault: BaseException) -> DoorFault:
    if isinstance(fault, asyncio.TimeoutError):
        return DoorFault(f"the gateway at {url} did not answer in time")
    if isinstance(fault, aiohttp.ClientConnectorError):
        return DoorFault(f"nothing answers at {url}: {fault.os_error.strerror or fault.os_error}")
    return DoorFault(f"what answers at {url} is not Roomkeeper: {str(fault) or type(fault).__name__}")
