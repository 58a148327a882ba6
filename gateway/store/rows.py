"""Rows as bytes, and the few rules about them that every store follows."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gateway.keeper.model import Claim, Invitation, Replica, State, Want
from gateway.keeper.notes import Note

write = msgspec.json.Encoder().encode
read_want = msgspec.json.Decoder(Want).decode
read_claim = msgspec.json.Decoder(Claim).decode
read_invitation = msgspec.json.Decoder(Invitation).decode
read_replica = msgspec.json.Decoder(Replica).decode
read_note = msgspec.json.Decoder(Note).decode


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
    live, the one that was changed later counts."""
    if stored.state.ended:
        return None
    if told.state.ended:
        return told if stored.asked_at <= told.asked_at else None
    if (told.generation, told.since) <= (stored.generation, stored.since):
        return None
    asked_later = stored.asked_at > told.asked_at
    return replace(
        told,
        asked_at=max(stored.asked_at, told.asked_at),
        metadata=stored.metadata if asked_later else told.metadata,
    )
