"""What the witness told, as values in order of time, and waiting for it. `verdict` concludes from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.live.gateway import REPOSITORY
from tests.processes.lives import Life
from tests.server_process import die_with


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent participant as LiveKit listed it, and what its process was then."""

    identity: str
    name: str
    active: bool
    tracks: int
    life: Life

    @property
    def working(self) -> bool:
        """What a person can talk to."""
        return self.active and self.tracks > 0 and self.life in (Life.RUNS, Life.UNKNOWN)

    @property
    def ghost(self) -> bool:
        return self.life is Life.DEAD


@dataclass(frozen=True, slots=True)
class Sample:
    """What a room instance held from `at` (monotonic seconds) until its next sample."""

    at: float
    agents: tuple[Agent, ...] = ()
    people: int = 0
    over: bool = False
    """LiveKit lists the room no more."""

    def working(self) -> tuple[Agent, ...]:
        return tuple(agent for agent in self.agents if agent.working)


class Record:
    """Runs the witness and keeps what it tells; an async context manager."""

    def __init__(self, urls: Sequence[str], key: str, secret: str, book: Path, prefix: str = "") -> None:
        self._config = {"urls": list(urls), "key": key, "secret": secret, "book": str(book), "prefix": prefix}
        self.samples: dict[str, list[Sample]] = {}
        """By room SID."""
        self.rooms: dict[str, list[str]] = {}
        """The SIDs of each room's name, in the order of their appearance."""
        self.blindness: list[tuple[float, float]] = []
        """When LiveKit did not answer: from, until. Nothing is concluded about these times."""
        self.looked = 0.0
        """When the last look began that LiveKit answered."""
        self._blind_since: float | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.processes.witness",
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with(os.getpid()),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._config).encode() + b"\n")
        await self._process.stdin.drain()
        if not await self._process.stdout.readline():
            raise RuntimeError("the witness did not start")
        self._reader = asyncio.create_task(self._read(self._process.stdout), name="record")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader

    def now(self, room: str) -> Sample:
        """The room's newest sample; an empty one when there is no such room."""
        return self.last(self.rooms[room][-1]) if room in self.rooms else Sample(0.0, over=True)

    def last(self, sid: str) -> Sample:
        return self.samples[sid][-1]

    def working(self, room: str) -> frozenset[str]:
        """Identities of the agents that a person can talk to now."""
        return frozenset(agent.identity for agent in self.now(room).working())

    def history(self, room: str) -> Iterator[tuple[Sample, float]]:
        """Each sample of the room and when it ended; the last ones are as long as the record."""
        for sid in self.rooms.get(room, ()):
            samples = self.samples[sid]
            ends = [s.at for s in samples[1:]] + [time.monotonic()]
            yield from ((s, end) for s, end in zip(samples, ends, strict=True) if not s.over)

    def lost(self, room: str, identity: str, *, since: float) -> float | None:
        """When that agent was first seen not to work, from `since` on; None: it worked all the time."""
        for sample, end in self.history(room):
            if end > since and all(agent.identity != identity for agent in sample.working()):
                return max(sample.at, since)
        return None

    async def wait(self, room: str, holds: Callable[[Sample], bool], *, timeout: float) -> Sample:
        """The room's first sample from now on (the present one included) that `holds`; TimeoutError."""
        async with asyncio.timeout(timeout):
            while not holds(self.now(room)):
                await self._changed.wait()
        return self.now(room)

    async def wait_working(
        self, room: str, *, other_than: Sequence[str] = (), since: float = 0.0, timeout: float
    ) -> Sample:
        """Until somebody can talk to an agent that is none of `other_than`, by a look that began after
        `since`: what is known from before a fault tells nothing. TimeoutError."""

        def works(sample: Sample) -> bool:
            return self.looked > since and any(a.identity not in other_than for a in sample.working())

        return await self.wait(room, works, timeout=timeout)

    async def wait_until_blind(self, *, timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while self._blind_since is None:
                await self._changed.wait()

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self._take(json.loads(line))
            self._changed.set()
            self._changed = asyncio.Event()

    def _take(self, told: dict[str, Any]) -> None:
        at = told["at"]
        match told:
            case {"over": sid}:
                self.samples[sid].append(Sample(at, over=True))
            case {"sid": sid, "room": room, "agents": agents, "people": people}:
                if sid not in self.samples:
                    self.rooms.setdefault(room, []).append(sid)
                there = tuple(Agent(i, name, active, n, Life(life)) for i, name, active, n, life in agents)
                self.samples.setdefault(sid, []).append(Sample(at, there, people))
            case {"looked": began}:
                self.looked = began
            case {"blind": True}:
                self._blind_since = at
            case {"blind": False} if self._blind_since is not None:
                self.blindness.append((self._blind_since, at))
                self._blind_since = None

    def describe(self, room: str) -> str:
        """The last of what was seen there, for whoever reads why a row failed."""
        now = time.monotonic()
        seen = [
            f"{s.at - now:+.2f}s {[f'{a.identity[-6:]} {a.life} {a.tracks}' for a in s.agents]}"
            for s, _ in self.history(room)
        ]
        return f"{room}: {'; '.join(seen[-8:]) or 'nothing'}"
