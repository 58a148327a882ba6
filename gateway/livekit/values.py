"""LiveKit's protobuf messages as the keeper's values. Pure; reads messages, never makes them."""

from __future__ import annotations

from livekit.protocol import agent_dispatch, models

from gateway.keeper.model import Dispatch, Participant, Room
from pool.ports import AGENT_NAME

ON_BEHALF = "lk.publish_on_behalf"
"""Set by the SDK on the avatar of an agent."""

_PRESENT = (models.ParticipantInfo.State.JOINED, models.ParticipantInfo.State.ACTIVE)


def room_of(message: models.Room, ahead: float = 0.0) -> Room:
    """`ahead`: seconds by which the keeper's clock is ahead of LiveKit's; so too below."""
    return Room(
        name=message.name,
        sid=message.sid,
        people=message.num_participants,  # fact 76: without agents
        created_at=_seconds(message.creation_time_ms, message.creation_time) + ahead,
        metadata=message.metadata,
    )


def participant_of(message: models.ParticipantInfo, ahead: float = 0.0) -> Participant:
    attributes = dict(message.attributes)
    is_agent = message.kind == models.ParticipantInfo.Kind.AGENT
    return Participant(
        identity=message.identity,
        sid=message.sid,
        agent=attributes.get(AGENT_NAME, "") if is_agent else None,
        avatar=ON_BEHALF in attributes,
        active=message.state in _PRESENT,
        joined_at=_seconds(message.joined_at_ms, message.joined_at) + ahead,
        metadata=message.metadata,
        attributes=attributes,
    )


def participants_of(messages: list[models.ParticipantInfo], ahead: float = 0.0) -> list[Participant]:
    """Everybody but recorders: like LiveKit's own count, which takes an egress for no person either."""
    return [participant_of(m, ahead) for m in messages if m.kind != models.ParticipantInfo.Kind.EGRESS]


def dispatch_of(message: agent_dispatch.AgentDispatch) -> Dispatch:
    return Dispatch(
        id=message.id,
        room=message.room,
        agent=message.agent_name,
        jobs=len(message.state.jobs),
    )


def _seconds(milliseconds: int, seconds: int) -> float:
    return milliseconds / 1000 if milliseconds else float(seconds)
