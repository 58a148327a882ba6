"""The promises of the keeper, on a site in memory: one agent, kept there, whatever fails."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import anyio
import msgspec
import pytest

from gateway.keeper.model import Ask, Claim, Dispatch, Invitation, Job, Pulse, Replica, State, Unknown
from gateway.keeper.ports import LEASE, RowUnreadable, StoreUnavailable
from gateway.settings import KeeperSettings
from tests.fakes.livekit_parts import Call, Fault
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio


async def test_fifty_asks_at_once_bring_one_agent_by_one_dispatch() -> None:
    """Start requests are idempotent per room and agent."""
    async with a_site() as site, site.running():
        site.person()
        jobs = []

        async def ask() -> None:
            jobs.append(await site.ask())

        async with anyio.create_task_group() as asking:
            for _ in range(50):
                asking.start_soon(ask)
        await site.served()
        await anyio.sleep(30)
        assert len({job.want.id for job in jobs}) == 1
        assert sum(not job.deduplicated for job in jobs) == 1
        assert site.livekit.calls["CreateDispatch"] == 1
        assert site.observer.most["r"] == 1
        assert await site.state(jobs[0]) is State.JOINED


async def test_a_killed_agent_is_replaced_in_less_than_a_second_and_its_ghost_removed() -> None:
    """A crash is healed at once, and the room never shows two."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        site.pool.die(site.pool.of("r"))
        took = await site.until(lambda: site.observer.agents("r") not in ([first], []), within=5)
        assert took < 1
        assert site.observer.most["r"] == 1


async def test_an_agent_whose_entrypoint_raised_is_replaced() -> None:
    """An exception looks like a clean leave to LiveKit (fact 12), not to us."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        site.pool.raise_(site.pool.of("r"))
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=5)
        await anyio.sleep(1)
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_an_agent_that_ended_on_purpose_comes_back_for_an_ask_only() -> None:
    """I5: nobody is called back who left by their own will."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        site.pool.finish(site.pool.of("r"))
        await anyio.sleep(60)
        assert len(site.observer.arrived["r"]) == 1
        assert await site.state(job) is State.FINISHED
        again = await site.ask()
        await site.served()
        assert again.want.id != job.want.id
        assert len(site.observer.arrived["r"]) == 2


@pytest.mark.parametrize("away", [1.0, 2.95, 3.05, 5.0, 15.0])
@pytest.mark.parametrize("asks", [True, False])
async def test_a_person_who_comes_back_is_answered_within_two_seconds(away: float, asks: bool) -> None:
    """The reload (fact 82): the deaf agent is replaced as soon as its person is there."""
    async with a_site() as site, site.running():
        person = site.person()
        job = await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(away)
        site.person()
        if asks:
            await site.ask()
        await anyio.sleep(2.0)
        agents = [j for j in site.pool.jobs.values() if j.connection and not j.deaf and not j.exited]
        assert len(agents) == 1
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_joined_is_not_said_of_a_deaf_agent() -> None:
    """I7: in the room is not enough."""
    async with a_site() as site, site.running():
        person = site.person()
        job = await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(4)
        assert site.observer.agents("r") != []
        assert await site.state(job) is State.REPLACING


async def test_a_finished_room_is_not_brought_back() -> None:
    """I4: when its people have left, the want ends with the room."""
    async with a_site() as site, site.running():
        person = site.person()
        job = await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(120)
        assert await site.state(job) is State.FINISHED
        assert await site.livekit.rooms() == []
        assert len(site.observer.arrived["r"]) == 1


async def test_a_request_before_any_worker_waits_and_is_served_when_one_registers() -> None:
    """Scale from zero: nothing is thrown away."""
    async with a_site() as site, site.running(registered=False):
        job = await site.ask()
        await anyio.sleep(20)
        waiting = await site.keeper.job(job.want.id)
        assert waiting is not None
        assert (waiting.want.state, waiting.place) == (State.WAITING, 1)
        assert "no worker" in waiting.want.reason
        site.pool.start()
        assert await site.until(lambda: site.observer.agents("r") != [], within=2) < 2


async def test_a_full_pool_serves_the_line_in_order() -> None:
    """First come, first served, as slots get free."""
    async with a_site(slots=1) as site, site.running():
        site.person("r0")
        await site.ask("r0")
        await site.served("r0")
        for n in (1, 2, 3):
            site.person(f"r{n}")
            job = await site.ask(f"r{n}")
            await anyio.sleep(0.5)
            waiting = await site.keeper.job(job.want.id)
            assert waiting is not None
            assert (waiting.want.state, waiting.place) == (State.WAITING, n)
        for n in (0, 1, 2):
            site.pool.finish(site.pool.of(f"r{n}"))
            await site.served(f"r{n + 1}", within=2)
        assert all(site.observer.most[f"r{n}"] == 1 for n in range(4))


async def test_a_gateway_killed_after_its_answer_serves_the_room_when_it_is_back() -> None:
    """No accepted request is forgotten."""
    async with a_site() as site:
        async with site.running(registered=False):
            job = await site.ask()
        await anyio.sleep(3)
        async with site.running():
            await site.served()
            await anyio.sleep(1)
            assert await site.state(job) is State.JOINED
            assert site.observer.most["r"] == 1


async def test_a_gateway_killed_with_calls_running_replaces_its_ghosts() -> None:
    """The agents died with the process; the new one removes what is left of them and brings others."""
    async with a_site() as site:
        async with site.running():
            site.person()
            await site.ask()
            first = await site.served()
        async with site.running():  # it leads when the lease of the one before has lapsed
            await site.until(lambda: site.observer.agents("r") not in ([first], []), within=LEASE + 3)
            assert site.observer.most["r"] == 1


@pytest.mark.parametrize("down", [1.0, 10.0])
async def test_agents_that_return_after_a_livekit_restart_are_waited_for(down: float) -> None:
    """Fact 80: the agent comes back by itself; a dispatch at once would make a second one."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await site.livekit.restart(down=down)
        await anyio.sleep(30)
        assert site.observer.agents("r") == [first]
        assert site.observer.most["r"] == 1
        assert await site.state(job) is State.JOINED


async def test_with_every_webhook_lost_one_resync_puts_it_right() -> None:
    """I6: webhooks are hints."""
    async with a_site() as site, site.running():
        site.webhooks = False
        person = site.person()
        job = await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(5)
        site.person()
        await anyio.sleep(site.settings.resync_interval + 2)
        assert await site.state(job) is State.JOINED
        assert len([j for j in site.pool.jobs.values() if not j.deaf]) == 1
        assert site.observer.most["r"] == 1


async def test_dispatches_made_behind_our_back_let_one_agent_in() -> None:
    """A stranger's CreateDispatch is an ask; its agent is kept like any other."""
    async with a_site() as site, site.running():
        site.person()
        for _ in range(2):
            await site.livekit.create_dispatch("r", AGENT, metadata="", attributes={})
        first = await site.served()
        await anyio.sleep(30)
        assert site.observer.arrived["r"] == [first]
        site.pool.die(site.pool.of("r"))
        await site.until(lambda: len(site.observer.arrived["r"]) == 2, within=2)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.21, 0.25, 0.29, 0.31, 1.0])
async def test_a_stop_leaves_no_agent_whenever_it_comes(after: float) -> None:
    """Fact 53: a stop before the agent has joined leaves no zombie."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await anyio.sleep(after)
        await site.keeper.stop_agent("r", AGENT)
        await anyio.sleep(3)
        assert site.observer.agents("r") == []
        await anyio.sleep(30)
        assert site.observer.agents("r") == []
        assert site.pool.jobs == {}
        assert await site.state(job) is State.STOPPED


async def test_a_restart_brings_another_agent_in_place_of_the_present_one() -> None:
    """One goes, one comes, never two."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        again = await site.keeper.restart_agent(Ask(room="r", agent=AGENT))
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=3)
        await anyio.sleep(5)
        assert again.want.id == job.want.id
        assert site.observer.most["r"] == 1
        assert await site.state(job) is State.JOINED


async def test_a_frozen_process_is_ended_and_its_room_served_by_another() -> None:
    """Facts 63, 74: it takes the job and never starts."""
    async with a_site() as site, site.running():
        site.person()
        first = True

        def freeze_once(_: object) -> str:
            nonlocal first
            what, first = ("freeze", False) if first else ("", False)
            return what

        site.pool.on_enter = freeze_once
        await site.ask()
        took = await site.until(lambda: site.observer.agents("r") != [], within=30)
        assert took < site.settings.connect_timeout + 2
        assert site.observer.most["r"] == 1


async def test_a_crash_loop_backs_off_and_gives_up_and_harms_no_other_room() -> None:
    """An agent that cannot start does not eat the machine."""
    settings = KeeperSettings(default_agent=AGENT, give_up_after=120)
    async with a_site(settings=settings) as site, site.running():
        site.pool.on_enter = lambda job: "raise" if job.offer.room == "bad" else ""
        site.person("bad")
        site.person("good")
        bad = await site.ask("bad")
        await site.ask("good")
        await site.served("good", within=2)
        await anyio.sleep(300)
        assert await site.state(bad) is State.GAVE_UP
        assert 5 < site.livekit.calls["CreateDispatch"] < 30
        assert len(site.observer.arrived["good"]) == 1


async def test_a_lost_answer_to_create_dispatch_makes_no_second_agent() -> None:
    """I3: the call may have had its effect."""
    async with a_site() as site, site.running():

        def lose_replies(call: Call) -> Fault | None:
            return Fault(lost="reply", reply_delay=5.0) if call.method == "CreateDispatch" else None

        site.livekit.hook = lose_replies
        site.person()
        await site.ask()
        await site.served()
        await anyio.sleep(30)
        assert site.observer.most["r"] == 1
        assert len(site.observer.arrived["r"]) == 1


async def test_nothing_is_done_while_livekit_does_not_answer() -> None:
    """I3: unknown is never absent."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        site.livekit.hook = lambda call: Fault(lost="call")
        await anyio.sleep(60)
        site.livekit.hook = lambda call: None
        await anyio.sleep(30)
        assert site.observer.arrived["r"] == [first]
        assert await site.state(job) is State.JOINED


async def test_an_ask_that_came_before_the_end_its_agent_told_of_meant_that_room() -> None:
    """I4: nobody could look meanwhile, but its own agent says how long that instance lived."""
    async with a_site() as site, site.running():
        person = site.person()
        await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.livekit.hook = lambda call: Fault(lost="call")
        site.livekit.leave(person)
        await anyio.sleep(1)
        job = await site.ask()
        await anyio.sleep(30)
        site.livekit.hook = lambda call: None
        site.person(identity="another")
        await anyio.sleep(15)
        assert site.observer.agents("r") == []
        assert await site.state(job) is State.FINISHED


async def test_a_room_that_is_back_after_livekit_restarted_waits_for_its_agent_no_longer_than_that() -> None:
    """The agent froze just then: its people have another one after 12 s (fact 80), asked or not."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        site.livekit.kill()
        site.livekit.start(after=1.0)
        await anyio.sleep(0.5)
        site.pool.freeze_job(site.pool.of("r"))
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=20)


async def test_a_want_is_refused_while_the_store_is_away_and_served_when_it_is_back() -> None:
    """Nothing is promised that cannot be kept."""
    async with a_site() as site, site.running():
        site.person()
        site.store.away = True
        with pytest.raises(StoreUnavailable):
            await site.ask()
        site.store.away = False
        await site.ask()
        await site.served()


async def test_the_worker_reports_full_while_the_store_is_out_of_reach() -> None:
    """From when others must take this replica for lapsed: LiveKit then asks their workers first."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        await site.served()
        assert not site.pool.capacity().paused
        site.store.away = True
        await anyio.sleep(LEASE + 1)
        assert site.pool.capacity().paused
        site.store.away = False
        await anyio.sleep(1)
        assert not site.pool.capacity().paused
        await site.served()


async def test_a_job_whose_row_another_version_wrote_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers, if only with what cannot be read: an agent that LiveKit lost in that time stays."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)

        async def unheard(me: Replica, *, lead: bool) -> Pulse:
            raise StoreUnavailable("away")

        async def unreadable(job_id: str) -> Claim | None:
            raise RowUnreadable("of another version")

        with monkeypatch.context() as patch:
            patch.setattr(site.store, "beat", unheard)
            patch.setattr(site.store, "claim_of", unreadable)
            await site.livekit.restart(down=2 * LEASE)
            await anyio.sleep(LEASE)
        await anyio.sleep(20)
        assert site.observer.agents("r") == [first]


async def test_nobody_is_said_to_have_joined_before_the_store_was_told_what_happened_meanwhile() -> None:
    """I7: an agent that died while the store was away is still joined in the books when that is back."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.store.away = True
        await anyio.sleep(3)
        site.pool.die(site.pool.of("r"))
        await anyio.sleep(3.1)
        site.store.away = False
        said = []
        for _ in range(100):
            with suppress(StoreUnavailable):
                said.append(await site.state(job))
            await anyio.sleep(0.02)
        assert said == [] or said[0] is not State.JOINED
        await site.until(lambda: len(site.observer.agents("r")) == 1)
        await anyio.sleep(1)
        assert await site.state(job) is State.JOINED, "it is said again when all has been told"


async def test_a_job_whose_claim_is_gone_is_ended_and_its_room_served_at_once() -> None:
    """Nobody else tells of it: its process is killed, and what is left stays listed for 20 s (fact 12)."""
    async with a_site() as site, site.running():
        site.webhooks = False
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(11)  # a comparison with LiveKit has just been
        await site.store.release(site.pool.of("r").offer.job_id)
        site.keeper._audit.hurry()
        await site.until(lambda: len(site.observer.arrived["r"]) == 2, within=5)
        assert site.observer.agents("r") == site.observer.arrived["r"][1:] != [first]


async def test_nobody_is_called_beside_an_agent_that_came_since_the_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I1: between the look and the dispatch the store was slow, and somebody has come meanwhile."""
    async with a_site() as site, site.running():
        site.person()
        claims, dispatch = site.store.claims, site.livekit.create_dispatch
        there: list[list[str]] = []

        async def seen(room: str, *args: Any, **kwargs: Any) -> Dispatch | Unknown:
            there.append(site.observer.agents(room))
            return await dispatch(room, *args, **kwargs)

        async def held_up(room: str) -> list[Claim]:
            found = await claims(room)
            monkeypatch.setattr(site.store, "claims", claims)
            await anyio.sleep(0.5)
            site.livekit.join("r", "somebody", agent=AGENT)
            await anyio.sleep(1.5)
            return found

        monkeypatch.setattr(site.store, "claims", held_up)
        monkeypatch.setattr(site.livekit, "create_dispatch", seen)
        await site.ask()
        await site.until(lambda: len(site.observer.arrived["r"]) == 2)
        assert there == [[]], "who was there at each dispatch"


async def test_an_invitation_becomes_a_want_when_its_person_joins() -> None:
    """An agent named in a token that we minted."""
    async with a_site() as site, site.running():
        await site.keeper.invite(Invitation(room="r", identity="p", agent=AGENT, expires_at=2e9))
        site.person("r", "somebody-else")
        await anyio.sleep(15)
        assert site.observer.agents("r") == []
        site.person("r", "p")
        await site.served(within=2)


async def test_a_room_whose_name_matches_wants_an_agent_with_each_person() -> None:
    """Room-name patterns, by setting."""
    settings = KeeperSettings(default_agent=AGENT, room_patterns=(("session-*", ""),))
    async with a_site(settings=settings) as site, site.running():
        site.person("other", "p")
        site.person("session-1", "p")
        await site.served("session-1", within=2)
        site.pool.finish(site.pool.of("session-1"))
        await anyio.sleep(30)
        assert len(site.observer.arrived["session-1"]) == 1
        site.person("session-1", "q")
        await site.until(lambda: len(site.observer.arrived["session-1"]) == 2, within=2)
        assert site.observer.arrived["other"] == []


async def test_a_user_who_declines_in_on_request_is_asked_less_and_less() -> None:
    """A refusal is a state of its own with a back-off, not a loop."""
    async with a_site() as site, site.running():
        site.pool.declines = True
        site.person()
        await site.ask()
        await anyio.sleep(60)
        assert 2 < site.livekit.calls["CreateDispatch"] < 12


async def test_an_early_request_makes_the_room_and_nobody_coming_ends_it() -> None:
    """An agent does not wait for ever for somebody who never comes."""
    async with a_site() as site, site.running():
        job = await site.ask()
        await site.served()
        await anyio.sleep(site.settings.empty_timeout + 10)
        assert await site.state(job) is State.FINISHED
        assert await site.livekit.rooms() == []


async def test_an_agent_that_closes_its_own_session_has_finished_though_it_stays() -> None:
    """I5, I7: closed by its own will is an end, and a closed session is not `joined`."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.pool.close_session(site.pool.of("r"), "user_initiated")
        await anyio.sleep(1)
        assert await site.state(job) is State.REPLACING
        await anyio.sleep(30)
        assert await site.state(job) is State.FINISHED
        assert site.observer.agents("r") == []
        assert len(site.observer.arrived["r"]) == 1


async def test_an_agent_that_opens_another_session_goes_on() -> None:
    """Some hand over from one session to the next."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        running = site.pool.of("r")
        site.pool.close_session(running, "user_initiated")
        await anyio.sleep(2)
        site.pool.open_session(running)
        await anyio.sleep(30)
        assert await site.state(job) is State.JOINED
        assert site.observer.agents("r") == [first]


async def test_an_ask_after_the_agent_closed_its_session_brings_another_one() -> None:
    """I5: somebody asked after that end."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        site.pool.close_session(site.pool.of("r"), "user_initiated")
        await anyio.sleep(1)
        again = await site.ask()
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=2)
        await anyio.sleep(1)
        assert await site.state(again) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_a_session_that_closes_with_an_error_again_and_again_is_a_crash_loop() -> None:
    """Replaced at once the first time, then with a back-off, then given up."""
    settings = KeeperSettings(default_agent=AGENT, give_up_after=60)
    async with a_site(settings=settings) as site, site.running():
        site.person()
        job = await site.ask()
        with anyio.move_on_after(180):
            while True:
                await site.served(within=1000)
                await anyio.sleep(0.5)
                site.pool.close_session(site.pool.of("r"), "error")
                await anyio.sleep(0.5)
        assert await site.state(job) is State.GAVE_UP
        assert 4 < len(site.observer.arrived["r"]) < 15
        assert site.observer.most["r"] == 1


async def test_a_stop_after_a_livekit_restart_is_as_quick_as_before() -> None:
    """The room has another SID by then; the agent in it is the same."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        await site.served()
        await anyio.sleep(1)
        await site.livekit.restart(down=1.0)
        await anyio.sleep(10)
        await site.keeper.stop_agent("r", AGENT)
        await anyio.sleep(0.2)
        assert site.observer.agents("r") == []


async def test_a_request_that_waits_longer_than_an_empty_room_lasts_is_served_all_the_same() -> None:
    """Scale from zero takes minutes, and nobody may be in the room yet: nothing accepted is forgotten."""
    async with a_site() as site, site.running(registered=False):
        job = await site.ask()
        await anyio.sleep(site.settings.empty_timeout + 60)
        assert await site.state(job) is State.WAITING
        assert await site.livekit.rooms() == []
        site.pool.start()
        await site.until(lambda: site.observer.agents("r") != [], within=2)


async def test_an_agent_whose_session_never_opens_is_replaced_and_in_the_end_given_up() -> None:
    """In the room is not enough, and nothing waits for ever (I2, I7)."""
    settings = KeeperSettings(default_agent=AGENT, give_up_after=120)
    async with a_site(settings=settings) as site, site.running():
        site.pool.on_enter = lambda job: "hang"
        site.person()
        job = await site.ask()
        await anyio.sleep(60)
        assert len(site.observer.arrived["r"]) == 2
        await anyio.sleep(120)
        assert await site.state(job) is State.GAVE_UP
        assert site.observer.agents("r") == []
        assert site.observer.most["r"] == 1


async def test_a_job_that_could_not_be_confirmed_is_no_end_on_purpose() -> None:
    """The store was away at that moment; the room still wants its agent (I3)."""
    async with a_site() as site, site.running():

        def lose_the_store(_: object) -> str:
            site.store.away = True
            site.pool.on_enter = lambda job: ""
            return ""

        site.pool.on_enter = lose_the_store
        site.person()
        job = await site.ask()
        await anyio.sleep(3)
        site.store.away = False
        await site.served()
        await anyio.sleep(3)
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_when_a_store_that_failed_every_third_time_is_well_each_room_has_its_one_agent() -> None:
    """Whatever step fails, it is tried again, and nothing is doubled (I1, I2)."""
    async with a_site(slots=8) as site, site.running():
        rng = random.Random(7)
        rooms = [f"r{n}" for n in range(6)]
        for room in rooms:
            site.person(room)
            await site.ask(room)
        site.store.fails = lambda: rng.random() < 0.3
        await anyio.sleep(60)
        for room in rooms:
            with suppress(StopIteration):
                site.pool.die(site.pool.of(room))
        await anyio.sleep(60)
        site.store.fails = lambda: False
        await anyio.sleep(60)
        assert [len(site.observer.agents(room)) for room in rooms] == [1] * 6
        assert all(site.observer.most[room] == 1 for room in rooms)


async def test_the_same_token_brings_an_agent_again_after_its_room_has_ended() -> None:
    """A laptop that slept: its page reconnects with the token it has."""
    async with a_site() as site, site.running():
        await site.keeper.invite(Invitation(room="r", identity="p", agent=AGENT, expires_at=2e9))
        person = site.person("r", "p")
        first = await site.served(within=2)
        site.livekit.leave(person)
        await anyio.sleep(40)
        assert await site.livekit.rooms() == []
        site.person("r", "p")
        assert await site.served(within=2) != first


async def test_a_stop_is_not_undone_by_an_invitation() -> None:
    """The invited person is still there; no join is new."""
    async with a_site() as site, site.running():
        await site.keeper.invite(Invitation(room="r", identity="p", agent=AGENT, expires_at=2e9))
        site.person("r", "p")
        await site.served(within=2)
        await site.keeper.stop_agent("r", AGENT)
        await anyio.sleep(60)
        assert site.observer.agents("r") == []


async def test_a_redeploy_does_not_bring_a_finished_room_back() -> None:
    """I4: the room ended while the gateway was down, however lately somebody asked."""
    async with a_site() as site:
        async with site.running():
            person = site.person()
            job = await site.ask()
            await site.served()
        site.livekit.leave(person)
        await anyio.sleep(45)
        assert await site.livekit.rooms() == []
        async with site.running():
            await anyio.sleep(30)
            assert await site.state(job) is State.FINISHED
            assert await site.livekit.rooms() == []


async def test_who_joins_a_pattern_room_during_the_goodbye_gets_an_agent() -> None:
    """A join renews the want: the agent that is about to end comes back."""
    settings = KeeperSettings(default_agent=AGENT, room_patterns=(("*", ""),))
    async with a_site(settings=settings) as site, site.running():
        site.person("r", "p")
        first = await site.served(within=2)
        await anyio.sleep(1)
        site.pool.close_session(site.pool.of("r"), "user_initiated")
        await anyio.sleep(1)
        site.person("r", "q")
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=3)
        assert site.observer.most["r"] == 1


async def test_the_room_is_told_every_state() -> None:
    """A page in the room needs no second connection."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        site.pool.die(site.pool.of("r"))
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=3)
        await anyio.sleep(1)
        await site.keeper.stop_agent("r", AGENT)
        await anyio.sleep(1)
        told = [msgspec.json.decode(payload)["state"] for _, payload in site.livekit.statuses]
        assert told == ["dispatched", "joined", "replacing", "dispatched", "joined", "stopped"]


async def test_an_error_of_create_room_costs_nobody_their_place() -> None:
    """The line is ordered by the asks, whatever happened since."""
    async with a_site(slots=1) as site, site.running():
        site.person("busy")
        await site.ask("busy")
        await site.served("busy")
        jobs = [await site.ask(f"early-{n}") for n in range(3)]
        site.livekit.hook = lambda call: Fault(lost="call") if call.method == "CreateRoom" else None
        site.pool.finish(site.pool.of("busy"))
        await anyio.sleep(1)
        with anyio.fail_after(1):  # while it is tried once more, the first one has no place
            while (await places(site, jobs)) != [1, 2, 3]:  # noqa: ASYNC110  (the line tells nobody)
                await anyio.sleep(0.01)


async def places(site: Site, jobs: list[Job]) -> list[int | None]:
    found = [await site.keeper.job(job.want.id) for job in jobs]
    return [job.place for job in found if job is not None]


async def test_a_stop_while_a_ghost_is_removed_holds_up_nobody() -> None:
    """Who is gone from the room is gone from the line."""
    async with a_site(slots=1) as site, site.running():
        site.person("a")
        await site.ask("a")
        await site.served("a")
        await anyio.sleep(2)
        site.livekit.hook = lambda call: Fault(delay=1.0) if call.method == "RemoveParticipant" else None
        site.pool.die(site.pool.of("a"))
        await anyio.sleep(0.5)
        await site.keeper.stop_agent("a", AGENT)
        await anyio.sleep(5)
        site.livekit.hook = lambda call: None
        await site.ask("b")
        await site.until(lambda: site.observer.agents("b") != [], within=2)


async def test_a_stop_while_the_room_is_being_made_holds_up_nobody() -> None:
    """The want ended while LiveKit was asked: its place is free."""
    async with a_site(slots=1) as site, site.running():

        def slow(call: Call) -> Fault | None:
            return Fault(lost="call", delay=5.0) if call.method == "CreateRoom" else None

        site.livekit.hook = slow
        await site.ask("a")
        await anyio.sleep(2)
        await site.keeper.stop_agent("a", AGENT)
        await anyio.sleep(20)
        site.livekit.hook = lambda call: None
        site.pool.timing.warm = 1e6
        site.person("b")
        await site.ask("b")
        await site.served("b")
        waiting = await site.ask("c")
        await anyio.sleep(1)
        found = await site.keeper.job(waiting.want.id)
        assert found is not None
        assert found.place == 1


async def test_a_stopped_want_leaves_the_line_at_once() -> None:
    """The others move up."""
    async with a_site() as site, site.running(registered=False):
        first, second = await site.ask("r1"), await site.ask("r2")
        await site.keeper.stop_agent("r1", AGENT)
        found = [await site.keeper.job(job.want.id) for job in (first, second)]
        assert [job.place for job in found if job is not None] == [None, 1]


async def test_an_agent_that_livekit_let_go_is_replaced_whatever_it_tells_afterwards() -> None:
    """Frozen for 25 s, then told by upstream to end: that is not its own will (fact 89)."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        frozen = site.pool.of("r")
        assert frozen.connection is not None
        site.livekit.freeze(frozen.connection)
        await anyio.sleep(25)
        site.pool.finish_late(frozen)
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=5)
        await anyio.sleep(1)
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_requests_of_before_a_livekit_restart_are_served_after_it_with_nobody_in_the_room() -> None:
    """There is nobody to come back: they are asked for anew."""
    async with a_site() as site, site.running(registered=False):
        jobs = [await site.ask(f"r{n}") for n in range(3)]
        await anyio.sleep(1)
        site.pool.start()
        await anyio.sleep(0.05)
        await site.livekit.restart(down=1.0)
        await anyio.sleep(15)
        assert [await site.state(job) for job in jobs] == [State.JOINED] * 3
        assert all(site.observer.most[f"r{n}"] == 1 for n in range(3))
