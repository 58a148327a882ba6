"""Which process on which machine: so that whoever comes later can tell whether it still runs.

A pid means something only on its own machine since its last boot, and in its own pid namespace.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def this_process() -> str:
    """Machine, pid namespace, pid and start time of this process, as one word."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{psutil.Process(pid).create_time():.2f}"


def has_ended(process: str) -> bool:
    """Whether a process, as `this_process` names it, certainly ended; False for one of another machine."""
    machine, _, rest = process.rpartition("/")[0].rpartition("/")
    started = process.rpartition("/")[2]
    if machine != _machine():
        return False
    try:
        return f"{psutil.Process(int(rest)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return platform.node()
