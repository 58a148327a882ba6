"""Agents and workers fail, end, and misbehave."""

from __future__ import annotations

import random
from functools import partial

from tests.fakes.pool_jobs import FakeJob
from tests.simulation.history import Step
from tests.simulation.kinds.kind import Fields, Kind, Stage, seconds, some_replica, some_room
from tests.simulation.replica import Replica
from tests.simulation.scene import Scene


def _job(scene: Scene, step: Step) -> tuple[Replica, FakeJob] | None:
    jobs = scene.jobs(step.room)
    return jobs[0] if jobs else None


def die(scene: Scene, step: Step) -> None:
    """kill -9 of the agent's process."""
    if (found := _job(scene, step)) is not None:
        replica, job = found
        replica.pool.die(job)
        scene.blow(replica)


def raise_(scene: Scene, step: Step) -> None:
    if (found := _job(scene, step)) is not None and found[1].working and not found[1].frozen:
        found[0].pool.raise_(found[1])
        scene.blow(found[0])


def finish(scene: Scene, step: Step) -> None:
    """The agent ends on purpose; `how` is "session": it closes its session and stays."""
    found = _job(scene, step)
    if found is None:
        return
    replica, job = found
    still = job.frozen or (job.connection is not None and job.connection.frozen)
    if not job.working or still or job.cancelled:
        return
    if step.how == "session":
        replica.pool.close_session(job, "user_initiated")
    else:
        replica.pool.finish(job)
    scene.observer.finished(step.room, job)


def close_by_error(scene: Scene, step: Step) -> None:
    found = _job(scene, step)
    if found is not None and found[1].working and not found[1].frozen:
        found[0].pool.close_session(found[1], "error")
        scene.blow(found[0])


def freeze_job(scene: Scene, step: Step) -> None:
    """SIGSTOP of the agent's process, and SIGCONT."""
    found = _job(scene, step)
    if found is None or found[1].frozen:
        return
    replica, job = found
    replica.pool.freeze_job(job)

    def thaw() -> None:
        if not job.exited:
            replica.pool.thaw_job(job)

    scene.during(step.lasts, thaw, replica)


def entries(scene: Scene, step: Step) -> None:
    """The next `amount` agents misbehave as they enter."""
    scene.entries += [step.how] * round(step.amount)


def decline(scene: Scene, step: Step) -> None:
    """The user's own on_request refuses."""
    replica = scene.replica(step.via)
    if replica.up:
        pool = replica.pool
        pool.declines = True
        scene.during(step.lasts, partial(setattr, pool, "declines", False), replica)


def dawdle(scene: Scene, step: Step) -> None:
    """The user's own on_request takes `amount` seconds."""
    replica = scene.replica(step.via)
    if replica.up:
        timing = replica.pool.timing
        timing.answer = step.amount
        scene.during(step.lasts, partial(setattr, timing, "answer", 0.0), replica)


def linger(scene: Scene, step: Step) -> None:
    """Processes take `amount` seconds to end after they left their room."""
    replica = scene.replica(step.via)
    if replica.up:
        timing = replica.pool.timing
        timing.exit = step.amount
        scene.during(step.lasts, partial(setattr, timing, "exit", 0.1), replica)


def full(scene: Scene, step: Step) -> None:
    """The worker can take no more than `amount` calls."""
    replica = scene.replica(step.via)
    if replica.up:
        pool = replica.pool
        pool.resize(round(step.amount))
        scene.during(step.lasts, partial(pool.resize, scene.history.slots), replica)


def worker_cut(scene: Scene, step: Step) -> None:
    """The worker's connection to LiveKit breaks and is back at once: its jobs are forgotten (fact 11)."""
    replica = scene.replica(step.via)
    if replica.up and replica.pool.registration is not None:
        replica.pool.registration.cut()
        scene.blow(replica)


def worker_mute(scene: Scene, step: Step) -> None:
    """A half-open connection: the worker is offered jobs and hears nothing (fact 74)."""
    replica = scene.replica(step.via)
    if replica.up and replica.pool.registration is not None:
        registration = replica.pool.registration
        registration.freeze()
        scene.during(step.lasts, registration.thaw, replica)


def _entries(rng: random.Random, stage: Stage) -> Fields:
    how = rng.choice(["raise", "raise", "finish", "freeze", "hang", "stubborn"])
    return {"how": how, "amount": float(rng.randint(1, 4 if how == "raise" else 2))}


def _finish(rng: random.Random, stage: Stage) -> Fields:
    return {**some_room(rng, stage), "how": rng.choice(["", "session"])}


def _room_for(rng: random.Random, stage: Stage) -> Fields:
    return {**some_room(rng, stage), "lasts": seconds(rng, 1.0, 40.0)}


def _replica_for(rng: random.Random, stage: Stage) -> Fields:
    return {**some_replica(rng, stage), "lasts": seconds(rng, 0.5, 20.0)}


def _slowly(rng: random.Random, stage: Stage) -> Fields:
    return {**_replica_for(rng, stage), "amount": seconds(rng, 0.2, 6.0)}


def _full(rng: random.Random, stage: Stage) -> Fields:
    return {**_replica_for(rng, stage), "amount": float(rng.randint(0, 1))}


AGENTS = [
    Kind("agent-dies", 2.0, some_room, die),
    Kind("agent-raises", 1.0, some_room, raise_),
    Kind("agent-finishes", 1.5, _finish, finish, fault=False),
    Kind("session-fails", 1.0, some_room, close_by_error),
    Kind("agent-frozen", 1.5, _room_for, freeze_job),
    Kind("agents-misbehave", 1.5, _entries, entries),
    Kind("worker-declines", 0.7, _replica_for, decline),
    Kind("worker-dawdles", 1.0, _slowly, dawdle),
    Kind("agents-linger", 0.7, _slowly, linger),
    Kind("worker-full", 1.0, _full, full),
    Kind("worker-forgotten", 0.7, some_replica, worker_cut),
    Kind("worker-mute", 0.7, _replica_for, worker_mute),
]
