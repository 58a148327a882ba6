"""Processes as the operating system shows them: who descends from whom, which of them hold a job."""

from __future__ import annotations

import contextlib
import time

import psutil


def descendants(pid: int) -> list[psutil.Process]:
    """The process of `pid`, if it lives, and all that it started, directly or not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def job_processes(pid: int, livekit_port: int) -> list[psutil.Process]:
    """Descendants of `pid` with a connection to LiveKit: those that are in a room.

    An idle process has none, and the worker itself (`pid`) is left out.
    """
    return [p for p in descendants(pid)[1:] if _connected(p, livekit_port)]


def survivors(processes: list[psutil.Process], *, timeout: float) -> list[str]:
    """Those that still run after at most `timeout` seconds (reaped or not), in words."""
    deadline = time.monotonic() + timeout
    _, alive = psutil.wait_procs(processes, timeout=max(0.0, deadline - time.monotonic()))
    return [_describe(p) for p in alive if _runs(p)]


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _connected(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return any(
            c.status == psutil.CONN_ESTABLISHED and c.raddr and c.raddr.port == port
            for c in process.net_connections(kind="tcp")
        )
    return False


def _runs(process: psutil.Process) -> bool:
    """A zombie has ended: its parent has not looked yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.NoSuchProcess:
        return str(process.pid)
