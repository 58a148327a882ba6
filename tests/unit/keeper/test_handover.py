"""What a room with an agent that hands over gets, and when that one leaves. With whom it is handed over to is
the live tier's affair; what may go wrong meanwhile is the simulator's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from gateway.keeper import gate
from gateway.keeper.handover import HANDOVER_TIMEOUT, over, retiring, see_out
from gateway.keeper.model import Ask, Participant, Seen, Stage, State
from gateway.keeper.plan import HANDS_OVER, plan
from gateway.keeper.situation import Dispatch, EndJob, RemoveParticipant
from tests.simulation.history import History
from tests.simulation.replica import AGENT as AGENT_OF_SCENES
from tests.simulation.replica import Replica
from tests.simulation.scene import Scene, a_scene
from tests.unit.keeper.test_plan import AGENT, NOW, PERSON, ROOM, RULES, claim, situation, want

OLD = replace(claim(Stage.OPEN, since=NOW - 60), retires_since=NOW - 1)
NEW = replace(claim(Stage.OPEN), job_id="j2", identity="agent-j2")
SUCCESSOR = Participant(identity="agent-j2", agent="a")
BOTH = Seen(room=ROOM, participants=[PERSON, AGENT, SUCCESSOR], at=NOW)


def test_a_successor_is_called_beside_it() -> None:
    """It is neither a ghost nor a stray; the want says what is going on."""
    seen = Seen(room=ROOM, participants=[PERSON, AGENT], at=NOW)
    joined = want(state=State.JOINED, identity="agent-j1", lacking_since=0.0)
    made = plan(situation(want=joined, seen=seen, retiring=frozenset({"agent-j1"})), RULES)
    assert made.actions == [Dispatch()]
    assert (made.want.state, made.want.reason) == (State.REPLACING, HANDS_OVER)
    assert made.want.lacking_since == NOW


def test_without_the_claim_it_would_be_put_out() -> None:
    """The same situation, but nobody hands over."""
    seen = Seen(room=ROOM, participants=[PERSON, AGENT], at=NOW)
    made = plan(situation(want=want(state=State.JOINED, identity="agent-j1"), seen=seen), RULES)
    assert RemoveParticipant("agent-j1", "ghost") in made.actions


@pytest.mark.parametrize("stage", [Stage.CONNECTED, Stage.OPEN])
def test_a_successor_does_not_put_it_out(stage: Stage) -> None:
    """That is done once, in order, by who sees it out."""
    now = situation(claim=replace(NEW, stage=stage), seen=BOTH, retiring=frozenset({"agent-j1"}), want=want())
    assert plan(now, RULES).actions == []


def test_it_leaves_once_its_successor_works() -> None:
    """Open, and listed: not before."""
    assert over(OLD, [OLD, NEW], BOTH.participants, NOW) == "handed_over"
    assert over(OLD, [OLD, replace(NEW, stage=Stage.CONNECTED)], BOTH.participants, NOW) == ""
    assert over(OLD, [OLD, NEW], [PERSON, AGENT], NOW) == ""
    assert over(OLD, [OLD, replace(NEW, agent="b")], BOTH.participants, NOW) == ""
    assert over(OLD, [OLD, replace(NEW, retires_since=NOW)], BOTH.participants, NOW) == ""


def test_it_leaves_after_its_time_all_the_same() -> None:
    """The bound of I1's exception."""
    until = OLD.retires_since + HANDOVER_TIMEOUT
    assert over(OLD, [OLD], [PERSON, AGENT], until - 0.1) == ""
    assert over(OLD, [OLD], [PERSON, AGENT], until) == "late"


def test_one_that_livekit_does_not_list_is_killed() -> None:
    """It may be about to come back, and could not be removed."""
    kill = EndJob(OLD, kill=True)
    assert kill in see_out(OLD, [PERSON, SUCCESSOR], NOW)
    assert kill not in see_out(OLD, BOTH.participants, NOW)


def test_its_successor_knows_it() -> None:
    """By what the call carries; no other call carries it."""
    assert retiring([OLD, NEW]) == {"agent-j1"}
    assert gate.attributes(want(), "agent-j1")[gate.PREDECESSOR] == "agent-j1"
    assert gate.PREDECESSOR not in gate.attributes(want())


@pytest.mark.anyio
async def test_a_call_is_handed_over_to_another_replica() -> None:
    """After it the old replica is idle, and the want joined by the other's agent."""
    async with a_scene(History(seed=1, replicas=2, steps=())) as scene:
        room = "r1"
        scene.livekit.join(room, "p")
        old, first = await _served(scene, room)
        old.pool.drain()
        assert await old.keeper.hand_over() == 1
        await _until(lambda: len(scene.observer.agents(room)) == 2)
        await _until(lambda: not old.pool.jobs)
        assert [c.identity for c in scene.observer.agents(room)] != [first]
        other = next(r for r in scene.replicas if r is not old)
        (successor,) = other.pool.jobs.values()
        assert successor.offer.attributes[gate.PREDECESSOR] == first
        job = await other.keeper.start_agent(Ask(room=room, agent=AGENT_OF_SCENES))
        assert job.want.state is State.JOINED
        assert job.want.identity in {c.identity for c in scene.observer.agents(room)} - {first}


@pytest.mark.anyio
async def test_a_successor_is_called_while_the_store_is_slow() -> None:
    """The room is looked at once more before anybody is called into it: who hands over is nobody else."""

    async def slowly() -> None:
        await anyio.sleep(0.25)

    async with a_scene(History(seed=1, replicas=2, steps=())) as scene:
        scene.livekit.join("r1", "p")
        old, first = await _served(scene, "r1")
        for replica in scene.replicas:
            replica.link.on_the_way = slowly
        old.pool.drain()
        assert await old.keeper.hand_over() == 1
        await _until(lambda: len(scene.observer.agents("r1")) == 2)
        await _until(lambda: [c.identity for c in scene.observer.agents("r1")] not in ([], [first]))


@pytest.mark.anyio
async def test_without_another_worker_nothing_is_handed_over() -> None:
    """The room keeps its agent for as long as the process lives."""
    async with a_scene(History(seed=1, replicas=1, steps=())) as scene:
        scene.livekit.join("r1", "p")
        old, first = await _served(scene, "r1")
        old.pool.drain()
        assert await old.keeper.hand_over() == 0
        await anyio.sleep(20.0)
        assert [c.identity for c in scene.observer.agents("r1")] == [first]


@pytest.mark.anyio
async def test_an_agent_that_finishes_meanwhile_has_finished() -> None:
    """I5: nobody takes over from it."""
    async with a_scene(History(seed=1, replicas=2, steps=())) as scene:
        scene.livekit.join("r1", "p")
        old, _ = await _served(scene, "r1")
        old.pool.drain()
        assert await old.keeper.hand_over() == 1
        old.pool.finish(next(iter(old.pool.jobs.values())))
        await anyio.sleep(20.0)
        assert scene.observer.agents("r1") == []


@pytest.mark.anyio
async def test_an_agent_that_dies_meanwhile_is_replaced_once() -> None:
    """Its successor is on its way already: nobody else is called, and no failure is counted."""
    async with a_scene(History(seed=1, replicas=2, steps=())) as scene:
        scene.livekit.join("r1", "p")
        old, _ = await _served(scene, "r1")
        other = next(r for r in scene.replicas if r is not old)
        old.pool.drain()
        assert await old.keeper.hand_over() == 1
        await _until(lambda: bool(other.pool.jobs))
        (successor,) = other.pool.jobs
        old.pool.die(next(iter(old.pool.jobs.values())))
        await anyio.sleep(5.0)
        job = await other.keeper.start_agent(Ask(room="r1", agent=AGENT_OF_SCENES))
        assert (job.want.state, job.want.failures) == (State.JOINED, 0)
        assert list(other.pool.jobs) == [successor]


async def _served(scene: Scene, room: str) -> tuple[Replica, str]:
    """The replica whose agent serves the room, and that agent's identity."""
    scene.ask(room, 0, "ask")
    await _until(lambda: bool(scene.observer.working(room)))
    await anyio.sleep(1.0)
    return next(r for r in scene.replicas if r.pool.jobs), scene.observer.working(room)[0].identity


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10.0):
        while not holds():  # noqa: ASYNC110  (the world has no one event; its clock is virtual)
            await anyio.sleep(0.01)
