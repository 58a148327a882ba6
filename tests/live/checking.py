"""`roomkeeper check` as an operator runs it, and the sites that it is run on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from livekit import api

from tests.canary import secrets_in
from tests.live.gateway import AGENT, REPOSITORY, Gateway
from tests.livekit_server import LiveKitServer, free_port

KEY = "site-key"
SECRET = "site-secret-of-more-than-32-bytes-length"
OTHER_KEY = "other-key"
OTHER_SECRET = "another-secret-of-more-than-32-bytes-length"
PREFIX = "roomkeeper-check-"


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    lines: dict[str, dict[str, str]]
    """By name."""
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A LiveKit, a gateway beside it, and the environment of both."""

    livekit: LiveKitServer
    gateway: Gateway
    env: dict[str, str]

    async def check(self, *arguments: str, **env: str) -> Done:
        """With the gateway's environment, changed by `env`."""
        process = self.begin("check", "--json", *arguments, **env)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert not secrets_in(out + err), secrets_in(out + err)
        assert "Traceback" not in err, err
        told = json.loads(out)
        return Done(process.returncode, {line["name"]: line for line in told["lines"]}, out)

    def begin(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )

    async def rooms(self) -> set[str]:
        """Names of the rooms that a check made, as LiveKit lists them."""
        async with api.LiveKitAPI(self.livekit.http_url, self.livekit.key, self.livekit.secret) as livekit:
            listed = await livekit.room.list_rooms(api.ListRoomsRequest())
        return {room.name for room in listed.rooms if room.name.startswith(PREFIX)}

    async def wait_for_want(self, state: str, *, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while state not in {want["state"] for want in await self.wants()}:
            assert time.monotonic() < deadline, f"nobody is {state} after {timeout} s"
            await asyncio.sleep(0.05)

    async def wants(self) -> list[dict[str, Any]]:
        """What the gateway knows of agents for those rooms."""
        rooms = (await self.gateway.http.get("/api/livekit/rooms")).json()["rooms"]
        return [want for room in rooms for want in room["wants"] if room["roomName"].startswith(PREFIX)]


@asynccontextmanager
async def place(
    module: str | None, *, webhooks: bool = True, extra: Mapping[str, Mapping[str, object]] | None = None
) -> AsyncIterator[Place]:
    """A production gateway with keys of its own. `extra` is for livekit-server's configuration."""
    port = free_port(socket.SOCK_STREAM)
    hooks = [f"http://127.0.0.1:{port}/api/livekit/webhook"] if webhooks else []
    more = {"keys": {OTHER_KEY: OTHER_SECRET}, **(extra or {})}
    with LiveKitServer(webhook_urls=hooks, key=KEY, secret=SECRET, extra=more) as livekit:
        async with Gateway(livekit, module, slots=2, port=port, command="start") as gateway:
            env = {
                "LIVEKIT_URL": livekit.url,
                "LIVEKIT_API_KEY": KEY,
                "LIVEKIT_API_SECRET": SECRET,
                "LIVEKIT_AGENT_NAME": AGENT,
                "ROOMKEEPER_PORT": str(port),
            }
            yield Place(livekit, gateway, env)


def _heed_ctrl_c() -> None:
    """A shell that runs the tests in the background has SIGINT ignored, in all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
