"""Every touch of a private name of livekit-agents 1.8 (and one of CPython), each a small function.

No policy lives here. `tests/unit/test_pool_compat.py` pins each of these names, so that an upgrade fails
there first. Fact numbers are those of the project's notes on LiveKit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing.forkserver as mp_forkserver
import multiprocessing.popen_forkserver as mp_popen
import multiprocessing.resource_tracker as mp_resource_tracker
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import wait
from typing import Any

from livekit.agents import AgentServer, JobContext, JobRequest, Plugin, WorkerPermissions
from livekit.agents.ipc import supervised_proc
from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.ipc.log_queue import LogQueueListener
from livekit.agents.ipc.proc_pool import ProcPool
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.agents.utils import http_context
from livekit.protocol import agent
from livekit.rtc import _ffi_client

Executor = ProcJobExecutor
"""One job process as its parent sees it: `pid`, `exitcode`, `running_job`, `aclose()` (fact 46)."""
Processes = ProcPool
"""The processes of one `AgentServer.run()`; a new object at each (fact 46)."""
Entrypoint = Callable[[JobContext], Awaitable[None]]
OnRequest = Callable[[JobRequest], Awaitable[None]]

LOAD_THRESHOLD = 0.7
"""livekit-server's own `agents.target_load`: from this load on a worker is asked for nothing (fact 3)."""


# -- before run() ------------------------------------------------------------------------------------------


def agent_name(server: AgentServer) -> str:
    """The name under which the server registers."""
    return server._agent_name


def name_agent(server: AgentServer, name: str) -> None:
    """Give it a name, as `rtc_session(agent_name=...)` does."""
    server._agent_name = name


def entrypoint(server: AgentServer) -> Entrypoint | None:
    """The function given to `rtc_session`, None when there was none."""
    return server._entrypoint_fnc


def set_entrypoint(server: AgentServer, fnc: Entrypoint) -> None:
    """Run `fnc` in the job process instead. Must be picklable (facts 88, 92)."""
    server._entrypoint_fnc = fnc


def on_request(server: AgentServer) -> OnRequest | None:
    """The user's own `on_request`, None when there is none (`WorkerOptions` fills in a default one)."""
    fnc = server._request_fnc
    return None if fnc is None or fnc.__module__ == AgentServer.__module__ else fnc


def set_on_request(server: AgentServer, fnc: OnRequest) -> None:
    """Have `fnc` decide about offered jobs (fact 47)."""
    server._request_fnc = fnc


def set_health_address(server: AgentServer, host: str, port: int) -> None:
    """Where the server's own health endpoint listens; the default is every interface (facts 31, 61)."""
    server._host = host
    server._port = port


def forget_prometheus_dir(server: AgentServer) -> None:
    """Keep `run()` from emptying a metrics directory that is not its own (fact 60)."""
    server._prometheus_multiproc_dir = None


def take_memory_limits(server: AgentServer) -> tuple[float, float]:
    """What the agent's author set (megabytes: warning, limit; 0 is none), and have upstream look no more: it
    reads each process's memory every 5 s."""
    limits = server._job_memory_warn_mb, server._job_memory_limit_mb
    server._job_memory_warn_mb = server._job_memory_limit_mb = 0
    return limits


def preloads(server: AgentServer) -> list[str]:
    """What `run()` has the forkserver import, upstream's own modules left out: the agent's plugins first."""
    return [*(plugin.package for plugin in Plugin.registered_plugins), *server._preload_modules]


def preload(server: AgentServer, module: str) -> None:
    """Have the forkserver import `module` before it forks the first job process (fact 35)."""
    if module not in server._preload_modules:
        server._preload_modules = [*server._preload_modules, module]


# -- the connection to livekit-server ----------------------------------------------------------------------


def on_connection_lost(server: AgentServer, callback: Callable[[], None]) -> None:
    """Call `callback` when a registered connection ends. Upstream has no event for it (fact 45), but one
    call of `_run_ws` spans exactly one registered connection."""
    run_ws = server._run_ws

    async def watched(ws: Any) -> None:
        try:
            await run_ws(ws)
        finally:
            callback()

    server._run_ws = watched  # type: ignore[method-assign]


def make_reusable(server: AgentServer) -> None:
    """Reset what would keep a closed server from running again (facts 30, 65)."""
    server._connection_failed = False
    server._draining = False
    server._reserved_slots = 0


# -- load and status ---------------------------------------------------------------------------------------


def set_load(server: AgentServer, load: Callable[[], float]) -> None:
    """Make `load` the only measure of how full the server is.

    Upstream adds an estimate for jobs that are accepted and not launched, which counts a job twice while
    it is being launched and so refuses the last job of a burst now and then.
    """
    server.load_fnc = load
    server._get_effective_load = load  # type: ignore[method-assign]


def reserved(server: AgentServer) -> int:
    """Offers that are being answered or launched; each was counted before its request function ran."""
    return getattr(server, "_reserved_slots", 0)


async def push_status(server: AgentServer, load: float) -> None:
    """Tell livekit-server the load now, rather than within 2.5 s (fact 52). Nothing while unconnected."""
    server._worker_load = load
    await server._update_worker_status()


# -- processes ---------------------------------------------------------------------------------------------


def processes(server: AgentServer) -> Processes | None:
    """The processes of the present `run()`, None before the first."""
    return getattr(server, "_proc_pool", None)


async def launch(server: AgentServer, job: agent.Job, accepted: JobAcceptArguments, token: str) -> None:
    """Hand a job to a process, as `run()` does once LiveKit has assigned one (fact 67).

    Raises what the start of a process raises, when none is warm and none can be started.
    """
    pool = processes(server)
    assert pool is not None, "it runs"
    now = time.time()
    await pool.launch_job(
        RunningJobInfo(
            accept_arguments=accepted,
            job=job,
            url=server._ws_url,
            token=token,
            worker_id=server.id,
            fake_job=False,
            received_at=now,
            accepted_at=now,
            assigned_at=now,
        )
    )


def permissions(server: AgentServer) -> WorkerPermissions:
    """What agents of this server may do in their rooms."""
    return server._permissions


def executors(pool: Processes) -> list[Executor]:
    """All job processes: starting, warm, with a job, finishing."""
    return [executor for executor in pool.processes if isinstance(executor, Executor)]


def warm(pool: Processes) -> int:
    """Processes that are ready for a job."""
    return pool._warmed_proc_queue.qsize()


def keep_warm(pool: Processes, target: Callable[[], int]) -> Callable[[], None]:
    """Make `target` the only word on how many processes are kept warm (fact 51).

    Upstream sets its own estimate every 0.5 s, which would be 0 for a worker that reports itself full
    because nothing is warm. Returns a function that applies the target now.
    """
    set_target = pool.set_target_idle_processes

    def apply(_ignored: int = 0) -> None:
        set_target(target())

    pool.set_target_idle_processes = apply  # type: ignore[method-assign, assignment]
    return apply


def register_now(pool: Processes) -> None:
    """Let `run()` register with livekit-server; by itself it waits until every process is warm."""
    pool._idle_ready.set()


def take_spare(pool: Processes) -> Executor | None:
    """Take a warm process out of the pool, to close it."""
    if pool._warmed_proc_queue.empty():
        return None
    spare = pool._warmed_proc_queue.get_nowait()
    return spare if isinstance(spare, Executor) else None


# -- before a fork, and inside job processes ---------------------------------------------------------------


def load_rtc_library() -> None:
    """Map livekit-rtc's native library, which begins nothing by itself: before a fork, once for all."""
    _ffi_client.get_ffi_lib()


def load_certificates() -> None:
    """Read the CA certificates: 25 ms of a processor for each process. Every job's HTTP session needs them,
    and where a job used none, one is made at its end all the same."""
    http_context._create_ssl_context()


def start_rtc() -> None:
    """Start livekit-rtc's native runtime, as the first `rtc.Room()` of a process would, but for its log.

    By itself it brings each line of its log, of every level, into Python: 1,700 calls for a room and a track,
    half of what joining costs, and then drops nearly all. Here it writes warnings to the standard error by
    itself. `RUST_LOG` says otherwise, and with `LIVEKIT_RTC_DEBUG` all is as upstream has it.
    """
    if os.environ.get("LIVEKIT_RTC_DEBUG", "").strip().lower() in {"true", "1"}:
        return
    library = _ffi_client.get_ffi_lib()
    initialize = library.livekit_ffi_initialize
    initialize.argtypes = [_ffi_client.ffi_cb_fnc, ctypes.c_bool, ctypes.c_char_p, ctypes.c_char_p]

    def without_log(callback: Any, _capture_logs: bool, sdk: bytes, version: bytes) -> None:
        initialize(callback, False, sdk, version)

    library.livekit_ffi_initialize = without_log  # type: ignore[attr-defined]
    given, load = os.environ.get("RUST_LOG"), _ffi_client.get_ffi_lib
    os.environ["RUST_LOG"] = given or "warn"  # read once, as it starts
    _ffi_client.get_ffi_lib = lambda: library
    try:
        _ = _ffi_client.FfiClient.instance
    finally:
        _ffi_client.get_ffi_lib = load
        if given is None:
            del os.environ["RUST_LOG"]


# -- CPython's forkserver ----------------------------------------------------------------------------------

_poll_lock = threading.Lock()


def read_exit_codes_once() -> None:
    """Close the race in which two threads read one exit code and one of them gets 255 (fact 37)."""
    poll = mp_popen.Popen.poll
    if getattr(poll, "reads_once", False):
        return

    def locked(self: mp_popen.Popen, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is None and flag != os.WNOHANG:
            wait([self.sentinel])  # outside the lock: it may take as long as the process lives
        with _poll_lock:
            return poll(self, os.WNOHANG)

    locked.reads_once = True  # type: ignore[attr-defined]
    mp_popen.Popen.poll = locked  # type: ignore[method-assign, assignment]


def end_logs_with_processes() -> None:
    """Upstream reads a process's log until its other end is closed, and tells of the process's end only then.
    What an agent has forked has that end, too, and may live on: nobody would ever hear that the job has died,
    and this process would wait for it at its own end. What was written before is read all the same."""
    stop = LogQueueListener.stop
    if getattr(stop, "ends_at_once", False):
        return

    def stopping(self: LogQueueListener) -> None:
        if (log := self._duplex._sock) is not None:
            with contextlib.suppress(OSError):
                log.shutdown(socket.SHUT_RD)
        stop(self)

    stopping.ends_at_once = True  # type: ignore[attr-defined]
    LogQueueListener.stop = stopping  # type: ignore[method-assign]


def keep_ctrl_c() -> None:
    """Upstream ignores SIGINT in the whole process while it starts a child, which takes more than a second
    when the forkserver starts: a Ctrl-C in that time would be lost. Job processes ignore it by themselves."""
    supervised_proc._mask_ctrl_c = contextlib.nullcontext  # type: ignore[assignment]


def ensure_forkserver() -> None:
    """Start the forkserver from this thread, if it is not running: it lives as long as the thread does
    (`pool.forkserver`), and upstream would start it from a worker thread of the loop's executor."""
    mp_forkserver.ensure_running()


def forkserver_pids() -> list[int]:
    """The forkserver and the process that Python starts beside it, those that run."""
    pids = [getattr(mp_forkserver._forkserver, "_forkserver_pid", None)]
    pids.append(getattr(mp_resource_tracker._resource_tracker, "_pid", None))
    return [pid for pid in pids if pid is not None]


def end_forkserver() -> None:
    """Kill and reap the forkserver. Its next start takes the environment as it is then (fact 59)."""
    forkserver: Any = mp_forkserver._forkserver
    pid = forkserver._forkserver_pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        forkserver._stop()


def stop_waiting(server: AgentServer) -> None:
    """Cancel what `aclose()` would wait for: answers and status messages that nobody takes (fact 41)."""
    for task in list(getattr(server, "_job_lifecycle_tasks", ())):
        task.cancel()


async def abandon(server: AgentServer, timeout: float) -> None:
    """End what a hanging `aclose()` leaves behind: its connection, its ticks, its spawning of processes."""
    left = [server._conn_task, server._load_task]
    for task in left:
        if task is not None:
            task.cancel()
    pool = processes(server)
    if pool is not None:
        closing = asyncio.create_task(pool.aclose(), name="processes_aclose")
        await asyncio.wait({closing}, timeout=timeout)
