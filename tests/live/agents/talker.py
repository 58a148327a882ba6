"""An `AgentSession` agent that answers text with the same text: no network, no speech, LiveKit's defaults.

"goodbye" makes it end its session by its own will (`CloseReason.USER_INITIATED`).
"""

from __future__ import annotations

from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentServer,
    AgentSession,
    APIConnectOptions,
    ConversationItemAddedEvent,
    JobContext,
    NotGivenOr,
    cli,
    llm,
    room_io,
)
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

server = AgentServer(port=0)  # its health port; 8081 by default, and taken by the next one
GOODBYE = "goodbye"


class Parrot(llm.LLM[Any]):
    """A language model that says what the user said."""

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
        return Repetition(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Repetition(llm.LLMStream):
    async def _run(self) -> None:
        said = [m.text_content for m in self._chat_ctx.messages() if m.role == "user"]
        delta = llm.ChoiceDelta(role="assistant", content=said[-1] if said else "")
        self._event_ch.send_nowait(llm.ChatChunk(id="parrot", delta=delta))


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(llm=Parrot(), vad=None, turn_handling={"turn_detection": None})

    def on_item(event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.text_content == GOODBYE:
            session.shutdown()

    session.on("conversation_item_added", on_item)
    # There is a track, as with any agent, but no speech on it for the text to keep in step with.
    text_output = room_io.TextOutputOptions(sync_transcription=False)
    await session.start(
        agent=Agent(instructions="Say what the user said."),
        room=ctx.room,
        room_options=room_io.RoomOptions(text_output=text_output),
    )
    session.output.set_audio_enabled(False)


if __name__ == "__main__":
    cli.run_app(server)
