"""The listening socket: bound before anything else starts, so that a taken port is the first thing said."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import StartupError

BACKLOG = 2048
CONNECTIONS = 65_536
"""Open files that are enough, where so many are allowed: many systems begin with 1024."""


def allow_many_connections() -> None:
    """Each connection is an open file, and nobody can be served when there are none left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS if hard == resource.RLIM_INFINITY else min(CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A bound TCP socket; port 0 takes a free one. Raises StartupError with what to do."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise StartupError(f"Cannot listen on {host}: {error.strerror}. Choose another --host.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)  # two that bound the same port differ only here
        except OSError as error:
            raise StartupError(
                f"Cannot listen on {host}:{port}: {error.strerror}. "
                "Choose another --port, or stop what uses it."
            ) from None
        yield listener
