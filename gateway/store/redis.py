"""The store in Redis or Valkey (7 or newer): for several replicas at once.

Every step is one script or one reading command: atomic in the server, in one round trip. Wants are read in
pieces; claims are one reply. What is durable is the server's affair (`appendonly yes`). A step that failed
may have been written; repeating an ask or a claim is harmless.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from gateway.keeper.model import Ask, Claim, Invitation, Pulse, Replica, Want
from gateway.keeper.notes import Guests, Here, Note
from gateway.keeper.ports import LEASE
from gateway.settings import StoreSettings
from gateway.store.clock import STEP, FollowedClock
from gateway.store.redis_link import RedisLink, Value, open_link
from gateway.store.redis_rows import (
    args_of,
    body_of,
    claim_args,
    invitation_key,
    pulse_of,
    replica_body,
    restored_args,
    want_of,
)
from gateway.store.redis_server import ready
from gateway.store.redis_sessions import RedisSessions
from gateway.store.rows import legible, read_claim, read_invitation, read_note, write
from pool.clock import uptime

T = TypeVar("T")

CHUNK = 200
"""Rows of one round trip, where there may be many: a script holds up everybody else."""
INBOX = 10_000
FIRST_LOOKS = 3


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    lease: float = LEASE,
    patience: float = 15.0,
    told_to_end: Callable[[], bool] = lambda: False,
) -> AsyncIterator[RedisStore]:
    """Open the store for as long as the block lasts. A server that is not up yet may take `patience` seconds,
    or until this process is told to end.

    Raises:
        StoreUnavailable: it cannot be reached, or does not let us in.
        StartupError: it is not fit for a store.
    """
    async with open_link(settings) as link:
        await ready(link, settings.shown, patience, told_to_end=told_to_end)
        yield RedisStore(link, await _clock(link), lease)


async def _clock(link: RedisLink) -> FollowedClock:
    looks = []
    for _ in range(FIRST_LOOKS):
        began = uptime()
        told = await link.run("now", "", "", "")
        looks.append((began, uptime(), int(told) / 1e6))
    clock = FollowedClock(*looks[0])
    for look in looks[1:]:
        clock.looked(*look)
    return clock


class RedisStore:
    """Implements `gateway.keeper.ports.Store`. Made by `open_store`."""

    def __init__(self, link: RedisLink, clock: FollowedClock, lease: float) -> None:
        self._link = link
        self._clock = clock
        self._lease = round(lease * 1e6)
        self._me = ""
        self._generation = ""
        self.sessions = RedisSessions(link, self.clock)

    def clock(self) -> float:
        return self._clock()

    # ---- wants --------------------------------------------------------------------------------------

    async def ask(self, ask: Ask, *, fresh: Want, epoch: int | None = None) -> tuple[Want, bool]:
        row = await self._run("ask", epoch, *args_of(fresh))
        return (fresh, False) if row is None else (want_of(row), True)

    async def want(self, want_id: str) -> Want | None:
        row = await self._read("HMGET", f"want:{want_id}", "body", "asked", "sid", "metadata", "alive")
        return None if row[0] is None else want_of(row)

    async def wants(self, room: str) -> list[Want]:
        return _oldest_first(map(want_of, await self._run("wants", None, room)))

    async def living(self) -> list[Want]:
        ids = await self._read("ZRANGE", "living", 0, -1)
        return _oldest_first([want for want in await self._wants_of(ids) if not want.state.ended])

    async def recent(self, limit: int = 1000) -> list[Want]:
        living = await self._read("ZREVRANGE", "living", 0, limit - 1)
        ended = await self._read("ZREVRANGE", "ended", 0, limit - 1)
        return await self._wants_of([*living, *ended][:limit])

    async def update(self, want: Want, *, was: Want, epoch: int | None = None) -> bool:
        body, args = body_of(was), args_of(want)
        while True:
            done = await self._run("update", epoch, body, was.sid, repr(was.asked_at), was.metadata, *args)
            if isinstance(done, int):
                return bool(done)
            # The same value may have been written in other bytes, by another version of this program.
            if done[0] == body or replace(want_of(done), asked_at=was.asked_at, metadata=was.metadata) != was:
                return False
            body = done[0]

    async def place(self, want: Want) -> int | None:
        rank = await self._read("ZRANK", f"line:{want.agent}", want.id)
        return None if rank is None else int(rank) + 1

    async def forget_ended(self, before: float) -> int:
        forgotten = 0
        while True:
            wants, invitations = await self._run("forget", None, repr(before), CHUNK)
            forgotten += int(wants)
            if max(wants, invitations) < CHUNK:
                return forgotten

    # ---- claims -------------------------------------------------------------------------------------

    async def claim(self, claim: Claim) -> Claim | None:
        job_id, room, agent, body = claim_args(claim)
        held = await self._run(
            "claim", None, room, agent, claim.want_id, claim.generation, claim.sid, job_id, body
        )
        if held is None:
            return None
        return claim if held == body else read_claim(held)

    async def claims(self, room: str) -> list[Claim]:
        claims = map(read_claim, await self._run("claims", None, room))
        return sorted(claims, key=lambda claim: claim.seat)

    async def all_claims(self) -> list[Claim]:
        claims = legible(read_claim, await self._read("HVALS", "claims"))
        return sorted(claims, key=lambda claim: claim.job_id)

    async def claim_of(self, job_id: str) -> Claim | None:
        body = await self._read("HGET", "claims", job_id)
        return None if body is None else read_claim(body)

    async def advance(self, claim: Claim, *, was: Claim, epoch: int | None = None) -> bool:
        expected, body = write(was), write(claim)
        where = (claim.job_id, claim.room, was.seat, claim.seat)
        while True:
            done = await self._run("advance", epoch, *where, expected, body)
            if isinstance(done, int):
                return bool(done)
            if done == expected or read_claim(done) != was:  # see `update`
                return False
            expected = done

    async def release(self, job_id: str, *, epoch: int | None = None) -> Claim | None:
        body = await self._run("release", epoch, job_id)
        return None if body is None else read_claim(body)

    # ---- invitations --------------------------------------------------------------------------------

    async def invite(self, invitation: Invitation) -> None:
        guests = write(Guests(invitation.room, invitation.expires_at))
        key, expires_at = invitation_key(invitation), repr(invitation.expires_at)
        await self._run("invite", None, invitation.room, key, expires_at, write(invitation), guests)

    async def invitations(self, room: str | None = None) -> list[Invitation]:
        if room is not None:
            bodies = await self._read("HVALS", f"guests:{room}")
        else:
            bodies = await self._all_invitations()
        now = self._clock()
        valid = [i for i in legible(read_invitation, bodies) if i.expires_at > now]
        return sorted(valid, key=lambda i: (i.room, i.identity, i.agent))

    async def _all_invitations(self) -> list[bytes]:
        bodies: list[bytes] = []
        for keys in _chunks(await self._read("ZRANGE", "invitations", 0, -1)):
            bodies += await self._run("guests", None, *keys)
        return bodies

    # ---- replicas -----------------------------------------------------------------------------------

    async def beat(self, me: Replica, *, lead: bool) -> Pulse:
        now = self._clock()
        # One that has only just come does not know better than the server what the time is.
        expected = str(round(now * 1e6)) if self._me else ""
        self._me = me.id
        here = write(Here(replace(me, beat_at=now)))
        leads, body = "1" if lead else "", replica_body(me)
        began = uptime()
        told = await self._run("beat", None, self._lease, leads, body, here, expected, round(STEP * 1e6))
        ended = uptime()
        pulse = pulse_of(told)
        self._clock.looked(began, ended, pulse.now)
        self._generation = pulse.generation
        return pulse

    async def retire(self, replica_id: str) -> None:
        await self._run("retire", None, replica_id)

    async def restore(self, wants: Sequence[Want], claims: Sequence[Claim]) -> None:
        for some in _chunks(wants):
            await self._run("restore", None, len(some), *(arg for want in some for arg in args_of(want)))
        for held in _chunks(claims):
            await self._run("restore", None, 0, *(arg for claim in held for arg in restored_args(claim)))

    async def send(self, to: str, notes: Sequence[Note]) -> None:
        for some in _chunks(notes):
            await self._run("send", None, to, *map(write, some))

    async def receive(self, replica_id: str) -> list[Note]:
        return list(legible(read_note, await self._link.pop_all(f"inbox:{replica_id}", INBOX)))

    # ---- steps --------------------------------------------------------------------------------------

    async def _run(self, name: str, epoch: int | None, *args: Value) -> Any:
        leading = "" if epoch is None else str(epoch)
        return await self._link.run(name, self._me, leading, self._generation, *args)

    async def _read(self, command: str, key: str, *args: Value) -> Any:
        return await self._run("read", None, command, key, *args)

    async def _wants_of(self, ids: Sequence[bytes]) -> list[Want]:
        wants: list[Want] = []
        for some in _chunks(ids):
            wants += legible(want_of, await self._run("rows", None, *some))
        return wants


def _oldest_first(wants: Iterable[Want]) -> list[Want]:
    return sorted(wants, key=lambda want: want.created_at)


def _chunks(items: Sequence[T]) -> Iterable[list[T]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
