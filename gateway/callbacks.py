"""Tells the operator's own server of agents that could not be brought, or that crash again and again: signed
as Standard Webhooks says, and tried again until it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import anyio
import msgspec
import structlog
from standardwebhooks import Webhook

from gateway.keeper.model import State, Want
from gateway.metrics import Metrics
from gateway.settings import CallbackSettings

log = structlog.get_logger(__name__)

GAVE_UP, CRASH_LOOP = "agent.gave_up", "agent.crash_loop"
CRASHES = 5
"""Failures in a row that are a crash loop; told once for each."""
PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds before each further try."""
ANSWER_WITHIN = 10.0
AT_ONCE = 4
MOST_WAITING = 1000
"""Untold events, those that wait for a further try too; what comes on top is dropped, and logged."""
GONE = 410
"""Standard Webhooks: whoever answers so wants to hear of nothing."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    """The same at each try."""
    body: bytes


class Callbacks:
    def __init__(self, settings: CallbackSettings, metrics: Metrics) -> None:
        self._url = settings.url
        self._metrics = metrics
        self._signer = Webhook(settings.secret) if settings.url else None
        self._send, self._receive = anyio.create_memory_object_stream[Event](MOST_WAITING)
        self._places = anyio.CapacityLimiter(AT_ONCE)
        self._untold = 0

    def heard(self, want: Want, was: Want) -> None:
        """A want was changed here. Never blocks, never fails."""
        looping = _crashes(was) < CRASHES <= _crashes(want) and not want.state.ended
        gave_up = want.state is State.GAVE_UP is not was.state
        if self._signer is None or not (looping or gave_up):
            return None
        event = _event(CRASH_LOOP if looping else GAVE_UP, want)
        self._untold += 1
        if self._untold > MOST_WAITING:
            return self._done("dropped", event)
        return self._send.send_nowait(event)

    async def run(self) -> None:
        """Tell what there is to tell, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
        async with aiohttp.ClientSession(timeout=timeout) as http, anyio.create_task_group() as tasks:
            async for event in self._receive:
                tasks.start_soon(self._tell, http, event, name=f"callback-{event.id}")

    async def _tell(self, http: aiohttp.ClientSession, event: Event) -> None:
        """Whoever waits for a further try takes no place from those that can be told."""
        for pause in (*PAUSES, None):
            async with self._places:
                status = await self._post(http, event)
            if 200 <= status < 300:
                return self._done("taken", event)
            if status == GONE or pause is None:
                return self._done("refused" if status else "unreachable", event, status=status)
            await anyio.sleep(pause)
        return None

    async def _post(self, http: aiohttp.ClientSession, event: Event) -> int:
        """The status of the answer; 0 for none."""
        assert self._signer is not None
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(event.id, now, event.body.decode()),
        }
        try:
            async with http.post(
                self._url, data=event.body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0

    def _done(self, outcome: str, event: Event, **more: Any) -> None:
        self._untold -= 1
        self._metrics.callbacks.labels(outcome).inc()
        if outcome != "taken":
            log.error("callback_not_taken", outcome=outcome, event_id=event.id, **more)


def _crashes(want: Want) -> int:
    """In a row. Dispatches that nobody took are no crashes."""
    return want.failures - want.lost


def _event(kind: str, want: Want) -> Event:
    body = {
        "type": kind,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "data": {
            "jobId": want.id,
            "roomName": want.room,
            "agentName": want.agent,
            "state": want.state.value,
            "reason": want.reason,
            "failures": want.failures,
        },
    }
    # The same want may be told of by two replicas, or loop again after a restart: who reads it can tell.
    event_id = f"{kind}:{want.id}:{want.generation}:{int(want.since * 1000)}"
    return Event(event_id, msgspec.json.encode(body))
