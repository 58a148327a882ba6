"""Histories that once broke a promise, shortened, as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.history import load
from tests.simulation.play import play

HISTORIES = sorted((Path(__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_history_that_failed_once_passes(path: Path) -> None:
    """What `why` in the file tells does not happen again."""
    history = load(path)
    outcome = play(history)
    assert not outcome.broken, f"{history.why}\n{history}"
