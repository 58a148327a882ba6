"""What a job process tells of its session's voice, as counts and times, and how much of it is believed.

A leaf: both sides import it. There is no name in it, of a room, a caller or a model: nobody can make a metric
grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import msgspec


class Time(StrEnum):
    """What took so long, in seconds."""

    FIRST_TOKEN = "first_token"  # noqa: S105  (no password)
    FIRST_AUDIO = "first_audio"
    END_OF_TURN = "end_of_turn"
    RESPONSE = "response"


class Tokens(StrEnum):
    """Whose tokens, and which: `<model>_<kind>`."""

    LLM_INPUT = "llm_input"
    LLM_CACHED = "llm_cached"
    LLM_OUTPUT = "llm_output"
    STT_INPUT = "stt_input"
    STT_OUTPUT = "stt_output"
    TTS_INPUT = "tts_input"
    TTS_OUTPUT = "tts_output"

    @property
    def labels(self) -> tuple[str, str]:
        model, _, kind = self.value.partition("_")
        return model, kind


EVERY = 1.0
"""Seconds between two reports of a session: what comes in between is told together."""
MOST_AT_ONCE = 20
"""Times of one kind, and interruptions, in one report: more turns than a second has."""
LONGEST = 600.0
"""Seconds. What took longer is no figure of a conversation."""
MOST_TOKENS = 10_000_000
"""Of one kind in one report."""


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened in a session since the last report."""

    times: dict[Time, list[float]] = {}
    interruptions: int = 0
    tokens: dict[Tokens, int] = {}


def believed(figures: Figures) -> Figures:
    """Without what cannot be: user code runs where this was said."""
    times = {
        kind: [each for each in seconds[:MOST_AT_ONCE] if 0.0 <= each <= LONGEST]  # NaN is in no range
        for kind, seconds in figures.times.items()
    }
    tokens = {kind: count for kind, count in figures.tokens.items() if 0 < count <= MOST_TOKENS}
    interruptions = figures.interruptions if 0 <= figures.interruptions <= MOST_AT_ONCE else 0
    return Figures(times=times, interruptions=interruptions, tokens=tokens)


class Allowance:
    """How many reports of one process are heard: twice as many as an honest one sends, and at once as many as
    it sends while its worker stands still for a minute."""

    BURST = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = self.BURST
        self._at = clock()

    def take(self) -> bool:
        """Whether one more may be heard."""
        now = self._clock()
        self._left = min(self.BURST, self._left + (now - self._at) * 2 / EVERY)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
