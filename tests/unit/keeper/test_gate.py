"""The gate, offer by offer: each rule alone keeps a job out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.keeper.gate import LIVEKIT_WAITS, OFFER_LIFE, SENT, attributes
from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask, Stage, State, Want
from gateway.keeper.ports import StoreUnavailable
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Offer, Verdict
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.pool import FakePool
from tests.fakes.store import MemoryStore
from tests.unit.keeper.site import AGENT, wall_clock

pytestmark = pytest.mark.anyio


class Desk:
    """A keeper that does not run: only its gate is asked."""

    def __init__(self) -> None:
        self.store = MemoryStore(wall_clock)
        livekit = FakeLiveKit(clock=wall_clock)
        self.pool = FakePool(livekit, AGENT)
        self.keeper = Keeper(
            store=self.store,
            livekit=livekit,
            workers=self.pool,
            settings=KeeperSettings(default_agent=AGENT),
            metrics=Metrics(),
            clock=wall_clock,
        )

    async def want(self) -> Want:
        want = (await self.keeper.start_agent(Ask(room="r", agent=AGENT))).want
        pinned = replace(want, sid="RM_1")
        assert await self.store.update(pinned, was=want)
        return pinned


def offer_for(want: Want, job_id: str = "j1", *, room: str = "r", sid: str = "RM_1") -> Offer:
    sent = attributes(replace(want, dispatched_at=wall_clock()))
    return Offer(job_id=job_id, dispatch_id="d", room=room, sid=sid, agent=AGENT, attributes=sent)


@pytest.mark.parametrize(
    ("stood_still", "verdict"),
    [(True, Verdict.REFUSED), (False, Verdict.GRANTED)],
    ids=["stood still", "the second one that LiveKit asks"],
)
async def test_a_worker_that_stood_still_takes_no_job_that_livekit_has_given_up(
    stood_still: bool, verdict: Verdict
) -> None:
    """Its grant would keep the others from the room for seconds (fact 4)."""
    desk = Desk()
    offer = offer_for(await desk.want())
    old = replace(offer, attributes={**offer.attributes, SENT: str(wall_clock() - LIVEKIT_WAITS - 0.5)})
    if stood_still:
        desk.keeper._jobs.paused(wall_clock() - 5, wall_clock())
    assert await desk.keeper.claim(old) is verdict


async def test_the_dispatched_job_is_let_in_and_no_other() -> None:
    """I1: the first one has the room; the same dispatch launched twice brings one agent."""
    desk = Desk()
    want = await desk.want()
    assert await desk.keeper.claim(offer_for(want, "j1")) is Verdict.GRANTED
    assert await desk.keeper.claim(offer_for(want, "j2")) is Verdict.REFUSED
    assert not await desk.keeper.identify("j2", "agent-j2")


async def test_an_offer_that_livekit_waits_for_no_longer_is_refused() -> None:
    """A worker that stood still answers questions that are long forgotten; a claim would be in the way."""
    desk = Desk()
    offer = offer_for(await desk.want())
    old = replace(offer, attributes={**offer.attributes, SENT: str(wall_clock() - OFFER_LIFE - 1)})
    assert await desk.keeper.claim(old) is Verdict.REFUSED
    assert (
        await desk.keeper.claim(replace(offer, attributes={**offer.attributes, SENT: "?"})) is Verdict.GRANTED
    )


async def test_a_job_for_the_room_that_came_back_is_refused() -> None:
    """I4: the same name, another SID."""
    desk = Desk()
    want = await desk.want()
    assert await desk.keeper.claim(offer_for(want, sid="RM_2")) is Verdict.REFUSED
    assert await desk.store.all_claims() == []


async def test_a_job_of_before_a_restart_is_refused() -> None:
    """Its generation is over."""
    desk = Desk()
    want = await desk.want()
    await desk.keeper.restart_agent(Ask(room="r", agent=AGENT))
    assert await desk.keeper.claim(offer_for(want)) is Verdict.REFUSED


async def test_a_dispatch_of_one_room_opens_no_other() -> None:
    """Attributes copied to another room's dispatch are worth nothing there."""
    desk = Desk()
    want = await desk.want()
    assert await desk.keeper.claim(offer_for(want, room="elsewhere")) is Verdict.REFUSED
    assert await desk.store.all_claims() == []


async def test_a_job_of_a_stopped_want_is_refused() -> None:
    """Fact 53: late is too late."""
    desk = Desk()
    want = await desk.want()
    await desk.keeper.stop_agent("r", AGENT)
    assert await desk.keeper.claim(offer_for(want)) is Verdict.REFUSED


async def test_while_the_store_is_away_nothing_is_concluded() -> None:
    """I3: unknown, so that another worker may be asked."""
    desk = Desk()
    want = await desk.want()
    desk.store.away = True
    assert await desk.keeper.claim(offer_for(want)) is Verdict.UNKNOWN
    assert not await desk.keeper.confirm("j1")


@pytest.mark.parametrize("how", ["leaving", "stopped", "restarted"])
async def test_a_claim_that_is_over_is_not_confirmed(how: str) -> None:
    """The job process asks again before it connects."""
    desk = Desk()
    want = await desk.want()
    await desk.keeper.claim(offer_for(want))
    assert await desk.keeper.confirm("j1")
    if how == "leaving":
        held = await desk.store.claim_of("j1")
        assert held is not None
        await desk.store.advance(replace(held, stage=Stage.LEAVING), was=held)
    elif how == "stopped":
        await desk.keeper.stop_agent("r", AGENT)
    else:
        await desk.keeper.restart_agent(Ask(room="r", agent=AGENT))
    assert not await desk.keeper.confirm("j1")


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_job_is_taken_over_only_before_anybody_has_begun_it(stage: Stage) -> None:
    """LiveKit asks another worker when a grant's answer was lost: the claim follows the job, but never away
    from a replica that runs it (I1)."""
    desk = Desk()
    want = await desk.want()
    assert await desk.keeper.claim(offer_for(want)) is Verdict.GRANTED
    ours = await desk.store.claim_of("j1")
    assert ours is not None
    theirs = replace(ours, replica="another", stage=stage)
    assert await desk.store.advance(theirs, was=ours)
    fresh = stage is Stage.ACCEPTED
    assert await desk.keeper.claim(offer_for(want)) is (Verdict.GRANTED if fresh else Verdict.REFUSED)
    held = await desk.store.claim_of("j1")
    assert held is not None
    assert replace(held, since=ours.since) == (ours if fresh else theirs)


async def test_what_is_not_found_in_a_store_that_may_have_forgotten_is_not_denied() -> None:
    """It is about to be put back: 503, not "there is none"."""
    desk = Desk()
    with pytest.raises(StoreUnavailable):
        await desk.keeper.job("job_unknown")
    with pytest.raises(StoreUnavailable):
        await desk.keeper.stop_agent("r", AGENT)


async def test_a_strangers_dispatch_becomes_a_want_of_its_own() -> None:
    """And its second one is refused."""
    desk = Desk()
    offer = Offer(job_id="j1", dispatch_id="d", room="r", sid="RM_1", agent=AGENT, metadata="hello")
    assert await desk.keeper.claim(offer) is Verdict.GRANTED
    assert await desk.keeper.claim(replace(offer, job_id="j2")) is Verdict.REFUSED
    [want] = await desk.store.living()
    assert (want.sid, want.metadata, want.state) == ("RM_1", "hello", State.WAITING)


@pytest.mark.parametrize("asked_again", [False, True])
async def test_nobody_is_let_in_beside_what_is_left_of_an_agent_that_ended(asked_again: bool) -> None:
    """I1: its ghost is put out first, and then LiveKit is asked anew; a job of an earlier dispatch that comes
    before that is refused."""
    desk = Desk()
    want = await desk.want()
    ended = replace(want, settled_job="j0", dispatched_at=wall_clock() if asked_again else 0.0)
    assert await desk.store.update(ended, was=want)
    expected = Verdict.GRANTED if asked_again else Verdict.REFUSED
    assert await desk.keeper.claim(offer_for(ended)) is expected


async def test_a_strangers_dispatch_gets_no_room_whose_agents_claim_is_lost() -> None:
    """I1: a want that is joined and has no claim had one; it is about to be put back."""
    desk = Desk()
    want = await desk.want()
    assert await desk.store.update(replace(want, state=State.JOINED, identity="agent-j0"), was=want)
    stranger = Offer(job_id="j1", dispatch_id="d", room="r", sid="RM_1", agent=AGENT)
    assert await desk.keeper.claim(stranger) is Verdict.REFUSED
    assert await desk.store.all_claims() == []
