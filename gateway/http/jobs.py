"""Asking for agents: `/api/livekit/job`, and the worker's own door `/start`.

Idempotent: whoever asks while the want lives gets the same job, with `deduplicated`.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import InvalidRequest, SessionEnded, UnknownJob
from gateway.http import shapes, wire
from gateway.http.answers import answer, iso
from gateway.http.auth import JobCaller
from gateway.http.parts import Parts, parts_of
from gateway.http.tracing import traceparent_of
from gateway.keeper.model import Ask, Job, State


async def post_job(request: Request) -> Response:
    """`?wait=SECONDS` answers when the agent has joined or the job has ended, at the latest then."""
    parts = parts_of(request)
    caller = await JobCaller.of(request)
    wait = wire.seconds(request.query_params.get("wait"), field="wait")
    body = await wire.decode(request, wire.JobRequest)
    ask = _ask_of(body, parts, request)
    caller.may_act_on(ask.room)
    caller.may_ask_for(ask.agent, field="payload.agentName")
    if body.job_type == "stop_agent":
        stopped = await parts.keeper.stop_agent(ask.room, ask.agent)
        return answer(shapes.JobAnswer(result=asked_of(stopped) if stopped else _nothing_to_stop(ask)))
    ask = await _in_session(parts, caller, ask)
    with parts.listeners.one(ask.room, if_any=wait > 0):  # before anything is done that could not be told
        if body.payload is not None and body.payload.worker_url and body.job_type == "start_agent":
            await _ask_worker(parts, body.payload.worker_url, ask)
        begin = parts.keeper.start_agent if body.job_type == "start_agent" else parts.keeper.restart_agent
        return answer(shapes.JobAnswer(result=await _waited(parts, await begin(ask), wait)))


async def get_job(request: Request) -> Response:
    wait = wire.seconds(request.query_params.get("wait"), field="wait")
    job = await job_asked_for(request)
    parts = parts_of(request)
    with parts.listeners.one(job.want.room, if_any=wait > 0):
        return answer(shapes.JobAnswer(result=await _waited(parts, job, wait)))


async def job_asked_for(request: Request) -> Job:
    """The job that the path names, if the caller may know of it. Raises UnknownJob, and as JobCaller does."""
    caller = await JobCaller.of(request)
    job = await parts_of(request).keeper.job(request.path_params["job_id"])
    if job is None:
        raise UnknownJob("No job has this id; an ended one is forgotten after an hour.")
    caller.may_act_on(job.want.room)
    return job


async def post_start(request: Request) -> Response:
    """The worker contract: what a `workerUrl` must answer."""
    parts = parts_of(request)
    caller = await JobCaller.of(request)
    body = await wire.decode(request, wire.StartRequest)
    room = wire.room_name(body.room_name, field="roomName")
    caller.may_act_on(room)
    agent = _agent(body.agent_name, "agentName", parts)
    caller.may_ask_for(agent, field="agentName")
    ask = Ask(room=room, agent=agent, traceparent=traceparent_of(request))
    job = await parts.keeper.start_agent(await _in_session(parts, caller, ask))
    return answer(shapes.StartAnswer(room_name=room, result=asked_of(job)))


def _ask_of(body: wire.JobRequest, parts: Parts, request: Request) -> Ask:
    payload = body.payload or wire.JobPayload()
    _check_worker_url(payload.worker_url, parts, request)
    return Ask(
        room=wire.room_name(body.room_name, field="roomName"),
        agent=_agent(payload.agent_name, "payload.agentName", parts),
        metadata=wire.metadata(payload.metadata, field="payload.metadata"),
        traceparent=traceparent_of(request),
    )


async def _in_session(parts: Parts, caller: JobCaller, ask: Ask) -> Ask:
    """In a session's room its agent has what the session was made with: the visitor may ask for it again, and
    not tell it other things. Raises SessionEnded."""
    session = await parts.sessions.of(ask.room)
    if session is None:
        return ask
    if session.ended_at:
        raise SessionEnded("This session has ended: make another one.")
    if ask.agent != session.agent or (caller.is_operator and ask.metadata):
        return ask
    return replace(ask, metadata=session.metadata)


def _agent(name: str | None, field: str, parts: Parts) -> str:
    return parts.settings.keeper.default_agent if name is None else wire.agent_name(name, field=field)


async def _ask_worker(parts: Parts, url: str, ask: Ask) -> None:
    """Have another worker start, unless the room is served already. First, so that the keeper finds what
    comes of it; whatever that is, the room is kept like any other."""
    if not parts.forwarder.knows(url):
        return  # it is ours
    room = await parts.keeper.reports.room(ask.room)
    states = {job.want.state for job in room.wants if job.want.agent == ask.agent} if room else set()
    if not states & {State.DISPATCHED, State.JOINED}:
        await parts.forwarder.start(url, ask.room, ask.agent)


def _check_worker_url(url: str | None, parts: Parts, request: Request) -> None:
    """A `workerUrl` names this Roomkeeper, or another worker's door that the operator listed."""
    if not url or parts.forwarder.knows(url):
        return
    ours = (*parts.settings.http.worker_urls, str(request.base_url).rstrip("/"))
    if url.rstrip("/") not in ours:
        raise InvalidRequest(
            "payload.workerUrl: is no URL of this Roomkeeper, nor of a worker that may be asked. Leave it "
            "out, or let the operator add it to AGENT_WORKER_URL or ROOMKEEPER_FORWARD_TO.",
            field="payload.workerUrl",
        )


async def _waited(parts: Parts, job: Job, wait: float) -> shapes.RequestedJob:
    if not wait:
        return asked_of(job)
    now = await parts.keeper.wait(job.want.id, wait)
    return msgspec.structs.replace(asked_of(now or job), deduplicated=job.deduplicated)


def result_of(job: Job) -> shapes.JobResult:
    want = job.want
    return shapes.JobResult(
        job_id=want.id,
        room_name=want.room,
        agent_name=want.agent,
        state=want.state,
        place=job.place,
        since=iso(want.since),
        reason=want.reason,
        agent_identity=want.identity or None,
    )


def asked_of(job: Job) -> shapes.RequestedJob:
    return shapes.RequestedJob(**msgspec.structs.asdict(result_of(job)), deduplicated=job.deduplicated)


def _nothing_to_stop(ask: Ask) -> shapes.RequestedJob:
    """A stop is idempotent: what it asks for is so already."""
    return shapes.RequestedJob(
        job_id=None,
        room_name=ask.room,
        agent_name=ask.agent,
        state=State.STOPPED,
        place=None,
        since=None,
        reason="no agent was wanted here",
        agent_identity=None,
        deduplicated=True,
    )
