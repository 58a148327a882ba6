"""People come, go and ask."""

from __future__ import annotations

import random
from functools import partial

from tests.simulation.history import Step
from tests.simulation.kinds.kind import Fields, Kind, Stage, seconds, some_person, some_room
from tests.simulation.replica import AGENT
from tests.simulation.scene import Scene


def _ask(rng: random.Random, stage: Stage) -> Fields:
    return {**some_room(rng, stage), "via": rng.randrange(stage.replicas)}


def _invite(rng: random.Random, stage: Stage) -> Fields:
    return {**some_person(rng, stage), "via": rng.randrange(stage.replicas)}


def _blip(rng: random.Random, stage: Stage) -> Fields:
    return {**some_person(rng, stage), "lasts": seconds(rng, 0.1, 30.0)}


def join(scene: Scene, step: Step) -> None:
    scene.join(step.room, step.who)


def leave(scene: Scene, step: Step) -> None:
    if (person := scene.people.get((step.room, step.who))) is not None:
        scene.livekit.leave(person)


def crash(scene: Scene, step: Step) -> None:
    """Their process dies: LiveKit lists them for 20 s more."""
    if (person := scene.people.pop((step.room, step.who), None)) is not None:
        scene.livekit.crash(person)


def blip(scene: Scene, step: Step) -> None:
    """They go, and are back after a while."""
    leave(scene, step)
    scene.later(step.lasts, partial(scene.join, step.room, step.who))


def ask(scene: Scene, step: Step) -> None:
    scene.ask(step.room, step.via, "ask")


def restart(scene: Scene, step: Step) -> None:
    scene.ask(step.room, step.via, "restart")


def stop(scene: Scene, step: Step) -> None:
    scene.ask(step.room, step.via, "stop")


def arrive(scene: Scene, step: Step) -> None:
    """What a page does: it joins, and asks."""
    join(scene, step)
    ask(scene, step)


def storm(scene: Scene, step: Step) -> None:
    """Twelve asks at once, over all replicas."""
    for number in range(12):
        scene.ask(step.room, number, "ask")


def invite(scene: Scene, step: Step) -> None:
    scene.invite(step.room, step.who, step.via)


def dispatch(scene: Scene, step: Step) -> None:
    """Somebody dispatches behind our back, `amount` times."""

    async def call() -> None:
        for _ in range(round(step.amount) or 1):
            await scene.livekit.create_dispatch(step.room, AGENT, metadata="", attributes={})

    cause = scene.observer.asked(step.room, "dispatch")
    cause.refused = True  # LiveKit may lose it
    scene.spawn(call)


def _dispatches(rng: random.Random, stage: Stage) -> Fields:
    return {**some_room(rng, stage), "amount": float(rng.randint(1, 3))}


PEOPLE = [
    Kind("join", 3.0, some_person, join, fault=False),
    Kind("leave", 2.5, some_person, leave, fault=False),
    Kind("person-crash", 1.0, some_person, crash),
    Kind("blip", 2.0, _blip, blip, fault=False),
    Kind("arrive", 3.0, _invite, arrive, fault=False),
    Kind("ask", 2.5, _ask, ask, fault=False),
    Kind("restart-agent", 1.0, _ask, restart, fault=False),
    Kind("stop", 1.0, _ask, stop, fault=False),
    Kind("storm", 0.7, some_room, storm),
    Kind("invite", 0.7, _invite, invite, fault=False),
    Kind("dispatch-behind", 0.7, _dispatches, dispatch),
]
