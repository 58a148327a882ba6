"""Which process on which machine: so that whoever comes later can tell whether it still runs.

A pid means something only on its own machine since its last boot, and in its own pid namespace.
"""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import psutil

from gateway.keeper.model import Claim


def this_process() -> str:
    """Machine, pid namespace, pid and start time of this process, as one word."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{psutil.Process(pid).create_time():.2f}"


def has_ended(process: str) -> bool:
    """Whether a process, as `this_process` names it, certainly ended; False for one of another machine."""
    machine, pid, started = ["", "", *process.rsplit("/", 2)][-3:]
    return machine == _machine() and not _runs(int(pid), float(started), within=0.01)


def job_has_ended(claim: Claim) -> bool:
    """Whether a claim's gateway and its job's process certainly ended; False for those of another machine."""
    return has_ended(claim.host) and not (claim.pid and _runs(claim.pid, claim.pid_started, within=1.0))


def _runs(pid: int, started: float, *, within: float) -> bool:
    """Whether the process that has this pid started at that time, to so many seconds: pids are used again."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and abs(process.create_time() - started) <= within
    except psutil.NoSuchProcess:
        return False


@functools.cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return platform.node()
