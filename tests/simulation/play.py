"""Plays a history and judges it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from tests.simulation.clock import run, wall_clock
from tests.simulation.history import History, Step
from tests.simulation.kinds import KINDS
from tests.simulation.scene import Scene, a_scene
from tests.simulation.verdict import Due, complaints, due

SETTLES = 75.0
"""Seconds after the last fault by which everything must be at rest: a lease (3 s), a back-off after some
failures (8 s), a claim that is not taken up (4 to 8 s), a process that never enters (15 s), a session that
never opens (30 s), an agent that does not come back (12 s)."""
EACH_ENTRY = 32.0
"""Seconds more for each agent that gets stuck while it enters."""
CHECK = 0.5
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

    try:
        run(history.seed, main)
    except BaseExceptionGroup as group:
        outcome.broken.append(f"an exception: {_first(group)!r}")
        if group.split((KeyboardInterrupt, SystemExit))[0] is not None:
            raise
    return outcome


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _play(scene: Scene, outcome: Outcome, tell: Callable[[str], None]) -> None:
    observer = scene.observer
    start = anyio.current_time()
    for step in scene.history.steps:
        await anyio.sleep(max(0.0, start + step.at - anyio.current_time()))
        if observer.broken:
            break
        tell(f"{anyio.current_time():8.3f} {str(step)[8:]}")
        _do(scene, step, outcome)
    await anyio.sleep(max(0.0, start + scene.history.ends - anyio.current_time()))
    if not observer.broken:
        await _rest(scene, outcome)
    if not observer.broken and not outcome.broken:
        await _ask_again(scene, outcome)
    outcome.broken += observer.broken


def _do(scene: Scene, step: Step, outcome: Outcome) -> None:
    kind = KINDS[step.what]
    if kind.fault:
        outcome.faults[kind.name] += 1
    scene.step = step.what
    kind.do(scene, step)
    scene.observer.look()


async def _rest(scene: Scene, outcome: Outcome) -> None:
    """Everything settles, and stays so."""
    while scene.faults.calm_since is None:  # noqa: ASYNC110  (no event tells of it)
        await anyio.sleep(CHECK)
    began = wall_clock()
    await _settle(scene, outcome, _patience(scene))
    outcome.healed_after = wall_clock() - began
    if scene.history.linger and not outcome.broken:
        await anyio.sleep(scene.history.linger)
        await _settle(scene, outcome, 5.0)


def _patience(scene: Scene) -> float:
    return SETTLES + EACH_ENTRY * sum(s.amount for s in scene.history.steps if s.what == "agents-misbehave")


async def _settle(scene: Scene, outcome: Outcome, within: float) -> None:
    deadline = wall_clock() + within
    good = 0
    while good < STABLE:
        await anyio.sleep(CHECK)
        found = await complaints(scene)
        good = good + 1 if not found else 0
        if scene.observer.broken:
            return
        if found and wall_clock() > deadline:
            outcome.broken += [f"{what} ({within:g} s after the last fault)" for what in found]
            return


async def _ask_again(scene: Scene, outcome: Outcome) -> None:
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
    await _settle(scene, outcome, _patience(scene))
