"""What a room is told of its agent: in order, and no more than matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import anyio
import pytest

from gateway.keeper.announce import AT_ONCE, Announcer
from gateway.keeper.model import Job, State, Want
from tests.fakes.livekit import FakeLiveKit
from tests.unit.keeper.site import AGENT, wall_clock

pytestmark = pytest.mark.anyio


class SlowLiveKit(FakeLiveKit):
    """Its messages take as long as they are told to, one after the other."""

    def __init__(self, delays: Callable[[str], float]) -> None:
        super().__init__(clock=wall_clock)
        self.delays = delays
        self.told: list[tuple[str, str]] = []
        self.at_once = self.most_at_once = 0

    async def send_status(self, room: str, payload: bytes) -> None:
        message = json.loads(payload)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(self.delays(message["state"]))
        self.at_once -= 1
        self.told.append((room, message["state"]))


def a_want(state: State, room: str = "r", sid: str = "RM_1") -> Want:
    now = wall_clock()
    return Want(
        id=f"w-{room}",
        room=room,
        agent=AGENT,
        sid=sid,
        state=state,
        created_at=now,
        asked_at=now,
        since=now,
        lacking_since=0.0,
    )


async def told(livekit: SlowLiveKit, wants: Sequence[Want], pause: float = 0.0) -> list[tuple[str, str]]:
    announcer = Announcer(livekit, lambda want: Job(want=want))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(announcer.run)
        for want in wants:
            announcer.tell(want)
            await anyio.sleep(pause)
        await anyio.sleep(100.0)
        tasks.cancel_scope.cancel()
    return livekit.told


async def test_a_slow_message_is_not_overtaken() -> None:
    """The page would believe "dispatched" for ever, came it after "joined"."""
    livekit = SlowLiveKit(lambda state: 5.0 if state == "dispatched" else 0.0)
    wants = [a_want(State.DISPATCHED), a_want(State.JOINED)]
    assert await told(livekit, wants, pause=0.1) == [("r", "dispatched"), ("r", "joined")]


async def test_what_is_out_of_date_is_not_told_any_more() -> None:
    """After LiveKit hung, the room hears how it is, not how it was."""
    livekit = SlowLiveKit(lambda state: 5.0)
    states = [State.DISPATCHED, State.REPLACING, State.WAITING, State.DISPATCHED, State.JOINED]
    wants = [a_want(state) for state in states]
    assert await told(livekit, wants, pause=0.1) == [("r", "dispatched"), ("r", "joined")]


async def test_many_rooms_are_told_a_few_at_a_time() -> None:
    """And all of them in the end."""
    livekit = SlowLiveKit(lambda state: 1.0)
    rooms = [f"room-{number}" for number in range(5 * AT_ONCE)]
    assert sorted(await told(livekit, [a_want(State.JOINED, r) for r in rooms])) == sorted(
        (room, "joined") for room in rooms
    )
    assert livekit.most_at_once == AT_ONCE


async def test_nobody_is_told_of_what_nobody_hears() -> None:
    """A room that was never there, and one that has ended."""
    livekit = SlowLiveKit(lambda state: 0.0)
    assert await told(livekit, [a_want(State.FINISHED), a_want(State.WAITING, sid="")]) == []
