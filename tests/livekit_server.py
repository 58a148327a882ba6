"""A real livekit-server for tests and benches: on loopback, on free ports, ended whatever happens.

It is no model of LiveKit (that is `tests.fakes.livekit`), and it knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

BINARY = "livekit-server"
KEY = "devkey"
SECRET = "secret"
START_TIMEOUT = 15.0
"""Seconds until the server must answer; it takes about 0.2 s on an idle machine."""
GRACE = 0.1
"""Seconds between the first SIGTERM, which waits for all participants to leave, and the second (fact 80)."""
STOP_TIMEOUT = 3.0
POLL = 0.02
# Below the kernel's ephemeral range: no outgoing connection takes the port between a kill and a restart.
_PORTS = range(20000, 32000)
_IN_TURN = itertools.cycle(random.sample(_PORTS, len(_PORTS)))
_PR_SET_PDEATHSIG = 1


class LiveKitServerError(RuntimeError):
    """livekit-server is missing, or did not start; the text says what to do."""


class LiveKitServer:
    """One livekit-server process; `start()` after `stop()` or `kill()` brings it back on the same ports.

    `extra` overrides parts of the configuration, merged one level deep:
    `extra={"room": {"departure_timeout": 2}}`. With `webhook_urls`, events are sent there, signed with `key`.
    """

    def __init__(
        self,
        *,
        webhook_urls: Sequence[str] = (),
        key: str = KEY,
        secret: str = SECRET,
        extra: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.key = key
        self.secret = secret
        self.port = free_port(socket.SOCK_STREAM)
        self._process: subprocess.Popen[bytes] | None = None
        self._tmp = tempfile.TemporaryDirectory(prefix="livekit-server-")
        self._config = Path(self._tmp.name) / "livekit.yaml"
        self.log_path = Path(self._tmp.name) / "livekit.log"
        config = self._default_config(webhook_urls)
        for section, values in (extra or {}).items():
            config[section] = {**config.get(section, {}), **values}
        self._config.write_text(json.dumps(config, indent=2))  # JSON is YAML too

    def _default_config(self, webhook_urls: Sequence[str]) -> dict[str, Any]:
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.key: self.secret},
            "rtc": {
                "tcp_port": free_port(socket.SOCK_STREAM),
                "udp_port": free_port(socket.SOCK_DGRAM),
                "node_ip": "127.0.0.1",
                "use_external_ip": False,
                "enable_loopback_candidate": True,
            },
            "webhook": {"api_key": self.key, "urls": list(webhook_urls)},
            "logging": {"level": "info", "json": True},
        }

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LiveKitServerError("livekit-server is not running: call start() first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers. Does nothing while it runs."""
        if self.running:
            return self
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [find_binary(), "--config", str(self._config)],
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
                raise LiveKitServerError(f"livekit-server ended at once:\n{self.log_tail()}")
            if answers(self.port):
                return
            time.sleep(POLL)
        self.kill()
        raise LiveKitServerError(f"livekit-server gave no answer for {START_TIMEOUT} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL, as a crash would: no webhook is sent, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM twice (fact 80), SIGKILL after `STOP_TIMEOUT` seconds."""
        if self._process is None:
            return
        for patience in (GRACE, STOP_TIMEOUT):
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return
        self.kill()

    def restart(self, *, down: Callable[[], object] = lambda: None) -> None:
        """Kill the server, call `down` while it is away, start it again as it was."""
        self.kill()
        down()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop()
        self._tmp.cleanup()

    def log_tail(self, lines: int = 20) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


def find_binary() -> str:
    """The path of livekit-server; raises `LiveKitServerError` when it is missing."""
    found = shutil.which(BINARY)
    if found is None:
        raise LiveKitServerError(
            f"{BINARY} is not on PATH: install a release from https://github.com/livekit/livekit/releases"
        )
    return found


def free_port(kind: socket.SocketKind) -> int:
    """A loopback port that nobody has bound now, and that was not given away before: whoever has it may be
    about to bind it."""
    for port in itertools.islice(_IN_TURN, 50):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise LiveKitServerError("no free port on 127.0.0.1 between 20000 and 32000 in 50 tries")


def answers(port: int) -> bool:
    """Whether an HTTP server on loopback answers 200 on `/`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def die_with(parent: int) -> Callable[[], None] | None:
    """A preexec_fn that ties the child's life to this process's.

    None in a thread: the kernel would take the thread's end for the process's.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie
