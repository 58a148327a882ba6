"""The stage of a history: one LiveKit, one store, some replicas, clients, and webhooks on their way. Offers
what steps are made of; draws nothing but latencies and who gets what.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask, Invitation
from gateway.keeper.notes import Hint
from gateway.keeper.ports import StoreUnavailable
from gateway.livekit.webhooks import Event
from gateway.settings import KeeperSettings
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Call, Connection, Fault, Link
from tests.fakes.pool_jobs import FakeJob
from tests.fakes.store import MemoryStore
from tests.simulation.books import Cause
from tests.simulation.clock import wall_clock
from tests.simulation.excuses import HANDS_OVER
from tests.simulation.history import History
from tests.simulation.observer import Observer
from tests.simulation.replica import AGENT, Replica

POLICY = "policy-*"
SETTINGS = replace(KeeperSettings(), default_agent=AGENT, room_patterns=((POLICY, AGENT),))
RETRIES = (1.0, 3.0, 7.0, 15.0)  # fact 24
PATIENCE = 10.0
"""Seconds that a client waits for an answer."""


class Webhooks:
    """How webhooks fare on their way."""

    def __init__(self) -> None:
        self.lost = 0.0
        """The share that never arrives; so too the following."""
        self.doubled = 0.0
        self.late = 0.0
        """Up to so many seconds."""


class Scene:
    def __init__(self, history: History, livekit: FakeLiveKit, tasks: TaskGroup) -> None:
        self.history = history
        self.rng = random.Random(history.seed)
        self.livekit = livekit
        self.store = MemoryStore(wall_clock)
        self.observer = Observer(livekit, wall_clock, history.replicas)
        self.webhooks = Webhooks()
        self.people: dict[tuple[str, str], Connection] = {}
        self.wants: dict[str, str] = {}
        """Rooms of the wants that clients heard of, by id."""
        self.spoilers: list[Callable[[Call], Fault | None]] = []
        """Asked in turn what happens to a call of LiveKit's API."""
        self.entries: list[str] = []
        """What the next agents do as they enter; the others just serve."""
        self._tasks = tasks
        self.faults = self.observer.faults
        self.step = ""
        """The kind of the step under way."""
        slots, seed = history.slots, history.seed
        settings = replace(SETTINGS, launch="direct" if history.direct else "dispatch")
        self.replicas = [
            Replica(n, livekit, self.store, settings, slots, seed) for n in range(history.replicas)
        ]
        for each in self.replicas:
            each.on_start = self._started
            each.on_hand_over = self._hands_over
        livekit.on_event.append(self._webhook)
        self.observer.job_of = self._job_of
        self.observer.joins_call = lambda room: room.startswith(POLICY.removesuffix("*"))

    # ---- time and faults ----------------------------------------------------------------------------

    def later(self, delay: float, action: Callable[[], None]) -> None:
        self.livekit.after(delay, action)

    def during(self, lasts: float, undo: Callable[[], None], at: Replica | None = None) -> None:
        """The fault of the step under way is at work for so many seconds; then it is undone. `at`: the
        replica that it hits, None for all of them."""
        fault = self.faults.begin(self.step, None if at is None else at.number)

        def over() -> None:
            undo()
            self.faults.end(fault)
            self.observer.look()

        self.later(lasts, over)

    def blow(self, at: Replica | None = None) -> None:
        """The fault of the step under way is over at once."""
        self.faults.end(self.faults.begin(self.step, None if at is None else at.number))

    # ---- replicas -----------------------------------------------------------------------------------

    def start(self, replica: Replica) -> None:
        if not replica.up:
            self._tasks.start_soon(replica.run)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.start_soon(work)

    def replica(self, number: int) -> Replica:
        return self.replicas[number % len(self.replicas)]

    def up(self) -> list[Replica]:
        return [r for r in self.replicas if r.up]

    def _hands_over(self, replica: Replica) -> None:
        self.faults.begin(HANDS_OVER, replica.number)

    def _started(self, replica: Replica) -> None:
        replica.pool.on_enter = self._entry
        # It ends some milliseconds later: whoever asks in between asks before that, or after.
        replica.pool.on_finish = lambda job: self.observer.finished(job.offer.room, job, lasts=0.05)
        replica.pool.on_end = lambda job, kill: self.observer.ends(job, "killed" if kill else "told to end")
        replica.line.on_removal = self._removing
        replica.line.link.hook = self._spoil

    def _entry(self, job: FakeJob) -> str:
        what = self.entries.pop(0) if self.entries else ""
        if what and what != "finish":
            found = self._job_of(job.identity)
            self.faults.end(self.faults.begin(f"enters-{what}", None if found is None else found[1]))
        return what

    def _removing(self, room: str, identity: str) -> None:
        found = self._job_of(identity)
        if found is not None and found[0].offer.room == room:
            self.observer.ends(found[0], "removed")

    def _job_of(self, identity: str) -> tuple[FakeJob, int] | None:
        job_id = identity.removeprefix("agent-")
        for each in self.replicas:
            if each.up and (job := each.pool.jobs.get(job_id)) is not None:
                return job, each.number
        return None

    def jobs(self, room: str) -> list[tuple[Replica, FakeJob]]:
        """The room's jobs that have a process."""
        return [
            (each, job)
            for each in self.up()
            for job in each.pool.jobs.values()
            if job.offer.room == room and job.launched and not job.exited
        ]

    # ---- clients ------------------------------------------------------------------------------------

    def join(self, room: str, who: str) -> None:
        known = self.people.get((room, who))
        if known is not None and known.link is not Link.LEFT:
            return
        try:
            self.people[room, who] = self.livekit.join(room, who)
        except ConnectionError:
            return

    def ask(self, room: str, via: int, kind: str) -> None:
        """POST, at the replica of that number or another one that is up."""
        candidates = self.up()
        if not candidates:
            return
        replica = self.replica(via) if self.replica(via).up else self.rng.choice(candidates)
        cause = self.observer.asked(room, kind, replica.number)
        replica.request(partial(self._post, room, kind, cause))

    async def _post(self, room: str, kind: str, cause: Cause, keeper: Keeper) -> None:
        try:
            ask = Ask(room=room, agent=AGENT)
            match kind:
                case "stop":
                    job = await keeper.stop_agent(room, AGENT)
                case "restart":
                    job = await keeper.restart_agent(ask)
                case _:
                    job = await keeper.start_agent(ask)
        except StoreUnavailable:
            cause.refused = True
            cause.answered = wall_clock()
            return
        cause.answered = wall_clock()
        if job is not None:
            self.wants[job.want.id] = room
        else:
            cause.refused = True  # nothing was to stop: what called may be unheard yet

    def invite(self, room: str, who: str, via: int) -> None:
        candidates = self.up()
        if not candidates:
            return
        replica = self.replica(via) if self.replica(via).up else self.rng.choice(candidates)
        replica.request(partial(self._invite, room, who))

    async def _invite(self, room: str, who: str, keeper: Keeper) -> None:
        expires = wall_clock() + 3600.0
        cause = self.observer.asked(room, "invitation")
        cause.refused = True  # it calls for an agent only once its guest is there: nothing is certain
        with suppress(StoreUnavailable):
            await keeper.invite(Invitation(room=room, identity=who, agent=AGENT, expires_at=expires))

    # ---- webhooks, and LiveKit's API -----------------------------------------------------------------

    def _webhook(self, event: Event) -> None:
        ways = self.webhooks
        if self.rng.random() < ways.lost:
            return
        who = event.participant
        hint = Hint(
            event=event.event,
            room=event.room.name,
            sid=event.room.sid,
            identity=who.identity if who is not None else "",
            person=who is not None and who.kind != "AGENT",
            reason=who.disconnect_reason if who is not None else "",
        )
        for _ in range(2 if self.rng.random() < ways.doubled else 1):
            self.later(self.rng.uniform(0.001, 0.005 + ways.late), partial(self._deliver, hint, RETRIES))

    def _deliver(self, hint: Hint, retries: tuple[float, ...]) -> None:
        """To whichever replica the load balancer picks; one that is down refuses the connection."""
        replica = self.rng.choice(self.replicas)
        if replica.up:
            replica.hint(hint)
        elif retries:
            self.later(retries[0], partial(self._deliver, hint, retries[1:]))

    def _spoil(self, call: Call) -> Fault | None:
        for spoiler in self.spoilers:
            if (fault := spoiler(call)) is not None:
                return fault
        return None


@asynccontextmanager
async def a_scene(history: History) -> AsyncIterator[Scene]:
    """Everything is up, and registered, when it begins."""
    rng = random.Random(history.seed)
    async with FakeLiveKit(clock=wall_clock, rng=rng) as livekit, anyio.create_task_group() as tasks:
        scene = Scene(history, livekit, tasks)
        for replica in scene.replicas:
            scene.start(replica)
        await anyio.sleep(0.2)
        yield scene
        for replica in scene.up():
            replica.thaw()
            replica.kill()
        tasks.cancel_scope.cancel()
