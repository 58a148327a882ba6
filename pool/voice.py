"""Inside a job process: listens to one `AgentSession`, by public events only, and tells its worker how long
its turns take and what they use.

Nothing of it may be felt in the call: a fault is logged once and swallowed, a report that the worker does not
take is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    SessionUsageUpdatedEvent,
    llm,
    metrics,
)

from pool.figures import EVERY, LONGEST, MOST_AT_ONCE, Figures, Time, Tokens

log = logging.getLogger(__name__)  # its records are the worker's log (fact 58)

P = ParamSpec("P")

_OF_MESSAGES = {
    "llm_node_ttft": Time.FIRST_TOKEN,
    "tts_node_ttfb": Time.FIRST_AUDIO,
    "end_of_turn_delay": Time.END_OF_TURN,
    "e2e_latency": Time.RESPONSE,
}
"""`ChatMessage.metrics`: the first two and the last of the agent's messages, the third of the person's."""


def _unfelt(handler: Callable[Concatenate[Voice, P], None]) -> Callable[Concatenate[Voice, P], None]:
    """What a handler raises would reach upstream's code: a TypeError even gets through its `emit`."""

    @wraps(handler)
    def careful(self: Voice, /, *args: P.args, **more: P.kwargs) -> None:
        try:
            handler(self, *args, **more)
        except Exception:
            if not self.failed:
                self.failed = True
                log.warning("a voice figure was lost; further ones are not told of", exc_info=True)

    return careful


class Voice:
    """One session's figures, from when it is made until the session is closed."""

    def __init__(self, session: AgentSession[Any], send: Callable[[Figures], None]) -> None:
        """`send` must not block. In the job's event loop."""
        self._session = session
        self._send = send
        self._times: dict[Time, list[float]] = {}
        self._interruptions = 0
        self._usage: metrics.AgentSessionUsage | None = None
        self._told: Counter[Tokens] = Counter()
        self._realtime: object = None
        self._timer: asyncio.TimerHandle | None = None
        self.failed = False
        """Something was lost, and logged."""
        session.on("conversation_item_added", self._on_item)
        session.on("session_usage_updated", self._on_usage)
        session.on("agent_state_changed", self._on_state)
        session.on("close", self._on_close)

    @_unfelt
    def flush(self) -> None:
        """Tell now what there is to tell."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        used = _tokens(self._usage) if self._usage is not None else Counter[Tokens]()
        new = dict(used - self._told)
        figures = Figures(times=self._times, interruptions=self._interruptions, tokens=new)
        self._times, self._interruptions, self._usage = {}, 0, None
        self._told |= used
        if figures != Figures():
            self._send(figures)

    # -- what the session says -----------------------------------------------------------------------------

    @_unfelt
    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, llm.ChatMessage):
            return
        for name, kind in _OF_MESSAGES.items():
            self._took(kind, item.metrics.get(name))
        if item.role == "assistant" and item.interrupted:
            self._interruptions = min(self._interruptions + 1, MOST_AT_ONCE)
            self._soon()

    @_unfelt
    def _on_usage(self, event: SessionUsageUpdatedEvent) -> None:
        """Comes with each request and, from the speech detector, about once a second: only the last one of a
        second is looked into."""
        self._usage = event.usage
        self._soon()

    @_unfelt
    def _on_state(self, _event: AgentStateChangedEvent) -> None:
        """A realtime model's times are told by its own session only, of which each agent has another one."""
        try:
            realtime = self._session.current_agent.realtime_llm_session
        except RuntimeError:  # its way to say that there is none
            return
        if realtime is not self._realtime:
            self._realtime = realtime
            realtime.on("metrics_collected", self._on_realtime)

    @_unfelt
    def _on_realtime(self, measured: metrics.RealtimeModelMetrics) -> None:
        self._took(Time.FIRST_AUDIO, measured.ttft)  # -1 for none

    @_unfelt
    def _on_close(self, _event: CloseEvent) -> None:
        self.flush()

    # -- what is told --------------------------------------------------------------------------------------

    def _took(self, kind: Time, seconds: object) -> None:
        if not isinstance(seconds, int | float) or not 0.0 <= seconds <= LONGEST:
            return
        known = self._times.setdefault(kind, [])
        if len(known) < MOST_AT_ONCE:
            known.append(round(seconds, 4))
        self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self.flush)


def _tokens(usage: metrics.AgentSessionUsage) -> Counter[Tokens]:
    """All that the session has used."""
    counted: Counter[Tokens] = Counter()
    for used in usage.model_usage:
        match used:
            case metrics.LLMModelUsage():
                counted[Tokens.LLM_INPUT] += used.input_tokens
                counted[Tokens.LLM_CACHED] += used.input_cached_tokens
                counted[Tokens.LLM_OUTPUT] += used.output_tokens
            case metrics.STTModelUsage():
                counted[Tokens.STT_INPUT] += used.input_tokens
                counted[Tokens.STT_OUTPUT] += used.output_tokens
            case metrics.TTSModelUsage():
                counted[Tokens.TTS_INPUT] += used.input_tokens
                counted[Tokens.TTS_OUTPUT] += used.output_tokens
    return counted
