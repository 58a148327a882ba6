"""One job of this worker: what is known of it, and whether that speaks against the worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import psutil

from pool.compat import Executor
from pool.reports import Wire

NO_WAY = "ConnectError"
"""livekit-rtc's exception for a room that could not be connected to."""


@dataclass(slots=True, eq=False)
class Job:
    """One job of this worker."""

    id: str
    executor: Executor | None = None
    """The process that has it; None while it is offered or accepted."""
    process: psutil.Process | None = None
    """The same process, safe against a reused pid; None when it died before it was looked at."""
    wire: Wire | None = None
    ended: bool = False
    """Somebody asked for its end."""
    killed: bool = False
    entered: bool = False
    connected: bool = False
    raised: str = ""
    """The type of the exception that its entrypoint raised."""
    unwanted: bool = False
    """It was not let in after it had been launched."""
    overdue: bool = False
    """It was killed since it did not get into its room in time."""
    asked: bool = False
    """It was asked whether it still answers, and has not answered yet."""
    left: bool = False
    exit_code: int | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def failed_to_join(self) -> bool:
        """Whether its end speaks against this worker. An entrypoint that raises would do so on any other, but
        for want of a way to LiveKit; one that returns has had its will."""
        if self.connected or self.unwanted:
            return False
        if self.raised:
            return self.raised == NO_WAY
        return self.overdue or (self.exit_code != 0 and not self.ended)
