"""What sessions rely on in a store, held by every store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from gateway.sessions import ports
from gateway.sessions.model import Line, Session
from gateway.sessions.ports import SessionStore
from gateway.settings import StoreSettings
from gateway.store.open import open_store
from tests.fakes.sessions import MemorySessions
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
async def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    match request.param:
        case "memory":
            yield MemorySessions()
        case "sqlite":
            async with open_store(StoreSettings(path=tmp_path / "store.db")) as store:
                yield store.sessions
        case _:
            server: RedisServer = request.getfixturevalue("redis_server")
            server.call("FLUSHALL")
            async with open_store(StoreSettings(url=server.url)) as store:
                yield store.sessions


def session(session_id: str = "session-1-a", keep: float = 60.0) -> Session:
    now = time.time()
    return Session(
        id=session_id,
        agent="clerk",
        identity="alice",
        language="de-Ä😀",
        created_at=now,
        keep_until=now + keep,
    )


def line(text: str, line_id: str = "") -> Line:
    return Line(role="user", text=text, id=line_id, at=1_795_000_000.123456)


async def test_a_session_comes_back_as_it_was_stored(sessions: SessionStore) -> None:
    """To the last digit of its times."""
    await sessions.add(stored := session())
    assert await sessions.session(stored.id) == stored
    assert await sessions.session("another") is None


async def test_nothing_is_told_before_the_agent_reports(sessions: SessionStore) -> None:
    """No lines, no answers, no time."""
    await sessions.add(session())
    told = await sessions.told("session-1-a")
    assert (told.transcript, bytes(told.questionnaire), told.at) == ([], b"null", 0.0)


async def test_lines_are_appended_and_the_questionnaire_replaced(sessions: SessionStore) -> None:
    """In the order in which they are reported; None leaves the questionnaire as it is."""
    await sessions.add(session())
    assert await sessions.report("session-1-a", [line("one")], b'{"a":1}', at=5.5)
    assert await sessions.report("session-1-a", [line("two"), line("three")], None, at=6.25)
    told = await sessions.told("session-1-a")
    assert [said.text for said in told.transcript] == ["one", "two", "three"]
    assert told.transcript[0] == line("one")
    assert (msgspec.json.decode(told.questionnaire), told.at) == ({"a": 1}, 6.25)
    assert await sessions.report("session-1-a", [], b'{"b":2}', at=7.0)
    assert bytes((await sessions.told("session-1-a")).questionnaire) == b'{"b":2}'


async def test_a_line_that_is_reported_again_counts_once(sessions: SessionStore) -> None:
    """By its id: an agent that had no answer reports again. Lines without one are all new."""
    await sessions.add(session())
    for _ in range(2):
        await sessions.report("session-1-a", [line("one", "1"), line("two", "2"), line("x")], None, at=1.0)
    told = await sessions.told("session-1-a")
    assert [said.text for said in told.transcript] == ["one", "two", "x", "x"]


async def test_no_more_lines_are_stored_than_a_session_may_have(
    sessions: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones stay; one that is there already takes no place."""
    for module in ("gateway.store.sqlite_sessions", "gateway.store.redis_sessions", "tests.fakes.sessions"):
        monkeypatch.setattr(f"{module}.MOST_LINES", 3)
    assert ports.MOST_LINES >= 10_000
    await sessions.add(session())
    await sessions.report("session-1-a", [line("1"), line("2", "twice")], None, at=1.0)
    again = line("2", "twice")
    await sessions.report("session-1-a", [again, line("3"), line("4")], None, at=1.0)
    assert [s.text for s in (await sessions.told("session-1-a")).transcript] == ["1", "2", "3"]


async def test_no_more_is_stored_than_can_be_told_at_once(
    sessions: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a session is one answer; the questionnaire is kept nevertheless."""
    for module in ("gateway.store.sqlite_sessions", "gateway.store.redis_sessions", "tests.fakes.sessions"):
        monkeypatch.setattr(f"{module}.MOST_BYTES", 1000)
    assert ports.MOST_BYTES >= 1_000_000
    await sessions.add(session())
    await sessions.report("session-1-a", [line("x" * 600)], None, at=1.0)
    await sessions.report("session-1-a", [line("y" * 600), line("z")], b"{}", at=1.0)
    told = await sessions.told("session-1-a")
    assert [s.text[0] for s in told.transcript] == ["x"]
    assert bytes(told.questionnaire) == b"{}"


async def test_nobody_reports_for_a_session_that_is_not_there(sessions: SessionStore) -> None:
    """Nothing is left behind that would never be forgotten."""
    assert not await sessions.report("session-1-a", [line("one")], b"{}", at=1.0)
    assert (await sessions.told("session-1-a")).transcript == []
    assert not await sessions.end("session-1-a", at=1.0)


async def test_a_session_ends_once(sessions: SessionStore) -> None:
    """When it did first; all else stays."""
    await sessions.add(stored := session())
    assert await sessions.end(stored.id, at=100.5)
    assert await sessions.end(stored.id, at=200.0)
    assert await sessions.session(stored.id) == msgspec.structs.replace(stored, ended_at=100.5)


async def test_a_session_is_forgotten_with_its_lines_after_its_time(sessions: SessionStore) -> None:
    """And no other."""
    await sessions.add(session("session-1-old", keep=1.0))
    await sessions.add(session("session-1-new"))
    for name in ("session-1-old", "session-1-new"):
        await sessions.report(name, [line("said")], b"{}", at=1.0)
    await anyio.sleep(1.3)
    await sessions.forget(time.time())
    assert await sessions.session("session-1-old") is None
    assert (await sessions.told("session-1-old")).transcript == []
    assert len((await sessions.told("session-1-new")).transcript) == 1


async def test_lines_of_fifty_reports_at_once_are_all_there(sessions: SessionStore) -> None:
    """Each step is atomic."""
    await sessions.add(session())

    async def report(number: str) -> None:
        await sessions.report("session-1-a", [line(number, number)], None, at=1.0)

    async with anyio.create_task_group() as tasks:
        for n in range(50):
            tasks.start_soon(report, str(n))
    assert len((await sessions.told("session-1-a")).transcript) == 50
