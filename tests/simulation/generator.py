"""Draws a history from a seed: a few people and rooms, everyday life, and faults that like to come
together."""

from __future__ import annotations

import random

from tests.simulation.history import History, Step
from tests.simulation.kinds import KINDS, Kind, Stage

ROOMS = ("r1", "r2", "policy-1")


def draw(seed: int) -> History:
    rng = random.Random(seed)
    replicas = rng.choices([1, 2, 3], [2, 4, 4])[0]
    rooms = rng.sample(ROOMS, rng.choices([1, 2, 3], [5, 3, 2])[0])
    stage = Stage(rooms, replicas)
    horizon = rng.uniform(3.0, 30.0)
    kinds = [kind for kind in KINDS.values() if kind.replicas <= replicas]
    weights = [kind.weight for kind in kinds]
    moments = [rng.uniform(1.0, horizon) for _ in range(rng.randint(1, 3))]
    steps = [_first(rng, room, replicas) for room in rooms]
    for _ in range(rng.randint(3, 12)):
        kind = rng.choices(kinds, weights)[0]
        steps.append(_step(rng, kind, stage, _moment(rng, moments, horizon)))
    return History(
        seed=seed,
        replicas=replicas,
        slots=len(rooms) + rng.randint(1, 2),
        steps=sorted(steps, key=lambda s: s.at),
        linger=rng.choice([0.0, 0.0, 0.0, 0.0, 35.0]),
        direct=rng.random() < 0.5,
    )


def _first(rng: random.Random, room: str, replicas: int) -> Step:
    """Every room begins with somebody in it who asks: without that little happens."""
    at = round(rng.uniform(0.0, 1.0), 3)
    return Step(at=at, what="arrive", room=room, who="p", via=rng.randrange(replicas))


def _moment(rng: random.Random, moments: list[float], horizon: float) -> float:
    """Half of all steps come close together."""
    if rng.random() < 0.5:
        return round(max(0.0, rng.choice(moments) + rng.gauss(0.0, 0.4)), 3)
    return round(rng.uniform(0.0, horizon), 3)


def _step(rng: random.Random, kind: Kind, stage: Stage, at: float) -> Step:
    return Step(at=at, what=kind.name, **kind.draw(rng, stage))
