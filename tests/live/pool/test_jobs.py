"""What the pool tells about a job, on a real server: each stage, in order, and how it ended."""

from __future__ import annotations

import psutil
import pytest
from livekit import api
from structlog.testing import capture_logs

from pool.ports import JobEventKind as Kind
from tests.live.pool.stage import AGENT, running
from tests.live.processes import kill_all, survivors
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]


async def test_every_stage_of_a_job_is_told_in_order(livekit_server: LiveKitServer) -> None:
    """A job without a session is launched, enters, connects, is open; ended, it leaves and exits."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        job = stage.keeper.job_in(room)
        assert stage.pool.runs(job)
        stage.pool.end(job)
        await stage.keeper.event(room, Kind.EXITED)
    kinds = stage.keeper.kinds(job)
    assert kinds == [Kind.LAUNCHED, Kind.ENTERED, Kind.CONNECTED, Kind.OPEN, Kind.LEFT, Kind.EXITED]
    assert stage.keeper.identities[job] == f"agent-{job}"
    assert not stage.pool.runs(job)


async def test_what_a_job_prints_is_logged_as_its_own(livekit_server: LiveKitServer) -> None:
    """With job, room and agent, whether Python prints it or not; what an idle process prints, by its pid."""
    with capture_logs() as lines:
        async with running(livekit_server, "tests.live.pool.agents.chatty", slots=1) as stage:
            room = await stage.call()
            job = (await stage.keeper.event(room, Kind.OPEN)).job_id
        printed = {line["event"]: line for line in lines if "from " in line["event"]}
    for text in ("from Python", "from beneath"):
        assert (printed[text]["job"], printed[text]["room"], printed[text]["agent"]) == (job, room, AGENT)
    assert "job" not in printed["from the setup"]
    assert printed["from the setup"]["pid"] == printed["from Python"]["pid"]


async def test_a_launched_job_is_known_by_pid_and_start_time(livekit_server: LiveKitServer) -> None:
    """LAUNCHED names a living process so that it can be found again after a restart."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        room = await stage.call()
        launched = await stage.keeper.event(room, Kind.LAUNCHED)
        assert psutil.Process(launched.pid).create_time() == launched.pid_started


async def test_an_agent_whose_person_left_says_that_it_is_deaf(livekit_server: LiveKitServer) -> None:
    """A stock AgentSession agent is open when its session is, and tells at once why it closed (fact 82)."""
    async with running(livekit_server, "tests.live.agents.talker", slots=1) as stage:
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.ask(timeout=5)
        await person.leave()
        closed = await stage.keeper.event(room, Kind.SESSION_CLOSED)
        assert closed.detail == "participant_disconnected"
        assert stage.keeper.kinds(closed.job_id).count(Kind.OPEN) == 1


async def test_a_session_that_ends_by_its_own_will_says_so(livekit_server: LiveKitServer) -> None:
    """The close reason tells an end on purpose from a person's leave."""
    async with running(livekit_server, "tests.live.agents.talker", slots=1) as stage:
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.say("goodbye")
        assert (await stage.keeper.event(room, Kind.SESSION_CLOSED)).detail == "user_initiated"
        await person.leave()


async def test_an_exception_is_told_though_livekit_calls_it_success(livekit_server: LiveKitServer) -> None:
    """A raising entrypoint exits with code 0 (fact 49): RAISED tells its type, before LEFT and EXITED."""
    async with running(livekit_server, "tests.live.agents.raiser", slots=1) as stage:
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.tell("raise")
        exited = await stage.keeper.event(room, Kind.EXITED)
        assert exited.detail == "0"
        assert stage.keeper.details(room, Kind.RAISED) == ["RuntimeError"]
        assert stage.keeper.kinds(exited.job_id)[-3:] == [Kind.RAISED, Kind.LEFT, Kind.EXITED]
        await person.leave()


async def test_an_agent_that_leaves_by_itself_says_so(livekit_server: LiveKitServer) -> None:
    """`ctx.shutdown()` is a leave that the client initiated, without RAISED."""
    async with running(livekit_server, "tests.live.agents.leaver", slots=1) as stage:
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.tell("leave")
        exited = await stage.keeper.event(room, Kind.EXITED)
        assert stage.keeper.details(room, Kind.LEFT) == ["CLIENT_INITIATED"]
        assert Kind.RAISED not in stage.keeper.kinds(exited.job_id)
        await person.leave()


async def test_a_removed_agent_says_that_it_was_removed(livekit_server: LiveKitServer) -> None:
    """RemoveParticipant shows as LEFT with LiveKit's reason, and the process ends."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        identity = stage.keeper.identities[stage.keeper.job_in(room)]
        await stage.api.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
        await stage.keeper.event(room, Kind.EXITED)
        assert stage.keeper.details(room, Kind.LEFT) == ["PARTICIPANT_REMOVED"]


async def test_a_killed_job_is_told_at_once(livekit_server: LiveKitServer) -> None:
    """kill -9 of a job process: EXITED with -9 within a second, and the slot is free again."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        launched = await stage.keeper.event(room, Kind.LAUNCHED)
        psutil.Process(launched.pid).kill()
        assert (await stage.keeper.event(room, Kind.EXITED, timeout=1)).detail == "-9"
        await stage.warm(1)


async def test_a_killed_job_is_told_though_what_it_forked_lives_on(livekit_server: LiveKitServer) -> None:
    """That holds the other ends of the job's sockets, and is none of the job: the slot is free again."""
    async with running(livekit_server, "tests.live.pool.agents.forker", slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        launched = await stage.keeper.event(room, Kind.LAUNCHED)
        job = psutil.Process(launched.pid)
        forked = job.children()
        job.kill()
        try:
            assert (await stage.keeper.event(room, Kind.EXITED, timeout=4)).detail == "-9"
            await stage.warm(1)
            assert survivors(forked, timeout=0.0)
        finally:
            kill_all(forked)
