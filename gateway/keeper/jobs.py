"""What our own job processes tell, turned into claims' stages and wants' ends. Makes no call to LiveKit.

The pool's events are taken synchronously into a channel and worked off one by one, in order, so that a
claim's stages never overtake each other.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.model import Claim, End, State, Want
from gateway.keeper.outcome import advanced, closed, how_it_ended, left_with_its_room, settled
from gateway.keeper.ports import Clock, RowUnreadable, Store, StoreUnavailable
from gateway.keeper.traces import about
from gateway.keeper.wants import Wants
from gateway.metrics import Metrics
from pool.ports import JobEvent, JobEventKind

log = structlog.get_logger(__name__)

_ON_ITS_WAY = frozenset({JobEventKind.LAUNCHED, JobEventKind.ENTERED, JobEventKind.CONNECTED})
"""The next one is about to come."""

PARKED_RETRY = 2.0
STORE_RETRY = 0.2
"""Seconds between tries to write what a job told while the store is away."""
AFTER_PAUSE = 5.0
"""Seconds after this process was stopped in which no end counts as an agent's own will."""
AFTER_RESTORE = 10.0
"""Seconds after it was put back in which a claim's agent may turn out to have been put out as a stray."""


class Jobs:
    """Applies job events to claims and wants."""

    def __init__(
        self,
        store: Store,
        wants: Wants,
        admission: Admission,
        wake: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
        *,
        next_beat: Callable[[], Awaitable[None]],
        wake_soon: Callable[[str], None],
    ) -> None:
        """`wake(room)`: the leader should look at it; `wake_soon(room)`: there is no hurry. `next_beat()`:
        wait until the store knows all that this replica knows."""
        self._next_beat = next_beat
        self._store = store
        self._wants = wants
        self._admission = admission
        self._wake = wake
        self._wake_soon = wake_soon
        self._metrics = metrics
        self._clock = clock
        self.held: dict[str, tuple[Claim, Want]] = {}
        """The claims of this replica's jobs as last written, by job, each with the want it was granted for:
        to be told again should the store lose them."""
        self.restored_at = -math.inf
        """When this replica last put back what the store had forgotten."""
        self._pause = (-math.inf, -math.inf)
        """The last time in which this process stood still: from, until."""
        self._untold: Counter[str] = Counter()
        """Events taken and not applied yet, by job."""
        self._parked: dict[str, deque[tuple[JobEvent, float]]] = {}
        """Those of jobs whose claim is of another version of this program."""
        self._send, self._receive = anyio.create_memory_object_stream[tuple[JobEvent, float]](math.inf)

    def tell(self, event: JobEvent) -> None:
        """Take an event; called from the pool, never blocks."""
        self._untold[event.job_id] += 1
        self._send.send_nowait((event, self._clock() - event.age))

    def paused(self, since: float, now: float) -> None:
        """This process stood still until now."""
        self._pause = since, now

    def just_paused(self, now: float) -> bool:
        """Whether what comes in may have waited since before this process was stopped."""
        return now - self._pause[1] < AFTER_PAUSE

    def pending(self, job_id: str) -> bool:
        """Whether the job has told something that is not in the books yet."""
        return self._untold[job_id] > 0

    def telling(self, job_id: str) -> bool:
        """Whether the store is about to hear something of the job."""
        return self.pending(job_id) and job_id not in self._parked

    async def run(self) -> None:
        """Work off events until cancelled. What a job told is kept until the store has taken it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._try_parked, name="keeper-jobs-parked")
            async for event, told_at in self._receive:
                if event.job_id in self._parked:
                    self._parked[event.job_id].append((event, told_at))
                    continue
                while True:
                    try:
                        await self.apply(event, told_at)
                        self._told(event)
                        break
                    except RowUnreadable as fault:
                        log.warning("job_event_parked", livekit_job=event.job_id, why=str(fault))
                        self._parked[event.job_id] = deque([(event, told_at)])
                        break
                    except StoreUnavailable as fault:
                        log.warning("job_event_delayed", livekit_job=event.job_id, why=str(fault))
                        await anyio.sleep(STORE_RETRY)

    async def _try_parked(self) -> None:
        """Events of jobs whose claim cannot be read: in their order, and in nobody's way."""
        while True:
            await anyio.sleep(PARKED_RETRY)
            for job_id, events in list(self._parked.items()):
                with suppress(StoreUnavailable):
                    while events:
                        await self.apply(*events[0])
                        self._told(events.popleft()[0])
                    del self._parked[job_id]

    def _told(self, event: JobEvent) -> None:
        self._untold[event.job_id] -= 1
        if not self._untold[event.job_id]:
            del self._untold[event.job_id]

    async def apply(self, event: JobEvent, told_at: float) -> None:
        """`told_at`: when the job told it. While the store is away that is not now, and whoever asks in
        between asks after the agent's end."""
        while (claim := await self._claim_of(event.job_id)) is not None:
            now = self._clock()
            match event.kind:
                case JobEventKind.RECONNECTING:
                    break  # the pass sees whether LiveKit lists it
                case (
                    JobEventKind.LAUNCHED | JobEventKind.ENTERED | JobEventKind.CONNECTED | JobEventKind.OPEN
                ):
                    done = await self._advance(advanced(claim, event, told_at), claim)
                case JobEventKind.SESSION_CLOSED:
                    done = await self._advance(closed(claim, event.detail, now, told_at), claim)
                case JobEventKind.RAISED:
                    done = await self._advance(replace(claim, raised=event.detail or "exception"), claim)
                case _:  # it left, exited, was declined, not assigned or not confirmed
                    closed_before = 0.0 < claim.closed_at < self._pause[0]
                    after_pause = self.just_paused(now) and not closed_before
                    # The leader may have put out whom the store had forgotten.
                    put_out = event.detail == "PARTICIPANT_REMOVED" and now < self.restored_at + AFTER_RESTORE
                    end = how_it_ended(claim, event, told_at, after_pause=after_pause or put_out)
                    with_its_room = left_with_its_room(event)
                    await self.end(claim, end, now, told_at=told_at, with_its_room=with_its_room)
                    done = True
            if done:
                break
        if claim is not None and event.kind in _ON_ITS_WAY:
            self._wake_soon(claim.room)
        elif claim is not None:
            self._wake(claim.room)

    async def _claim_of(self, job_id: str) -> Claim | None:
        claim = await self._store.claim_of(job_id)
        if claim is None and job_id in self.held:
            await self._next_beat()  # should the store have lost it, it is back by then
            held = set(self.held)
            claim = await self._store.claim_of(job_id)
            if claim is None:  # released by the leader, maybe with others: no event waits for them again
                for gone in held - {known.job_id for known in await self._store.all_claims()}:
                    with suppress(RowUnreadable):  # not listed, and not gone
                        if await self._store.claim_of(gone) is None:
                            self.held.pop(gone, None)
        return claim

    async def _advance(self, claim: Claim, was: Claim) -> bool:
        """False: the leader has changed it meanwhile."""
        done = await self._store.advance(claim, was=was)
        if done:
            self.rewrite(claim)
        return done

    def hold(self, claim: Claim, want: Want) -> None:
        """A job of this replica was granted the claim."""
        self.held[claim.job_id] = claim, replace(want, sid=claim.sid)

    def rewrite(self, claim: Claim) -> None:
        """A claim of this replica has changed."""
        if claim.job_id in self.held:
            self.held[claim.job_id] = claim, self.held[claim.job_id][1]

    async def end(
        self,
        claim: Claim,
        end: End,
        now: float,
        *,
        told_at: float | None = None,
        with_its_room: bool = False,
        epoch: int | None = None,
    ) -> None:
        """The claim's job is out of the room: release the claim, and settle what its want does now.
        `with_its_room`: it was there until that instance of the room ended."""
        if told_at is not None and not claim.closed_at:
            claim = replace(claim, closed_at=told_at)
        _, known = self.held.get(claim.job_id, (claim, None))
        log.info("agent_out", **about(known or claim), end=end.value)
        # The want first: a kill in between leaves a claim without process, which a pass cleans up.
        while True:
            want = await self._store.want(claim.want_id)
            if want is None or want.state.ended or want.generation != claim.generation:
                break
            if want.settled_job == claim.job_id:
                break  # the answer was lost
            if claim.retires_since and end is not End.FINISHED:
                break  # its room is another one's affair
            after = replace(settled(want, claim, end, now), settled_job=claim.job_id)
            if with_its_room and told_at is not None and want.sid == claim.sid:
                after = replace(after, seen_at=max(want.seen_at, told_at))
            if await self._wants.write(after, was=want, epoch=epoch):
                if after.state is State.REPLACING and end not in {End.LOST, End.ENDED}:
                    self._metrics.agents_replaced.labels(end.value).inc()
                if after.state.ended:
                    self._admission.leave(after)
                break
        await self._store.release(claim.job_id, epoch=epoch)
        self.held.pop(claim.job_id, None)
        self._metrics.jobs_ended.labels(end.value).inc()  # last: whoever sees it counted sees it done
