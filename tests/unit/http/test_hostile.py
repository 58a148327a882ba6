"""Nobody who may not is let in, and nothing that is sent breaks anything. `make bench NAME=hostile` tries a
million.
"""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests import hostile
from tests.door import OpenDoor

pytestmark = pytest.mark.anyio

TRIED = 4000


async def test_no_hostile_request_is_accepted_or_breaks_anything(open_door: OpenDoor) -> None:
    """A 4xx for each, whatever it is; and the keeper has heard of none."""
    door = open_door(
        dev=False,
        ROOMKEEPER_SITE_SECRET=hostile.SITE,
        **hostile.UNCOUNTED,
    )
    wrong: Counter[str] = Counter()
    for attempt in itertools.islice(hostile.attempts(seed=1), TRIED):
        answer = await door.http.request(
            attempt.method, attempt.path, content=attempt.body, headers=dict(attempt.headers)
        )
        if not 400 <= answer.status_code < 500:
            wrong[f"{attempt.what}: {answer.status_code}"] += 1
    assert not wrong
    assert (door.keeper.asks, door.keeper.hints, door.keeper.invitations) == ([], [], [])
