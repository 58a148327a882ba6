"""A fleet in memory, under virtual time: the real keepers of several replicas over one fake LiveKit and one
store in memory, and an observer that counts agents by itself.

`python -m bench.fleet_world ROOMS` plays one course of things and prints what it cost, as JSON.
"""

from __future__ import annotations

import gc
import itertools
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import anyio
import msgspec
import psutil
from anyio.abc import TaskGroup

from bench.figures import percentile
from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask
from gateway.keeper.notes import Hint
from gateway.livekit.webhooks import Event
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection
from tests.fakes.pool import FakePool
from tests.fakes.store import MemoryStore
from tests.simulation.clock import quiet, run, wall_clock

AGENT = "a"
REPLICAS = 10
ROOM = 1.25
"""Slots for each call: nine replicas can take all calls."""
ASKS_PER_S = 50
"""LiveKit takes 0.2 s for a dispatch, and 16 are under way at once: about 70 a second is the most."""
MOVES_PER_S = 200
STEADY = 120.0
TIMEOUT = 300.0
"""Virtual seconds without any room getting its agent, after which the rest is lost."""
POLL = 0.5


class Found(msgspec.Struct, kw_only=True):
    rooms: int
    unserved: int = 0
    """Rooms that did not get an agent, or not again after the kill."""
    doubled: int = 0
    """Rooms that ever had two agents."""
    moves: int = 0
    cpu_ms_per_call: float = 0.0
    """From the person's join and the POST to the agent that listens: all replicas, LiveKit, store, pools."""
    cpu_ms_per_event: float = 0.0
    agent_p99_s: float = 0.0
    heal_s: float = 0.0
    """From the kill of one replica of ten to the last room's new agent."""
    killed_calls: int = 0
    rss_mb: float = 0.0
    virtual_s: float = 0.0


class Replica:
    def __init__(
        self, number: int, livekit: FakeLiveKit, store: MemoryStore, slots: int, metrics: Metrics
    ) -> None:
        self.pool = FakePool(livekit, AGENT, slots=slots)
        self.keeper = Keeper(
            store=store.link(),
            livekit=livekit.link(),
            workers=self.pool,
            settings=replace(KeeperSettings(), default_agent=AGENT),
            metrics=metrics,
            clock=wall_clock,
            replica_id=f"replica-{number}",
            host="host",
        )
        self.pool.attach(self.keeper, self.keeper)
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.keeper.run)
                tasks.start_soon(self.pool.run)
                self.pool.start()

    def kill(self) -> None:
        self.pool.crash()
        self._scope.cancel()


class Watch:
    """Which rooms have an agent, by what happens in LiveKit; shares nothing with the keepers."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self.agents: dict[str, set[str]] = {}
        self.doubled: set[str] = set()
        self.came_at: dict[str, float] = {}
        self._livekit = livekit
        livekit.on_event.append(self._hear)

    def _hear(self, event: Event) -> None:
        who = event.participant
        if who is None or who.kind != "AGENT":
            return
        here = self.agents.setdefault(event.room.name, set())
        if event.event == "participant_joined":
            here.add(who.identity)
            self.came_at[event.room.name] = anyio.current_time()
            living = [c for c in self._livekit.present(event.room.name) if c.agent is not None and c.alive]
            if len(living) > 1:
                self.doubled.add(event.room.name)
        elif event.event == "participant_left":
            here.discard(who.identity)

    def served(self) -> int:
        return sum(1 for here in self.agents.values() if here)


class Fleet:
    def __init__(self, rooms: int, livekit: FakeLiveKit, tasks: TaskGroup) -> None:
        store, metrics = MemoryStore(wall_clock), Metrics()
        slots = int(ROOM * rooms / REPLICAS) + 4
        self.found = Found(rooms=rooms)
        self.livekit = livekit
        self.watch = Watch(livekit)
        self.replicas = [Replica(n, livekit, store, slots, metrics) for n in range(REPLICAS)]
        self._turn = itertools.count()
        livekit.on_event.append(self._webhook)
        for replica in self.replicas:
            tasks.start_soon(replica.run)

    def _webhook(self, event: Event) -> None:
        """LiveKit sends each webhook to one replica or another."""
        who = event.participant
        self._next().keeper.hint(
            Hint(
                event=event.event,
                room=event.room.name,
                sid=event.room.sid,
                identity=who.identity if who else "",
                person=who is not None and who.kind != "AGENT",
                reason=who.disconnect_reason if who else "",
            )
        )

    def _next(self) -> Replica:
        return self.replicas[next(self._turn) % len(self.replicas)]

    async def call(self) -> None:
        """People come and their pages ask, room after room, until all have their agents."""
        asked: dict[str, float] = {}
        began, cpu = anyio.current_time(), time.process_time()
        for number in range(self.found.rooms):
            await anyio.sleep(began + number / ASKS_PER_S - anyio.current_time())
            room = f"room-{number:06}"
            self.livekit.join(room, "host")
            asked[room] = anyio.current_time()
            await self._next().keeper.start_agent(Ask(room=room, agent=AGENT))
        await self._until_served()
        self.found.cpu_ms_per_call = 1000 * (time.process_time() - cpu) / self.found.rooms
        came = self.watch.came_at
        self.found.agent_p99_s = percentile([came[r] - asked[r] for r in asked if r in came], 0.99)

    async def move(self) -> None:
        """People come and go in the rooms."""
        rng = random.Random(1)
        here: list[Connection] = []
        began, cpu = anyio.current_time(), time.process_time()
        count = int(STEADY * MOVES_PER_S)
        for number in range(count):
            await anyio.sleep(began + number / MOVES_PER_S - anyio.current_time())
            if number % 2 and here:
                self.livekit.leave(here.pop(rng.randrange(len(here))))
            else:
                room = f"room-{rng.randrange(self.found.rooms):06}"
                here.append(self.livekit.join(room, f"visitor-{number}"))
        self.found.moves = count
        self.found.cpu_ms_per_event = 1000 * (time.process_time() - cpu) / count

    async def lose_one(self) -> None:
        """kill -9 of the replica that leads, with all its calls."""
        killed = self.replicas.pop(0)
        self.found.killed_calls = len(killed.pool.jobs)
        began = anyio.current_time()
        killed.kill()
        await anyio.sleep(1.0)
        await self._until_served()
        self.found.heal_s = max(self.watch.came_at.values()) - began

    async def _until_served(self) -> None:
        """Until every room has a working agent, or none has got one for `TIMEOUT`."""
        lacking, since = -1, anyio.current_time()
        while (now := self._lacking()) and anyio.current_time() - since < TIMEOUT:
            if now != lacking:
                lacking, since = now, anyio.current_time()
            await anyio.sleep(POLL if self.found.rooms <= 10_000 else 10 * POLL)

    def _lacking(self) -> int:
        working = {j.offer.room for r in self.replicas for j in r.pool.jobs.values() if j.working}
        return self.found.rooms - len(working)

    def sum_up(self) -> Found:
        self.found.unserved = self._lacking()
        self.found.doubled = len(self.watch.doubled)
        self.found.rss_mb = psutil.Process().memory_info().rss / 1e6
        self.found.virtual_s = anyio.current_time()
        return self.found


def play(rooms: int) -> Callable[[], object]:
    async def course() -> Found:
        async with FakeLiveKit(clock=wall_clock) as livekit, anyio.create_task_group() as tasks:
            fleet = Fleet(rooms, livekit, tasks)
            await anyio.sleep(5.0)
            await fleet.call()
            await anyio.sleep(70.0)
            await fleet.move()
            await fleet.lose_one()
            found = fleet.sum_up()
            tasks.cancel_scope.cancel()
        return found

    return course


if __name__ == "__main__":
    quiet()
    gc.freeze()
    sys.stdout.write(msgspec.json.encode(run(1, play(int(sys.argv[1])))).decode())  # type: ignore[arg-type]
