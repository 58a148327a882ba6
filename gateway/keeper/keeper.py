"""The keeper's front: what HTTP, webhooks, the pool and other replicas say to it. Decides nothing by itself.

Every method is a few lines: write what must be durable, put the room's key into the queue of whoever leads.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import anyio
import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.announce import Announcer
from gateway.keeper.asks import Asks
from gateway.keeper.audit import Audit
from gateway.keeper.fleet import Fleet
from gateway.keeper.following import Following
from gateway.keeper.gate import ClaimGate
from gateway.keeper.handover import Handover
from gateway.keeper.heart import Heart
from gateway.keeper.jobs import Jobs
from gateway.keeper.lead import Lead
from gateway.keeper.memory import Memory
from gateway.keeper.model import Ask, Claim, Invitation, Job, State, Want
from gateway.keeper.notes import End, Guests, Here, Hint, Look, Note
from gateway.keeper.policy import Policy
from gateway.keeper.ports import LEADER, Clock, LiveKit, Store, StoreUnavailable
from gateway.keeper.post import Post
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.reports import Reports
from gateway.keeper.resync import Resync
from gateway.keeper.scaling import Scaling
from gateway.keeper.wants import Wants
from gateway.keeper.workqueue import WorkQueue
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Capacity, JobEvent, JobEventKind, Offer, Verdict, Workers

log = structlog.get_logger(__name__)

CALLED_GRACE = 1.0
"""Seconds in which an agent that is called is mostly there: a look at each of its steps would only hold it
up. It tells itself when it is there, and that is looked at at once."""
ABOUT_TO_TELL = 0.15
"""Seconds in which an agent of ours that has left says so itself, and why."""
PAUSE_CHECK = 0.5
PAUSE = 5.0
"""Seconds that the event loop must have stood still for it to count as a pause."""
TELLING_EVENTS = frozenset(
    {
        "room_started",
        "room_finished",
        "participant_joined",
        "participant_left",
        "participant_connection_aborted",
        "agent_job_started",  # these three from LiveKit servers newer than 1.13.5
        "agent_job_ended",
        "agent_job_pending",
    }
)
"""Webhooks after which a room may need something; tracks, egress and ingress change nothing."""
RELAUNCHES = "JSR_RETRYING"
"""In an `agent_job_*` webhook: LiveKit itself launches the job again."""
CLEAN_LEAVE = frozenset({"CLIENT_INITIATED", "ROOM_DELETED", "ROOM_CLOSED", "PARTICIPANT_REMOVED"})


def new_replica_id() -> str:
    return f"replica_{secrets.token_hex(6)}"


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
        replica_id: str = "",
        host: str = "",
        gone: Callable[[Claim], bool] = lambda claim: False,
        changed: Callable[[Want, Want], None] = lambda want, was: None,
        trace: Callable[[], str] = str,
    ) -> None:
        """`replica_id`: new at each start of the process; made here when not given. `host`: where pids of
        this replica mean something. `gone(claim)`: its process is of this machine and has certainly ended.
        `changed(want, was)` is called after each change of a want by this replica. `trace()`: the traceparent
        of a want that no traced request began; "" while nothing is traced."""
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._workers = workers
        self._node_id = ""
        """LiveKit's node at which this replica's worker is registered."""
        self._nodes: frozenset[str] = frozenset()
        """The same for all replicas."""
        self._awake_at = clock()
        self._queue = queue = WorkQueue(clock)
        self._policy = Policy(default_agent=settings.default_agent, patterns=settings.room_patterns)
        self._fleet = fleet = Fleet(
            replica_id or new_replica_id(),
            host,
            workers,
            clock,
            may_lead=settings.may_lead,
            our_agents=settings.our_agents,
        )
        self._admission = admission = Admission(fleet, queue.add, clock)
        self._announcer = Announcer(livekit, self._announced)
        self._wants = wants = Wants(store, self._announcer.tell, metrics, clock, changed)
        self._following = Following(wants, clock, job=self.job, leads=self._leads)
        self._post = Post(store, fleet.id, self._take_note, missed=lambda: self._lead.doubt())
        self._asks = Asks(store, wants, admission, self._wake, metrics, clock, leads=self._leads, trace=trace)
        self._jobs = Jobs(
            store,
            wants,
            admission,
            self._wake,
            metrics,
            clock,
            next_beat=fleet.next_beat,
            wake_soon=self._wake_soon,
        )
        self._gate = ClaimGate(
            store, livekit, fleet, self._asks, self._jobs, admission, self._wake_soon, metrics, clock
        )
        self._handover = Handover(store, workers, fleet, self._jobs, clock)
        self._audit = Audit(store, fleet, workers, self._jobs, wants, self._show, metrics, clock)
        self._memory = memory = Memory(clock)
        reconciler = Reconciler(
            store=store,
            livekit=livekit,
            fleet=fleet,
            workers=workers,
            tell=self._post.send,
            wants=wants,
            asks=self._asks,
            jobs=self._jobs,
            admission=admission,
            policy=self._policy,
            settings=settings,
            metrics=metrics,
            clock=clock,
            memory=memory,
            gone=gone,
        )
        self._resync = Resync(
            store,
            livekit,
            wants,
            admission,
            self._policy,
            queue.add,
            clock,
            interval=settings.resync_interval,
            seen=memory.seen.get,
            joins_unheard=memory.forget_joins,
        )
        self._lead = Lead(
            store=store,
            fleet=fleet,
            queue=queue,
            wants=wants,
            admission=admission,
            reconciler=reconciler,
            memory=memory,
            resync=self._resync,
            settings=settings,
            metrics=metrics,
            clock=clock,
        )
        self._heart = Heart(
            store,
            livekit,
            fleet,
            metrics,
            clock,
            gained=self._lead.gained,
            lost=self._lead.lost,
            departed=self._lead.departed,
            emptied=self._audit.restore,
            doubted=self._audit.hurry,
            cut_off=workers.pause,
            others_changed=self._others_changed,
        )
        self.scaling = Scaling(fleet, self._lead, admission, wants, memory, settings, clock)
        self.reports = Reports(
            store,
            self._fleet,
            self._heart,
            self._lead,
            clock,
            seen=memory.seen,
            job_of=self._job,
            resync_interval=settings.resync_interval,
        )

    # ---- running ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep rooms until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._heart.run, name="keeper-heart")
            tasks.start_soon(self._post.run, name="keeper-post")
            tasks.start_soon(self._jobs.run, name="keeper-jobs")
            tasks.start_soon(self._audit.run, name="keeper-audit")
            tasks.start_soon(self._watch_pauses, name="keeper-pauses")
            tasks.start_soon(self._announcer.run, name="keeper-announcer")
            tasks.start_soon(self._lead.run, name="keeper-lead")

    async def retire(self) -> None:
        """This process has ended its work: the others need not wait for its heartbeat to lapse.

        Raises StoreUnavailable: then they do.
        """
        await self._store.retire(self._fleet.id)

    def _leads(self) -> bool:
        return self._fleet.epoch is not None

    def _wake(self, room: str) -> None:
        """Something about the room was written: the leader should look. The store has told it, unless it is
        this replica itself."""
        if self._leads():
            self._queue.add(room)

    def _wake_soon(self, room: str) -> None:
        """The same, where an agent has come a step further, and more is about to be written."""
        if self._leads():
            self._queue.add(room, self._clock() + CALLED_GRACE)

    def _show(self, room: str) -> None:
        """Something about the room has changed, and nothing is written of it: the leader should look."""
        if self._leads():
            self._queue.add(room)
        else:
            self._post.send(LEADER, Look(room))

    def _take_note(self, note: Note) -> None:
        """Another replica, or the store on its behalf, tells something."""
        match note:
            case End(job_id=job_id, kill=kill):
                self._notice_pause()
                # What it rests on may be older than what the job has told; it comes again if it holds.
                if not self._jobs.just_paused(self._clock()) and not self._jobs.telling(job_id):
                    self._workers.end(job_id, kill=kill)
                    self._audit.told_to_end(job_id)
            case _ if not self._leads():
                pass  # whoever leads now looks at everything when it takes over
            case Look(room=room):
                self._queue.add(room)
            case Hint():
                self._heed(note)
            case Guests(room=room, until=until):
                self._expect(room, until)
            case Here(replica=replica):
                self._fleet.hear(replica)
                self._capacity_changed()

    async def _watch_pauses(self) -> None:
        while True:
            await anyio.sleep(PAUSE_CHECK)
            self._notice_pause()

    def _notice_pause(self) -> None:
        """Notice that this process was stopped (a paused machine): what its jobs tell right after it is
        what LiveKit did to them meanwhile, not their own will."""
        last, self._awake_at = self._awake_at, self._clock()
        if self._awake_at - last > PAUSE_CHECK + PAUSE:
            log.warning("process_was_paused", seconds=round(self._awake_at - last, 1))
            self._jobs.paused(last, self._awake_at)
            self._audit.hurry()

    # ---- what clients ask ---------------------------------------------------------------------------

    async def start_agent(self, ask: Ask) -> Job:
        """Durably want an agent in the room; idempotent while the want lives.

        Raises StoreUnavailable: nothing was promised.
        """
        want, deduplicated = await self._asks.ask(ask)
        return replace(await self._job(want), deduplicated=deduplicated)

    async def stop_agent(self, room: str, agent: str) -> Job | None:
        """End the living want, and its agent. None when there was none.

        Raises StoreUnavailable: nothing was promised.
        """
        while (want := await self._living(room, agent)) is not None:
            now = self._clock()
            stopped = replace(want, state=State.STOPPED, reason="stopped by request", since=now)
            if await self._wants.write(stopped, was=want):
                self._admission.leave(stopped)
                self._wake(room)
                return await self._job(stopped)
        return None

    async def restart_agent(self, ask: Ask) -> Job:
        """Another agent in place of the present one; the same as `start_agent` when there is none."""
        while True:
            want, existed = await self._asks.ask(ask)
            if not existed:
                return await self._job(want)
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
                self._wake(ask.room)
                return await self._job(again)

    async def job(self, job_id: str) -> Job | None:
        """Raises StoreUnavailable."""
        want = await self._store.want(job_id)
        if want is None:
            self._must_be_settled()
            return None
        return await self._job(want)

    async def wait(self, job_id: str, timeout: float) -> Job | None:
        """The job once it is joined or has ended, else as it is after `timeout` seconds.

        Raises StoreUnavailable.
        """
        return await self._following.wait(job_id, timeout)

    def follow(self, job_id: str) -> AsyncIterator[Job]:
        """The job as it is, and again at each change of what is told of it, until it has ended, or this
        process is about to."""
        return self._following.follow(job_id)

    def close(self) -> None:
        """Answer whoever waits: this process is about to end."""
        self._following.close()

    async def hand_over(self) -> int:
        """Have successors called for the agents that still work here, elsewhere; each leaves once its own one
        works, or after `HANDOVER_TIMEOUT`. Returns how many it concerns."""
        return await self._handover.begin()

    async def end_handover(self) -> None:
        """After `HANDOVER_TIMEOUT`: who is still there is told to leave."""
        await self._handover.end()

    def now(self) -> float:
        """Seconds since the epoch by the store's clock, on which an invitation ends."""
        return self._clock()

    async def invite(self, invitation: Invitation) -> None:
        await self._store.invite(invitation)
        self._expect(invitation.room, invitation.expires_at)

    def _expect(self, room: str, until: float) -> None:
        if self._leads() and self._wants.concerns(room) and not self._wants.invited(room):
            self._queue.add(room)  # from now on it matters who joins: who is there already?
        self._wants.invite(room, until)

    def hint(self, hint: Hint) -> bool:
        """A webhook came. Never blocks, never fails. True when somebody will look at the room."""
        if hint.event not in TELLING_EVENTS:
            return False
        if self._leads():
            return self._heed(hint)
        self._post.send(LEADER, hint)
        return True

    def _heed(self, hint: Hint) -> bool:
        wanted = self._wants.concerns(hint.room)
        if wanted and hint.event == "participant_left" and hint.reason in CLEAN_LEAVE and not hint.person:
            self._memory.left_cleanly.setdefault(hint.room, {})[hint.identity] = self._clock()
        if wanted and hint.reason == RELAUNCHES:
            self._memory.relaunched[hint.room] = self._clock()
        if wanted and hint.person and self._changes_nothing(hint.room):
            self._memory.forget_joins(hint.room)
            return False
        if wanted or (hint.person and (self._wants.invited(hint.room) or self._policy.agents_for(hint.room))):
            if hint.person and hint.event == "participant_joined":
                self._memory.hear_join(hint.room, hint.identity)
            self._queue.add(hint.room, self._due(hint))
            return True
        return False

    def _due(self, hint: Hint) -> float | None:
        """When to look at the room; None for at once. Our own agents tell themselves that they come and go,
        but for one that nobody has called: it has no business there, and must not stay (fact 89). One on its
        way does not know that its room has ended, and would come into the next one of that name (I4)."""
        wants = self._wants.of_room(hint.room)
        if hint.person or not all(self._fleet.serves(want.agent) for want in wants):
            return None
        another_room = any(hint.sid and want.sid and want.sid != hint.sid for want in wants)
        called = any(want.state is State.DISPATCHED or want.identity == hint.identity for want in wants)
        match hint.event:
            case "room_started" | "participant_joined" if another_room:
                return None
            case "participant_joined" if not called:
                return None
            case "room_started" | "participant_joined":
                return self._clock() + CALLED_GRACE
            case "participant_left" | "participant_connection_aborted":
                return self._clock() + ABOUT_TO_TELL
            case _:
                return None

    def _changes_nothing(self, room: str) -> bool:
        """Whether people may come and go in a room without a look. Not while one is under way: it may have
        been there before them, and find that the room is not as it was."""
        return self._resync.quiet(room) and not self._queue.expects(room)

    # ---- what the pool says -------------------------------------------------------------------------

    async def claim(self, offer: Offer) -> Verdict:
        self._notice_pause()
        return await self._gate.claim(offer)

    async def identify(self, job_id: str, identity: str) -> bool:
        return await self._gate.identify(job_id, identity)

    async def confirm(self, job_id: str) -> bool:
        self._notice_pause()
        return await self._gate.confirm(job_id)

    def on_job(self, event: JobEvent) -> None:
        self._notice_pause()  # what waited in the pipes comes before any timer
        self._audit.cut_if_unsure(event)
        self._jobs.tell(event)
        held = self._jobs.held.get(event.job_id)
        if event.kind is JobEventKind.RECONNECTING and held is not None:
            self._show(held[0].room)

    def on_capacity(self, capacity: Capacity) -> None:
        for state, value in (
            ("running", capacity.running),
            ("starting", capacity.starting),
            ("free", capacity.free),
            ("cold", max(0, capacity.slots - capacity.running - capacity.starting - capacity.free)),
        ):
            self._metrics.slots.labels(state).set(value)
        self._metrics.warm.set(capacity.warm)
        if capacity.node_id and capacity.node_id != self._node_id:
            log.info("worker_registered", node=capacity.node_id, before=self._node_id or None)
            self._metrics.worker_registrations.inc()
        self._node_id = capacity.node_id
        if self._leads():
            self._capacity_changed()
        if capacity.draining or not self._leads():
            self._heart.hurry()

    def _others_changed(self) -> None:
        if self._leads():
            self._capacity_changed()

    def _capacity_changed(self) -> None:
        """What the fleet can take has changed."""
        nodes = self._fleet.nodes()
        if nodes and nodes != self._nodes:  # LiveKit, or a node of it, may have restarted
            for room in self._wants.rooms():
                if any(want.node not in nodes for want in self._wants.of_room(room)):
                    self._queue.add(room)
            self._lead.hurry()
        self._nodes = nodes
        self._admission.wake_next()

    # ---- wants as clients see them ------------------------------------------------------------------

    async def _job(self, want: Want) -> Job:
        if want.state is State.JOINED and self._fleet.out_of_date:
            why = "the store was out of reach: whether the agent is still there is being told"
            raise StoreUnavailable(why)
        if self._leads() or want.state is not State.WAITING:
            return self._announced(want)
        return Job(want=want, place=await self._store.place(want))

    def _announced(self, want: Want) -> Job:
        """As the leader sees it: it keeps the line."""
        return Job(want=want, place=self._admission.place(want))

    async def _living(self, room: str, agent: str) -> Want | None:
        wants = await self._store.wants(room)
        living = next((w for w in wants if w.agent == agent and not w.state.ended), None)
        if living is None:
            self._must_be_settled()
        return living

    def _must_be_settled(self) -> None:
        """What was not found may have been lost by the store, and be about to be put back.

        Raises StoreUnavailable then.
        """
        if not self._fleet.settled:
            raise StoreUnavailable("the store may have lost what was written: others still put it back")
