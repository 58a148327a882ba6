"""How long what is not as it should be may stay so. In calm, for as long as the keeper's own time-outs take;
after a fault that explains more, for longer: the tables say which. Without such a fault never as long as the
keeper's sweep through all rooms (60 s): else the sweep would hide every lost wake-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.simulation.excuses import HANDS_OVER
from tests.simulation.faults import Faults

SERVED = 15.0
"""Seconds in which, in calm, an accepted ask has a working agent, one that died or went deaf is replaced,
and one that is not wanted is gone. A dispatch that is lost takes 4 s, a claim that is not taken up 8 s, the
next comparison 10 s."""

SETTLES: Mapping[str, float] = {
    "enters-freeze": 25.0,  # a launched process has 15 s to enter its room
    "enters-hang": 40.0,  # an agent in its room has 30 s to open its session
    "livekit-restart": 20.0,
    "agent-frozen": 20.0,
    "cut-off-livekit": 20.0,
    "clock-off": 20.0,
    "dispatch-behind": 20.0,
    "livekit-api": 20.0,
    "person-crash": 20.0,
    "replica-ends": 20.0,
    HANDS_OVER: 20.0,
    "replica-frozen": 20.0,
    "replica-killed": 20.0,
    "slow-terminations": 20.0,
    "store-away": 20.0,
    "store-failover": 20.0,
    "store-restart": 20.0,
    "store-slow": 20.0,
    "store-unreliable": 20.0,
    "store-wiped": 20.0,
    "cut-off-store": 20.0,
    "webhooks": 20.0,
    "worker-dawdles": 20.0,
    "worker-declines": 20.0,
    "worker-forgotten": 20.0,
    "worker-full": 20.0,
    "worker-mute": 20.0,
}
"""Faults that explain why something is not in order, and by how many seconds after the end of each it is
again."""

FAILURES: Mapping[str, int] = {
    **dict.fromkeys(("agent-dies", "agent-raises", "session-fails"), 1),
    **dict.fromkeys(("enters-raise", "enters-freeze", "enters-hang"), 1),
    "worker-mute": 2,
    "replica-frozen": 3,  # so is its worker: dispatches are lost
    "worker-dawdles": 3,
    "worker-declines": 5,
    "store-unreliable": 5,  # one whose answer gets lost counts again
}
"""As how many failures in a row each may count: the back-off is doubled with each."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
NO_STREAK = 60.0
"""An agent that has worked for 30 s begins anew."""

UNHEARD: Mapping[str, float] = {
    "webhooks": 80.0,
}
"""Where a person's join calls for an agent: faults in which nobody may hear of it. Whoever left and came back
between two comparisons is found by the sweep (60 s)."""


NOTED = 6.0
"""Seconds after which, in calm, no replica says `joined` of an agent that is out of its room (I7)."""
CALM: Mapping[str, float] = {
    **dict.fromkeys(SETTLES, NOTED),
    # Looks that told nothing are put off for up to 6.25 s.
    **dict.fromkeys(("livekit-api", "livekit-restart", "cut-off-livekit", "clock-off"), 4.0 + NOTED),
    **dict.fromkeys(("store-away", "cut-off-store", "store-unreliable"), 4.0 + NOTED),
}
"""Faults in which nobody may have heard of that; the others are told at once. Calm is so many seconds after
the end of the last of them."""

ROOMLESS: Mapping[str, float] = dict.fromkeys(
    (
        *("livekit-restart", "cut-off-livekit", "clock-off", "livekit-api"),
        *("replica-killed", "replica-ends", "replica-frozen"),
        *("store-away", "cut-off-store", "store-unreliable", "store-slow"),
    ),
    40.0,
)
"""Where there is no room (any more) after LiveKit restarted: it is waited for, for 30 s from when somebody
leads who looks."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something is not as it should be now."""

    what: str
    """Stays the same as long as it lasts."""
    text: str
    room: str = ""
    untrue: bool = False
    """Not something that is missing, but something that is said of what is not so (I7)."""
    explained: Mapping[str, float] = field(default_factory=dict)
    """What explains it beside `SETTLES`."""


class Patience:
    """Since when each complaint stands, and for how long it may."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._since: dict[str, float] = {}

    def overdue(self, complaints: Sequence[Complaint], now: float) -> list[str]:
        """Those that stand for too long, of all that stand now."""
        self._since = {c.what: self._since.get(c.what, now) for c in complaints}
        return [
            f"{c.text} (for {now - self._since[c.what]:.1f} s)" for c in complaints if now > self._until(c)
        ]

    def _until(self, complaint: Complaint) -> float:
        since = self._since[complaint.what]
        if complaint.untrue:
            return max(since + NOTED, self._faults.over_by(CALM))
        return max(
            since + SERVED,
            self._faults.over_by(SETTLES),
            self._faults.over_by(self._tries(since)),
            self._faults.over_by(complaint.explained),
        )

    def _tries(self, since: float) -> Mapping[str, float]:
        """With the back-off after so many failures."""
        lately = [s for s in self._faults.of(FAILURES) if s.ended > since - NO_STREAK]
        failures = sum(FAILURES[spell.kind] for spell in lately)
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (failures - 1))
        return {kind: SETTLES.get(kind, SERVED) + backoff for kind in FAILURES}
