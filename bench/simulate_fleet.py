"""How a fleet of ten replicas does with up to 100,000 rooms, in memory and under virtual time: what a call
and an event cost, how soon agents come, how long the kill of a replica lasts. See `bench.fleet_world`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.fleet_world import ASKS_PER_S, MOVES_PER_S, REPLICAS, STEADY, Found
from bench.report import Row

NAME = "simulate_fleet"
N = 100_000
"""Rooms of the largest variant."""
SIZES = (1000, 10_000, 100_000)
REPOSITORY = Path(__file__).parents[1]


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    sizes = [size for size in SIZES if size < n] + [n]
    return [_row(await _played(size)) for size in sizes], [
        f"virtual time; {REPLICAS} replicas; {ASKS_PER_S} calls a second, then {STEADY:g} s of {MOVES_PER_S}"
        " people a second who join or leave, then kill -9 of the replica that leads, with all its calls",
        "cpu_ms: of the whole simulation (all keepers, LiveKit, store, pools, trio), not of one gateway",
        "lost: rooms without a working agent at the end; doubled: rooms that ever had two living agents",
        "heal_s: to the last new agent; LiveKit takes 0.2 s for a dispatch and 16 are under way at once, so"
        " that about 70 rooms a second get one",
    ]


async def _played(rooms: int) -> Found:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.fleet_world", str(rooms)),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # the order of sets belongs to the course of things
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{rooms} rooms: the simulation ended with {process.returncode}")
    return msgspec.json.decode(output, type=Found)


def _row(found: Found) -> Row:
    return {
        "variant": f"rooms_{found.rooms}",
        "n": found.rooms,
        "lost": found.unserved,
        "doubled": found.doubled,
        "agent_p99_s": round(found.agent_p99_s, 2),
        "cpu_ms_per_call": round(found.cpu_ms_per_call, 2),
        "cpu_ms_per_event": round(found.cpu_ms_per_event, 3),
        "killed_calls": found.killed_calls,
        "heal_s": round(found.heal_s, 1),
        "rss_mb": round(found.rss_mb),
        "virtual_s": round(found.virtual_s),
    }
