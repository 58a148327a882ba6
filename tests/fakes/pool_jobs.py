"""What the fake pool is made of: jobs, how long their stages take, what can stand still. Holds state; the
rules are in `tests.fakes.pool_life`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from pool.ports import Offer
from tests.fakes.livekit_parts import Connection, Link


class Frozen(Enum):
    """How much of a replica stands still (SIGSTOP)."""

    NOTHING = "nothing"
    GATEWAY = "gateway"
    """The gateway's own process; its job processes talk on."""
    WHOLE = "whole"
    """The gateway and all its job processes, as on a paused machine."""


@dataclass(eq=False, kw_only=True)
class FakeJob:
    offer: Offer
    identity: str = ""
    launched: bool = False
    cancelled: bool = False
    """It was told to end."""
    exited: bool = False
    frozen: bool = False
    """Its process stands still."""
    pauses: int = 0
    """How often it stood still."""
    pauses_before: int = 0
    """How often it had stood still when the gate confirmed its claim."""
    stubborn: bool = False
    """Its entrypoint swallows every request to end (fact 9): only a kill ends it."""
    connection: Connection | None = None
    linked: str = ""
    """The person that its session listens to."""
    open: bool = False
    """Its session was opened."""
    away: bool = False
    """It said that it has lost LiveKit, and not yet that it is back."""
    deaf: bool = False
    """Its session is closed (fact 82)."""
    held: list[Callable[[], None]] = field(default_factory=list)
    """What its process does as soon as it goes on."""

    @property
    def working(self) -> bool:
        """In its room, and listening. One that stands still does not know that it is not."""
        in_room = self.connection is not None and self.connection.link is Link.UP
        return in_room and self.open and not self.deaf and not self.exited


@dataclass(kw_only=True)
class Timing:
    """Seconds between the stages of a job."""

    answer: float = 0.0
    """How long the user's on_request takes, once the gate has granted the job."""
    launch: float = 0.005
    connect: float = 0.08
    open: float = 0.01
    exit: float = 0.1
    """From leaving the room to the end of the process: saving transcripts may take minutes."""
    warm: float = 0.1
    """Until a freed slot has a warm process again."""
