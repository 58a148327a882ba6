"""The front door's stages, the signals, a real uvicorn that serves while it drains."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse

from gateway.listening import CONNECTIONS, allow_many_connections, listen
from gateway.server import Front, Signals, serve
from tests.tiers import Sum, read

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_door_is_alive_before_it_is_open() -> None:
    """A second of imports is no reason to restart the process (fact 66)."""
    front = Front()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://x") as http:
        assert (await http.get("/livez")).status_code == 200
        starting = await http.get("/readyz")
        assert (starting.status_code, starting.headers["content-type"]) == (503, "application/problem+json")

        asked = await http.post("/api/livekit/job", json={})
        assert (asked.status_code, asked.json()["success"]) == (503, False)

        front.open(PlainTextResponse("open"))
        assert (await http.get("/readyz")).text == "open"

        front.close()
        assert (await http.get("/readyz")).status_code == 503


async def test_the_second_signal_is_the_urgent_one() -> None:
    """The first asks to end, the second to end at once."""
    signals = Signals()
    signals.hear(signal.SIGTERM)
    assert (signals.end.is_set(), signals.at_once.is_set()) == (True, False)
    signals.hear(signal.SIGTERM)
    assert signals.at_once.is_set()


async def test_http_is_served_after_a_signal_until_the_block_ends() -> None:
    """uvicorn alone would refuse the probes during a drain (fact 56)."""
    signals = Signals()
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with httpx.AsyncClient() as http:
            async with serve(PlainTextResponse("here"), listener, signals):
                os.kill(os.getpid(), signal.SIGTERM)
                with anyio.fail_after(5):
                    await signals.end.wait()
                assert (await http.get(url)).text == "here"
            with pytest.raises(httpx.TransportError):
                await http.get(url)


async def test_the_sum_of_a_tier_is_what_pytest_found(tmp_path: Path) -> None:
    """Errors count as failed; a report that was never written counts nothing."""
    report = tmp_path / "unit.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>')
    assert str(read(report) + Sum(passed=1)) == "4 passed, 3 failed, 3 skipped"
    assert str(read(tmp_path / "none.xml")) == "0 passed, 0 failed"


def test_as_many_connections_are_allowed_as_the_system_lets_us() -> None:
    """Where it begins with 1024, so many idle sockets would lock everybody out. Never lowered."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(CONNECTIONS, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
