"""The judge tells two agents from one and a ghost, an excused overlap from a violation, truth from lies."""

from __future__ import annotations

from tests.processes.lives import Life
from tests.processes.record import Agent, Sample
from tests.processes.verdict import Pause, Said, Wishes, agentless, doubles, lies, uninvited


def agent(identity: str, life: Life = Life.RUNS, name: str = "a") -> Agent:
    return Agent(identity, name, True, 1, life)


def test_two_running_agents_of_a_name_are_a_violation() -> None:
    """I1: seen together in one look, they were together."""
    samples = [Sample(1, (agent("x"),)), Sample(2, (agent("x"), agent("y"))), Sample(3, (agent("y"),))]
    (double,) = doubles(samples, until=4)
    assert (double.start, double.end, double.excused) == (2, 3, False)


def test_a_ghost_beside_an_agent_is_none() -> None:
    """A killed process that LiveKit still lists (fact 12) talks to nobody."""
    assert doubles([Sample(1, (agent("x", Life.DEAD), agent("y")))], until=2) == []


def test_agents_of_two_names_are_no_pair() -> None:
    """A room may want several names."""
    assert doubles([Sample(1, (agent("x"), agent("y", name="b")))], until=2) == []


def test_an_overlap_with_a_frozen_agent_is_excused_until_two_seconds_after_its_thaw() -> None:
    """I1 allows what LiveKit cannot prevent: no longer, and counted."""
    frozen = Sample(10, (agent("x", Life.FROZEN), agent("y")))
    thawed = Sample(20, (agent("x"), agent("y")))
    for alone, excused in ((21.5, True), (24.0, False)):
        samples = [frozen, thawed, Sample(alone, (agent("y"),))]
        (double,) = doubles(samples, until=30, pauses=[Pause(5, 20, frozenset({"room"}))])
        assert double.excused is excused


def test_joined_said_of_a_dead_agent_is_a_lie_after_a_while() -> None:
    """I7: what nobody can know yet is not held against the API."""
    samples = [Sample(1, (agent("x"),)), Sample(5, (agent("x", Life.DEAD),))]
    said = [Said(at, "room", "joined", "x") for at in (2, 8, 12)]
    late = [Sample(1, ()), Sample(2.6, (agent("late"),))]
    assert [lie.at for lie in lies(said, samples, patience=6)] == [12]
    assert lies([Said(2, "room", "joined", "z")], samples, patience=6)
    assert lies([Said(2, "room", "joined", "late")], late, patience=6)
    assert not lies([Said(2, "room", "joined", "late", took=0.5)], late, patience=6), (
        "true as it was answered"
    )


def test_the_time_without_an_agent_is_measured() -> None:
    """I2: from the ghost's first sample to the next working agent."""
    samples = [Sample(1, (agent("x"),)), Sample(5, (agent("x", Life.DEAD),)), Sample(7, (agent("y"),))]
    assert agentless(samples, since=0, until=9) == 2


def test_an_agent_after_the_end_of_its_room_is_uninvited_until_somebody_asks() -> None:
    """I4 and I5: over is over; whoever asks later invites, and a ghost is nobody."""
    samples = [
        *(Sample(1, (agent("x"),)), Sample(4, over=True)),
        *(Sample(6, (agent("ghost", Life.DEAD),)), Sample(7, (agent("y"),)), Sample(8, (agent("y"),))),
    ]
    over = Wishes(asked=[0.5], over=[5])
    assert [(at, a.identity) for at, a in uninvited(samples, over)] == [(7, "y")]
    assert uninvited(samples, Wishes(asked=[0.5, 6.5], over=[5])) == []
    assert uninvited(samples, Wishes(asked=[0.5])) == []
    assert uninvited(samples, Wishes(asked=[0.5, 6.5, 7.5], over=[5, 6.8]))
