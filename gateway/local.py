"""A livekit-server of our own, for `roomkeeper dev --with-livekit`.

For one machine and for trying things out: its keys are public, and it listens on loopback only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.errors import StartupError
from pool.folders import OwnFolder

BINARY = "livekit-server"
VERSION = "v1.13.5"
USUAL_PORT = 7880

_START_TIMEOUT = 15.0
_STOP_TIMEOUT = 3.0
_POLL = 0.05
_GRACE = 0.1

HOW_TO_GET_IT = f"""livekit-server is not on PATH.
Set LIVEKIT_URL to a server you have, or get it in one of these ways:
  Linux:  curl -sSL https://get.livekit.io | bash
  macOS:  brew install livekit
  Go:     go install github.com/livekit/livekit-server/cmd/server@{VERSION}
          and rename the binary `server` to `livekit-server`"""


@contextlib.contextmanager
def livekit_server(*, key: str, secret: str, webhook_url: str) -> Iterator[str]:
    """Run a livekit-server whose webhooks go to `webhook_url`; yields its URL. Raises StartupError."""
    binary = shutil.which(BINARY)
    if binary is None:
        raise StartupError(HOW_TO_GET_IT)
    folder = OwnFolder("livekit")
    try:
        port = free_port(socket.SOCK_STREAM, USUAL_PORT)
        config = folder.path / "livekit.yaml"
        config.write_text(json.dumps(_config(port, key, secret, webhook_url)))  # JSON is YAML too
        log = folder.path / "livekit.log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603  (found on PATH, with our own configuration)
                [binary, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to hear: the agents leave first
                preexec_fn=_die_with(os.getpid()),
            )
        try:
            _wait_for(process, port, log)
            yield f"ws://127.0.0.1:{port}"
        finally:
            _stop(process)
    finally:
        folder.close()


def free_port(kind: socket.SocketKind, wanted: int = 0) -> int:
    """`wanted`, when nobody has it on loopback, else any."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise StartupError("There is no free port on 127.0.0.1.")


def _config(port: int, key: str, secret: str, webhook_url: str) -> dict[str, object]:
    return {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "keys": {key: secret},
        "rtc": {
            "tcp_port": free_port(socket.SOCK_STREAM, 7881),
            "udp_port": free_port(socket.SOCK_DGRAM, 7882),
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            "enable_loopback_candidate": True,
        },
        "webhook": {"api_key": key, "urls": [webhook_url]},
        "logging": {"level": "info"},
    }


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _answers(port):
            return
        time.sleep(_POLL)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise StartupError(f"livekit-server did not start:\n{tail}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Twice SIGTERM: after the first it waits for everybody to leave (fact 80)."""
    for patience in (_GRACE, _STOP_TIMEOUT):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    process.kill()
    process.wait()


def _die_with(parent: int) -> Callable[[], None]:
    """Run in the child: the kernel ends it when we are killed and cannot."""
    from pool.guard import die_with_parent  # imported before the fork

    def tie() -> None:
        die_with_parent()
        if os.getppid() != parent:  # killed before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return tie
