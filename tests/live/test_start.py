"""The start: what forks job processes imports beside the gateway, unless the agent turns out to need more."""

from __future__ import annotations

import psutil
import pytest

from tests.live.gateway import Gateway
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

ANEW = "forkserver_started_anew"


def forkservers(gateway: Gateway) -> list[psutil.Process]:
    return [p for p in psutil.Process(gateway.pid).children() if "forkserver" in " ".join(p.cmdline())]


async def test_the_server_that_forks_jobs_is_the_one_that_was_started_first(site: Site) -> None:
    """Before the gateway has imported livekit-agents."""
    gateway = site.gateway("tests.live.agents.beeper:server", slots=1)
    try:
        gateway.launch()
        await gateway.wait_until("/livez", 200, timeout=20)
        (early,) = forkservers(gateway)
        await gateway.wait_until("/readyz", 200, timeout=30)
        assert forkservers(gateway) == [early]
        assert early.children(), "the warm process"
        assert ANEW not in gateway.log_tail(1000)
    finally:
        await gateway.close()


async def test_it_is_started_anew_for_an_agent_that_sets_variables(site: Site) -> None:
    """Its jobs see them, as they would in a worker of livekit-agents itself. The log names them."""
    async with site.gateway("tests.live.agents.setter:server", slots=1) as gateway:
        (forkserver,) = forkservers(gateway)
        assert forkserver.environ()["FOR_ITS_JOBS"] == "to see"
        (line,) = [line for line in gateway.log_tail(1000).splitlines() if ANEW in line]
        assert "FOR_ITS_JOBS" in line
        assert "to see" not in line
