"""What replicas tell each other through the store's inboxes. Hints and commands that may be lost, doubled or
late without harm: whatever matters is a row in the store, and is looked at again.
"""

from __future__ import annotations

import msgspec

from gateway.keeper.model import Replica


class Hint(msgspec.Struct, frozen=True, kw_only=True, tag="hint"):
    """What a webhook says happened. Only ever makes the keeper look (I6)."""

    event: str
    room: str
    sid: str = ""
    identity: str = ""
    person: bool = False
    """The participant of the event is a person, not an agent."""
    reason: str = ""
    """LiveKit's DisconnectReason of a participant_left, by name."""


class Look(msgspec.Struct, frozen=True, tag="look"):
    """To the leader: something about the room has changed."""

    room: str


class Guests(msgspec.Struct, frozen=True, tag="guests"):
    """To the leader: until then, a person's join may start a want in the room."""

    room: str
    until: float


class Here(msgspec.Struct, frozen=True, tag="here"):
    """To the leader: a replica's capacity has changed."""

    replica: Replica


class End(msgspec.Struct, frozen=True, tag="end"):
    """To the replica that has the job: end it."""

    job_id: str
    kill: bool = False


Note = Hint | Look | Guests | Here | End
