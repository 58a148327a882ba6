"""What the machine on which the check runs allows: open files, memory, cores, temporary files."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

import psutil

from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site

FILES_EACH = 20
"""Open files of the gateway for one slot: its process's pipes, with room to spare."""
FILES_BESIDE = 2500
"""For all else: 2000 listeners (docs/limits.md), requests, the store, LiveKit."""
MEMORY_EACH = 100 * 2**20
"""Bytes for a slot with the built-in agent and no models; yours may need more."""
MEMORY_BESIDE = 200 * 2**20
SLOTS_PER_CORE = 10
"""More than that, and a burst of calls takes seconds to start."""
CGROUP = Path("/sys/fs/cgroup")
MB = 2**20


async def files(site: Site) -> Finding:
    return enough_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], site.settings.pool.slots)


def enough_files(hard: int, slots: int) -> Finding:
    """`hard`: the limit up to which the gateway raises its own. Pure."""
    needed = FILES_BESIDE + FILES_EACH * slots
    if hard == resource.RLIM_INFINITY or hard >= needed:
        shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        return ok(f"{shown} allowed, {needed} are enough for {slots} slots")
    return warn(
        f"{hard} allowed, and {slots} slots with 2000 listeners take up to {needed}",
        f"raise the hard limit to {needed} or more: `ulimit -Hn`, systemd's LimitNOFILE, the container's",
    )


async def memory(site: Site) -> Finding:
    limit = _number(CGROUP / "memory.max")
    total = psutil.virtual_memory().total
    return enough_memory(min(total, limit) if limit else total, site.settings.pool.slots)


def enough_memory(total: int, slots: int) -> Finding:
    """`total`: bytes that the machine or the container has. Pure."""
    needed = MEMORY_BESIDE + MEMORY_EACH * slots
    found = f"{total // MB} MB, {slots} slots take {needed // MB} MB before an agent loads anything"
    if total >= needed:
        return ok(found)
    return warn(found, "fewer slots (--slots, ROOMKEEPER_SLOTS), or more memory: else processes are killed")


async def cores(site: Site) -> Finding:
    return enough_cores(_cores(), site.settings.pool.slots)


def enough_cores(have: float, slots: int) -> Finding:
    """Pure."""
    found = f"{have:g} for {slots} slots"
    if slots <= have * SLOTS_PER_CORE:
        return ok(found)
    return warn(
        found, f"not more than {SLOTS_PER_CORE} slots a core: else agents come late, and voices stutter"
    )


async def temporary(site: Site) -> Finding:
    """Job processes are forked over sockets in the temporary folder, and share memory in /dev/shm."""
    for folder in (Path(tempfile.gettempdir()), Path("/dev/shm")):  # noqa: S108  (it is what is looked at)
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as fault:
            return fail(
                f"{folder} cannot be written: {fault.strerror}",
                "no job process starts: mount a writable folder there (Kubernetes: an emptyDir, for "
                "/dev/shm with medium Memory)",
            )
    return ok(f"{tempfile.gettempdir()} and /dev/shm can be written")


async def lsb_release(site: Site) -> Finding:
    found = shutil.which("lsb_release")
    if found is None:
        return ok("not installed: agents connect without it")
    return warn(
        f"{found} is run at each connect of an agent, before it sends its first byte",
        "leave it out of your image (S21 in docs/livekit-facts.md)",
    )


def _cores() -> float:
    have = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return min(have, round(int(quota) / int(period), 2))
    except (OSError, ValueError):
        return have


def _number(path: Path) -> int:
    """0 where there is none, or no limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
