"""Processes that a worker left behind are ended, and nobody else's."""

from __future__ import annotations

import subprocess
import sys

import psutil

from pool.guard import end_leftover


def a_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_a_leftover_process_is_gone_when_the_call_returns() -> None:
    """Nothing is taken over while the process before may still be in the room."""
    process = a_process()
    assert end_leftover(process.pid, psutil.Process(process.pid).create_time())
    assert not psutil.pid_exists(process.pid)
    process.wait()


def test_a_process_that_has_got_the_same_pid_since_is_left_alone() -> None:
    """A pid is reused; with its start time it is not."""
    process = a_process()
    try:
        assert not end_leftover(process.pid, psutil.Process(process.pid).create_time() - 60)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_gone_is_no_leftover() -> None:
    """The usual case: it died with its worker (fact 13)."""
    process = a_process()
    started = psutil.Process(process.pid).create_time()
    process.kill()
    process.wait()
    assert not end_leftover(process.pid, started)
