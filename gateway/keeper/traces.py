"""To which trace a want belongs, as text (W3C Trace Context). Makes no span, and knows no OpenTelemetry.

A want's `traceparent` names the span that began it: a request's, or none (`ROOT`) in a trace of its own. The
want's own spans have ids that follow from it: each replica knows them, whichever tells them in the end.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from gateway.keeper.model import Claim, Want

ATTRIBUTE = "traceparent"
"""Of a job, and of what calls for it: as the HTTP header."""
ROOT = "0" * 16
"""In place of the id of a span that nobody has."""
LONGEST = 512


_GIVEN = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse(text: str) -> str:
    """The traceparent that somebody sent, as version 00; "" when it is none. A later version may have more
    (W3C Trace Context, 3.2.4 and 4.3)."""
    found = _GIVEN.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if found is None or not int(found[2], 16) or not int(found[3], 16) or (found[1] == "00" and found[5]):
        return ""
    return f"00-{found[2]}-{found[3]}-{found[4]}"


def traceparent(trace_id: str, span_id: str = ROOT, *, sampled: bool = True) -> str:
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def new_trace_id() -> str:
    return secrets.token_hex(16)


def new_span_id() -> str:
    return secrets.token_hex(8)


def trace_id(text: str) -> str:
    """Of a traceparent; "" for none."""
    return text[3:35]


def parent_id(text: str) -> str:
    """The span that a traceparent names; "" for none."""
    span_id = text[36:52]
    return "" if span_id == ROOT else span_id


def sampled(text: str) -> bool:
    """Whether spans are wanted. The flags are two hexadecimal digits (W3C Trace Context, 3.2.2.5)."""
    return bool(text) and bool(int(text[53:55], 16) & 1)


def span_id(want: Want) -> str:
    """Of the want's span for the time in which it lacks its agent."""
    return hashlib.sha256(f"{want.id} {want.lacking_since!r}".encode()).hexdigest()[:16]


def carried(want: Want) -> dict[str, str]:
    """What a call for an agent carries, so that the job belongs to the trace; nothing without one."""
    if not want.traceparent:
        return {}
    wanted = sampled(want.traceparent)
    return {ATTRIBUTE: traceparent(trace_id(want.traceparent), span_id(want), sampled=wanted)}


def about(what: Want | Claim) -> dict[str, str]:
    """The fields of a log line about a want, or about a claim whose want is not known."""
    if isinstance(what, Claim):
        return {"room": what.room, "agent": what.agent, "job": what.want_id}
    return {"room": what.room, "agent": what.agent, "job": what.id} | traced(what.traceparent)


def traced(text: str) -> dict[str, str]:
    """The field of a log line that names a traceparent's trace; none without one."""
    return {"trace_id": trace_id(text)} if text else {}
