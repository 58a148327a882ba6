"""A plain `AgentSession` agent that hears, thinks and speaks, with known delays and no key.

Whatever it hears is "hello"; its answer is a tone of some seconds. LiveKit's own parts do the rest.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentServer,
    AgentSession,
    APIConnectOptions,
    JobContext,
    JobProcess,
    LanguageCode,
    NotGivenOr,
    llm,
    stt,
    tts,
    utils,
)
from livekit.plugins import silero

THINKS, TUNES, WAITS = 0.2, 0.3, 0.4
"""Seconds to the first token; from it to the first audio; that the person must be silent for."""
SPEAKS = 4.0
PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS = 70, 30, 5
RATE = 24000


def prewarm(process: JobProcess) -> None:
    process.userdata["vad"] = silero.VAD.load(min_silence_duration=0.2)


server = AgentServer(setup_fnc=prewarm)


class Thinker(llm.LLM[Any]):
    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        return Thought(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Thought(llm.LLMStream):
    async def _run(self) -> None:
        await asyncio.sleep(THINKS)
        delta = llm.ChoiceDelta(role="assistant", content="A long answer to that, and nothing but a tone.")
        self._event_ch.send_nowait(llm.ChatChunk(id="thought", delta=delta))
        usage = llm.CompletionUsage(
            completion_tokens=COMPLETION_TOKENS,
            prompt_tokens=PROMPT_TOKENS,
            prompt_cached_tokens=CACHED_TOKENS,
            total_tokens=PROMPT_TOKENS + COMPLETION_TOKENS,
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="thought", usage=usage))


class Ear(stt.STT[Any]):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        heard = stt.SpeechData(language=LanguageCode("en"), text="hello")
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[heard])


class Mouth(tts.TTS[Any]):
    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return Tone(tts=self, input_text=text, conn_options=conn_options)


class Tone(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=RATE, num_channels=1, mime_type="audio/pcm"
        )
        await asyncio.sleep(TUNES)
        wave = np.sin(np.arange(int(SPEAKS * RATE)) * 2 * np.pi * 440 / RATE)
        output_emitter.push((wave * 8000).astype(np.int16).tobytes())


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(
        llm=Thinker(),
        stt=Ear(),
        tts=Mouth(),
        vad=ctx.proc.userdata["vad"],
        turn_handling={
            "turn_detection": "vad",
            "endpointing": {"min_delay": WAITS},
            "interruption": {"mode": "vad", "false_interruption_timeout": None},
            "preemptive_generation": {"enabled": False},
        },
    )
    await session.start(agent=Agent(instructions="Answer."), room=ctx.room)
