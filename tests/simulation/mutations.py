"""Each wall is needed: with one of them taken out, the simulator sees the promise broken that the wall keeps
(`make mutations`).

A mutation's history, in which the rule matters, is kept with the rule and broken without it; should a
mutation pass unseen, or break something else than its own promise, either the rule or the observer is worth
nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace as altered

from tests.simulation import walls
from tests.simulation.clock import quiet
from tests.simulation.history import History, Step
from tests.simulation.play import EXCEPTION, play
from tests.simulation.walls import Wall


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    without: Wall
    breaks: str
    """The promise, as complaints begin: what the wall is for."""
    histories: Sequence[History]
    """Some of one kind where it depends on milliseconds: one of them must be broken without the wall."""


def _history(*steps: Step, replicas: int = 1) -> list[History]:
    return [History(seed=1, replicas=replicas, slots=3, steps=steps)]


def _seeds(*steps: Step, replicas: int = 1) -> list[History]:
    """Where it is by chance which calls fare badly."""
    history = _history(*steps, replicas=replicas)[0]
    return [altered(history, seed=seed) for seed in range(1, 9)]


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
HANDS_OVER = _at(3.0, "replica-ends", how="hands-over", lasts=1.0)
FROZEN_AS_IT_ENTERS = [_at(0.3, "agents-misbehave", how="freeze", amount=1.0), ARRIVE]

MUTATIONS = [
    Mutation(
        "no claim",
        walls.no_claim,
        "I1",
        _history(ARRIVE, _at(0.51, "dispatch-behind", room="r1", amount=2.0)),
    ),
    Mutation(
        "no fence",
        walls.no_fence,
        "fence",
        _frozen_somewhere(0.5, 0.52, "gateway"),
    ),
    Mutation(
        "no confirmation before connecting",
        walls.no_confirmation,
        "I1",
        _frozen_somewhere(0.7, 0.73, "whole", _at(12.5, "store-away", lasts=5.0)),
    ),
    Mutation(
        "no removal before a taker's claim",
        walls.no_removal_before_a_takers_claim,
        "I1",
        # Strays are removed once another job has the claim, too: but that comes too late when it fails.
        _seeds(
            _at(0.5, "arrive", room="r1", who="p"),
            _at(5.0, "replica-killed", lasts=15.0),
            _at(9.5, "livekit-api", who="RemoveParticipant", how="slow", amount=0.5, lasts=3.0),
            replicas=2,
        ),
    ),
    Mutation(
        "no second witness",
        walls.no_witness,
        "I3",
        # One of two replicas is cut off: whether it is the one that has the agent is by chance.
        _seeds(ARRIVE, _at(5.0, "cut-off-store", lasts=15.0), replicas=2),
    ),
    Mutation(
        "a witness that cannot be asked says no",
        walls.silence_is_death,
        "I3",
        _seeds(
            ARRIVE,
            _at(5.0, "cut-off-store", lasts=15.0),
            _at(7.5, "livekit-api", who="PerformRpc", how="lost", lasts=10.0),
            replicas=2,
        ),
    ),
    Mutation(
        "no SID pin",
        walls.no_sid_pin,
        "I4",
        # The ask comes just before the room ends; its dispatch lands in the room that comes after it.
        _seeds(
            _at(0.4, "join", room="r1", who="p"),
            _at(3.0, "leave", room="r1", who="p"),
            _at(22.0, "livekit-api", who="CreateDispatch", how="late", amount=1.8, lasts=2.0),
            _at(22.6, "ask", room="r1"),
            _at(22.65, "cut-off-livekit", how="api", lasts=5.0),
            _at(23.8, "join", room="r1", who="q"),
        ),
    ),
    Mutation(
        "no look before a direct agent enters",
        walls.no_look_before_a_direct_agent_enters,
        "I4",
        # The room is seen just before it ends, nobody tells of that, the store is slow, and somebody else
        # makes the room anew.
        [
            altered(history, direct=True)
            for moment in range(10)
            for history in _history(
                _at(0.4, "join", room="r1", who="p"),
                _at(7.5, "leave", room="r1", who="p"),
                _at(27.0, "store-slow", amount=0.03, lasts=6.0),
                _at(27.0, "webhooks", how="lost", amount=1.0, lasts=6.0),
                _at(27.45 + moment / 100, "ask", room="r1"),
                _at(27.8, "join", room="r1", who="q"),
            )
        ],
    ),
    Mutation(
        "unknown is absent",
        walls.unknown_is_absent,
        "I3",
        _history(ARRIVE, _at(4.0, "cut-off-livekit", how="api", lasts=40.0)),
    ),
    Mutation(
        "no rule for lost dispatches",
        walls.no_lost_dispatch_rule,
        "I2",
        _history(_at(0.45, "livekit-api", who="CreateDispatch", how="lost", lasts=0.3), ARRIVE),
    ),
    Mutation(
        "no grace for returning agents",
        walls.no_grace_for_returning_agents,
        "I3",
        _history(ARRIVE, _at(4.0, "livekit-restart", lasts=1.0)),
    ),
    Mutation(
        "a restart is a room's end",
        walls.restart_is_room_end,
        "I3",
        _history(ARRIVE, _at(4.0, "livekit-restart", lasts=1.0)),
    ),
    Mutation(
        "deafness ignored",
        walls.deafness_ignored,
        "I7",
        _history(ARRIVE, _at(3.0, "blip", room="r1", who="p", lasts=6.0)),
    ),
    Mutation(
        "every end is a death",
        walls.every_end_is_a_death,
        "I5",
        _history(ARRIVE, _at(3.0, "agent-finishes", room="r1")),
    ),
    Mutation(
        "no resync",
        walls.no_resync,
        "I2",
        _history(
            ARRIVE,
            _at(2.0, "webhooks", how="lost", amount=1.0, lasts=40.0),
            _at(3.0, "blip", room="r1", who="p", lasts=6.0),
        ),
    ),
    Mutation(
        "whoever has no claim is put out unasked",
        walls.nobody_is_asked_first,
        "I3",
        # Others lead when the agent's replica is back, half a second after the store is settled.
        _seeds(
            ARRIVE,
            _at(2.0, "cut-off-store", lasts=4.0),
            _at(2.05, "store-wiped"),
            replicas=3,
        ),
    ),
    Mutation("ghosts stay", walls.ghosts_stay, "I1", _history(ARRIVE, _at(3.0, "agent-dies", room="r1"))),
    Mutation(
        "processes are not ended",
        walls.processes_are_not_ended,
        "I2",
        _history(*FROZEN_AS_IT_ENTERS),
    ),
    Mutation(
        "whoever hands over stays",
        walls.whoever_hands_over_stays,
        "I1",
        _seeds(ARRIVE, HANDS_OVER, replicas=2),
    ),
    Mutation(
        "whoever hands over leaves at once",
        walls.whoever_hands_over_leaves_at_once,
        "I3",
        _seeds(ARRIVE, HANDS_OVER, _at(3.0, "replica-ends", via=1, how="hands-over", lasts=1.0), replicas=3),
    ),
    Mutation(
        "whoever never enters is waited for",
        walls.never_entered_is_waited_for,
        "I2",
        _history(*FROZEN_AS_IT_ENTERS),
    ),
]


def caught(mutation: Mutation) -> str:
    """How its promise was broken without the wall; "" when nobody noticed. Raises when something else was
    broken, or it was broken with the wall, too."""
    for history in mutation.histories:
        if not (broken := _broken_without(mutation, history)):
            continue
        assert not any(what.startswith(EXCEPTION) for what in broken), f"{mutation.name}: {broken}"
        fit = [what for what in broken if what.startswith(mutation.breaks)]
        assert fit, f"{mutation.name} is to break {mutation.breaks}: {broken}"
        with_it = play(history)
        assert not with_it.broken, f"{mutation.name}: broken with the wall in place: {with_it.broken}"
        return fit[0]
    return ""


def _broken_without(mutation: Mutation, history: History) -> list[str]:
    with mutation.without() as evidence:
        outcome = play(history)
    return [*outcome.broken, *(evidence if isinstance(evidence, list) else [])]


def main() -> int:
    quiet()
    noticed = 0
    for mutation in MUTATIONS:
        try:
            why = caught(mutation)
        except AssertionError as wrong:
            why, mark = str(wrong), "WRONG"
        else:
            mark = "caught" if why else "MISSED"
        noticed += mark == "caught"
        print(f"{mark:7} {mutation.name:36} {why}")
    print(f"{noticed} of {len(MUTATIONS)} mutations caught")
    return 0 if noticed == len(MUTATIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
