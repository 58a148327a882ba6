"""Checks of the gateway and its replicas: who answers, who takes jobs, whether LiveKit's webhooks come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.http.probes import VERSION
from gateway.http.routes import WEBHOOK
from gateway.http.shapes import ProbeAnswer, RefusedWebhook, ReplicaAnswer, ReplicasAnswer
from gateway.operator.door import DoorFault
from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site

HOOK_WITHIN = 8.0
"""Seconds for a webhook. It comes within milliseconds; LiveKit tries again after 1, 2 and 4 s (fact 24)."""
ASK_EVERY = 0.2
REFUSED_ENOUGH = 2.0
"""Seconds after which nothing better comes when one was refused: LiveKit does not repeat it (fact 24)."""

START_IT = (
    "start it (`roomkeeper start module:server`, with this same environment), or say --url where it listens"
)


async def gateway(site: Site) -> Finding:
    """Somebody listens, is Roomkeeper, and believes our token."""
    try:
        probe = await site.gateway.ready()
        await site.gateway.replicas()
    except DoorFault as fault:
        if fault.status in (401, 403):
            return fail(
                str(fault), "run this with the gateway's own environment: it has other keys, or another clock"
            )
        return fail(str(fault), START_IT)
    if probe.version != VERSION:
        return warn(
            f"{site.gateway.url} is Roomkeeper {probe.version}, and this is {VERSION}",
            "run the check of the gateway's own version",
        )
    return ok(f"{site.gateway.url} is Roomkeeper {probe.version}")


async def ready(site: Site) -> Finding:
    """What its `/readyz` says."""
    try:
        return judged(await site.gateway.ready())
    except DoorFault as fault:
        return fail(str(fault), START_IT)


def judged(probe: ProbeAnswer) -> Finding:
    """Pure."""
    bad = [f"{name}: {check.why}" for name, check in probe.checks.items() if not check.ok]
    if not bad:
        return ok(", ".join(probe.checks))
    return fail(
        "; ".join(bad), "see `Where to look` in docs/operations.md; no request is sent here until then"
    )


async def worker(site: Site) -> Finding:
    """A worker serves the agent's name, and LiveKit knows of it."""
    try:
        told = await site.gateway.replicas()
    except DoorFault as fault:
        return fail(str(fault), START_IT)
    return served(told, site.agent or told.default_agent)


def served(told: ReplicasAnswer, agent: str) -> Finding:
    """Who of our replicas serves that name; of other workers LiveKit tells nothing (fact 79). Pure."""
    pools = [replica for replica in told.replicas if replica.slots]
    mine = [replica for replica in pools if replica.agent_name == agent]
    if not pools:
        return warn(
            "no worker of ours runs: rooms wait in line",
            "start one (`roomkeeper start --role worker`); where they are scaled from zero, the line `agent` "
            "tells whether one comes",
        )
    if not mine:
        names = ", ".join(sorted({repr(replica.agent_name) for replica in pools}))
        return warn(
            f"no worker of ours serves the agent {agent!r}; ours serve {names}",
            "set LIVEKIT_AGENT_NAME (or --agent) to the name that your AgentServer has, to the letter; when "
            "another worker serves it, the line `agent` tells whether it does",
        )
    takes = [replica for replica in mine if replica.registered and replica.takes_jobs]
    if not takes:
        why, cure = _why_not(mine)
        return fail(f"no worker for {agent!r} takes jobs: {why}", cure)
    slots, free = sum(r.slots for r in takes), sum(r.free for r in takes)
    found = f"{_count(len(takes), 'worker')} for {agent!r}, {free} of {_count(slots, 'slot')} free"
    return ok(found) if free else warn(found, "more slots (--slots) or more workers: rooms wait in line")


def _why_not(replicas: Sequence[ReplicaAnswer]) -> tuple[str, str]:
    """And what to do about it."""
    if not any(replica.registered for replica in replicas):
        return (
            "not registered with LiveKit",
            "see the gateway's log for `failed to connect to livekit` and `error initializing process`; a "
            "worker registers when its first process is warm",
        )
    if all(replica.draining for replica in replicas):
        return "draining", "they were told to end: start new ones"
    return (
        "out of the store's reach, or distrusted: what they took never joined",
        "see the line `store`, and the gateway's log for jobs that did not get into their rooms",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


async def webhooks(site: Site) -> Finding:
    """The room that was made is told of to some replica."""
    deadline = time.monotonic() + min(HOOK_WITHIN, site.left() - ASK_EVERY)
    replicas: set[str] = set()
    refused: dict[str, RefusedWebhook] = {}
    while True:
        try:
            told = await site.gateway.heard(site.room)
        except DoorFault as fault:
            return fail(str(fault), START_IT)
        since = time.monotonic() - site.made_at
        if told.heard:
            return ok(f"LiveKit's webhook of {site.room} was here after {since:.1f} s at most")
        replicas.add(told.replica)
        refused |= {r.verdict: r for r in told.refused if r.seconds_ago < since}
        if time.monotonic() > deadline or (refused and since > REFUSED_ENOUGH):
            return not_heard(list(refused.values()), since, len(replicas), _hook(site))
        await asyncio.sleep(ASK_EVERY)


def not_heard(refused: Sequence[RefusedWebhook], since: float, replicas: int, hook: str) -> Finding:
    """Pure."""
    if refused:
        why = "; ".join(sorted({refusal.why for refusal in refused}))
        return fail(
            f"webhooks come and are refused: {why}",
            "set livekit-server's `webhook.api_key` to LIVEKIT_API_KEY, or add the pair that it signs with "
            "to LIVEKIT_KEYS",
        )
    return fail(
        f"no webhook came in {since:.0f} s ({_count(replicas, 'replica')} asked): without them agents come "
        "up to 10 s later",
        f"add {hook}, as LiveKit reaches it, to livekit-server's `webhook.urls`; see its log for "
        "`failed to send webhook`",
    )


def _hook(site: Site) -> str:
    return (site.settings.http.public_url or site.gateway.url) + WEBHOOK
