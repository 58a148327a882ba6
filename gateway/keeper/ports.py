"""The keeper's ports: the outside as it wants to see it.

No call on a port raises for a fault of the outside: LiveKit's faults are the value `Unknown`, the store's
are `StoreUnavailable`. Ports own their time-outs; the keeper never cancels a call on one (a cancelled call
may have had its effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.keeper.model import (
    Ask,
    Claim,
    Dispatch,
    Invitation,
    Participant,
    Pulse,
    Replica,
    Room,
    Unknown,
    Want,
)
from gateway.keeper.notes import Note

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

    async def answers(self, room: str, identity: str) -> bool | Unknown:
        """Whether the participant's process lives: asked something that needs no cooperation of it
        (`PerformRpc` of a method that nobody has). False: it left two questions open, the
        later one for 2 s, or is not there."""

    async def send_status(self, room: str, payload: bytes) -> None:
        """A data message to everybody in the room (topic `roomkeeper.status`). Best effort."""


class StoreUnavailable(Exception):  # noqa: N818  (a state of the outside, not a mistake)
    """The store did not answer, or refused. What was asked may or may not have been written."""


class RowUnreadable(StoreUnavailable):
    """What is stored there was written by another version of this program: nothing is done about its room."""


class LeaseLost(Exception):  # noqa: N818
    """Another replica leads: what was to be written rests on what was seen before. Nothing was written."""


class Store(Protocol):
    """Wants, claims, invitations, and the replicas that share them. Each call is one atomic step, and durable
    as far as the store is: what it returned survives a kill of this process.

    - Raises `StoreUnavailable`.
    - Whoever writes what follows from an observation gives the `epoch` under which it leads. With an epoch
      that is not the leader's any more nothing is written: `LeaseLost` (the fence).
    - Whoever writes without an epoch (an ask, a stop, what a job told) also puts the room into the leader's
      inbox, in the same step: a kill in between cannot part the two. Unless this replica (the one that
      beats on this store) leads itself: it knows.
    - When the store may have lost what it had (wiped, restarted, failed over), a new generation begins. Until
      this replica has beaten under it, its other steps are `StoreUnavailable`: what they read or write would
      rest on what is no more. Then it is not settled for one heartbeat lapse (`Pulse.settled`), in which
      replicas put back (`restore`) what they know.
    - Times are the store's clock: replicas whose clocks differ agree on what came first.
    """

    def clock(self) -> float:
        """The store's clock: seconds since the epoch; never goes backwards within a process."""

    # ---- wants

    async def ask(self, ask: Ask, *, fresh: Want, epoch: int | None = None) -> tuple[Want, bool]:
        """Renew the living want of (room, agent), or store `fresh`.

        Returns the want and whether it was there already. A living want gets `fresh.asked_at`, and
        `fresh.metadata` when that is not empty; its id and state stay. `StoreUnavailable` while the store is
        not settled and no want lives: one may be about to be put back.
        """

    async def want(self, want_id: str) -> Want | None: ...

    async def wants(self, room: str) -> list[Want]:
        """The room's wants: the living one of each agent name, and the last ended one where none lives."""

    async def living(self) -> list[Want]:
        """All living wants, oldest first."""

    async def recent(self, limit: int = 1000) -> list[Want]:
        """Living wants and lately ended ones, newest first."""

    async def update(self, want: Want, *, was: Want, epoch: int | None = None) -> bool:
        """Replace `was` by `want`. False, and nothing written, when the stored one is no longer `was`.

        `asked_at` and `metadata` are left out of the comparison, and keep the later ask's values: an ask
        may renew them at any time. Only an end must know of it: with a later ask nothing is ended, and
        False returned.
        """

    async def place(self, want: Want) -> int | None:
        """Place in the waiting line of its agent's name, 1 is next: among the wants that are `waiting`, by
        the time since when they lack an agent. None when it does not wait."""

    async def forget_ended(self, before: float) -> int:
        """Remove wants that ended before that time, and expired invitations. Returns how many."""

    # ---- claims

    async def claim(self, claim: Claim) -> Claim | None:
        """Insert the claim if nobody holds (room, agent) and its want is alive, of that generation and SID.

        A want that is not pinned yet gets pinned to the claim's SID. Returns the claim that holds now, or
        None when the want forbids it. `StoreUnavailable` while the store is not settled.
        """

    async def claims(self, room: str) -> list[Claim]: ...

    async def all_claims(self) -> list[Claim]: ...

    async def claim_of(self, job_id: str) -> Claim | None: ...

    async def advance(self, claim: Claim, *, was: Claim, epoch: int | None = None) -> bool:
        """Replace `was` by `claim`. False, and nothing written, when the stored one is no longer `was`.

        One that retires from now on (`Claim.retires_since`) holds its room no longer: another may be granted,
        and both are among the room's claims.
        """

    async def release(self, job_id: str, *, epoch: int | None = None) -> Claim | None:
        """Remove the claim of a job; returns it, or None when it was gone."""

    # ---- invitations

    async def invite(self, invitation: Invitation) -> None:
        """Store an invitation; the leader hears of it (`Guests`) in the same step."""

    async def invitations(self, room: str | None = None) -> list[Invitation]:
        """Invitations that have not expired: the room's, or all."""

    # ---- replicas

    async def beat(self, me: Replica, *, lead: bool) -> Pulse:
        """A heartbeat: says that this replica lives and what it can take, and learns of the others.

        With `lead` it becomes the leader when there is none, or renews its lease; without, it gives the lead
        up if it has it. The lease lapses `LEASE` seconds after the last renewal. When the capacity differs
        from the last beat's, the leader hears of it (`Here`) in the same step.
        """

    async def retire(self, replica_id: str) -> None:
        """The replica is about to end: it gives up the lead and is not listed any more. Claims stay."""

    async def restore(self, wants: Sequence[Want], claims: Sequence[Claim]) -> None:
        """Put back what the store lost: a want when its id is unknown, a claim when nobody holds its room and
        agent. What is there stays, but for these; in whichever order they are told, the outcome is the same:

        - A want that has ended stays ended, whoever says so, unless somebody asked for it after the last ask
          that the teller knows.
        - Of two wants of a room and agent the one that was made later lives: it came after the end of the
          other, which was lost. And none lives that nobody asked for after the end of another one.
        - Of two copies of a living want the one of the later generation, then `since`, counts; and the later
          ask, with its metadata.
        - Of two claims for a room and agent the one with the later `since` holds, as a failover brings
          released ones back; of two copies of one claim the one that is told, by the job's own replica.
        """

    async def send(self, to: str, notes: Sequence[Note]) -> None:
        """Put notes into a replica's inbox; `LEADER`: whoever leads now. Notes to nobody are lost."""

    async def receive(self, replica_id: str) -> list[Note]:
        """Take the notes out of this replica's inbox, oldest first; waits about a second for the first one,
        then returns []."""


LEADER = ""
"""As the addressee of notes: the leader, whoever it is."""
LEASE = 3.0
"""Seconds on the store's clock after which a replica without a heartbeat counts as lapsed, and its lead is
free."""
