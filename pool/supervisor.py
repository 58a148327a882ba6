"""The pool: one livekit-agents `AgentServer` and its job processes, inside this process's event loop.

Loads it, runs it, runs it again when it fails, drains it, ends it. It installs no signal handlers (fact 56)
and knows nothing of rooms, wants or settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import Any

import structlog
from livekit.agents import AgentServer, JobExecutorType, JobRequest

from pool import child, compat, early, loading
from pool.acceptance import Acceptance
from pool.capacity import Slots
from pool.direct import DirectLane
from pool.jobs import Jobs
from pool.memory import Limits, Scales
from pool.metrics import PoolMetrics
from pool.output import OutputServer
from pool.ports import Capacity, Gate, JobEvent, Launch, Listener, WarmPolicy
from pool.reports import ReportServer
from pool.roll_call import RollCall
from pool.tasks import Tasks
from pool.trust import Trust
from pool.warm import Warm

log = structlog.get_logger(__name__)

NEVER_GIVE_UP = 1_000_000
"""Tries to reach livekit-server: giving up would end the jobs that are running (facts 28, 64)."""
RESTART_AFTER_MIN, RESTART_AFTER_MAX = 0.5, 15.0
"""Seconds before a server that failed runs again; doubled each time, until it has run for a minute."""
STEADY_AFTER = 60.0
TRIM_EVERY = 10.0
AFTER_KILL = 2.0
"""Seconds for upstream to notice that its processes were killed."""


class Pool:
    """Implements `pool.ports.Workers`. Use in one event loop: `load()`, `run()`, `drain()`, `close()`.

    `target` is as in `pool.loading.load`; `url` is LiveKit's (ws:// or http://). Times are in seconds, sizes
    of a process in bytes; None: what the agent's own `AgentServer` says.
    """

    def __init__(
        self,
        target: str,
        *,
        url: str,
        api_key: str,
        api_secret: str,
        slots: int,
        default_agent_name: str = "",
        gate: Gate,
        listener: Listener,
        metrics: PoolMetrics,
        warm: WarmPolicy = "all",
        memory_warn: int | None = None,
        memory_limit: int | None = None,
        unresponsive_after: float = 20.0,
        shared_vad: bool = False,
        enter_timeout: float = 5.0,
        end_timeout: float = 30.0,
        finish_timeout: float = 400.0,  # above 15 + 60 + 300 s, what the SDK itself allows (fact 86)
    ) -> None:
        self._target = target
        self._url = url
        self._api_key = api_key
        self._api_secret = api_secret
        self._default_agent_name = default_agent_name
        self._gate = gate
        self._listener = listener
        self._tasks = Tasks()
        self._metrics = metrics
        self._memory = memory_warn, memory_limit
        self._unresponsive_after = unresponsive_after
        self._shared_vad = shared_vad
        self._warm = Warm(warm, time.monotonic)
        trust = Trust(metrics, changed=lambda: self._slots.changed())
        self._slots = Slots(slots, warm=self._warm, trust=trust, tell=self._tell_capacity)
        self._jobs = Jobs(
            gate=gate,
            tell=self._tell_job,
            changed=self._slots.changed,
            tasks=self._tasks,
            metrics=metrics,
            trust=trust,
            enter_timeout=enter_timeout,
            end_timeout=end_timeout,
            finish_timeout=finish_timeout,
        )
        self._server: AgentServer | None = None
        self._direct: DirectLane | None = None
        self._agent = default_agent_name
        self._reports: ReportServer | None = None
        self._output: OutputServer | None = None
        self._created: dict[compat.Executor, float] = {}
        """When each process that lives was made."""
        self._ready: set[compat.Executor] = set()
        self._running: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    # -- what the keeper asks (pool.ports.Workers) ---------------------------------------------------------

    @property
    def agent(self) -> str:
        """The worker's agent name; only the default one before `load()`."""
        return self._agent

    @property
    def nameless(self) -> bool:
        """Whether neither the module nor the environment names the agent: it is meant for every room."""
        return self._server is not None and loading.is_nameless(self._server)

    def capacity(self) -> Capacity:
        return self._slots.measure()

    def runs(self, job_id: str) -> bool:
        return self._jobs.runs(job_id)

    def inside(self) -> list[str]:
        return self._jobs.inside()

    def launch(self, launch: Launch) -> bool:
        return self._direct is not None and self._direct.launch(launch)

    def end(self, job_id: str, *, kill: bool = False) -> None:
        self._jobs.end(job_id, kill=kill)

    def pause(self, paused: bool) -> None:
        self._slots.pause(paused)

    # -- its life ------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Import the agent. On the main thread (fact 66); blocks for as long as the imports take.

        Raises `pool.errors.LoadError`, and whatever the agent's module raises.
        """
        if self._server is None:
            self._server = loading.load(self._target, default_agent_name=self._default_agent_name)
            self._agent = compat.agent_name(self._server)
            self._configure(self._server)

    async def run(self) -> None:
        """Serve until closed or cancelled."""
        self.load()
        assert self._server is not None
        assert self._reports is not None
        assert self._output is not None
        if why := early.mistake(compat.preloads(self._server)):
            log.info("forkserver_started_anew", why=why)
            compat.end_forkserver()
        compat.read_exit_codes_once()
        compat.end_logs_with_processes()
        compat.keep_ctrl_c()
        await self._reports.start()
        await self._output.start()
        assert self._server is not None
        limits = Limits(*self._memory_limits)
        for look_after in (
            self._slots.push_statuses,
            Scales(self._jobs, self._metrics, limits).run,
            RollCall(self._jobs, self._metrics, patience=self._unresponsive_after).run,
            self._trim,
        ):
            self._tasks.start(look_after(), name=look_after.__qualname__)
        self._running = asyncio.create_task(self._serve(), name="pool_serve")
        try:
            await asyncio.wait({self._running})
        finally:
            await self.close()
        if not self._running.cancelled():
            self._running.result()

    async def drain(self, timeout: float) -> int:
        """Take no more jobs and wait for those that run; returns how many are left after `timeout` seconds.

        Not upstream's `drain()`, which holds the server's lock meanwhile, raises, and cannot be undone or
        repeated (facts 30, 57).
        """
        log.info("pool_drains", running=self._jobs.running)
        self._slots.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._jobs.wait_idle(), timeout)
        return self._jobs.pending + self._jobs.running

    async def close(self, grace: float = 3.0) -> None:
        """End every job and process: gracefully for `grace` seconds, then by SIGKILL. Bounded; repeatable."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(grace), name="pool_close")
        await asyncio.shield(self._closing)

    # -- setting up ----------------------------------------------------------------------------------------

    def _configure(self, server: AgentServer) -> None:
        self._reports = ReportServer(
            heard=self._jobs.heard, lost=self._jobs.lost, figures=self._metrics.voice.heard
        )
        self._output = OutputServer(self._jobs.whose)
        acceptance = Acceptance(
            gate=self._gate,
            jobs=self._jobs,
            tasks=self._tasks,
            user_on_request=compat.on_request(server),
            draining=lambda: self._slots.draining,
        )
        self._direct = DirectLane(
            server,
            acceptance,
            self._slots,
            self._jobs,
            self._tasks,
            api_key=self._api_key,
            api_secret=self._api_secret,
        )

        async def asked(request: JobRequest) -> None:
            self._slots.answering(request.id)
            await acceptance.on_request(request)

        user_entrypoint = compat.entrypoint(server)
        assert user_entrypoint is not None, "loading checked it"
        compat.set_entrypoint(server, functools.partial(child.enter, user_entrypoint))
        compat.set_on_request(server, asked)
        server.setup_fnc = functools.partial(
            child.prepare, server.setup_fnc, self._reports.path, self._output.path
        )
        compat.set_health_address(server, "127.0.0.1", 0)
        compat.forget_prometheus_dir(server)
        own = (round(1e6 * megabytes) for megabytes in compat.take_memory_limits(server))
        self._memory_limits = [
            o if given is None else given for o, given in zip(own, self._memory, strict=True)
        ]
        for module in (*([early.SHARED_VAD] if self._shared_vad else []), *early.OURS):
            compat.preload(server, module)
        compat.on_connection_lost(server, self._slots.connection_lost)
        server.on("worker_registered", self._on_registered)
        server.update_options(
            ws_url=self._url,
            api_key=self._api_key,
            api_secret=self._api_secret,
            max_retry=NEVER_GIVE_UP,
            job_executor_type=JobExecutorType.PROCESS,
        )
        self._slots.attach(server, self._jobs)

    # -- running -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        delay = RESTART_AFTER_MIN
        while not self._ended:
            started = loop.time()
            try:
                await self._run_once()
            except Exception:
                log.exception("agent_server_failed", next_try_in_s=delay)
            if loop.time() - started > STEADY_AFTER:
                delay = RESTART_AFTER_MIN
            await self._recover(delay)
            delay = min(2 * delay, RESTART_AFTER_MAX)

    async def _recover(self, delay: float) -> None:
        """After a `run()` that ended by itself: clear up and wait. Nothing when the pool is closing."""
        if not self._ended:
            await self._end_server(grace=0.0)
            await asyncio.sleep(delay)

    async def _run_once(self) -> None:
        """One `AgentServer.run()`, with its processes hooked before the first of them starts (fact 46)."""
        assert self._server is not None
        compat.make_reusable(self._server)
        previous = compat.processes(self._server)
        running = self._tasks.start(self._server.run(), name="agent_server")
        while compat.processes(self._server) is previous and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0)  # no event tells of it; it takes one turn of the loop
        pool = compat.processes(self._server)
        if pool is not None and pool is not previous:
            self._hook(pool)
        await running

    def _hook(self, pool: compat.Processes) -> None:
        soon = asyncio.get_running_loop().call_soon
        self._slots.keep(pool)

        def created(executor: compat.Executor) -> None:
            self._created[executor] = time.monotonic()
            compat.ensure_forkserver()

        def ready(executor: compat.Executor) -> None:
            self._ready.add(executor)
            soon(
                self._after_ready, time.monotonic() - self._created[executor]
            )  # it is put among the warm ones after the event

        def launched(executor: compat.Executor) -> None:
            self._warm.launched()
            self._jobs.launched(executor)

        def closed(executor: compat.Executor) -> None:
            self._jobs.process_closed(executor)
            if executor not in self._ready and not self._ended:
                self._slots.process_failed()
            if executor.exitcode and not self._ended:
                self._metrics.died.labels("job" if executor.running_job else "warm").inc()
            self._ready.discard(executor)
            self._created.pop(executor, None)
            soon(self._slots.changed)  # it is taken from among the warm ones after the event (fact 46)

        pool.on("process_created", created)
        pool.on("process_started", self._jobs.process_started)
        pool.on("process_ready", ready)
        pool.on("process_job_launched", launched)
        pool.on("process_closed", closed)

    def _after_ready(self, took: float) -> None:
        self._slots.process_ready(took)
        self._close_spares()

    async def _trim(self) -> None:
        """Fewer may be needed than a while ago."""
        while True:
            await asyncio.sleep(TRIM_EVERY)
            self._slots.changed()
            self._close_spares()

    def _close_spares(self) -> None:
        while (spare := self._slots.spare()) is not None:
            self._tasks.start(spare.aclose(), name="close_spare_process")

    def _on_registered(self, worker_id: str, server_info: Any) -> None:
        log.info("worker_registered", agent=self._agent, worker=worker_id, node=server_info.node_id)
        self._slots.registered(server_info.node_id)

    @property
    def _ended(self) -> bool:
        return self._closing is not None

    # -- ending --------------------------------------------------------------------------------------------

    async def _close(self, grace: float) -> None:
        self._slots.drain()
        if self._running is not None:
            await self._end_server(grace)
            self._running.cancel()
        await self._tasks.cancel(AFTER_KILL)
        if self._reports is not None:
            self._reports.close()
        if self._output is not None:
            self._output.close()
        compat.end_forkserver()
        log.info("pool_closed")

    async def _end_server(self, grace: float) -> None:
        """`aclose()`, by force where it does not come to its end by itself (facts 41, 57)."""
        assert self._server is not None
        pool = compat.processes(self._server)
        if pool is not None:
            compat.register_now(pool)  # `run()` holds the lock that `aclose()` wants until it has registered
        closing = self._tasks.start(self._server.aclose(), name="agent_server_aclose")
        await asyncio.wait({closing}, timeout=grace)
        self._jobs.kill_all()
        if not closing.done():
            compat.stop_waiting(self._server)
            await asyncio.wait({closing}, timeout=AFTER_KILL)
        if not closing.done():
            closing.cancel()
            await compat.abandon(self._server, AFTER_KILL)
            self._jobs.kill_all()

    # -- telling -------------------------------------------------------------------------------------------

    def _tell_job(self, event: JobEvent) -> None:
        """A listener's mistake must not reach upstream's process handling, nor cut a job's connection."""
        try:
            self._listener.on_job(event)
        except Exception:
            log.exception("listener_failed", job=event.job_id, kind=event.kind.value)

    def _tell_capacity(self, capacity: Capacity) -> None:
        try:
            self._listener.on_capacity(capacity)
        except Exception:
            log.exception("listener_failed", capacity=capacity)
