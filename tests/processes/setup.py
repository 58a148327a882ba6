"""What a row needs to be played on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

AGENT = "fault-agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a row needs. One gateway with SQLite and one livekit-server unless it says otherwise."""

    replicas: int = 1
    slots: int = 4
    module: str = "beeper"
    """Of `tests.processes.agents`."""
    redis: bool = False
    appendonly: bool = False
    """Redis has every write on disk before it answers."""
    nodes: int = 1
    """livekit-servers; several share a redis-server of their own."""
    proxied: frozenset[str] = frozenset()
    """`livekit`, `redis`: each replica's way there goes through toxiproxy."""
    meddled: bool = False
    """The first replica's way to LiveKit goes through the meddler."""
    env: Mapping[str, str] = field(default_factory=dict)
    envs: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """For single replicas, by number."""
    agents: Mapping[int, str] = field(default_factory=dict)
    """Agent names of single replicas, by number; `AGENT` else."""
    watched: str = ""
    """The witness looks at rooms whose names begin so."""
    departure_timeout: int = 20
    unready: frozenset[int] = frozenset()
    """Numbers of the replicas that will say that they are not ready."""
    redis_env: Mapping[str, str] = field(default_factory=dict)
    """Variables with which redis-server is started."""
    entry: str = "gateway"
    """The module that is run, as `python -m`."""
