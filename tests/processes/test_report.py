"""The page says of which run its figures are."""

from __future__ import annotations

from typing import Any

import tests.processes.rows  # noqa: F401  (fills the table)
from tests.processes.report import circumstances, page
from tests.processes.table import ROWS


def kept(commit: str) -> dict[str, Any]:
    played = {"date": "2026-01-02", "commit": commit, "cores": 2}
    return {"played": played, "n": 1, "violations": {}, "heals": [0.5], "overlaps": 0, "figures": {}}


def test_rows_of_one_run_share_a_line_about_it() -> None:
    """Date, commit and cores stand once above the table."""
    first, second = list(ROWS)[:2]
    text = page({first: kept("abc1234"), second: kept("abc1234")})
    assert text.count("on 2026-01-02 at commit abc1234, 2 cores") == 1
    assert "| played |" not in text


def test_rows_of_different_runs_say_each_which_it_was() -> None:
    """A table that was put together of several runs cannot pass for one."""
    first, second = list(ROWS)[:2]
    text = page({first: kept("abc1234"), second: kept("def5678+")})
    assert "overlaps | more | played |" in text
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert lines[first].endswith("at commit abc1234, 2 cores |")
    assert lines[second].endswith("at commit def5678+, 2 cores |")


def test_a_run_knows_its_circumstances() -> None:
    """What is written into docs/faults.json with each row."""
    assert circumstances().keys() == {"date", "commit", "cores"}
