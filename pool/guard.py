"""The deaths of processes: with their parent, by the kernel's own means, and of those left over."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

import psutil

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that forked it ends.

    Holds for a process that swallows CancelledError, blocks its event loop, or is stopped (facts 13, 63).
    Linux only; elsewhere the end of the report socket must do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_leftover(pid: int, started: float) -> bool:
    """Kill a job process of a worker before us, and wait until it is gone. True when there was one.

    `started` is its start time in seconds since the epoch: a pid alone may be somebody else's by now.
    """
    with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 1.0:
            process.kill()
            process.wait(timeout=2.0)
            return True
    return False
