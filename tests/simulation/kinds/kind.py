"""What a kind of step is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.history import Step
from tests.simulation.scene import Scene

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a history is drawn for."""

    rooms: Sequence[str]
    replicas: int


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    weight: float
    """How often it is drawn, against the others."""
    draw: Callable[[random.Random, Stage], Fields]
    """Fields of the step, but for its time and kind."""
    do: Callable[[Scene, Step], None]
    fault: bool = True
    """It counts as a fault, not as everyday life."""
    replicas: int = 1
    """It needs at least so many."""


def some_room(rng: random.Random, stage: Stage) -> Fields:
    return {"room": rng.choice(stage.rooms)}


def some_person(rng: random.Random, stage: Stage) -> Fields:
    return {"room": rng.choice(stage.rooms), "who": rng.choice(["p", "p", "q"])}


def some_replica(rng: random.Random, stage: Stage) -> Fields:
    return {"via": rng.randrange(stage.replicas)}


def seconds(rng: random.Random, least: float, most: float) -> float:
    """Short ones more often than long ones."""
    return round(least + (most - least) * rng.random() ** 2, 3)
