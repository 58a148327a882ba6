"""What job processes tell of their sessions: little, never felt in the call, and not believed blindly."""

from __future__ import annotations

import asyncio
import logging
import math
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from livekit import rtc
from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    SessionUsageUpdatedEvent,
    llm,
    metrics,
)
from prometheus_client import CollectorRegistry

from pool.figures import EVERY, LONGEST, MOST_AT_ONCE, MOST_TOKENS, Allowance, Figures, Time, Tokens, believed
from pool.metrics import VoiceMetrics
from pool.reports import Report, Wire
from pool.voice import Voice

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The pool is asyncio's, as livekit-agents is."""
    return "asyncio"


class Told:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.figures: list[Figures] = []
        self.came = asyncio.Event()

    def __call__(self, figures: Figures) -> None:
        self.figures.append(figures)
        self.came.set()


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def session() -> AgentSession[None]:
    """livekit-agents' own, which was not started."""
    return AgentSession(vad=None)


def said(role: llm.ChatRole, *, interrupted: bool = False, **measured: Any) -> ConversationItemAddedEvent:
    message = llm.ChatMessage(role=role, content=["..."], interrupted=interrupted)
    message.metrics = cast(llm.MetricsReport, measured)
    return ConversationItemAddedEvent(item=message)


def used(*, input_tokens: int, output_tokens: int = 0) -> SessionUsageUpdatedEvent:
    """All that the session has used so far."""
    models: list[metrics.ModelUsage] = [
        metrics.LLMModelUsage(
            provider="p", model="m", input_tokens=input_tokens, output_tokens=output_tokens
        ),
        metrics.TTSModelUsage(provider="p", model="n", input_tokens=2 * input_tokens),
    ]
    return SessionUsageUpdatedEvent(usage=metrics.AgentSessionUsage(model_usage=models))


# -- in the job process ------------------------------------------------------------------------------------


async def test_a_turn_is_told_in_one_report(session: AgentSession[None], told: Told) -> None:
    """Within a second, with all that it was made of."""
    Voice(session, told)
    session.emit("conversation_item_added", said("user", end_of_turn_delay=0.5, transcription_delay=0.2))
    session.emit(
        "conversation_item_added",
        said("assistant", interrupted=True, llm_node_ttft=0.25, tts_node_ttfb=0.3, e2e_latency=1.1),
    )
    session.emit("session_usage_updated", used(input_tokens=7, output_tokens=2))
    async with asyncio.timeout(2 * EVERY):
        await told.came.wait()
    times = {
        Time.END_OF_TURN: [0.5],
        Time.FIRST_TOKEN: [0.25],
        Time.FIRST_AUDIO: [0.3],
        Time.RESPONSE: [1.1],
    }
    tokens = {Tokens.LLM_INPUT: 7, Tokens.LLM_OUTPUT: 2, Tokens.TTS_INPUT: 14}
    assert told.figures == [Figures(times=times, interruptions=1, tokens=tokens)]


async def test_only_new_tokens_are_told(session: AgentSession[None], told: Told) -> None:
    """The session tells its sums; a repetition says nothing."""
    voice = Voice(session, told)
    for sums in (used(input_tokens=7), used(input_tokens=10), used(input_tokens=10)):
        session.emit("session_usage_updated", sums)
        voice.flush()
    assert [told.tokens[Tokens.LLM_INPUT] for told in told.figures] == [7, 3]


async def test_a_storm_of_events_is_one_small_report(session: AgentSession[None], told: Told) -> None:
    """However many there are in a second."""
    voice = Voice(session, told)
    for _ in range(5000):
        session.emit("conversation_item_added", said("assistant", interrupted=True, llm_node_ttft=0.1))
    voice.flush()
    (figures,) = told.figures
    assert len(figures.times[Time.FIRST_TOKEN]) == figures.interruptions == MOST_AT_ONCE
    assert len(msgspec.json.encode(figures)) < 1000


async def test_what_goes_wrong_is_not_felt_in_the_call(
    session: AgentSession[None], told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """A TypeError of a listener would get through upstream's `emit` into its own code."""
    Voice(session, told)
    strange = said("assistant")
    cast(Any, strange.item).metrics = None
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            session.emit("conversation_item_added", strange)
            session.emit("session_usage_updated", cast(Any, SimpleNamespace()))
    assert len(caplog.records) == 1
    session.emit("conversation_item_added", said("assistant", llm_node_ttft=0.1))
    async with asyncio.timeout(2 * EVERY):
        await told.came.wait()


async def test_a_worker_that_does_not_listen_is_not_felt(session: AgentSession[None]) -> None:
    """A report that cannot be sent is lost."""

    def broken(_: Figures) -> None:
        raise TypeError

    voice = Voice(session, broken)
    session.emit("conversation_item_added", said("assistant", llm_node_ttft=0.1))
    voice.flush()
    assert voice.failed


async def test_times_that_are_none_are_not_told(session: AgentSession[None], told: Told) -> None:
    """Upstream says -1 where nothing was generated; a user's own node may say anything."""
    voice = Voice(session, told)
    for strange in (-1, -0.5, math.nan, math.inf, LONGEST * 2, "soon", None):
        session.emit("conversation_item_added", said("assistant", llm_node_ttft=strange))
    voice.flush()
    assert told.figures == []


async def test_a_realtime_model_tells_by_its_own_session(told: Told) -> None:
    """Each agent of a session has another one."""
    session: Any = rtc.EventEmitter()
    voice = Voice(session, told)
    for agent in range(2):
        realtime: Any = rtc.EventEmitter()
        session.current_agent = SimpleNamespace(realtime_llm_session=realtime)
        for state in ("listening", "thinking"):
            event = AgentStateChangedEvent(old_state="idle", new_state=cast(Any, state))
            session.emit("agent_state_changed", event)
        for ttft in (0.4 + agent, -1):
            realtime.emit("metrics_collected", realtime_metrics(ttft))
    voice.flush()
    assert told.figures == [Figures(times={Time.FIRST_AUDIO: [0.4, 1.4]})]


def realtime_metrics(ttft: float) -> metrics.RealtimeModelMetrics:
    return metrics.RealtimeModelMetrics(
        request_id="r",
        timestamp=0,
        ttft=ttft,
        input_token_details=metrics.RealtimeModelMetrics.InputTokenDetails(),
        output_token_details=metrics.RealtimeModelMetrics.OutputTokenDetails(),
    )


OFFERS = """
import sys
from pool.child import Link
from pool.figures import Figures, Time
from pool.reports import Report
link = Link(sys.argv[1])
report = Report(pid=1, job_id="J", voice=Figures(times={Time.RESPONSE: [0.1] * 20}))
for _ in range(20_000):
    link.offer(report)
print('done', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        yield listener


def test_a_worker_that_stands_still_does_not_hold_up_the_call(listener: socket.socket) -> None:
    """What it has not taken for a while is lost, in whole lines; there is room for a job's other reports."""
    command = [sys.executable, "-c", OFFERS, listener.getsockname()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        wire, _ = listener.accept()
        assert child.stdout is not None
        told, _, _ = select.select([child.stdout], [], [], 20.0)
        child.kill()
        assert told
        with wire, wire.makefile("rb") as lines:
            reports = [msgspec.json.decode(line, type=Report) for line in lines]
    assert 10 < len(reports) < 100


# -- at the worker -----------------------------------------------------------------------------------------


def test_lies_are_not_believed() -> None:
    """Nothing negative, endless or too much, and no more than a second can have."""
    lie = Figures(
        times={
            Time.FIRST_TOKEN: [-1.0, math.nan, math.inf, LONGEST + 1, 0.2],
            Time.RESPONSE: [1.0] * 1000,
        },
        interruptions=10**30,
        tokens={Tokens.LLM_INPUT: -5, Tokens.LLM_OUTPUT: MOST_TOKENS + 1, Tokens.LLM_CACHED: 3},
    )
    truth = believed(lie)
    assert truth.times == {Time.FIRST_TOKEN: [0.2], Time.RESPONSE: [1.0] * MOST_AT_ONCE}
    assert (truth.interruptions, truth.tokens) == (0, {Tokens.LLM_CACHED: 3})
    VoiceMetrics(CollectorRegistry()).heard(lie)


def test_nobody_can_make_the_metrics_grow() -> None:
    """All kinds told, there are so many series: one of each, and no more labels than kinds of tokens."""
    registry = CollectorRegistry()
    voice = VoiceMetrics(registry)
    everything = Figures(
        times={kind: [0.3] for kind in Time}, interruptions=2, tokens=dict.fromkeys(Tokens, 5)
    )
    voice.heard(everything)
    before = [sample.labels for family in registry.collect() for sample in family.samples]
    voice.heard(everything)
    assert [sample.labels for family in registry.collect() for sample in family.samples] == before
    assert registry.get_sample_value("roomkeeper_voice_time_to_first_token_seconds_count") == 2
    assert registry.get_sample_value("roomkeeper_voice_interruptions_total") == 4
    of_llm = {"model": "llm", "kind": "input"}
    assert registry.get_sample_value("roomkeeper_voice_tokens_total", of_llm) == 10


def test_a_flood_of_reports_is_cut_off() -> None:
    """Of one process; what else it says is heard."""
    heard: list[Report] = []
    figures: list[Figures] = []
    wire = Wire(lambda _, report: heard.append(report), lambda _: None, figures.append)
    line = msgspec.json.encode(Report(pid=1, voice=Figures(interruptions=1))) + b"\n"
    for _ in range(100):
        wire.data_received(line * 50)
    wire.data_received(
        b'{"pid":1,"voice":{"times":{"no such":[1]}}}\n{"pid":1,"voice":{"interruptions":[]}}\n'
    )
    wire.data_received(msgspec.json.encode(Report(pid=1, job_id="J")) + b"\n")
    assert Allowance.BURST <= len(figures) < Allowance.BURST + 20
    assert [report.job_id for report in heard] == ["J"]


def test_an_honest_process_is_always_heard() -> None:
    """Also one whose worker stood still for half a minute."""
    now = time.monotonic()
    allowed = Allowance(lambda: now)
    for second in range(600):
        now += 30.0 if second == 300 else EVERY
        for _ in range(30 if second == 300 else 1):
            assert allowed.take()
