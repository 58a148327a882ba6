"""What is going on when a gateway is killed at a crash point.

Each scene arms the bomb, and returns whether the room's wish was accepted; who got no answer does it `AGAIN`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import httpx

from tests.processes.minefield import REACHED, SAID, Minefield, until
from tests.processes.points import Point, Scene
from tests.processes.rooms import SERVED
from tests.processes.setup import AGENT

NOBODY = "nobody"
GUEST = "guest"


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

    await until(answered, REACHED)
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


async def ask(field: Minefield, room: str) -> None:
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

    await until(joined, SAID)


async def _invited(field: Minefield, room: str) -> bool:
    field.here.asked(room)
    body = {"room": room, "identity": GUEST, "room_config": {"agents": [{"agent_name": AGENT}]}}
    try:
        return (await field.here.replica.http.post("/api/token", json=body)).status_code < 300
    except httpx.TransportError:
        return False


def _accepted(answer: httpx.Response | None) -> bool:
    return answer is not None and answer.status_code < 300
