"""Slots: how many jobs the pool can take, and what livekit-server is told about it.

Slots are counted, CPU is not: any other load on the machine would drop dispatches (facts 3, 90).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog
from livekit.agents import AgentServer

from pool import compat
from pool.jobs import Jobs
from pool.ports import Capacity
from pool.trust import Trust
from pool.warm import Warm

log = structlog.get_logger(__name__)

_JUST_ABOVE = 1e-6
_BUSIEST = 0.35
"""Load on LiveKit's scale shortly before all slots are taken. LiveKit chooses among workers by 1 - load: with
the whole scale up to 0.7 it would prefer a worker that froze while it was idle (fact 74) to busy ones that
live."""
QUICK = 1.0
"""Seconds from a process's start until it is warm, up to which a job may be taken that will have to wait for
one: LiveKit's assignment waits for longer (fact 33)."""
SETUP_BACKOFF_MAX = 10.0
"""Seconds between two tries to start a process while the user's setup fails (fact 63: 30 a second)."""


def load_of(capacity: Capacity) -> float:
    """Load on LiveKit's scale: full is above its threshold of 0.7, one free slot is below (fact 50).

    A free slot whose process is not warm yet counts: who waits for `Capacity.free` then finds that
    livekit-server has long heard of it, and a job that comes earlier waits for its process.
    """
    taken = capacity.running + capacity.starting
    if not capacity.takes_jobs or taken >= capacity.slots:
        return 1.0
    return _BUSIEST * taken / capacity.slots + _JUST_ABOVE


class Slots:
    """Measures the capacity, and acts on every change: keeps exactly `slots` processes, pushes the status.

    `measure` and `load` may be called from any thread (upstream asks for the load in one).
    """

    def __init__(self, slots: int, *, warm: Warm, trust: Trust, tell: Callable[[Capacity], None]) -> None:
        self._slots = slots
        self._warm = warm
        self._trust = trust
        self._tell = tell
        self._told = Capacity(slots=slots)
        self._jobs: Jobs | None = None
        self._server: AgentServer | None = None
        self._pool: compat.Processes | None = None
        self._apply_target: Callable[[], None] = lambda: None
        self._answering: set[str] = set()
        self._node_id = ""
        self._draining = False
        self._paused = False
        self._setup_failures = 0
        self._started_in: deque[float] = deque(maxlen=4)
        """Seconds that the last processes took to get warm."""
        self._told_open = False
        """livekit-server was told that there is a free slot."""
        self._held = False
        self._push = asyncio.Event()

    def attach(self, server: AgentServer, jobs: Jobs) -> None:
        """Become the server's measure of load. Before its `run()`."""
        self._server = server
        self._jobs = jobs
        server.update_options(load_threshold=compat.LOAD_THRESHOLD, num_idle_processes=self._slots)
        compat.set_load(server, self.load)

    def keep(self, pool: compat.Processes) -> None:
        """Keep the processes of a `run()` that has just begun."""
        self._pool = pool
        self._apply_target = compat.keep_warm(pool, self._target)
        self.changed()

    # -- what is told to it --------------------------------------------------------------------------------

    def registered(self, node_id: str) -> None:
        self._node_id = node_id
        self.changed()

    def connection_lost(self) -> None:
        self._told_open = False
        self.registered("")

    def drain(self) -> None:
        self._draining = True
        self.changed()

    def pause(self, paused: bool) -> None:
        if paused is not self._paused:
            self._paused = paused
            self.changed()

    @property
    def draining(self) -> bool:
        return self._draining

    def answering(self, job_id: str) -> None:
        """The task that answers an offer has begun: upstream counts it as reserved until it is done."""
        self._answering.add(job_id)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self._answering.discard(job_id))

    def process_ready(self, took: float) -> None:
        """A process is warm, so many seconds after it was made."""
        self._setup_failures = 0
        self._started_in.append(took)
        if self._pool is not None:
            compat.register_now(self._pool)
        self.changed()

    def process_failed(self) -> None:
        """A process ended before it was ready. Hold the next ones back, longer each time."""
        self._started_in.clear()
        if not self._held:
            self._setup_failures += 1
            delay = min(0.1 * 2 ** min(self._setup_failures, 10), SETUP_BACKOFF_MAX)
            log.error("job_process_setup_failed", failures=self._setup_failures, next_try_in_s=delay)
            self._held = True
            asyncio.get_running_loop().call_later(delay, self._release)
        self.changed()

    def _release(self) -> None:
        self._held = False
        self.changed()

    # -- what it says --------------------------------------------------------------------------------------

    def measure(self) -> Capacity:
        jobs, server, pool = self._jobs, self._server, self._pool
        if jobs is None or server is None or pool is None:
            return Capacity(slots=self._slots, draining=self._draining)
        unseen = max(0, compat.reserved(server) - len(self._answering))
        return Capacity(
            slots=self._slots,
            running=jobs.running,
            starting=jobs.pending + unseen,
            warm=compat.warm(pool),
            quick=self._told_open and 0.0 < max(self._started_in, default=0.0) < QUICK,
            node_id=self._node_id,
            draining=self._draining,
            paused=self._paused,
            distrusted=self._trust.distrusted,
            withheld=self._trust.withholds(jobs.arriving),
        )

    def load(self) -> float:
        """What livekit-server is told, and what decides about an offer."""
        now = self.measure()
        if self._setup_failures and now.warm == 0:
            return 1.0  # fact 63: there would be no process for the job
        return load_of(now)

    def changed(self) -> None:
        """Something may have changed: if so, say it to everybody. In the event loop."""
        self._apply_target()
        now = self.measure()
        if now == self._told:
            return
        self._told = now
        self._push.set()
        self._tell(now)

    async def push_statuses(self) -> None:
        """Tell livekit-server about every change at once: it learns of one within 2.5 s by itself, and
        drops what it wants dispatched in between (fact 52). Runs until cancelled."""
        while True:
            await self._push.wait()
            self._push.clear()
            if self._server is not None and self._told.registered:
                load = self.load()
                self._told_open = False
                try:
                    await compat.push_status(self._server, load)
                    self._told_open = load < compat.LOAD_THRESHOLD
                    self.changed()
                except Exception:  # this task's root: LiveKit hears of it by itself, a little later
                    log.exception("status_not_pushed")

    def spare(self) -> compat.Executor | None:
        """A warm process too many, taken out of the pool to be closed; None when there is none."""
        if self._pool is None or compat.warm(self._pool) <= self._warm_wanted(self._told.running):
            return None
        return compat.take_spare(self._pool)

    def _target(self) -> int:
        """How many warm processes there should be (fact 51)."""
        if self._held or self._draining or self._jobs is None:
            return 0
        return self._warm_wanted(self._jobs.running)

    def _warm_wanted(self, running: int) -> int:
        return min(self._warm.wanted(), max(0, self._slots - running))
