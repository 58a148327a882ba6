"""Everything that can happen in a history, by kind: how it is drawn, and what it does to the scene."""

from __future__ import annotations

from tests.simulation.kinds.agents import AGENTS
from tests.simulation.kinds.kind import Kind, Stage
from tests.simulation.kinds.livekit import LIVEKIT
from tests.simulation.kinds.people import PEOPLE
from tests.simulation.kinds.replicas import REPLICAS
from tests.simulation.kinds.store import STORE

KINDS: dict[str, Kind] = {kind.name: kind for kind in [*PEOPLE, *AGENTS, *LIVEKIT, *REPLICAS, *STORE]}

__all__ = ["KINDS", "Kind", "Stage"]
