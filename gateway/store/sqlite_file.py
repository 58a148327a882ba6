"""The SQLite file itself: its lock, its tables, and how one of an older version becomes one of ours."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gateway.errors import StoreLocked
from gateway.keeper.ports import StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.rows import read_want, waiting_since

BUSY = 0.2
"""Seconds that a step, and all else, waits for somebody who writes, as an operator with a shell may."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS wants (
  id TEXT PRIMARY KEY, room TEXT NOT NULL, agent TEXT NOT NULL, alive INTEGER NOT NULL,
  created_at REAL NOT NULL, changed_at REAL NOT NULL, body BLOB NOT NULL, waiting_since REAL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_living_want ON wants (room, agent) WHERE alive;
CREATE INDEX IF NOT EXISTS wants_of_room ON wants (room, created_at);
CREATE INDEX IF NOT EXISTS living_wants ON wants (created_at) WHERE alive;
CREATE INDEX IF NOT EXISTS ended_wants ON wants (changed_at) WHERE NOT alive;
CREATE TABLE IF NOT EXISTS claims (
  job_id TEXT PRIMARY KEY, room TEXT NOT NULL, agent TEXT NOT NULL, body BLOB NOT NULL,
  UNIQUE (room, agent)) STRICT;
CREATE TABLE IF NOT EXISTS invitations (
  room TEXT NOT NULL, identity TEXT NOT NULL, agent TEXT NOT NULL, expires_at REAL NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (room, identity, agent)) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, keep_until REAL NOT NULL, body BLOB NOT NULL, questionnaire BLOB,
  reported_at REAL NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS old_sessions ON sessions (keep_until);
CREATE TABLE IF NOT EXISTS said (
  number INTEGER PRIMARY KEY, session TEXT NOT NULL, line TEXT NOT NULL, body BLOB NOT NULL,
  UNIQUE (session, line)) STRICT;
CREATE INDEX IF NOT EXISTS said_in ON said (session, number);
CREATE TABLE IF NOT EXISTS file (id TEXT NOT NULL) STRICT;
"""
"""A claim's `agent` is its seat: see `Claim.seat`."""
_LINE = """
CREATE INDEX IF NOT EXISTS line ON wants (agent, waiting_since, id) WHERE waiting_since IS NOT NULL
"""


@contextmanager
def open_file(settings: StoreSettings) -> Iterator[tuple[sqlite3.Connection, str]]:
    """The connection and the file's own id, for as long as the block lasts.

    Raises:
        StoreLocked: another process has it.
        StoreUnavailable: the file cannot be opened, or is no store of ours.
    """
    with _locked(settings.path):
        try:
            db = sqlite3.connect(settings.path, isolation_level=None, timeout=BUSY)
        except sqlite3.Error as fault:
            raise StoreUnavailable(f"cannot open the store {settings.path}: {fault}") from fault
        with closing(db):
            try:
                file_id = _prepare(db, full_sync=settings.full_sync)
            except sqlite3.Error as fault:
                raise StoreUnavailable(f"cannot open the store {settings.path}: {fault}") from fault
            yield db, file_id


def _prepare(db: sqlite3.Connection, *, full_sync: bool) -> str:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={'FULL' if full_sync else 'NORMAL'}")
    db.executescript(_SCHEMA)
    if "waiting_since" not in {row[1] for row in db.execute("PRAGMA table_info(wants)")}:
        _add_line(db)
    db.execute(_LINE)
    db.execute("INSERT INTO file (id) SELECT ? WHERE NOT EXISTS (SELECT * FROM file)", (uuid.uuid4().hex,))
    return str(db.execute("SELECT id FROM file").fetchone()[0])


def _add_line(db: sqlite3.Connection) -> None:
    """Version 0.1 kept the waiting line in memory only."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("ALTER TABLE wants ADD COLUMN waiting_since REAL")
    for (body,) in db.execute("SELECT body FROM wants WHERE alive").fetchall():
        want = read_want(body)
        db.execute("UPDATE wants SET waiting_since = ? WHERE id = ?", (waiting_since(want), want.id))
    db.execute("COMMIT")


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
