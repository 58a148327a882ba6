"""Sessions: a room of its own for a visitor, with the agent on its way; what came of it; its end."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import InvalidRequest, UnknownSession
from gateway.http import shapes, wire
from gateway.http.answers import answer, iso
from gateway.http.auth import TokenCaller, may_report, may_see
from gateway.http.jobs import asked_of, result_of
from gateway.http.parts import Parts, parts_of
from gateway.http.tokens import fresh_identity, identity_of, token_of
from gateway.http.tracing import traceparent_of
from gateway.keeper.model import Participant
from gateway.livekit.tokens import mint_report
from gateway.sessions.model import Line
from gateway.sessions.sessions import SessionReport

REPORTS_FOR = 86_400.0
"""Seconds for which a session's agent may report."""


async def post_session(request: Request) -> Response:
    """201 with the session, its visitor's token and its agent's job."""
    parts, caller = parts_of(request), await TokenCaller.of(request)
    wait = wire.seconds(request.query_params.get("wait"), field="wait")
    body = await wire.decode(request, wire.SessionRequest)
    agent = parts.settings.keeper.default_agent
    if body.agent_name is not None:
        agent = wire.agent_name(body.agent_name, field="agentName")
    caller.may_ask_for(agent, field="agentName")
    if body.identity:
        caller.may_be(body.identity, field="identity")
    identity = identity_of(body.identity or caller.identity or fresh_identity(), "identity")
    name = wire.text(body.name, field="name", most=wire.MAX_IDENTITY_BYTES) if body.name else ""
    language = wire.text(body.language or "", field="language", most=wire.MAX_LANGUAGE_BYTES, least=0)
    instructions = wire.prose(body.instructions or "", field="instructions", most=wire.MAX_INSTRUCTIONS_BYTES)
    session_id = parts.sessions.fresh_id()
    with parts.listeners.one(session_id, if_any=wait > 0):  # before anything is done that could not be told
        session, job = await parts.sessions.create(
            session_id,
            agent=agent,
            identity=identity,
            language=language,
            metadata=_for_the_agent(parts, session_id, body, language, instructions),
            joins_until=parts.keeper.now() + parts.settings.http.token_ttl,
            traceparent=traceparent_of(request),
        )
        if wait:
            job = await parts.keeper.wait(job.want.id, wait) or job
    token = token_of(parts, room=session.id, identity=identity, name=name)
    made = shapes.SessionCreated(
        session_id=session.id,
        room_name=session.id,
        agent_name=agent,
        job=asked_of(job),
        **msgspec.structs.asdict(token),
    )
    return answer(made, 201)


async def get_session(request: Request) -> Response:
    session_id = request.path_params["session_id"]
    await may_see(request, session_id)
    report = await parts_of(request).sessions.read(session_id)
    if report is None:
        raise _unknown()
    return answer(shapes.SessionAnswer(session=_shown(report)))


async def delete_session(request: Request) -> Response:
    session_id = request.path_params["session_id"]
    await may_see(request, session_id)
    if not await parts_of(request).sessions.end(session_id):
        raise _unknown()
    return Response(status_code=204)


async def post_report(request: Request) -> Response:
    """The agent's own door: lines of the transcript, and the questionnaire as it is by now."""
    session_id = request.path_params["session_id"]
    await may_report(request, session_id)
    body = await wire.decode(request, wire.ReportRequest)
    if len(body.transcript) > wire.MAX_LINES:
        raise InvalidRequest(f"transcript: at most {wire.MAX_LINES} lines at once.", field="transcript")
    lines = [_line(line, f"transcript[{at}]") for at, line in enumerate(body.transcript)]
    questionnaire = None if body.questionnaire is None else msgspec.json.encode(body.questionnaire)
    if questionnaire is not None and len(questionnaire) > wire.MAX_QUESTIONNAIRE_BYTES:
        raise InvalidRequest(
            f"questionnaire: at most {wire.MAX_QUESTIONNAIRE_BYTES} bytes.", field="questionnaire"
        )
    if not await parts_of(request).sessions.report(session_id, lines, questionnaire):
        raise _unknown()
    return Response(status_code=204)


def _line(line: wire.ReportedLine, field: str) -> Line:
    return Line(
        role=wire.text(line.role, field=f"{field}.role", most=wire.MAX_ROLE_BYTES),
        text=wire.prose(line.text, field=f"{field}.text", most=wire.MAX_LINE_BYTES),
        id=wire.text(line.id, field=f"{field}.id", most=wire.MAX_IDENTITY_BYTES, least=0),
        at=line.at,
    )


def _for_the_agent(
    parts: Parts, session_id: str, body: wire.SessionRequest, language: str, instructions: str
) -> str:
    """The job's metadata: what the site sent, with language and instructions, and how to report."""
    livekit = parts.settings.livekit
    here = parts.settings.http.for_agents
    token = mint_report(
        livekit.api_key, livekit.api_secret, session=session_id, ttl=REPORTS_FOR, now=parts.clock()
    )
    given = body.metadata
    told: dict[str, Any] = dict(given) if isinstance(given, dict) else {"metadata": given} if given else {}
    told |= {"language": language} if language else {}
    told |= {"instructions": instructions} if instructions else {}
    told["session"] = {"id": session_id, "report": f"{here}/api/session/{session_id}/report", "token": token}
    return wire.metadata(told, field="metadata")


def _shown(report: SessionReport) -> shapes.SessionShown:
    session, told = report.session, report.told
    return shapes.SessionShown(
        session_id=session.id,
        room_name=session.id,
        state=report.state,
        agent_name=session.agent,
        language=session.language or None,
        created_at=iso(session.created_at),
        ended_at=iso(session.ended_at),
        reported_at=iso(told.at),
        job=result_of(report.job) if report.job is not None else None,
        people=None if report.people is None else [_somebody(p) for p in report.people],
        agents=[_somebody(p) for p in report.agents],
        transcript=[
            shapes.TranscriptLine(id=line.id or None, role=line.role, text=line.text, at=iso(line.at))
            for line in told.transcript
        ],
        questionnaire=told.questionnaire,
    )


def _somebody(participant: Participant) -> shapes.SessionParticipant:
    return shapes.SessionParticipant(identity=participant.identity, joined_at=iso(participant.joined_at))


def _unknown() -> UnknownSession:
    return UnknownSession("No session has this id; they are forgotten after their time.")
