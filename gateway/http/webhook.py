"""LiveKit's webhooks: verify, hint the keeper, answer. A plain ASGI callable: it is the busiest route.

- 200 as soon as the room's key is queued; nothing is written and nothing waited for (I6).
- A repeated event id is answered and forgotten (fact 24: LiveKit repeats until it hears a 2xx or a 4xx).
- A 4xx counts as delivered (fact 24), so only what can never be right gets one: an unsigned or wrongly signed
  body, one that is no event, one that is too big. The next resync sees whatever was lost with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from gateway.http.heard import Heard
from gateway.http.problems import problem
from gateway.keeper.notes import Hint
from gateway.livekit.values import ON_BEHALF
from gateway.livekit.webhooks import Event, Rejected, SeenIds, event_of, signed_digest

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A room's and a participant's metadata, 512 KiB each (fact 17), escaped."""

TELL_EVERY = 10.0
"""Seconds between two log lines about refusals of one kind."""

_NO_PERSON = frozenset({"AGENT", "EGRESS"})
_STATUS = {"malformed": 400}  # whatever else was refused was not signed as it must be

_OK_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_OK_BODY = {"type": "http.response.body", "body": b""}


class Webhook:
    def __init__(
        self,
        *,
        keys: Mapping[str, str],
        hint: Callable[[Hint], bool],
        counter: Counter,
        clock: Callable[[], float],
        heard: Heard,
    ) -> None:
        self._keys = keys
        self._hint = hint
        self._counter = counter
        self._clock = clock
        self._heard = heard
        self._seen = SeenIds()
        self._told: dict[str, tuple[float, int]] = {}
        """When a refusal of each kind was last logged, and how many were not since."""
        self._counts: dict[tuple[str, str], Counter] = {}  # looking a label up costs as much as the hash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            refusal = problem(405, "LiveKit posts its webhooks here.", headers={"allow": "POST"})
            return await refusal(scope, receive, send)
        try:
            authorization, length = _told(scope)
            digest = signed_digest(authorization, self._keys, self._clock())
            body = None if length > MAX_BODY_BYTES else await _read(receive)  # a stranger's is not even read
            if body is None:
                self._count("unknown", "too_large")
                refusal = problem(413, f"A webhook has at most {MAX_BODY_BYTES} bytes.")
                return await refusal(scope, receive, send)
            event = event_of(body, digest)
        except Rejected as rejected:
            self._count("unknown", rejected.verdict)
            self._heard.note_refusal(rejected.verdict, str(rejected))
            self._tell(rejected)
            refusal = problem(_STATUS.get(rejected.verdict, 401), f"Refused: {rejected}.")
            return await refusal(scope, receive, send)
        self._take(event)
        await send(_OK_START)
        return await send(_OK_BODY)

    def _tell(self, rejected: Rejected) -> None:
        """Log the first refusal of each kind, and then one in a while with how many came: whoever knocks
        a thousand times a second must not fill the disk."""
        told_at, untold = self._told.get(rejected.verdict, (-math.inf, 0))
        now = self._clock()
        if now - told_at < TELL_EVERY:
            self._told[rejected.verdict] = (told_at, untold + 1)
            return
        self._told[rejected.verdict] = (now, 0)
        log.warning("webhook_refused", verdict=rejected.verdict, why=str(rejected), untold=untold or None)

    def _take(self, event: Event) -> None:
        if self._seen.repeated(event.id, self._clock()):
            return self._count(event.event, "repeated")
        if not event.about.name:
            return self._count(event.event, "no_room")  # egress and ingress events carry no room
        self._heard.note(event.about.name)
        queued = self._hint(_hint_of(event))
        return self._count(event.event, "queued" if queued else "unwanted")

    def _count(self, event: str, verdict: str) -> None:
        count = self._counts.get((event, verdict))
        if count is None:
            count = self._counts[event, verdict] = self._counter.labels(event, verdict)
        count.inc()


def _hint_of(event: Event) -> Hint:
    room = event.about
    if event.job is not None:
        state = event.job.state
        reason = state.reason or state.status
        return Hint(
            event=event.event,
            room=room.name,
            sid=room.sid,
            identity=state.participant_identity,
            reason=reason,
        )
    who = event.participant
    return Hint(
        event=event.event,
        room=room.name,
        sid=room.sid,
        identity=who.identity if who else "",
        person=who is not None and who.kind not in _NO_PERSON and ON_BEHALF not in who.attributes,
        reason=who.disconnect_reason if who else "",
    )


def _told(scope: Scope) -> tuple[str | None, int]:
    """The token, and how long the body is said to be; 0 when it is not said."""
    authorization, length = None, 0
    for name, value in scope["headers"]:
        if name == b"authorization" and authorization is None:
            authorization = str(value, "latin-1")
        elif name == b"content-length" and value.isdigit():
            length = int(value)
    return authorization, length


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too big."""
    message = await receive()
    if not message.get("more_body"):  # one chunk, as nearly always
        body: bytes = message.get("body", b"")
        return body if len(body) <= MAX_BODY_BYTES else None
    parts = bytearray(message.get("body", b""))
    while message.get("more_body"):
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > MAX_BODY_BYTES:
            return None
    return bytes(parts)
