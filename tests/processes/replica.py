"""One gateway of several: a store that may be shared, and what is done to its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx
import psutil

from tests.live.gateway import Gateway, answer_of
from tests.live.processes import job_processes, kill_all
from tests.livekit_server import LiveKitServer

ASK_TIMEOUT = 5.0
PATIENCE = 120.0
"""Seconds in which several gateways that start at once are ready."""


class Replica(Gateway):
    """`env` says which store and, when a proxy is between, at which port LiveKit is."""

    def __init__(
        self,
        number: int,
        livekit: LiveKitServer,
        module: str,
        *,
        slots: int,
        agent: str,
        env: Mapping[str, str],
        livekit_port: int,
        entry: str = "gateway",
    ) -> None:
        super().__init__(livekit, module, slots=slots, agent=agent, env=env, entry=entry)
        self.number = number
        self.livekit_port = livekit_port
        self.launched = 0.0
        self.starts = False
        """It was started, and has not been ready since: nobody would send it a request."""

    def jobs(self) -> list[psutil.Process]:
        return job_processes(self.pid, self.livekit_port)

    def launch(self) -> None:
        self.launched = time.monotonic()
        super().launch()

    async def start(self) -> Self:
        """Start, and return once `/readyz` says so. Patient: how fast it is on a busy machine is no row's
        business."""
        self.launch()
        self.starts = True
        await self.wait_until("/readyz", 200, timeout=PATIENCE)
        self.starts = False
        return self

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def die(self) -> None:
        """The machine is gone: SIGKILL of every process at once."""
        everything = self.processes()
        self._orphans += everything[1:]
        kill_all(everything)
        if self._process is not None:
            self._process.wait()

    def freeze(self, *, tree: bool = True) -> list[psutil.Process]:
        """SIGSTOP of the gateway, and of all its descendants with `tree`; returns who was stopped."""
        frozen = self.processes() if tree else self.processes()[:1]
        return [p for p in frozen if _send(p, signal.SIGSTOP)]

    def thaw(self, frozen: Sequence[psutil.Process]) -> None:
        for process in frozen:
            _send(process, signal.SIGCONT)

    async def post(
        self, room: str, agent: str = "", *, kind: str = "start_agent", timeout: float = ASK_TIMEOUT
    ) -> httpx.Response | None:
        """What a POST was answered with, whatever it was; None: no answer."""
        body = {"jobType": kind, "roomName": room, "payload": {"agentName": agent or self.agent}}
        try:
            return await self.http.post("/api/livekit/job", json=body, timeout=timeout)
        except httpx.TransportError:
            return None

    async def try_ask(self, room: str, agent: str = "") -> dict[str, Any] | None:
        """The job that a POST was answered with; None when it was not accepted (503, no answer)."""
        response = await self.post(room, agent)
        return answer_of(response).job if response is not None and response.status_code < 500 else None

    async def wants(self) -> list[dict[str, Any]]:
        """All wants as an operator sees them; [] when there is no answer."""
        try:
            answer = await self.http.get("/api/livekit/rooms", timeout=1.0)
        except httpx.TransportError:
            return []
        if answer.status_code != 200:
            return []
        return [want for room in answer.json()["rooms"] for want in room["wants"]]

    async def count(self, name: str, **labels: str) -> float:
        """A metric's sum; 0 when there is no answer."""
        try:
            return await self.metric(name, **labels)
        except httpx.TransportError:
            return 0.0

    async def close(self) -> None:
        """Whatever was frozen is thawed first: a stopped process reads no end of its parent's life."""
        with contextlib.suppress(RuntimeError):
            self.thaw(self.processes())
        await super().close()

    def leave_in_background(self) -> asyncio.Task[int]:
        """SIGTERM; the task ends with its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return asyncio.create_task(asyncio.to_thread(self._process.wait), name=f"leaving-{self.number}")


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True
