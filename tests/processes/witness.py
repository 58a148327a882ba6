"""The observer outside: a process of its own that asks LiveKit ten times a second who is in each room.

It shares no code with the gateway or the pool and believes participants only (facts 18, 75). Its clock is
the machine's monotonic one, which all processes share. Run as a module it prints one line of JSON for each
change; `tests.processes.record` reads them. It concludes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from livekit import api
from livekit.protocol.models import ParticipantInfo

from tests.processes.lives import Signature, life_of, signature_of

INTERVAL = 0.1
CALL_TIMEOUT = 1.5
CALLS_AT_ONCE = 8

Agent = tuple[str, str, bool, int, str]
"""Identity, agent name, active, tracks, life."""


class Witness:
    def __init__(self, urls: list[str], key: str, secret: str, book: Path, prefix: str) -> None:
        self._urls = urls
        self._credentials = (key, secret)
        self._book = book
        self._prefix = prefix
        self._signatures: dict[str, Signature] = {}
        self._last: dict[str, object] = {}
        self._blind = False
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def run(self) -> None:
        """Look until cancelled; the node that answered last is asked first."""
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT)
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(api.LiveKitAPI(url, *self._credentials, timeout=timeout))
                for url in self._urls
            ]
            due = time.monotonic()
            while True:
                if not await self._look(clients[0]):
                    clients.append(clients.pop(0))
                due = max(due + INTERVAL, time.monotonic())
                await asyncio.sleep(due - time.monotonic())

    async def _look(self, livekit: api.LiveKitAPI) -> bool:
        began = time.monotonic()
        try:
            rooms = (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms
            watched = [room for room in rooms if room.name.startswith(self._prefix)]
            await asyncio.gather(*(self._look_into(livekit, room.name, room.sid) for room in watched))
        except (api.TwirpError, aiohttp.ClientError, TimeoutError):
            self._tell_blindness(True)
            return False
        self._tell_blindness(False)
        for sid in self._last.keys() - {room.sid for room in watched}:
            del self._last[sid]
            tell({"over": sid})
        tell({"looked": began})
        return True

    async def _look_into(self, livekit: api.LiveKitAPI, name: str, sid: str) -> None:
        async with self._calls:
            answer = await livekit.room.list_participants(api.ListParticipantsRequest(room=name))
        agents = sorted(self._agent(p) for p in answer.participants if _is_agent(p))
        people = sum(p.kind == ParticipantInfo.Kind.STANDARD for p in answer.participants)
        seen = (agents, people)
        if self._last.get(sid) != seen:
            self._last[sid] = seen
            tell({"sid": sid, "room": name, "agents": agents, "people": people})

    def _agent(self, participant: ParticipantInfo) -> Agent:
        name = participant.attributes.get("lk.agent_name", "")  # fact 21
        active = participant.state == ParticipantInfo.State.ACTIVE
        tracks = len(participant.tracks)
        return (
            participant.identity,
            name,
            active,
            tracks,
            life_of(self._signature(participant.identity)).value,
        )

    def _signature(self, identity: str) -> Signature | None:
        if identity not in self._signatures and (found := signature_of(self._book, identity)):
            self._signatures[identity] = found
        return self._signatures.get(identity)

    def _tell_blindness(self, blind: bool) -> None:
        if blind != self._blind:
            self._blind = blind
            tell({"blind": blind})


def tell(what: dict[str, Any]) -> None:
    print(json.dumps({"at": round(time.monotonic(), 3), **what}), flush=True)


def _is_agent(participant: ParticipantInfo) -> bool:
    """An avatar publishes on behalf of an agent and is none itself."""
    return (
        participant.kind == ParticipantInfo.Kind.AGENT
        and participant.state != ParticipantInfo.State.DISCONNECTED
        and "lk.publish_on_behalf" not in participant.attributes
    )


def main() -> None:
    with contextlib.suppress(OSError):  # what it watches must not make it late, where that may be helped
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    config = json.loads(sys.stdin.readline())
    witness = Witness(config["urls"], config["key"], config["secret"], Path(config["book"]), config["prefix"])
    tell({"ready": True})
    asyncio.run(witness.run())


if __name__ == "__main__":
    main()
