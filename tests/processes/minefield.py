"""One gateway with a bomb in it, over a real store: it is killed at one crash point after the other.

What was accepted is served after the restart without being asked again; who got no answer asks again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.processes.building import stage
from tests.processes.crashing import BOMB
from tests.processes.outcome import Outcome
from tests.processes.points import Point, Scene
from tests.processes.rooms import SERVED
from tests.processes.setup import AGENT, Setup
from tests.processes.stage import Stage

REACHED = 15.0
"""Seconds within which a scene must come to the call."""
HEALED = 30.0
"""Seconds from the kill to an agent: a start, the lapse of the lead before it, a ghost, a dispatch."""
SAID = 10.0
ORPHANED = 2.0
NOBODY = "nobody"
GUEST = "guest"
SLOTS = 2
LOOK = 0.02


@dataclass(slots=True)
class Minefield:
    here: Stage
    bomb: Path

    async def crash(self, point: Point) -> None:
        """Play the scene until the gateway ends at that point; start it again, and see that all is well."""
        here, outcome = self.here, self.here.outcome
        room = here.name(point.scene)
        outcome.add("points", 1)
        accepted = await SCENES[point.scene](self, room, point)
        if not await self._ended():
            outcome.violate("failed", f"{point} was never reached\n{here.replica.log_tail(20)}")
            self.bomb.unlink(missing_ok=True)
        outcome.add("accepted" if accepted else "requests_without_an_answer", 1)
        since = time.monotonic()
        if not here.replica.alive:
            with suppress(TimeoutError):  # whoever outlives the gateway is ended by the next one
                await here.record.wait(room, lambda s: not s.working(), timeout=ORPHANED)
            await here.replica.start()
        if not accepted:
            await AGAIN.get(point.scene, _ask)(self, room)
        if point.scene is Scene.STOP:
            await self._stays_stopped(room, point)
        elif not await self._is_served(room, point, since) and accepted:
            outcome.add("accepted_lost", 1)
        await self._clear(room)

    def arm(self, point: Point) -> None:
        draft = self.bomb.with_suffix(".draft")
        draft.write_text(point.fuse)
        draft.rename(self.bomb)

    async def _ended(self) -> bool:
        """Whether it is the bomb that ended the gateway."""

        async def dead() -> bool:
            return not self.here.replica.alive

        return await _until(dead, REACHED) and not self.bomb.exists()

    async def _is_served(self, room: str, point: Point, since: float) -> bool:
        """One agent is there, and the gateway says so (I7)."""
        here = self.here
        if not await here.heal(room, since=since, limit=HEALED):
            here.outcome.violate("I2", f"forgotten after a kill at {point}")
            return False

        async def told() -> bool:
            return await self.said(room) == ("joined", here.record.working(room))

        if not await _until(told, SAID):
            said = await self.said(room)
            here.outcome.violate("I7", f"{point}: {said} is said. {here.record.describe(room)}")
        await here.calm([room], seconds=1)
        return True

    async def said(self, room: str) -> tuple[str, frozenset[str]]:
        wants = [want for want in await self.here.replica.wants() if want["roomName"] == room]
        return (wants[0]["state"], frozenset({wants[0]["agentIdentity"]})) if wants else ("", frozenset())

    async def _stays_stopped(self, room: str, point: Point) -> None:
        state, _ = await self.said(room)
        if state != "stopped":
            self.here.outcome.violate("I5", f"{state}, though stopped, after a kill at {point}")

    async def _clear(self, room: str) -> None:
        """The room ends, and the gateway is done with it."""

        async def forgotten() -> bool:
            return (await self.said(room))[0] in {"", "finished", "stopped"}

        await self.here.end(room)
        await _until(forgotten, SERVED)
        await self.here.replica.warm(SLOTS)


@asynccontextmanager
async def minefield(outcome: Outcome, *, redis: bool) -> AsyncIterator[Minefield]:
    with tempfile.TemporaryDirectory(prefix="bomb-") as folder:
        bomb = Path(folder) / "bomb"
        env = {BOMB: str(bomb), "ROOMKEEPER_DRAIN_TIMEOUT": "1"}
        setup = Setup(slots=SLOTS, redis=redis, entry="tests.processes.crashing", env=env)
        async with stage(setup, outcome) as here:
            yield Minefield(here, bomb)


# ---- scenes: each returns whether the room's wish was accepted


async def _post(field: Minefield, room: str, point: Point) -> bool:
    field.here.asked(room)
    field.arm(point)
    return _accepted(await field.here.replica.post(room))


async def _kill(field: Minefield, room: str, point: Point) -> bool:
    await _served(field, room)
    field.arm(point)
    os.kill(field.here.pid_of(field.here.agent_of(room)), signal.SIGKILL)
    return True


async def _start(field: Minefield, room: str, point: Point) -> bool:
    await _served(field, room)
    field.here.replica.kill()
    field.arm(point)
    field.here.replica.launch()
    return True


async def _early(field: Minefield, room: str, point: Point) -> bool:
    field.here.asked(room)
    field.here.replica.kill()
    field.arm(point)
    field.here.replica.launch()
    accepted = False

    async def answered() -> bool:
        nonlocal accepted
        accepted = _accepted(await field.here.replica.post(room))
        return accepted or not field.here.replica.alive

    await _until(answered, REACHED)
    return accepted


async def _token(field: Minefield, room: str, point: Point) -> bool:
    field.arm(point)
    accepted = await _invited(field, room)
    if accepted:
        await field.here.join(room, identity=GUEST)
    return accepted


async def _list(field: Minefield, room: str, point: Point) -> bool:
    await _served(field, room)
    field.arm(point)
    await field.here.replica.wants()
    return True


async def _stop(field: Minefield, room: str, point: Point) -> bool:
    replica = field.here.replica
    dispatches = await replica.metric("roomkeeper_dispatches_total")
    await replica.post(room, NOBODY)
    await replica.wait_for_metric("roomkeeper_dispatches_total", at_least=dispatches + 1, timeout=SAID)
    field.arm(point)
    return _accepted(await replica.post(room, NOBODY, kind="stop_agent"))


async def _term(field: Minefield, room: str, point: Point) -> bool:
    await _served(field, room)
    field.arm(point)
    os.kill(field.here.replica.pid, signal.SIGTERM)
    return True


SCENES: dict[Scene, Callable[[Minefield, str, Point], Awaitable[bool]]] = {
    Scene.POST: _post,
    Scene.KILL: _kill,
    Scene.START: _start,
    Scene.EARLY: _early,
    Scene.TOKEN: _token,
    Scene.LIST: _list,
    Scene.STOP: _stop,
    Scene.TERM: _term,
}


# ---- what is done in them


async def _ask(field: Minefield, room: str) -> None:
    await field.here.ask(room)


async def _invite_again(field: Minefield, room: str) -> None:
    if not await _invited(field, room):
        raise AssertionError("no token")
    await field.here.join(room, identity=GUEST)


async def _stop_again(field: Minefield, room: str) -> None:
    await field.here.replica.post(room, NOBODY, kind="stop_agent")


AGAIN: dict[Scene, Callable[[Minefield, str], Awaitable[None]]] = {
    Scene.TOKEN: _invite_again,
    Scene.STOP: _stop_again,
}
"""What somebody does who got no answer; they ask, else."""


async def _served(field: Minefield, room: str) -> None:
    await field.here.ask(room)
    await field.here.record.wait_working(room, timeout=SERVED)

    async def joined() -> bool:
        return (await field.said(room))[0] == "joined"

    await _until(joined, SAID)


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it came to that in so many seconds."""
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK)
    return True


async def _invited(field: Minefield, room: str) -> bool:
    field.here.asked(room)
    body = {"room": room, "identity": GUEST, "room_config": {"agents": [{"agent_name": AGENT}]}}
    try:
        return (await field.here.replica.http.post("/api/token", json=body)).status_code < 300
    except httpx.TransportError:
        return False


def _accepted(answer: httpx.Response | None) -> bool:
    return answer is not None and answer.status_code < 300
