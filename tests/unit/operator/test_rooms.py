"""The table of rooms: one line for each want, strangers' names as they are."""

from __future__ import annotations

import io
from typing import Any

import msgspec
from rich.console import Console

from gateway.http.shapes import RoomsAnswer
from gateway.operator.rooms import drawn, rows

NOW = 1_795_348_800.0
"""2026-11-22T12:00:00Z."""


def answer(*rooms: dict[str, Any], leading: bool = True) -> RoomsAnswer:
    return msgspec.convert({"rooms": rooms, "replica": "replica_1", "leading": leading}, RoomsAnswer)


def room(
    name: str = "demo", state: str = "joined", since: str = "2026-11-22T11:58:00Z", **more: Any
) -> dict[str, Any]:
    want = {
        "jobId": "job_1",
        "roomName": name,
        "agentName": "clerk",
        "state": state,
        "place": None,
        "since": since,
        "reason": "",
        "agentIdentity": None,
        "source": "request",
    }
    return {
        "roomName": name,
        "sid": None,
        "seenAt": None,
        "wants": [{**want, **more.pop("want", {})}],
        "claims": [],
        "participants": [],
        **more,
    }


def text(rooms: RoomsAnswer | None, fault: str = "") -> str:
    out = io.StringIO()
    Console(file=out, width=10_000).print(drawn(rooms, fault, NOW, terminal=False))
    return out.getvalue()


def test_a_line_has_all_that_is_known() -> None:
    """Stage and process of its own claim, people without agents and avatars."""
    claim = {
        "agentName": "clerk",
        "jobId": "job_1",
        "livekitJobId": "AJ_1",
        "agentIdentity": None,
        "stage": "open",
        "since": None,
        "pid": 42,
        "replica": "replica_a8b06b55bd0b",
    }
    people = [
        {"identity": who, "agentName": agent, "avatar": avatar, "active": True, "joinedAt": None}
        for who, agent, avatar in (("alice", None, False), ("agent", "clerk", False), ("face", None, True))
    ]
    [(_, row)] = rows(answer(room(claims=[claim], participants=people, seenAt="2026-11-22T12:00:00Z")), NOW)
    assert row == ("demo", "clerk", "joined", "", "2 m", "open", "42@55bd0b", "1", "")


def test_a_place_in_line_is_shown() -> None:
    [(_, row)] = rows(
        answer(room(state="waiting", want={"place": 3, "reason": "all 4 slots are taken"})), NOW
    )
    assert (row[3], row[-1]) == ("3", "all 4 slots are taken")


def test_what_ended_long_ago_is_left_out() -> None:
    """And said to be."""
    old = room("old", "finished", "2026-11-22T11:00:00Z")
    told = text(answer(old, room("new", "finished", "2026-11-22T11:59:30Z")))
    assert "new" in told
    assert "old" not in told
    assert "1 that ended before" in told


def test_a_replica_that_does_not_lead_says_so() -> None:
    """It shows less."""
    assert "does not lead" in text(answer(room(), leading=False))
    assert "does not lead" not in text(answer(room()))


def test_a_gateway_that_is_away_is_said_under_what_was_last_known() -> None:
    """While it is watched."""
    told = text(answer(room()), "nothing answers")
    assert "demo" in told
    assert "not reachable, trying again: nothing answers" in told
    assert "not reachable" in text(None, "nothing answers")


def test_names_are_only_names() -> None:
    """No markup of the table's library, no order to a terminal."""
    told = text(answer(room("[bold]x[/nothing]\x1b[2J")))
    assert "[bold]x[/nothing]?[2J" in told
