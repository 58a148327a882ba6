"""Whether everything is as it should be (I2, I7): every room has what the last word about it calls for, what
the API says is true; and, once the scene has come to rest, nothing is left over. For how long it may be
otherwise is `bounds`' affair.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from gateway.keeper.model import State, Want
from gateway.keeper.ports import StoreUnavailable
from tests.simulation.books import Cause, RoomBook
from tests.simulation.bounds import CALM, ROOMLESS, UNHEARD, Complaint
from tests.simulation.excuses import CANNOT_TELL, MEMORY_LOSS, ended_unseen, knowable
from tests.simulation.scene import Scene

DEPARTURE = 25.0
"""Seconds before a room's end in which an ask may be for this room or for the next one."""

SILENCED = 8.0
"""Seconds after a loss of memory in which replicas tell again what they know."""
ASKS_KNOWN = 4.0
"""Seconds for which the replica that was asked remembers it, whoever leads."""
ENDS_KNOWN = 50.0


class Due(Enum):
    """What a room is to have."""

    ONE = "one"
    NONE = "none"
    UNSURE = "unsure"
    """The outside cannot tell: an answer was lost, a room ended just then."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that decides whether the room has an agent."""

    began: float
    ended: float
    due: Due


def due(scene: Scene, room: str) -> Due:
    """What the last word says; unsure when two that differ came at the same time."""
    book = scene.observer.books[room]
    if not scene.observer.people(room):
        return Due.UNSURE
    words = _words(scene, room, book)
    if not words:
        return Due.NONE
    last = max(words, key=lambda w: w.ended)
    at_odds = [w for w in words if w.due is not last.due and w.ended >= last.began]
    return Due.UNSURE if at_odds else last.due


def _words(scene: Scene, room: str, book: RoomBook) -> list[Word]:
    observer = scene.observer
    words = []
    for cause in book.causes:
        before_end = book.ended_at - DEPARTURE < cause.until and cause.sent <= book.ended_at
        outage = observer.outages and cause.sent <= observer.outage_at
        unsure = cause.answered is None or cause.refused or before_end or outage
        unsure = unsure or _forgotten(scene, cause) or _came_and_went(scene, room, cause)
        words.append(Word(cause.since, cause.until, Due.UNSURE if unsure else Due.ONE))
    if observer.outages and any(c.kind == "join" for c in book.causes):
        # Whoever returns has joined anew: that may count as a call for an agent, or not.
        words.append(Word(observer.outage_at, math.inf, Due.UNSURE))
    for stop in book.stops:
        unsure = stop.answered is None or stop.refused or _forgotten(scene, stop)
        words.append(Word(stop.sent, stop.until, Due.UNSURE if unsure else Due.NONE))
    if book.finished_at > 0:
        known = knowable(observer.faults, book)
        words.append(Word(book.finishes_from, book.finished_at, Due.NONE if known else Due.UNSURE))
    if book.ended_at > 0:
        unsure = book.returned or ended_unseen(observer.faults, book)
        words.append(Word(book.ended_at, book.ended_at, Due.UNSURE if unsure else Due.NONE))
    return words


def _came_and_went(scene: Scene, room: str, cause: Cause) -> bool:
    """A join is a hint (I6): whoever has left again before it was calm may never have been noticed."""
    if not cause.who or any(c.identity == cause.who for c in scene.observer.people(room)):
        return False
    return scene.faults.over_by(CALM) > cause.sent


def _forgotten(scene: Scene, cause: Cause) -> bool:
    """The store lost its memory of what was said then, and whoever knew it could not tell it again: for a
    while the replica that was asked (a stop for as long as any end), later the leader, whoever that is."""
    faults = scene.observer.faults
    for loss in faults.of(MEMORY_LOSS):
        if loss.began < cause.sent - 1.0:
            continue
        known = ENDS_KNOWN if cause.kind == "stop" else ASKS_KNOWN
        via = cause.via if loss.began < cause.sent + known else None
        if faults.between(cause.sent, loss.began + SILENCED, CANNOT_TELL, via):
            return True
    return False


async def complaints(scene: Scene) -> list[Complaint]:
    """What is not as it should be at rest; nothing when the scene has come to rest."""
    found = in_rooms(scene)
    found += await _books(scene)
    found += await _stored(scene)
    return found or await told(scene, scene.wants)


def in_rooms(scene: Scene) -> list[Complaint]:
    """What is not as it should be in rooms, be the scene at rest or not."""
    return [complaint for room in list(scene.observer.books) for complaint in _room(scene, room)]


def _room(scene: Scene, room: str) -> list[Complaint]:
    agents, working = scene.observer.agents(room), scene.observer.working(room)
    if len(agents) > 1:
        return [Complaint(f"two in {room}", f"I1: {len(agents)} agents in {room}")]
    wanted = due(scene, room)
    if wanted is Due.ONE and not working:
        text = f"I2: {room} wants an agent, and has {'a deaf one' if agents else 'none'}"
        return [Complaint(f"none in {room}", text, explained=UNHEARD if _unheard(scene, room) else {})]
    if wanted is Due.NONE and working:
        who = working[0].identity
        return [Complaint(f"one in {room}", f"I4, I5: {room} wants no agent, and has {who}")]
    return []


def _unheard(scene: Scene, room: str) -> bool:
    """Whether it was a join that called for the agent, and no request."""
    return max(scene.observer.books[room].causes, key=lambda c: c.until).kind in {"join", "invitation"}


async def _books(scene: Scene) -> list[Complaint]:
    """Every process that may be in a room holds its room's claim, and every claim has a process."""
    claims = {c.job_id: c for c in await scene.store.all_claims()}
    inside = {job_id for r in scene.up() for job_id in r.pool.inside()}
    running = {job_id for r in scene.up() for job_id in r.pool.jobs}
    unclaimed = [f"a process without a claim: {job_id}" for job_id in sorted(inside - claims.keys())]
    found = [Complaint(what, what) for what in unclaimed]
    for job_id in sorted(claims.keys() - running):
        what = f"a claim without a process: {job_id}"
        explained = {} if scene.observer.books[claims[job_id].room].sid else ROOMLESS
        found.append(Complaint(what, what, explained=explained))
    return found


async def _stored(scene: Scene) -> list[Complaint]:
    """What the books say about each job that clients heard of."""
    found = []
    for want_id in scene.wants:
        if (stored := await scene.store.want(want_id)) is not None:
            found += _untrue(scene, stored, "the store")
    return found


async def told(scene: Scene, wants: Collection[str]) -> list[Complaint]:
    """What each replica that is up answers to who asks for one of these jobs."""
    found = []
    for want_id in wants:
        for replica in scene.up():
            with suppress(StoreUnavailable):
                if (job := await replica.keeper.job(want_id)) is not None:
                    found += _untrue(scene, job.want, f"replica {replica.number}")
    return found


def _untrue(scene: Scene, want: Want, who: str) -> list[Complaint]:
    working = [c.identity for c in scene.observer.working(want.room)]
    wrong = f"working in {want.room}: {working}"
    if want.state is State.JOINED and working != [want.identity]:
        text = f"I7: {who} calls {want.id} joined by {want.identity}; {wrong}"
    elif not want.state.ended and want.state is not State.JOINED and working:
        text = f"I7: {who} calls {want.id} {want.state}; {wrong}"
    else:
        return []
    return [Complaint(f"{want.id} of {who}", text, room=want.room, untrue=True)]
