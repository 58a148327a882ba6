"""What can go wrong in the pool for a reason that an operator can mend; each text says how."""

from __future__ import annotations


class PoolError(Exception):
    """The root of the pool's errors."""


class LoadError(PoolError):
    """The agent's module could not be loaded, or is no `AgentServer`."""
