"""Each wall is needed: with one of them taken out, the observer sees the promise broken.

A mutation switches one rule off; the scenario that the rule is for must then end badly. Should a mutation
pass unseen, either the rule or the observer is worth nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from gateway.keeper import jobs as keeper_jobs
from gateway.keeper import plan as keeper_plan
from gateway.keeper.gate import ClaimGate
from gateway.keeper.model import Claim, End, Room, State, Unknown
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.situation import Plan, Situation
from gateway.settings import KeeperSettings
from pool.ports import Offer, Verdict
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Call, Fault
from tests.unit.keeper.site import AGENT, a_site

pytestmark = pytest.mark.anyio

Scenario = Callable[[], Awaitable[bool]]
"""Returns whether the promise was kept."""


async def two_dispatches_behind_our_back() -> bool:
    """I1: strangers dispatch twice."""
    async with a_site() as site, site.running():
        site.person()
        for _ in range(2):
            await site.livekit.create_dispatch("r", AGENT, metadata="", attributes={})
        await anyio.sleep(10)
        return site.observer.most["r"] == 1


async def a_late_dispatch_after_the_room_came_back() -> bool:
    """I4: a dispatch for a room that ended reaches its successor."""
    async with a_site() as site, site.running():
        person = site.person()
        job = await site.ask()
        await site.served()
        living = await site.store.want(job.want.id)
        assert living is not None
        site.webhooks = False
        site.livekit.hook = lambda call: Fault(lost="call") if call.method != "CreateDispatch" else None
        site.livekit.leave(person)
        await anyio.sleep(25)
        attributes = {
            "roomkeeper.want": living.id,
            "roomkeeper.generation": "1",
            "roomkeeper.sid": living.sid,
        }
        await site.livekit.create_dispatch("r", AGENT, metadata="", attributes=attributes)
        await anyio.sleep(3)
        return len(site.observer.arrived["r"]) == 1


async def livekit_answers_nothing_for_a_while() -> bool:
    """I3: an unknown room is no ended room."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.livekit.hook = lambda call: Fault(lost="call")
        await anyio.sleep(30)
        site.livekit.hook = lambda call: None
        await anyio.sleep(20)
        return len(site.observer.arrived["r"]) == 1 and await site.state(job) is State.JOINED


async def a_dispatch_that_vanishes() -> bool:
    """I2: LiveKit said yes, and no worker was ever asked."""
    async with a_site() as site, site.running():
        first = True

        def vanish(call: Call) -> Fault | None:
            nonlocal first
            if call.method == "CreateDispatch" and first:
                first = False
                return Fault(lost="call")
            return None

        site.livekit.hook = vanish
        site.person()
        await site.ask()
        await anyio.sleep(8)
        return site.observer.agents("r") != []


async def livekit_restarts_under_a_running_call() -> bool:
    """Fact 80: the agent comes back by itself."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        await site.livekit.restart(down=1.0)
        await anyio.sleep(20)
        came_back = site.observer.arrived["r"] == [first, first]
        alone = site.observer.agents("r") == [first] and site.observer.most["r"] == 1
        return came_back and alone and await site.state(job) is State.JOINED


async def a_person_leaves_and_comes_back() -> bool:
    """I5, I7: the deaf agent is not called joined, and is replaced."""
    async with a_site() as site, site.running():
        person = site.person()
        await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(5)
        site.person()
        await anyio.sleep(3)
        return any(j.connection and not j.deaf and not j.exited for j in site.pool.jobs.values())


async def an_agent_ends_on_purpose() -> bool:
    """I5: nobody calls it back."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        await site.served()
        site.pool.finish(site.pool.of("r"))
        await anyio.sleep(30)
        return len(site.observer.arrived["r"]) == 1


async def every_webhook_is_lost() -> bool:
    """I6: the resync alone puts it right."""
    async with a_site(settings=replace(KeeperSettings(), default_agent=AGENT)) as site, site.running():
        site.webhooks = False
        person = site.person()
        await site.ask()
        await site.served()
        site.livekit.leave(person)
        await anyio.sleep(5)
        site.person()
        await anyio.sleep(12)
        return any(j.connection and not j.deaf and not j.exited for j in site.pool.jobs.values())


async def a_crash_leaves_a_ghost() -> bool:
    """I1: the room never shows two."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        await site.served()
        site.pool.die(site.pool.of("r"))
        await anyio.sleep(10)
        return site.observer.most["r"] == 1


async def a_frozen_agent_thaws_after_it_was_replaced() -> bool:
    """Fact 89: its process must be ended, or it comes back."""
    async with a_site() as site, site.running():
        person = site.person()
        await site.ask()
        await site.served()
        job = site.pool.of("r")
        site.livekit.leave(person)
        await anyio.sleep(5)
        assert job.connection is not None
        job.frozen = True
        site.livekit.freeze(job.connection)
        site.person()
        await anyio.sleep(10)
        return job.exited


def no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    async def everybody(self: ClaimGate, offer: Offer) -> Verdict:
        return Verdict.GRANTED

    async def named(self: ClaimGate, job_id: str, identity: str) -> bool:
        return True

    monkeypatch.setattr(ClaimGate, "claim", everybody)
    monkeypatch.setattr(ClaimGate, "identify", named)


def no_sid_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ClaimGate._judge

    async def unpinned(self: ClaimGate, offer: Offer) -> tuple[str, Verdict]:
        return await judge(self, replace(offer, sid=offer.attributes.get("roomkeeper.sid", offer.sid)))

    monkeypatch.setattr(ClaimGate, "_judge", unpinned)


def unknown_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = FakeLiveKit.rooms

    async def certain(self: FakeLiveKit, names: list[str] | None = None) -> list[Room]:
        found = await rooms(self, names)
        return [] if isinstance(found, Unknown) else found

    monkeypatch.setattr(FakeLiveKit, "rooms", certain)


def no_lost_dispatch_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    unclaimed = keeper_plan._unclaimed

    def patient(s: Situation, rules: KeeperSettings) -> Plan:
        return unclaimed(s, replace(rules, claim_timeout=1e6))

    monkeypatch.setattr(keeper_plan, "_unclaimed", patient)


def no_grace_for_returning_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    not_listed = keeper_plan._not_listed

    def impatient(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        return not_listed(s, claim, replace(rules, return_timeout=0.0))

    monkeypatch.setattr(keeper_plan, "_not_listed", impatient)


def restart_is_room_end(monkeypatch: pytest.MonkeyPatch) -> None:
    other_room = keeper_plan._other_room

    def forgetful(s: Situation, room: Room | None, rules: KeeperSettings) -> Plan:
        return other_room(replace(s, node=s.want.node, asked_since_seen=False), room, rules)

    monkeypatch.setattr(keeper_plan, "_other_room", forgetful)


def deafness_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_jobs, "closed", lambda claim, reason, now, closed_at: claim)


def every_end_is_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_jobs, "how_it_ended", lambda claim, event, told_at, after_pause=False: End.DIED)


def no_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(self: object) -> str:
        return "ok"

    monkeypatch.setattr("gateway.keeper.resync.Resync.run_once", idle)


def ghosts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave_it(self: Reconciler, room: str, action: object) -> None:
        return None

    monkeypatch.setattr(Reconciler, "_remove", leave_it)


def processes_are_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.pool.FakePool.end", lambda self, job_id, kill=False: None)


MUTATIONS = [
    (no_claim, two_dispatches_behind_our_back),
    (no_sid_pin, a_late_dispatch_after_the_room_came_back),
    (unknown_is_absent, livekit_answers_nothing_for_a_while),
    (no_lost_dispatch_rule, a_dispatch_that_vanishes),
    (no_grace_for_returning_agents, livekit_restarts_under_a_running_call),
    (restart_is_room_end, livekit_restarts_under_a_running_call),
    (deafness_ignored, a_person_leaves_and_comes_back),
    (every_end_is_a_death, an_agent_ends_on_purpose),
    (no_resync, every_webhook_is_lost),
    (ghosts_stay, a_crash_leaves_a_ghost),
    (processes_are_not_ended, a_frozen_agent_thaws_after_it_was_replaced),
]


@pytest.mark.parametrize(("mutation", "scenario"), MUTATIONS, ids=lambda f: f.__name__)
async def test_a_wall_taken_out_is_noticed(
    mutation: Callable[[pytest.MonkeyPatch], None], scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promise holds with the rule and breaks without it."""
    assert await scenario()
    mutation(monkeypatch)
    assert not await scenario()
