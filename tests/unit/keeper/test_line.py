"""The waiting line against the plainest line there is: a sorted list, counted through each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gateway.keeper.line import HEAD_START, Line


@dataclass
class Plain:
    """(time of the ask, order of arrival, id), since when it stands here, whether it asked to go."""

    places: list[tuple[float, int, str, float]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    arrivals: int = 0

    def add(self, want_id: str, asked_at: float, now: float) -> None:
        if all(place[2] != want_id for place in self.places):
            self.arrivals += 1
            self.places = sorted([*self.places, (asked_at, self.arrivals, want_id, now)])

    def ask(self, want_id: str, now: float) -> int:
        self.asked.add(want_id)
        ids = [place[2] for place in self.places]
        before = self.places[: ids.index(want_id)]
        return sum(1 for p in before if p[2] in self.asked or p[3] > now - HEAD_START)

    def leave(self, want_id: str) -> None:
        self.places = [place for place in self.places if place[2] != want_id]
        self.asked.discard(want_id)

    def ids(self) -> list[str]:
        return [place[2] for place in self.places]


WANTS = st.sampled_from([f"w{n}" for n in range(8)])
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "ask", "leave", "wait"]), WANTS, st.integers(0, 5)), max_size=60
)


@given(STEPS)
def test_it_says_what_the_plain_line_says(steps: list[tuple[str, str, int]]) -> None:
    """Places, who goes before whom, and who is woken in which order: whatever happened before."""
    now = [100.0]
    line, plain = Line(lambda: now[0]), Plain()
    for step, want_id, number in steps:
        if step == "add":
            line.add(want_id, f"room-{want_id}", float(number))
            plain.add(want_id, float(number), now[0])
        elif step == "ask" and want_id in line:
            assert line.ask(want_id) == plain.ask(want_id, now[0])
        elif step == "leave":
            line.leave(want_id)
            plain.leave(want_id)
        elif step == "wait":
            now[0] += number / 4
        assert [line.place(i) for i in plain.ids()] == list(range(1, len(line) + 1))
        assert list(line.ready()) == [f"room-{i}" for i in plain.ids() if i in plain.asked]


def test_who_has_no_want_any_more_is_dropped_but_for_the_newest() -> None:
    """A line is not held up by who is gone; a want that has just come may not be in the books yet."""
    now = [0.0]
    line = Line(lambda: now[0])
    line.add("gone", "r1", 0.0)
    now[0] = 2 * HEAD_START
    line.add("new", "r2", 0.0)
    line.keep_only(set())
    assert "gone" not in line
    assert line.place("new") == 1
