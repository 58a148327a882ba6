"""The main journey: a POST, and a person hears the echo of their own speech."""

from __future__ import annotations

import pytest

from tests.live.audio import listen, resemblance
from tests.live.conftest import Rooms
from tests.live.observer import Observer
from tests.live.site import Site
from tests.live.speech import loudness, sentence

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server"), pytest.mark.alone]

SERVED = 15.0
SILENCE = 0.001
SPEECH = 0.02
ALIKE = 0.7


async def test_a_person_hears_their_own_speech_echoed(site: Site, observer: Observer, rooms: Rooms) -> None:
    """The built-in agent is silent at first, and says back what it heard once the speaker pauses."""
    async with site.gateway(None, slots=2) as gateway:
        room = rooms("echo")
        async with site.person(room) as person, person.microphone() as microphone:
            await gateway.ask(room, wait=SERVED)
            voice = await person.agent_track(timeout=SERVED)
            assert loudness(await listen(voice.track, 1.0)) < SILENCE
            said = sentence(2.0)
            microphone.speak(said)
            heard = await listen(voice.track, 7.0)
            assert loudness(heard) > SPEECH / 2
            assert resemblance(said, heard) > ALIKE
