"""The leader's work: passes over rooms that are due, and the resync. Idle in a replica that does not lead.

What makes a room due comes from elsewhere; what is done about it is the reconciler's.
"""

from __future__ import annotations

import itertools

import anyio
import anyio.lowlevel
import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.fleet import MARGIN, Fleet
from gateway.keeper.memory import Memory
from gateway.keeper.model import Claim, Stage, State, Want
from gateway.keeper.ports import LEASE, Clock, LeaseLost, RowUnreadable, Store, StoreUnavailable
from gateway.keeper.reconcile import Reconciler
from gateway.keeper.resync import Resync, slices
from gateway.keeper.wants import Wants
from gateway.keeper.workqueue import WorkQueue
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings

log = structlog.get_logger(__name__)

PASSES_AT_ONCE = 16
"""Rooms that are looked at side by side. A pass is a few calls of some milliseconds each."""
STORE_RETRY = 0.2
UNHEARD_PER_S = 500
"""So many rooms with agents of other people's workers a new leader looks at in a second."""


class Lead:
    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        queue: WorkQueue,
        wants: Wants,
        admission: Admission,
        reconciler: Reconciler,
        memory: Memory,
        resync: Resync,
        settings: KeeperSettings,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._queue = queue
        self._wants = wants
        self._admission = admission
        self._reconciler = reconciler
        self._memory = memory
        self._resync = resync
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._changed = anyio.Event()
        self._taken_up: int | None = None
        """The epoch of the lead that was taken up."""
        self._doubts = 0
        """How often the lead was lost, or what was told to us may have been."""
        self._due = 0.0
        """When to compare next."""
        self._departed = False
        """A replica is gone, and its claims' rooms were not looked up yet."""
        self.store_fault = ""
        self.compared_at = 0.0
        """When the last comparison with LiveKit ended; 0 for never."""

    @property
    def taken_up(self) -> bool:
        """Whether this replica leads, and has read what the leader before it left."""
        return self._taken_up is not None and self._taken_up == self._fleet.epoch

    def gained(self, epoch: int) -> None:
        self._memory.clear()  # what it saw when it led the last time is out of date
        self._changed.set()

    def departed(self) -> None:
        """Another replica has lapsed or retired: its rooms need a look, and nobody else will tell."""
        self._departed = True
        self._changed.set()

    def lost(self) -> None:
        """Nothing of what this replica kept in mind as the leader holds any more."""
        self._taken_up = None
        self._doubts += 1
        self.store_fault = ""  # the heart tells of the store from now on
        self._queue.clear()
        self._admission.clear()
        self._resync.clear()
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._resync_forever, name="keeper-resync")
            tasks.start_soon(self._work, name="keeper-work")

    # ---- taking up, and comparing -------------------------------------------------------------------

    async def _resync_forever(self) -> None:
        while True:
            epoch = self._fleet.epoch
            try:
                if epoch is not None and self._taken_up != epoch:
                    await self._take_up(epoch)
                    self._due = 0.0
                if epoch is not None and self._departed:
                    await self._look_after_departed()
                if epoch is not None and self._clock() >= self._due:
                    self._due = self._clock() + self._settings.resync_interval
                    await self._compare()
                wait = self._due - self._clock() if epoch is not None else self._settings.resync_interval
            except StoreUnavailable as fault:
                self._store_is_away(fault)
                wait = STORE_RETRY
            with anyio.move_on_after(wait):
                await self._changed.wait()
            self._changed = anyio.Event()

    async def _look_after_departed(self) -> None:
        self._departed = False
        try:
            for claim in await self._store.all_claims():
                if not self._fleet.alive(claim.replica):
                    self._queue.add(claim.room)
                else:
                    self._look_again_unless_known(claim)
        except StoreUnavailable:
            self._departed = True
            raise

    async def _take_up(self, epoch: int) -> None:
        """Go on where the leader before this one stopped. What it left in order is left alone; whether
        LiveKit sees that so, too, the first comparison tells."""
        now, doubts = self._clock(), self._doubts
        living = [want for want in await self._store.living() if not self._wants.ended(want.id)]
        claims = {(c.room, c.seat): c for c in await self._store.all_claims()}  # after the wants
        looks = itertools.count()
        for some in slices(living):
            self._wants.compare(some, now)
            for want in some:
                claim = claims.pop((want.room, want.agent), None)
                if claim is None:
                    self._take_place(want)
                if not self._in_order(want, claim):
                    self._queue.add(want.room)
                elif claim is None:  # another's agent tells nothing by itself
                    self._queue.add(want.room, now + next(looks) / UNHEARD_PER_S)
                else:
                    self._look_again_unless_known(claim)
            await anyio.lowlevel.checkpoint()
        for claim in claims.values():
            self._queue.add(claim.room)
        for invitation in await self._store.invitations():
            self._wants.invite(invitation.room, invitation.expires_at)
        if doubts != self._doubts:
            return  # what was entered meanwhile may have been dropped
        self._taken_up = epoch
        log.info("rooms_taken_up", wants=len(living), epoch=epoch)

    def _look_again_unless_known(self, claim: Claim) -> None:
        """A replica of which nothing is known (yet) is heard of soon, or counts as lapsed then."""
        if not self._fleet.knows(claim.replica):
            self._queue.add(claim.room, self._clock() + LEASE + MARGIN)

    def _take_place(self, want: Want) -> None:
        """A want without an agent has its place in line, or is waiting for what the leader before us sent."""
        if want.dispatched_at:
            self._admission.sent(want)
        elif want.state is not State.JOINED and not want.needs_person:
            self._admission.queue(want)

    def _in_order(self, want: Want, claim: Claim | None) -> bool:
        """Whether the want has its agent, as far as the books tell. Whatever changes in them is told."""
        if want.state is not State.JOINED or want.node != self._fleet.node(want):
            return False
        if claim is None:
            return not self._fleet.serves(want.agent)
        # A want that was put back after the store lost it may be an old copy.
        same = (claim.want_id, claim.generation, claim.identity) == (want.id, want.generation, want.identity)
        return same and claim.stage is Stage.OPEN and self._fleet.alive(claim.replica)

    def hurry(self) -> None:
        """LiveKit may have changed unheard: compare at once."""
        self._due = 0.0
        self._changed.set()

    def doubt(self) -> None:
        """What was told to the leader may have been lost: read the books as when the lead was taken up, and
        compare."""
        self._taken_up = None
        self._doubts += 1
        self._resync.doubt()
        self.hurry()

    async def _compare(self) -> None:
        started = self._clock()
        outcome = await self._resync.run_once()
        await self._store.forget_ended(started - self._settings.keep_ended)
        self.store_fault = ""
        self.compared_at = self._clock()
        self._metrics.resyncs.observe(self.compared_at - started)
        if outcome != "ok":
            log.warning("resync_unknown", why=outcome)
            return
        self._memory.forget_ended(self._matters, self._resync.gone)

    def _matters(self, room: str) -> bool:
        return self._resync.lists(room) or self._wants.concerns(room)

    # ---- passes -------------------------------------------------------------------------------------

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
            # The epoch of now, for all that this pass writes: a leader that was stopped in the middle of it
            # and leads again when it wakes up must not write what it saw before.
            if (epoch := self._fleet.epoch) is not None:
                await self._pass(room, epoch)
        except RowUnreadable as fault:
            self._metrics.passes.labels("failed").inc()
            self._queue.fail(room)
            log.warning("row_not_understood", room=room, why=str(fault))
        except StoreUnavailable as fault:
            self._metrics.passes.labels("failed").inc()
            self._queue.fail(room)
            self._store_is_away(fault)
        except LeaseLost:
            self._metrics.stale_writes.inc()
            log.warning("stale_write_refused", room=room, epoch=epoch)
            self._queue.add(room, self._clock() + MARGIN)  # should it have been a moment only
        except Exception:  # a task's root: one room's fault must not stop the others
            self._metrics.passes.labels("failed").inc()
            self._queue.fail(room)
            log.exception("pass_failed", room=room)
        finally:
            self._queue.done(room)
            hands.release_on_behalf_of(token)

    async def _pass(self, room: str, epoch: int) -> None:
        look = await self._reconciler.reconcile(room, epoch)
        self.store_fault = ""
        if look.unknown:
            self._metrics.passes.labels("unknown").inc()
            delay = self._queue.fail(room)
            log.warning("room_unknown", room=room, why=look.unknown, again_in_s=round(delay, 2))
        else:
            self._metrics.passes.labels("ok").inc()
            self._queue.succeed(room)
        if look.due is not None:
            self._queue.add(room, look.due)

    def _store_is_away(self, fault: StoreUnavailable) -> None:
        if not self.store_fault:
            log.error("store_unavailable", why=str(fault))
        self.store_fault = str(fault)
