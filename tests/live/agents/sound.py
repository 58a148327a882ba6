"""An agent's voice for tests: one audio track, and a short tone so that something is on it. Not an agent.

The source has no queue: between tones it sends nothing, where LiveKit's default sends silence for ever. That
takes 3 % of a core for each agent, which would be most of what a bench with forty of them measures.
"""

from __future__ import annotations

import numpy as np
from livekit import rtc

RATE = 48_000
TONE_HZ = 440.0
TONE_S = 0.2


async def publish_voice(room: rtc.Room) -> rtc.AudioSource:
    """Publish an audio track; returns its source."""
    source = rtc.AudioSource(RATE, 1, queue_size_ms=0)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    return source


async def beep(source: rtc.AudioSource) -> None:
    """Send the tone once, as fast as it goes."""
    samples = RATE // 100
    wave = 8000 * np.sin(2 * np.pi * TONE_HZ * np.arange(int(RATE * TONE_S)) / RATE)
    pcm = wave.astype(np.int16)
    for start in range(0, len(pcm), samples):
        frame = pcm[start : start + samples].tobytes()
        await source.capture_frame(rtc.AudioFrame(frame, RATE, 1, samples))
