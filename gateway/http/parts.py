"""What the routes may use, as one value. Built by the composition root, never here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.http.forward import Forwarder
from gateway.http.heard import Heard
from gateway.http.listeners import Listeners
from gateway.http.rates import Rates
from gateway.http.site_login import SiteLogin
from gateway.keeper.keeper import Keeper
from gateway.keeper.ports import Clock
from gateway.keeper.reports import Health
from gateway.metrics import Metrics
from gateway.sessions.sessions import Sessions
from gateway.settings import Settings
from gateway.traces import Traces
from pool.ports import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    settings: Settings
    keeper: Keeper
    workers: Workers
    metrics: Metrics
    keys: dict[str, str]
    """API key to secret; several while keys are rotated. Never logged."""
    sessions: Sessions
    forwarder: Forwarder
    """Other workers' own doors."""
    site: SiteLogin
    """The site's own login; asked only where one is set."""
    listeners: Listeners
    """Who waits for something here."""
    rates: Rates
    """How often somebody may ask."""
    probe_livekit: Callable[[], Awaitable[Health]]
    """One quick call to LiveKit: reachable, our keys accepted, clocks together."""
    draining: Callable[[], bool]
    """This process was told to end and admits nothing new."""
    clock: Clock
    heard: Heard = field(default_factory=Heard)
    """Which webhooks came lately."""
    traces: Traces | None = None
    """None: nothing is traced."""


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts
