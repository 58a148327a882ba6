"""The walls behind the promises, each with the switch that takes it out. Which history needs which wall is
`mutations`' affair.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from gateway.keeper import jobs, plan, reconcile
from gateway.keeper.gate import ClaimGate
from gateway.keeper.model import Claim, End, Room, Seen, Unknown
from gateway.keeper.ports import LeaseLost
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.resync import Resync
from gateway.keeper.situation import Action, LoseDispatch, Plan, Release, RemoveParticipant, Situation
from gateway.settings import KeeperSettings
from pool.ports import Offer, Verdict
from tests.fakes.pool import FakePool
from tests.fakes.store_world import World
from tests.simulation.lines import LiveKitLine

Wall = Callable[[], AbstractContextManager[Any]]


def instead(owner: Any, name: str, other: Callable[..., Any]) -> AbstractContextManager[Any]:
    """`other` in place of a function, of the very same signature: else it would be the call that fails, not
    the promise."""
    there, here = inspect.signature(getattr(owner, name)), inspect.signature(other)
    if [(p.name, p.kind) for p in there.parameters.values()] != [
        (p.name, p.kind) for p in here.parameters.values()
    ]:
        raise TypeError(f"{name}{there} is not {name}{here} any more")
    return patch.object(owner, name, other)


def nobody_is_asked_first() -> AbstractContextManager[Any]:
    async def certainly(self: Reconciler, s: Situation, action: RemoveParticipant) -> bool:
        return False

    return instead(Reconciler, "_may_be_claimed", certainly)


def no_claim() -> AbstractContextManager[Any]:
    async def everybody(self: ClaimGate, offer: Offer) -> Verdict:
        return Verdict.GRANTED

    async def named(self: ClaimGate, job_id: str, identity: str) -> bool:
        return True

    return _all_of(
        instead(ClaimGate, "claim", everybody),
        instead(ClaimGate, "identify", named),
        instead(ClaimGate, "confirm", named_confirm),
    )


@contextmanager
def _all_of(*walls: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for wall in walls:
            stack.enter_context(wall)
        yield


async def named_confirm(self: ClaimGate, job_id: str) -> bool:
    return True


@contextmanager
def no_fence() -> Iterator[list[str]]:
    """Stale writes take effect; that they do is what is judged, and what is told."""
    fence, stale = World._fence, list[str]()

    def porous(self: World, epoch: int | None) -> None:
        try:
            fence(self, epoch)
        except LeaseLost as lost:
            stale.append(f"fence: a stale write took effect ({lost})")

    with instead(World, "_fence", porous):
        yield stale


def no_confirmation() -> AbstractContextManager[Any]:
    return instead(ClaimGate, "confirm", named_confirm)


def no_removal_before_a_takers_claim() -> AbstractContextManager[Any]:
    """Whoever is still listed is not removed before another one is called."""
    claimed, unclaimed = plan._claimed, plan._unclaimed

    def released_only(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        made = claimed(s, claim, rules)
        releases = any(isinstance(a, Release) for a in made.actions)
        return _without(RemoveParticipant, made) if releases else made

    def called_only(s: Situation, rules: KeeperSettings) -> Plan:
        return _without(RemoveParticipant, unclaimed(s, rules))

    return _all_of(instead(plan, "_claimed", released_only), instead(plan, "_unclaimed", called_only))


def _without(kind: type[Action], made: Plan) -> Plan:
    return replace(made, actions=[a for a in made.actions if not isinstance(a, kind)])


def no_witness() -> AbstractContextManager[Any]:
    """A replica whose heartbeat stopped is dead, and so are its agents."""

    async def gone(self: LiveKitLine, room: str, identity: str) -> bool:
        return False

    return instead(LiveKitLine, "answers", gone)


def silence_is_death() -> AbstractContextManager[Any]:
    """A witness that could not be asked counts as one that said no."""
    runs = Reconciler._runs

    async def certain(self: Reconciler, claim: Claim, seen: Seen, answers: dict[str, bool]) -> bool:
        return await runs(self, claim, seen, answers) is True

    return instead(Reconciler, "_runs", certain)


def no_sid_pin() -> AbstractContextManager[Any]:
    judge = ClaimGate._judge

    async def unpinned(self: ClaimGate, offer: Offer) -> tuple[str, Verdict]:
        return await judge(self, replace(offer, sid=offer.attributes.get("roomkeeper.sid", offer.sid)))

    return instead(ClaimGate, "_judge", unpinned)


def no_look_before_a_direct_agent_enters() -> AbstractContextManager[Any]:
    async def surely(self: ClaimGate, claim: Claim) -> bool:
        return True

    return instead(ClaimGate, "_room_is_there", surely)


def unknown_is_absent() -> AbstractContextManager[Any]:
    rooms = LiveKitLine.rooms

    async def certain(self: LiveKitLine, names: list[str] | None = None) -> list[Room]:
        found = await rooms(self, names)
        return [] if isinstance(found, Unknown) else found

    return instead(LiveKitLine, "rooms", certain)


def no_lost_dispatch_rule() -> AbstractContextManager[Any]:
    unclaimed = plan._unclaimed

    def patient(s: Situation, rules: KeeperSettings) -> Plan:
        return replace(_without(LoseDispatch, unclaimed(s, rules)), due=None)

    return instead(plan, "_unclaimed", patient)


def no_grace_for_returning_agents() -> AbstractContextManager[Any]:
    not_listed = plan._not_listed

    def impatient(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        return not_listed(s, claim, replace(rules, return_timeout=0.0))

    return instead(plan, "_not_listed", impatient)


def restart_is_room_end() -> AbstractContextManager[Any]:
    other_room = plan._other_room

    def forgetful(s: Situation, room: Room | None, rules: KeeperSettings) -> Plan:
        return other_room(replace(s, node=s.want.node, asked_since_seen=False, runs=False), room, rules)

    return instead(plan, "_other_room", forgetful)


def deafness_ignored() -> AbstractContextManager[Any]:
    return instead(jobs, "closed", lambda claim, reason, now, closed_at: claim)


def every_end_is_a_death() -> AbstractContextManager[Any]:
    return instead(jobs, "how_it_ended", lambda claim, event, told_at, *, after_pause=False: End.DIED)


def no_resync() -> AbstractContextManager[Any]:
    async def idle(self: Resync) -> str:
        return "ok"

    return instead(Resync, "run_once", idle)


def ghosts_stay() -> AbstractContextManager[Any]:
    async def leave_it(self: Reconciler, room: str, action: object) -> None:
        return None

    return instead(Reconciler, "_remove", leave_it)


def processes_are_not_ended() -> AbstractContextManager[Any]:
    return instead(FakePool, "end", lambda self, job_id, *, kill=False: None)


def whoever_hands_over_stays() -> AbstractContextManager[Any]:
    return instead(reconcile, "over", lambda claim, claims, listed, now: "")


def whoever_hands_over_leaves_at_once() -> AbstractContextManager[Any]:
    return instead(reconcile, "over", lambda claim, claims, listed, now: "late")


def never_entered_is_waited_for() -> AbstractContextManager[Any]:
    on_its_way = plan._on_its_way

    def patient(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        return on_its_way(s, claim, replace(rules, connect_timeout=1e6))

    return instead(plan, "_on_its_way", patient)
