"""How the fake LiveKit brings agents: a dispatch is offered to workers once, and lost in silence
(facts 1 to 4).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

import anyio

from gateway.keeper.ports import Clock
from pool.ports import Offer
from tests.fakes.livekit_parts import (
    Accepted,
    Answer,
    DispatchState,
    JobState,
    Refused,
    Registration,
    RoomState,
    Worker,
)
from tests.fakes.livekit_world import World

OFFER_TIMEOUT = 3.0  # fact 4
ASSIGNMENT_TIMEOUT = 7.5  # fact 33
BIDS = 0.2  # fact 67: the server waits for other workers' bids
FULL = 0.7  # fact 50
TERMINATION_GRACE = 3.0  # fact 9


class Dispatching(World):
    """A world with workers."""

    termination_delay = 0.007
    """Seconds until a deleted dispatch's worker is told; up to 5 (fact 54)."""

    def __init__(
        self,
        clock: Clock = anyio.current_time,
        *,
        rng: random.Random | None = None,
        departure_timeout: float = 20.0,
        empty_timeout: float = 300.0,
    ) -> None:
        super().__init__(clock, rng=rng, departure_timeout=departure_timeout, empty_timeout=empty_timeout)
        self._workers: list[Registration] = []

    def new_job_id(self) -> str:
        """For a job that a worker launches without having been asked."""
        return self._id("AJ")

    def register(self, worker: Worker) -> Registration:
        """A worker connects. One that comes later gets nothing of what was dispatched before (fact 2)."""
        registration = Registration(worker=worker, connected=False)
        self._workers = [*(r for r in self._workers if r.up), registration]
        self._connect(registration)
        return registration

    def _connect(self, registration: Registration) -> None:
        if registration.mute is not None:
            self.after(1.0, partial(self._connect, registration))
        elif self.up and registration.up:
            registration.connected = True
            registration.worker.registered(self.node_id)

    def reconnect(self, registration: Registration) -> None:
        """A worker that was cut off is back; jobs of before stay forgotten (fact 11)."""
        self._connect(registration)

    def dispatch(
        self, room: RoomState, agent: str, metadata: str, attributes: Mapping[str, str]
    ) -> DispatchState:
        dispatch = DispatchState(
            id=self._id("AD"), agent=agent, metadata=metadata, attributes=dict(attributes)
        )
        room.dispatches[dispatch.id] = dispatch
        self.after(BIDS, partial(self._begin, room, dispatch, self.node_id))
        return dispatch

    def undispatch(self, room: RoomState, dispatch_id: str) -> bool:
        """True: deleted. False: there was none."""
        deleted = room.dispatches.pop(dispatch_id, None)
        if deleted is not None:
            self._tasks.start_soon(self._terminate, room, deleted)
        return deleted is not None

    def _opened(self, room: RoomState, agents: Sequence[tuple[str, str]]) -> None:
        for agent, metadata in agents or [("", "")]:  # facts 55, 83: an unnamed one unless others are named
            self.dispatch(room, agent, metadata, {})

    def kill(self) -> None:
        super().kill()
        for registration in self._workers:
            registration.cut_off()

    def start(self, *, after: float) -> None:
        super().start(after=after)
        back = 0.94 if after < 5 else 2.0  # fact 80
        self._workers = [r for r in self._workers if r.up]
        for registration in self._workers:
            self.after(back, partial(self._connect, registration))

    def _begin(self, room: RoomState, dispatch: DispatchState, node: str) -> None:
        if not room.has_node or self._pick(dispatch, set()) is None:  # facts 2, 3: dropped in silence
            dispatch.launched.set()
        else:
            self._tasks.start_soon(self._launch, room, dispatch, node)

    async def _launch(self, room: RoomState, dispatch: DispatchState, node: str) -> None:
        """Offer the job to workers, each once. When it ends without one, nobody is told (facts 1 to 3)."""
        job = JobState(id=self._id("AJ"))
        offer = Offer(
            job_id=job.id,
            dispatch_id=dispatch.id,
            room=room.name,
            sid=room.sid,
            agent=dispatch.agent,
            attributes=dispatch.attributes,
            metadata=dispatch.metadata,
        )
        asked: set[Registration] = set()
        while node == self.node_id and (registration := self._pick(dispatch, asked)) is not None:
            asked.add(registration)
            answer = await self._ask(registration, offer)
            if answer == Refused(terminate=False):
                continue  # the next worker
            if (
                isinstance(answer, Accepted)
                and registration.connected
                and registration.up
                and node == self.node_id
            ):
                job.identity = answer.identity or f"agent-{job.id}"
                registration.jobs[job.id] = job
                dispatch.jobs.append(job)
                registration.worker.assigned(offer, job.identity)
            elif isinstance(answer, Accepted):  # nobody is left who could assign it
                self.after(ASSIGNMENT_TIMEOUT, partial(registration.worker.unassigned, offer))
            break  # fact 74: no answer is not tried elsewhere
        dispatch.launched.set()

    def _pick(self, dispatch: DispatchState, asked: set[Registration]) -> Registration | None:
        """By load, as the server does: a node answers while one of its workers is below 0.7, and then
        takes any that has something left."""
        left = [
            r
            for r in self._workers
            if r.up and r.connected and r not in asked and r.worker.agent == dispatch.agent and r.load < 1
        ]
        if all(r.load >= FULL for r in left):
            return None
        return self._rng.choices(left, [1 - r.load for r in left])[0]

    async def _ask(self, registration: Registration, offer: Offer) -> Answer | None:
        """The worker's answer, or None when it came too late; the worker is not told so before 7.5 s."""
        answers: list[Answer] = []
        answered = anyio.Event()
        late = False

        async def ask() -> None:
            while registration.mute is not None:
                await registration.mute.wait()
            if not registration.up:
                return
            answer = await registration.worker.offered(offer)
            if late and isinstance(answer, Accepted):
                await anyio.sleep(ASSIGNMENT_TIMEOUT)
                registration.worker.unassigned(offer)
            answers.append(answer)
            answered.set()

        self._tasks.start_soon(ask)
        with anyio.move_on_after(OFFER_TIMEOUT):
            await answered.wait()
        late = not answers
        return answers[0] if answers else None

    async def _terminate(self, room: RoomState, dispatch: DispatchState) -> None:
        await dispatch.launched.wait()
        await anyio.sleep(self.termination_delay)
        for job in dispatch.jobs:
            holder = next((r for r in self._workers if job.id in r.jobs), None)
            agent = room.members.get(job.identity)
            if holder is None:  # fact 11: forgotten; the answer was OK all the same
                continue
            if holder.mute is None:
                holder.worker.terminated(job.id)
            if agent is not None:
                with anyio.move_on_after(TERMINATION_GRACE):
                    await agent.left.wait()
                self._part(agent, "PARTICIPANT_REMOVED")
