"""Each wall is needed: with one of them taken out, the simulator sees a promise broken (`make mutations`).

A mutation switches one rule off. Its history, in which the rule matters, is kept with the rule and broken
without it; should a mutation pass unseen, either the rule or the observer is worth nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace as altered

from gateway.keeper import jobs, plan
from gateway.keeper.gate import ClaimGate
from gateway.keeper.model import Claim, End, Room, Seen, Unknown
from gateway.keeper.ports import LeaseLost
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.resync import Resync
from gateway.keeper.situation import LoseDispatch, Plan, Release, RemoveParticipant, Situation
from gateway.settings import KeeperSettings
from pool.ports import Offer, Verdict
from tests.fakes.pool import FakePool
from tests.fakes.store_world import World
from tests.simulation.clock import quiet
from tests.simulation.history import History, Step
from tests.simulation.lines import LiveKitLine
from tests.simulation.play import play

Wall = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    without: Wall
    histories: Sequence[History]
    """Some of one kind where it depends on milliseconds: one of them must be broken without the wall."""


class StaleWrite(BaseException):
    """A write of somebody who does not lead any more took effect. No task swallows it."""


def no_claim() -> AbstractContextManager[Any]:
    async def everybody(self: ClaimGate, offer: Offer) -> Verdict:
        return Verdict.GRANTED

    async def named(self: ClaimGate, job_id: str, identity: str) -> bool:
        return True

    return patch.multiple(ClaimGate, claim=everybody, identify=named, confirm=named_confirm)


async def named_confirm(self: ClaimGate, job_id: str) -> bool:
    return True


def no_fence() -> AbstractContextManager[Any]:
    """Stale writes take effect; that they do is what is judged."""
    fence = World._fence

    def porous(self: World, epoch: int | None) -> None:
        try:
            fence(self, epoch)
        except LeaseLost as lost:
            raise StaleWrite from lost

    return patch.object(World, "_fence", porous)


def no_confirmation() -> AbstractContextManager[Any]:
    return patch.object(ClaimGate, "confirm", named_confirm)


@contextmanager
def no_removal_before_a_takers_claim() -> Iterator[None]:
    """Neither is the agent of a lapsed replica asked, nor is it removed before another one comes."""
    claimed = plan._claimed

    async def lapsed_is_dead(self: Reconciler, claim: Claim, seen: Seen) -> bool:
        return claim.replica == self._fleet.id or (bool(claim.replica) and self._fleet.alive(claim.replica))

    def released_only(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        made = claimed(s, claim, rules)
        releases = any(isinstance(a, Release) for a in made.actions)
        kept = [a for a in made.actions if not (releases and isinstance(a, RemoveParticipant))]
        return replace(made, actions=kept)

    def not_removed(s: Situation, rules: KeeperSettings) -> Plan:
        return replace(made := unclaimed(s, rules), actions=[a for a in made.actions if _no_removal(a)])

    unclaimed = plan._unclaimed
    with (
        patch.object(Reconciler, "_runs", lapsed_is_dead),
        patch.object(plan, "_claimed", released_only),
        patch.object(plan, "_unclaimed", not_removed),
    ):
        yield


def _no_removal(action: object) -> bool:
    return not isinstance(action, RemoveParticipant)


def no_witness() -> AbstractContextManager[Any]:
    """A replica whose heartbeat stopped is dead, and so are its agents."""

    async def gone(self: LiveKitLine, room: str, identity: str) -> bool:
        return False

    return patch.object(LiveKitLine, "answers", gone)


def no_sid_pin() -> AbstractContextManager[Any]:
    judge = ClaimGate._judge

    async def unpinned(self: ClaimGate, offer: Offer) -> tuple[str, Verdict]:
        return await judge(self, replace(offer, sid=offer.attributes.get("roomkeeper.sid", offer.sid)))

    return patch.object(ClaimGate, "_judge", unpinned)


def unknown_is_absent() -> AbstractContextManager[Any]:
    rooms = LiveKitLine.rooms

    async def certain(self: LiveKitLine, names: list[str] | None = None) -> list[Room]:
        found = await rooms(self, names)
        return [] if isinstance(found, Unknown) else found

    return patch.object(LiveKitLine, "rooms", certain)


def no_lost_dispatch_rule() -> AbstractContextManager[Any]:
    unclaimed = plan._unclaimed

    def patient(s: Situation, rules: KeeperSettings) -> Plan:
        made = unclaimed(s, rules)
        return replace(made, actions=[a for a in made.actions if not isinstance(a, LoseDispatch)], due=None)

    return patch.object(plan, "_unclaimed", patient)


def no_grace_for_returning_agents() -> AbstractContextManager[Any]:
    not_listed = plan._not_listed

    def impatient(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        return not_listed(s, claim, replace(rules, return_timeout=0.0))

    return patch.object(plan, "_not_listed", impatient)


def restart_is_room_end() -> AbstractContextManager[Any]:
    other_room = plan._other_room

    def forgetful(s: Situation, room: Room | None, rules: KeeperSettings) -> Plan:
        return other_room(replace(s, node=s.want.node, asked_since_seen=False, runs=False), room, rules)

    return patch.object(plan, "_other_room", forgetful)


def deafness_ignored() -> AbstractContextManager[Any]:
    return patch.object(jobs, "closed", lambda claim, reason, now, closed_at: claim)


def every_end_is_a_death() -> AbstractContextManager[Any]:
    return patch.object(jobs, "how_it_ended", lambda claim, event, told_at, after_pause=False: End.DIED)


def no_resync() -> AbstractContextManager[Any]:
    async def idle(self: Resync) -> str:
        return "ok"

    return patch.object(Resync, "run_once", idle)


def ghosts_stay() -> AbstractContextManager[Any]:
    async def leave_it(self: Reconciler, room: str, action: object) -> None:
        return None

    return patch.object(Reconciler, "_remove", leave_it)


def processes_are_not_ended() -> AbstractContextManager[Any]:
    return patch.object(FakePool, "end", lambda self, job_id, kill=False: None)


def never_entered_is_waited_for() -> AbstractContextManager[Any]:
    on_its_way = plan._on_its_way

    def patient(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
        return on_its_way(s, claim, replace(rules, connect_timeout=1e6))

    return patch.object(plan, "_on_its_way", patient)


def _history(*steps: Step, replicas: int = 1) -> list[History]:
    return [History(seed=1, replicas=replicas, slots=3, steps=steps)]


def _frozen_somewhere(first: float, last: float, how: str, *others: Step) -> list[History]:
    """One of two replicas stands still for longer than its lease, from any half millisecond between the two
    on."""
    return [
        _history(
            ARRIVE, _at(moment / 2000, "replica-frozen", via=via, how=how, lasts=12.0), *others, replicas=2
        )[0]
        for moment in range(round(first * 2000), round(last * 2000))
        for via in (0, 1)
    ]


def _at(at: float, what: str, **fields: Any) -> Step:
    return Step(at=at, what=what, **fields)


ARRIVE = _at(0.5, "arrive", room="r1", who="p")
FROZEN_AS_IT_ENTERS = [_at(0.3, "agents-misbehave", how="freeze", amount=1.0), ARRIVE]

MUTATIONS = [
    Mutation("no claim", no_claim, _history(ARRIVE, _at(0.51, "dispatch-behind", room="r1", amount=2.0))),
    Mutation(
        "no fence",
        no_fence,
        _frozen_somewhere(0.5, 0.52, "gateway"),
    ),
    Mutation(
        "no confirmation before connecting",
        no_confirmation,
        _frozen_somewhere(0.7, 0.73, "whole", _at(12.5, "store-away", lasts=5.0)),
    ),
    Mutation(
        "no removal before a taker's claim",
        no_removal_before_a_takers_claim,
        _history(ARRIVE, _at(5.0, "cut-off-store", lasts=15.0), replicas=2),
    ),
    Mutation(
        "no second witness",
        no_witness,
        _history(ARRIVE, _at(5.0, "cut-off-store", lasts=15.0), replicas=2),
    ),
    Mutation(
        "no SID pin",
        no_sid_pin,
        # The ask comes just before the room ends; its dispatch lands in the room that comes after it.
        [
            altered(
                _history(
                    _at(0.4, "join", room="r1", who="p"),
                    _at(3.0, "leave", room="r1", who="p"),
                    _at(22.0, "livekit-api", who="CreateDispatch", how="late", amount=1.8, lasts=2.0),
                    _at(22.6, "ask", room="r1"),
                    _at(22.65, "cut-off-livekit", how="api", lasts=5.0),
                    _at(23.8, "join", room="r1", who="q"),
                )[0],
                seed=seed,
            )
            for seed in range(1, 9)
        ],
    ),
    Mutation(
        "unknown is absent",
        unknown_is_absent,
        _history(ARRIVE, _at(4.0, "cut-off-livekit", how="api", lasts=40.0)),
    ),
    Mutation(
        "no rule for lost dispatches",
        no_lost_dispatch_rule,
        _history(_at(0.45, "livekit-api", who="CreateDispatch", how="lost", lasts=0.3), ARRIVE),
    ),
    Mutation(
        "no grace for returning agents",
        no_grace_for_returning_agents,
        _history(ARRIVE, _at(4.0, "livekit-restart", lasts=1.0)),
    ),
    Mutation(
        "a restart is a room's end",
        restart_is_room_end,
        _history(ARRIVE, _at(4.0, "livekit-restart", lasts=1.0)),
    ),
    Mutation(
        "deafness ignored",
        deafness_ignored,
        _history(ARRIVE, _at(3.0, "blip", room="r1", who="p", lasts=6.0)),
    ),
    Mutation(
        "every end is a death", every_end_is_a_death, _history(ARRIVE, _at(3.0, "agent-finishes", room="r1"))
    ),
    Mutation(
        "no resync",
        no_resync,
        _history(
            ARRIVE,
            _at(2.0, "webhooks", how="lost", amount=1.0, lasts=40.0),
            _at(3.0, "blip", room="r1", who="p", lasts=6.0),
        ),
    ),
    Mutation("ghosts stay", ghosts_stay, _history(ARRIVE, _at(3.0, "agent-dies", room="r1"))),
    Mutation(
        "processes are not ended",
        processes_are_not_ended,
        _history(*FROZEN_AS_IT_ENTERS),
    ),
    Mutation(
        "whoever never enters is waited for",
        never_entered_is_waited_for,
        _history(*FROZEN_AS_IT_ENTERS),
    ),
]


def caught(mutation: Mutation) -> str:
    """What was broken without the wall; "" when nobody noticed. Raises when it is broken with it, too."""
    for history in mutation.histories:
        with mutation.without():
            without_it = play(history)
        if without_it.broken:
            with_it = play(history)
            assert not with_it.broken, f"{mutation.name}: broken with the wall in place: {with_it.broken}"
            return without_it.broken[0]
    return ""


def main() -> int:
    quiet()
    noticed = 0
    for mutation in MUTATIONS:
        why = caught(mutation)
        noticed += bool(why)
        print(f"{'caught' if why else 'MISSED':7} {mutation.name:36} {why}")
    print(f"{noticed} of {len(MUTATIONS)} mutations caught")
    return 0 if noticed == len(MUTATIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
