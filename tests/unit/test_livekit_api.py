"""The adapter's faults: whatever the outside does to a call, the answer is `Unknown`, in operators' words."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp import web
from livekit.protocol import models
from livekit.protocol import room as proto
from livekit.protocol.agent_dispatch import JRP_NEVER, AgentDispatch, CreateAgentDispatchRequest

from gateway.keeper.model import Unknown
from gateway.livekit.api import LiveKitClient

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """An HTTP server on loopback that answers everything with `handler`; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(url: str, *, timeout: float = 5.0) -> LiveKitClient:
    return LiveKitClient(url, "devkey", "secret", timeout=timeout)


async def why(response: Callable[[], web.StreamResponse]) -> str:
    """What the keeper is told when LiveKit answers so."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return response()

    async with answering(handler) as url, client(url) as livekit:
        answers = [
            await livekit.participants("r"),
            await livekit.rooms(["r"]),
            await livekit.create_room("r", empty_timeout=1),
            await livekit.create_dispatch("r", "a", metadata="", attributes={}),
            await livekit.dispatches("r"),
        ]
    assert all(isinstance(a, Unknown) for a in answers), answers
    assert isinstance(answers[0], Unknown)
    return answers[0].why


async def test_a_refused_key_is_explained() -> None:
    """The operator reads which settings to look at."""
    said = await why(lambda: web.json_response({"code": "unauthenticated", "msg": "invalid"}, status=401))
    assert said.startswith("LiveKit refused the API key: check LIVEKIT_API_KEY and LIVEKIT_API_SECRET")


async def test_a_refused_key_of_a_machine_whose_clock_is_off_names_the_clock() -> None:
    """Not the key is wrong then (fact 85)."""
    said = await why(
        lambda: web.json_response({}, status=401, headers={"Date": "Tue, 14 Nov 2023 22:13:20 GMT"})
    )
    assert "clock is" in said
    assert "ahead of LiveKit's" in said


async def test_503_is_unknown() -> None:
    """A room on no node, or a broken bus: never absent (fact 19)."""
    said = await why(lambda: web.json_response({"code": "unavailable", "msg": "no response"}, status=503))
    assert said.startswith("LiveKit could not reach the room's node")


async def test_another_error_is_handed_on_in_livekits_words() -> None:
    """What LiveKit says about the request is what the operator needs."""
    said = await why(lambda: web.json_response({"code": "invalid_argument", "msg": "too long"}, status=400))
    assert said == "LiveKit answered ListParticipants with 400 invalid_argument: too long"


@pytest.mark.parametrize(
    "response",
    [
        lambda: web.Response(text="<html>", content_type="text/html"),
        lambda: web.Response(body=b"\xff\xff\xff"),
        lambda: web.json_response(["no", "object"], status=502),
        lambda: web.json_response("no object", status=404),
    ],
)
async def test_what_is_not_livekit_is_told_so(response: Callable[[], web.StreamResponse]) -> None:
    """A proxy's page, a wrong port: look at the URL."""
    assert "Is LIVEKIT_URL right?" in await why(response)


async def test_a_404_of_a_proxy_is_not_an_absent_participant() -> None:
    """Only LiveKit's own not_found is a definite answer (fact 19)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="no such route")

    async with answering(handler) as url, client(url) as livekit:
        assert isinstance(await livekit.remove_participant("r", "x"), Unknown)
        assert isinstance(await livekit.delete_dispatch("r", "x"), Unknown)


async def test_silence_is_unknown_after_the_timeout() -> None:
    """A port owns its time-outs; the call may have had its effect (I3)."""

    over = anyio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with answering(handler) as url, client(url, timeout=0.2) as livekit:
        answer = await livekit.participants("r")
        over.set()
    assert answer == Unknown("LiveKit gave no answer to ListParticipants within 0.2 s")


async def test_a_closed_port_is_unknown() -> None:
    """While LiveKit restarts, nothing is concluded."""
    async with client("ws://127.0.0.1:1") as livekit:
        answer = await livekit.rooms()
    assert isinstance(answer, Unknown)
    assert answer.why.startswith("LiveKit is not reachable at ws://127.0.0.1:1")


async def test_one_call_is_one_request() -> None:
    """The SDK's own retries are off: a repeated CreateDispatch makes a second agent (facts 5, 6)."""
    requests: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        requests.append(request.path)
        return web.json_response({"code": "unavailable"}, status=503)

    async with answering(handler) as url, client(url) as livekit:
        await livekit.create_dispatch("r", "a", metadata="", attributes={})
    assert requests == ["/twirp/livekit.AgentDispatchService/CreateDispatch"]


async def test_a_dispatch_is_never_restarted_by_livekit_itself() -> None:
    """One re-dispatcher, not two: JRP_NEVER, which is not the wire's default everywhere (fact 10)."""
    got: list[CreateAgentDispatchRequest] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        got.append(CreateAgentDispatchRequest.FromString(await request.read()))
        return web.Response(body=AgentDispatch(id="AD_1").SerializeToString())

    async with answering(handler) as url, client(url) as livekit:
        await livekit.create_dispatch("r", "a", metadata="m", attributes={"want": "w"})
    assert got[0].restart_policy == JRP_NEVER
    assert (got[0].room, got[0].agent_name, got[0].metadata) == ("r", "a", "m")
    assert dict(got[0].attributes) == {"want": "w"}


async def test_every_call_is_counted_with_its_outcome() -> None:
    """Metrics see each call once, by LiveKit's name for it."""
    calls: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "ListRooms" in request.path:
            return web.Response(body=proto.ListRoomsResponse().SerializeToString())
        return web.json_response({"code": "not_found", "msg": "participant does not exist"}, status=404)

    async with (
        answering(handler) as url,
        LiveKitClient(
            url,
            "devkey",
            "secret",
            timeout=5.0,
            on_call=lambda method, outcome, seconds: calls.append((method, outcome)),
        ) as livekit,
    ):
        await livekit.rooms()
        assert await livekit.remove_participant("r", "x") is False
    assert calls == [("ListRooms", "ok"), ("RemoveParticipant", "not_found")]


@pytest.mark.parametrize(("ahead", "ok"), [(0, True), (50, True), (-50, True), (90, False), (-90, False)])
async def test_a_probe_tells_when_the_clocks_are_too_far_apart(ahead: float, ok: bool) -> None:
    """Beyond LiveKit's 60 s every token would be refused somewhere: not ready, and it says why (fact 85)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=proto.ListRoomsResponse().SerializeToString())

    async with (
        answering(handler) as url,
        LiveKitClient(url, "devkey", "secret", timeout=5.0, clock=lambda: time.time() + ahead) as livekit,
    ):
        probe = await livekit.probe()

    assert probe.ok is ok
    assert probe.skew is not None
    assert abs(probe.skew - ahead) < 2
    assert ("clock" in probe.why) is not ok


async def test_a_probe_of_nothing_says_what_to_look_at() -> None:
    """Readiness shows the words."""
    async with client("ws://127.0.0.1:1") as livekit:
        probe = await livekit.probe()
    assert not probe.ok
    assert "not reachable" in probe.why
    assert probe.skew is None


@pytest.mark.parametrize("ahead", [45, -45])
async def test_clocks_within_livekits_leeway_change_nothing(ahead: float) -> None:
    """LiveKit allows 60 s; so do we (fact 85)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=proto.ListRoomsResponse().SerializeToString())

    async with (
        answering(handler) as url,
        LiveKitClient(url, "devkey", "secret", timeout=5.0, clock=lambda: time.time() + ahead) as livekit,
    ):
        assert await livekit.rooms() == []
        assert (await livekit.probe()).ok


@pytest.mark.parametrize("ahead", [45.0, -45.0, 0.0])
async def test_times_are_told_in_the_keepers_clock(ahead: float) -> None:
    """A join is compared with asks and ends, which are the store's times."""
    began = time.time()

    async def handler(request: web.Request) -> web.StreamResponse:
        room = models.Room(name="r", sid="RM_1", creation_time_ms=round(began * 1000))
        return web.Response(body=proto.ListRoomsResponse(rooms=[room]).SerializeToString())

    def keepers() -> float:
        return time.time() + ahead

    async with (
        answering(handler) as url,
        LiveKitClient(url, "devkey", "secret", timeout=5.0, keepers_clock=keepers) as livekit,
    ):
        rooms = await livekit.rooms()
    assert not isinstance(rooms, Unknown)
    assert rooms[0].created_at == pytest.approx(began + ahead, abs=1.0 if ahead else 0.002)


@pytest.mark.parametrize(
    ("ahead", "words"), [(600, "600 s ahead of LiveKit's"), (-600, "600 s behind LiveKit's")]
)
async def test_a_clock_that_is_far_off_makes_every_answer_unknown(ahead: float, words: str) -> None:
    """Also where LiveKit takes the token: this replica leads nobody, and says why (fact 85)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=proto.ListRoomsResponse().SerializeToString())

    def clock() -> float:  # LiveKit tells whole seconds
        return int(time.time()) + 0.5 + ahead

    async with (
        answering(handler) as url,
        LiveKitClient(url, "devkey", "secret", timeout=5.0, clock=clock) as livekit,
    ):
        answer = await livekit.rooms()
        probe = await livekit.probe()
    assert isinstance(answer, Unknown)
    assert words in answer.why or "599 s" in answer.why or "601 s" in answer.why
    assert not probe.ok
    assert "set it right" in probe.why


def rpc_error(code: int, words: str, *, twirp: str = "canceled", status: int = 408) -> web.StreamResponse:
    message = f"twirp error unknown: RpcError {code}: {words}"
    return web.json_response({"code": twirp, "msg": message}, status=status)


def agent_listed(request: web.Request) -> web.Response | None:
    """The answer to who is in the room, when that is asked: `agent-1`."""
    if "ListParticipants" not in request.path:
        return None
    there = proto.ListParticipantsResponse(participants=[models.ParticipantInfo(identity="agent-1")])
    return web.Response(body=there.SerializeToString())


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        (lambda: rpc_error(1400, "Method not supported", twirp="invalid_argument", status=400), True),
        (lambda: rpc_error(1500, "Application error", twirp="internal", status=500), True),
        (lambda: web.Response(body=proto.PerformRpcResponse(payload="yes").SerializeToString()), True),
        (lambda: rpc_error(1501, "Connection timeout"), False),
        (lambda: rpc_error(1502, "Response timeout"), False),
        (lambda: rpc_error(1503, "Recipient disconnected", twirp="unavailable", status=503), False),
        (lambda: web.json_response({"code": "not_found", "msg": "no such participant"}, status=404), False),
        (lambda: rpc_error(1505, "Failed to send", twirp="internal", status=500), None),
        (
            lambda: web.json_response(
                {"code": "internal", "msg": "data channel is not available"}, status=500
            ),
            None,
        ),
        (lambda: web.json_response({"code": "unavailable", "msg": "no response"}, status=503), None),
        (lambda: web.json_response({"code": "unauthenticated"}, status=401), None),
    ],
)
async def test_only_what_a_participant_said_or_left_unsaid_tells_whether_it_lives(
    response: Callable[[], web.StreamResponse], verdict: bool | None
) -> None:
    """Somebody who is still joining, a broken bus, a refused key: unknown (S11, I3)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if (listed := agent_listed(request)) is not None:
            return listed
        if "ListDispatch" in request.path:
            return web.json_response({"code": "unavailable"}, status=503)
        return response()

    async with answering(handler) as url, client(url) as livekit:
        answer = await livekit.answers("r", "agent-1")
    assert isinstance(answer, Unknown) if verdict is None else answer is verdict


def alive() -> web.StreamResponse:
    return rpc_error(1400, "Method not supported", twirp="invalid_argument", status=400)


def unanswered() -> web.StreamResponse:
    return rpc_error(1502, "Response timeout")


def unasked() -> web.StreamResponse:
    return web.json_response({"code": "internal", "msg": "data channel is not available"}, status=500)


@pytest.mark.parametrize(
    ("responses", "verdict", "asked"),
    [
        pytest.param([alive], True, 1, id="answered"),
        pytest.param([unanswered, alive], True, 2, id="answer lost"),
        pytest.param([unasked, unanswered], None, 2, id="the first could not be put"),
        pytest.param([unanswered, unasked], None, 2, id="the second could not be put"),
        pytest.param([unanswered, unanswered], False, 2, id="both left open"),
    ],
)
async def test_whom_livekit_did_not_hear_once_is_asked_again(
    responses: list[Callable[[], web.StreamResponse]], verdict: bool | None, asked: int
) -> None:
    """LiveKit sends a question before it waits for the answer, so one that comes at once is lost (S18): no
    living agent is dead by that, and one answer that proves nothing is enough to know nothing (I3)."""
    left = list(responses)

    async def handler(request: web.Request) -> web.StreamResponse:
        if (listed := agent_listed(request)) is not None:
            return listed
        return left.pop(0)()

    async with answering(handler) as url, client(url) as livekit:
        answer = await livekit.answers("r", "agent-1")
    assert isinstance(answer, Unknown) if verdict is None else answer is verdict
    assert len(responses) - len(left) == asked


async def test_a_participant_whose_room_is_on_no_node_is_neither_dead_nor_removed() -> None:
    """503 of the room too: nobody's place is taken, it may be a living node behind a broken bus (S12, I3)."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.json_response({"code": "unavailable"}, status=503)

    async with answering(handler) as url, client(url) as livekit:
        assert isinstance(await livekit.remove_participant("r", "agent-1"), Unknown)
    assert not [path for path in asked if path.startswith("/rtc")]
