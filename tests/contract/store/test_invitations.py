"""Invitations in a store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.keeper.model import Invitation
from gateway.keeper.ports import Store

pytestmark = pytest.mark.anyio


async def test_invitations_last_until_they_expire(store: Store) -> None:
    """A token calls its agent whenever its person joins with it, as long as it lives."""
    valid = Invitation(room="r", identity="p", agent="a", metadata="m", expires_at=store.clock() + 60)
    await store.invite(valid)
    await store.invite(Invitation(room="r", identity="q", agent="a", expires_at=store.clock() - 1))
    assert await store.invitations("r") == await store.invitations() == [valid]
    assert await store.invitations("elsewhere") == []
    await store.forget_ended(before=0.0)
    assert await store.invitations() == [valid]


async def test_a_later_invitation_replaces_the_same_persons_one(store: Store) -> None:
    """A page that gets a fresh token has one invitation, the fresh one."""
    first = Invitation(room="r", identity="p", agent="a", metadata="old", expires_at=store.clock() + 60)
    await store.invite(first)
    await store.invite(again := replace(first, metadata="new", expires_at=first.expires_at - 30))
    await store.invite(other := replace(first, agent="b"))
    assert await store.invitations("r") == await store.invitations() == [again, other]
