"""Who asks too often is told when to come back, and harms nobody else."""

from __future__ import annotations

import statistics
import time

import httpx
import pytest
from limits import parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.environment import read
from gateway.errors import SettingsError
from gateway.http.rates import OwnCounts
from gateway.livekit.tokens import mint_report
from tests.door import Door, OpenDoor, bearer, operator, participant
from tests.hostile import KEY, SECRET, SITE, jwt

pytestmark = pytest.mark.anyio


async def statuses(door: Door, count: int, **more: object) -> list[int]:
    return [(await door.ask("room-1", **more)).status_code for _ in range(count)]


async def test_too_many_requests_of_one_participant_are_a_429_with_the_time_to_wait(
    open_door: OpenDoor,
) -> None:
    """By room and identity: another room's participant is not concerned."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_CALLER="4/minute")
    assert await statuses(door, 4, headers=participant("room-1")) == [200] * 4
    refused = await door.ask("room-1", headers=participant("room-1"))
    assert refused.status_code == 429
    assert 10 <= int(refused.headers["retry-after"]) <= 15, "a quarter of a minute, less what has passed"
    assert refused.json()["success"] is False
    assert (await door.ask("room-2", headers=participant("room-2"))).status_code == 200
    assert len(door.keeper.asks) == 5


async def test_an_addresss_requests_are_counted_with_a_token_and_without(open_door: OpenDoor) -> None:
    """Whoever tries tokens is let in no more often; the right one is not let in meanwhile either."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="3/minute")
    assert await statuses(door, 1) == [401]
    assert await statuses(door, 2, headers=bearer("guessed")) == [401] * 2
    assert await statuses(door, 2, headers=bearer("guessed")) == [429] * 2
    assert await statuses(door, 1, headers=participant("room-1")) == [429]


async def test_another_address_is_not_concerned(open_door: OpenDoor) -> None:
    """One who floods is alone with it."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="1/minute", ROOMKEEPER_JOB_AUTH="open")
    assert await statuses(door, 2) == [200, 429]
    elsewhere = httpx.ASGITransport(app=door.app, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://x") as http:
        body = {"jobType": "start_agent", "roomName": "room-1"}
        assert (await http.post("/api/livekit/job", json=body)).status_code == 200


async def test_operators_are_not_counted(open_door: OpenDoor) -> None:
    """A site's own server asks for all of its visitors."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="1/minute", ROOMKEEPER_RATE_BY_CALLER="1/minute")
    assert await statuses(door, 5, headers=operator()) == [200] * 5


async def test_open_tokens_are_counted_by_address(open_door: OpenDoor) -> None:
    """Each is a room that costs something."""
    door = open_door(dev=False, ROOMKEEPER_OPEN_TOKENS="1", ROOMKEEPER_RATE_BY_ADDRESS="2/minute")
    answers = [(await door.http.post("/api/token", json={})).status_code for _ in range(3)]
    assert answers == [201, 201, 429]


async def test_webhooks_and_probes_are_not_counted(open_door: OpenDoor) -> None:
    """LiveKit signs, and whoever watches must not be turned away."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="1/minute")
    assert {(await door.http.get("/livez")).status_code for _ in range(5)} == {200}
    assert {(await door.http.post("/api/livekit/webhook")).status_code for _ in range(5)} == {401}


async def test_in_dev_nobody_is_counted(door: Door) -> None:
    """It is one's own machine."""
    assert set(await statuses(door, 700)) == {200}


@pytest.mark.parametrize("rate", ["600", "0/minute", "60/minute;5/second", "many", "-1/second"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    """By name, before anything starts."""
    with pytest.raises(SettingsError, match="ROOMKEEPER_RATE_BY_ADDRESS"):
        read({"ROOMKEEPER_RATE_BY_ADDRESS": rate}, dev=True)


async def test_visitors_of_the_sites_login_are_counted_by_address_and_by_name(open_door: OpenDoor) -> None:
    """The login says who they are, and not how often they may ask."""
    now = int(time.time())
    visitors = [bearer(jwt({"sub": name, "exp": now + 60}, SITE)) for name in ("alice", "bob")]
    site = {"ROOMKEEPER_SITE_SECRET": SITE, "ROOMKEEPER_RATE_BY_ADDRESS": "any"}
    door = open_door(dev=False, **site, ROOMKEEPER_RATE_BY_CALLER="2/minute")
    told = [(await door.http.post("/api/token", json={}, headers=visitors[0])).status_code for _ in range(3)]
    assert told == [201, 201, 429]
    assert (await door.http.post("/api/token", json={}, headers=visitors[1])).status_code == 201

    door = open_door(dev=False, ROOMKEEPER_SITE_SECRET=SITE, ROOMKEEPER_RATE_BY_ADDRESS="2/minute")
    told = [
        (await door.http.post("/api/token", json={}, headers=visitors[n % 2])).status_code for n in range(3)
    ]
    assert told == [201, 201, 429]


async def test_forged_reports_are_counted(open_door: OpenDoor) -> None:
    """Whoever guesses is let in no more often; the agent itself is not counted."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="2/minute")
    path = "/api/session/session-1-a/report"
    told = [(await door.http.post(path, json={}, headers=bearer("guessed"))).status_code for _ in range(3)]
    assert told == [401, 401, 429]
    good = mint_report(KEY, SECRET, session="session-1-a", ttl=60, now=time.time())
    assert (await door.http.post(path, json={}, headers=bearer(good))).status_code == 404


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
    ],
)
async def test_an_ipv6_network_is_one_caller(open_door: OpenDoor, first: str, second: str, one: bool) -> None:
    """A customer has 2**64 addresses, and may come from each of them."""
    door = open_door(dev=False, ROOMKEEPER_RATE_BY_ADDRESS="1/minute", ROOMKEEPER_JOB_AUTH="open")
    told = []
    for address in (first, second):
        from_there = httpx.ASGITransport(app=door.app, client=(address, 1))
        async with httpx.AsyncClient(transport=from_there, base_url="http://x") as http:
            body = {"jobType": "start_agent", "roomName": "room-1"}
            told.append((await http.post("/api/livekit/job", json=body)).status_code)
    assert told == [200, 429 if one else 200]


async def test_many_addresses_make_no_count_dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that have expired are looked for now and then, and go; limits itself would look at each one."""
    now = time.time()
    counts = OwnCounts()
    minute = parse("1/minute")
    limiter = SlidingWindowCounterRateLimiter(counts)

    async def count(numbers: range) -> float:
        """CPU seconds of this thread."""
        began = time.thread_time()
        for number in numbers:
            await limiter.hit(minute, str(number))
        return time.thread_time() - began

    async def usual(first: int) -> float:
        """Of 200 more addresses, in the middle of 11 times: one may hold a look at all garbage, or be cut up
        by other programs."""
        return statistics.median([await count(range(n, n + 200)) for n in range(first, first + 2200, 200)])

    with_few = await usual(0)
    await count(range(2200, 20_000))
    assert await usual(20_000) < 5 * with_few
    assert counts.timer is None  # limits' own look
    monkeypatch.setattr(time, "time", lambda: now + 300)
    monkeypatch.setattr(counts, "_sweep_at", 0.0)
    await limiter.hit(minute, "x")
    assert len(counts.storage) < 10
