"""The helper that runs a real redis-server keeps its own promises."""

from __future__ import annotations

import pytest

from tests.redis_server import RedisServer, answers, find_binary
from tests.server_process import ServerError


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize(("appendonly", "kept"), [(True, "$5"), (False, "$-1")])
def test_a_killed_server_comes_back_on_the_same_port(appendonly: bool, kept: str) -> None:
    """With its data when it writes them down."""
    with RedisServer(appendonly=appendonly) as server:
        first, url = server.pid, server.url
        server.call("SET", "key", "value")
        server.kill()
        assert not answers(server.port)

        server.start()

        assert server.pid != first
        assert server.url == url
        assert server.call("GET", "key") == kept


@pytest.mark.needs("redis-server")
def test_leaving_the_context_ends_the_process() -> None:
    """No test leaves a server behind, not even a frozen one."""
    with RedisServer() as server:
        server.freeze()
        assert server.running
    assert not server.running


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks redis-server reads what to install, not a traceback of subprocess."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerError, match="redis-server is not on PATH"):
        find_binary()
