"""The keeper's ports: the outside as it wants to see it.

No call on a port raises for a fault of the outside: LiveKit's faults are the value `Unknown`, the store's
are `StoreUnavailable`. Ports own their time-outs; the keeper never cancels a call on one (a cancelled call
may have had its effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.keeper.model import Ask, Claim, Dispatch, Invitation, Participant, Room, Unknown, Want

Clock = Callable[[], float]
"""Seconds since the epoch; never goes backwards within a process."""


class LiveKit(Protocol):
    """The few calls that the keeper makes. Every one is harmless when late or repeated, except
    `create_dispatch`, whose duplicates the gate refuses."""

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room] | Unknown:
        """Rooms that exist: those of `names`, or all of them with None."""

    async def participants(self, room: str) -> list[Participant] | Unknown:
        """Everybody in the room; [] also for a room that does not exist (fact 19)."""

    async def create_room(self, room: str, *, empty_timeout: float) -> Room | Unknown:
        """Create the room, or return the one that exists (fact 83). `empty_timeout` in seconds."""

    async def create_dispatch(
        self, room: str, agent: str, *, metadata: str, attributes: Mapping[str, str]
    ) -> Dispatch | Unknown:
        """Ask LiveKit to ask a worker. Says nothing about a worker's answer (fact 1); creates the room
        when it does not exist (fact 8). Restart policy `JRP_NEVER` (fact 10)."""

    async def delete_dispatch(self, room: str, dispatch_id: str) -> bool | Unknown:
        """True: deleted; False: there was none."""

    async def dispatches(self, room: str) -> list[Dispatch] | Unknown:
        """The room's dispatches. 503 after 3 s for a room on no node: `Unknown` (fact 19)."""

    async def remove_participant(self, room: str, identity: str) -> bool | Unknown:
        """True: removed; False: there was none."""

    async def send_status(self, room: str, payload: bytes) -> None:
        """A data message to everybody in the room (topic `roomkeeper.status`). Best effort."""


class StoreUnavailable(Exception):  # noqa: N818  (a state of the outside, not a mistake)
    """The store did not answer, or refused. What was asked may or may not have been written."""


class Store(Protocol):
    """Wants, claims and invitations. Each call is one atomic, durable step: what it returned survives a kill.

    Raises `StoreUnavailable`.
    """

    async def ask(self, ask: Ask, *, fresh: Want) -> tuple[Want, bool]:
        """Renew the living want of (room, agent), or store `fresh`.

        Returns the want and whether it was there already. A living want gets `fresh.asked_at`, and
        `fresh.metadata` when that is not empty; its id and state stay.
        """

    async def want(self, want_id: str) -> Want | None: ...

    async def wants(self, room: str) -> list[Want]:
        """The room's wants: the living one of each agent name, and the last ended one where none lives."""

    async def living(self) -> list[Want]:
        """All living wants, oldest first."""

    async def recent(self, limit: int = 1000) -> list[Want]:
        """Living wants and lately ended ones, newest first."""

    async def update(self, want: Want, *, was: Want) -> bool:
        """Replace `was` by `want`. False, and nothing written, when the stored one is no longer `was`.

        `asked_at` and `metadata` are left out of the comparison, and keep the later ask's values: an ask
        may renew them at any time. Only an end must know of it: with a later ask nothing is ended, and
        False returned.
        """

    async def claim(self, claim: Claim) -> Claim | None:
        """Insert the claim if nobody holds (room, agent) and its want is alive, of that generation and SID.

        A want that is not pinned yet gets pinned to the claim's SID. Returns the claim that holds now, or
        None when the want forbids it.
        """

    async def claims(self, room: str) -> list[Claim]: ...

    async def all_claims(self) -> list[Claim]: ...

    async def claim_of(self, job_id: str) -> Claim | None: ...

    async def advance(self, claim: Claim) -> bool:
        """Overwrite the claim of `claim.job_id` (stage, identity, pid, ...). False when it is gone."""

    async def release(self, job_id: str) -> Claim | None:
        """Remove the claim of a job; returns it, or None when it was gone."""

    async def invite(self, invitation: Invitation) -> None: ...

    async def invitations(self, room: str | None = None) -> list[Invitation]:
        """Invitations that have not expired: the room's, or all."""

    async def forget_ended(self, before: float) -> int:
        """Remove wants that ended before that time, and expired invitations. Returns how many."""
