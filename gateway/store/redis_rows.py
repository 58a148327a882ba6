"""Wants as Redis has them: a body of opaque bytes, and beside it what a script has to read or change.

An ask changes the time and the metadata, a claim the SID: these three are fields of their own, and empty in
the body. So no script ever writes a number that it had to understand first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.keeper.model import Claim, Invitation, Pulse, Replica, Want
from gateway.store.redis_link import Value
from gateway.store.rows import legible, read_replica, read_want, waiting_since, write

Row = Sequence[bytes]
"""body, asked_at, SID, metadata, alive: as the scripts return it."""


def body_of(want: Want) -> bytes:
    return write(replace(want, asked_at=0.0, sid="", metadata=""))


def args_of(want: Want) -> tuple[Value, ...]:
    """A want as the scripts take it (`want_at`)."""
    waiting = waiting_since(want)
    return (
        want.id,
        want.room,
        want.agent,
        "" if want.state.ended else "1",
        want.generation,
        repr(want.created_at),
        repr(want.since),
        "" if waiting is None else repr(waiting),
        repr(want.asked_at),
        want.sid,
        want.metadata,
        body_of(want),
    )


def want_of(row: Row) -> Want:
    body, asked_at, sid, metadata, _ = row
    return replace(read_want(body), asked_at=float(asked_at), sid=sid.decode(), metadata=metadata.decode())


def restored_args(claim: Claim) -> tuple[Value, ...]:
    return (claim.job_id, claim.room, claim.seat, repr(claim.since), write(claim))


def claim_args(claim: Claim) -> tuple[Value, ...]:
    return (claim.job_id, claim.room, claim.agent, write(claim))


def invitation_key(invitation: Invitation) -> bytes:
    return write([invitation.room, invitation.identity, invitation.agent])


def replica_body(me: Replica) -> bytes:
    return write(replace(me, beat_at=0.0))


def pulse_of(told: Sequence[bytes]) -> Pulse:
    now, generation, settled, leader, epoch, age, *rest = told
    return Pulse(
        now=int(now) / 1e6,
        generation=generation.decode(),
        leader=leader.decode(),
        epoch=int(epoch),
        settled=settled == b"1",
        age=int(age) / 1e6,
        replicas=sorted(_replicas(rest), key=lambda replica: replica.id),
    )


def _replicas(told: Sequence[bytes]) -> Iterable[Replica]:
    return legible(_replica, zip(told[::2], told[1::2], strict=True))


def _replica(told: tuple[bytes, bytes]) -> Replica:
    body, beat_at = told
    return replace(read_replica(body), beat_at=int(beat_at) / 1e6)
