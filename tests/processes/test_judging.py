"""What is held against a row: an overlap where nothing stood still, an agent that nobody asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.lives import Life
from tests.processes.outcome import Outcome
from tests.processes.record import Agent, Record, Sample
from tests.processes.verdict import Pause, Wishes


def an_outcome(log: Path) -> Outcome:
    return Outcome("row", 1, log)


def a_record(folder: Path, room: str, *samples: Sample) -> Record:
    record = Record([], "key", "secret", folder)
    record.rooms[room], record.samples["RM_1"] = ["RM_1"], list(samples)
    return record


def agents(*identities: str) -> tuple[Agent, ...]:
    return tuple(Agent(identity, "a", True, 1, Life.RUNS) for identity in identities)


@pytest.mark.parametrize(("hit", "violations"), [("room", 0), ("another", 1)])
def test_a_pause_excuses_the_rooms_it_hit_and_no_other(tmp_path: Path, hit: str, violations: int) -> None:
    """I1: two agents in a room whose processes ran all the time are a violation, whoever stood still."""
    record = a_record(tmp_path, "room", Sample(1, agents("x", "y")), Sample(2, agents("y")))
    outcome = an_outcome(tmp_path)
    outcome.judge(record, [], [Pause(0.5, 3, frozenset({hit}))], {})
    assert (outcome.violations["I1"], outcome.overlaps) == (violations, 1 - violations)


def test_every_row_is_judged_for_agents_that_nobody_asked_for(tmp_path: Path) -> None:
    """I4: the end of a room is held against whoever comes afterwards, in any row."""
    record = a_record(tmp_path, "room", Sample(4, agents("x")))
    outcome = an_outcome(tmp_path)
    outcome.judge(record, [], [], {"room": Wishes(asked=[1], over=[3])})
    assert outcome.violations["uninvited"] == 1


def test_when_an_agent_was_first_missed_is_found(tmp_path: Path) -> None:
    """Who worked all the time did not heal: there was nothing to heal."""
    record = a_record(
        tmp_path,
        "room",
        Sample(1, agents("x")),
        Sample(5, ()),
        Sample(6, agents("y")),
        Sample(9, agents("x")),
    )
    assert record.lost("room", "x", since=2) == 5
    assert record.lost("room", "x", since=8) == 8
    assert record.lost("room", "x", since=9.5) is None
