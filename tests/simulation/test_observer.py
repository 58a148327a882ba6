"""The observer excuses a cut call for what has just happened, and not for what once did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.faults import Faults
from tests.simulation.history import History, Step
from tests.simulation.play import play
from tests.simulation.scene import Scene

ARRIVE = Step(at=0.5, what="arrive", room="r1", who="p")
GOES_ON = Step(at=70.0, what="ask", room="r1")
"""So that the history is not over before the cut."""


def _at(at: float, what: str, **fields: Any) -> Step:
    return Step(at=at, what=what, **fields)


def cut_at(moment: float) -> Callable[[Scene], None]:
    """The keeper, gone mad, ends every call at that time."""

    def watch(scene: Scene) -> None:
        def cut() -> None:
            for replica in scene.up():
                for job in [j for j in replica.pool.jobs.values() if j.working]:
                    replica.pool.end(job.offer.job_id, kill=True)

        scene.later(moment, cut)

    return watch


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="nothing"),
        pytest.param([_at(5.0, "agent-frozen", room="r1", lasts=5.0)], id="it stood still"),
        pytest.param([_at(5.0, "cut-off-livekit", how="all", lasts=1.0)], id="it was cut off"),
        pytest.param([_at(5.0, "livekit-restart", lasts=1.0)], id="LiveKit restarted"),
        pytest.param([_at(5.0, "store-wiped")], id="the store forgot"),
        pytest.param([_at(5.0, "agent-dies", room="r1")], id="the one before died"),
        pytest.param(
            [_at(5.0, "agent-finishes", room="r1"), _at(6.0, "ask", room="r1")], id="the one before finished"
        ),
        pytest.param(
            [_at(5.0, "stop", room="r1"), _at(6.0, "ask", room="r1")], id="the one before was stopped"
        ),
        pytest.param([_at(5.0, "restart-agent", room="r1")], id="the one before was restarted"),
    ],
)
def test_what_once_happened_excuses_no_cut_in_calm(before: list[Step]) -> None:
    """I3: half a minute later a call is cut for nothing."""
    history = History(seed=1, replicas=1, slots=3, steps=(ARRIVE, *before, GOES_ON))
    assert not play(history).broken
    broken = play(history, watch=cut_at(40.0)).broken
    assert any(what.startswith("I3") for what in broken), broken


def test_a_room_that_ends_while_a_replica_could_look_is_over() -> None:
    """I4: an ask excuses an agent in the next instance only when nobody could look before its room's end."""
    spell = Faults(lambda: 0.0, 2)
    spell.begin("replica-frozen", 0).ended = 30.0
    assert not spell.everywhere(0.0, 30.0, ("replica-frozen",), 5.0), "the other one was well"
    second = spell.begin("replica-frozen", 1)
    second.began, second.ended = 4.0, 40.0
    assert spell.everywhere(0.0, 30.0, ("replica-frozen",), 5.0)
    second.began = 6.0
    assert not spell.everywhere(0.0, 30.0, ("replica-frozen",), 5.0), "it had time to look before"
    second.began, second.ended = 0.0, 24.0
    assert not spell.everywhere(0.0, 30.0, ("replica-frozen",), 5.0), "it had time to look afterwards"
