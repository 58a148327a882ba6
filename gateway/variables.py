"""How the text of a variable becomes a value. Each parser raises ValueError in words that follow the
variable's name; those of secrets never show the text. Knows no setting.
"""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

_HEADER = re.compile(r"""[\w!#$%&'*+.^`|~-]+[ \t]*=[ !#-+\--:<-\[\]-~\t]*""", re.ASCII)
PUBLISH_SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")
"""LiveKit's track sources."""
MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2: as long as the hash."""
MAX_AGENT_NAME_BYTES = 256
"""As many as a request may give an agent's name."""

T = TypeVar("T")

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.faults: list[str] = []

    def get(self, names: str, parse: Callable[[str], T], default: T) -> T:
        """The first of the space-separated `names` that is set and not blank, parsed; else the default."""
        for name in names.split():
            text = self._env.get(name, "").strip()
            if not text:
                continue
            try:
                return parse(text)
            except ValueError as fault:
                self.faults.append(f"{name}: {fault}")
                return default
        return default


def url(text: str) -> str:
    return address(text, {"ws", "wss", "http", "https"}, "must be a ws://, wss://, http:// or https:// URL")


def address(text: str, schemes: Collection[str], what: str) -> str:
    """The text never appears in a fault, nor anything secret in it afterwards: URLs are told and logged."""
    try:
        parts = urlsplit(text)
        # A port that is none is a ValueError when it is read.
        fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or UNPRINTABLE.search(text) or " " in text:
        raise ValueError(what)
    if "@" in parts.netloc:
        raise ValueError(f"{what}, without a user or a password")
    return text.rstrip("/")


def name(text: str) -> str:
    """An agent's name, as requests may give it."""
    if UNPRINTABLE.search(text) or len(text.encode()) > MAX_AGENT_NAME_BYTES:
        raise ValueError(f"must be at most {MAX_AGENT_NAME_BYTES} bytes, without control characters")
    return text


def plain(text: str) -> str:
    if UNPRINTABLE.search(text):
        raise ValueError("must have no control characters")
    return text


def secret(text: str) -> str:
    """The text never appears in a fault."""
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes, or it can be guessed")
    return plain(text)


def webhook_secret(text: str) -> str:
    """The text never appears in a fault."""
    try:
        length = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except ValueError:
        length = 0
    if not text.startswith("whsec_") or not 24 <= length <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)")
    return text


def source(text: str) -> str:
    if text not in PUBLISH_SOURCES:
        raise ValueError(f"must be of {', '.join(PUBLISH_SOURCES)}, not {text!r}")
    return text


def http_url(text: str) -> str:
    return address(text, {"http", "https"}, "must be http:// or https:// URLs")


def headers(text: str) -> str:
    """As OpenTelemetry reads them. The text never appears in a fault: OpenTelemetry itself would log it."""
    given = [part.strip() for part in text.split(",")]
    if not all(_HEADER.fullmatch(part) for part in given if part):
        raise ValueError("must be name=value, comma separated; in a value, write ; and the like as %3B")
    return text


def key_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """The text never appears in a fault."""
    pairs = []
    for line in re.split(r"[,\n]", text):
        key, colon, secret = (part.strip() for part in line.partition(":"))
        if not (key or colon or secret):
            continue
        if not key or not secret or UNPRINTABLE.search(key + secret) or " " in key + secret:
            raise ValueError("must be `key: secret` pairs, one a line or comma separated")
        pairs.append((key, secret))
    return tuple(pairs)


def network(text: str) -> str:
    try:
        if ipaddress.ip_network(text).prefixlen > 0:
            return text
    except ValueError:
        pass
    raise ValueError(f"must be your proxies' addresses, or networks as 10.0.0.0/8, not {text!r}")


def rate(text: str) -> str:
    """As the library `limits` writes rates; "" for any."""
    if text == "any":
        return ""
    if not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour)", text):
        raise ValueError(f"must be as 600/minute or 10/second, or any, not {text!r}")
    return text


def number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"must be a number of seconds, not {text!r}") from None
        if not low <= value <= high:  # also refuses nan
            raise ValueError(f"must be between {low:g} and {high:g} seconds, not {text}")
        return value

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def slots_or_percent(text: str) -> tuple[int, int]:
    """So many slots; or percent of those that are taken."""
    try:
        if text.endswith("%"):
            return 0, whole(0, 1000)(text[:-1])
        return whole(0, 100_000)(text), 0
    except ValueError:
        what = "must be a number of slots, or percent of the agents that run: 4, or 10%"
        raise ValueError(f"{what}, not {text!r}") from None


def megabytes(text: str) -> int:
    """In bytes."""
    return 1_000_000 * whole(0, 1_000_000)(text)


def switch(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ValueError(f"must be 1 or 0, not {text!r}")


def one_of(*choices: T) -> Callable[[str], T]:
    def parse(text: str) -> T:
        for choice in choices:
            if choice == text.lower():
                return choice
        raise ValueError(f"must be one of {', '.join(map(str, choices))}, not {text!r}")

    return parse


def several(item: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())

    return parse


def pattern(text: str) -> tuple[str, str]:
    pattern, _, agent = text.partition("=")
    if not pattern.strip():
        raise ValueError(f"{text!r} has no room pattern; write pattern or pattern=agent")
    re.compile(fnmatch.translate(pattern))
    return pattern.strip(), name(agent.strip())
