"""Only what the gate grants enters a room, and an end that comes too early is not forgotten."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import psutil
import pytest
from livekit import api

from pool.ports import JobEventKind as Kind
from pool.ports import Offer, Verdict
from tests.live.pool.stage import AGENT, Keeper, Stage, job_processes, running
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]
BEEPER = "tests.live.agents.beeper"
Run = Callable[..., AbstractAsyncContextManager[Stage]]
CHOOSY = "tests.live.pool.agents.choosy"


@pytest.fixture(params=["dispatch", "direct"])
def run(request: pytest.FixtureRequest, livekit_server: LiveKitServer) -> Run:
    """`running`, by each of the lanes."""
    return partial(running, livekit_server, lane=request.param)


async def test_the_gate_sees_what_the_dispatch_says(run: Run) -> None:
    """An offer carries room, SID, agent name and metadata."""
    async with run(BEEPER, slots=1) as stage:
        room = await stage.call(metadata="hello")
        await stage.keeper.event(room, Kind.LAUNCHED)
    (offer,) = stage.keeper.offers
    assert (offer.room, offer.agent, offer.metadata) == (room, AGENT, "hello")
    assert offer.sid.startswith("RM_")
    assert offer.dispatch_id.startswith("AD_") is (stage.lane == "dispatch")


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.UNKNOWN])
async def test_nothing_is_launched_unless_granted(run: Run, verdict: Verdict) -> None:
    """A refused job and one that the gate cannot tell about leave no trace, and the slot stays free."""
    async with run(BEEPER, slots=1, keeper=Keeper(verdict=verdict)) as stage:
        room = await stage.call()
        await stage.keeper.until(lambda: stage.keeper.job_in(room))
        await stage.warm(1)
        assert stage.keeper.events == []
        assert not stage.pool.runs(stage.keeper.job_in(room))


async def test_a_gate_that_is_slow_lets_nobody_in(run: Run) -> None:
    """No verdict within a second is unknown, never a grant."""

    class Slow(Keeper):
        async def claim(self, offer: Offer) -> Verdict:
            await super().claim(offer)
            await asyncio.Event().wait()
            return Verdict.GRANTED

    async with run(BEEPER, slots=1, keeper=Slow()) as stage:
        room = await stage.call()
        await stage.keeper.until(lambda: stage.keeper.job_in(room))
        assert stage.pool.capacity().starting == 1
        await stage.warm(1)
        assert stage.keeper.events == []


async def test_a_claim_that_is_gone_at_the_acceptance_refuses_the_job(run: Run) -> None:
    """`identify` is the last word before LiveKit hears of the acceptance."""
    async with run(BEEPER, slots=1, keeper=Keeper(identified=False)) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.UNASSIGNED)
        assert stage.keeper.kinds(stage.keeper.job_in(room)) == [Kind.UNASSIGNED]


async def test_a_claim_that_is_gone_before_the_connection_keeps_the_job_out(
    run: Run,
) -> None:
    """The job process asks again before it runs the user's code: it exits without having been in the room."""
    async with run(BEEPER, slots=1, keeper=Keeper(confirmed=False)) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.EXITED)
        kinds = stage.keeper.kinds(stage.keeper.job_in(room))
    assert kinds == [Kind.LAUNCHED, Kind.ENTERED, Kind.UNCONFIRMED, Kind.EXITED]


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.19, 0.21])
async def test_a_job_ended_before_it_is_launched_never_joins(run: Run, after: float) -> None:
    """An end at any moment between the claim and the launch is carried out (fact 53: no zombies)."""

    class Fickle(Keeper):
        async def identify(self, job_id: str, identity: str) -> bool:
            asyncio.get_running_loop().call_later(after, stage.pool.end, job_id)
            return await super().identify(job_id, identity)

    async with run(BEEPER, slots=1, keeper=Fickle()) as stage:
        room = await stage.call()
        await stage.keeper.until(lambda: stage.keeper.identities)
        await stage.keeper.until(lambda: not stage.pool.runs(stage.keeper.job_in(room)))
        await stage.warm(1)
        last = stage.keeper.events[-1].kind
    assert last in {Kind.UNASSIGNED, Kind.EXITED}


async def test_a_frozen_process_that_gets_a_job_is_killed(run: Run) -> None:
    """A stopped idle process takes a job and never enters (fact 63): its time is bounded."""
    async with run(BEEPER, slots=1, enter_timeout=0.5) as stage:
        for idle in job_processes():
            idle.send_signal(signal.SIGSTOP)
        room = await stage.call()
        exited = await stage.keeper.event(room, Kind.EXITED)
        assert exited.detail == "-9"
        assert stage.keeper.kinds(exited.job_id) == [Kind.LAUNCHED, Kind.EXITED]
        await stage.warm(1)


async def test_an_agent_that_swallows_its_cancellation_is_ended_by_force(
    run: Run,
) -> None:
    """Asked to end, a job that does not leave in time is killed (fact 9)."""
    async with run("tests.live.agents.stubborn", slots=1, end_timeout=0.5) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        stage.pool.end(stage.keeper.job_in(room))
        assert (await stage.keeper.event(room, Kind.EXITED, timeout=3)).detail == "-9"


async def test_an_agent_that_was_put_out_and_never_finishes_gives_its_slot_back(
    run: Run,
) -> None:
    """Removed from its room, a job that swallows its cancellation is killed when its time is up (fact 86)."""
    async with run("tests.live.agents.stubborn", slots=1, finish_timeout=0.5) as stage:
        room = await stage.call()
        job = (await stage.keeper.event(room, Kind.OPEN)).job_id
        await stage.api.room.remove_participant(
            api.RoomParticipantIdentity(room=room, identity=f"agent-{job}")
        )
        await stage.keeper.event(room, Kind.LEFT)
        assert (await stage.keeper.event(room, Kind.EXITED, timeout=3)).detail == "-9"
        await stage.warm(1)


async def test_a_kill_ends_a_stopped_job(run: Run) -> None:
    """`end(kill=True)` does not wait for a process that cannot answer."""
    async with run(BEEPER, slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        launched = await stage.keeper.event(room, Kind.LAUNCHED)
        psutil.Process(launched.pid).send_signal(signal.SIGSTOP)
        stage.pool.end(launched.job_id)
        stage.pool.end(launched.job_id, kill=True)
        assert (await stage.keeper.event(room, Kind.EXITED, timeout=1)).detail == "-9"


async def test_the_users_on_request_decides_after_the_gate(run: Run) -> None:
    """Its identity is recorded before the job is launched under it."""
    async with run(CHOOSY, slots=1) as stage:
        room = await stage.call(metadata="accept anna")
        await stage.keeper.event(room, Kind.OPEN)
        assert stage.keeper.identities[stage.keeper.job_in(room)] == "anna"


@pytest.mark.parametrize("behaviour", ["reject", "raise", "forget", "hang"])
async def test_an_on_request_that_does_not_accept_declines(run: Run, behaviour: str) -> None:
    """Rejecting, raising, returning without an answer, and never answering all show as DECLINED."""
    async with run(CHOOSY, slots=1) as stage:
        room = await stage.call(metadata=behaviour)
        await stage.keeper.event(room, Kind.DECLINED)
        assert stage.keeper.kinds(stage.keeper.job_in(room)) == [Kind.DECLINED]
        await stage.warm(1)
