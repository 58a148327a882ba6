"""What a person says and hears: a microphone, an ear, and how much one resembles the other."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

import numpy as np
from livekit import rtc

from tests.live.speech import RATE, Pcm, loudness


class Microphone:
    """Plays silence without pause, as a browser's track does, and speech when told to."""

    def __init__(self, source: rtc.AudioSource) -> None:
        self._source = source
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="microphone")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._source.aclose()

    def speak(self, pcm: Pcm) -> None:
        """Queue speech; returns at once."""
        for frame in _frames(pcm):
            self._frames.put_nowait(frame)

    async def _run(self) -> None:
        silence = bytes(2 * (RATE // 100))
        while True:
            data = silence if self._frames.empty() else self._frames.get_nowait()
            await self._source.capture_frame(rtc.AudioFrame(data, RATE, 1, RATE // 100))


async def listen(track: rtc.RemoteAudioTrack, seconds: float) -> Pcm:
    """What came over the track in the next `seconds`, mono at `RATE`."""
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
    heard: list[Pcm] = []

    async def record() -> None:
        async for event in stream:
            heard.append(np.frombuffer(event.frame.data, np.int16).copy())  # noqa: PERF401 (it never ends)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(record(), seconds)
    await stream.aclose()
    return np.concatenate(heard) if heard else np.zeros(0, np.int16)


def resemblance(said: Pcm, heard: Pcm) -> float:
    """How much of what was heard rises and falls like what was said, at the best delay: 1 is the same."""
    said_steps, heard_steps = _envelope(said), _envelope(heard)
    if len(heard_steps) < len(said_steps) or not heard_steps.any():
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(heard_steps, len(said_steps))
    centred = windows - windows.mean(axis=1, keepdims=True)
    reference = said_steps - said_steps.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(reference)
    return float(np.max(centred @ reference / np.maximum(norms, 1e-9)))


def _envelope(pcm: Pcm) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    step = RATE // 50
    return np.array([loudness(pcm[i : i + step]) for i in range(0, len(pcm) - step + 1, step)])


def _frames(pcm: Pcm) -> list[bytes]:
    size = RATE // 100
    return [pcm[i : i + size].tobytes() for i in range(0, len(pcm) - size + 1, size)]
