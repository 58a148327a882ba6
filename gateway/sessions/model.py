"""A session: a room of its own for one visitor, with what its agent reports of it. Plain values."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said."""

    role: str
    """`user`, `assistant`, or as the agent calls it."""
    text: str
    id: str = ""
    """Of whoever reports: a line that is reported again counts once."""
    at: float = 0.0
    """Seconds since the epoch; 0 when it is not told."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Its room's name, too."""
    agent: str
    identity: str
    """Of the visitor it was made for."""
    language: str = ""
    metadata: str = ""
    """Of the agent's job: whoever asks for the agent again brings it with this."""
    created_at: float
    keep_until: float
    ended_at: float = 0.0
    """When somebody ended it; 0: nobody did."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent has reported."""

    transcript: list[Line] = []
    questionnaire: msgspec.Raw = msgspec.Raw(b"null")
    """JSON, as the agent sent it."""
    at: float = 0.0
    """When it last reported; 0: never."""
