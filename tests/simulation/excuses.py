"""Which faults explain what: tables, and what follows from them. A fault that hit one replica explains
nothing about another one's agents.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from gateway.keeper.fleet import FORGETFUL
from tests.simulation.books import NOBODY_LEADS, Life, RoomBook
from tests.simulation.faults import Faults, Spell

HANDS_OVER = "hands-over"
"""A replica that ends lets successors come beside its agents."""
SUCCEEDED = 15.5
"""Seconds after which whoever hands over leaves, a successor or not; some are for telling it to."""
TELLS = 0.5
MEMORY_LOSS = ("store-wiped", "store-failover")
OUT_OF_STORE = ("replica-frozen", "cut-off-store", "store-unreliable", "store-slow", "store-away")
CANNOT_TELL = (*OUT_OF_STORE, "replica-killed", "replica-ends")
DEAFENING = (
    *MEMORY_LOSS,
    "replica-killed",
    "replica-ends",
    "replica-frozen",
    "agent-frozen",
    "agent-dies",
    "livekit-restart",
    "cut-off-livekit",
)
"""Faults in which what an agent did of its own will may get lost, or look like something else."""

LOOKS_AGAIN = 8.0
"""Seconds within which LiveKit is asked again when it could not be, or has just been found away."""

LEADS_AND_LOOKS = 5.0
"""Seconds in which a replica that is well leads, the one before having lapsed, and has looked at a room."""

BLINDING = ("cut-off-livekit", "clock-off", "livekit-api")
"""Faults in which rooms cannot be looked at."""

PARTING = ("replica-frozen", "agent-frozen", "enters-freeze", "cut-off-livekit")
"""Faults after which an agent, or whoever looks for it, may be out of touch."""
FELT = 15.0
"""Seconds in which an agent is ended that must be, once nothing is in the way of it."""

HEARD_AGAIN = 1.0
"""Seconds in which a replica's heartbeat tells it that the store is back."""

PIN_AGAIN = 30.0
"""Seconds after a restart of LiveKit in which a want may still be pinned to the room from before."""

LAPSE = 2.0
"""Seconds without the store after which others may take a replica for lapsed, with its heartbeats'
distance."""
AFTER_PAUSE = 6.0
"""Seconds after a pause in which what a job tells is not taken for its own will."""

SETTLED = 8.0
"""Seconds after a loss of memory in which claims are put back, and told again if that failed."""
BACK = 3.0
"""Seconds in which a replica that reaches the store again has put back what it knows."""

PROLONGS: Mapping[str, float] = {
    "replica-frozen": 2.0,
    "agent-frozen": 2.0,
    "cut-off-livekit": 2.0,
    "cut-off-store": 2.0,
    "store-away": 2.0,
    "store-unreliable": 2.0,
    "livekit-restart": 2.0,
}
"""Pauses and partitions in which two agents cannot be parted, and the seconds after the end of each by which
they must be (I1)."""


def forgotten(faults: Faults, life: Life, now: float) -> bool:
    """The store lost its memory, and the gateway of that agent has been out of touch with it for as long as
    an agent without a claim is asked before it is put out."""
    return any(
        away.hits(life.replica)
        and away.began <= loss.began + SETTLED
        and loss.began + FORGETFUL - BACK <= now <= away.ended + BACK
        for loss in faults.of(MEMORY_LOSS)
        if loss.began > life.came_at - 60.0
        for away in faults.of(OUT_OF_STORE)
    )


def handing_over(faults: Faults, replicas: Collection[int]) -> float:
    """Until when one of these replicas' agents may have their successors beside them."""
    began = [s.began for s in faults.of((HANDS_OVER,)) if s.via in replicas and s.ended == math.inf]
    return max((at + SUCCEEDED for at in began), default=-math.inf)


def parted_lately(faults: Faults, via: int, now: float) -> bool:
    """An agent of that replica may have been out of touch until just now, and long enough to be given up."""
    return any(
        faults.felt_until(s.ended, FELT) >= now
        for s in faults.of(PARTING)
        if s.hits(via) and s.ended - s.began >= LAPSE
    )


def cut_off_from_both(faults: Faults, life: Life, outage_at: float, now: float) -> bool:
    """LiveKit was gone for the agent, by its last outage or by a cut however short, while its gateway did not
    reach the store: nobody there could tell whether it was given up."""
    gone = [s.began for s in faults.of(("cut-off-livekit",)) if s.hits(life.replica)]
    return any(
        began > life.came_at
        and faults.between(began - HEARD_AGAIN, now, OUT_OF_STORE, life.replica)
        and faults.felt_until(began, FELT) >= now
        for began in (outage_at, *gone)
    )


def ended_lately(faults: Faults, book: RoomBook, life: Life, now: float) -> bool:
    """A stop, a restart, or the end of the agent before this one: it was on its way, and what was meant for
    that one meets it. When that was the last word, it may be ended at any time."""
    restarts = [c.until for c in book.causes if c.kind == "restart"]
    last_ask = max((c.until for c in book.causes), default=-1.0)
    return any(
        at > life.came_at - 10.0 and (at > last_ask or faults.felt_until(at, FELT) >= now)
        for at in (*(c.until for c in book.stops), *restarts, book.finished_at)
    )


def told_by_one_that_missed_it(faults: Faults, book: RoomBook) -> bool:
    """The store lost its memory, and a replica that was out of touch when the room ended knows no better than
    to put back what was wanted there."""
    return any(
        away.began <= book.ended_at <= away.ended and loss.began <= away.ended
        for away in faults.of(OUT_OF_STORE)
        for loss in faults.of(MEMORY_LOSS)
    )


def ended_unseen(faults: Faults, book: RoomBook) -> bool:
    """Somebody asked while nobody could look, or was not served before, and the room had ended before anybody
    could look: they may have meant that instance, or the next one."""
    return _nobody_led(faults, book) or any(
        spell.began <= cause.until + LOOKS_AGAIN
        and cause.sent <= book.ended_at <= _unseen_until(faults, spell)
        and not (cause.answered is not None and cause.served_at < spell.began)
        for spell in faults.of(BLINDING)
        for cause in book.causes
        if cause.kind != "join"
    )


def _nobody_led(faults: Faults, book: RoomBook) -> bool:
    """From the ask to the end no replica was well for as long as it takes to lead and to look."""
    return any(
        cause.sent <= book.ended_at < cause.served_at
        and faults.everywhere(cause.until, book.ended_at, CANNOT_TELL, LEADS_AND_LOOKS)
        for cause in book.causes
        if cause.kind != "join"
    )


def _unseen_until(faults: Faults, blind: Spell) -> float:
    """When somebody looks again, who may have been killed, or cut off from the store, before that."""
    until = blind.ended + LOOKS_AGAIN
    for spell in sorted(faults.of((*BLINDING, *CANNOT_TELL)), key=lambda s: s.began):
        if blind.began <= spell.began <= until:
            until = max(until, spell.ended + LOOKS_AGAIN)
    return until


def end_told_again(faults: Faults, book: RoomBook, now: float) -> bool:
    """The last word was a stop or a restart, and the store lost it: the room may be served again until the
    replica that took it can tell of it."""
    last_ask = max((c.until for c in book.causes if c.kind != "restart"), default=-1.0)
    return any(
        end.sent >= last_ask and faults.felt_until(loss.began, FELT) >= now
        for end in (*book.stops, *(c for c in book.causes if c.kind == "restart"))
        for loss in faults.of(MEMORY_LOSS)
        if loss.ended >= end.sent
    )


def knowable(faults: Faults, book: RoomBook) -> bool:
    """Whether the keeper got to know that the agent ended on purpose: nothing was in the way of its telling,
    and that was the last word."""
    at, via = book.finished_at, book.finished_via
    if faults.lasting(at, LAPSE, OUT_OF_STORE, via):
        return False  # its gateway lapsed, and nobody else can tell an end from a death (fact 12)
    if faults.between(at - AFTER_PAUSE, at, ("replica-frozen",), via):
        return False
    if any(
        at - PIN_AGAIN < restart.ended <= at and faults.between(restart.ended, at, BLINDING)
        for restart in faults.of(("livekit-restart",))
    ):
        return False  # it had come back into another instance, which nobody could see
    if faults.between(at - NOBODY_LEADS, at, MEMORY_LOSS):
        return False  # nobody led: what happened meanwhile to the room is not known when somebody does
    for loss in faults.of(MEMORY_LOSS):
        if loss.began > at and faults.between(at, loss.began + NOBODY_LEADS, CANNOT_TELL, via):
            return False  # the store forgot it, and its gateway could not tell again
    return book.finish_counts and not faults.between(at - 1.0, at + 2.0, DEAFENING, via)
