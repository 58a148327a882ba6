"""The store in one SQLite file: for one process at a time, durable against a kill.

WAL with `synchronous=NORMAL`: what was written survives a kill of the process, not a power cut (`FULL` does).
Every step is one transaction on one connection, one after the other. The one replica always leads, under
epoch 1, so nobody has to be told of what it does: its inbox holds what it sends itself.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio

from gateway.keeper.model import Ask, Claim, Invitation, Pulse, Replica, Want
from gateway.keeper.notes import Note
from gateway.keeper.ports import LEADER, Clock, LeaseLost
from gateway.settings import StoreSettings
from gateway.store.rows import (
    legible,
    read_claim,
    read_invitation,
    read_want,
    renewed,
    replaced,
    tells_more,
    told_again,
    waiting_since,
    write,
)
from gateway.store.sqlite_file import open_file
from gateway.store.sqlite_sessions import SqliteSessions
from gateway.store.sqlite_step import step

EPOCH = 1
RECEIVE = 1.0
"""Seconds that `receive` waits for a first note."""
INBOX = 10_000


@asynccontextmanager
async def open_store(settings: StoreSettings, clock: Clock) -> AsyncIterator[SqliteStore]:
    """Open the store for as long as the block lasts.

    Raises:
        StoreLocked: another process has it.
        StoreUnavailable: the file cannot be opened, or is no store of ours.
    """
    with open_file(settings) as (db, file_id):
        yield SqliteStore(db, clock, generation=file_id)


class SqliteStore:
    """Implements `gateway.keeper.ports.Store`. Made by `open_store`."""

    def __init__(self, db: sqlite3.Connection, clock: Clock, *, generation: str) -> None:
        self.db = db
        self._clock = clock
        self._generation = generation
        self._me = ""
        self._inbox: deque[Note] = deque(maxlen=INBOX)
        self._arrived = anyio.Event()
        self.sessions = SqliteSessions(self)

    def clock(self) -> float:
        return self._clock()

    # ---- wants --------------------------------------------------------------------------------------

    @step
    def ask(self, ask: Ask, *, fresh: Want, epoch: int | None = None) -> tuple[Want, bool]:
        _fence(epoch)
        want = self._living(ask.room, ask.agent)
        if want is None:
            self._insert(fresh)
            return fresh, False
        self._overwrite(again := renewed(want, fresh))
        return again, True

    @step
    def want(self, want_id: str) -> Want | None:
        return self._want(want_id)

    @step
    def wants(self, room: str) -> list[Want]:
        rows = self.db.execute("SELECT body FROM wants WHERE room = ? ORDER BY alive, created_at", (room,))
        latest = {want.agent: want for want in map(read_want, (row[0] for row in rows))}
        return sorted(latest.values(), key=lambda want: want.created_at)

    @step
    def living(self) -> list[Want]:
        return self._many("SELECT body FROM wants WHERE alive ORDER BY created_at")

    @step
    def recent(self, limit: int = 1000) -> list[Want]:
        newest = self._many("SELECT body FROM wants WHERE alive ORDER BY created_at DESC LIMIT ?", limit)
        return newest + self._many(
            "SELECT body FROM wants WHERE NOT alive ORDER BY changed_at DESC LIMIT ?", limit - len(newest)
        )

    @step
    def update(self, want: Want, *, was: Want, epoch: int | None = None) -> bool:
        _fence(epoch)
        after = replaced(self._want(want.id), want, was)
        if after is not None:
            self._overwrite(after)
        return after is not None

    @step
    def place(self, want: Want) -> int | None:
        mine = self._one("SELECT waiting_since FROM wants WHERE id = ?", want.id)
        if mine is None:
            return None
        ahead = (
            "SELECT count(*) FROM wants"
            " WHERE waiting_since IS NOT NULL AND agent = ? AND (waiting_since, id) < (?, ?)"
        )
        return 1 + int(self._one(ahead, want.agent, mine, want.id))

    @step
    def forget_ended(self, before: float) -> int:
        self.db.execute("DELETE FROM invitations WHERE expires_at < ?", (self._clock(),))
        return self.db.execute("DELETE FROM wants WHERE NOT alive AND changed_at < ?", (before,)).rowcount

    # ---- claims -------------------------------------------------------------------------------------

    @step
    def claim(self, claim: Claim) -> Claim | None:
        want = self._want(claim.want_id)
        if want is None or want.state.ended or want.generation != claim.generation:
            return None
        if want.sid not in {"", claim.sid}:
            return None
        held = self._held(claim.room, claim.agent)
        if held is not None:
            return held
        if not want.sid:
            self._overwrite(replace(want, sid=claim.sid))
        self._insert_claim(claim)
        return claim

    @step
    def claims(self, room: str) -> list[Claim]:
        rows = self.db.execute("SELECT body FROM claims WHERE room = ? ORDER BY agent", (room,))
        return [read_claim(row[0]) for row in rows]

    @step
    def all_claims(self) -> list[Claim]:
        rows = self.db.execute("SELECT body FROM claims ORDER BY job_id")
        return list(legible(read_claim, (row[0] for row in rows)))

    @step
    def claim_of(self, job_id: str) -> Claim | None:
        return self._claim(job_id)

    @step
    def advance(self, claim: Claim, *, was: Claim, epoch: int | None = None) -> bool:
        _fence(epoch)
        if self._claim(claim.job_id) != was:
            return False
        changed = (claim.seat, write(claim), claim.job_id)
        self.db.execute("UPDATE claims SET agent = ?, body = ? WHERE job_id = ?", changed)
        return True

    @step
    def release(self, job_id: str, *, epoch: int | None = None) -> Claim | None:
        _fence(epoch)
        row = self._one("DELETE FROM claims WHERE job_id = ? RETURNING body", job_id)
        return None if row is None else read_claim(row)

    # ---- invitations --------------------------------------------------------------------------------

    @step
    def invite(self, invitation: Invitation) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO invitations (room, identity, agent, expires_at, body)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                invitation.room,
                invitation.identity,
                invitation.agent,
                invitation.expires_at,
                write(invitation),
            ),
        )

    @step
    def invitations(self, room: str | None = None) -> list[Invitation]:
        rows = self.db.execute(
            "SELECT body FROM invitations WHERE expires_at > ? AND (? IS NULL OR room = ?)"
            " ORDER BY room, identity, agent",
            (self._clock(), room, room),
        )
        return [read_invitation(row[0]) for row in rows]

    # ---- the one replica ----------------------------------------------------------------------------

    async def beat(self, me: Replica, *, lead: bool) -> Pulse:
        now = self._clock()
        self._me = me.id
        return Pulse(
            now=now,
            generation=self._generation,
            leader=me.id,
            epoch=EPOCH,
            replicas=[replace(me, beat_at=now)],
        )

    async def retire(self, replica_id: str) -> None:
        self._me = ""

    @step
    def restore(self, wants: Sequence[Want], claims: Sequence[Claim]) -> None:
        for want in wants:
            stored = self._want(want.id)
            if stored is not None and (better := told_again(stored, want)) is not None:
                self._overwrite(better)
            elif stored is None and (want.state.ended or self._makes_way(want)):
                if want.state.ended:
                    self._end_older(want)
                self._insert(want)
        for claim in claims:
            held = self._held(claim.room, claim.seat) or self._claim(claim.job_id)
            if tells_more(held, claim):
                if held is not None:
                    self.db.execute("DELETE FROM claims WHERE job_id = ?", (held.job_id,))
                self._insert_claim(claim)

    async def send(self, to: str, notes: Sequence[Note]) -> None:
        if to in {LEADER, self._me}:
            self._inbox.extend(notes)
            self._arrived.set()

    async def receive(self, replica_id: str) -> list[Note]:
        if not self._inbox:
            self._arrived = anyio.Event()
            with anyio.move_on_after(RECEIVE):
                await self._arrived.wait()
        notes = list(self._inbox)
        self._inbox.clear()
        return notes

    # ---- rows ---------------------------------------------------------------------------------------

    def _one(self, query: str, *values: object) -> Any:
        row = self.db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _many(self, query: str, *values: object) -> list[Want]:
        return list(legible(read_want, (row[0] for row in self.db.execute(query, values))))

    def _want(self, want_id: str) -> Want | None:
        row = self._one("SELECT body FROM wants WHERE id = ?", want_id)
        return None if row is None else read_want(row)

    def _living(self, room: str, agent: str) -> Want | None:
        row = self._one("SELECT body FROM wants WHERE room = ? AND agent = ? AND alive", room, agent)
        return None if row is None else read_want(row)

    def _makes_way(self, want: Want) -> bool:
        """Whether this want may live: none was made after it, and none ended after the last ask for it. An
        older one that lives goes."""
        living = self._living(want.room, want.agent)
        if living is None:
            row = self._one(
                "SELECT body FROM wants WHERE room = ? AND agent = ? ORDER BY changed_at DESC LIMIT 1",
                *(want.room, want.agent),
            )
            return row is None or read_want(row).since <= want.asked_at
        if living.created_at < want.created_at:
            self.db.execute("DELETE FROM wants WHERE id = ?", (living.id,))
            return True
        return False

    def _end_older(self, ended: Want) -> None:
        """A living want that nobody asked for after that end goes, too."""
        living = self._living(ended.room, ended.agent)
        if living is not None and living.asked_at < ended.since:
            self.db.execute("DELETE FROM wants WHERE id = ?", (living.id,))

    def _claim(self, job_id: str) -> Claim | None:
        row = self._one("SELECT body FROM claims WHERE job_id = ?", job_id)
        return None if row is None else read_claim(row)

    def _held(self, room: str, seat: str) -> Claim | None:
        row = self._one("SELECT body FROM claims WHERE room = ? AND agent = ?", room, seat)
        return None if row is None else read_claim(row)

    def _insert(self, want: Want) -> None:
        self.db.execute(
            "INSERT INTO wants (id, room, agent, alive, created_at, changed_at, body, waiting_since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                want.id,
                want.room,
                want.agent,
                not want.state.ended,
                want.created_at,
                want.since,
                write(want),
                waiting_since(want),
            ),
        )

    def _overwrite(self, want: Want) -> None:
        self.db.execute(
            "UPDATE wants SET alive = ?, changed_at = ?, body = ?, waiting_since = ? WHERE id = ?",
            (not want.state.ended, want.since, write(want), waiting_since(want), want.id),
        )

    def _insert_claim(self, claim: Claim) -> None:
        self.db.execute(
            "INSERT INTO claims (job_id, room, agent, body) VALUES (?, ?, ?, ?)",
            (claim.job_id, claim.room, claim.seat, write(claim)),
        )


def _fence(epoch: int | None) -> None:
    if epoch not in {None, EPOCH}:
        raise LeaseLost(f"epoch {epoch} does not lead")
