"""Probes and metrics: whether the process lives, whether it can do its work, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import anyio
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.http import shapes
from gateway.http.answers import answer
from gateway.http.parts import Parts, parts_of
from gateway.keeper.reports import Health
from pool.ports import Capacity

VERSION = version("roomkeeper")


async def livez(request: Request) -> Response:
    """The event loop turns. No more: a LiveKit that is down is no reason to restart this process."""
    return PlainTextResponse("ok")


async def readyz(request: Request) -> Response:
    """Whether work can be sent here; each check by its name, with what to do about it."""
    checks = await _checks(parts_of(request))
    ready = all(check.ok for check in checks)
    return answer(_summary("ready" if ready else "not ready", checks), 200 if ready else 503)


async def healthz(request: Request) -> Response:
    """The same checks for people and dashboards: always 200."""
    checks = await _checks(parts_of(request))
    return answer(_summary("ok" if all(check.ok for check in checks) else "degraded", checks))


async def metrics(request: Request) -> Response:
    return Response(generate_latest(parts_of(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _summary(status: str, checks: list[Health]) -> shapes.ProbeAnswer:
    told = {check.name: shapes.Check(ok=check.ok, why=check.why) for check in checks}
    return shapes.ProbeAnswer(status=status, version=VERSION, checks=told)


async def _checks(parts: Parts) -> list[Health]:
    capacity = parts.workers.capacity()
    draining = parts.draining() or capacity.draining
    checks = [
        *parts.keeper.reports.health(),
        await parts.probe_livekit(),
        Health(name="draining", ok=not draining, why="this process was told to end" if draining else ""),
    ]
    return checks if parts.settings.role == "gateway" else [*checks, *_workers_checks(capacity)]


def _workers_checks(capacity: Capacity) -> list[Health]:
    warm = capacity.warm + capacity.running > 0
    return [
        Health(
            name="worker",
            ok=capacity.registered,
            why="" if capacity.registered else "the worker is not registered with LiveKit (yet)",
        ),
        Health(name="warm", ok=warm, why="" if warm else "no process is ready for a job (yet)"),
    ]


class Recent:
    """One answer of a check, shared by everybody who asks within `keep` seconds. Probes come often."""

    def __init__(self, check: Callable[[], Awaitable[Health]], *, keep: float = 1.0) -> None:
        self._check = check
        self._keep = keep
        self._lock = anyio.Lock()
        self._at = -keep
        self._last: Health | None = None

    async def __call__(self) -> Health:
        async with self._lock:
            if self._last is None or time.monotonic() - self._at >= self._keep:
                self._last = await self._check()
                self._at = time.monotonic()
            return self._last
