"""What becomes of a job, as server-sent events: its state now, and each change of it, until it has ended.

The event's name is the state, its data what `GET /api/livekit/job/{id}` answers as `result`. Its id stands
for all that it tells: whoever comes back with it as `Last-Event-ID` hears of what has changed since, and gets
a 204 when the job has ended as they know, at which a browser's EventSource gives up.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack

import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.http.jobs import job_asked_for, result_of
from gateway.http.parts import Parts, parts_of
from gateway.keeper.model import Job

PING = 15.0
"""Seconds between two comments that keep proxies from closing a connection in which nothing happens."""
SEND_WITHIN = 20.0
"""Seconds; whoever does not read is cut off."""
RETRY_MS = 2000
"""After which a browser comes back."""


async def get_events(request: Request) -> Response:
    parts, job = parts_of(request), await job_asked_for(request)
    known = request.headers.get("last-event-id", "")
    if job.want.state.ended and known == event_of(job).id:
        return Response(status_code=204)
    with ExitStack() as place:
        place.enter_context(parts.listeners.one(job.want.room))  # a stream that has begun is not refused
        return _Stream(_events(parts, job, known), place.pop_all())


class _Stream(EventSourceResponse):
    """Gives its place back when it is over."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], place: ExitStack) -> None:
        super().__init__(events, ping=PING, send_timeout=SEND_WITHIN)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def _events(parts: Parts, job: Job, known: str) -> AsyncIterator[ServerSentEvent]:
    async for now in parts.keeper.follow(job.want.id):
        event = event_of(now)
        if event.id != known:
            known = ""
            yield event


def event_of(job: Job) -> ServerSentEvent:
    data = msgspec.json.encode(result_of(job))
    return ServerSentEvent(
        data.decode(),
        event=job.want.state.value,
        id=hashlib.blake2s(data, digest_size=8).hexdigest(),
        retry=RETRY_MS,
    )
