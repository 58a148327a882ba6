"""A real redis-server for tests and benches: on loopback, on a free port, ended whatever happens.

It knows nothing of pytest, and nothing of Roomkeeper.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence

from tests import server_process
from tests.livekit_server import free_port
from tests.server_process import START_TIMEOUT, ServerProcess

BINARY = "redis-server"


class RedisServer(ServerProcess):
    """One redis-server process; `start()` after `kill()` brings it back on the same port with the same data.

    With `appendonly` every write is on disk before it is answered, else nothing ever is. `config` adds
    directives: `config={"maxmemory": "2mb"}`.
    """

    binary = BINARY

    def __init__(
        self,
        *,
        appendonly: bool = False,
        password: str = "",
        port: int = 0,
        config: dict[str, str] | None = None,
    ) -> None:
        super().__init__(port or free_port(socket.SOCK_STREAM))
        self.password = password
        self._directives = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": self._tmp.name,
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always" if appendonly else "no",
            **({"requirepass": password} if password else {}),
            **(config or {}),
        }

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        command = [find_binary()]
        for name, value in self._directives.items():
            command += [f"--{name}", value]
        return command

    def answers(self) -> bool:
        return answers(self.port)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing is answered. Returns once it is so."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT: what was sent meanwhile is worked off."""
        os.kill(self.pid, signal.SIGCONT)

    def call(self, *command: str) -> str:
        """One command on a connection of its own; returns the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_TIMEOUT) as connection:
            if self.password:
                connection.sendall(_encoded("AUTH", self.password))
                _first_line(connection)
            connection.sendall(_encoded(*command))
            return _first_line(connection)


def find_binary() -> str:
    """The path of redis-server; raises `ServerError` when it is missing."""
    return server_process.find_binary(BINARY, "apt-get install redis-server, or brew install redis")


def answers(port: int) -> bool:
    """Whether a Redis server on loopback has its data loaded; one that asks for a password first counts."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
        probe.sendall(_encoded("PING"))
        return _first_line(probe).startswith(("+PONG", "-NOAUTH"))
    return False


def _encoded(*command: str) -> bytes:
    parts = (part.encode() for part in command)
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _first_line(connection: socket.socket) -> str:
    with connection.makefile("rb") as answer:
        return answer.readline().decode().strip()
