"""What an unmodified `AgentSession` agent's turns take and use comes into the worker's metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from pool.ports import JobEventKind as Kind
from tests.live.clients import Person
from tests.live.pool.agents import speaker
from tests.live.pool.stage import running
from tests.live.speech import sentence
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server"), pytest.mark.alone]

SPEAKER = "tests.live.pool.agents.speaker"
VOICE = "roomkeeper_voice_"
TURNS = 6
"""A person says something so often at most."""
LATE = 1.0
"""Seconds that a machine with other work may add to a time."""


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(VOICE + name, labels) or 0.0


async def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold in that time: nobody tells of metrics."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def agent_speaks(person: Person) -> bool:
    """As livekit-agents tells everybody in the room (fact 69)."""
    others = person.room.remote_participants.values()
    return any(other.attributes.get("lk.agent.state") == "speaking" for other in others)


def check(registry: CollectorRegistry, name: str, least: float) -> None:
    """Measured, and about as long as the agent's parts take."""
    count = value(registry, f"{name}_seconds_count")
    assert 1 <= count <= TURNS
    assert least * count <= value(registry, f"{name}_seconds_sum") <= (least + LATE) * count


async def test_a_spoken_turn_is_measured_and_an_interruption_counted(livekit_server: LiveKitServer) -> None:
    """A person speaks until answered, and again while the agent speaks, until it has stopped for that. What
    the agent does not hear yet, or what comes when it has just ended, makes a turn of its own, or none."""
    async with running(livekit_server, SPEAKER, slots=1) as stage:
        registry = stage.registry
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        async with person.microphone() as microphone:
            for _ in range(TURNS):
                await within(5.0, lambda: agent_speaks(person))
                microphone.speak(sentence(1.5))
                if await within(4.0, lambda: value(registry, "interruptions_total") >= 1):
                    break
            assert value(registry, "interruptions_total") >= 1
        await person.leave()
    check(registry, "time_to_first_token", speaker.THINKS)
    check(registry, "time_to_first_audio", speaker.TUNES)
    check(registry, "end_of_turn_delay", speaker.WAITS)
    check(registry, "response_delay", speaker.WAITS + speaker.THINKS + speaker.TUNES)
    replies = value(registry, "tokens_total", model="llm", kind="output") / speaker.COMPLETION_TOKENS
    assert replies in range(1, TURNS + 1)
    assert value(registry, "tokens_total", model="llm", kind="input") == replies * speaker.PROMPT_TOKENS
    assert value(registry, "tokens_total", model="llm", kind="cached") == replies * speaker.CACHED_TOKENS


async def test_a_written_turn_is_measured(livekit_server: LiveKitServer) -> None:
    """No speech, so no end of a turn. What a session tells as it closes is heard, too."""
    async with running(livekit_server, SPEAKER, slots=1) as stage:
        registry = stage.registry
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.say("hello")
        assert await within(5.0, lambda: agent_speaks(person))
        await person.leave()
        await stage.keeper.event(room, Kind.SESSION_CLOSED)
    check(registry, "time_to_first_token", speaker.THINKS)
    check(registry, "time_to_first_audio", speaker.TUNES)
    assert value(registry, "end_of_turn_delay_seconds_count") == 0
    assert value(registry, "tokens_total", model="llm", kind="output") == speaker.COMPLETION_TOKENS


async def test_an_agent_without_a_session_tells_nothing(livekit_server: LiveKitServer) -> None:
    """All counts stay 0, and no tokens are there to be counted."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        stage.pool.end(stage.keeper.job_in(room))
        await stage.keeper.event(room, Kind.EXITED)
    told = [sample for family in stage.registry.collect() for sample in family.samples]
    voice = [sample for sample in told if sample.name.startswith(VOICE) and "_created" not in sample.name]
    assert voice
    assert not any(sample.value for sample in voice)
