"""The promises of the keeper, on a site in memory: one agent, kept there, whatever fails."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from gateway.keeper.model import Ask, Claim, Dispatch, Invitation, State, Unknown
from gateway.keeper.ports import LEASE
from gateway.settings import KeeperSettings
from tests.unit.keeper.site import AGENT, a_site

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
        value = site.metrics.registry.get_sample_value
        assert value("roomkeeper_agents_replaced_total", {"reason": "raised"}) == 1
        assert value("roomkeeper_jobs_ended_total", {"reason": "raised"}) == 1
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_an_agent_that_nobody_has_called_is_put_out_at_once() -> None:
    """One that stood still and was replaced comes back by itself (fact 89): the room must not bear both."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        mine = await site.served()
        await anyio.sleep(15)
        site.livekit.join("r", "agent-of-before", agent=AGENT)
        assert await site.until(lambda: site.observer.agents("r") == [mine], within=5) < 0.1


@pytest.mark.parametrize("after", [0.01, 0.5])
async def test_an_agent_that_raises_before_anybody_has_seen_it_in_its_room_was_there(after: float) -> None:
    """It is replaced like any other, and counted: crash loops begin so, and somebody is told of those."""
    async with a_site() as site, site.running():
        site.pool.on_enter = lambda job: "hang"  # connected, and its session is not open yet
        site.person()
        await site.ask()
        await site.until(lambda: site.observer.agents("r") != [], within=5)
        await anyio.sleep(after)
        site.pool.on_enter = lambda job: ""
        site.pool.raise_(site.pool.of("r"))
        await site.until(lambda: len(site.observer.arrived["r"]) == 2, within=5)
        value = site.metrics.registry.get_sample_value
        assert value("roomkeeper_agents_replaced_total", {"reason": "raised"}) == 1


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


@pytest.mark.parametrize("after", [0.1, 0.19, 0.21, 0.23])
@pytest.mark.parametrize("told", [True, False])
async def test_an_agent_on_its_way_does_not_stay_in_the_next_room_of_that_name(
    after: float, told: bool
) -> None:
    """I4: the room is deleted before anybody joined, and made again at once; nobody has asked there. One of
    the two webhooks of that is enough."""
    async with a_site() as site, site.running():
        job = await site.ask()
        await anyio.sleep(after)
        assert site.observer.agents("r") == []
        site.webhooks = told
        site.livekit.delete_room("r")
        site.webhooks = not told
        site.livekit.open_room("r")
        await anyio.sleep(1)
        assert await site.state(job) is State.FINISHED
        assert site.observer.agents("r") == []


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
