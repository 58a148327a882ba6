"""Plays one history and prints everything that happens in it: steps, LiveKit's events, what the keepers
log."""

from __future__ import annotations

from typing import Any

import structlog
import trio

from gateway.livekit.webhooks import Event
from tests.simulation.clock import remember_swallowed
from tests.simulation.history import History
from tests.simulation.play import Outcome, play
from tests.simulation.scene import Scene


def replay(history: History) -> Outcome:
    structlog.reset_defaults()
    structlog.configure(processors=[remember_swallowed, _print_log])
    print(history)
    outcome = play(history, tell=print, watch=_watch)
    print(*(outcome.broken or ["every promise was kept"]), sep="\n")
    return outcome


def _watch(scene: Scene) -> None:
    def hear(event: Event) -> None:
        who = event.participant
        words = "" if who is None else f"{who.identity} {who.disconnect_reason}"
        print(
            f"{trio.current_time():8.3f}   livekit: {event.event} {event.room.name} {event.room.sid} {words}"
        )

    scene.livekit.on_event.append(hear)


def _print_log(logger: Any, method: str, event: structlog.types.EventDict) -> Any:
    words = " ".join(f"{name}={value}" for name, value in event.items() if name not in {"event", "agent"})
    print(f"{trio.current_time():8.3f}     keeper: {event['event']} {words}")
    raise structlog.DropEvent
