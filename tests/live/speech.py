"""A synthetic voice: vowels that a voice activity detector takes for speech. No recording, no engine."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
SYLLABLE_S = 0.18
# The first three formants (Hz) of a, i, u, e, o.
_VOWELS = np.array(
    [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]]
)
_WIDTHS = np.array([90.0, 120.0, 160.0])
_GAINS = np.array([1.0, 0.6, 0.3])

Pcm = NDArray[np.int16]


@cache
def sentence(seconds: float = 2.0) -> Pcm:
    """Mono 16-bit samples at `RATE`: syllables over a falling pitch, with a word's gap after every fifth."""
    t = np.arange(int(RATE * seconds)) / RATE
    syllable = (t / SYLLABLE_S).astype(int)
    pitch = 130 - 12 * t / seconds + 15 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = _VOWELS[syllable % len(_VOWELS)]
    voice = np.zeros_like(t)
    for harmonic in range(1, 28):
        distance = (harmonic * pitch[:, None] - formants) / _WIDTHS
        voice += ((_GAINS / (1 + distance**2)).sum(axis=1) / np.sqrt(harmonic)) * np.sin(harmonic * phase)
    voice *= np.sin(np.pi * (t / SYLLABLE_S - syllable)) ** 0.5 * (syllable % 6 < 5)
    return np.asarray(0.6 * 32767 * voice / np.abs(voice).max(), dtype=np.int16)


def loudness(pcm: Pcm) -> float:
    """Root mean square on a scale where full scale is 1."""
    return float(np.sqrt(np.mean((pcm / 32768.0) ** 2))) if len(pcm) else 0.0
