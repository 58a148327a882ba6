"""LiveKit, the store, webhooks, callbacks."""

from __future__ import annotations

from tests.unit.observe.cases.case import JOINED, ON_POD, OTHER, POD, Case, livekit

OUTSIDE = (
    Case(
        alert="RoomkeeperLiveKitSilent",
        when="nothing answers",
        series={livekit("ok"): "0+10x5 50x20", livekit("timeout"): "0x5 0+10x20"},
        at="15m",
        says="LiveKit does not answer 100% of the calls",
    ),
    Case(
        alert="RoomkeeperLiveKitSilent",
        when="rooms are not found, and calls are given up by us",
        series={
            livekit("ok"): "0+1x25",
            livekit("not_found"): "0+30x25",
            livekit("cancelled"): "0+30x25",
            livekit("unavailable"): "0+1x25",
        },
        at="15m",
    ),
    Case(
        alert="RoomkeeperLiveKitRefuses",
        when="one replica's clock is off",
        series={livekit("skewed"): "0+10x25", livekit("ok", who=OTHER): "0+90x25"},
        at="15m",
        says="LiveKit refuses 10.0.0.1:8080 100% of its calls",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperLiveKitRefuses",
        when="LiveKit answers",
        series={livekit("ok"): "0+10x25", livekit("refused"): "0+1x25"},
        at="15m",
    ),
    Case(
        alert="RoomkeeperStoreAway",
        when="Redis does not answer one replica",
        series={
            f'roomkeeper_heartbeats_total{{{POD},result="ok"}}': "0+120x5 600x10",
            f'roomkeeper_heartbeats_total{{{POD},result="failed"}}': "0x5 0+60x10",
            f'roomkeeper_heartbeats_total{{{OTHER},result="ok"}}': "0+120x15",
        },
        at="10m",
        says="The store fails 10.0.0.1:8080 in 100% of tries",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperStoreAway",
        when="a heartbeat in a hundred fails",
        series={
            f'roomkeeper_heartbeats_total{{{POD},result="ok"}}': "0+119x15",
            f'roomkeeper_heartbeats_total{{{POD},result="failed"}}': "0+1x15",
        },
        at="10m",
    ),
    Case(
        alert="RoomkeeperWebhooksRefused",
        when="LiveKit signs with another secret",
        series={f'roomkeeper_webhooks_total{{{POD},event="unknown",verdict="bad_signature"}}': "0+10x30"},
        at="20m",
        says="100 webhooks were refused in 10 minutes: bad_signature",
        labels={"namespace": "calls", "verdict": "bad_signature"},
    ),
    Case(
        alert="RoomkeeperWebhooksRefused",
        when="a stranger knocked once, and LiveKit's repeat themselves",
        series={
            f'roomkeeper_webhooks_total{{{POD},event="unknown",verdict="unsigned"}}': "0x5 1x25",
            f'roomkeeper_webhooks_total{{{POD},event="room_started",verdict="repeated"}}': "0+10x30",
        },
        at="20m",
    ),
    Case(
        alert="RoomkeeperWebhooksMissing",
        when="agents join, and no webhook ever came",
        series={JOINED: "0+1x60"},
        at="50m",
        says="15 agents joined in 15 minutes, and LiveKit told of none",
    ),
    Case(
        alert="RoomkeeperWebhooksMissing",
        when="webhooks come",
        series={
            JOINED: "0+1x60",
            f'roomkeeper_webhooks_total{{{POD},event="participant_joined",verdict="queued"}}': "0+1x60",
        },
        at="50m",
    ),
    Case(
        alert="RoomkeeperCallbacksNotTaken",
        when="the callback URL answers 500",
        series={f'roomkeeper_callbacks_total{{{POD},outcome="refused"}}': "0x5 3x20"},
        at="15m",
        says="3 events were not taken at the callback URL in 15 minutes",
    ),
    Case(
        alert="RoomkeeperCallbacksNotTaken",
        when="it takes them",
        series={f'roomkeeper_callbacks_total{{{POD},outcome="taken"}}': "0+3x20"},
        at="15m",
    ),
    Case(
        alert="RoomkeeperTargetDown",
        when="one of two is gone",
        series={
            'up{job="roomkeeper-workers",instance="10.0.0.1:8080"}': "1 0x10",
            'up{job="roomkeeper-workers",instance="10.0.0.2:8080"}': "1x11",
        },
        at="8m",
        says="Prometheus cannot scrape 10.0.0.1:8080",
        labels={"job": "roomkeeper-workers", "instance": "10.0.0.1:8080"},
    ),
    Case(
        alert="RoomkeeperTargetDown",
        when="somebody else's is",
        series={
            'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1x11",
            'up{job="node",instance="10.0.0.1:9100"}': "0x11",
        },
        at="8m",
    ),
    Case(
        alert="RoomkeeperDown",
        when="all are gone",
        series={'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1 0x10"},
        at="8m",
        says="Prometheus sees no Roomkeeper at all",
        labels={},
    ),
    Case(
        alert="RoomkeeperDown",
        when="one is left",
        series={
            'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1x11",
            'up{job="roomkeeper",instance="10.0.0.2:8080"}': "0x11",
        },
        at="8m",
    ),
)
