"""A person as a WebRTC client: joins, speaks, listens, chats, leaves, comes back.

Everything is taken from the client's own events, with the time at which they came; nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from livekit import api, rtc

from pool import compat
from tests.live.audio import Microphone
from tests.live.speech import RATE

CHAT = "lk.chat"
TRANSCRIPTION = "lk.transcription"
JOIN_TIMEOUT = 10.0
T = TypeVar("T")

ASK_AGAIN_EVERY = 0.2
"""Text sent before an agent listens is dropped: a person who gets no answer asks again."""


@dataclass(frozen=True, slots=True)
class AgentTrack:
    """An agent's audio track, subscribed `at` (monotonic seconds)."""

    identity: str
    sid: str
    at: float
    track: rtc.RemoteAudioTrack


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent said in text, complete `at` (monotonic seconds)."""

    identity: str
    text: str
    at: float


class Person:
    """One person and one room; an async context manager that joins and leaves."""

    def __init__(
        self, url: str, key: str, secret: str, room: str, identity: str = "", *, token: str = ""
    ) -> None:
        """`token`: with which they join; made here, when it is ""."""
        self.room_name = room
        self.joined_at = 0.0
        """When `join` was through; monotonic seconds."""
        self._token = token
        self.identity = identity or f"person-{uuid.uuid4().hex[:6]}"
        self._url = url
        self._credentials = (key, secret)
        self._room: rtc.Room | None = None
        self._gave_up = False
        self._changed = asyncio.Event()
        self._readers: set[asyncio.Task[None]] = set()
        self.tracks: list[AgentTrack] = []
        self.answers: list[Answer] = []
        self.max_agents = 0
        """The most agents that this client ever saw at once: a second eye beside the observer."""

    @property
    def room(self) -> rtc.Room:
        if self._room is None:
            raise RuntimeError(f"{self.identity} is not in {self.room_name}")
        return self._room

    def token(self) -> str:
        if self._token:
            return self._token
        grants = api.VideoGrants(room_join=True, room=self.room_name)
        return api.AccessToken(*self._credentials).with_identity(self.identity).with_grants(grants).to_jwt()

    async def join(self) -> None:
        """Join the room (again); `leave` first."""
        _start_rtc()
        room = rtc.Room()
        room.on("track_subscribed", self._on_track)
        room.on("participant_connected", lambda _: self._count(room))
        room.on("participant_disconnected", lambda _: self._notify())
        room.on("disconnected", self._on_disconnected)
        room.register_text_stream_handler(TRANSCRIPTION, self._on_text)
        async with asyncio.timeout(JOIN_TIMEOUT):
            await room.connect(self._url, self.token())
        self.joined_at = time.monotonic()
        self._room, self._gave_up = room, False
        self._count(room)

    async def leave(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            await room.disconnect()
        for reader in list(self._readers):
            reader.cancel()

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.leave()

    def agents(self) -> set[str]:
        """Identities of the agents that this client sees now."""
        return _agents(self.room)

    async def agent_track(self, *, other_than: str = "", since: float = 0.0, timeout: float) -> AgentTrack:
        """The first audio track of an agent other than `other_than` subscribed after `since`."""

        def wanted() -> AgentTrack | None:
            return next((t for t in self.tracks if t.identity != other_than and t.at >= since), None)

        return await self._await(wanted, timeout, "agent's track")

    async def ask(self, *, timeout: float) -> Answer:
        """Ask, again and again, something that nobody asked before, until an agent answers it.

        Joins again when the client has given up, as after a LiveKit that was away for long.
        """
        question = f"question {uuid.uuid4().hex[:8]}"
        repeats = asyncio.create_task(self._repeat(question), name="ask")
        try:
            return await self._await(
                lambda: next((a for a in self.answers if question in a.text), None), timeout, "answer"
            )
        finally:
            repeats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await repeats

    async def say(self, text: str) -> None:
        """Send a line of chat."""
        await self.room.local_participant.send_text(text, topic=CHAT)

    async def tell(self, word: str) -> None:
        """Send a data message to everybody in the room."""
        await self.room.local_participant.publish_data(word.encode())

    @contextlib.asynccontextmanager
    async def microphone(self) -> AsyncIterator[Microphone]:
        """A published microphone, silent until it is spoken into."""
        source = rtc.AudioSource(RATE, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        async with Microphone(source) as microphone:
            yield microphone

    async def _repeat(self, question: str) -> None:
        for _ in itertools.count():
            if self._gave_up:
                with contextlib.suppress(rtc.ConnectError, TimeoutError):  # LiveKit is still away
                    await self.join()
            with contextlib.suppress(ConnectionError):  # the client is reconnecting
                await self.say(question)
            await asyncio.sleep(ASK_AGAIN_EVERY)

    async def _await(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        try:
            async with asyncio.timeout(timeout):
                while (found := look()) is None:
                    await self._changed.wait()
                return found
        except TimeoutError:
            there = sorted(_agents(self._room)) if self._room else "left"
            raise AssertionError(
                f"{self.identity} in {self.room_name}: no {what} within {timeout} s; sees {there}"
            ) from None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        """Whose client gave up comes back, as one who reloads the page (S19); who was put out stays out."""
        self._gave_up = reason == rtc.DisconnectReason.UNKNOWN_REASON

    def _count(self, room: rtc.Room) -> None:
        self.max_agents = max(self.max_agents, len(_agents(room)))
        self._notify()

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if isinstance(track, rtc.RemoteAudioTrack) and _is_agent(participant):
            self.tracks.append(AgentTrack(participant.identity, publication.sid, time.monotonic(), track))
            self._notify()

    def _on_text(self, reader: rtc.TextStreamReader, identity: str) -> None:
        task = asyncio.create_task(self._read(reader, identity), name="transcription")
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        try:
            text = await reader.read_all()
        except ConnectionError:  # cut off in the middle: no answer
            return
        self.answers.append(Answer(identity, text, time.monotonic()))
        self._notify()


@functools.cache
def _start_rtc() -> None:
    """Without its native log: that is half of what a client's joining costs (S20), of a machine that the two
    sides of a bench share, and a line of it that comes while the interpreter ends aborts the process."""
    compat.start_rtc()


def _is_agent(participant: rtc.RemoteParticipant) -> bool:
    return (
        participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        and "lk.publish_on_behalf" not in participant.attributes
    )


def _agents(room: rtc.Room) -> set[str]:
    return {p.identity for p in room.remote_participants.values() if _is_agent(p)}
