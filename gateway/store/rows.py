"""Rows as bytes, and the few rules about them that every store follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import msgspec
import structlog

from gateway.keeper.model import Claim, Invitation, Replica, State, Want
from gateway.keeper.notes import Note
from gateway.keeper.ports import RowUnreadable
from gateway.sessions.model import Line, Session

T = TypeVar("T")
S = TypeVar("S")

log = structlog.get_logger(__name__)


def _reader(decode: Callable[[bytes | str], T]) -> Callable[[bytes | str], T]:
    def read(body: bytes | str) -> T:
        try:
            return decode(body)
        except msgspec.MsgspecError as fault:
            raise RowUnreadable(f"a row of another version of Roomkeeper cannot be read: {fault}") from fault

    return read


write = msgspec.json.Encoder().encode
read_want = _reader(msgspec.json.Decoder(Want).decode)
read_claim = _reader(msgspec.json.Decoder(Claim).decode)
read_invitation = _reader(msgspec.json.Decoder(Invitation).decode)
read_replica = _reader(msgspec.json.Decoder(Replica).decode)
read_session = _reader(msgspec.json.Decoder(Session).decode)
read_line = _reader(msgspec.json.Decoder(Line).decode)
read_note = _reader(msgspec.json.Decoder(Note).decode)


def legible(read: Callable[[S], T], rows: Iterable[S]) -> Iterator[T]:
    """Rows of many rooms, without those that a newer version wrote, during an upgrade: they are its own
    affair. Where a room's rows cannot be read, nothing is done in that room."""
    for row in rows:
        try:
            yield read(row)
        except RowUnreadable as fault:
            log.warning("row_not_understood", why=str(fault))


def waiting_since(want: Want) -> float | None:
    """Since when it stands in line; None when it does not."""
    return want.lacking_since if want.state is State.WAITING else None


def renewed(stored: Want, fresh: Want) -> Want:
    """What an ask makes of a want that lives."""
    return replace(
        stored,
        asked_at=max(stored.asked_at, fresh.asked_at),
        metadata=fresh.metadata or stored.metadata,
    )


def replaced(stored: Want | None, want: Want, was: Want) -> Want | None:
    """What an update makes of what is stored; None when that is not what the update was made for."""
    if stored is None or replace(stored, asked_at=was.asked_at, metadata=was.metadata) != was:
        return None
    if want.state.ended and stored.asked_at > was.asked_at:
        return None
    asked_meanwhile = stored.asked_at > was.asked_at or stored.metadata != was.metadata
    return replace(
        want,
        asked_at=max(stored.asked_at, want.asked_at),
        metadata=stored.metadata if asked_meanwhile else want.metadata,
    )


def told_again(stored: Want, told: Want) -> Want | None:
    """A want that the store has, as it should be after a replica told what it knows of it (`Store.restore`):
    None to leave it. An end that was lost is made up for, unless somebody asked after it; of two copies that
    live, the one that was changed later counts, and the later ask."""
    if stored.state.ended:
        return None
    if told.state.ended:
        return told if stored.asked_at <= told.asked_at else None
    changed_later = (told.generation, told.since) > (stored.generation, stored.since)
    if not changed_later and told.asked_at <= stored.asked_at:
        return None
    asked = stored if stored.asked_at > told.asked_at else told
    return replace(told if changed_later else stored, asked_at=asked.asked_at, metadata=asked.metadata)


def tells_more(held: Claim | None, told: Claim) -> bool:
    """Whether a claim that its replica tells again (`Store.restore`) takes the place of the one that holds
    now: that is missing, or older, or an older copy of the same."""
    if held is None or held.since < told.since:
        return True
    return (held.job_id, held.since) == (told.job_id, told.since) and held != told
