"""What only the SQLite store promises: one file, one process."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from gateway.errors import StoreLocked
from gateway.keeper.model import State
from gateway.keeper.ports import StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.clock import steady_clock
from gateway.store.open import open_store
from gateway.store.sqlite_step import step
from tests.contract.store_worlds import asked, claim, replica, want

pytestmark = pytest.mark.anyio


async def test_what_was_answered_is_there_after_a_reopening(tmp_path: Path) -> None:
    """Wants and claims survive their process; it is still the same store."""
    settings = StoreSettings(path=tmp_path / "store.db")
    async with open_store(settings) as store:
        wanted = await asked(store, want())
        held = await store.claim(claim(of=wanted))
        before = await store.beat(replica("A"), lead=True)
    async with open_store(settings) as store:
        assert [w.id for w in await store.living()] == ["w1"]
        assert await store.all_claims() == [held]
        assert (await store.beat(replica("B"), lead=True)).generation == before.generation


class Table:
    """Something that takes steps on the file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.db.execute("CREATE TABLE numbers (number INTEGER)")

    @step
    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.db.execute("INSERT INTO numbers VALUES (?)", (number,))
            if number < 0:
                raise ValueError("half of it is written")

    def all(self) -> list[int]:
        return [number for (number,) in self.db.execute("SELECT number FROM numbers")]


async def test_a_step_is_taken_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """One that fails half-way leaves nothing, one that is cancelled is not begun; the next is not hurt."""
    with closing(sqlite3.connect(tmp_path / "numbers.db", isolation_level=None)) as db:
        table = Table(db)
        await table.put(1, 2)
        with pytest.raises(ValueError, match="half"):
            await table.put(3, -1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await table.put(4)
        db.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable):
            await table.put(5)
        db.execute("PRAGMA query_only = OFF")
        await table.put(6)
        assert table.all() == [1, 2, 6]
        assert not db.in_transaction


async def test_steps_let_others_have_their_turn(tmp_path: Path) -> None:
    """However many steps one task takes in a row."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with (
        open_store(StoreSettings(path=tmp_path / "store.db")) as store,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(other)
        for _ in range(50):
            await store.wants("r")
        tasks.cancel_scope.cancel()
    assert turns >= 45


@pytest.mark.alone
async def test_a_file_that_somebody_else_writes_is_unavailable_soon(tmp_path: Path) -> None:
    """An operator's shell with an open transaction: told within a moment, and over when that is."""
    path = tmp_path / "store.db"
    async with open_store(StoreSettings(path=path)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="locked"):
                await asked(store, want())
            assert time.monotonic() - began < 1.0
            shell.execute("COMMIT")
        assert (await asked(store, want())).id == "w1"


async def test_a_second_process_is_told_that_the_store_is_taken(tmp_path: Path) -> None:
    """Two gateways on one file would each believe to be alone."""
    settings = StoreSettings(path=tmp_path / "store.db")
    async with open_store(settings):
        with pytest.raises(StoreLocked, match="ROOMKEEPER_STORE"):
            async with open_store(settings):
                pass


async def test_a_file_that_is_no_store_is_refused_with_words(tmp_path: Path) -> None:
    """A wrong path must not become a stack trace."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as the head of one" * 4)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt"):
        async with open_store(StoreSettings(path=path)):
            pass


async def test_a_file_without_a_line_gets_one(tmp_path: Path) -> None:
    """Version 0.1 kept the waiting line in memory; its wants wait in the order in which they did."""
    path = tmp_path / "store.db"
    async with open_store(StoreSettings(path=path)) as store:
        first = await asked(store, want("w1", room="r1"))
        second = await asked(store, want("w2", room="r2", at=first.created_at + 1))
        joined = await asked(store, want("w3", room="r3"))
        assert await store.update(replace(joined, state=State.JOINED), was=joined)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP INDEX line; ALTER TABLE wants DROP COLUMN waiting_since")
    async with open_store(StoreSettings(path=path)) as store:
        assert [await store.place(w) for w in (first, second, joined)] == [1, 2, None]


async def test_the_one_replica_leads_even_without_wanting_to(tmp_path: Path) -> None:
    """There is nobody else."""
    async with open_store(StoreSettings(path=tmp_path / "store.db")) as store:
        pulse = await store.beat(replica("A"), lead=False)
        assert (pulse.leader, pulse.epoch) == ("A", 1)
        await store.retire("A")


def test_the_stores_clock_is_the_process_own() -> None:
    """Steady: it does not follow a wall clock that is set."""
    clock = steady_clock()
    times = [clock() for _ in range(100)]
    assert times == sorted(times)
