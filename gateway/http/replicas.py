"""What an operator asks of the processes themselves: who they are, and what reached them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.http import shapes
from gateway.http.answers import answer
from gateway.http.auth import operator
from gateway.http.parts import parts_of
from gateway.keeper.model import Replica


async def get_replicas(request: Request) -> Response:
    operator(request)
    parts = parts_of(request)
    reports = parts.keeper.reports
    return answer(
        shapes.ReplicasAnswer(
            replica=reports.me,
            default_agent=parts.settings.keeper.default_agent,
            replicas=[_shown(replica) for replica in reports.replicas()],
        )
    )


async def get_heard(request: Request) -> Response:
    """Of a room that `roomkeeper check` made: did LiveKit's webhook of it come to this process?"""
    operator(request)
    parts = parts_of(request)
    return answer(
        shapes.HeardAnswer(
            replica=parts.keeper.reports.me,
            heard=parts.heard.of(request.path_params["room"]),
            refused=[
                shapes.RefusedWebhook(verdict=refusal.verdict, why=refusal.why, seconds_ago=round(ago, 3))
                for refusal, ago in parts.heard.refusals()
            ],
        )
    )


def _shown(replica: Replica) -> shapes.ReplicaAnswer:
    capacity = replica.capacity
    return shapes.ReplicaAnswer(
        replica=replica.id,
        agent_name=replica.agent,
        registered=capacity.registered,
        draining=capacity.draining,
        takes_jobs=capacity.takes_jobs,
        sees_livekit=replica.sees_livekit,
        slots=capacity.slots,
        running=capacity.running + capacity.starting,
        warm=capacity.warm,
        free=capacity.free,
    )
