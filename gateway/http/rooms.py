"""What an operator sees of the rooms: wants, claims, participants, and why it is as it is."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import UnknownRoom
from gateway.http.answers import answer, iso
from gateway.http.auth import operator
from gateway.http.jobs import result_of
from gateway.http.parts import parts_of
from gateway.keeper.model import Claim, Participant
from gateway.keeper.reports import RoomReport


async def get_rooms(request: Request) -> Response:
    operator(request)
    return answer({"rooms": [_report(r) for r in await parts_of(request).keeper.reports.rooms()]})


async def get_room(request: Request) -> Response:
    operator(request)
    report = await parts_of(request).keeper.reports.room(request.path_params["room"])
    if report is None:
        raise UnknownRoom("No agent is or was wanted in this room, and nobody of ours is in it.")
    return answer(_report(report))


def _report(report: RoomReport) -> dict[str, Any]:
    return {
        "roomName": report.room,
        "sid": report.sid or None,
        "seenAt": iso(report.seen_at),
        "wants": [{**result_of(job), "source": job.want.source.value} for job in report.wants],
        "claims": [_claim(c) for c in report.claims],
        "participants": [_participant(p) for p in report.participants],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "agentName": claim.agent,
        "jobId": claim.want_id,
        "livekitJobId": claim.job_id,
        "agentIdentity": claim.identity or None,
        "stage": claim.stage.value,
        "since": iso(claim.since),
        "pid": claim.pid or None,
    }


def _participant(participant: Participant) -> dict[str, Any]:
    """Without metadata and attributes: those are the site's, and may be private."""
    return {
        "identity": participant.identity,
        "agentName": participant.agent,
        "avatar": participant.avatar,
        "active": participant.active,
        "joinedAt": iso(participant.joined_at),
    }
