"""The fake LiveKit's rules where the contract suite has no worker: jobs, deaths, restarts, faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from gateway.keeper.model import Dispatch, Room, Unknown
from gateway.livekit.webhooks import Event
from pool.ports import Offer
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Accepted, Answer, Call, Fault, Link, Refused
from tests.fakes.livekit_worker import StockWorker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
async def livekit() -> AsyncIterator[FakeLiveKit]:
    async with FakeLiveKit() as livekit:
        yield livekit


async def dispatch(livekit: FakeLiveKit, room: str = "room-1", agent: str = "echo") -> str:
    answer = await livekit.create_dispatch(room, agent, metadata="", attributes={})
    assert isinstance(answer, Dispatch)
    return answer.id


def agents(livekit: FakeLiveKit, room: str = "room-1") -> list[str]:
    return [c.identity for c in livekit.present(room) if c.agent is not None]


class Scripted(StockWorker):
    """A worker that answers as the test says, after `takes` seconds."""

    def __init__(self, livekit: FakeLiveKit, answer: Answer, *, takes: float = 0.0) -> None:
        self.answer, self.takes = answer, takes
        self.offers: list[Offer] = []
        self.lost: list[str] = []
        super().__init__(livekit, "echo")

    async def offered(self, offer: Offer) -> Answer:
        self.offers.append(offer)
        await anyio.sleep(self.takes)
        if isinstance(self.answer, Accepted):
            self.agents[offer.job_id] = None
        return self.answer

    def unassigned(self, offer: Offer) -> None:
        super().unassigned(offer)
        self.lost.append(offer.job_id)


async def test_a_dispatch_brings_the_workers_agent_in_about_300_ms(livekit: FakeLiveKit) -> None:
    """The normal path (fact 4)."""
    StockWorker(livekit, "echo")
    await dispatch(livekit)
    await anyio.sleep(0.27)
    assert agents(livekit) == []
    await anyio.sleep(0.06)
    assert len(agents(livekit)) == 1


async def test_two_dispatches_bring_two_agents(livekit: FakeLiveKit) -> None:
    """Nothing but a gate dedupes (fact 5)."""
    StockWorker(livekit, "echo")
    await dispatch(livekit)
    await dispatch(livekit)
    await anyio.sleep(1)
    assert len(agents(livekit)) == 2


async def test_an_offer_carries_what_the_dispatch_said(livekit: FakeLiveKit) -> None:
    """Attributes and metadata reach the job, with the room's SID (facts 21, 47)."""
    worker = Scripted(livekit, Refused(terminate=True))
    await livekit.create_dispatch("room-1", "echo", metadata="m", attributes={"want": "w"})
    await anyio.sleep(1)
    (offer,) = worker.offers
    rooms = await livekit.rooms(["room-1"])
    assert isinstance(rooms, list)
    assert (offer.room, offer.sid, offer.agent) == ("room-1", rooms[0].sid, "echo")
    assert (offer.metadata, offer.attributes) == ("m", {"want": "w"})


async def test_a_worker_that_registers_later_gets_nothing(livekit: FakeLiveKit) -> None:
    """A dispatch is offered once (fact 2)."""
    await dispatch(livekit)
    await anyio.sleep(1)
    StockWorker(livekit, "echo")
    await anyio.sleep(60)
    assert agents(livekit) == []


async def test_full_workers_drop_dispatches(livekit: FakeLiveKit) -> None:
    """No queue anywhere (fact 3)."""
    StockWorker(livekit, "echo", slots=2)
    for n in range(5):
        await dispatch(livekit, f"room-{n}")
    await anyio.sleep(5)
    assert sum(len(agents(livekit, f"room-{n}")) for n in range(5)) == 2


async def test_a_refusal_without_terminate_goes_to_the_next_worker(livekit: FakeLiveKit) -> None:
    """`terminate=False` says "not me", `terminate=True` "nobody" (fact 34)."""
    refusing = Scripted(livekit, Refused(terminate=False))
    willing = Scripted(livekit, Accepted())
    for _ in range(8):
        await dispatch(livekit)
    await anyio.sleep(5)
    assert len(agents(livekit)) == len(willing.offers) == 8
    assert refusing.offers

    refusing.answer = Refused(terminate=True)
    willing.registration.close()
    await dispatch(livekit)
    await anyio.sleep(5)
    assert len(agents(livekit)) == 8


async def test_a_frozen_worker_swallows_dispatches_beside_a_healthy_one(livekit: FakeLiveKit) -> None:
    """No answer in 3 s is not tried elsewhere (fact 74)."""
    frozen = Scripted(livekit, Accepted(), takes=10_000)
    healthy = Scripted(livekit, Accepted())
    for n in range(12):
        await dispatch(livekit, f"room-{n}")
    await anyio.sleep(30)
    assert frozen.offers
    assert len(frozen.offers) + len(healthy.offers) == 12
    assert sum(len(agents(livekit, f"room-{n}")) for n in range(12)) == len(healthy.offers)


async def test_an_answer_after_3_s_is_lost_and_the_worker_learns_it_late(livekit: FakeLiveKit) -> None:
    """AssignmentTimeoutError comes 7.5 s after the accept (facts 4, 33)."""
    worker = Scripted(livekit, Accepted(), takes=4)
    await dispatch(livekit)
    await anyio.sleep(0.2 + 4 + 7)
    assert worker.lost == []
    await anyio.sleep(1)
    assert len(worker.lost) == 1
    assert agents(livekit) == []


async def test_deleting_a_dispatch_ends_its_agent(livekit: FakeLiveKit) -> None:
    """Within milliseconds when the job is well (fact 9)."""
    StockWorker(livekit, "echo")
    dispatch_id = await dispatch(livekit)
    await anyio.sleep(1)
    assert await livekit.delete_dispatch("room-1", dispatch_id) is True
    await anyio.sleep(0.1)
    assert agents(livekit) == []


async def test_deleting_before_the_agent_has_joined_leaves_a_zombie(livekit: FakeLiveKit) -> None:
    """A deletion must not be the only way to stop a job (fact 53)."""
    StockWorker(livekit, "echo")
    dispatch_id = await dispatch(livekit)
    await anyio.sleep(0.22)
    assert await livekit.delete_dispatch("room-1", dispatch_id) is True
    await anyio.sleep(10)
    assert len(agents(livekit)) == 1


async def test_deleting_after_the_workers_connection_was_cut_ends_nothing(livekit: FakeLiveKit) -> None:
    """The server has forgotten the job; RemoveParticipant still works (fact 11)."""
    worker = StockWorker(livekit, "echo")
    dispatch_id = await dispatch(livekit)
    await anyio.sleep(1)
    worker.registration.cut()
    assert await livekit.delete_dispatch("room-1", dispatch_id) is True
    await anyio.sleep(8)
    (identity,) = agents(livekit)
    assert await livekit.remove_participant("room-1", identity) is True
    assert agents(livekit) == []


async def test_a_killed_client_is_listed_for_20_s_more(livekit: FakeLiveKit) -> None:
    """A ghost, until LiveKit gives it up or somebody removes it (fact 12)."""
    events: list[Event] = []
    livekit.on_event.append(events.append)
    livekit.join("room-1", "user-1")
    ghost = livekit.join("room-1", "agent-1", agent="echo")
    livekit.crash(ghost)
    assert not ghost.alive
    await anyio.sleep(19.9)
    assert agents(livekit) == ["agent-1"]
    await anyio.sleep(0.2)
    assert agents(livekit) == []
    assert events[-1].event == "participant_left"
    assert events[-1].participant is not None
    assert events[-1].participant.disconnect_reason == "CONNECTION_TIMEOUT"


async def test_a_frozen_agent_comes_back_when_it_thaws(livekit: FakeLiveKit) -> None:
    """Whoever replaced it without ending its process has two (fact 89)."""
    livekit.join("room-1", "user-1")
    agent = livekit.join("room-1", "agent-1", agent="echo")
    livekit.freeze(agent)
    await anyio.sleep(30)
    assert agents(livekit) == []
    livekit.thaw(agent)
    await anyio.sleep(0.4)
    assert agents(livekit) == ["agent-1"]


async def test_two_agents_of_one_identity_end_with_none(livekit: FakeLiveKit) -> None:
    """Why no agent has a fixed identity (fact 22)."""
    livekit.join("room-1", "user-1")
    livekit.join("room-1", "agent", agent="echo")
    livekit.join("room-1", "agent", agent="echo")
    await anyio.sleep(0.1)
    assert agents(livekit) == []


async def test_after_a_restart_whoever_lives_comes_back_under_a_new_sid(livekit: FakeLiveKit) -> None:
    """Dispatches are forgotten, a new dispatch at once makes a second agent (fact 80)."""
    worker = StockWorker(livekit, "echo")
    person = livekit.join("room-1", "user-1")
    await dispatch(livekit)
    await anyio.sleep(1)
    before = await livekit.rooms(["room-1"])
    node = worker.node_id

    await livekit.restart(down=1)

    assert await livekit.rooms(["room-1"]) == []
    await anyio.sleep(0.9)
    assert [c.identity for c in livekit.present("room-1")] == ["user-1"]
    assert worker.node_id == ""
    await anyio.sleep(0.3)
    assert len(agents(livekit)) == 1
    assert worker.node_id not in ("", node)
    after = await livekit.rooms(["room-1"])
    assert isinstance(before, list)
    assert isinstance(after, list)
    assert before[0].sid != after[0].sid
    assert person.link is Link.UP
    assert [d.agent for d in await listed(livekit)] == [""]


async def listed(livekit: FakeLiveKit) -> list[Dispatch]:
    answer = await livekit.dispatches("room-1")
    assert isinstance(answer, list)
    return answer


async def test_while_the_server_is_down_everything_is_unknown(livekit: FakeLiveKit) -> None:
    """And people who wait too long give up (fact 80)."""
    person = livekit.join("room-1", "user-1")
    livekit.kill()
    assert isinstance(await livekit.rooms(), Unknown)
    assert isinstance(await livekit.remove_participant("room-1", "user-1"), Unknown)
    with pytest.raises(ConnectionError):
        livekit.join("room-1", "user-2")
    await anyio.sleep(26)
    assert person.reason == "SIGNAL_CLOSE"


async def test_a_lost_call_has_no_effect_and_a_lost_reply_has(livekit: FakeLiveKit) -> None:
    """Both are unknown to the caller (I3)."""

    def lose(what: Fault) -> None:
        livekit.hook = lambda call: what if call.method == "CreateDispatch" else None

    lose(Fault(lost="call"))
    assert isinstance(await livekit.create_dispatch("a", "echo", metadata="", attributes={}), Unknown)
    assert await livekit.rooms(["a"]) == []
    lose(Fault(lost="reply", delay=1, reply_delay=1))
    started = anyio.current_time()
    assert isinstance(await livekit.create_dispatch("a", "echo", metadata="", attributes={}), Unknown)
    assert anyio.current_time() - started > 2
    rooms = await livekit.rooms(["a"])
    assert isinstance(rooms, list)
    assert len(rooms) == 1
    assert livekit.calls["CreateDispatch"] == 2


async def test_a_hook_sees_method_and_room(livekit: FakeLiveKit) -> None:
    """So a test can spoil one call of one room."""
    seen: list[Call] = []

    def hook(call: Call) -> None:
        seen.append(call)

    livekit.hook = hook
    await livekit.participants("room-1")
    assert seen == [Call("ListParticipants", "room-1")]


async def test_a_calls_whole_life_is_told_in_order(livekit: FakeLiveKit) -> None:
    """The events that LiveKit would send as webhooks (fact 26)."""
    told: list[str] = []
    livekit.on_event.append(lambda event: told.append(event.event))
    person = livekit.join("room-1", "user-1")
    await anyio.sleep(1)
    livekit.leave(person)
    await anyio.sleep(21)
    assert told == ["room_started", "participant_joined", "participant_left", "room_finished"]


async def test_agents_named_by_a_token_come_to_a_new_room_only(livekit: FakeLiveKit) -> None:
    """Ignored in silence when the room exists (fact 78)."""
    StockWorker(livekit, "echo")
    livekit.join("new", "user-1", room_agents=[("echo", "")])
    livekit.join("old", "user-1")
    livekit.join("old", "user-2", room_agents=[("echo", "")])
    await anyio.sleep(1)
    assert len(agents(livekit, "new")) == 1
    assert agents(livekit, "old") == []


async def test_a_late_call_takes_effect_after_its_answer_was_given_up(livekit: FakeLiveKit) -> None:
    """A create whose answer is lost may come 15 s later (I3)."""
    livekit.hook = lambda call: Fault(late=15) if call.method == "CreateDispatch" else None
    assert isinstance(await livekit.create_dispatch("room-1", "echo", metadata="", attributes={}), Unknown)
    await anyio.sleep(14)
    assert await livekit.rooms(["room-1"]) == []
    await anyio.sleep(2)
    assert [d.agent for d in await listed(livekit)] == ["", "echo"]


async def test_livekit_can_double_a_dispatch_by_itself(livekit: FakeLiveKit) -> None:
    """Its own RPC repeats (fact 7): one call, two jobs."""
    worker = Scripted(livekit, Accepted())
    livekit.hook = lambda call: Fault(twice=True) if call.method == "CreateDispatch" else None
    await dispatch(livekit)
    await anyio.sleep(1)
    assert len(worker.offers) == 2


async def test_a_link_that_is_away_cuts_one_replica_only(livekit: FakeLiveKit) -> None:
    """Each replica has its own way to LiveKit, its own faults, and its own count of calls."""
    here, there = livekit.link(), livekit.link()
    here.away = True
    assert isinstance(await here.create_room("room-1", empty_timeout=60), Unknown)
    assert isinstance(await there.create_room("room-1", empty_timeout=60), Room)
    assert (here.calls["CreateRoom"], there.calls["CreateRoom"], livekit.calls["CreateRoom"]) == (1, 1, 2)


async def test_an_answer_on_its_way_is_lost_with_the_link(livekit: FakeLiveKit) -> None:
    """The effect was there; the replica does not know (I3)."""
    link = livekit.link()
    link.hook = lambda call: Fault(reply_delay=2)
    livekit.after(1, lambda: setattr(link, "away", True))
    assert isinstance(await link.create_room("room-1", empty_timeout=60), Unknown)
    assert livekit.present("room-1") == []
    assert isinstance(await livekit.rooms(["room-1"]), list)


async def test_a_worker_that_is_cut_off_gets_nothing_and_its_jobs_live_on(livekit: FakeLiveKit) -> None:
    """The server forgets them (fact 11); the other worker gets what comes meanwhile."""
    cut, other = StockWorker(livekit, "echo"), StockWorker(livekit, "echo", slots=100)
    for n in range(4):
        await dispatch(livekit, f"before-{n}")
    await anyio.sleep(1)
    held = len(cut.agents)

    cut.registration.cut_off()
    for n in range(4):
        await dispatch(livekit, f"during-{n}")
    await anyio.sleep(1)

    assert cut.node_id == ""
    assert len(cut.agents) == held
    assert len(other.agents) == 8 - held
    livekit.reconnect(cut.registration)
    assert cut.node_id == livekit.node_id


async def test_a_worker_that_thaws_hears_its_offers_too_late(livekit: FakeLiveKit) -> None:
    """It accepts what was lost long ago, and is told so 7.5 s later (facts 33, 74)."""
    worker = Scripted(livekit, Accepted())
    worker.registration.freeze()
    await dispatch(livekit)
    await anyio.sleep(10)
    assert worker.offers == []
    worker.registration.thaw()
    await anyio.sleep(1)
    assert len(worker.offers) == 1
    await anyio.sleep(7)
    assert len(worker.lost) == 1
    assert agents(livekit) == []


async def test_load_decides_who_is_asked(livekit: FakeLiveKit) -> None:
    """By what is left, of all that are not at their end; nobody when none is below 0.7 (fact 3)."""
    empty, busy = Scripted(livekit, Accepted()), Scripted(livekit, Accepted())
    full = Scripted(livekit, Accepted())
    busy.registration.load, full.registration.load = 0.69, 1.0
    for n in range(60):
        await dispatch(livekit, f"room-{n}")
    await anyio.sleep(1)
    assert full.offers == []
    assert len(empty.offers) > 2 * len(busy.offers) > 0

    empty.registration.load = busy.registration.load = 0.7
    before = len(empty.offers) + len(busy.offers)
    await dispatch(livekit, "one-more")
    await anyio.sleep(1)
    assert len(empty.offers) + len(busy.offers) == before


async def test_an_agent_whose_way_is_cut_knows_it_and_comes_back(livekit: FakeLiveKit) -> None:
    """A ghost to LiveKit, reconnecting to itself; in the room again when the way is there."""
    told: list[Link] = []
    agent = livekit.join("room-1", "agent-1", agent="echo", on_change=lambda c: told.append(c.link))
    livekit.join("room-1", "user-1")

    livekit.sever(agent)
    assert told == [Link.GHOST]
    assert await livekit.answers("room-1", "agent-1") is False
    await anyio.sleep(21)
    assert agents(livekit) == []
    livekit.mend(agent)
    await anyio.sleep(0.5)
    assert agents(livekit) == ["agent-1"]
    assert told == [Link.GHOST, Link.UP]


async def test_an_agent_that_was_removed_while_its_way_was_cut_comes_back(livekit: FakeLiveKit) -> None:
    """It could not be told, and its token still lets it in (facts 86, 89)."""
    agent = livekit.join("room-1", "agent-1", agent="echo")
    livekit.join("room-1", "user-1")
    livekit.sever(agent)
    assert await livekit.remove_participant("room-1", "agent-1") is True
    assert agents(livekit) == []
    livekit.mend(agent)
    await anyio.sleep(0.5)
    assert agents(livekit) == ["agent-1"]


async def test_an_agent_whose_way_stays_cut_gives_up(livekit: FakeLiveKit) -> None:
    """After 24 to 35 s (fact 80)."""
    agent = livekit.join("room-1", "agent-1", agent="echo")
    livekit.sever(agent)
    await anyio.sleep(36)
    assert (agent.link, agent.reason) == (Link.LEFT, "SIGNAL_CLOSE")
    livekit.mend(agent)
    await anyio.sleep(1)
    assert agents(livekit) == []


async def test_a_question_is_answered_by_one_that_thaws_in_time(livekit: FakeLiveKit) -> None:
    """LiveKit keeps the packet for it (S11)."""
    agent = livekit.join("room-1", "agent-1", agent="echo")
    livekit.freeze(agent)
    livekit.after(1, lambda: livekit.thaw(agent))
    assert await livekit.answers("room-1", "agent-1") is True


async def test_a_hundred_thousand_timers_are_one_task(livekit: FakeLiveKit) -> None:
    """They go off by time, and of one moment in the order in which they were set."""
    fired: list[int] = []
    for n in range(100_000):
        livekit.after(1 + n % 2, lambda n=n: fired.append(n))  # type: ignore[misc]
    await anyio.sleep(3)
    assert fired == [*range(0, 100_000, 2), *range(1, 100_000, 2)]
