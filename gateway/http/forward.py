"""Asks another worker's own HTTP door, `POST {workerUrl}/start`, on behalf of a frontend. Only where the
operator said so, and never where a name that was changed meanwhile leads to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.metrics import Metrics

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 5.0
"""Seconds, with the wait for a place and the name's resolution: a frontend waits meanwhile."""
MOST_BYTES = 64 * 1024
"""Of an answer; it says no more than that it worked."""
AT_ONCE = 32
_LOCAL = "localhost"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forwarder:
    def __init__(self, urls: Collection[str], metrics: Metrics) -> None:
        """`urls`: base URLs that may be asked."""
        self._urls = frozenset(urls)
        self._metrics = metrics
        self._places = asyncio.Semaphore(AT_ONCE)

    def knows(self, url: str) -> bool:
        """Whether this is one that may be asked: as the operator wrote it, to the letter."""
        return url.rstrip("/") in self._urls

    async def start(self, url: str, room: str, agent: str) -> bool:
        """Ask for the agent there. False when that did not work: the keeper brings it all the same."""
        url = url.rstrip("/")
        try:
            async with asyncio.timeout(ANSWER_WITHIN), self._places:
                outcome = await self._ask(url, room, agent)
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            outcome = f"failed: {type(fault).__name__}"
        self._metrics.forwards.labels(outcome.partition(":")[0]).inc()
        if outcome != "taken":
            log.warning("worker_not_started", url=url, room=room, agent=agent, why=outcome)
        return outcome == "taken"

    async def _ask(self, url: str, room: str, agent: str) -> str:
        host, port = urlsplit(url).hostname or "", urlsplit(url).port
        addresses = await _addresses(host, port or (443 if url.startswith("https:") else 80))
        fit = [address for address in addresses if _may_be_asked(host, address)]
        if not fit:
            return "refused: the name leads to an address that is not for everybody"
        # Pinned: whoever answers for the name cannot send the connection elsewhere than what was looked at.
        connector = aiohttp.TCPConnector(resolver=_Pinned(fit[0]), use_dns_cache=False, force_close=True)
        body = {"roomName": room, "agentName": agent}
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as http,
            http.post(f"{url}/start", json=body, allow_redirects=False) as answer,
        ):
            taken = 0
            async for piece in answer.content.iter_any():
                taken += len(piece)
                if taken > MOST_BYTES:
                    return "refused: its answer is too long"
            return "taken" if 200 <= answer.status < 300 else f"failed: {answer.status}"


async def _addresses(host: str, port: int) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


def _may_be_asked(host: str, address: Address) -> bool:
    """Private networks are where workers are. Loopback and link-local (metadata services) only when the
    operator wrote just that."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    if host == _LOCAL or host.strip("[]") == str(address):
        return True
    return not (
        mapped.is_loopback
        or mapped.is_link_local
        or mapped.is_multicast
        or mapped.is_unspecified
        or mapped.is_reserved
    )


class _Pinned(AbstractResolver):
    def __init__(self, address: Address) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        version = socket.AF_INET if self._address.version == 4 else socket.AF_INET6
        return [
            ResolveResult(hostname=host, host=str(self._address), port=port, family=version, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass
