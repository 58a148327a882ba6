"""A process is known again by its name, and only by that."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil

from gateway.hosts import has_ended, job_has_ended, this_process
from gateway.keeper.model import Claim


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


def test_a_job_is_gone_when_its_gateway_and_its_process_are() -> None:
    """Then nobody need ask LiveKit whether its agent lives."""
    ended = f"{this_process().rpartition(f'/{os.getpid()}/')[0]}/{os.getpid()}/1.00"
    claim = Claim(
        room="r", agent="a", want_id="w", generation=1, sid="RM_1", job_id="j", identity="i", since=1.0
    )
    me = psutil.Process()
    assert job_has_ended(replace(claim, host=ended))
    assert not job_has_ended(replace(claim, host=ended, pid=me.pid, pid_started=me.create_time()))
    assert not job_has_ended(replace(claim, host=this_process()))
    assert not job_has_ended(claim)
