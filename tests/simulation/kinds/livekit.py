"""LiveKit, its API and its webhooks fail."""

from __future__ import annotations

import random
from functools import partial

from gateway.livekit.api import NOISE
from tests.fakes.livekit_parts import Call, Fault
from tests.simulation.history import Step
from tests.simulation.kinds.kind import Fields, Kind, Stage, seconds, some_replica
from tests.simulation.scene import Scene

METHODS = (
    "CreateDispatch",
    "CreateRoom",
    "ListRooms",
    "ListParticipants",
    "RemoveParticipant",
    "PerformRpc",
    "",
)
"""The calls that the keeper makes; "" for all of them."""


def server_restart(scene: Scene, step: Step) -> None:
    """kill -9, and back after a while."""
    if not scene.livekit.up:
        return
    scene.livekit.kill()
    scene.observer.livekit_died()
    scene.during(step.lasts, partial(scene.livekit.start, after=step.lasts))


def api(scene: Scene, step: Step) -> None:
    """Calls fare badly, for a while: `how` says in which way, `who` names the method, `amount` in seconds."""
    rng = scene.rng

    def spoil(call: Call) -> Fault | None:
        if step.who not in {"", call.method} or rng.random() > 0.6:
            return None
        match step.how:
            case "lost":
                return Fault(lost="call", delay=step.amount)
            case "reply-lost":
                return Fault(lost="reply", reply_delay=step.amount)
            case "late":
                return Fault(late=step.amount)
            case "slow":
                return Fault(delay=step.amount, reply_delay=step.amount / 3)
            case _:
                return Fault(twice=True)

    scene.spoilers.append(spoil)
    scene.during(step.lasts, partial(scene.spoilers.remove, spoil))


def webhooks(scene: Scene, step: Step) -> None:
    """Webhooks are lost, doubled or late (`how`), to a share of `amount`."""
    ways = scene.webhooks
    if step.how == "late":
        ways.late = step.amount * 20.0
    else:
        setattr(ways, step.how, step.amount)
    scene.during(step.lasts, partial(setattr, ways, step.how, 0.0))


def dispatch_cache(scene: Scene, step: Step) -> None:
    """Deletions of dispatches reach their workers seconds late (fact 54)."""
    scene.livekit.termination_delay = step.amount
    scene.during(step.lasts, partial(setattr, scene.livekit, "termination_delay", 0.007))


def cut_off(scene: Scene, step: Step) -> None:
    """A replica is cut off from LiveKit: its API calls with `how` "api"; its agents and its worker as well
    with "all"."""
    replica = scene.replica(step.via)
    if not replica.up or replica.line.cut:
        return
    line, pool = replica.line, replica.pool
    line.cut = True
    if step.how == "api":
        scene.during(step.lasts, partial(setattr, line, "cut", False), replica)
        return
    pool.sever()

    def mend() -> None:
        line.cut = False
        pool.mend()

    scene.during(step.lasts, mend, replica)


def clock_off(scene: Scene, step: Step) -> None:
    """A replica's wall clock is minutes off: LiveKit refuses its tokens (fact 85)."""
    replica = scene.replica(step.via)
    if replica.up:
        line = replica.line
        line.refused = True
        scene.during(step.lasts, partial(setattr, line, "refused", False), replica)


def clock_skewed(scene: Scene, step: Step) -> None:
    """LiveKit's clock and a replica's differ by `amount` seconds, as much as goes unnoticed."""
    replica = scene.replica(step.via)
    if replica.up:
        line = replica.line
        line.ahead = step.amount
        scene.during(step.lasts, partial(setattr, line, "ahead", 0.0), replica)


def _server(rng: random.Random, stage: Stage) -> Fields:
    return {"lasts": seconds(rng, 1.0, 15.0)}


def _api(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice(["lost", "reply-lost", "late", "slow", "twice"])
    amount = {"late": seconds(rng, 0.1, 15.0), "twice": 0.0}.get(how, seconds(rng, 0.0, 4.0))
    return {"how": how, "who": rng.choice(METHODS), "amount": amount, "lasts": seconds(rng, 1.0, 20.0)}


def _webhooks(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice(["lost", "doubled", "late"])
    return {"how": how, "amount": rng.choice([0.5, 1.0]), "lasts": seconds(rng, 2.0, 40.0)}


def _cache(rng: random.Random, stage: Stage) -> Fields:
    return {"amount": seconds(rng, 0.1, 5.0), "lasts": seconds(rng, 2.0, 20.0)}


def _cut(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice(["api", "all"])
    return {**some_replica(rng, stage), "how": how, "lasts": seconds(rng, 0.5, 30.0)}


def _clock(rng: random.Random, stage: Stage) -> Fields:
    return {**some_replica(rng, stage), "lasts": seconds(rng, 3.0, 30.0)}


def _skew(rng: random.Random, stage: Stage) -> Fields:
    amount = round(rng.uniform(-NOISE, NOISE), 3)
    return {**some_replica(rng, stage), "amount": amount, "lasts": seconds(rng, 3.0, 60.0)}


LIVEKIT = [
    Kind("livekit-restart", 1.5, _server, server_restart),
    Kind("livekit-api", 3.0, _api, api),
    Kind("webhooks", 2.0, _webhooks, webhooks),
    Kind("slow-terminations", 0.5, _cache, dispatch_cache),
    Kind("cut-off-livekit", 1.5, _cut, cut_off),
    Kind("clock-off", 0.7, _clock, clock_off),
    Kind("clock-skewed", 0.7, _skew, clock_skewed),
]
