"""kill -9 of the gateway at each call on a port, just before and just after it, over real SQLite and Redis.

An accepted request is served after the restart, and no room ever has two agents. The simulator cannot show
this: it never runs the adapters. `tests.processes.points` says which calls, and which not and why; row
`kill-post` of the fault table plays those of a POST.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.site import FULL
from tests.processes import minefield as mines
from tests.processes.crash import crash
from tests.processes.minefield import minefield
from tests.processes.outcome import Outcome
from tests.processes.points import (
    DIRECT_IN_SHORT,
    IN_SHORT,
    OF_A_DIRECT_POST,
    Point,
    Scene,
    in_short,
    points,
)

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server", "redis-server")]


@pytest.mark.parametrize("redis", [False, True], ids=["sqlite", "redis"])
async def test_a_gateway_killed_at_a_call_forgets_nothing_and_doubles_nobody(
    redis: bool, tmp_path: Path
) -> None:
    """I1, I2 and I7 across a kill at a call: a few for each change, all of them with ROOMKEEPER_LIVE=full."""
    chosen = points(redis=redis) if FULL else in_short(redis=redis)
    outcome = Outcome("crash-points", len(chosen), tmp_path)
    async with minefield(outcome, redis=redis) as field:
        for point in chosen:
            await crash(field, point)
    print(outcome.figures)
    assert not outcome.violations, (tmp_path / "violations.txt").read_text()
    assert outcome.figures["points"] == len(chosen)


async def test_nor_does_one_that_launches_its_agents_itself(tmp_path: Path) -> None:
    """The direct lane: a slot is taken and the want is told so before the gate has granted anything."""
    chosen = [p for p in OF_A_DIRECT_POST if FULL or str(p) in DIRECT_IN_SHORT]
    assert len(chosen) >= len(DIRECT_IN_SHORT)
    outcome = Outcome("crash-points-direct", len(chosen), tmp_path)
    async with minefield(outcome, redis=False, lane="direct") as field:
        for point in chosen:
            await crash(field, point)
    assert not outcome.violations, (tmp_path / "violations.txt").read_text()
    assert outcome.figures["points"] == len(chosen)


def test_the_short_list_names_points_that_there_are() -> None:
    """A point that was renamed is not left out in silence."""
    played = [*in_short(redis=False), *in_short(redis=True)]
    assert sorted(map(str, played)) == sorted(IN_SHORT)


async def test_a_point_that_is_never_reached_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not played is not taken for harmless."""
    monkeypatch.setattr(mines, "REACHED", 2.0)
    outcome = Outcome("unreached", 1, tmp_path)
    async with minefield(outcome, redis=False) as field:
        await crash(field, Point(Scene.POST, "store.ask", "before", 99))
    assert outcome.violations == {"failed": 1}
