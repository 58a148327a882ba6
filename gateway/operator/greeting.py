"""One small signed call to LiveKit, and what its answer tells: is it LiveKit, does it know the key, is the
secret the same, are the clocks together. LiveKit says more to a wrong token than its SDK hands on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import msgspec

from gateway.livekit import tokens
from gateway.livekit.faults import FAULTS, MAX_SKEW, Circumstances, Fault, clock_is_off, explain
from gateway.operator.line import Finding, fail, ok, skipped, warn
from gateway.settings import LiveKitSettings

METHOD = "ListRooms"
TIMEOUT = 5.0
NOTICED = 5.0
"""Seconds of clock difference that are worth a word."""
_MOST = 65_536

KEY_UNKNOWN = "invalid API key"
SIGNATURE = "signature is invalid"
TIMES = ("not valid yet", "expired", "used before issued")
_OWN_WORDS = (KEY_UNKNOWN, "invalid token", "invalid authorization token", "permissions denied")
"""How LiveKit 1.13.5 refuses, in plain text; "invalid token" is followed by the token itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An HTTP answer."""

    status: int
    is_json: bool
    text: str
    """There may be a token in it: it is never shown."""
    skew: float | None
    """Seconds by which our clock is ahead of the one who answered; None when it was not told."""
    took_s: float

    @property
    def is_livekits(self) -> bool:
        return self.is_json or (self.status in (401, 403) and self.text.startswith(_OWN_WORDS))


async def listen(
    http: aiohttp.ClientSession, livekit: LiveKitSettings, clock: Callable[[], float]
) -> Heard | Fault:
    url = re.sub("^ws", "http", livekit.url.rstrip("/"))
    token = tokens.mint_operator(livekit.api_key, livekit.api_secret, identity="roomkeeper-check", ttl=60)
    began = time.monotonic()
    try:
        async with http.post(
            f"{url}/twirp/livekit.RoomService/{METHOD}",
            json={"names": ["roomkeeper-probe"]},
            headers={"authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(TIMEOUT),
            allow_redirects=False,
        ) as answer:
            body = await answer.content.read(_MOST)
            return Heard(
                status=answer.status,
                is_json=_is_object(body),
                text=body.decode(errors="replace"),
                skew=_skew(answer.headers.get("Date", ""), clock()),
                took_s=time.monotonic() - began,
            )
    except FAULTS as fault:
        return explain(fault, Circumstances(method=METHOD, url=livekit.url, timeout=TIMEOUT, skew=None))


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False


def _skew(date: str, now: float) -> float | None:
    try:
        return now - (parsedate_to_datetime(date).timestamp() + 0.5)  # the header has whole seconds
    except ValueError:
        return None


def reached(heard: Heard | Fault, livekit: LiveKitSettings) -> Finding:
    """Whether LiveKit answers at LIVEKIT_URL."""
    if isinstance(heard, Fault):
        return fail(heard.why, _MENDS.get(heard.outcome, _MENDS["unreachable"]))
    if not heard.is_livekits:
        return fail(
            f"what answers at {livekit.url} is not LiveKit (HTTP {heard.status})",
            "set LIVEKIT_URL to livekit-server itself: its `port`, 7880 by default; when a proxy stands "
            "before it, see where the proxy sends /twirp and /rtc",
        )
    found = f"{livekit.url} answers, after {heard.took_s * 1000:.0f} ms"
    public = urlsplit(livekit.client_url)
    if public.scheme == "ws" and public.hostname not in _THIS_MACHINE:
        return warn(
            f"{found}; browsers are told {livekit.client_url}, which a page from https:// may not open",
            "put TLS before LiveKit, and set ROOMKEEPER_LIVEKIT_PUBLIC_URL to its wss:// URL",
        )
    return ok(found)


_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
_MENDS = {
    "unreachable": "see that livekit-server runs, that LIVEKIT_URL has its host and port (`port`, 7880 by "
    "default) and the right one of ws:// and wss://, and that no firewall is between",
    "timeout": "something at that address takes connections and says nothing: see that it is livekit-server, "
    "and what a firewall between does",
    "malformed": "set LIVEKIT_URL to livekit-server itself: its `port`, 7880 by default",
}


def key_known(heard: Heard | Fault, livekit: LiveKitSettings) -> Finding:
    """Whether LiveKit believes what we sign. Only asked when it answered."""
    assert isinstance(heard, Heard)
    key = livekit.api_key
    if heard.status not in (401, 403):
        return ok(f"LiveKit knows the API key {key}, and has the same secret")
    if heard.text.startswith(KEY_UNKNOWN):
        return fail(
            f"LiveKit does not know the API key {key}",
            "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET to a pair of livekit-server's `keys`",
        )
    if SIGNATURE in heard.text:
        return fail(
            f"LiveKit knows the API key {key}, and has another secret for it",
            "set LIVEKIT_API_SECRET to what stands beside that key in livekit-server's `keys`; look for "
            "blanks, quotes and line ends that came with it",
        )
    if any(words in heard.text for words in TIMES):
        return skipped("LiveKit refuses tokens from a clock that is off, before it looks at the key")
    return fail(
        f"LiveKit refused the API key {key}, and did not say why (HTTP {heard.status})",
        "compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with livekit-server's `keys`",
    )


def clock_right(heard: Heard | Fault) -> Finding:
    """Whether this machine's clock is LiveKit's (fact 85). Only asked when it answered."""
    assert isinstance(heard, Heard)
    if heard.skew is None:
        return skipped("the answer had no Date")
    off = abs(heard.skew)
    if off > MAX_SKEW:
        return fail(clock_is_off(heard.skew), f"{_SET_IT}; LiveKit allows {MAX_SKEW:.0f} s")
    if off > NOTICED:
        return warn(clock_is_off(heard.skew), f"{_SET_IT}, before it is more than {MAX_SKEW:.0f} s")
    return ok("it is LiveKit's, to a second" if off <= 1.5 else f"{off:.0f} s from LiveKit's")


_SET_IT = "have NTP set it (chrony, systemd-timesyncd), here and on LiveKit's machine"
