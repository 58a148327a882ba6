"""What only the SQLite store promises: one file, one process."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.errors import StoreLocked
from gateway.keeper.model import State
from gateway.keeper.ports import StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.clock import steady_clock
from gateway.store.open import open_store
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


async def test_a_caller_that_gives_up_breaks_nobody_elses_step(tmp_path: Path) -> None:
    """A step is taken, or is not; the next one finds no half of it."""
    async with open_store(StoreSettings(path=tmp_path / "store.db")) as store:
        for number in range(50):
            with anyio.move_on_after(0.0001):
                await asked(store, want(f"w{number}", room=f"r{number}"))
            assert await store.wants("elsewhere") == []


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
