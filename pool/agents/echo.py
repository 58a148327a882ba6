"""The built-in agent: says back what it hears, once the speaker pauses. Needs no key.

Plain livekit-agents, without a line of roomkeeper: `python -m pool.agents.echo start` runs it as a stock
worker, and it may serve as a model for an agent of one's own.
"""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobProcess, cli, vad
from livekit.plugins import silero

SAMPLE_RATE = 16000
"""Hertz: what the speech detector works at, so that nothing is resampled."""
MAX_SPEECH = 30.0
"""Seconds of one utterance that are kept; what is said beyond them is not repeated."""
MAX_WAITING = 4
"""Utterances that wait to be said back while another is; the oldest is dropped for a newer one."""


def prewarm(process: JobProcess) -> None:
    """Runs in each process before it gets a job: loading the model then would cost the caller time."""
    process.userdata["vad"] = silero.VAD.load(sample_rate=16000, max_buffered_speech=MAX_SPEECH)


server = AgentServer(setup_fnc=prewarm)


@server.rtc_session()
async def echo(ctx: JobContext) -> None:
    """Join, publish a voice at once, listen to every person."""
    voice = Voice()
    ears = Ears(ctx.proc.userdata["vad"], voice)
    ctx.room.on("track_subscribed", ears.on_track)
    ctx.room.on("track_unsubscribed", ears.on_track_gone)
    ctx.add_shutdown_callback(ears.close)
    ctx.add_shutdown_callback(voice.close)
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    await voice.publish(ctx.room)


class Voice:
    """The agent's audio track: says utterances one after the other."""

    def __init__(self) -> None:
        self._source = rtc.AudioSource(SAMPLE_RATE, 1)
        self._waiting: asyncio.Queue[list[rtc.AudioFrame]] = asyncio.Queue(MAX_WAITING)
        self._speaking = asyncio.create_task(self._speak(), name="echo_voice")

    async def publish(self, room: rtc.Room) -> None:
        track = rtc.LocalAudioTrack.create_audio_track("echo", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, options)

    def say(self, utterance: list[rtc.AudioFrame]) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(utterance)

    async def close(self) -> None:
        self._speaking.cancel()
        await asyncio.gather(self._speaking, return_exceptions=True)
        await self._source.aclose()

    async def _speak(self) -> None:
        while True:
            for frame in await self._waiting.get():
                await self._source.capture_frame(frame)


class Ears:
    """Listens to each audio track of a person in a task of its own, for as long as the track is there."""

    def __init__(self, detector: vad.VAD, voice: Voice) -> None:
        self._detector = detector
        self._voice = voice
        self._listening: dict[str, asyncio.Task[None]] = {}

    def on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, speaker: rtc.RemoteParticipant
    ) -> None:
        if not isinstance(track, rtc.RemoteAudioTrack):
            return
        if speaker.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            return  # two agents would talk to each other for ever
        self._listening[publication.sid] = asyncio.create_task(
            self._listen(track), name=f"echo_{publication.sid}"
        )

    def on_track_gone(self, _track: rtc.Track, publication: rtc.RemoteTrackPublication) -> None:
        task = self._listening.pop(publication.sid, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        for task in self._listening.values():
            task.cancel()
        await asyncio.gather(*self._listening.values(), return_exceptions=True)

    async def _listen(self, track: rtc.RemoteAudioTrack) -> None:
        audio = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)
        speech = self._detector.stream()
        hearing = asyncio.create_task(self._repeat(speech), name="echo_repeat")
        try:
            async for event in audio:
                speech.push_frame(event.frame)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            await speech.aclose()
            await audio.aclose()

    async def _repeat(self, speech: vad.VADStream) -> None:
        async for event in speech:
            if event.type is vad.VADEventType.END_OF_SPEECH:
                self._voice.say(event.frames)


if __name__ == "__main__":
    cli.run_app(server)
