"""A real toxiproxy-server: faults on the wire between the gateways, LiveKit and Redis. It knows neither."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from tests.livekit_server import free_port
from tests.server_process import die_with

BINARY = "toxiproxy-server"
START_TIMEOUT = 10.0
POLL = 0.02


class ToxiproxyError(RuntimeError):
    """toxiproxy-server is missing, or did not start; the text says what to do."""


class Toxiproxy:
    """One toxiproxy-server process; an async context manager."""

    def __init__(self) -> None:
        self._port = free_port(socket.SOCK_STREAM)
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=5.0)

    async def __aenter__(self) -> Self:
        binary = shutil.which(BINARY)
        if binary is None:
            raise ToxiproxyError(f"{BINARY} is not on PATH: `make toxiproxy` builds it")
        command = [binary, "-host", "127.0.0.1", "-port", str(self._port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(  # noqa: ASYNC220  (returns at once)
            command, stdin=quiet, stdout=quiet, stderr=quiet, preexec_fn=die_with(os.getpid())
        )
        await self._until_it_answers()
        return self

    async def _until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                await self._http.get("/version")
            except httpx.TransportError:
                time.sleep(POLL)  # noqa: ASYNC251  (nothing else runs yet)
            else:
                return
        raise ToxiproxyError(f"{BINARY} gave no answer for {START_TIMEOUT} s")

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def proxy(self, name: str, upstream_port: int) -> Link:
        """A link to a port on loopback, healthy at first."""
        port = free_port(socket.SOCK_STREAM)
        body = {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream_port}"}
        (await self._http.post("/proxies", json=body)).raise_for_status()
        return Link(self._http, name, port)


@dataclass(frozen=True, slots=True)
class Link:
    """One way through the proxy; clients connect to `port`. Faults hold until `heal`."""

    _http: httpx.AsyncClient
    name: str
    port: int

    async def cut(self) -> None:
        """Connections are closed, new ones refused: a host that says no."""
        await self._set({"enabled": False})

    async def hang(self) -> None:
        """Half-open: connections stay, new ones are taken, no byte passes either way."""
        for stream in ("upstream", "downstream"):
            await self._add("timeout", stream, timeout=0)

    async def slow(self, milliseconds: int) -> None:
        """Half of it on the way there, half on the way back."""
        for stream in ("upstream", "downstream"):
            await self._add("latency", stream, latency=milliseconds // 2)

    async def reset(self, share: float) -> None:
        """That share of the connections made from now on is reset when first used."""
        await self._add("reset_peer", "upstream", toxicity=share, timeout=0)

    async def lead_to(self, port: int) -> None:
        """Another upstream, as a load balancer does: what is open is closed."""
        await self._set({"upstream": f"127.0.0.1:{port}"})

    async def heal(self) -> None:
        toxics = (await self._http.get(f"/proxies/{self.name}/toxics")).json()
        for toxic in toxics:
            (await self._http.delete(f"/proxies/{self.name}/toxics/{toxic['name']}")).raise_for_status()
        await self._set({"enabled": True})

    async def _add(self, kind: str, stream: str, *, toxicity: float = 1.0, **attributes: int) -> None:
        body = {"type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        (await self._http.post(f"/proxies/{self.name}/toxics", json=body)).raise_for_status()

    async def _set(self, body: dict[str, bool | str]) -> None:
        (await self._http.post(f"/proxies/{self.name}", json=body)).raise_for_status()
