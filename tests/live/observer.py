"""An observer of rooms: polls LiveKit and records which agents each room had over time.

It shares no code with the gateway or the pool, has its own LiveKit client, and believes participants only
(facts 18, 75). A ghost counts as long as LiveKit lists it: that is what a person's client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from livekit import api
from livekit.protocol.models import ParticipantInfo

INTERVAL = 0.1
MAX_ROOMS = 64
CALL_TIMEOUT = 2.0
CALLS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """An agent participant as LiveKit listed it."""

    identity: str
    state: str
    """JOINING, JOINED, ACTIVE or DISCONNECTED."""
    tracks: tuple[str, ...] = ()
    """SIDs of its published tracks."""

    @property
    def present(self) -> bool:
        return self.state != "DISCONNECTED"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a room held from `at` (monotonic seconds) until the next sample."""

    at: float
    agents: tuple[AgentSeen, ...]

    @property
    def identities(self) -> frozenset[str]:
        return frozenset(a.identity for a in self.agents if a.present)


class Observer:
    """Watches rooms from `watch` on; an async context manager."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self._credentials = (url, key, secret)
        self._interval = INTERVAL
        self._timelines: dict[str, list[Sample]] = {}
        self._changed = asyncio.Event()
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self.polls = 0
        self.blind = 0
        """Polls that LiveKit did not answer: nothing is concluded from them."""

    async def __aenter__(self) -> Self:
        self._api = api.LiveKitAPI(*self._credentials, timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT))
        self._task = asyncio.create_task(self._run(), name="observer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._api.aclose()

    def pace(self, interval: float) -> None:
        """Look at each room every `interval` seconds."""
        self._interval = interval

    def watch(self, *rooms: str) -> None:
        """Record these rooms from now on; raises ValueError beyond `MAX_ROOMS`."""
        if len(self._timelines.keys() | set(rooms)) > MAX_ROOMS:
            raise ValueError(f"an observer watches at most {MAX_ROOMS} rooms: forget() some first")
        for room in rooms:
            self._timelines.setdefault(room, [])

    def forget(self, *rooms: str) -> None:
        for room in rooms:
            self._timelines.pop(room, None)

    def watches(self, room: str) -> bool:
        return room in self._timelines

    def timeline(self, room: str) -> list[Sample]:
        """The room's samples, oldest first: one for each change."""
        return list(self._timelines[room])

    def agents(self, room: str) -> frozenset[str]:
        """The identities of the agents that are there now."""
        samples = self._timelines[room]
        return samples[-1].identities if samples else frozenset()

    def max_agents(self, room: str) -> int:
        """The most agents that the room ever had at once."""
        return max((len(s.identities) for s in self._timelines[room]), default=0)

    def ever_two(self, room: str) -> bool:
        return self.max_agents(room) > 1

    def ever_present(self, room: str) -> frozenset[str]:
        """The identities of all agents that were ever there."""
        return frozenset().union(*(s.identities for s in self._timelines[room]))

    def first_arrival(self, room: str) -> float:
        """When (monotonic seconds) the room's first agent was seen; raises ValueError when none ever was."""
        arrival = next((s.at for s in self._timelines[room] if s.identities), None)
        if arrival is None:
            raise ValueError(f"{room} never had an agent")
        return arrival

    async def wait_until(
        self, room: str, holds: Callable[[Sample], bool], *, timeout: float, what: str
    ) -> Sample:
        """The first sample from now on (the present one included) that `holds`; raises AssertionError."""
        self.watch(room)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    samples = self._timelines[room]
                    if samples and holds(samples[-1]):
                        return samples[-1]
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{room}: no {what} within {timeout} s; {self.describe(room)}") from None

    async def wait_for_agents(self, room: str, count: int, *, timeout: float) -> Sample:
        """Wait until exactly `count` agents are in the room."""
        return await self.wait_until(
            room, lambda s: len(s.identities) == count, timeout=timeout, what=f"{count} agents"
        )

    async def wait_for_only(self, room: str, identity: str, *, timeout: float) -> None:
        """Wait until that agent is the only one in the room."""
        await self.wait_until(
            room, lambda s: s.identities == {identity}, timeout=timeout, what=f"room with {identity} only"
        )

    async def wait_for_other_agent(self, room: str, *former: str, timeout: float) -> str:
        """Wait until an agent is there and none of `former` is; returns its identity."""
        sample = await self.wait_until(
            room,
            lambda s: bool(s.identities) and s.identities.isdisjoint(former),
            timeout=timeout,
            what=f"agent other than {former}",
        )
        return next(iter(sample.identities))

    def published(self, room: str) -> tuple[str, ...]:
        """SIDs of the tracks that agents publish in the room now (fact 91)."""
        samples = self._timelines[room]
        return tuple(t for a in samples[-1].agents for t in a.tracks) if samples else ()

    def describe(self, room: str) -> str:
        now = time.monotonic()
        seen = [
            f"{s.at - now:+.2f}s {[f'{a.identity} {a.state}' for a in s.agents]}"
            for s in self._timelines[room]
        ]
        return f"seen: {'; '.join(seen) or 'nothing'} ({self.blind} of {self.polls} polls unanswered)"

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            await asyncio.gather(*(self._poll(room) for room in list(self._timelines)))
            due = max(due + self._interval, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _poll(self, room: str) -> None:
        self.polls += 1
        try:
            async with self._calls:
                answer = await self._api.room.list_participants(api.ListParticipantsRequest(room=room))
        except (api.TwirpError, aiohttp.ClientError, TimeoutError):
            self.blind += 1
            return
        agents = tuple(sorted((_agent(p) for p in answer.participants if _is_agent(p)), key=_identity))
        samples = self._timelines.get(room)
        if samples is not None and (not samples or samples[-1].agents != agents):
            samples.append(Sample(time.monotonic(), agents))
            self._changed.set()
            self._changed = asyncio.Event()


def _is_agent(participant: ParticipantInfo) -> bool:
    """An avatar publishes on behalf of an agent and is none itself."""
    return (
        participant.kind == ParticipantInfo.Kind.AGENT
        and "lk.publish_on_behalf" not in participant.attributes
    )


def _agent(participant: ParticipantInfo) -> AgentSeen:
    return AgentSeen(
        participant.identity,
        ParticipantInfo.State.Name(participant.state),
        tuple(track.sid for track in participant.tracks),
    )


def _identity(agent: AgentSeen) -> str:
    return agent.identity
