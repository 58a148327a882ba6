"""The walls, one at a time: see `tests.simulation.mutations`."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, caught


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name.replace(" ", "-"))
def test_a_wall_taken_out_is_noticed(mutation: Mutation) -> None:
    """The promise holds with the rule and breaks without it."""
    assert caught(mutation)
