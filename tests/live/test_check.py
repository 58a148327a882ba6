"""`roomkeeper check` on real sites: a sound one passes, and each broken one is caught by the line that
docs/operations.md names.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.live.broken import BROKEN, Broken
from tests.live.checking import KEY, OTHER_KEY, OTHER_SECRET, SECRET, Done, Place, place
from tests.livekit_server import LiveKitServer
from tests.redis_server import RedisServer
from tests.wrong_clock import wrong_clocks

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

ENOUGH = "--timeout=8"
"""Seconds, for an agent that will not come."""
NO_AGENT = "--skip=agent"


@pytest.fixture(scope="module")
async def sound() -> AsyncIterator[Place]:
    async with place(None) as sound:
        yield sound


@pytest.fixture(scope="module")
async def shabby() -> AsyncIterator[Place]:
    """Webhooks signed with a key that the gateway does not have, media by TCP only, an agent that raises."""
    extra: dict[str, dict[str, object]] = {"webhook": {"api_key": OTHER_KEY}, "rtc": {"force_tcp": True}}
    async with place("tests.live.agents.thrower:server", extra=extra) as shabby:
        yield shabby


@pytest.fixture(scope="module")
async def silent() -> AsyncIterator[Place]:
    """No webhooks, and an agent that never joins."""
    async with place("tests.live.agents.absent:server", webhooks=False) as silent:
        yield silent


def caught(done: Done, case: str) -> None:
    broken: Broken = BROKEN[case]
    line = done.lines[broken.line]
    assert (line["status"], broken.says in line["found"]) == (broken.status, True), done.text
    assert line["todo"], line
    failed = {name for name, line in done.lines.items() if line["status"] == "fail"}
    assert done.code == (1 if failed else 0)


async def test_a_sound_site_passes(sound: Place) -> None:
    """Every line is ok (of the machine itself a warning is allowed), an agent's way is told by stages, and
    nothing is left in LiveKit."""
    done = await sound.check()

    assert done.code == 0, done.text
    of_machine = {"files", "memory", "cores", "lsb_release"}
    assert {n for n, line in done.lines.items() if line["status"] != "ok"} <= of_machine, done.text
    assert "by UDP to" in done.lines["media"]["found"]
    for stage in ("asked ", "dispatched ", "claimed ", "joined "):
        assert stage in done.lines["agent"]["found"]
    assert await sound.rooms() == set()
    assert {want["state"] for want in await sound.wants()} <= {"stopped", "finished"}


async def test_livekit_away(sound: Place) -> None:
    """What needs LiveKit is skipped, and the rest is looked at."""
    done = await sound.check(LIVEKIT_URL="ws://127.0.0.1:1")
    caught(done, "livekit-away")
    skipped = {name for name, line in done.lines.items() if line["status"] == "skipped"}
    assert skipped == {"clock", "key", "room", "version", "media", "webhooks", "agent"}


async def test_another_web_server(sound: Place) -> None:
    with web_server() as url:
        caught(await sound.check(LIVEKIT_URL=url), "not-livekit")


async def test_an_unknown_key(sound: Place) -> None:
    caught(await sound.check(LIVEKIT_API_KEY="nobodys-key"), "unknown-key")


async def test_a_wrong_secret(sound: Place) -> None:
    """LiveKit's answer repeats the whole token: no line does (`Place.check` looks)."""
    caught(await sound.check(LIVEKIT_API_SECRET=OTHER_SECRET), "wrong-secret")


@pytest.mark.needs("cc")
@pytest.mark.parametrize(("seconds", "case"), [(600, "clock-ahead"), (-600, "clock-behind")])
async def test_a_clock_that_is_off(sound: Place, seconds: int, case: str) -> None:
    with wrong_clocks() as wrong_by:
        caught(await sound.check(NO_AGENT, **wrong_by(seconds).env), case)


async def test_nobody_serves_the_agent(sound: Place) -> None:
    """The line of the worker says who serves what; that of the agent, that nobody came."""
    done = await sound.check("--agent=nobodys-agent", ENOUGH)
    caught(done, "no-worker")
    caught(done, "nobody-comes")
    assert "'test-agent'" in done.lines["worker"]["found"]


async def test_webhooks_with_a_strange_key(shabby: Place) -> None:
    caught(await shabby.check(NO_AGENT), "strange-webhooks")


async def test_no_udp(shabby: Place) -> None:
    """It works, by TCP: a warning."""
    done = await shabby.check(NO_AGENT, "--skip=webhooks")
    caught(done, "no-udp")
    assert done.code == 0


async def test_no_way_for_media(sound: Place) -> None:
    """A LiveKit that knows its clients none of its addresses. The process ends in order all the same."""
    nowhere = {"ips": {"includes": ["203.0.113.0/24"]}, "enable_loopback_candidate": False}
    with LiveKitServer(key=KEY, secret=SECRET, extra={"rtc": nowhere}) as livekit:
        done = await sound.check(NO_AGENT, "--skip=webhooks", "--timeout=5", LIVEKIT_URL=livekit.url)
    caught(done, "no-media")


async def test_an_agent_that_raises(shabby: Place) -> None:
    """Told at once, not at the end of the time."""
    done = await shabby.check("--skip=webhooks", "--timeout=60")
    caught(done, "agent-raises")


async def test_no_webhooks(silent: Place) -> None:
    caught(await silent.check(NO_AGENT), "no-webhooks")


async def test_an_agent_that_never_joins(silent: Place) -> None:
    """How far it came is told: it was claimed."""
    done = await silent.check("--skip=webhooks", "--timeout=6")
    caught(done, "agent-absent")
    assert "claimed " in done.lines["agent"]["found"]
    assert await silent.rooms() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_check_that_is_interrupted_leaves_nothing(silent: Place, number: signal.Signals) -> None:
    """Ctrl-C while it waits for the agent: the room ends, and the agent is stopped."""
    process = silent.begin("check", "--skip=webhooks")
    await silent.wait_for_want("dispatched", timeout=20)
    process.send_signal(number)
    _, err = await asyncio.to_thread(process.communicate, timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert await silent.rooms() == set()
    assert {want["state"] for want in await silent.wants()} == {"stopped"}


@pytest.mark.needs("redis-server")
async def test_redis_away_and_back(sound: Place) -> None:
    """Sound, down, and with a policy that throws claims away. The password is in no line."""
    with RedisServer(appendonly=True, password="a-password-of-redis") as server:
        well = await sound.check(NO_AGENT, ROOMKEEPER_STORE=server.url)
        server.call("CONFIG", "SET", "maxmemory", "100mb")
        server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        evicts = await sound.check(NO_AGENT, ROOMKEEPER_STORE=server.url)
        server.kill()
        away = await sound.check(NO_AGENT, ROOMKEEPER_STORE=server.url)
    assert well.lines["store"]["status"] == "ok", well.text
    caught(evicts, "redis-evicts")
    caught(away, "redis-away")
    assert "a-password-of-redis" not in well.text + evicts.text + away.text


async def test_no_gateway(sound: Place) -> None:
    """What needs one is skipped; LiveKit is looked at all the same."""
    done = await sound.check("--url=http://127.0.0.1:1")
    caught(done, "no-gateway")
    assert done.lines["version"]["status"] == "ok"
    assert done.lines["agent"]["status"] == "skipped"


async def test_a_gateway_with_other_keys(sound: Place) -> None:
    """LiveKit has both pairs, the gateway one of them."""
    env = {"LIVEKIT_API_KEY": OTHER_KEY, "LIVEKIT_API_SECRET": OTHER_SECRET}
    caught(await sound.check(**env), "other-gateway")


def test_the_table_in_the_docs_is_this_one() -> None:
    """Set-up, line, and what it says, in that order."""
    docs = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for broken in BROKEN.values():
        assert f"| {broken.setup} | `{broken.line}` | {broken.status} | {broken.says} |" in docs


def test_every_broken_set_up_is_tried() -> None:
    """None of the table is only words."""
    source = Path(__file__).read_text()
    assert [case for case in BROKEN if f'"{case}"' not in source] == []


@contextmanager
def web_server() -> Iterator[str]:
    """Somebody's page."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            page = b"<html>a page</html>"
            self.send_response(200)
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
