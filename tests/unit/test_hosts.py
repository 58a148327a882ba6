"""A process is known again by its name, and only by that."""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.hosts import has_ended, this_process


def test_this_process_has_not_ended() -> None:
    """Its jobs are nobody's leftovers."""
    assert not has_ended(this_process())


def test_a_process_that_is_gone_has_ended() -> None:
    """Whatever it left behind may be cleared up."""
    code = "from gateway.hosts import this_process; print(this_process())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert has_ended(run.stdout.strip())


def test_another_process_under_the_same_pid_is_not_mistaken_for_it() -> None:
    """Pids are used again."""
    machine, _, _ = this_process().rpartition(f"/{os.getpid()}/")
    assert has_ended(f"{machine}/{os.getpid()}/1.00")


def test_nothing_is_concluded_about_another_machine() -> None:
    """Its pids mean nothing here."""
    assert not has_ended("elsewhere/pid:[1]/999999/1.00")
    assert not has_ended("")
