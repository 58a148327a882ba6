"""The built-in agent says back what it hears: to whoever speaks, and again to one who comes back."""

from __future__ import annotations

import asyncio

import pytest

from tests.live.audio import listen
from tests.live.clients import Person
from tests.live.pool.stage import running
from tests.live.speech import loudness, sentence
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server"), pytest.mark.alone]
AUDIBLE = 0.02


async def is_echoed(person: Person) -> bool:
    """Whether a sentence of the person's is heard again from the agent within some seconds."""
    agent = await person.agent_track(timeout=5)
    async with person.microphone() as microphone:
        listening = asyncio.create_task(listen(agent.track, 6.0))
        microphone.speak(sentence(1.5))
        heard = await listening
    return loudness(heard) > AUDIBLE


async def test_the_echo_agent_answers_everybody_who_speaks(livekit_server: LiveKitServer) -> None:
    """One person, the same after leaving and coming back, and a second one."""
    async with running(livekit_server, "pool.agents.echo:server", slots=1) as stage:
        room = await stage.call()
        first = await stage.person(room)
        assert await is_echoed(first)
        second = await stage.person(room)
        await first.leave()
        assert await is_echoed(second)
        first.tracks.clear()
        await first.join()
        assert await is_echoed(first)
        await first.leave()
        await second.leave()
