"""Callers without an agent, and the promise about how soon one comes."""

from __future__ import annotations

from tests.unit.observe.cases.case import AGENT, GAVE_UP, IN_TIME, JOINED, ON_AGENT, POD, Case

CALLERS = (
    Case(
        alert="RoomkeeperAgentMissing",
        when="a room waits for its agent",
        series={f"roomkeeper_oldest_wait_seconds{{{AGENT}}}": "0+60x5"},
        at="3m",
        says="A room has lacked its agent anna for 3m 0s",
        labels=ON_AGENT,
    ),
    Case(
        alert="RoomkeeperAgentMissing",
        when="rooms wait, none for long",
        series={f"roomkeeper_oldest_wait_seconds{{{AGENT}}}": "55 5 58 3 59 2"},
        at="5m",
    ),
    Case(
        alert="RoomkeeperLineGrowing",
        when="the line grows for a quarter of an hour",
        series={f"roomkeeper_agents_waiting{{{AGENT}}}": "1+1x20"},
        at="18m",
        says="19 rooms wait in line for anna, ever more",
        labels=ON_AGENT,
    ),
    Case(
        alert="RoomkeeperLineGrowing",
        when="a long line gets shorter",
        series={f"roomkeeper_agents_waiting{{{AGENT}}}": "40-1x20"},
        at="18m",
    ),
    Case(
        alert="RoomkeeperGaveUp",
        when="a room was given up",
        series={GAVE_UP: "0x5 1x10"},
        at="12m",
        says="1 rooms were given up in 10 minutes",
    ),
    Case(
        alert="RoomkeeperGaveUp",
        when="the last one was given up long ago",
        series={GAVE_UP: "7x30"},
        at="30m",
    ),
    Case(
        alert="RoomkeeperCrashLoop",
        when="agents die in their calls",
        series={
            f'roomkeeper_agents_replaced_total{{{POD},reason="died"}}': "0+1x30",
            f'roomkeeper_agents_replaced_total{{{POD},reason="raised"}}': "0+1x30",
            JOINED: "0+3x30",
        },
        at="20m",
        says="20 agents crashed in their calls in 10 minutes",
    ),
    Case(
        alert="RoomkeeperCrashLoop",
        when="a few of very many die, and people who leave spend theirs",
        series={
            f'roomkeeper_agents_replaced_total{{{POD},reason="died"}}': "0+1x30",
            f'roomkeeper_agents_replaced_total{{{POD},reason="spent"}}': "0+50x30",
            JOINED: "0+100x30",
        },
        at="20m",
    ),
)

PROMISE = (
    Case(
        alert="RoomkeeperAgentsLate",
        when="every fifth agent is late for an hour",
        series={JOINED: "0+5x90", IN_TIME: "0+4x90", GAVE_UP: "0x90"},
        at="70m",
        says="20% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="agents are given up, and none is late",
        series={JOINED: "0+4x90", IN_TIME: "0+4x90", GAVE_UP: "0+1x90"},
        at="70m",
        says="20% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="every eighth agent is late for six hours",
        series={JOINED: "0+40x90", IN_TIME: "0+35x90", GAVE_UP: "0x90"},
        step="5m",
        at="390m",
        says="12.5% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="it was so until half an hour ago",
        series={JOINED: "0+5x120", IN_TIME: "0+4x60 245+5x60", GAVE_UP: "0x120"},
        at="96m",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="the one caller of the night came late",
        series={JOINED: "0x80 1x30", IN_TIME: "0x110", GAVE_UP: "0x110"},
        at="84m",
    ),
    Case(
        alert="RoomkeeperAgentsLateForDays",
        when="one in fifty is late for three days",
        series={JOINED: "0+750x300", IN_TIME: "0+735x300", GAVE_UP: "0x300"},
        step="15m",
        at="74h",
        says="2% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLateForDays",
        when="one in two hundred is",
        series={JOINED: "0+3000x300", IN_TIME: "0+2985x300", GAVE_UP: "0x300"},
        step="15m",
        at="74h",
    ),
)
