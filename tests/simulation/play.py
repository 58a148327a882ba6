"""Plays a history and judges it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import anyio

from tests.simulation.bounds import CALM, Patience
from tests.simulation.clock import run, swallowed, wall_clock
from tests.simulation.history import History, Step
from tests.simulation.kinds import KINDS
from tests.simulation.scene import Scene, a_scene
from tests.simulation.verdict import Due, complaints, due, in_rooms, told

EXCEPTION = "an exception"
CHECK = 0.5
WATCH = 1.0
STABLE = 2
"""So many checks in a row must be good."""


@dataclass(slots=True)
class Outcome:
    """How a history went."""

    history: History
    broken: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    longest_overlap: float = 0.0
    healed_after: float = 0.0
    """Seconds from the end of the last fault until everything was at rest."""
    seconds: float = 0.0
    """Of virtual time."""


def play(
    history: History,
    tell: Callable[[str], None] = lambda line: None,
    watch: Callable[[Scene], None] = lambda scene: None,
) -> Outcome:
    """Play a history to its end, or to the first broken promise. `tell` hears of each step; `watch` is
    handed the scene before it begins."""
    outcome = Outcome(history)

    async def main() -> None:
        async with a_scene(history) as scene:
            watch(scene)
            try:
                await _play(scene, outcome, tell)
            finally:
                outcome.counts += scene.observer.counts
                outcome.counts["stale writes refused"] += scene.store.stale_writes
                outcome.longest_overlap = scene.observer.longest_overlap
                outcome.seconds = anyio.current_time()

    swallowed.clear()
    try:
        run(history.seed, main)
    except BaseExceptionGroup as group:
        outcome.broken.append(f"{EXCEPTION}: {_first(group)!r}")
        if group.split((KeyboardInterrupt, SystemExit))[0] is not None:
            raise
    outcome.broken += [f"{EXCEPTION}: {what}" for what in dict.fromkeys(swallowed)]
    return outcome


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _play(scene: Scene, outcome: Outcome, tell: Callable[[str], None]) -> None:
    observer = scene.observer
    patience = Patience(observer.faults)
    scene.spawn(partial(_watch, scene))
    start = anyio.current_time()
    for step in scene.history.steps:
        await anyio.sleep(max(0.0, start + step.at - anyio.current_time()))
        if observer.broken:
            break
        tell(f"{anyio.current_time():8.3f} {str(step)[8:]}")
        _do(scene, step, outcome)
    await anyio.sleep(max(0.0, start + scene.history.ends - anyio.current_time()))
    if not observer.broken:
        await _rest(scene, outcome, patience)
    if not observer.broken and not outcome.broken:
        await _ask_again(scene, outcome, patience)
    outcome.broken += observer.broken


def _do(scene: Scene, step: Step, outcome: Outcome) -> None:
    kind = KINDS[step.what]
    if kind.fault:
        outcome.faults[kind.name] += 1
    scene.step = step.what
    kind.do(scene, step)
    scene.observer.look()


async def _watch(scene: Scene) -> None:
    """What does not happen is noticed at every time: at rest a sweep may have hidden it."""
    patience = Patience(scene.faults)
    while not scene.observer.broken:
        await anyio.sleep(WATCH)
        found = in_rooms(scene)
        absent = scene.observer.absent()
        if absent and wall_clock() > scene.faults.over_by(CALM):
            wants = [want_id for want_id, room in scene.wants.items() if room in absent]
            found += [c for c in await told(scene, wants) if c.room in scene.observer.absent()]
        for overdue in patience.overdue(found, wall_clock()):
            scene.observer.fail(overdue)


async def _rest(scene: Scene, outcome: Outcome, patience: Patience) -> None:
    """Everything settles, and stays so."""
    while scene.faults.calm_since is None:  # noqa: ASYNC110  (no event tells of it)
        await anyio.sleep(CHECK)
    began = wall_clock()
    await _settle(scene, outcome, patience)
    outcome.healed_after = wall_clock() - began
    if scene.history.linger and not outcome.broken:
        await anyio.sleep(scene.history.linger)
        await _settle(scene, outcome, patience)


async def _settle(scene: Scene, outcome: Outcome, patience: Patience) -> None:
    good = 0
    while good < STABLE:
        await anyio.sleep(CHECK)
        found = await complaints(scene)
        good = good + 1 if not found else 0
        if scene.observer.broken:
            return
        if overdue := patience.overdue(found, wall_clock()):
            outcome.broken += overdue
            return


async def _ask_again(scene: Scene, outcome: Outcome, patience: Patience) -> None:
    """Where the outside could not tell whether an agent is due, the next ask brings one: nothing is
    jammed."""
    unsure = [
        room
        for room in list(scene.observer.books)
        if due(scene, room) is not Due.ONE and scene.observer.people(room)
    ]
    if not unsure:
        return
    for room in unsure:
        scene.ask(room, 0, "ask")
    await _settle(scene, outcome, patience)
