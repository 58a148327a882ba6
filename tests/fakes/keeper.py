"""A keeper in memory for the HTTP tests: remembers asks as the real one promises to, and brings no agent."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import anyio

from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask, Invitation, Job, Participant, Replica, State, Want
from gateway.keeper.notes import Hint
from gateway.keeper.ports import StoreUnavailable
from gateway.keeper.reports import Health, Reports, RoomReport
from pool.ports import Capacity, Launch

NOW = 1_700_000_000.0


class FakeKeeper(Keeper):
    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.invitations: list[Invitation] = []
        self.hints: list[Hint] = []
        self.known: dict[str, Want] = {}
        self.checks = [Health(name="store", ok=True), Health(name="keeper", ok=True)]
        self.replicas = [
            Replica(id=name, agent=agent, capacity=Capacity(slots=4, warm=4, node_id="ND_1"))
            for name, agent in (("replica_1", "my-telephony-agent"), ("replica_2", "clerk"))
        ]
        self.store_down = False
        self.patience = math.inf
        """Seconds that `wait` takes at most."""
        self._changed = anyio.Event()
        self.reports = FakeReports(self)

    def settle(self, job_id: str, state: State, identity: str = "") -> None:
        """What the keeper's passes would have made of the want."""
        self.known[job_id] = replace(self.known[job_id], state=state, identity=identity)
        self._changed.set()
        self._changed = anyio.Event()

    async def start_agent(self, ask: Ask) -> Job:
        self.reach_store()
        self.asks.append(ask)
        living = self._alive(ask.room, ask.agent)
        want = living or self._fresh(ask)
        return Job(want=want, place=self.place(want), deduplicated=living is not None)

    async def stop_agent(self, room: str, agent: str) -> Job | None:
        self.reach_store()
        living = self._alive(room, agent)
        if living is None:
            return None
        self.settle(living.id, State.STOPPED)
        return Job(want=self.known[living.id])

    async def restart_agent(self, ask: Ask) -> Job:
        self.reach_store()
        self.asks.append(ask)
        living = self._alive(ask.room, ask.agent)
        if living is None:
            return Job(want=self._fresh(ask))
        again = replace(living, generation=living.generation + 1, state=State.REPLACING)
        self.known[again.id] = again
        return Job(want=again)

    async def job(self, job_id: str) -> Job | None:
        self.reach_store()
        want = self.known.get(job_id)
        return Job(want=want, place=self.place(want)) if want else None

    async def wait(self, job_id: str, timeout: float) -> Job | None:
        with anyio.move_on_after(min(timeout, self.patience)):
            while not (self.known[job_id].state.ended or self.known[job_id].state is State.JOINED):
                await self._changed.wait()
        return await self.job(job_id)

    async def follow(self, job_id: str) -> AsyncIterator[Job]:
        while True:
            changed = self._changed
            job = await self.job(job_id)
            assert job is not None
            yield job
            if job.want.state.ended:
                return
            with anyio.move_on_after(self.patience) as patience:
                await changed.wait()
            if patience.cancelled_caught:
                return

    def now(self) -> float:
        return NOW

    async def invite(self, invitation: Invitation) -> None:
        self.reach_store()
        self.invitations.append(invitation)

    def hint(self, hint: Hint) -> bool:
        self.hints.append(hint)
        return any(want.room == hint.room for want in self.known.values())

    def _fresh(self, ask: Ask) -> Want:
        want = Want(
            id=f"job_{len(self.known) + 1}",
            room=ask.room,
            agent=ask.agent,
            source=ask.source,
            metadata=ask.metadata,
            created_at=NOW,
            asked_at=NOW,
            since=NOW,
            lacking_since=NOW,
        )
        self.known[want.id] = want
        return want

    def _alive(self, room: str, agent: str) -> Want | None:
        return next(
            (w for w in self.known.values() if (w.room, w.agent) == (room, agent) and not w.state.ended),
            None,
        )

    def place(self, want: Want) -> int | None:
        line = [w.id for w in self.known.values() if w.state is State.WAITING]
        return line.index(want.id) + 1 if want.id in line else None

    def reach_store(self) -> None:
        if self.store_down:
            raise StoreUnavailable("disk I/O error")


class FakeReports(Reports):
    def __init__(self, keeper: FakeKeeper) -> None:
        self._keeper = keeper

    async def rooms(self) -> list[RoomReport]:
        self._keeper.reach_store()
        return [self._report_of(room) for room in dict.fromkeys(w.room for w in self._keeper.known.values())]

    async def room(self, room: str) -> RoomReport | None:
        self._keeper.reach_store()
        return self._report_of(room) if any(w.room == room for w in self._keeper.known.values()) else None

    @property
    def me(self) -> str:
        return "replica_1"

    @property
    def leading(self) -> bool:
        return True

    def replicas(self) -> list[Replica]:
        return self._keeper.replicas

    def health(self) -> list[Health]:
        return self._keeper.checks

    def _report_of(self, room: str) -> RoomReport:
        return RoomReport(
            room=room,
            sid="RM_1",
            wants=[
                Job(want=w, place=self._keeper.place(w))
                for w in self._keeper.known.values()
                if w.room == room
            ],
            claims=[],
            participants=[Participant(identity="alice", metadata="private", joined_at=NOW)],
            seen_at=NOW,
        )


@dataclass
class FakeWorkers:
    """`pool.ports.Workers` with figures that a test sets."""

    figures: Capacity = field(default_factory=lambda: Capacity(slots=4, warm=4, node_id="ND_1"))
    agent: str = "my-telephony-agent"

    def capacity(self) -> Capacity:
        return self.figures

    def runs(self, job_id: str) -> bool:
        return False

    def inside(self) -> list[str]:
        return []

    def launch(self, launch: Launch) -> bool:
        return False

    def end(self, job_id: str, *, kill: bool = False) -> None:
        pass

    def pause(self, paused: bool) -> None:
        pass
