"""A stock livekit-agents worker as its authors run it: `python -m MODULE start`, with LiveKit's defaults."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.live.gateway import REPOSITORY
from tests.live.processes import descendants, job_processes, kill_all, survivors
from tests.livekit_server import LiveKitServer

STOCK_AGENT = "stock-agent"
REGISTERED = "registered worker"
INITIALIZED = "process initialized"
START_TIMEOUT = 30.0


class StockWorker:
    """One worker; an async context manager that ends every process of it."""

    def __init__(self, livekit: LiveKitServer, module: str, *, agent: str = STOCK_AGENT) -> None:
        self.livekit = livekit
        self.agent = agent
        self._module = module
        self._tmp = tempfile.TemporaryDirectory(prefix="stock-worker-")
        self._log = Path(self._tmp.name) / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def warm(self, count: int) -> None:
        """Return once so many processes were initialized, as its log tells."""
        deadline = time.monotonic() + START_TIMEOUT
        while (ready := self._log.read_text(errors="replace").count(INITIALIZED)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{ready} processes, not {count}, got warm:\n{self.log_tail()}")
            await asyncio.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """The worker's process and all its descendants."""
        return descendants(self._process.pid) if self._process else []

    def jobs(self) -> list[psutil.Process]:
        """The processes that are in a room."""
        return job_processes(self._process.pid, self.livekit.port) if self._process else []

    def log_tail(self, lines: int = 20) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])

    async def __aenter__(self) -> Self:
        env = {
            "LIVEKIT_URL": self.livekit.url,
            "LIVEKIT_API_KEY": self.livekit.key,
            "LIVEKIT_API_SECRET": self.livekit.secret,
            "LIVEKIT_AGENT_NAME": self.agent,
        }
        with self._log.open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [sys.executable, "-m", self._module, "start"],
                cwd=REPOSITORY,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            await self._registered(self._process)
        except BaseException:
            await self.close()
            raise
        return self

    async def _registered(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while REGISTERED not in self._log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stock worker did not register:\n{self.log_tail()}")
            await asyncio.sleep(0.05)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._process is not None:
            everything = descendants(self._process.pid)
            kill_all(everything)
            await asyncio.to_thread(survivors, everything, timeout=5.0)
            self._process.wait()
        self._tmp.cleanup()
