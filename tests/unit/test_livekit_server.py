"""The helper that runs a real livekit-server keeps its own promises."""

from __future__ import annotations

import pytest

from tests.livekit_server import LiveKitServer, answers, find_binary, own_ports
from tests.server_process import ServerError


@pytest.mark.needs("livekit-server")
def test_a_killed_server_comes_back_on_the_same_ports() -> None:
    """Whoever was connected finds the server where it was, as after a real restart."""
    with LiveKitServer() as server:
        first, url = server.pid, server.url
        server.kill()
        assert not answers(server.port)

        server.start()

        assert server.pid != first
        assert server.url == url
        assert answers(server.port)


@pytest.mark.needs("livekit-server")
def test_leaving_the_context_ends_the_process() -> None:
    """No test leaves a server behind."""
    with LiveKitServer() as server:
        assert server.running
    assert not server.running


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks livekit-server reads what to install, not a traceback of subprocess."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError, match="livekit-server is not on PATH"):
        find_binary()


def test_workers_side_by_side_give_away_no_port_twice() -> None:
    """A gateway that is down for a restart finds its port as it left it, whatever other tests start."""
    workers = [
        own_ports({"PYTEST_XDIST_WORKER": f"gw{number}", "PYTEST_XDIST_WORKER_COUNT": "3"})
        for number in range(3)
    ]
    assert sorted(port for ports in workers for port in ports) == list(own_ports({}))
