"""The private names of livekit-agents that the pool stands on: an upgrade that moves one fails here first."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import multiprocessing
import multiprocessing.forkserver
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable

import pytest
from livekit import agents
from livekit.agents import (
    AgentServer,
    AgentSession,
    JobContext,
    JobRequest,
    WorkerOptions,
    WorkerPermissions,
)
from livekit.agents.ipc import supervised_proc
from livekit.agents.ipc.job_proc_executor import ProcJobExecutor
from livekit.agents.ipc.log_queue import LogQueueListener
from livekit.agents.ipc.proc_pool import ProcPool
from livekit.agents.ipc.supervised_proc import SupervisedProc
from livekit.agents.job import RunningJobInfo
from livekit.agents.utils import http_context
from livekit.agents.utils.aio import duplex_unix

from pool import compat


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()


async def other_entrypoint(ctx: JobContext) -> None:
    await ctx.connect()


async def on_request(request: JobRequest) -> None:
    await request.accept()


def missing(names: Iterable[str], there: Iterable[str]) -> set[str]:
    return set(names) - set(there)


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_version_is_the_one_that_was_read() -> None:
    """Every fact about private names was read in this minor version."""
    assert agents.__version__.startswith("1.8.")


def test_an_agent_server_has_the_attributes_that_are_set_on_it() -> None:
    """Those that exist from its construction on."""
    names = (
        "_agent_name _entrypoint_fnc _request_fnc _host _port _prometheus_multiproc_dir _preload_modules "
        "_connection_failed _draining"
    )
    assert not missing(names.split(), vars(AgentServer()))


def test_a_run_makes_what_is_read_and_set_later() -> None:
    """Those that `run()` creates anew, the pool of processes before its first await among them."""
    code = AgentServer.run.__code__
    names = "_proc_pool _reserved_slots _worker_load _conn_task _load_task _job_lifecycle_tasks"
    assert not missing(names.split(), code.co_names)


def test_one_call_of_run_ws_spans_one_registered_connection() -> None:
    """It is called with the websocket, on the instance, after the registration."""
    source = inspect.getsource(AgentServer._connection_task)
    assert parameters(AgentServer._run_ws) == ["self", "ws"]
    assert source.index("self._handle_register(") < source.index("await self._run_ws(ws)")


def test_the_load_is_asked_of_one_method() -> None:
    """Availability and status both go through `_get_effective_load`, called on the instance."""
    for method in (AgentServer._is_available, AgentServer._update_worker_status):
        assert "_get_effective_load" in method.__code__.co_names
    assert parameters(AgentServer._get_effective_load) == ["self"]


def test_offers_are_reserved_before_they_are_answered() -> None:
    """`_reserved_slots` counts an offer before the request function runs, until its task is done."""
    source = inspect.getsource(AgentServer._answer_availability)
    assert source.index("_reserved_slots += 1") < source.index("await self._request_fnc(")
    assert "_reserved_slots -= 1" in source


def test_the_process_pool_has_the_names_that_are_used() -> None:
    """Queue, target, early registration, events."""
    assert not missing(["_warmed_proc_queue", "_idle_ready"], ProcPool.__init__.__code__.co_names)
    assert parameters(ProcPool.set_target_idle_processes) == ["self", "num_idle_processes"]
    source = inspect.getsource(ProcPool)
    assert "self._target_idle_processes = num_idle_processes" in source
    for event in ("created", "started", "ready", "job_launched", "closed"):
        assert f'"process_{event}"' in source


def test_a_job_is_handed_over_as_upstream_does_it() -> None:
    """What `run()` hands over after LiveKit's assignment, with the same fields (fact 67)."""
    assert parameters(ProcPool.launch_job) == ["self", "info"]
    source = inspect.getsource(AgentServer._answer_availability)
    handed = source[source.index("RunningJobInfo(") : source.index("launch_job(")]
    for field in dataclasses.fields(RunningJobInfo):
        assert (f"{field.name}=" in handed) is (field.name != "launched_at"), field.name
    assert not missing(["_ws_url", "_permissions"], vars(AgentServer()))
    assert isinstance(compat.permissions(AgentServer()), WorkerPermissions)
    assert isinstance(inspect.getattr_static(AgentServer, "id"), property)


def test_what_agents_may_do_is_what_the_direct_lane_signs() -> None:
    """A new permission would be missing from its tokens. LiveKit leaves the sources out as well."""
    names = "can_publish can_subscribe can_publish_data can_update_metadata can_publish_sources hidden"
    assert {field.name for field in dataclasses.fields(WorkerPermissions)} == set(names.split())


def test_certificates_are_read_before_the_fork_as_jobs_will_ask_for_them() -> None:
    """A job's HTTP session asks with the same words, so that it finds what was read; it is made at the job's
    end where nobody needed one before."""
    script = (
        "import pool.forkserver; from livekit.agents.utils import http_context as http\n"
        "read = http._ssl_context_for.cache_info(); assert (read.misses, read.currsize) == (1, 1), read\n"
        "http._create_ssl_context(); assert http._ssl_context_for.cache_info().hits == 1"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert "ssl=_create_ssl_context()" in inspect.getsource(http_context._new_session_ctx)
    assert "val().close()" in inspect.getsource(http_context._close_http_ctx)


def test_the_native_library_is_loaded_and_started_by_itself() -> None:
    """Loading begins nothing; the runtime is a process's one instance, made when it is first asked for."""
    script = (
        "from livekit.rtc import _ffi_client as ffi; import pool.compat as compat, os\n"
        "before = os.listdir('/proc/self/task'); compat.load_rtc_library()\n"
        "assert ffi.FfiClient._instance is None and os.listdir('/proc/self/task') == before\n"
        "compat.start_rtc(); assert ffi.FfiClient._instance is ffi.FfiClient.instance"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


CONNECT_TO_NOBODY = """
import asyncio, logging, os, sys
import pool.compat as compat
from livekit import rtc
compat.start_rtc()
logging.getLogger("livekit").setLevel(logging.DEBUG)
logging.getLogger("livekit").addHandler(logging.StreamHandler(sys.stdout))

async def connect():
    try:
        await rtc.Room().connect("ws://127.0.0.1:9", "no token")
    except rtc.ConnectError:
        os.write(1, f"refused {os.environ.get('RUST_LOG')}".encode())  # in one piece, whoever else prints

asyncio.run(connect())
sys.stdout.flush()
os._exit(0)  # a native line that comes while Python ends would abort the process: upstream's own danger
"""


@pytest.mark.parametrize(
    ("env", "told"),
    [
        pytest.param({}, "nothing", id="warnings only"),
        pytest.param({"RUST_LOG": "debug"}, "stderr", id="as RUST_LOG says"),
        pytest.param({"LIVEKIT_RTC_DEBUG": "1"}, "stdout", id="all in Python, as upstream has it"),
    ],
)
def test_the_native_log_does_not_pass_through_python(env: dict[str, str], told: str) -> None:
    """It is 1,700 calls for each agent that joins. What is asked for comes all the same."""
    ran = subprocess.run(
        [sys.executable, "-c", CONNECT_TO_NOBODY],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    assert f"refused {env.get('RUST_LOG')}" in ran.stdout
    marked = {name for name in ("stdout", "stderr") if "connecting to ws://" in getattr(ran, name)}
    assert marked == ({told} - {"nothing"})


def test_a_job_process_tells_pid_exit_code_and_job() -> None:
    """All public, on a class that is not."""
    assert issubclass(ProcJobExecutor, SupervisedProc)
    for name in ("pid", "exitcode", "running_job"):
        assert isinstance(inspect.getattr_static(ProcJobExecutor, name), property)
    assert inspect.iscoroutinefunction(ProcJobExecutor.aclose)


def test_the_session_has_the_public_names_that_the_child_follows() -> None:
    """The state, the close event's reason, and the primary session."""
    assert isinstance(inspect.getattr_static(AgentSession, "agent_state"), property)
    assert isinstance(inspect.getattr_static(JobContext, "primary_session"), property)
    assert "reason" in agents.CloseEvent.model_fields
    assert "new_state" in agents.AgentStateChangedEvent.model_fields


def test_the_users_on_request_is_told_from_the_default_one() -> None:
    """`WorkerOptions` fills in upstream's accept-all: that is no wish of the user's."""
    plain = AgentServer()
    plain.rtc_session(entrypoint)
    old = AgentServer.from_server_options(WorkerOptions(entrypoint_fnc=entrypoint))
    own = AgentServer()
    own.rtc_session(entrypoint, on_request=on_request)
    assert [compat.on_request(server) for server in (plain, old, own)] == [None, None, on_request]


def test_the_setters_set_what_upstream_reads() -> None:
    """What is put in comes out again."""
    server = AgentServer()
    server.rtc_session(entrypoint, agent_name="anna")
    compat.set_entrypoint(server, other_entrypoint)
    assert compat.entrypoint(server) is other_entrypoint
    assert compat.agent_name(server) == "anna"
    compat.preload(server, "pool.forkserver")
    compat.preload(server, "pool.forkserver")
    assert compat.processes(server) is None
    assert compat.reserved(server) == 0


def test_the_forkserver_has_the_names_that_end_it() -> None:
    """CPython's own, as its unit tests use them."""
    forkserver = multiprocessing.forkserver._forkserver
    assert hasattr(forkserver, "_forkserver_pid")
    assert hasattr(forkserver, "_stop")


def test_an_exit_code_is_read_by_one_thread_only() -> None:
    """A process that is joined by one thread and polled by others has its own exit code (fact 37)."""
    compat.read_exit_codes_once()
    compat.read_exit_codes_once()
    context = multiprocessing.get_context("forkserver")
    codes: list[int | None] = []

    def run(process: multiprocessing.process.BaseProcess) -> None:
        process.join()
        codes.append(process.exitcode)

    for _ in range(8):
        processes = [context.Process(target=os.getpid) for _ in range(4)]
        for process in processes:
            process.start()
        threads = [threading.Thread(target=run, args=(process,)) for process in processes]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            multiprocessing.active_children()  # polls every process, as each start of one does
    assert codes == [0] * 32


def test_a_log_ends_with_its_process(caplog: pytest.LogCaptureFixture) -> None:
    """Though what the agent forked has the other end still; what was written before that is heard."""
    compat.end_logs_with_processes()
    compat.end_logs_with_processes()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        listener = LogQueueListener(duplex_unix._Duplex.open(ours), lambda record: None)
        written = duplex_unix._Duplex.open(theirs)
        for number in range(100):
            written.send_bytes(pickle.dumps(logging.makeLogRecord({"msg": f"line {number}", "levelno": 40})))
        listener.start()
        stopping = threading.Thread(target=listener.stop, daemon=True)
        stopping.start()
        stopping.join(10)
        assert not stopping.is_alive()
    assert [r.getMessage() for r in caplog.records] == [f"line {number}" for number in range(100)]


@pytest.fixture
def loop() -> Iterable[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_connection_that_ends_is_told(loop: asyncio.AbstractEventLoop) -> None:
    """Upstream has no event for it: whatever ends `_run_ws`, the callback hears of it."""
    server = AgentServer()
    heard: list[str] = []

    async def broken(ws: object) -> None:
        raise ConnectionError

    server._run_ws = broken  # type: ignore[method-assign]
    compat.on_connection_lost(server, lambda: heard.append("lost"))
    with pytest.raises(ConnectionError):
        loop.run_until_complete(server._run_ws(None))
    assert heard == ["lost"]


def test_a_ctrl_c_is_heard_while_a_process_is_started() -> None:
    """Upstream would have the whole process ignore it for that time."""
    assert inspect.getsource(SupervisedProc).count("with _mask_ctrl_c():") == 1
    compat.keep_ctrl_c()
    before = signal.getsignal(signal.SIGINT)
    with supervised_proc._mask_ctrl_c():
        assert signal.getsignal(signal.SIGINT) is before
