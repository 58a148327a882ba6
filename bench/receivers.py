"""What `ours` is compared with: webhook receivers as people write them, and the floor below all of them.

Each is an ASGI app for uvicorn. They verify the same signed bodies with the same key, and do nothing else.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi import Request as FastApiRequest
from livekit import api
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.events import KEY, PATH, SECRET

_receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))


async def _read(request: Request) -> Response:
    await request.body()
    return Response()


async def _receive(request: Request) -> Response:
    body = (await request.body()).decode()
    _receiver.receive(body, request.headers["authorization"])
    return Response()


floor = Starlette(routes=[Route(PATH, _read, methods=["POST"])])
starlette_sdk = Starlette(routes=[Route(PATH, _receive, methods=["POST"])])
fastapi_sdk = FastAPI()


@fastapi_sdk.post(PATH)
async def fastapi_receive(request: FastApiRequest) -> dict[str, bool]:
    body = (await request.body()).decode()
    _receiver.receive(body, request.headers["authorization"])
    return {"ok": True}
