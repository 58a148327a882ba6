"""The direct lane beside LiveKit's own dispatch: nobody can tell the agents apart.

What both have in common at the gate is in `test_gate`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from livekit import api

from gateway.settings import Lane
from pool.ports import JobEventKind as Kind
from pool.ports import Launch
from tests.live.pool.stage import ATTRIBUTES, Stage, new_room, running
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]
MIRROR = "tests.live.pool.agents.mirror"

OF_THE_INSTANCE = {"sid", "identity", "joinedAt", "joinedAtMs", "version"}
OF_THE_DISPATCH = {"id", "dispatchId"}
OF_THE_SERVER = {
    *("creationTime", "creationTimeMs", "emptyTimeout", "departureTimeout", "turnPassword", "enabledCodecs"),
}
"""What an agent knows of its room only when it is connected."""


async def test_an_agent_looks_the_same_and_is_told_the_same(livekit_server: LiveKitServer) -> None:
    """As LiveKit lists it, with its permissions; and the job as its entrypoint gets it."""
    agents, jobs = {}, {}
    lanes: tuple[Lane, Lane] = ("dispatch", "direct")
    for lane in lanes:
        async with running(livekit_server, MIRROR, slots=1, lane=lane) as stage:
            room = await stage.call(metadata="hello")
            await stage.keeper.event(room, Kind.OPEN)
            agents[lane], jobs[lane] = await _mirrored(stage, room)
            assert agents[lane]["identity"] == f"agent-{jobs[lane]['id']}"
    for lane in lanes:
        agents[lane] = {k: v for k, v in agents[lane].items() if k not in OF_THE_INSTANCE}
        for gone in OF_THE_DISPATCH:
            jobs[lane].pop(gone, None)
        jobs[lane]["state"] = jobs[lane]["state"]["status"]
        room = jobs[lane]["room"]
        assert room.pop("sid").startswith("RM_")
        assert room.pop("name").startswith("pool-")
        jobs[lane]["room"] = {k: v for k, v in room.items() if k not in OF_THE_SERVER}
    assert jobs["direct"]["attributes"] == ATTRIBUTES
    assert jobs["direct"]["room"] == {"metadata": "the room's"}
    assert agents["direct"] == agents["dispatch"]
    assert jobs["direct"] == jobs["dispatch"]


async def test_livekit_knows_no_dispatch_of_it(livekit_server: LiveKitServer) -> None:
    """So nothing at LiveKit ends the agent but its removal, or its room's end."""
    async with running(livekit_server, MIRROR, slots=1, lane="direct") as stage:
        room = await stage.call()
        job = (await stage.keeper.event(room, Kind.OPEN)).job_id
        listed = await stage.api.agent_dispatch.list_dispatch(room)
        assert [d.agent_name for d in listed if d.agent_name] == []  # fact 55: a room has an unnamed one
        await stage.api.room.remove_participant(
            api.RoomParticipantIdentity(room=room, identity=f"agent-{job}")
        )
        assert (await stage.keeper.event(room, Kind.EXITED)).detail == "0"


async def test_what_is_on_its_way_has_its_slot(livekit_server: LiveKitServer) -> None:
    """From the first moment on: one more than there are slots is not taken."""
    async with running(livekit_server, MIRROR, slots=2, lane="direct") as stage:
        launch = Launch(room=new_room(), sid="RM_any", attributes={})
        assert [stage.pool.launch(launch) for _ in range(3)] == [True, True, False]


async def test_two_at_once_take_two_slots(livekit_server: LiveKitServer) -> None:
    """And give them back."""
    async with running(livekit_server, MIRROR, slots=2, lane="direct") as stage:
        rooms = await asyncio.gather(stage.call(), stage.call())
        for room in rooms:
            await stage.keeper.event(room, Kind.OPEN)
        assert stage.pool.capacity().free == 0
        taken = [c.running + c.starting for c in stage.keeper.capacities]
        assert max(taken) == 2
        for room in rooms:
            stage.pool.end(stage.keeper.job_in(room))
        await stage.warm(2)


async def _mirrored(stage: Stage, room: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The agent as LiveKit lists it, and its job as it was told."""
    for _ in range(100):
        listed = await stage.api.room.list_participants(api.ListParticipantsRequest(room=room))
        (agent,) = [MessageToDict(p) for p in listed.participants]
        if "job" in agent["attributes"]:
            return agent, json.loads(agent["attributes"].pop("job"))
        await asyncio.sleep(0.05)
    raise AssertionError(f"the agent of {room} has not told its job")
