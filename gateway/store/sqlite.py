"""The store in one SQLite file: for one process at a time, durable against a kill.

WAL with `synchronous=NORMAL`: what was written survives a kill of the process, not a power cut (`FULL` does).
Every step is one transaction on one connection, in a thread of its own, one after the other. The file is
held by a lock, so that a second process fails with words instead of sharing it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import anyio.to_thread
import msgspec

from gateway.errors import StoreLocked
from gateway.keeper.model import Ask, Claim, Invitation, Want
from gateway.keeper.ports import Clock, StoreUnavailable
from gateway.settings import StoreSettings

P = ParamSpec("P")
R = TypeVar("R")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS wants (
  id TEXT PRIMARY KEY, room TEXT NOT NULL, agent TEXT NOT NULL, alive INTEGER NOT NULL,
  created_at REAL NOT NULL, changed_at REAL NOT NULL, body BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_living_want ON wants (room, agent) WHERE alive;
CREATE INDEX IF NOT EXISTS wants_of_room ON wants (room, created_at);
CREATE INDEX IF NOT EXISTS ended_wants ON wants (changed_at) WHERE NOT alive;
CREATE TABLE IF NOT EXISTS claims (
  job_id TEXT PRIMARY KEY, room TEXT NOT NULL, agent TEXT NOT NULL, body BLOB NOT NULL,
  UNIQUE (room, agent)) STRICT;
CREATE TABLE IF NOT EXISTS invitations (
  room TEXT NOT NULL, identity TEXT NOT NULL, agent TEXT NOT NULL, expires_at REAL NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (room, identity, agent)) STRICT;
"""

_want = msgspec.json.Decoder(Want).decode
_claim = msgspec.json.Decoder(Claim).decode
_invitation = msgspec.json.Decoder(Invitation).decode
_body = msgspec.json.Encoder().encode


@asynccontextmanager
async def open_store(settings: StoreSettings, clock: Clock) -> AsyncIterator[SqliteStore]:
    """Open the store for as long as the block lasts.

    Raises:
        StoreLocked: another process has it.
        StoreUnavailable: the file cannot be opened, or is no store of ours.
    """
    with _locked(settings.path):
        try:
            db = sqlite3.connect(settings.path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if settings.full_sync else 'NORMAL'}")
            db.executescript(_SCHEMA)
        except sqlite3.Error as fault:
            raise StoreUnavailable(f"cannot open the store {settings.path}: {fault}") from fault
        try:
            yield SqliteStore(db, clock)
        finally:
            db.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store's lock. The kernel lets go of it when the process dies, however it dies."""
    try:
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreUnavailable(f"cannot open the store {path}: {fault.strerror}") from fault
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreLocked(
            f"another roomkeeper uses the store {path}: stop it, or give this one its own ROOMKEEPER_STORE"
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def _step(
    work: Callable[Concatenate[SqliteStore, P], R],
) -> Callable[Concatenate[SqliteStore, P], Coroutine[Any, Any, R]]:
    """One transaction, in the store's thread. A fault is `StoreUnavailable`, and nothing was written."""

    def transaction(self: SqliteStore, *args: P.args, **kwargs: P.kwargs) -> R:
        # The lock, and not the limiter alone: a caller that is cancelled lets go of the limiter while its
        # step still runs in the thread.
        with self.in_step:
            try:
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    result = work(self, *args, **kwargs)
                except BaseException:
                    self.db.execute("ROLLBACK")
                    raise
                self.db.execute("COMMIT")
            except sqlite3.Error as fault:
                raise StoreUnavailable(f"the store cannot be used: {fault}") from fault
        return result

    async def step(self: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(transaction, self, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self.one_at_a_time)

    step.__doc__ = work.__doc__
    return step


class SqliteStore:
    """Implements `gateway.keeper.ports.Store`. Made by `open_store`."""

    def __init__(self, db: sqlite3.Connection, clock: Clock) -> None:
        self.db = db
        self.one_at_a_time = anyio.CapacityLimiter(1)
        self.in_step = threading.Lock()
        self._clock = clock

    # ---- wants --------------------------------------------------------------------------------------

    @_step
    def ask(self, ask: Ask, *, fresh: Want) -> tuple[Want, bool]:
        row = self._one("SELECT body FROM wants WHERE room = ? AND agent = ? AND alive", ask.room, ask.agent)
        if row is None:
            self._insert(fresh)
            return fresh, False
        want = _want(row)
        renewed = replace(
            want,
            asked_at=max(want.asked_at, fresh.asked_at),
            metadata=fresh.metadata or want.metadata,
        )
        self._overwrite(renewed)
        return renewed, True

    @_step
    def want(self, want_id: str) -> Want | None:
        return self._want(want_id)

    @_step
    def wants(self, room: str) -> list[Want]:
        rows = self.db.execute("SELECT body FROM wants WHERE room = ? ORDER BY created_at", (room,))
        latest = {want.agent: want for want in map(_want, (row[0] for row in rows))}
        return list(latest.values())

    @_step
    def living(self) -> list[Want]:
        rows = self.db.execute("SELECT body FROM wants WHERE alive ORDER BY created_at")
        return [_want(row[0]) for row in rows]

    @_step
    def recent(self, limit: int = 1000) -> list[Want]:
        rows = self.db.execute(
            "SELECT body FROM wants ORDER BY alive DESC, changed_at DESC LIMIT ?", (limit,)
        )
        return [_want(row[0]) for row in rows]

    @_step
    def update(self, want: Want, *, was: Want) -> bool:
        stored = self._want(want.id)
        if stored is None or replace(stored, asked_at=was.asked_at, metadata=was.metadata) != was:
            return False
        if want.state.ended and stored.asked_at > was.asked_at:
            return False
        asked_meanwhile = stored.asked_at > was.asked_at or stored.metadata != was.metadata
        self._overwrite(
            replace(
                want,
                asked_at=max(stored.asked_at, want.asked_at),
                metadata=stored.metadata if asked_meanwhile else want.metadata,
            )
        )
        return True

    @_step
    def forget_ended(self, before: float) -> int:
        self.db.execute("DELETE FROM invitations WHERE expires_at < ?", (self._clock(),))
        return self.db.execute("DELETE FROM wants WHERE NOT alive AND changed_at < ?", (before,)).rowcount

    # ---- claims -------------------------------------------------------------------------------------

    @_step
    def claim(self, claim: Claim) -> Claim | None:
        want = self._want(claim.want_id)
        if want is None or want.state.ended or want.generation != claim.generation:
            return None
        if want.sid not in {"", claim.sid}:
            return None
        held = self._one("SELECT body FROM claims WHERE room = ? AND agent = ?", claim.room, claim.agent)
        if held is not None:
            return _claim(held)
        if not want.sid:
            self._overwrite(replace(want, sid=claim.sid))
        self.db.execute(
            "INSERT INTO claims (job_id, room, agent, body) VALUES (?, ?, ?, ?)",
            (claim.job_id, claim.room, claim.agent, _body(claim)),
        )
        return claim

    @_step
    def claims(self, room: str) -> list[Claim]:
        rows = self.db.execute("SELECT body FROM claims WHERE room = ? ORDER BY agent", (room,))
        return [_claim(row[0]) for row in rows]

    @_step
    def all_claims(self) -> list[Claim]:
        return [_claim(row[0]) for row in self.db.execute("SELECT body FROM claims ORDER BY job_id")]

    @_step
    def claim_of(self, job_id: str) -> Claim | None:
        row = self._one("SELECT body FROM claims WHERE job_id = ?", job_id)
        return None if row is None else _claim(row)

    @_step
    def advance(self, claim: Claim) -> bool:
        done = self.db.execute("UPDATE claims SET body = ? WHERE job_id = ?", (_body(claim), claim.job_id))
        return done.rowcount > 0

    @_step
    def release(self, job_id: str) -> Claim | None:
        row = self._one("DELETE FROM claims WHERE job_id = ? RETURNING body", job_id)
        return None if row is None else _claim(row)

    # ---- invitations --------------------------------------------------------------------------------

    @_step
    def invite(self, invitation: Invitation) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO invitations (room, identity, agent, expires_at, body)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                invitation.room,
                invitation.identity,
                invitation.agent,
                invitation.expires_at,
                _body(invitation),
            ),
        )

    @_step
    def invitations(self, room: str | None = None) -> list[Invitation]:
        rows = self.db.execute(
            "SELECT body FROM invitations WHERE expires_at > ? AND (? IS NULL OR room = ?)"
            " ORDER BY room, identity",
            (self._clock(), room, room),
        )
        return [_invitation(row[0]) for row in rows]

    # ---- rows ---------------------------------------------------------------------------------------

    def _one(self, query: str, *values: object) -> bytes | None:
        row = self.db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _want(self, want_id: str) -> Want | None:
        row = self._one("SELECT body FROM wants WHERE id = ?", want_id)
        return None if row is None else _want(row)

    def _insert(self, want: Want) -> None:
        self.db.execute(
            "INSERT INTO wants (id, room, agent, alive, created_at, changed_at, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (want.id, want.room, want.agent, not want.state.ended, want.created_at, want.since, _body(want)),
        )

    def _overwrite(self, want: Want) -> None:
        self.db.execute(
            "UPDATE wants SET alive = ?, changed_at = ?, body = ? WHERE id = ?",
            (not want.state.ended, want.since, _body(want), want.id),
        )
