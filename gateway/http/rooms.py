"""What an operator sees of the rooms: wants, claims, participants, and why it is as it is."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import UnknownRoom
from gateway.http import shapes
from gateway.http.answers import answer, iso
from gateway.http.auth import operator
from gateway.http.jobs import result_of
from gateway.http.parts import parts_of
from gateway.keeper.model import Claim, Job, Participant
from gateway.keeper.reports import RoomReport


async def get_rooms(request: Request) -> Response:
    operator(request)
    reports = parts_of(request).keeper.reports
    return answer(
        shapes.RoomsAnswer(
            rooms=[_report(report) for report in await reports.rooms()],
            replica=reports.me,
            leading=reports.leading,
        )
    )


async def get_room(request: Request) -> Response:
    operator(request)
    report = await parts_of(request).keeper.reports.room(request.path_params["room"])
    if report is None:
        raise UnknownRoom("No agent is or was wanted in this room, and nobody of ours is in it.")
    return answer(_report(report))


def _report(report: RoomReport) -> shapes.RoomAnswer:
    return shapes.RoomAnswer(
        room_name=report.room,
        sid=report.sid or None,
        seen_at=iso(report.seen_at),
        wants=[_want(job) for job in report.wants],
        claims=[_claim(claim) for claim in report.claims],
        participants=[_participant(participant) for participant in report.participants],
    )


def _want(job: Job) -> shapes.RoomWant:
    return shapes.RoomWant(**msgspec.structs.asdict(result_of(job)), source=job.want.source.value)


def _claim(claim: Claim) -> shapes.RoomClaim:
    return shapes.RoomClaim(
        agent_name=claim.agent,
        job_id=claim.want_id,
        livekit_job_id=claim.job_id,
        agent_identity=claim.identity or None,
        stage=claim.stage,
        since=iso(claim.since),
        pid=claim.pid or None,
        replica=claim.replica or None,
    )


def _participant(participant: Participant) -> shapes.RoomParticipant:
    return shapes.RoomParticipant(
        identity=participant.identity,
        agent_name=participant.agent,
        avatar=participant.avatar,
        active=participant.active,
        joined_at=iso(participant.joined_at),
    )
