"""The keeper's front: what HTTP, webhooks and the pool say to it. Decides nothing by itself.

Every method is a few lines: write what must be durable, put the room's key into the queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.keeper.model import Ask, Claim, Invitation, Job, Participant, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What a webhook says happened. Only ever makes the keeper look (I6)."""

    event: str
    room: str
    sid: str = ""
    identity: str = ""
    person: bool = False
    """The participant of the event is a person, not an agent."""
    reason: str = ""
    """LiveKit's DisconnectReason of a participant_left, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomReport:
    """One room as an operator sees it."""

    room: str
    sid: str
    wants: list[Job]
    claims: list[Claim]
    participants: list[Participant]
    """As last seen; empty when the room was not looked at yet."""
    seen_at: float
    """When it was last looked at; 0 for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One readiness check."""

    name: str
    ok: bool
    why: str = ""


class Keeper:
    async def start_agent(self, ask: Ask) -> Job:
        """Durably want an agent in the room; idempotent while the want lives.

        Raises StoreUnavailable: nothing was promised.
        """
        raise NotImplementedError

    async def stop_agent(self, room: str, agent: str) -> Job | None:
        """End the living want, and its agent. None when there was none."""
        raise NotImplementedError

    async def restart_agent(self, ask: Ask) -> Job:
        """Another agent in place of the present one; the same as `start_agent` when there is none."""
        raise NotImplementedError

    async def job(self, job_id: str) -> Job | None:
        raise NotImplementedError

    async def wait(self, job_id: str, timeout: float) -> Job | None:
        """The job once it is joined or has ended, else as it is after `timeout` seconds."""
        raise NotImplementedError

    async def invite(self, invitation: Invitation) -> None:
        raise NotImplementedError

    def hint(self, hint: Hint) -> bool:
        """A webhook came. Never blocks, never fails. True when a room was put into the queue."""
        raise NotImplementedError

    async def rooms(self) -> list[RoomReport]:
        raise NotImplementedError

    async def room(self, room: str) -> RoomReport | None:
        raise NotImplementedError

    async def wants(self) -> list[Want]:
        raise NotImplementedError

    def health(self) -> list[Health]:
        """The keeper's own checks: store, heartbeat."""
        raise NotImplementedError
