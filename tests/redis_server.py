"""A real redis-server for tests and benches: on loopback, on a free port, ended whatever happens.

It knows nothing of pytest, and nothing of Roomkeeper.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.livekit_server import die_with, free_port

BINARY = "redis-server"
START_TIMEOUT = 15.0
"""Seconds until the server must answer; it takes about 0.05 s on an idle machine."""
POLL = 0.01


class RedisServerError(RuntimeError):
    """redis-server is missing, or did not start; the text says what to do."""


class RedisServer:
    """One redis-server process; `start()` after `kill()` brings it back on the same port with the same data.

    With `appendonly` every write is on disk before it is answered, else nothing ever is. `config` adds
    directives: `config={"maxmemory": "2mb"}`.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        password: str = "",
        port: int = 0,
        config: dict[str, str] | None = None,
    ) -> None:
        self.port = port or free_port(socket.SOCK_STREAM)
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._tmp = tempfile.TemporaryDirectory(prefix="redis-server-")
        self.log_path = Path(self._tmp.name) / "redis.log"
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

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RedisServerError("redis-server is not running: call start() first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers. Does nothing while it runs."""
        if self.running:
            return self
        command = [find_binary()]
        for name, value in self._directives.items():
            command += [f"--{name}", value]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with(os.getpid()),  # a killed test run leaves no server behind
            )
        self._wait_until_it_answers()
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if not self.running:
                raise RedisServerError(f"redis-server ended at once:\n{self.log_tail()}")
            if answers(self.port):
                return
            time.sleep(POLL)
        self.kill()
        raise RedisServerError(f"redis-server gave no answer for {START_TIMEOUT} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

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

    def close(self) -> None:
        """Kill the server and remove its files."""
        self.kill()
        self._tmp.cleanup()

    def log_tail(self, lines: int = 20) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


def find_binary() -> str:
    """The path of redis-server; raises `RedisServerError` when it is missing."""
    found = shutil.which(BINARY)
    if found is None:
        raise RedisServerError(
            f"{BINARY} is not on PATH: apt-get install redis-server, or brew install redis"
        )
    return found


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
