"""Alerts on what Roomkeeper stands on and talks to: LiveKit, the store, Prometheus itself, callbacks."""

from __future__ import annotations

from gateway.observe.queries import (
    LIVEKIT_REFUSES,
    LIVEKIT_SILENT,
    PROCESS,
    WEBHOOK_REFUSED,
    WEBHOOK_TAKEN,
    counted,
    share,
)
from gateway.observe.rules import Alert, Group

CALLS = 'roomkeeper_livekit_call_seconds_count{outcome!="cancelled"}'


def outside(job: str) -> Group:
    return Group("roomkeeper-outside", [*_livekit(), *_store(), *_webhooks(), _callbacks(), *_targets(job)])


def _livekit() -> list[Alert]:
    def calls(outcomes: str, by: str) -> str:
        return share(f'roomkeeper_livekit_call_seconds_count{{outcome=~"{outcomes}"}}', CALLS, "5m", by)

    return [
        Alert(
            name="RoomkeeperLiveKitSilent",
            expr=f"{calls(LIVEKIT_SILENT, 'namespace')} > 0.5",
            lasting="2m",
            severity="page",
            summary="LiveKit does not answer {{ $value | humanizePercentage }} of the calls",
            description="No agent can be called, and nothing is replaced: Roomkeeper does not act on what"
            " it does not know. Calls that run go on as far as LiveKit does.",
        ),
        Alert(
            name="RoomkeeperLiveKitRefuses",
            expr=f"{calls(LIVEKIT_REFUSES, PROCESS)} > 0.5",
            lasting="2m",
            severity="page",
            summary="LiveKit refuses {{ $labels.instance }} {{ $value | humanizePercentage }} of its calls",
            description="The API key is wrong, or this machine's clock is off by a minute or more. The"
            " replica is not ready and does not lead; when all are refused, no agent comes.",
        ),
    ]


def _store() -> list[Alert]:
    beats = "roomkeeper_heartbeats_total"
    missed = 'roomkeeper_heartbeats_total{result="failed"}'
    return [
        Alert(
            name="RoomkeeperStoreAway",
            expr=f"{share(missed, beats, '2m', PROCESS)} > 0.5",
            lasting="1m",
            severity="page",
            summary="The store fails {{ $labels.instance }} in {{ $value | humanizePercentage }} of tries",
            description="Requests get 503, no job is taken, nothing is replaced. Calls that run go on.",
        )
    ]


def _webhooks() -> list[Alert]:
    refused = f'roomkeeper_webhooks_total{{verdict=~"{WEBHOOK_REFUSED}"}}'
    taken = f'roomkeeper_webhooks_total{{verdict=~"{WEBHOOK_TAKEN}"}}'
    joined = 'roomkeeper_time_to_agent_seconds_count{stage="joined"}'
    return [
        Alert(
            name="RoomkeeperWebhooksRefused",
            expr=f"{counted(refused, '10m', by='namespace, verdict')} > 10",
            lasting="5m",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} webhooks were refused in 10 minutes: {{ $labels.verdict }}',
            description="LiveKit signs with a key that Roomkeeper does not know, or a stranger knocks. What"
            " they told is noticed at the next comparison instead: callers wait up to 10 s longer.",
        ),
        Alert(
            name="RoomkeeperWebhooksMissing",
            expr=f"{counted(joined, '15m')} > 0\nunless {counted(taken, '15m')} > 0",
            lasting="15m",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} agents joined in 15 minutes, and LiveKit told of none',
            description="All is noticed at the next comparison only: a person who comes back, say, waits up"
            " to 10 s longer.",
        ),
    ]


def _callbacks() -> Alert:
    vain = 'roomkeeper_callbacks_total{outcome!="taken"}'
    return Alert(
        name="RoomkeeperCallbacksNotTaken",
        expr=f"{counted(vain, '15m')} > 0",
        severity="ticket",
        summary='{{ printf "%.0f" $value }} events were not taken at the callback URL in 15 minutes',
        description="Your server was not told that an agent was given up, or crashes again and again. The"
        " events are lost.",
    )


def _targets(job: str) -> list[Alert]:
    quoted = job.replace("\\", "\\\\").replace('"', '\\"')
    up = f'up{{job=~"{quoted}"}}'
    return [
        Alert(
            name="RoomkeeperTargetDown",
            expr=f"{up} == 0",
            lasting="3m",
            severity="ticket",
            summary="Prometheus cannot scrape {{ $labels.instance }}",
            description="The process is gone or hangs, or its operator port cannot be reached. The other"
            " replicas serve its share.",
        ),
        Alert(
            name="RoomkeeperDown",
            expr=f"absent({up} == 1)",
            lasting="2m",
            severity="page",
            summary="Prometheus sees no Roomkeeper at all",
            description="All of them are down, or none is scraped: then no other alert here can fire either.",
        ),
    ]
