"""How a look at a room went."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.keeper.model import Unknown


@dataclass(frozen=True, slots=True)
class Look:
    due: float | None = None
    """When to look again; None: when something happens."""
    unknown: str = ""
    """What could not be told; the room comes again with a back-off."""
    nodeless: bool = False
    """LiveKit cannot reach the room's node."""


def could_not_tell(answer: Unknown) -> Look:
    return Look(unknown=answer.why, nodeless=answer.nodeless)
