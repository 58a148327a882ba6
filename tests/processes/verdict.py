"""What the record says about the invariants. Pure: samples in, violations out.

I3 and I6 show in the others: whoever acts on ignorance or on a false webhook makes two agents (I1), none
(I2), or one that nobody asked for (`uninvited`: I4, and I5 where an agent was told to end).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.processes.lives import Life
from tests.processes.record import Agent, Sample

OVERLAP_AFTER_A_PAUSE = 2.0
"""Seconds after a pause's end within which two agents must be one again (I1)."""
LISTING = 0.25
"""Seconds that two looks of the witness and LiveKit's own listing can put between cause and sample."""


@dataclass(frozen=True, slots=True)
class Double:
    """Two or more agents of a name in one room instance."""

    start: float
    end: float
    identities: tuple[str, ...]
    excused: bool
    """One of them was frozen or had been until `OVERLAP_AFTER_A_PAUSE` ago."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Processes were frozen or cut off (monotonic seconds)."""

    start: float
    end: float
    rooms: frozenset[str]
    """Whose agents they are, or may be when they wake up. Nothing is excused in any other."""


Pauses = Sequence[Pause]


@dataclass(slots=True)
class Wishes:
    """What people did about a room's agent, each time as monotonic seconds."""

    asked: list[float] = field(default_factory=list)
    """Just before somebody asked."""
    over: list[float] = field(default_factory=list)
    """When nobody was there any more, since the room had ended or the agent was told to."""


def doubles(samples: Sequence[Sample], *, until: float, pauses: Pauses = ()) -> list[Double]:
    """Times with two agents of a name that are no ghosts, in one room instance's samples; `pauses`: those
    that hit this room."""
    found: list[Double] = []
    for sample, end in with_ends(samples, until):
        for several in _by_name(sample.agents):
            now = Double(
                sample.at, end, tuple(a.identity for a in several), _excused(several, sample.at, end, pauses)
            )
            if found and found[-1].end == now.start and found[-1].identities == now.identities:
                now = Double(found[-1].start, end, now.identities, found[-1].excused and now.excused)
                found.pop()
            found.append(now)
    return found


def _by_name(agents: Iterable[Agent]) -> list[list[Agent]]:
    """The agents of each name that has more than one: ghosts left out."""
    names: dict[str, list[Agent]] = {}
    for agent in agents:
        if not agent.ghost:
            names.setdefault(agent.name, []).append(agent)
    return [several for several in names.values() if len(several) > 1]


def _excused(agents: Sequence[Agent], start: float, end: float, pauses: Pauses) -> bool:
    """A frozen process cannot know that it was replaced; thawed, it has a moment to learn it."""
    if sum(a.life is not Life.FROZEN for a in agents) <= 1:
        return True
    return any(p.start <= start and end <= p.end + OVERLAP_AFTER_A_PAUSE + LISTING for p in pauses)


def with_ends(samples: Sequence[Sample], until: float) -> list[tuple[Sample, float]]:
    ends = [sample.at for sample in samples[1:]] + [until]
    return list(zip(samples, ends, strict=True))


def agentless(samples: Sequence[Sample], *, since: float, until: float) -> float:
    """The longest time without a working agent between the two, in one room instance's samples."""
    longest = gap = 0.0
    for sample, end in with_ends(samples, until):
        start, end = max(sample.at, since), min(end, until)
        if end <= start or sample.over:
            continue
        gap = 0.0 if sample.working() else gap + end - start
        longest = max(longest, gap)
    return longest


def uninvited(samples: Sequence[Sample], wishes: Wishes) -> list[tuple[float, Agent]]:
    """Agents that were seen after all was over and before anybody asked again, in the samples of all
    instances of a room's name: when each was first seen so (I4, I5). Ghosts talk to nobody."""
    found: dict[str, tuple[float, Agent]] = {}
    for over in wishes.over:
        again = min((at for at in wishes.asked if at > over), default=math.inf)
        for sample in samples:
            for agent in sample.agents if over < sample.at < again else ():
                if not agent.ghost:
                    found.setdefault(agent.identity, (sample.at, agent))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Said:
    """What the API said of a job."""

    at: float
    """When it was asked."""
    room: str
    state: str
    identity: str
    took: float = 0.0
    """Seconds until the answer was there: it may have become true meanwhile."""


def lies(said: Sequence[Said], samples: Sequence[Sample], *, patience: float) -> list[Said]:
    """`joined`, while for `patience` seconds before no agent lived there under that identity (I7).

    One that publishes nothing yet is in the room all the same: an agent without a session is open then.
    What LiveKit did not tell the witness cannot be held against anybody: the caller leaves such times out.
    """
    return [s for s in said if s.state == "joined" and not _lived(s, samples, patience)]


def _lived(said: Said, samples: Sequence[Sample], patience: float) -> bool:
    heard = said.at + said.took + LISTING
    return any(
        agent.identity == said.identity and sample.at <= heard and end >= said.at - patience
        for sample, end in with_ends(samples, heard)
        for agent in sample.agents
        if agent.life in (Life.RUNS, Life.UNKNOWN)
    )
