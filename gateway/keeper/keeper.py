"""The keeper's front: what HTTP, webhooks and the pool say to it. Decides nothing by itself.

Every method is a few lines: write what must be durable, put the room's key into the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
import msgspec
import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.announce import Announcer
from gateway.keeper.asks import Asks
from gateway.keeper.gate import ClaimGate
from gateway.keeper.jobs import STORE_RETRY, Jobs
from gateway.keeper.model import Ask, Claim, Invitation, Job, Participant, State, Want
from gateway.keeper.policy import Policy
from gateway.keeper.ports import Clock, LiveKit, Store, StoreUnavailable
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.resync import Resync
from gateway.keeper.wants import Wants
from gateway.keeper.workqueue import WorkQueue
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Capacity, JobEvent, Offer, Verdict, Workers

log = structlog.get_logger(__name__)

PAUSE_CHECK = 0.5
PAUSE = 5.0
"""Seconds that the event loop must have stood still for it to count as a pause."""
PASSES_AT_ONCE = 16
"""Rooms that are looked at side by side. A pass is a few calls of some milliseconds each."""
TELLING_EVENTS = frozenset(
    {
        "room_started",
        "room_finished",
        "participant_joined",
        "participant_left",
        "participant_connection_aborted",
    }
)
"""Webhooks after which a room may need something; tracks, egress and ingress change nothing."""
CLEAN_LEAVE = frozenset({"CLIENT_INITIATED", "ROOM_DELETED", "ROOM_CLOSED", "PARTICIPANT_REMOVED"})


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook says happened. Only ever makes the keeper look (I6)."""

    event: str
    room: str
    sid: str = ""
    identity: str = ""
    person: bool = False
    """The participant of the event is a person, not an agent."""
    reason: str = ""
    """LiveKit's DisconnectReason of a participant_left, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomReport:
    """One room as an operator sees it."""

    room: str
    sid: str
    wants: list[Job]
    claims: list[Claim]
    participants: list[Participant]
    """As last seen; empty when the room was not looked at yet."""
    seen_at: float
    """When it was last looked at; 0 for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One readiness check."""

    name: str
    ok: bool
    why: str = ""


class Keeper:
    """Also implements `pool.ports.Gate` and `pool.ports.Listener`."""

    def __init__(
        self,
        *,
        store: Store,
        livekit: LiveKit,
        workers: Workers,
        settings: KeeperSettings,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._queue = queue = WorkQueue(clock)
        self._policy = Policy(default_agent=settings.default_agent, patterns=settings.room_patterns)
        self._admission = Admission(workers, queue.add, clock)
        self._announcer = Announcer(livekit, self._job)
        self._wants = Wants(store, self._announcer.tell, metrics, clock)
        self._asks = Asks(store, self._wants, self._admission, queue.add, metrics, clock)
        self._jobs = Jobs(store, self._wants, self._admission, queue.add, metrics, clock)
        self._gate = ClaimGate(store, self._asks, self._admission, queue.add, metrics, clock)
        self._resync = Resync(store, livekit, self._wants, self._admission, self._policy, queue.add)
        self._reconciler = Reconciler(
            store=store,
            livekit=livekit,
            workers=workers,
            wants=self._wants,
            asks=self._asks,
            jobs=self._jobs,
            admission=self._admission,
            policy=self._policy,
            settings=settings,
            metrics=metrics,
            clock=clock,
        )
        self._closing = False
        self._node_id = ""
        self._started_at = clock()
        self._resynced_at = 0.0
        self._resync_result = "not compared with LiveKit yet"
        self._store_fault = ""

    # ---- running ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep rooms until cancelled."""
        while not await self._taken_up():  # noqa: ASYNC110  (the store has no event for being back)
            await anyio.sleep(STORE_RETRY)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._jobs.run, name="keeper-jobs")
            tasks.start_soon(self._resync_forever, name="keeper-resync")
            tasks.start_soon(self._watch_pauses, name="keeper-pauses")
            tasks.start_soon(self._announcer.run, name="keeper-announcer")
            tasks.start_soon(self._work, name="keeper-work")

    async def _taken_up(self) -> bool:
        try:
            await self._take_up()
        except StoreUnavailable as fault:
            self._store_fault = str(fault)
            log.error("store_unavailable", why=str(fault))
            return False
        return True

    async def _take_up(self) -> None:
        """Go on where the process before this one stopped."""
        living = await self._store.living()
        for want in living:
            self._wants.note(want)
            if want.state is not State.JOINED and not want.needs_person:
                self._admission.queue(want)  # keeps its place in line
            self._queue.add(want.room)
        for claim in await self._store.all_claims():
            self._queue.add(claim.room)
        for invitation in await self._store.invitations():
            self._wants.invite(invitation.room, invitation.expires_at)
        if living:
            log.info("wants_taken_up", wants=len(living))

    async def _work(self) -> None:
        hands = anyio.CapacityLimiter(PASSES_AT_ONCE)
        async with anyio.create_task_group() as passes:
            while True:
                await hands.acquire_on_behalf_of(token := object())
                room = await self._queue.get()
                self._metrics.queue_depth.set(len(self._queue))
                passes.start_soon(self._look, room, hands, token, name="keeper-pass")

    async def _look(self, room: str, hands: anyio.CapacityLimiter, token: object) -> None:
        """One pass, whatever happens in it."""
        try:
            look = await self._reconciler.reconcile(room)
            self._store_fault = ""
            if look.unknown:
                self._metrics.passes.labels("unknown").inc()
                delay = self._queue.fail(room)
                log.warning("room_unknown", room=room, why=look.unknown, again_in_s=round(delay, 2))
            else:
                self._metrics.passes.labels("ok").inc()
                self._queue.succeed(room)
            if look.due is not None:
                self._queue.add(room, look.due)
        except StoreUnavailable as fault:
            self._store_fault = str(fault)
            self._metrics.passes.labels("failed").inc()
            self._queue.fail(room)
            log.error("store_unavailable", room=room, why=str(fault))
        except Exception:  # a task's root: one room's fault must not stop the others
            self._metrics.passes.labels("failed").inc()
            self._queue.fail(room)
            log.exception("pass_failed", room=room)
        finally:
            self._queue.done(room)
            hands.release_on_behalf_of(token)

    async def _watch_pauses(self) -> None:
        """Notice that this process was stopped (a paused machine): what its jobs tell right after it is
        what LiveKit did to them meanwhile, not their own will."""
        last = self._clock()
        while True:
            await anyio.sleep(PAUSE_CHECK)
            now = self._clock()
            if now - last > PAUSE_CHECK + PAUSE:
                log.warning("process_was_paused", seconds=round(now - last, 1))
                self._jobs.paused(now)
            last = now

    async def _resync_forever(self) -> None:
        while True:
            await self._resync_once()
            await anyio.sleep(self._settings.resync_interval)

    async def _resync_once(self) -> None:
        started = self._clock()
        try:
            self._resync_result = await self._resync.run_once()
            await self._store.forget_ended(started - self._settings.keep_ended)
            self._store_fault = ""
        except StoreUnavailable as fault:
            self._store_fault = str(fault)
            log.error("store_unavailable", why=str(fault))
            return
        self._resynced_at = self._clock()
        self._metrics.resyncs.observe(self._resynced_at - started)
        if self._resync_result != "ok":
            log.warning("resync_unknown", why=self._resync_result)
            return
        self._reconciler.forget_ended(self._resync.lists)

    # ---- what clients ask ---------------------------------------------------------------------------

    async def start_agent(self, ask: Ask) -> Job:
        """Durably want an agent in the room; idempotent while the want lives.

        Raises StoreUnavailable: nothing was promised.
        """
        want, deduplicated = await self._asks.ask(ask)
        return replace(self._job(want), deduplicated=deduplicated)

    async def stop_agent(self, room: str, agent: str) -> Job | None:
        """End the living want, and its agent. None when there was none."""
        while (want := await self._living(room, agent)) is not None:
            now = self._clock()
            stopped = replace(want, state=State.STOPPED, reason="stopped by request", since=now)
            if await self._wants.write(stopped, was=want):
                self._admission.leave(stopped)
                self._queue.add(room)
                return self._job(stopped)
        return None

    async def restart_agent(self, ask: Ask) -> Job:
        """Another agent in place of the present one; the same as `start_agent` when there is none."""
        while True:
            want, existed = await self._asks.ask(ask)
            if not existed:
                return self._job(want)
            now = self._clock()
            again = replace(
                want,
                generation=want.generation + 1,
                state=State.REPLACING,
                reason="restarted by request",
                evict=True,
                since=now,
                lacking_since=now,
                dispatched_at=0.0,
                not_before=0.0,
                failures=0,
                trouble_since=0.0,
            )
            if await self._wants.write(again, was=want):
                self._admission.leave(again)
                self._queue.add(ask.room)
                return self._job(again)

    async def job(self, job_id: str) -> Job | None:
        want = await self._store.want(job_id)
        return None if want is None else self._job(want)

    async def wait(self, job_id: str, timeout: float) -> Job | None:
        """The job once it is joined or has ended, else as it is after `timeout` seconds."""
        until = self._clock() + timeout
        while True:
            async with self._wants.watching(job_id) as changed:
                job = await self.job(job_id)
                settled = job is None or job.want.state is State.JOINED or job.want.state.ended
                settled = settled or self._closing
                left = until - self._clock()
                if settled or left <= 0:
                    return job
                with anyio.move_on_after(left):
                    await changed.wait()

    def close(self) -> None:
        """Answer whoever waits: this process is about to end."""
        self._closing = True
        self._wants.wake_watchers()

    async def invite(self, invitation: Invitation) -> None:
        await self._store.invite(invitation)
        self._wants.invite(invitation.room, invitation.expires_at)

    def hint(self, hint: Hint) -> bool:
        """A webhook came. Never blocks, never fails. True when a room was put into the queue."""
        if hint.event not in TELLING_EVENTS:
            return False
        wanted = self._wants.concerns(hint.room)
        if wanted and hint.event == "participant_left" and hint.reason in CLEAN_LEAVE and not hint.person:
            self._reconciler.left_cleanly.setdefault(hint.room, {})[hint.identity] = self._clock()
        if wanted or (hint.person and (self._wants.invited(hint.room) or self._policy.agents_for(hint.room))):
            self._queue.add(hint.room)
            return True
        return False

    # ---- what the pool says -------------------------------------------------------------------------

    async def claim(self, offer: Offer) -> Verdict:
        return await self._gate.claim(offer)

    async def identify(self, job_id: str, identity: str) -> bool:
        return await self._gate.identify(job_id, identity)

    async def confirm(self, job_id: str) -> bool:
        return await self._gate.confirm(job_id)

    def on_job(self, event: JobEvent) -> None:
        self._jobs.tell(event)

    def on_capacity(self, capacity: Capacity) -> None:
        for state, value in (
            ("running", capacity.running),
            ("starting", capacity.starting),
            ("free", capacity.free),
            ("cold", max(0, capacity.slots - capacity.running - capacity.starting - capacity.free)),
        ):
            self._metrics.slots.labels(state).set(value)
        if capacity.node_id and capacity.node_id != self._node_id:
            log.info("worker_registered", node=capacity.node_id, before=self._node_id or None)
            self._metrics.worker_registrations.inc()
            for room in self._wants.rooms():  # LiveKit may have restarted: everything may be different
                self._queue.add(room)
        self._node_id = capacity.node_id
        self._admission.wake_next()

    # ---- what operators see -------------------------------------------------------------------------

    async def rooms(self) -> list[RoomReport]:
        names = dict.fromkeys(want.room for want in await self._store.recent())
        reports = [await self.room(name) for name in names]
        return [report for report in reports if report is not None]

    async def room(self, room: str) -> RoomReport | None:
        wants = await self._store.wants(room)
        claims = await self._store.claims(room)
        if not wants and not claims:
            return None
        seen = self._reconciler.seen.get(room)
        instance = seen.room if seen is not None else None
        return RoomReport(
            room=room,
            sid=instance.sid if instance is not None else "",
            wants=[self._job(want) for want in wants],
            claims=claims,
            participants=list(seen.participants) if seen is not None else [],
            seen_at=seen.at if seen is not None else 0.0,
        )

    def health(self) -> list[Health]:
        """The keeper's own checks: store, LiveKit's answers, heartbeat."""
        late = self._clock() - (self._resynced_at or self._started_at)
        beating = self._resynced_at > 0 and late < 3 * self._settings.resync_interval + 10
        return [
            Health(name="store", ok=not self._store_fault, why=self._store_fault),
            Health(
                name="livekit",
                ok=self._resync_result == "ok",
                why="" if self._resync_result == "ok" else self._resync_result,
            ),
            Health(
                name="keeper",
                ok=beating,
                why="" if beating else f"no comparison with LiveKit for {late:.0f} s",
            ),
        ]

    def _job(self, want: Want) -> Job:
        return Job(want=want, place=self._admission.place(want))

    async def _living(self, room: str, agent: str) -> Want | None:
        wants = await self._store.wants(room)
        return next((w for w in wants if w.agent == agent and not w.state.ended), None)
