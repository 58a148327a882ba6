"""The operator is told of what needs them, by somebody they can trust, until they took it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook, WebhookVerificationError

from gateway import callbacks as module
from gateway.callbacks import CRASHES, Callbacks
from gateway.keeper.model import State, Want
from gateway.metrics import Metrics
from gateway.settings import CallbackSettings

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
WANT = Want(id="job_1", room="r", agent="clerk", created_at=1.0, asked_at=1.0, since=2.0, lacking_since=1.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Operator:
    """A server that takes callbacks, with the answers that a test gives it."""

    answers: list[int] = field(default_factory=list)
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        self.news.set()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    async def told(self, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.heard) < count:
                await self.news.wait()
                self.news.clear()


@asynccontextmanager
async def telling(*answers: int) -> AsyncIterator[tuple[Callbacks, Operator, Metrics]]:
    operator, metrics = Operator(list(answers)), Metrics()
    app = web.Application()
    app.router.add_post("/{path:.*}", operator.take)
    async with TestServer(app) as server:
        callbacks = Callbacks(CallbackSettings(url=str(server.make_url("/hook")), secret=SECRET), metrics)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(callbacks.run)
            yield callbacks, operator, metrics
            tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01))


def event(heard: tuple[dict[str, str], bytes]) -> dict[str, Any]:
    """Verified, as Standard Webhooks says."""
    headers, body = heard
    told: dict[str, Any] = Webhook(SECRET).verify(body, {k.lower(): v for k, v in headers.items()})
    return told


async def test_a_want_that_is_given_up_is_told_and_signed() -> None:
    """With what an operator needs, and not the metadata."""
    async with telling() as (callbacks, operator, _):
        private = replace(WANT, metadata="private")
        callbacks.heard(replace(private, state=State.GAVE_UP, reason="nobody came"), private)
        await operator.told(1)
    told = event(operator.heard[0])
    assert (told["type"], told["data"]["roomName"]) == ("agent.gave_up", "r")
    assert told["data"]["reason"] == "nobody came"
    assert "private" not in json.dumps(told)
    headers, body = operator.heard[0]
    with pytest.raises(WebhookVerificationError):
        event((headers, body.replace(b"nobody", b"anybody")))


async def test_a_crash_loop_is_told_once() -> None:
    """Dispatches that nobody took are none; nor are the crashes after it."""
    async with telling() as (callbacks, operator, _):
        was = WANT
        for failures in range(1, 2 * CRASHES):
            now = replace(was, state=State.REPLACING, failures=failures)
            callbacks.heard(now, was)
            was = now
        callbacks.heard(replace(WANT, failures=20, lost=20), replace(WANT, failures=19, lost=19))
        await operator.told(1)
        await anyio.sleep(0.1)
    assert [event(heard)["type"] for heard in operator.heard] == ["agent.crash_loop"]


@pytest.mark.parametrize("failure", [500, 404, 302])
async def test_what_was_not_taken_is_told_again_under_the_same_id(failure: int) -> None:
    """A redirect is not followed: the signature was for this address."""
    async with telling(failure, failure) as (callbacks, operator, metrics):
        callbacks.heard(replace(WANT, state=State.GAVE_UP), WANT)
        await operator.told(3)
        await anyio.sleep(0.1)
        assert metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "taken"}) == 1
    assert len({headers["webhook-id"] for headers, _ in operator.heard}) == 1
    assert all(event(heard) for heard in operator.heard)


@pytest.mark.parametrize(("answers", "tries"), [([410], 1), ([500, 500, 500], 3)])
async def test_in_the_end_it_is_left_alone_and_counted(answers: list[int], tries: int) -> None:
    """At once when the receiver says that it wants nothing more."""
    async with telling(*answers) as (callbacks, operator, metrics):
        callbacks.heard(replace(WANT, state=State.GAVE_UP), WANT)
        await operator.told(tries)
        await anyio.sleep(0.1)
        assert len(operator.heard) == tries
        assert metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "refused"}) == 1


async def test_what_waits_for_a_further_try_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are of them."""
    monkeypatch.setattr(module, "PAUSES", (60.0,))
    refused = 2 * module.AT_ONCE
    async with telling(*[500] * refused) as (callbacks, operator, metrics):
        for number in range(refused):
            callbacks.heard(replace(WANT, id=f"job_{number}", state=State.GAVE_UP), WANT)
        await operator.told(refused)
        callbacks.heard(replace(WANT, id="job_x", state=State.GAVE_UP), WANT)
        await operator.told(refused + 1)
        await anyio.sleep(0.1)
        assert metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "taken"}) == 1
        for number in range(module.MOST_WAITING):
            callbacks.heard(replace(WANT, id=f"more_{number}", state=State.GAVE_UP), WANT)
        dropped = metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "dropped"})
        assert dropped == refused  # those that wait for a further try count, too


async def test_one_that_cannot_be_reached_holds_up_nobody() -> None:
    """The keeper goes on; what is too much is dropped, and counted."""
    metrics = Metrics()
    callbacks = Callbacks(CallbackSettings(url="http://127.0.0.1:9/hook", secret=SECRET), metrics)
    for number in range(module.MOST_WAITING + 5):
        callbacks.heard(replace(WANT, id=f"job_{number}", state=State.GAVE_UP), WANT)
    assert metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "dropped"}) == 5


async def test_without_a_url_nobody_is_told() -> None:
    """The default."""
    metrics = Metrics()
    callbacks = Callbacks(CallbackSettings(), metrics)
    for _ in range(module.MOST_WAITING + 1):
        callbacks.heard(replace(WANT, state=State.GAVE_UP), WANT)
    assert metrics.registry.get_sample_value("roomkeeper_callbacks_total", {"outcome": "dropped"}) == 0
