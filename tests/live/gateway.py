"""The gateway as an operator runs it: `python -m gateway`, a port, a store, a log. Knows none of its code."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
from livekit import api

from tests.canary import secrets_in
from tests.live.processes import descendants, job_processes, kill_all, survivors
from tests.livekit_server import LiveKitServer, free_port

AGENT = "test-agent"
READY_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, decoded."""

    status: int
    body: dict[str, Any]

    @property
    def job(self) -> dict[str, Any]:
        """The `result` of a job request that succeeded."""
        assert self.status < 300, f"{self.status} {self.body}"
        assert self.body["success"] is True, self.body
        result = self.body["result"]
        assert isinstance(result, dict)
        return result


class Gateway:
    """One gateway with its pool; an async context manager that ends every process of it.

    The store outlives `kill` and `stop`: `start` afterwards is a restart.
    """

    def __init__(
        self,
        livekit: LiveKitServer,
        module: str | None,
        *,
        slots: int = 4,
        agent: str = AGENT,
        port: int | None = None,
        command: str = "dev",
        env: Mapping[str, str] | None = None,
        entry: str = "gateway",
    ) -> None:
        """`entry`: the module that is run, as `python -m`."""
        self._entry = entry
        self.livekit = livekit
        self.agent = agent
        self.port = port or free_port(socket.SOCK_STREAM)
        self._module = module
        self._slots = slots
        self._command = command
        self._tmp = tempfile.TemporaryDirectory(prefix="roomkeeper-")
        self._log = Path(self._tmp.name) / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._orphans: list[psutil.Process] = []
        self._env = {
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.key,
            "LIVEKIT_API_SECRET": livekit.secret,
            "LIVEKIT_AGENT_NAME": agent,
            "ROOMKEEPER_STORE": str(Path(self._tmp.name) / "roomkeeper.db"),
            **(env or {}),
        }
        self.http = httpx.AsyncClient(
            base_url=self.url, timeout=30, headers={"Authorization": f"Bearer {self._operator_token()}"}
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the gateway was never started")
        return self._process.pid

    def launch(self) -> None:
        """Start the process; does not wait until it is ready."""
        module = [self._module] if self._module else []
        command = [sys.executable, "-m", self._entry, self._command, *module]
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--slots", str(self._slots)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options],
                cwd=REPOSITORY,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def start(self) -> Self:
        """Start, and return once `/readyz` says so."""
        self.launch()
        await self.wait_until("/readyz", 200, timeout=READY_TIMEOUT)
        return self

    async def wait_until(self, path: str, status: int, *, timeout: float, every: float = 0.05) -> None:
        """Return once the path answers so; asked every so many seconds. Raises AssertionError."""
        deadline = time.monotonic() + timeout
        seen: object = "no answer"
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self._process.returncode}:\n{self.log_tail()}")
            try:
                answer = await self.http.get(path, timeout=2.0)
                seen = f"{answer.status_code} {answer.text[:500]}"
                if answer.status_code == status:
                    return
            except httpx.TransportError as error:
                seen = repr(error)
            await asyncio.sleep(every)
        raise AssertionError(
            f"{path} did not answer {status} in {timeout} s; last: {seen}\n{self.log_tail()}"
        )

    def kill(self) -> list[psutil.Process]:
        """kill -9 of the gateway itself; its children, which are left to themselves, are returned."""
        gateway, *children = self.processes()
        self._orphans += children
        gateway.kill()
        if self._process is not None:
            self._process.wait()
        return children

    def kill_what_is_left(self) -> None:
        """The gateway has ended by itself: see that its children follow, as `kill` does."""
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = STOP_TIMEOUT) -> int:
        """Send a signal and return the exit code; raises AssertionError when it does not end in time."""
        process = self._process
        if process is None:
            raise RuntimeError("the gateway was never started")
        process.send_signal(number)
        try:
            return await asyncio.to_thread(process.wait, timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the gateway runs {timeout} s after {number.name}:\n{self.log_tail()}"
            ) from None

    def processes(self) -> list[psutil.Process]:
        """The gateway's process and all its descendants."""
        return descendants(self.pid)

    def jobs(self) -> list[psutil.Process]:
        """The processes that are in a room."""
        return job_processes(self.pid, self.livekit.port)

    async def ask(self, room: str, kind: str = "start_agent", **query: float) -> Answer:
        """`POST /api/livekit/job`."""
        body = {"jobType": kind, "roomName": room, "payload": {"agentName": self.agent}}
        return answer_of(await self.http.post("/api/livekit/job", json=body, params=query))

    async def warm(self, slots: int) -> None:
        """Return once so many slots are free and have a process ready."""
        await self.wait_for_metric("roomkeeper_slots", at_least=slots, timeout=READY_TIMEOUT, state="free")
        await self.wait_for_metric("roomkeeper_warm_processes", at_least=slots, timeout=READY_TIMEOUT)

    async def wait_for_metric(self, name: str, *, at_least: float, timeout: float, **labels: str) -> None:
        deadline = time.monotonic() + timeout
        while (value := await self.metric(name, **labels)) < at_least:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{name} {labels} is {value}, not {at_least}, after {timeout} s:\n{self.log_tail()}"
                )
            await asyncio.sleep(0.05)

    async def ask_until_taken(self, room: str, *, timeout: float) -> dict[str, Any]:
        """Ask, as a frontend does, until a gateway that is starting takes the request (503 until then)."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                answer = await self.ask(room)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status != 503:
                return answer.job
            if time.monotonic() > deadline:
                raise AssertionError(f"not taken after {timeout} s: {answer}\n{self.log_tail()}")
            await asyncio.sleep(0.02)

    async def job(self, job_id: str) -> Answer:
        """`GET /api/livekit/job/{id}`."""
        return answer_of(await self.http.get(f"/api/livekit/job/{job_id}"))

    async def wait_for_state(self, job_id: str, *states: str, timeout: float) -> dict[str, Any]:
        """The job once it is in one of these states; raises AssertionError."""
        deadline = time.monotonic() + timeout
        while (job := (await self.job(job_id)).job)["state"] not in states:
            if time.monotonic() > deadline:
                raise AssertionError(f"not {' or '.join(states)} after {timeout} s: {job}\n{self.log_tail()}")
            await asyncio.sleep(0.05)
        return job

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        text = (await self.http.get("/metrics")).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(w in line for w in wanted))

    def log_tail(self, lines: int = 40) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(line[:600] for line in text.splitlines()[-lines:])

    def _operator_token(self) -> str:
        grants = api.VideoGrants(room_create=True, room_list=True, room_admin=True)
        token = api.AccessToken(self.livekit.key, self.livekit.secret)
        return token.with_identity("operator").with_grants(grants).to_jwt()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is not None:
            print(f"--- the gateway's log ---\n{self.log_tail()}")
        await self.close()

    async def close(self) -> None:
        """End all of it by force, and remove its files."""
        await self.http.aclose()
        if self._process is not None:
            everything = self.processes() + self._orphans
            kill_all(everything)
            await asyncio.to_thread(survivors, everything, timeout=5.0)
            self._process.wait()
        found = secrets_in(self._log.read_text(errors="replace")) if self._log.exists() else []
        self._tmp.cleanup()
        assert not found, f"{', '.join(found)} in the gateway's log"


def answer_of(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.json())
