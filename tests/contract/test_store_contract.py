"""What the keeper relies on in a store, held by every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.errors import StoreLocked
from gateway.keeper.model import Ask, Claim, Invitation, Stage, State, Want
from gateway.keeper.ports import Store, StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.sqlite import open_store
from tests.fakes.store import MemoryStore

pytestmark = pytest.mark.anyio

NOW = 1000.0


def clock() -> float:
    return NOW


def want(want_id: str = "w1", room: str = "r", agent: str = "a", at: float = NOW, sid: str = "") -> Want:
    return Want(
        id=want_id, room=room, agent=agent, sid=sid, created_at=at, asked_at=at, since=at, lacking_since=at
    )


def claim(job_id: str = "j1", *, of: Want, sid: str = "RM_1") -> Claim:
    return Claim(
        room=of.room,
        agent=of.agent,
        want_id=of.id,
        generation=of.generation,
        sid=sid,
        job_id=job_id,
        identity=f"agent-{job_id}",
        since=NOW,
    )


async def asked(store: Store, fresh: Want) -> Want:
    stored, _ = await store.ask(Ask(room=fresh.room, agent=fresh.agent), fresh=fresh)
    return stored


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(clock)
    else:
        async with open_store(StoreSettings(path=tmp_path / "store.db"), clock) as opened:
            yield opened


async def test_an_ask_for_a_living_want_renews_it_and_keeps_its_id(store: Store) -> None:
    """Start requests are idempotent while the want lives."""
    first, was_there = await store.ask(Ask(room="r", agent="a"), fresh=want("w1"))
    again, is_there = await store.ask(Ask(room="r", agent="a"), fresh=want("w2", at=NOW + 5))
    assert (was_there, is_there) == (False, True)
    assert (again.id, again.asked_at, again.created_at) == (first.id, NOW + 5, NOW)


async def test_an_ask_after_the_want_ended_makes_another_one(store: Store) -> None:
    """An ended want is not called back to life; a later ask is a new job."""
    first = await asked(store, want("w1"))
    assert await store.update(replace(first, state=State.FINISHED), was=first)
    second, deduplicated = await store.ask(Ask(room="r", agent="a"), fresh=want("w2", at=NOW + 1))
    assert (second.id, deduplicated) == ("w2", False)
    assert [w.id for w in await store.living()] == ["w2"]


async def test_an_asks_metadata_replaces_the_wants_only_when_it_has_some(store: Store) -> None:
    """A page that reloads does not wipe out what the room was asked with."""
    await asked(store, replace(want("w1"), metadata="de"))
    kept = await asked(store, want("w2"))
    changed = await asked(store, replace(want("w3"), metadata="fr"))
    assert (kept.metadata, changed.metadata) == ("de", "fr")


async def test_an_update_of_something_changed_meanwhile_writes_nothing(store: Store) -> None:
    """Two passes never overwrite each other's outcome."""
    first = await asked(store, want())
    assert await store.update(replace(first, state=State.STOPPED), was=first)
    assert not await store.update(replace(first, state=State.JOINED), was=first)
    stored = await store.want("w1")
    assert stored is not None
    assert stored.state is State.STOPPED


async def test_an_ask_during_a_pass_survives_the_passs_update(store: Store) -> None:
    """The time of a late ask is never lost, whoever writes last (I5 depends on it)."""
    first = await asked(store, want())
    await asked(store, replace(want("w2", at=NOW + 9), metadata="new"))
    assert await store.update(replace(first, state=State.JOINED), was=first)
    stored = await store.want("w1")
    assert stored is not None
    assert (stored.state, stored.asked_at, stored.metadata) == (State.JOINED, NOW + 9, "new")


async def test_a_want_that_was_asked_for_meanwhile_is_not_ended(store: Store) -> None:
    """The ask was answered: it must not vanish with the want."""
    first = await asked(store, want())
    await asked(store, want("w2", at=NOW + 9))
    assert not await store.update(replace(first, state=State.FINISHED), was=first)
    renewed = await store.want("w1")
    assert renewed is not None
    assert renewed.state is State.WAITING
    assert await store.update(replace(renewed, state=State.FINISHED), was=renewed)


async def test_only_one_job_gets_the_claim(store: Store) -> None:
    """The second job is told who holds the room (I1)."""
    wanted = await asked(store, want())
    first = await store.claim(claim("j1", of=wanted))
    second = await store.claim(claim("j2", of=wanted))
    assert first is not None
    assert second is not None
    assert (first.job_id, second.job_id) == ("j1", "j1")


async def test_a_claim_needs_a_living_want_of_that_generation_and_room_instance(store: Store) -> None:
    """Late jobs of ended, restarted or older-room wants are refused (I4)."""
    wanted = await asked(store, want(sid="RM_1"))
    assert await store.claim(replace(claim(of=wanted), generation=2)) is None
    assert await store.claim(claim(of=wanted, sid="RM_2")) is None
    assert await store.claim(replace(claim(of=wanted), want_id="nobody")) is None
    assert await store.update(replace(wanted, state=State.STOPPED), was=wanted)
    assert await store.claim(claim(of=wanted)) is None


async def test_a_claim_pins_a_want_that_was_not_pinned(store: Store) -> None:
    """From its first agent on, a want belongs to one room instance."""
    wanted = await asked(store, want())
    await store.claim(claim(of=wanted, sid="RM_7"))
    stored = await store.want("w1")
    assert stored is not None
    assert stored.sid == "RM_7"


async def test_a_released_room_can_be_claimed_again(store: Store) -> None:
    """Release returns what was held, once."""
    wanted = await asked(store, want())
    held = await store.claim(claim("j1", of=wanted))
    assert await store.release("j1") == held
    assert await store.release("j1") is None
    after = await store.claim(claim("j2", of=wanted))
    assert after is not None
    assert after.job_id == "j2"


async def test_a_claim_advances_only_while_it_is_held(store: Store) -> None:
    """News of a job that has left change nothing."""
    wanted = await asked(store, want())
    held = await store.claim(claim("j1", of=wanted))
    assert held is not None
    opened = replace(held, stage=Stage.OPEN, pid=7)
    assert await store.advance(opened, was=held)
    assert await store.claim_of("j1") == opened
    assert await store.claims("r") == await store.all_claims() == [opened]
    await store.release("j1")
    assert not await store.advance(opened, was=held)
    assert await store.claim_of("j1") is None


async def test_a_rooms_wants_are_the_living_or_else_the_last_ended_of_each_agent(store: Store) -> None:
    """Who asks about a room learns how it stands, and how it last ended."""
    first = await asked(store, want("w1"))
    await store.update(replace(first, state=State.FINISHED), was=first)
    await asked(store, want("w2", at=NOW + 1))
    await asked(store, want("w3", agent="b", at=NOW + 2))
    assert [w.id for w in await store.wants("r")] == ["w2", "w3"]
    assert await store.wants("elsewhere") == []


async def test_ended_wants_are_forgotten_after_their_time(store: Store) -> None:
    """The store does not grow for ever, and forgets no living want."""
    first = await asked(store, want("w1"))
    await store.update(replace(first, state=State.FINISHED), was=first)
    await asked(store, want("w2"))
    assert await store.forget_ended(before=NOW) == 0
    assert await store.forget_ended(before=NOW + 1) == 1
    assert [w.id for w in await store.recent()] == ["w2"]


async def test_invitations_last_until_they_expire(store: Store) -> None:
    """A token calls its agent whenever its person joins with it, as long as it lives."""
    valid = Invitation(room="r", identity="p", agent="a", metadata="m", expires_at=NOW + 60)
    expired = Invitation(room="r", identity="q", agent="a", expires_at=NOW - 1)
    await store.invite(valid)
    await store.invite(expired)
    assert await store.invitations("r") == await store.invitations() == [valid]
    assert await store.invitations("elsewhere") == []


async def test_what_was_answered_is_there_after_a_reopening(tmp_path: Path) -> None:
    """SQLite: wants and claims survive their process."""
    settings = StoreSettings(path=tmp_path / "store.db")
    async with open_store(settings, clock) as store:
        wanted = await asked(store, want())
        held = await store.claim(claim(of=wanted))
    async with open_store(settings, clock) as store:
        assert [w.id for w in await store.living()] == ["w1"]
        assert await store.all_claims() == [held]


async def test_a_caller_that_gives_up_breaks_nobody_elses_step(tmp_path: Path) -> None:
    """A cancelled step may still be on its way; the next one waits for it."""
    async with open_store(StoreSettings(path=tmp_path / "store.db"), clock) as store:
        for number in range(50):
            with anyio.move_on_after(0.0001):
                await asked(store, want(f"w{number}", room=f"r{number}"))
            assert await store.wants("elsewhere") == []


async def test_a_second_process_is_told_that_the_store_is_taken(tmp_path: Path) -> None:
    """Two gateways on one file would each believe to be alone."""
    settings = StoreSettings(path=tmp_path / "store.db")
    async with open_store(settings, clock):
        with pytest.raises(StoreLocked, match="ROOMKEEPER_STORE"):
            async with open_store(settings, clock):
                pass


async def test_a_file_that_is_no_store_is_refused_with_words(tmp_path: Path) -> None:
    """A wrong path must not become a stack trace."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be read as the head of one" * 4)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt"):
        async with open_store(StoreSettings(path=path), clock):
            pass
