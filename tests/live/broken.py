"""Set-ups in which people lose days, and the line of `roomkeeper check` that tells of each. The same table is
in docs/operations.md, word for word.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broken:
    setup: str
    line: str
    status: str
    says: str
    """A part of what is found, to the letter."""


BROKEN = {
    "livekit-away": Broken(
        "livekit-server is down, or the port is wrong", "livekit", "fail", "LiveKit is not reachable at"
    ),
    "not-livekit": Broken(
        "`LIVEKIT_URL` is some other web server", "livekit", "fail", "is not LiveKit (HTTP"
    ),
    "unknown-key": Broken(
        "an API key that LiveKit does not have", "key", "fail", "LiveKit does not know the API key"
    ),
    "wrong-secret": Broken(
        "the key is right, its secret is not", "key", "fail", "and has another secret for it"
    ),
    "clock-ahead": Broken(
        "this machine's clock is 10 min fast", "clock", "fail", "s ahead of LiveKit's, set it right"
    ),
    "clock-behind": Broken(
        "the same, slow: LiveKit itself does not notice", "clock", "fail", "s behind LiveKit's, set it right"
    ),
    "no-webhooks": Broken("LiveKit sends no webhooks", "webhooks", "fail", "no webhook came in"),
    "strange-webhooks": Broken(
        "webhooks are signed with a key that the gateway does not know",
        "webhooks",
        "fail",
        "webhooks come and are refused: signed with an API key that is not ours",
    ),
    "no-worker": Broken(
        "nobody serves the agent's name: the worker", "worker", "warn", "no worker of ours serves the agent"
    ),
    "nobody-comes": Broken("the same: the agent", "agent", "fail", "no worker took the job"),
    "agent-raises": Broken(
        "the agent raises before it has joined", "agent", "fail", "the agent's entrypoint raised RuntimeError"
    ),
    "agent-absent": Broken(
        "the agent takes the job and never joins", "agent", "fail", "the agent is on its way"
    ),
    "no-udp": Broken("UDP does not reach livekit-server", "media", "warn", "UDP does not get through"),
    "no-media": Broken(
        "LiveKit tells clients no address that they reach",
        "media",
        "fail",
        "no client can join: no way for media",
    ),
    "redis-away": Broken("Redis is down", "store", "fail", "cannot be reached"),
    "redis-evicts": Broken("Redis may throw keys away", "store", "fail", "has maxmemory-policy allkeys-lru"),
    "no-gateway": Broken("no gateway runs, or it listens elsewhere", "gateway", "fail", "nothing answers at"),
    "other-gateway": Broken(
        "the gateway has other keys than this environment",
        "gateway",
        "fail",
        "it was signed with an API key that is not ours",
    ),
}
