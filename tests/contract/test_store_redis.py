"""What only the Redis store promises: faults of a real server, in words and in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from gateway.errors import StartupError
from gateway.keeper.model import Pulse, State
from gateway.keeper.ports import LeaseLost, Store, StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.redis import open_store
from tests.contract.store_worlds import asked, claim, replica, want
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("redis-server")]

LEASE = 0.3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that a test may do anything to."""
    with RedisServer(appendonly=True) as server:
        yield server


@asynccontextmanager
async def opened(server: RedisServer, **changes: str) -> AsyncIterator[Store]:
    settings = StoreSettings(url=changes.get("url", server.url))
    async with (
        # Its generation begins with a lease that is over at once: only tests about that wait for one.
        open_store(settings, lease=0.001, patience=0.0) as first,
        open_store(settings, lease=LEASE, patience=0.0) as store,
    ):
        await first.beat(replica("first"), lead=False)
        await first.retire("first")
        yield store


async def settled(store: Store) -> Pulse:
    """Return once the store is settled."""
    with anyio.fail_after(10):
        while not (pulse := await store.beat(replica("A"), lead=True)).settled:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    return pulse


async def test_what_was_answered_survives_a_kill_of_the_server(server: RedisServer) -> None:
    """With `appendonly yes`; the next call finds the server by itself, in another generation."""
    async with opened(server) as store:
        before = await store.beat(replica("A"), lead=True)
        held = await store.claim(claim(of=await asked(store, want())))
        server.kill()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.wants("r")
        server.start()
        with pytest.raises(StoreUnavailable, match="a heartbeat must come first"):
            await store.all_claims()
        after = await store.beat(replica("A"), lead=True)
        assert after.generation != before.generation
        assert after.epoch > before.epoch
        assert not after.settled
        assert await store.all_claims() == [held]
        with pytest.raises(StoreUnavailable, match="may have lost"):
            await store.claim(claim("j2", of=want()))
        with pytest.raises(LeaseLost):
            await asked(store, want("w2"), epoch=before.epoch)
        assert (await settled(store)).generation == after.generation
        assert await store.claim(claim("j2", of=want(sid="RM_1"))) == held


async def test_a_restart_ends_the_lead_at_once(server: RedisServer) -> None:
    """What the old server granted last may be lost: its epochs count no more, lapsed or not."""
    async with open_store(StoreSettings(url=server.url), lease=3600) as store:
        before = await store.beat(replica("A"), lead=True)
        server.kill()
        server.start()
        with pytest.raises(StoreUnavailable):
            await store.living()
        assert (await store.beat(replica("B"), lead=False)).leader == ""
        after = await store.beat(replica("A"), lead=True)
        assert after.leader == "A"
        assert after.epoch > before.epoch


async def test_every_connection_comes_back_by_itself(server: RedisServer) -> None:
    """Sixteen at once were open when the server died; one call finds that out, and no other fails."""
    async with opened(server) as store:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(store.wants, f"r{number}")
            server.kill()
            server.start()
            with pytest.raises(StoreUnavailable):
                await store.wants("r")


async def test_a_frozen_server_fails_calls_in_time(server: RedisServer) -> None:
    """Nobody waits longer than connecting and answering may take, however many wait; then all goes on."""
    async with opened(server) as store:
        await asked(store, want())
        failed: list[float] = []

        async def fail() -> None:
            with pytest.raises(StoreUnavailable, match="in time"):
                await store.wants("r")
            failed.append(time.monotonic() - began)

        async def fail_to_hear() -> None:
            with pytest.raises(StoreUnavailable, match="in time"):
                await store.receive("A")
            failed.append(time.monotonic() - began)

        server.freeze()
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(fail)
            tasks.start_soon(fail_to_hear)
        server.thaw()
        assert max(failed) < 5.0
        assert [w.id for w in await store.wants("r")] == ["w1"]


async def test_a_step_whose_answer_was_lost_may_have_been_written(server: RedisServer) -> None:
    """And may be repeated: an ask finds the want, a claim is still the same."""
    async with opened(server) as store:
        await asked(store, want("w0", room="r0"))  # the server knows the script
        server.freeze()
        with pytest.raises(StoreUnavailable):
            await asked(store, want("w1"))
        server.thaw()
        wanted = await asked(store, want("w2"))
        assert wanted.id == "w1"
        held = await store.claim(claim("j1", of=wanted))
        assert await store.claim(claim("j1", of=wanted)) == held


async def test_the_server_may_forget_the_scripts(server: RedisServer) -> None:
    """SCRIPT FLUSH, or another server under the same name: they are sent again."""
    async with opened(server) as store:
        await asked(store, want())
        server.call("SCRIPT", "FLUSH")
        assert [w.id for w in await store.wants("r")] == ["w1"]
        assert (await asked(store, want("w2"))).id == "w1"


async def test_a_full_server_refuses_and_writes_nothing_by_halves(server: RedisServer) -> None:
    """Out of memory: reads go on, no step is done in part, and it heals."""
    async with opened(server) as store:
        wanted = await asked(store, want())
        server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await asked(store, want("w2", room="r2"))
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.update(replace(wanted, state=State.STOPPED), was=wanted)
        assert await store.wants("r2") == []
        assert await store.living() == [wanted]
        server.call("CONFIG", "SET", "maxmemory", "0")
        assert await store.update(replace(wanted, state=State.STOPPED), was=wanted)


async def test_a_read_only_server_is_unavailable(server: RedisServer) -> None:
    """A failover made it a copy of another one."""
    async with opened(server) as store:
        server.call("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="read only"):
            await asked(store, want())
        server.call("REPLICAOF", "NO", "ONE")
        await asked(store, want())


async def test_another_version_of_the_program_may_write_rows_in_other_bytes(server: RedisServer) -> None:
    """During a rolling upgrade a row lacks a field, or has one more: it is compared by its value."""
    async with opened(server) as store:
        wanted = await asked(store, want(sid="RM_1"))
        held = await store.claim(claim(of=wanted))
        assert held is not None
        script = """
            local function add(body) return '{"of_tomorrow": [1.5], ' .. string.sub(body, 2) end
            local want, claims = '{roomkeeper}:want:w1', '{roomkeeper}:claims'
            redis.call('HSET', want, 'body', add(redis.call('HGET', want, 'body')))
            redis.call('HSET', claims, 'j1', add(redis.call('HGET', claims, 'j1')))"""
        server.call("EVAL", script, "0")
        assert await store.claim_of("j1") == held
        assert not await store.update(replace(wanted, failures=2), was=replace(wanted, failures=1))
        assert await store.update(replace(wanted, state=State.JOINED), was=wanted)
        assert not await store.advance(held, was=replace(held, pid=3))
        assert await store.advance(replace(held, pid=7), was=held)


async def test_notes_of_another_version_are_skipped(server: RedisServer) -> None:
    """A hint that nobody understands is a hint that was lost."""
    async with opened(server) as store:
        server.call("RPUSH", "{roomkeeper}:inbox:A", '{"type":"of_tomorrow"}')
        assert await store.receive("A") == []


async def test_nothing_stays_for_ever(server: RedisServer) -> None:
    """Without any leader, ended wants go after a day, inboxes after a minute."""
    async with opened(server) as store:
        ended = await asked(store, want("w1", at=store.clock()))
        await store.update(replace(ended, state=State.STOPPED), was=ended)
        await store.send("gone", [])
        await store.beat(replica("A"), lead=True)
        async with opened(server) as other:
            await asked(other, want("w2", room="r2"))
        for key, limit in (("want:w1", 86400), ("room:r", 86400), ("inbox:A", 60)):
            left = int(server.call("TTL", "{roomkeeper}:" + key).removeprefix(":"))
            assert limit - 60 < left <= limit
        assert server.call("TTL", "{roomkeeper}:want:w2") == ":-1"
        await asked(store, want("w3"))
        assert server.call("TTL", "{roomkeeper}:room:r") == ":-1"


async def test_a_forgotten_store_is_empty(server: RedisServer) -> None:
    """No index outlives its rows: what has ended and gone leaves the generation and the epoch."""
    async with opened(server) as store:
        await store.beat(replica("A"), lead=True)
        held = await store.claim(claim(of=await asked(store, want(at=store.clock()))))
        assert held is not None
        await store.release("j1")
        for wanted in await store.living():
            await store.update(replace(wanted, state=State.STOPPED), was=wanted)
        await store.forget_ended(store.clock() + 1)
        await store.retire("A")
        assert server.call("DBSIZE") == ":2"


async def test_a_wrong_password_is_said_without_it(server: RedisServer) -> None:
    """At once, by the name of the setting; the password itself is in no text."""
    with RedisServer(password="right-one") as closed:
        async with opened(closed) as store:
            await asked(store, want())
        for url in (closed.url.replace("right-one", "wrong-one"), f"redis://127.0.0.1:{closed.port}/0"):
            with pytest.raises(StoreUnavailable, match="password in ROOMKEEPER_STORE") as raised:
                async with open_store(StoreSettings(url=url)):
                    pass
            assert "wrong-one" not in str(raised.value)
    with pytest.raises(StoreUnavailable, match="no database of the number in ROOMKEEPER_STORE"):
        async with opened(server, url=f"redis://127.0.0.1:{server.port}/99"):
            pass


async def test_a_server_that_is_not_up_yet_is_waited_for(server: RedisServer) -> None:
    """Gateway and Redis are started together; whoever waits too long is told so."""
    server.kill()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        async with opened(server):
            pass
    async with anyio.create_task_group() as tasks:

        async def use() -> None:
            async with open_store(StoreSettings(url=server.url), lease=LEASE) as store:
                await settled(store)
                await asked(store, want())

        tasks.start_soon(use)
        await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(server.start)


async def test_whoever_is_told_to_end_waits_for_no_server(server: RedisServer) -> None:
    """A SIGTERM during the start."""
    settings = StoreSettings(url=server.url)
    server.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        async with open_store(settings, told_to_end=lambda: time.monotonic() > began + 1):
            pass
    assert time.monotonic() - began < 5


async def test_a_server_that_throws_rows_away_is_refused() -> None:
    """Evicted claims would let a second agent in: the operator reads what to set."""
    with RedisServer(config={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}) as server:
        with pytest.raises(StartupError, match="noeviction"):
            async with opened(server):
                pass
        server.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        async with opened(server):
            pass


async def test_two_databases_of_one_server_are_two_stores(server: RedisServer) -> None:
    """The number in the URL counts."""
    async with opened(server) as store, opened(server, url=f"redis://127.0.0.1:{server.port}/1") as other:
        await asked(store, want())
        assert await other.living() == []


async def test_a_cancelled_wait_for_notes_harms_nothing(server: RedisServer) -> None:
    """A gateway that ends does not wait for its inbox; the connection is not left half read."""
    async with opened(server) as store:
        for _ in range(5):
            with anyio.move_on_after(0.02):
                await store.receive("A")
            assert await store.living() == []
        assert await store.receive("A") == []


async def test_the_clock_is_the_servers(server: RedisServer) -> None:
    """To within what a look at it can err."""
    async with opened(server) as store:
        told = await store.beat(replica("A"), lead=False)
        assert told.now - 0.05 < store.clock() < told.now + 0.5


def set_clock(server: RedisServer, seconds: int) -> None:
    """As if the server's clock had been set by so many seconds: what every step goes by is off by them."""
    now = server.call("GET", "{roomkeeper}:shift")
    assert now == "$-1", "set only once"
    server.call("SET", "{roomkeeper}:shift", str(seconds * 1_000_000))


@pytest.mark.parametrize("seconds", [600, -600])
async def test_the_time_goes_on_when_the_servers_clock_is_set(server: RedisServer, seconds: int) -> None:
    """The leader's next heartbeat says how late it is, and it leads anew: what was written while the clock
    was wrong told nobody. No time comes twice."""
    async with opened(server) as store:
        before = await settled(store)
        fresh = await asked(store, want(at=store.clock()))
        set_clock(server, seconds)
        after = await store.beat(replica("A"), lead=True)
        assert before.now <= after.now < before.now + 5.0
        assert after.leader == "A"
        assert after.epoch > before.epoch
        assert store.clock() < before.now + 5.0
        assert await store.living() == [fresh]


async def test_only_the_leader_says_what_time_it_is(server: RedisServer) -> None:
    """Another replica takes the time as it is told; else two would set it against each other."""
    async with opened(server) as store, opened(server) as follower:
        before = await settled(store)
        await follower.beat(replica("B"), lead=False)
        set_clock(server, 600)
        assert (await follower.beat(replica("B"), lead=False)).now > before.now + 500
        assert (await store.beat(replica("A"), lead=True)).now < before.now + 5.0
        assert (await follower.beat(replica("B"), lead=False)).now < before.now + 5.0


async def test_a_row_of_a_newer_version_stops_its_room_and_nothing_else(server: RedisServer) -> None:
    """While versions are mixed: lists leave it out, and in its room nothing is done."""
    async with opened(server) as store:
        await settled(store)
        kept = await asked(store, want("w1", room="r1"))
        await asked(store, want("w2", room="r2"))
        key = "{roomkeeper}:want:w2"
        server.call("HSET", key, "body", '{"state":"of_tomorrow"}')
        assert await store.living() == [kept]
        with pytest.raises(StoreUnavailable, match="another version"):
            await store.wants("r2")
        with pytest.raises(StoreUnavailable, match="another version"):
            await store.want("w2")
