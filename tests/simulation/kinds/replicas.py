"""Gateways are killed, ended, stopped."""

from __future__ import annotations

import math
import random
from functools import partial

from gateway.keeper.handover import HANDOVER_TIMEOUT
from tests.fakes.pool_jobs import Frozen
from tests.simulation.excuses import HANDS_OVER
from tests.simulation.history import Step
from tests.simulation.kinds.kind import Fields, Kind, Stage, seconds, some_replica
from tests.simulation.replica import LEAVES
from tests.simulation.scene import Scene


def kill(scene: Scene, step: Step) -> None:
    """kill -9 of the gateway; its jobs die with it. Another process takes its place after a while."""
    replica = scene.replica(step.via)
    if replica.up:
        replica.kill()
        scene.during(step.lasts, partial(scene.start, replica), replica)


def end(scene: Scene, step: Step) -> None:
    """SIGTERM: it drains for `amount` seconds, and then hands over what is left (`how`), or cuts it. Another
    process takes its place when it is over."""
    replica = scene.replica(step.via)
    if not replica.up or replica.draining:
        return
    pool = replica.pool
    hands_over = step.how == HANDS_OVER

    async def work() -> None:
        await replica.end(step.amount, hands_over=hands_over)

    def again() -> None:
        for spell in scene.faults.of((HANDS_OVER,)):
            if spell.via == replica.number and spell.ended == math.inf:
                scene.faults.end(spell)
        if replica.up and replica.pool is pool:
            replica.kill()
        scene.later(0.1, partial(scene.start, replica))

    scene.spawn(work)
    more = HANDOVER_TIMEOUT + LEAVES if hands_over else 0.0
    scene.during(step.amount + step.lasts + 1.0 + more, again, replica)


def freeze(scene: Scene, step: Step) -> None:
    """SIGSTOP: of the gateway's own process, or of all its jobs as well (`how`)."""
    replica = scene.replica(step.via)
    if not replica.up or replica.frozen is not Frozen.NOTHING:
        return
    pool = replica.pool
    replica.freeze(Frozen(step.how))

    def thaw() -> None:
        if replica.pool is pool:
            replica.thaw()
            scene.observer.look()

    scene.during(step.lasts, thaw, replica)


def _down(rng: random.Random, stage: Stage) -> Fields:
    return {**some_replica(rng, stage), "lasts": seconds(rng, 0.3, 20.0)}


def _end(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice(["", HANDS_OVER])
    fields = {**some_replica(rng, stage), "amount": seconds(rng, 0.0, 15.0), "lasts": seconds(rng, 0.3, 5.0)}
    return {**fields, "how": how}


def _freeze(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice([Frozen.GATEWAY.value, Frozen.WHOLE.value])
    return {**some_replica(rng, stage), "how": how, "lasts": seconds(rng, 0.5, 40.0)}


REPLICAS = [
    Kind("replica-killed", 2.5, _down, kill),
    Kind("replica-ends", 1.2, _end, end),
    Kind("replica-frozen", 2.5, _freeze, freeze),
]
