"""A request can be found again, by its caller and in the log."""

from __future__ import annotations

import pytest
from structlog.contextvars import get_contextvars

from gateway.keeper.reports import RoomReport
from tests.door import Door

pytestmark = pytest.mark.anyio


async def test_a_callers_own_id_is_kept(door: Door) -> None:
    """It may be in the logs of a proxy, too."""
    answer = await door.ask(headers={"x-request-id": "edge-42.a:b_c"})
    assert answer.headers["x-request-id"] == "edge-42.a:b_c"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "<script>", 'a","b":"c'])
async def test_an_id_that_is_not_plain_is_replaced(door: Door, given: str) -> None:
    """It would get into log lines and answers."""
    made = (await door.ask(headers={"x-request-id": given})).headers["x-request-id"]
    assert made != given
    assert len(made) == 16


async def test_a_problem_names_its_request(door: Door) -> None:
    """So that whoever reports it can say which."""
    answer = await door.http.get("/nothing", headers={"x-request-id": "mine"})
    assert answer.json()["requestId"] == answer.headers["x-request-id"] == "mine"


async def test_what_is_logged_meanwhile_carries_the_id(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing afterwards does."""
    found: list[object] = []

    async def rooms() -> list[RoomReport]:
        found.append(get_contextvars().get("request_id"))
        return []

    monkeypatch.setattr(door.keeper.reports, "rooms", rooms)
    await door.http.get("/api/livekit/rooms", headers={"x-request-id": "mine"})
    assert found == ["mine"]
    assert "request_id" not in get_contextvars()
