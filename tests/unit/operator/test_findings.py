"""What each check makes of what it found: pure functions, and the wall that keeps secrets out of lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.environment import read
from gateway.http.shapes import (
    Check,
    ProbeAnswer,
    RefusedWebhook,
    ReplicaAnswer,
    ReplicasAnswer,
    RoomAnswer,
    RoomClaim,
    RoomWant,
)
from gateway.keeper.model import Stage, State
from gateway.livekit import tokens
from gateway.livekit.faults import Fault
from gateway.operator import agent, greeting, host, livekit, media, processes, store
from gateway.operator.check import CHECKS
from gateway.operator.greeting import Heard
from gateway.operator.line import Finding, Status
from gateway.operator.secrets import cleaner
from gateway.settings import LiveKitSettings

LIVEKIT = LiveKitSettings(url="wss://livekit.example.com", api_key="site-key", api_secret="s" * 32)
TOKEN = tokens.mint_operator("site-key", "s" * 32, identity="op", ttl=60)


def heard(
    status: int = 200, text: str = "{}", *, is_json: bool | None = None, skew: float | None = 0.0
) -> Heard:
    json = text.startswith("{") if is_json is None else is_json
    return Heard(status=status, is_json=json, text=text, skew=skew, took_s=0.004)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (heard(), Status.OK, "has the same secret"),
        (heard(401, "invalid API key: site-key"), Status.FAIL, "does not know"),
        (
            heard(401, f"invalid token: {TOKEN}, error: token signature is invalid: signature is invalid"),
            Status.FAIL,
            "another secret",
        ),
        (
            heard(401, f"invalid token: {TOKEN}, error: token has invalid claims: token is not valid yet"),
            Status.SKIPPED,
            "clock",
        ),
        (heard(401, "invalid token: of some newer kind"), Status.FAIL, "did not say why"),
        (heard(403, "permissions denied"), Status.FAIL, "did not say why"),
    ],
    ids=["right", "unknown key", "wrong secret", "clock", "other words", "403"],
)
def test_a_refusal_is_told_apart(answer: Heard, status: Status, says: str) -> None:
    """By LiveKit's own words, none of which is shown: there is a token in them."""
    finding = greeting.key_known(answer, LIVEKIT)
    assert (finding.status, says in finding.found) == (status, True), finding
    assert TOKEN not in finding.found + finding.todo


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (heard(), Status.OK),
        (heard(401, "invalid API key: x"), Status.OK),
        (heard(500, '{"code":"internal","msg":"x"}'), Status.OK),
        (heard(200, "<html>"), Status.FAIL),
        (heard(401, "Unauthorized"), Status.FAIL),
        (heard(200, "[]"), Status.FAIL),
        (Fault("unreachable", "LiveKit is not reachable"), Status.FAIL),
        (Fault("timeout", "LiveKit gave no answer"), Status.FAIL),
    ],
)
def test_livekit_is_known_by_its_answers(answer: Heard | Fault, status: Status) -> None:
    """A web page is not LiveKit, whatever its status; LiveKit that refuses us is."""
    assert greeting.reached(answer, LIVEKIT).status is status


def test_browsers_need_tls() -> None:
    """ws:// to another machine is a warning, on this machine it is not; nor where a public URL has TLS."""
    plain = LiveKitSettings(url="ws://livekit:7880")
    assert greeting.reached(heard(), plain).status is Status.WARN
    assert greeting.reached(heard(), LiveKitSettings(url="ws://127.0.0.1:7880")).status is Status.OK
    public = LiveKitSettings(url="ws://livekit:7880", public_url="wss://livekit.example.com")
    assert greeting.reached(heard(), public).status is Status.OK


@pytest.mark.parametrize(
    ("skew", "status", "says"),
    [
        (0.4, Status.OK, "to a second"),
        (-3.0, Status.OK, "3 s"),
        (20.0, Status.WARN, "20 s ahead of"),
        (-61.0, Status.FAIL, "61 s behind"),
        (600.0, Status.FAIL, "600 s ahead of"),
        (None, Status.SKIPPED, "Date"),
    ],
)
def test_clocks(skew: float | None, status: Status, says: str) -> None:
    """fact 85: LiveKit allows 60 s."""
    finding = greeting.clock_right(heard(skew=skew))
    assert (finding.status, says in finding.found) == (status, True), finding


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("1.13.5", Status.OK),
        ("1.14.0", Status.OK),
        ("v1.13.5-beta", Status.OK),
        ("1.9.12", Status.WARN),
        ("", Status.WARN),
        ("nightly", Status.WARN),
    ],
)
def test_versions(told: str, status: Status) -> None:
    """Numbers are compared as numbers."""
    assert livekit.judged(told).status is status


@pytest.mark.parametrize(
    ("way", "status"),
    [
        (media.Way("udp", False, "192.0.2.1:7882"), Status.OK),
        (media.Way("tcp", False, "192.0.2.1:7881"), Status.WARN),
        (media.Way("udp", True, "192.0.2.1:3478"), Status.WARN),
        (None, Status.WARN),
    ],
)
def test_the_way_of_media(way: media.Way | None, status: Status) -> None:
    """Anything but UDP to LiveKit itself is a warning."""
    assert media.judged(way, 0.1).status is status


def test_the_chosen_pair_is_found_in_the_statistics() -> None:
    """Others are listed beside it."""
    from livekit.rtc._proto.stats_pb2 import IceCandidateType, RtcStats

    def stat(kind: str, stat_id: str) -> RtcStats:
        made = RtcStats()
        getattr(made, kind).rtc.id = stat_id
        return made

    transport, pair, other = stat("transport", "T"), stat("candidate_pair", "CP"), stat("candidate_pair", "X")
    transport.transport.transport.selected_candidate_pair_id = "CP"
    pair.candidate_pair.candidate_pair.local_candidate_id = "L"
    pair.candidate_pair.candidate_pair.remote_candidate_id = "R"
    here, there = stat("local_candidate", "L"), stat("remote_candidate", "R")
    here.local_candidate.candidate.protocol = "udp"
    here.local_candidate.candidate.candidate_type = IceCandidateType.RELAY
    there.remote_candidate.candidate.address = "2001:db8::1"
    there.remote_candidate.candidate.port = 7882

    stats = [other, there, transport, here, pair]
    assert media.way_of(stats) == media.Way("udp", True, "[2001:db8::1]:7882")
    assert media.way_of(stats[:2]) is None


def replica(agent_name: str = "clerk", **figures: object) -> ReplicaAnswer:
    usual: dict[str, object] = {
        "replica": "replica_1",
        "agent_name": agent_name,
        "registered": True,
        "draining": False,
        "takes_jobs": True,
        "sees_livekit": True,
        "slots": 4,
        "running": 1,
        "warm": 3,
        "free": 3,
    }
    return ReplicaAnswer(**{**usual, **figures})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replicas", "status", "says"),
    [
        ([replica(), replica(running=4, free=0)], Status.OK, "2 workers for 'clerk', 3 of 8 slots free"),
        ([replica(free=0)], Status.WARN, "0 of 4 slots free"),
        ([replica("butler")], Status.WARN, "ours serve 'butler'"),
        ([replica(slots=0)], Status.WARN, "no worker of ours runs"),
        ([replica(registered=False)], Status.FAIL, "not registered with LiveKit"),
        ([replica(draining=True, takes_jobs=False)], Status.FAIL, "draining"),
        ([replica(takes_jobs=False)], Status.FAIL, "never joined"),
    ],
)
def test_who_serves_the_name(replicas: list[ReplicaAnswer], status: Status, says: str) -> None:
    """All replicas count; one without slots is no worker."""
    told = ReplicasAnswer(replica="replica_1", default_agent="clerk", replicas=replicas)
    finding = processes.served(told, "clerk")
    assert (finding.status, says in finding.found) == (status, True), finding


def test_readiness_is_told_in_its_own_words() -> None:
    """Each check that fails, by name."""
    checks = {"store": Check(ok=True, why=""), "keeper": Check(ok=False, why="no replica leads (yet)")}
    probe = ProbeAnswer(status="not ready", version="1", checks=checks)
    assert processes.judged(probe).found == "keeper: no replica leads (yet)"


def test_a_refused_webhook_is_another_fault_than_none() -> None:
    """Refused: the key; none: the URL, which is told."""
    refusal = RefusedWebhook(verdict="unknown_key", why="signed with a key that is not ours", seconds_ago=0.1)
    refused = processes.not_heard([refusal], 2.0, 1, "http://here/hook")
    none = processes.not_heard([], 8.0, 3, "http://here/hook")
    assert refusal.why in refused.found
    assert "3 replicas asked" in none.found
    assert "http://here/hook" in none.todo


AT = "2026-11-22T10:00:0{}.000Z"


def room(state: State, reason: str, *, since: str | None = None, stage: Stage | None = None) -> RoomAnswer:
    want = RoomWant(
        job_id="job_1",
        room_name="r",
        agent_name="clerk",
        state=state,
        place=None,
        since=since,
        reason=reason,
        agent_identity=None,
        source="request",
    )
    claim = RoomClaim(
        agent_name="clerk",
        job_id="job_1",
        livekit_job_id="AJ_1",
        agent_identity=None,
        stage=stage or Stage.ACCEPTED,
        since=AT.format(2),
        pid=1,
        replica=None,
    )
    claims = [claim] if stage else []
    return RoomAnswer(room_name="r", sid=None, seen_at=None, wants=[want], claims=claims, participants=[])


def progress(*rooms: RoomAnswer) -> agent.Progress:
    made = agent.Progress(AT.format(0), 0.005)
    for seen in rooms:
        made.see(seen, "job_1")
    return made


def test_an_agents_way_is_told_by_stages() -> None:
    """In the store's times, from the ask."""
    seen = progress(
        room(State.DISPATCHED, "the agent was called", since=AT.format(1)),
        room(State.DISPATCHED, "the agent is on its way", since=AT.format(1), stage=Stage.ACCEPTED),
        room(State.JOINED, "", since=AT.format(3), stage=Stage.OPEN),
    )
    finding = agent.judged("clerk", seen, 3.0)
    assert finding.status is Status.OK
    assert finding.found.endswith("asked 5, dispatched 1000, claimed 2000, joined 3000 ms")


def test_the_last_failure_counts_more_than_the_try_after_it() -> None:
    """At the end of the time another dispatch may just be under way."""
    seen = progress(
        room(State.WAITING, "no worker took the job"), room(State.DISPATCHED, "the agent was called")
    )
    finding = agent.judged("clerk", seen, 20.0)
    assert (finding.status, "no worker took the job" in finding.found) == (Status.FAIL, True)
    assert "LIVEKIT_AGENT_NAME" in finding.todo


def test_a_dispatch_that_nobody_claimed_is_told_as_that() -> None:
    """The keeper still hopes, and says that the agent was called."""
    seen = progress(room(State.DISPATCHED, "the agent was called", since=AT.format(1)))
    assert agent.judged("clerk", seen, 8.0).found.startswith("no agent 'clerk' after 8.0 s: no worker took")


def test_a_full_fleet_is_no_failure() -> None:
    """It works, and has no slot for a trial."""
    finding = agent.judged("clerk", progress(room(State.WAITING, "all 4 slots are taken")), 28.0)
    assert (finding.status, "all 4 slots" in finding.found) == (Status.WARN, True)


def test_an_agent_that_raised_is_not_waited_for() -> None:
    """One that nobody took is: the next dispatch may be."""
    assert progress(room(State.WAITING, "the agent's entrypoint raised KeyError")).hopeless
    assert not progress(room(State.WAITING, "no worker took the job")).hopeless


def test_reasons_that_are_known_here_are_the_keepers() -> None:
    """Each begins a reason that docs/operations.md explains."""
    docs = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for reason in (*agent.CURES, *agent.HOPELESS, *agent.TRANSIENT):
        assert reason in docs, reason


WELL = {"redis_version": "7.4.1", "aof_enabled": "1", "maxmemory_policy": "noeviction", "maxmemory": "0"}


@pytest.mark.parametrize(
    ("info", "status"),
    [
        (WELL, Status.OK),
        ({**WELL, "redis_version": "6.2.0"}, Status.FAIL),
        ({**WELL, "maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, Status.FAIL),
        ({**WELL, "maxmemory_policy": "allkeys-lru"}, Status.WARN),
        ({**WELL, "aof_enabled": "0"}, Status.WARN),
    ],
)
def test_redis(info: dict[str, str], status: Status) -> None:
    """What the gateway would refuse fails, what it warns of is a warning."""
    assert store.judged(info, "redis://redis:6379/0").status is status


def test_a_file_needs_a_folder(tmp_path: Path) -> None:
    """One that is there."""
    assert store.file(tmp_path / "roomkeeper.db").status is Status.OK
    assert store.file(tmp_path / "nowhere" / "roomkeeper.db").status is Status.FAIL


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (host.enough_files(65_536, 8), Status.OK),
        (host.enough_files(-1, 8), Status.OK),
        (host.enough_files(1024, 8), Status.WARN),
        (host.enough_memory(2**30, 8), Status.OK),
        (host.enough_memory(2**29, 8), Status.WARN),
        (host.enough_cores(2, 8), Status.OK),
        (host.enough_cores(0.5, 8), Status.WARN),
    ],
)
def test_the_machine(finding: Finding, status: Status) -> None:
    """Against what the slots take."""
    assert finding.status is status


def test_no_secret_gets_into_a_line() -> None:
    """Ours, those of the site, the password of the store, any token; and no order to the terminal."""
    settings = read(
        {
            "LIVEKIT_API_KEY": "site-key",
            "LIVEKIT_API_SECRET": "the-secret-of-livekit-and-of-us",
            "LIVEKIT_KEYS": "old: the-secret-of-yesterday",
            "ROOMKEEPER_STORE": "redis://user:p%40ssword@redis/0",
            "ROOMKEEPER_SITE_SECRET": "the-secret-of-the-site-of-32-bytes",
        },
        dev=True,
    )
    text = (
        f"the-secret-of-livekit-and-of-us the-secret-of-yesterday p@ssword "
        f"the-secret-of-the-site-of-32-bytes {TOKEN} redis://user:other@redis \x1b[2J"
    )
    assert cleaner(settings)(text) == "*** *** *** *** *** redis://***@redis ?[2J"
    assert cleaner(read({}, dev=True))("compare the API secret") == "compare the API secret"


def test_each_line_is_named_once_and_needs_those_before_it() -> None:
    """So that the report reads from cause to consequence. Each is in the docs."""
    docs = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    before: set[str] = set()
    for check in CHECKS:
        assert check.name not in before
        assert {*check.needs, *check.after} <= before
        assert f"`{check.name}`" in docs
        before.add(check.name)
