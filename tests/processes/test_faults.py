"""The fault table in its bounded form: every row that CI can afford shows no violation and heals in time."""

from __future__ import annotations

import pytest

import tests.processes.rows  # noqa: F401  (fills the table)
from tests.processes.faults import play
from tests.processes.report import line
from tests.processes.table import ROWS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.needs("livekit-server", "redis-server", "toxiproxy-server"),
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.alone] if row.alone else [])
        for name, row in ROWS.items()
        if row.bounded
    ],
)
async def test_a_fault_heals_without_a_violation(name: str) -> None:
    """The row's promise, over a few tries."""
    row = ROWS[name]
    outcome = await play(row, row.bounded, bounded=True)
    print(line(row, outcome))
    assert not outcome.violations, outcome.log.joinpath("violations.txt").read_text()
