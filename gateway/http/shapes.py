"""What clients are answered, as types: what is encoded is what `/openapi.json` describes. Times are ISO 8601
in UTC; null is "never", "nobody" or "not told".
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.keeper.model import Stage, State

Time = Annotated[str, Meta(examples=["2026-11-22T03:19:46.467Z"])]


class Camel(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    pass


class JobResult(Camel, frozen=True, kw_only=True):
    job_id: Annotated[str, Meta(examples=["job_9391fec0a12861da6485a411"])] | None
    """null: there was nothing to stop."""
    room_name: str
    agent_name: str
    state: State
    place: Annotated[int, Meta(description="in line; 1 is next")] | None
    since: Time | None
    reason: str
    agent_identity: str | None


class RequestedJob(JobResult, frozen=True, kw_only=True):
    deduplicated: Annotated[bool, Meta(description="the want lived already")]


class JobAnswer(Camel, frozen=True, kw_only=True):
    success: bool = True
    result: RequestedJob


class StartAnswer(Camel, frozen=True, kw_only=True):
    success: bool = True
    room_name: str
    result: RequestedJob


class RoomWant(JobResult, frozen=True, kw_only=True):
    source: Annotated[str, Meta(description="request, policy, invitation or dispatch")]


class RoomClaim(Camel, frozen=True, kw_only=True):
    agent_name: str
    job_id: str
    livekit_job_id: str
    agent_identity: str | None
    stage: Stage
    since: Time | None
    pid: int | None
    replica: str | None


class RoomParticipant(Camel, frozen=True, kw_only=True):
    """Without metadata and attributes: those are the site's, and may be private."""

    identity: str
    agent_name: str | None
    avatar: bool
    active: bool
    joined_at: Time | None


class RoomAnswer(Camel, frozen=True, kw_only=True):
    room_name: str
    sid: str | None
    seen_at: Time | None
    wants: list[RoomWant]
    claims: list[RoomClaim]
    participants: list[RoomParticipant]


class RoomsAnswer(Camel, frozen=True, kw_only=True):
    rooms: list[RoomAnswer]
    replica: str
    """Who answers."""
    leading: Annotated[bool, Meta(description="else it knows neither places in line nor who is in a room")]


class ReplicaAnswer(Camel, frozen=True, kw_only=True):
    """One process, as of its last heartbeat."""

    replica: str
    agent_name: str
    registered: Annotated[bool, Meta(description="its worker, with LiveKit")]
    draining: bool
    takes_jobs: Annotated[bool, Meta(description="or would, had it a free slot")]
    sees_livekit: bool
    slots: int
    running: int
    warm: int
    free: Annotated[int, Meta(description="jobs that it can take now")]


class ReplicasAnswer(Camel, frozen=True, kw_only=True):
    replica: str
    """Who answers."""
    default_agent: Annotated[str, Meta(description="of a request that names none")]
    replicas: list[ReplicaAnswer]


class RefusedWebhook(Camel, frozen=True, kw_only=True):
    """The last one of its kind, in the last two minutes."""

    verdict: str
    why: str
    seconds_ago: float


class HeardAnswer(Camel, frozen=True, kw_only=True):
    replica: str
    """Who answers; it knows only what came to itself."""
    heard: bool
    refused: list[RefusedWebhook]


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Our own fields, and those of LiveKit's standard endpoint."""

    token: str
    url: Annotated[str, Meta(examples=["wss://livekit.example.com"])]
    room: str
    identity: str
    participant_token: str
    server_url: str


class SessionCreated(msgspec.Struct, frozen=True, kw_only=True):
    success: bool = True
    session_id: str = msgspec.field(name="sessionId")
    room_name: str = msgspec.field(name="roomName")
    agent_name: str = msgspec.field(name="agentName")
    token: str
    url: str
    room: str
    identity: str
    participant_token: str
    server_url: str
    job: RequestedJob


class SessionParticipant(Camel, frozen=True, kw_only=True):
    identity: str
    joined_at: Time | None


class TranscriptLine(Camel, frozen=True, kw_only=True):
    id: str | None
    role: str
    text: str
    at: Time | None


class SessionShown(Camel, frozen=True, kw_only=True):
    session_id: str
    room_name: str
    state: Annotated[str, Meta(description="waiting, active, ended or unknown")]
    agent_name: str
    language: str | None
    created_at: Time | None
    ended_at: Time | None
    reported_at: Time | None
    job: JobResult | None
    people: list[SessionParticipant] | None
    agents: list[SessionParticipant]
    transcript: list[TranscriptLine]
    questionnaire: msgspec.Raw


class SessionAnswer(Camel, frozen=True, kw_only=True):
    success: bool = True
    session: SessionShown


class Check(Camel, frozen=True, kw_only=True):
    ok: bool
    why: str


class ProbeAnswer(Camel, frozen=True, kw_only=True):
    status: str
    version: str
    checks: dict[str, Check]


class Problem(Camel, frozen=True, kw_only=True):
    """RFC 9457."""

    title: str
    status: int
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    success: bool | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET
