"""What the `scale` bench measures against: rooms that have their agent, as LiveKit, the store and the pool
know them. Made at once, by their state: calling ten thousand agents one by one is another bench's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.keeper.model import Claim, Room, Source, Stage, State, Want
from gateway.keeper.notes import Hint
from pool.ports import Capacity, Launch
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection

AGENT = "scale"
FOREIGN = "elsewhere"
"""An agent's name that no pool of ours serves."""
SPARE = 64
"""Free slots beside those that are taken."""
STEADY_FOR = 300.0
"""Seconds since when every room has had its agent: no crash loop, nothing on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """So many rooms, each with one person, one agent, one want; claims are spread over the replicas."""

    rooms: int
    replicas: Sequence[str]
    source: Source = Source.REQUEST
    foreign: bool = False

    @property
    def agent(self) -> str:
        return FOREIGN if self.foreign else AGENT

    def name(self, number: int) -> str:
        return f"scale-{number:06}"

    def job(self, number: int) -> str:
        return f"AJ_{number:08}"

    def replica(self, number: int) -> str:
        return self.replicas[number % len(self.replicas)]

    def jobs_of(self, replica: str) -> set[str]:
        if self.foreign:
            return set()
        return {self.job(n) for n in range(self.rooms) if self.replica(n) == replica}

    def fill(self, livekit: FakeLiveKit) -> None:
        """People and agents into the rooms of a fake LiveKit."""
        for number in range(self.rooms):
            livekit.join(self.name(number), "host")
            livekit.join(self.name(number), f"agent-{self.job(number)}", agent=self.agent)

    def wants(self, rooms: Sequence[Room], node_id: str, now: float) -> list[Want]:
        sids = {room.name: room.sid for room in rooms}
        return [
            Want(
                id=f"job_{number:08}",
                room=self.name(number),
                agent=self.agent,
                source=self.source,
                sid=sids[self.name(number)],
                node=node_id,
                state=State.JOINED,
                created_at=now - STEADY_FOR,
                asked_at=now - STEADY_FOR,
                since=now - STEADY_FOR,
                lacking_since=0.0,
                identity=f"agent-{self.job(number)}",
                needs_person=self.source is not Source.REQUEST,
            )
            for number in range(self.rooms)
        ]

    def claims(self, wants: Sequence[Want], now: float) -> list[Claim]:
        if self.foreign:
            return []
        return [
            Claim(
                room=want.room,
                agent=want.agent,
                want_id=want.id,
                generation=want.generation,
                sid=want.sid,
                job_id=self.job(number),
                identity=want.identity,
                replica=self.replica(number),
                stage=Stage.OPEN,
                since=now - STEADY_FOR,
                opened_at=now - STEADY_FOR,
            )
            for number, want in enumerate(wants)
        ]


class SteadyPool:
    """Jobs that run and tell nothing. Implements `pool.ports.Workers`."""

    def __init__(self, jobs: Collection[str], node_id: str) -> None:
        self._jobs = jobs
        slots = len(jobs) + SPARE
        self._capacity = Capacity(slots=slots, running=len(jobs), warm=SPARE, node_id=node_id)

    @property
    def agent(self) -> str:
        return AGENT

    def capacity(self) -> Capacity:
        return self._capacity

    def runs(self, job_id: str) -> bool:
        return job_id in self._jobs

    def inside(self) -> Collection[str]:
        return self._jobs

    def launch(self, launch: Launch) -> bool:
        raise RuntimeError(f"{launch.room} has its agent")

    def end(self, job_id: str, *, kill: bool = False) -> None:
        raise RuntimeError(f"{job_id} was ended: in these rooms nothing is wrong")

    def pause(self, paused: bool) -> None:
        """LiveKit offers it nothing."""


class Visitors:
    """Moves people in a fake LiveKit as the webhooks tell of them."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self._livekit = livekit
        self._here: dict[tuple[str, str], Connection] = {}

    def move(self, event: str, room: str, identity: str) -> None:
        if event == "participant_joined":
            self._here[room, identity] = self._livekit.join(room, identity)
        elif event == "participant_left" and (found := self._here.pop((room, identity), None)) is not None:
            self._livekit.leave(found)

    def hear(self, hint: Hint) -> None:
        self.move(hint.event, hint.room, hint.identity)
