"""The store is slow, away, or loses what it had."""

from __future__ import annotations

import random
from functools import partial

from tests.simulation.history import Step
from tests.simulation.kinds.kind import Fields, Kind, Stage, seconds, some_replica
from tests.simulation.scene import Scene


def away(scene: Scene, step: Step) -> None:
    scene.store.away = True
    scene.during(step.lasts, partial(setattr, scene.store, "away", False))


def cut_off(scene: Scene, step: Step) -> None:
    """One replica does not reach the store."""
    replica = scene.replica(step.via)
    if replica.up:
        link = replica.link
        link.away = True
        scene.during(step.lasts, partial(setattr, link, "away", False), replica)


def unreliable(scene: Scene, step: Step) -> None:
    """One replica's calls fail (`how` "fails"), or their answers get lost, to a share of `amount`."""
    replica, rng = scene.replica(step.via), scene.rng
    if not replica.up:
        return
    link = replica.link
    setattr(link, step.how, lambda: rng.random() < step.amount)
    scene.during(step.lasts, partial(setattr, link, step.how, lambda: False), replica)


def slow(scene: Scene, step: Step) -> None:
    """One replica's calls take `amount` seconds."""
    replica = scene.replica(step.via)
    if replica.up:
        link, before = replica.link, 0.0005
        link.latency = step.amount
        scene.during(step.lasts, partial(setattr, link, "latency", before), replica)


def failover(scene: Scene, step: Step) -> None:
    """Another server takes over; what was written in the last `amount` seconds is lost, though
    acknowledged."""
    scene.store.lose(step.amount)
    scene.blow()


def restart(scene: Scene, step: Step) -> None:
    """The server is another process; nothing is lost, and nobody can know that."""
    scene.store.restart()
    scene.blow()


def wipe(scene: Scene, step: Step) -> None:
    """FLUSHALL."""
    scene.store.wipe()
    scene.blow()


def _lasting(rng: random.Random, stage: Stage) -> Fields:
    return {"lasts": seconds(rng, 0.2, 15.0)}


def _cut(rng: random.Random, stage: Stage) -> Fields:
    return {**some_replica(rng, stage), "lasts": seconds(rng, 0.2, 20.0)}


def _unreliable(rng: random.Random, stage: Stage) -> Fields:
    share = rng.choice([0.1, 0.3, 0.8])
    return {**_cut(rng, stage), "how": rng.choice(["fails", "loses"]), "amount": share}


def _slow(rng: random.Random, stage: Stage) -> Fields:
    return {**_cut(rng, stage), "amount": seconds(rng, 0.01, 1.0)}


def _failover(rng: random.Random, stage: Stage) -> Fields:
    return {"amount": seconds(rng, 0.01, 5.0)}


def _nothing(rng: random.Random, stage: Stage) -> Fields:
    return {}


STORE = [
    Kind("store-away", 1.2, _lasting, away),
    Kind("cut-off-store", 1.5, _cut, cut_off),
    Kind("store-unreliable", 1.5, _unreliable, unreliable),
    Kind("store-slow", 1.0, _slow, slow),
    Kind("store-failover", 0.8, _failover, failover),
    Kind("store-restart", 0.4, _nothing, restart),
    Kind("store-wiped", 0.8, _nothing, wipe),
]
