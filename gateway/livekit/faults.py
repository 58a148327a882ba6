"""What goes wrong in a call to LiveKit's API, in words for an operator. Decides nothing: the caller knows
whether "not found" is an answer (fact 19); everything else is unknown, never absent (I3).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import aiohttp
from google.protobuf.message import DecodeError
from livekit.api import ServerError

from gateway.keeper.model import Unknown

MAX_SKEW = 60.0
"""Seconds: LiveKit's leeway on both ends of a token's life (fact 85)."""

FAULTS = (
    ServerError,
    aiohttp.ClientError,
    OSError,  # TimeoutError and ssl.SSLError among them
    DecodeError,
    # The SDK trips over a proxy's error page whose JSON is no object.
    AttributeError,
    TypeError,
    ValueError,
)
"""All that a call of livekit-api can raise for a fault of the outside."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call has no answer."""

    outcome: str
    """One word for metrics: not_found, refused, skewed, unavailable, timeout, unreachable, rejected,
    malformed."""
    why: str

    @property
    def unknown(self) -> Unknown:
        return Unknown(self.why, nodeless=self.outcome == "unavailable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else is known when a call fails."""

    method: str
    url: str
    timeout: float
    skew: float | None
    """Seconds by which our clock is ahead of LiveKit's; None while nothing was heard of it."""


def explain(error: BaseException, at: Circumstances) -> Fault:
    """Put a caught member of `FAULTS` into words. Pure."""
    if isinstance(error, ServerError):
        return _explain_answer(error, at)
    if isinstance(error, TimeoutError):
        return Fault("timeout", f"LiveKit gave no answer to {at.method} within {at.timeout:g} s")
    if isinstance(error, aiohttp.InvalidURL):
        return Fault("unreachable", f"LIVEKIT_URL is not a URL: {at.url}")
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return Fault("unreachable", f"no TLS connection to LiveKit at {at.url}: {error}")
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return Fault("unreachable", f"LiveKit is not reachable at {at.url}: {_text(error)}")
    return Fault(
        "malformed",
        f"what answered {at.method} at {at.url} is not LiveKit: {_text(error)}. Is LIVEKIT_URL right?",
    )


def _explain_answer(error: ServerError, at: Circumstances) -> Fault:
    answer = f"{error.status} {error.code}" + (f": {error.message}" if error.message else "")
    if error.code == "not_found":
        return Fault("not_found", f"LiveKit answered {at.method} with {answer}")
    if error.status in (401, 403):
        return Fault("refused", f"LiveKit refused the API key: {_remedy(at.skew)} ({answer})")
    if error.status == 503:
        # fact 19: a room on no node and a broken bus look the same
        return Fault("unavailable", f"LiveKit could not reach the room's node for {at.method} ({answer})")
    if error.status == 404:  # no Twirp code: not LiveKit's own "not found"
        return Fault("malformed", f"there is no LiveKit API at {at.url} (404). Is LIVEKIT_URL right?")
    return Fault("rejected", f"LiveKit answered {at.method} with {answer}")


def _remedy(skew: float | None) -> str:
    if skew is not None and abs(skew) > MAX_SKEW:
        return clock_is_off(skew)
    return "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"


def clock_is_off(skew: float) -> str:
    """fact 85: tokens of a machine whose clock is off are refused everywhere."""
    direction = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {abs(skew):.0f} s {direction} LiveKit's, set it right"


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
