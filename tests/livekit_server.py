"""A real livekit-server for tests and benches: on loopback, on free ports, ended whatever happens.

It is no model of LiveKit (that is `tests.fakes.livekit`), and it knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import server_process
from tests.server_process import ServerError, ServerProcess

BINARY = "livekit-server"
KEY = "devkey"
SECRET = "secret"
GRACE = 0.1
"""Seconds between the first SIGTERM, which waits for all participants to leave, and the second (fact 80)."""
STOP_TIMEOUT = 3.0
# Below the kernel's ephemeral range: no outgoing connection takes the port between a kill and a restart.
_ALL_PORTS = range(20000, 32000)


def own_ports(environ: Mapping[str, str]) -> range:
    """The ports that this process may give away: of several pytest workers that run side by side each has its
    own. A port that one has given away is free to the eye while nobody has bound it, as in a restart."""
    worker = environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return _ALL_PORTS[int(worker) :: int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


_PORTS = own_ports(os.environ)
_IN_TURN = itertools.cycle(random.sample(_PORTS, len(_PORTS)))


class LiveKitServer(ServerProcess):
    """One livekit-server process; `start()` after `stop()` or `kill()` brings it back on the same ports.

    `extra` overrides parts of the configuration, merged one level deep:
    `extra={"room": {"departure_timeout": 2}}`. With `webhook_urls`, events are sent there, signed with `key`.
    """

    binary = BINARY

    def __init__(
        self,
        *,
        webhook_urls: Sequence[str] = (),
        key: str = KEY,
        secret: str = SECRET,
        extra: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(free_port(socket.SOCK_STREAM))
        self.key = key
        self.secret = secret
        self._config = Path(self._tmp.name) / "livekit.yaml"
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

    def command(self) -> Sequence[str]:
        return [find_binary(), "--config", str(self._config)]

    def answers(self) -> bool:
        return answers(self.port)

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


def find_binary() -> str:
    """The path of livekit-server; raises `ServerError` when it is missing."""
    return server_process.find_binary(
        BINARY, "install a release from https://github.com/livekit/livekit/releases"
    )


def free_port(kind: socket.SocketKind) -> int:
    """A loopback port that nobody has bound now, and that was not given away before: whoever has it may be
    about to bind it."""
    for port in itertools.islice(_IN_TURN, 50):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("no free port on 127.0.0.1 between 20000 and 32000 in 50 tries")


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
