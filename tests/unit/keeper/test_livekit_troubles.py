"""LiveKit restarts, answers late or not at all, or lets an agent go."""

from __future__ import annotations

import anyio
import pytest

from gateway.keeper.model import State
from tests.fakes.livekit_parts import Call, Fault
from tests.unit.keeper.site import AGENT, a_site

pytestmark = pytest.mark.anyio


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
